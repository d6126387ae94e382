//! A job that runs: what is asked while nothing is heard of it, and what its VM's end means.

use anklet_plugin_api::job::JobId;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::name::VmName;
use anklet_plugin_api::store::Place;
use fake_github::{JobStatus, Rule};
use log::Level;

use crate::world::{JOB_PATH, Life, REPOSITORY_PATH, RUNNERS_PATH, World, ms, short};

const HIDDEN: &str = "GitHub does not let this credential see the job's repository";

fn silent() -> Limits {
    Limits { running_silence: ms(60), denied_retry: ms(30), refused_retry: ms(200), ..short() }
}

/// A handler that watches a job which runs on its VM.
fn running(world: &World) -> (Life, JobId, VmName) {
    let life = world.start_with_janitor();
    let job = world.queue(world.job());
    let vm = world.tell_started(job);
    world.wait_said("job found registered runner and is now in progress", 1);
    (life, job, vm)
}

/// The run was deleted after the job ended, and no webhook came: four times 404, and the repository answers.
#[test]
fn a_running_job_that_was_deleted_frees_its_vm() {
    let world = World::new(silent());
    let (life, job, vm) = running(&world);
    world.github.complete_job(job.0, "success");
    world.github.forget_job(job.0);
    world.wait_clean();
    world.wait_said("GitHub has deleted the job", 1);
    // The client itself asks thrice each time.
    assert!(world.n_requests("GET", JOB_PATH) >= 4 * 3);
    assert_eq!(world.n_requests("GET", REPOSITORY_PATH), 1);
    assert!(!world.vms.vms().contains_key(&vm));
    life.stop();
}

/// The same, and GitHub says that the runner works: its VM stays, and the handler asks about it now and then.
#[test]
fn the_vm_of_a_deleted_job_stays_while_its_runner_works() {
    let world = World::new(Limits { fence_retry: ms(100), ..silent() });
    let (life, job, vm) = running(&world);
    world.github.forget_job(job.0);
    world.wait_gone_from_the_queue(job);
    world.wait_said("the runner works on a job that is not known yet; its VM is kept", 1);
    world.wait_for("two fences", || world.n_requests("DELETE", "/repos/acme/app/actions/runners/*") >= 2);
    assert!(world.vms.vms()[&vm]);
    let empty = b"{\"total_count\":0,\"runners\":[]}";
    world.github.rule(Rule::on("GET", RUNNERS_PATH).always().nonsense(empty));
    world.wait_for("the VM gone", || world.vms.vms().is_empty());
    assert!(world.said("job was picked up by another host").is_empty());
    life.stop();
}

/// 403, 401, or 404 for job and repository: an error each hour, the VM is kept, and the job ends when GitHub says so.
#[test]
fn a_hidden_repository_costs_no_running_vm() {
    for status in [403, 401, 404] {
        let world = World::new(silent());
        let (life, job, vm) = running(&world);
        let hide =
            |path| world.github.rule(Rule::on("GET", path).always().status(status, "as the test planned"));
        let rules = [JOB_PATH, REPOSITORY_PATH].map(hide);
        let errors = world.wait_said(HIDDEN, 2);
        for error in &errors {
            assert_eq!(error.level, Level::Error);
            assert_eq!(error.facts["repository"], "acme/app");
            assert!(error.facts["credential"].contains("access token"), "{error:?}");
        }
        assert!(world.vms.vms()[&vm]);
        for rule in rules {
            world.github.remove_rule(rule);
        }
        world.end(job, "success");
        world.wait_clean();
        life.stop();
    }
}

/// Three denials and an answer are no row: it begins anew.
#[test]
fn denials_count_only_in_a_row() {
    let world = World::new(silent());
    let (life, job, vm) = running(&world);
    for n_row in 1..=2 {
        let denials = world.github.rule(Rule::on("GET", JOB_PATH).times(3 * 3).status(404, "Not Found"));
        world.wait_for("three denials", || world.github.rule_hits(denials) == 3 * 3);
        let n_asked = world.n_requests("GET", JOB_PATH);
        world.wait_for("an answer", || world.n_requests("GET", JOB_PATH) > n_asked);
        assert_eq!(world.n_requests("GET", REPOSITORY_PATH), 0, "row {n_row}");
        world.github.remove_rule(denials);
    }
    assert!(world.vms.vms()[&vm]);
    world.end(job, "success");
    world.wait_clean();
    life.stop();
}

/// GitHub answers nothing, or nonsense, about a running job: nothing happens to it.
#[test]
fn a_running_job_outlives_an_outage_of_github() {
    let faults = [
        |rule: Rule| rule.status(500, "as the test planned"),
        |rule: Rule| rule.hang(),
        |rule: Rule| rule.nonsense(b"{\"half\":"),
        |rule: Rule| rule.close(),
    ];
    for fault in faults {
        let world = World::new(Limits { github_retry_total: ms(50), github_call: ms(50), ..silent() });
        let (life, job, vm) = running(&world);
        let rule = world.github.rule(fault(Rule::on("GET", "**").always()));
        world.wait_for("three questions", || world.github.rule_hits(rule) >= 3);
        assert!(world.vms.vms()[&vm]);
        // The news is lost, and GitHub is asked once it answers again.
        world.github.complete_job(job.0, "success");
        world.github.remove_rule(rule);
        world.wait_clean();
        world.wait_said("job completed", 1);
        life.stop();
    }
}

/// GitHub takes a job back from a runner that never picked it up, then holds it back for an approval: it is no try, and it waits aside.
#[test]
fn a_job_that_is_held_back_under_a_waiting_runner_is_set_aside() {
    let mut world = World::new(Limits { waiting_retry: ms(60), ..short() });
    world.section.registration_timeout = ms(80);
    world.github.hold_assignment(true);
    let life = world.start();
    let job = world.queue(world.job());
    world.wait_said("job is waiting for registered runner", 1);
    world.github.set_job_status(job.0, JobStatus::Waiting);
    world.wait_for("the job held", || {
        world.entry(job).is_some_and(|entry| matches!(entry.place, Place::Held { .. }))
    });
    assert_eq!(world.entry(job).unwrap().attempts, 0);
    assert!(world.vms.vms().is_empty());
    world.github.set_job_status(job.0, JobStatus::Queued);
    world.github.hold_assignment(false);
    world.run_to_its_end(job);
    life.stop();
}

/// GitHub is in trouble when the time of a waiting runner is over, and knows neither the job nor the runner: that is no try of the job.
#[test]
fn a_runner_that_waits_in_vain_while_github_is_in_trouble_is_no_try() {
    for path in [JOB_PATH, RUNNERS_PATH] {
        let mut world = World::new(short());
        world.section.registration_timeout = ms(80);
        world.github.hold_assignment(true);
        let rule = world.github.rule(Rule::on("GET", path).always().status(503, "as the test planned"));
        let life = world.start();
        let job = world.queue(world.job());
        world.wait_said("waiting for runner registration timed out, will retry", 1);
        if path == RUNNERS_PATH {
            // The fence needs the list too: it is there again once the question has been given up.
            world.wait_said("GitHub does not answer whether the runner is removed; its VM is kept", 1);
            world.github.remove_rule(rule);
        }
        world.wait_said("job given back", 1);
        world.github.remove_rule(rule);
        world.github.hold_assignment(false);
        world.run_to_its_end(job);
        let claims = world.said("queued job found");
        assert_eq!(claims[1].facts["attempts"], "0", "{path}: {claims:?}");
        life.stop();
    }
}

/// The same for a job that was deleted meanwhile: it is neither a try nor the host's fault.
#[test]
fn a_job_that_is_deleted_under_a_waiting_runner_goes() {
    let mut world = World::new(Limits { denied_retry: ms(30), ..short() });
    world.section.registration_timeout = ms(80);
    world.github.hold_assignment(true);
    let life = world.start();
    let job = world.queue(world.job());
    world.wait_said("job is waiting for registered runner", 1);
    world.github.forget_job(job.0);
    world.wait_clean();
    assert!(world.said("queued job found").iter().all(|claim| claim.facts["attempts"] == "0"));
    assert_eq!(world.github.registrations().len(), 1);
    life.stop();
}

/// After a restart the handler shows what it does, also where the repository cannot be seen: it watches on and is not stuck.
#[test]
fn a_hidden_repository_does_not_hold_up_the_start() {
    let world = World::new(silent());
    let (life, job, vm) = running(&world);
    life.stop();
    assert!(world.vms.vms()[&vm], "a running VM stays with its record");
    let rule = world.github.rule(Rule::on("GET", JOB_PATH).always().status(403, "as the test planned"));
    let life = world.start();
    world.wait_said(HIDDEN, 2);
    world.github.remove_rule(rule);
    world.end(job, "success");
    world.wait_clean();
    life.stop();
}

/// SIGQUIT while a job runs: it goes on to its end, nothing new is taken, and then the handler ends by itself.
#[test]
fn a_drain_waits_for_the_running_job() {
    let world = World::new(silent());
    let (mut life, job, vm) = running(&world);
    life.drain();
    let next = world.queue(world.job());
    assert!(world.vms.vms()[&vm]);
    world.end(job, "success");
    life.wait_end().unwrap().unwrap();
    assert!(world.vms.vms().is_empty());
    assert_eq!(world.entry(next).unwrap().place, Place::Queued);
    assert_eq!(world.github.registrations().len(), 1);
}
