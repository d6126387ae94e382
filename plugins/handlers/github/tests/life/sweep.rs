//! Jobs that nobody holds, of which no webhook tells: the janitor's sweep asks about them.

use anklet_plugin_api::job::JobId;
use anklet_plugin_api::limits::Limits;
use fake_github::Rule;
use log::Level;

use crate::world::{JOB_PATH, REPO, REPOSITORY_PATH, World, ms, short};

const RUN_PATH: &str = "/repos/acme/app/actions/runs/*/jobs";
const HIDDEN: &str = "GitHub does not let this credential see a repository; nothing is known of its jobs";

fn quick() -> Limits {
    Limits {
        sweep_look: ms(30),
        sweep_first: ms(50),
        sweep_most: ms(100),
        denied_retry: ms(40),
        refused_retry: ms(300),
        ..short()
    }
}

/// A host that takes nothing, and a job in its queue.
fn waiting() -> (World, JobId) {
    let world = World::new(quick());
    world.host.set_drained(true);
    let job = world.queue(world.job());
    (world, job)
}

#[test]
fn a_waiting_job_that_was_deleted_leaves_the_queue() {
    let (world, job) = waiting();
    let life = world.start_with_janitor();
    world.github.forget_job(job.0);
    world.wait_gone_from_the_queue(job);
    world.wait_said("GitHub has deleted the job", 1);
    // The client itself asks thrice each time.
    assert_eq!(world.n_requests("GET", JOB_PATH), 4 * 3);
    assert_eq!(world.n_requests("GET", REPOSITORY_PATH), 1);
    life.stop();
}

/// It ran on a VM of which nobody holds the claim any more: the VM goes with it.
#[test]
fn a_running_job_that_was_deleted_takes_its_vm_along() {
    let world = World::new(quick());
    let life = world.start();
    let job = world.queue(world.job());
    let vm = world.tell_started(job);
    world.wait_said("job found registered runner and is now in progress", 1);
    // The VM dies under its job, so that its handler leaves it; then everything is forgotten at GitHub.
    world.vms.put_vm(&vm, false);
    life.stop();
    world.host.set_drained(true);
    let life = world.start_with_janitor();
    world.wait_said("the VM of a running job is gone; GitHub will end the job", 1);
    world.github.complete_job(job.0, "failure");
    world.github.forget_job(job.0);
    world.wait_clean();
    life.stop();
}

/// Three denials, then GitHub knows it again: it stays.
#[test]
fn a_job_that_is_denied_three_times_stays() {
    let (world, job) = waiting();
    let denials = world.github.rule(Rule::on("GET", JOB_PATH).times(3 * 3).status(404, "Not Found"));
    let list = world.github.rule(Rule::on("GET", RUN_PATH).always().status(404, "Not Found"));
    let life = world.start_with_janitor();
    world.wait_for("three denials", || world.github.rule_hits(denials) == 3 * 3);
    let n_asked = world.n_requests("GET", JOB_PATH);
    world.wait_for("an answer", || world.n_requests("GET", JOB_PATH) > n_asked);
    world.github.remove_rule(list);
    assert_eq!(world.n_requests("GET", REPOSITORY_PATH), 0);
    world.host.set_drained(false);
    world.run_to_its_end(job);
    life.stop();
}

/// Nothing is known of the jobs of a hidden repository, so they stay; that is said once in a while.
#[test]
fn the_jobs_of_a_hidden_repository_stay() {
    for status in [403, 404] {
        let (world, job) = waiting();
        for path in [JOB_PATH, RUN_PATH, REPOSITORY_PATH] {
            world.github.rule(Rule::on("GET", path).always().status(status, "as the test planned"));
        }
        let life = world.start_with_janitor();
        let errors = world.wait_said(HIDDEN, 2);
        assert!(errors.iter().all(|error| error.level == Level::Error && error.facts["repository"] == REPO));
        assert!(errors[0].facts["credential"].contains("access token"), "{errors:?}");
        assert!(world.entry(job).is_some());
        life.stop();
    }
}

/// One repository is hidden, and it comes first: the sweep goes on to the others.
#[test]
fn a_hidden_repository_hides_no_other_runs() {
    let world = World::new(quick());
    world.host.set_drained(true);
    let hidden = world.queue(world.job());
    let run = world.github.job(hidden.0).run_id;
    let path = format!("/repos/acme/app/actions/runs/{run}/jobs");
    world.github.rule(Rule::on("GET", &path).always().status(403, "as the test planned"));
    let over = world.queue(world.job());
    world.github.complete_job(over.0, "cancelled");
    let life = world.start_with_janitor();
    world.wait_gone_from_the_queue(over);
    assert!(world.entry(hidden).is_some());
    life.stop();
}
