//! Each call of GitHub that is made beside the straight way fails once, hangs once, answers nonsense once, is cut once, or is done and its
//! answer lost: everything ends as it would have, and no try counts.

use anklet_plugin_api::job::JobId;
use anklet_plugin_api::limits::Limits;
use fake_github::{JobSpec, Rule};

use crate::world::{CANCEL_PATH, JOB_PATH, OLD, REPOSITORY_PATH, World, ms, short};

type Fault = (&'static str, fn(Rule) -> Rule);

const FAULTS: [Fault; 7] = [
    ("500", |rule| rule.status(500, "as the test planned")),
    ("502", |rule| rule.status(502, "as the test planned")),
    ("404", |rule| rule.status(404, "Not Found")),
    ("hang", Rule::hang),
    ("nonsense", |rule| rule.nonsense(b"{\"half\":")),
    ("close", Rule::close),
    ("lost answer", Rule::lose_answer),
];

fn limits() -> Limits {
    Limits {
        github_call: ms(200),
        denied_retry: ms(20),
        cancel_silence: ms(30),
        github_retry_most: ms(50),
        fence_retry: ms(100),
        ..short()
    }
}

/// Runs `check` with each fault armed once for this call.
fn with_each_fault(method: &str, path: &str, registration_timeout_ms: u64, check: impl Fn(&World, &str)) {
    for (name, fault) in FAULTS {
        let mut world = World::new(limits());
        world.section.registration_timeout = ms(registration_timeout_ms);
        let rule = world.github.rule(fault(Rule::on(method, path)));
        check(&world, name);
        assert_eq!(world.github.rule_hits(rule), 1, "{method} {path}: {name}");
        let claims = world.said("queued job found");
        assert!(claims.iter().all(|claim| claim.facts["attempts"] == "0"), "{name}: {claims:?}");
    }
}

#[test]
fn asking_about_a_job_before_it_starts() {
    with_each_fault("GET", JOB_PATH, 20_000, |world, _| {
        let life = world.start();
        let job = world.queue(world.job().created_ago(OLD));
        world.run_to_its_end(job);
        life.stop();
    });
}

#[test]
fn asking_about_a_job_that_runs() {
    for (name, fault) in FAULTS {
        let world = World::new(Limits { running_silence: ms(50), ..limits() });
        let life = world.start();
        let job = world.queue(world.job());
        world.tell_started(job);
        let rule = world.github.rule(fault(Rule::on("GET", JOB_PATH)));
        world.wait_for("the fault", || world.github.rule_hits(rule) == 1);
        // The end is not told: GitHub is asked again.
        world.github.complete_job(job.0, "success");
        world.wait_clean();
        assert_eq!(world.said("job completed").len(), 1, "{name}");
        life.stop();
    }
}

#[test]
fn asking_what_else_runs_in_a_run() {
    with_each_fault("GET", "/repos/acme/app/actions/runs/*/jobs", 60, |world, name| {
        world.github.hold_assignment(true);
        let life = world.start();
        let ours = world.queue(world.job());
        world.wait_said("job is waiting for registered runner", 1);
        let run = world.github.job(ours.0).run_id;
        let other = JobId(world.github.create_job(world.job().run(run).silent()));
        let vm = world.only_vm();
        world.github.assign(other.0, vm.as_str());
        // Whether the list names it at once or not: it is watched, or its VM kept until it is free.
        world.wait_for("what the runner does", || {
            !world.said("GitHub has given the runner another job").is_empty()
                || !world.said("the runner works on a job that is not known yet; its VM is kept").is_empty()
        });
        assert!(world.vms.vms()[&vm], "{name}: the VM of a runner that works is kept");
        world.github.hold_assignment(false);
        assert!(world.github.complete_job(other.0, "success"));
        world.tell_as(other, "completed");
        world.run_to_its_end(ours);
        life.stop();
    });
}

#[test]
fn cancelling_a_run() {
    with_each_fault("POST", CANCEL_PATH, 20_000, |world, name| {
        let life = world.start();
        let job = world.queue(JobSpec::new("acme/app", &["anka-template-tag:v1"]));
        world.wait_gone_from_the_queue(job);
        assert_eq!(world.github.job(job.0).conclusion.as_deref(), Some("cancelled"), "{name}");
        life.stop();
    });
}

#[test]
fn asking_whether_a_repository_is_there() {
    with_each_fault("GET", REPOSITORY_PATH, 20_000, |world, _| {
        let life = world.start();
        let job = world.queue(world.job().created_ago(OLD));
        world.github.forget_job(job.0);
        world.wait_gone_from_the_queue(job);
        life.stop();
    });
}
