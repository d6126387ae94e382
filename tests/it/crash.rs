//! The process is killed, and started again: the job ends, once, and nothing is left.

use serde_json::json;

use crate::support::{LIMIT, World};

#[test]
fn killed_while_the_vm_is_prepared() {
    let world = World::new();
    world.anka.arm(&json!({"match": {"verb": "start"}, "do": {"kill_caller": "during"}}));
    let mut first = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    let (status, _) = first.wait_end_and_lines();
    assert_eq!(status.code(), None, "it was killed");

    let second = world.start(&world.config(1));
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    second.wait_message("job completed");
    world.assert_clean(&second);
    assert_eq!(world.github.registrations_for(job).len(), 1);
    second.stop();
}

#[test]
fn killed_while_the_job_runs() {
    let world = World::new();
    let first = world.start(&world.config(1));
    let job = world.github.create_job(world.job().steps_ms(1_500));
    world.github.wait_in_progress(job, LIMIT);
    first.wait_message("job found registered runner and is now in progress");
    first.kill();

    let second = world.start(&world.config(1));
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    second.wait_message("job completed");
    world.assert_clean(&second);
    assert_eq!(world.github.registrations().len(), 1, "the running VM was watched on");
    second.stop();
}

#[test]
fn killed_while_the_job_runs_and_back_after_its_end() {
    let world = World::new();
    let first = world.start(&world.config(1));
    let job = world.github.create_job(world.job().steps_ms(600));
    first.wait_message("job found registered runner and is now in progress");
    first.kill();
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));

    let second = world.start(&world.config(1));
    second.wait_message("job completed");
    world.assert_clean(&second);
    assert_eq!(world.github.registrations().len(), 1);
    second.stop();
}
