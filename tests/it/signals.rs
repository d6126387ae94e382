//! Stopping: what SIGTERM, SIGQUIT, SIGHUP and the drain file leave behind at each stage.

use std::fs;
use std::time::Instant;

use serde_json::json;

use crate::support::{LIMIT, World};

#[test]
fn term_while_idle_ends_at_once() {
    let world = World::new();
    let anklet = world.start(&world.config(2));
    let asked_at = Instant::now();
    anklet.stop();
    assert!(asked_at.elapsed().as_secs() < 5);
}

#[test]
fn term_while_preparing_gives_the_job_back_uncounted() {
    let world = World::new();
    world.anka.arm(&json!({"match": {"verb": "start"}, "do": {"hang": true}}));
    let anklet = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    anklet.wait_for("the start", || !world.anka.calls("start").is_empty());
    let asked_at = Instant::now();
    anklet.stop();
    assert!(asked_at.elapsed().as_secs() < 5, "{:?}", asked_at.elapsed());
    assert!(world.vms_made_by_us().is_empty());

    let second = world.start(&world.config(1));
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    second.wait_message("job completed");
    let lines = second.lines();
    let claimed = lines.iter().find(|line| line.message() == "queued job found").unwrap();
    assert_eq!(claimed.0["attempts"].to_string().trim_matches('"'), "0");
    world.assert_clean(&second);
    second.stop();
}

#[test]
fn term_while_the_runner_waits_removes_it() {
    let world = World::new();
    world.github.hold_assignment(true);
    let anklet = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    anklet.wait_message("job is waiting for registered runner");
    let asked_at = Instant::now();
    anklet.stop();
    assert!(asked_at.elapsed().as_secs() < 5, "{:?}", asked_at.elapsed());
    assert!(world.vms_made_by_us().is_empty());

    world.github.hold_assignment(false);
    let second = world.start(&world.config(1));
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    second.wait_message("job completed");
    world.assert_clean(&second);
    second.stop();
}

#[test]
fn term_while_a_job_runs_leaves_it_alone() {
    let world = World::new();
    let first = world.start(&world.config(1));
    let job = world.github.create_job(world.job().steps_ms(1_500));
    first.wait_message("job found registered runner and is now in progress");
    first.stop();
    assert_eq!(world.vms_made_by_us().len(), 1, "the VM of the running job stays");

    let second = world.start(&world.config(1));
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    second.wait_message("job completed");
    world.assert_clean(&second);
    assert_eq!(world.github.registrations().len(), 1);
    second.stop();
}

#[test]
fn quit_waits_for_the_running_job_and_takes_nothing_new() {
    let world = World::new();
    let mut anklet = world.start(&world.config(1));
    let running = world.github.create_job(world.job().steps_ms(700));
    anklet.wait_message("job found registered runner and is now in progress");
    let waiting = world.github.create_job(world.job());
    anklet.wait_messages("job pushed to queued queue", 2);
    anklet.signal("QUIT");
    let (status, lines) = anklet.wait_end_and_lines();
    assert_eq!(status.code(), Some(0));
    assert!(lines.iter().any(|line| line.message() == "job completed"));
    assert!(world.github.job(running).is_completed() && !world.github.job(waiting).is_completed());
    assert!(world.vms_made_by_us().is_empty());
}

#[test]
fn a_second_term_ends_with_1() {
    let world = World::new();
    world
        .anka
        .arm(&json!({"match": {"verb": "delete"}, "times": -1, "do": {"hang": true, "ignore_term": true}}));
    world.github.hold_assignment(true);
    let mut anklet = world.start(&world.config(1));
    world.github.create_job(world.job());
    anklet.wait_message("job is waiting for registered runner");
    anklet.signal("TERM");
    anklet.wait_for("the deletion", || !world.anka.calls("delete").is_empty());
    anklet.signal("TERM");
    assert_eq!(anklet.wait_end_and_lines().0.code(), Some(1));
}

#[test]
fn hup_does_not_stop_it() {
    let world = World::new();
    let anklet = world.start(&world.config(1));
    // A process that nohup started ignores it; we only must not take it over.
    anklet.signal("0");
    let job = world.github.create_job(world.job());
    world.github.wait_completed(job, LIMIT);
    anklet.stop();
}

#[test]
fn the_drain_file_keeps_jobs_waiting_until_it_goes() {
    let world = World::new();
    let drain = world.home.path().join(".config/anklet/.drain");
    fs::write(&drain, "").unwrap();
    let config = world.config(1).replace("limits: {", "limits: {idle_look: 0.2, ");
    let anklet = world.start(&config);
    let job = world.github.create_job(world.job());
    anklet.wait_message("job pushed to queued queue");
    anklet.wait_message("drain file present; not picking up new jobs");
    assert!(world.anka.calls("clone").is_empty());
    fs::remove_file(&drain).unwrap();
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.stop();
}
