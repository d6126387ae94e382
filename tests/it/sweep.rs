//! Webhooks that never come, and cannot be asked for again: GitHub is asked about the jobs instead.

use fake_github::{JobStatus, WebhookRule};

use crate::support::{Anklet, LIMIT, World};

/// Silence is short.
fn config(world: &World, n_handlers: usize) -> String {
    let waits =
        "limits: {sweep_look: 0.2, sweep_first: 0.6, sweep_most: 2, running_silence: 0.6, idle_look: 0.2, ";
    world.config(n_handlers).replace("limits: {", waits)
}

fn check_well(world: &World, anklet: &Anklet, job: u64) {
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    world.assert_clean(anklet);
}

#[test]
fn a_job_ends_well_without_its_webhooks() {
    for action in ["in_progress", "completed"] {
        let world = World::new();
        let anklet = world.start(&config(&world, 1));
        world.github.webhook_rule(WebhookRule::on(action).drop());
        let job = world.github.create_job(world.job().steps_ms(200));
        check_well(&world, &anklet, job);
        assert_eq!(world.github.registrations_for(job).len(), 1, "{action}");
        anklet.stop();
    }
}

/// A queued job that was cancelled, and one that ran elsewhere, while the end of neither is told: both leave the queue.
#[test]
fn a_waiting_job_that_is_over_leaves_the_queue() {
    let world = World::new();
    let drain = world.home.path().join(".config/anklet/.drain");
    std::fs::write(&drain, "").unwrap();
    let anklet = world.start(&config(&world, 1));
    let cancelled = world.github.create_job(world.job());
    let elsewhere = world.github.create_job(world.job());
    anklet.wait_messages("job pushed to queued queue", 2);
    world.github.webhook_rule(WebhookRule::on("*").always().drop());
    world.github.cancel_run_of(cancelled);
    world.github.start_elsewhere(elsewhere, "another");
    world.github.wait_job(elsewhere, |job| job.status == JobStatus::InProgress, LIMIT);
    anklet.wait_messages("GitHub tells of a job of which no webhook came", 2);
    world.github.complete_job(elsewhere, "success");
    anklet.wait_messages("GitHub tells of a job of which no webhook came", 3);
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    anklet.stop();
}

/// The other jobs of a run come to light with it, and a run costs one call.
#[test]
fn a_run_is_asked_about_once() {
    let world = World::new();
    let drain = world.home.path().join(".config/anklet/.drain");
    std::fs::write(&drain, "").unwrap();
    let anklet = world.start(&config(&world, 1).replace("sweep_most: 2", "sweep_most: 600"));
    let first = world.github.create_job(world.job());
    let run = world.github.job(first).run_id;
    let mut jobs = vec![first];
    jobs.extend((0..2).map(|_| world.github.create_job(world.job().run(run))));
    anklet.wait_messages("job pushed to queued queue", 3);
    world.github.webhook_rule(WebhookRule::on("queued").drop());
    jobs.push(world.github.create_job(world.job().run(run)));
    anklet.wait_message("GitHub tells of a job of which no webhook came");
    // A look that comes in the middle of the three takes up only the first of them.
    assert!(world.github.requests().len() <= 2, "{}", world.github.story());
    std::fs::remove_file(&drain).unwrap();
    for job in jobs {
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    }
    anklet.wait_messages("job completed", 4);
    world.assert_clean(&anklet);
    anklet.stop();
}
