//! GitHub decides which job a runner gets, and that need not be the one whose VM it lives in.

use fake_github::{JobSpec, JobStatus, WebhookRule};

use crate::support::{Anklet, LIMIT, REPO, TAG, TEMPLATE, World};

fn config(world: &World, n_handlers: usize) -> String {
    let limits = "limits: {fence_retry: 0.4, running_silence: 1, running_look: 0.5, ";
    let handler = "plugin: github, registration_timeout_seconds: 3,";
    world.config(n_handlers).replace("limits: {", limits).replace("plugin: github,", handler)
}

/// The runner of the VM that was made for this job.
fn runner_of(anklet: &Anklet, job: u64) -> String {
    let lines = anklet.lines();
    let prepared = lines.iter().rfind(|line| {
        line.message() == "finished preparing anka VM with actions runner"
            && line.0["workflowJobID"] == serde_json::json!(job)
    });
    prepared.unwrap().0["vmName"].as_str().unwrap().to_owned()
}

/// A job of the same labels, whose webhooks never come.
fn unheard_of(world: &World) -> u64 {
    world.github.create_job(world.job().silent().steps_ms(400))
}

/// The job that the runner takes was never announced; the claimed one gets a fresh VM.
#[test]
fn a_runner_takes_a_job_we_never_heard_of() {
    let world = World::new();
    world.github.hold_assignment(true);
    let anklet = world.start(&config(&world, 1));
    let ours = world.github.create_job(world.job());
    anklet.wait_message("job is waiting for registered runner");
    let other = unheard_of(&world);
    world.github.assign(other, &runner_of(&anklet, ours));
    world.github.hold_assignment(false);
    for job in [other, ours] {
        assert_eq!(
            world.github.wait_completed(job, LIMIT).conclusion.as_deref(),
            Some("success"),
            "{}",
            world.github.story()
        );
    }
    anklet.wait_messages("job completed", 2);
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    world.assert_clean(&anklet);
    assert_eq!(world.github.registrations().len(), 2);
    let again = anklet.lines().into_iter().rfind(|line| line.message() == "queued job found").unwrap();
    assert_eq!(again.0["attempts"], serde_json::json!(0), "what GitHub decides is no try of the job");
    anklet.stop();
}

/// The same, and not even `in_progress` comes: the fence says that the runner works, on a job of the same run.
#[test]
fn a_runner_works_and_nobody_says_on_what() {
    let world = World::new();
    world.github.hold_assignment(true);
    let anklet = world.start(&config(&world, 1));
    let run = 4_711;
    let ours = world.github.create_job(world.job().run(run));
    anklet.wait_message("job is waiting for registered runner");
    world.github.webhook_rule(WebhookRule::on("in_progress").always().drop());
    let other = world.github.create_job(world.job().run(run).silent().steps_ms(4_500));
    world.github.assign(other, &runner_of(&anklet, ours));
    world.github.wait_in_progress(other, LIMIT);
    world.github.hold_assignment(false);
    for job in [other, ours] {
        assert_eq!(
            world.github.wait_completed(job, LIMIT).conclusion.as_deref(),
            Some("success"),
            "{}",
            world.github.story()
        );
    }
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    world.assert_clean(&anklet);
    anklet.stop();
}

/// The job is of another run, so that nobody can find out: its VM stays until the runner is free.
#[test]
fn a_runner_works_on_an_unknown_job_until_it_is_free() {
    let world = World::new();
    world.github.hold_assignment(true);
    let anklet = world.start(&config(&world, 2));
    let ours = world.github.create_job(world.job());
    anklet.wait_message("job is waiting for registered runner");
    world.github.webhook_rule(WebhookRule::on("*").always().drop());
    let other = world.github.create_job(world.job().silent().steps_ms(6_000));
    world.github.assign(other, &runner_of(&anklet, ours));
    world.github.wait_in_progress(other, LIMIT);
    anklet.wait_message("the runner works on a job that is not known yet; its VM is kept");
    world.github.hold_assignment(false);
    for job in [ours, other] {
        assert_eq!(
            world.github.wait_completed(job, LIMIT).conclusion.as_deref(),
            Some("success"),
            "{}",
            world.github.story()
        );
    }
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    world.assert_clean(&anklet);
    anklet.stop();
}

/// Our job runs on a runner that is none of ours: our VM is undone, the entry ends with the job.
#[test]
fn our_job_runs_on_a_foreign_runner() {
    let world = World::new();
    world.github.hold_assignment(true);
    let anklet = world.start(&config(&world, 1));
    let job = world.github.create_job(world.job());
    anklet.wait_message("job is waiting for registered runner");
    world.github.start_elsewhere(job, "somebody-elses-mac");
    anklet.wait_for("our VM gone", || world.vms_made_by_us().is_empty());
    assert!(!world.is_queue_empty(), "the entry stays until GitHub ends the job");
    world.github.complete_job(job, "success");
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    anklet.wait_for("our runner gone", || {
        !world.github.runners(REPO).iter().any(|runner| runner.name.starts_with("anklet-vm"))
    });
    anklet.stop();
}

/// A narrow runner cannot take the wider job that is left: its VM is undone, and the job gets a VM of its own.
#[test]
fn a_runner_that_cannot_take_the_other_job_is_undone() {
    let world = World::new();
    world.github.hold_assignment(true);
    let anklet = world.start(&config(&world, 2));
    let wide = world.github.create_job(world.job_labelled("wide").steps_ms(300));
    anklet.wait_message("job is waiting for registered runner");
    let narrow = world.github.create_job(world.job().steps_ms(300));
    anklet.wait_messages("job is waiting for registered runner", 2);
    // The wide runner has all labels of the narrow job, but not the other way round.
    world.github.assign(narrow, &runner_of(&anklet, wide));
    world.github.hold_assignment(false);
    for job in [narrow, wide] {
        let ended = world.github.wait_completed(job, LIMIT);
        assert_eq!(ended.conclusion.as_deref(), Some("success"), "{}", world.github.story());
        assert_eq!(ended.history.iter().filter(|step| step.status == JobStatus::InProgress).count(), 1);
    }
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    world.assert_clean(&anklet);
    assert_eq!(world.github.registrations().len(), 3);
    anklet.stop();
}

/// The VM dies under its job: the slot is free at once, and the job ends when GitHub says so.
#[test]
fn a_vm_that_dies_under_its_job_frees_the_slot() {
    let world = World::new();
    world.github.tune(|knobs| knobs.lost_runner_grace = std::time::Duration::from_secs(4));
    let anklet = world.start(&config(&world, 1));
    let job = world.github.create_job(world.job().steps_ms(60_000));
    anklet.wait_message("job found registered runner and is now in progress");
    let vm = world.vms_made_by_us().remove(0);
    assert!(world.anka.vm_dies(&vm, true));
    anklet.wait_message("the VM of a running job is gone; GitHub will end the job");
    let next = world.github.create_job(JobSpec::new(
        REPO,
        &[&format!("anka-template:{TEMPLATE}"), &format!("anka-template-tag:{TAG}"), "next"],
    ));
    assert_eq!(world.github.wait_completed(next, LIMIT).conclusion.as_deref(), Some("success"));
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("failure"));
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    world.assert_clean(&anklet);
    anklet.stop();
}
