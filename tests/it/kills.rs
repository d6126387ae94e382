//! The kill matrix: SIGKILL before, during and after each anka command and each GitHub call of a job's life. After a new start the job
//! ends, it ran once, and nothing is left.
//!
//! A straight run tells which commands and calls there are; one that the table does not name fails the test.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use fake_github::{JobId, JobSpec, JobStatus, Rule, WebhookRule};
use serde_json::json;

use crate::support::{Anklet, LIMIT, REPO, World};
use crate::worlds::in_worlds;

/// The anka commands of one job's life, with how often each comes.
const COMMANDS: &[(&str, usize)] = &[
    ("version", 1),
    ("license show", 1),
    ("list", 3),
    ("show", 1),
    ("clone", 1),
    ("start", 1),
    ("cp", 3),
    ("run", 4),
    ("delete", 1),
];

/// The GitHub calls of one job's life.
const CALLS: &[(&str, &str)] = &[
    ("GET", "/repos/acme/app/actions/runners/downloads"),
    ("POST", "/repos/acme/app/actions/runners/registration-token"),
];

/// Where a process is killed.
#[derive(Clone, Debug)]
enum Kill {
    Command { verb: &'static str, nth: usize, when: &'static str },
    Call { method: &'static str, path: &'static str, is_before: bool },
}

fn kills() -> Vec<Kill> {
    let commands = COMMANDS.iter().flat_map(|(verb, n)| (1..=*n).map(move |nth| (*verb, nth)));
    let commands = commands
        .flat_map(|(verb, nth)| ["before", "during", "after"].map(|when| Kill::Command { verb, nth, when }));
    let calls = CALLS
        .iter()
        .flat_map(|(method, path)| [true, false].map(|is_before| Kill::Call { method, path, is_before }));
    commands.chain(calls).collect()
}

impl Kill {
    /// Arms the stand-ins; a call's rule needs the process that it kills, so it is armed by `pid` later.
    fn arm(&self, world: &World) {
        if let Kill::Command { verb, nth, when } = self {
            world
                .anka
                .arm(&json!({"match": {"verb": verb, "nth": nth}, "do": {"kill_caller": when, "ms": 60}}));
        }
    }

    fn arm_call(&self, world: &World, pid: u32) {
        if let Kill::Call { method, path, is_before } = self {
            let rule = Rule::on(method, path);
            world.github.rule(if *is_before { rule.kill_before(pid) } else { rule.kill_after(pid) });
        }
    }
}

/// Lives on with this config until the job has ended well, once, and nothing is left.
fn ends_well(world: &World, config: &str, jobs: &[JobId]) {
    let anklet = world.start(config);
    for job in jobs {
        let ended = world.github.wait_completed(*job, LIMIT);
        assert_eq!(ended.conclusion.as_deref(), Some("success"), "{}", world.github.story());
        let n_starts = ended.history.iter().filter(|step| step.status == JobStatus::InProgress).count();
        assert_eq!(n_starts, 1, "it ran once: {}", world.github.story());
    }
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    world.assert_clean(&anklet);
    anklet.stop();
}

#[test]
fn the_matrix_names_every_command_and_call() {
    let world = World::new();
    let anklet = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    world.github.wait_completed(job, LIMIT);
    anklet.wait_message("job completed");
    anklet.stop();
    let trace = world.anka.trace();
    let starts = trace.iter().filter(|line| line.event == "start" && !line.verb.starts_with("guest "));
    let seen: Vec<_> = starts.map(|line| line.verb.clone()).collect();
    for (verb, n) in COMMANDS {
        assert_eq!(seen.iter().filter(|seen| seen == verb).count(), *n, "{verb} in {seen:?}");
    }
    assert_eq!(seen.len(), COMMANDS.iter().map(|(_, n)| n).sum::<usize>(), "{seen:?}");
    let requests = world.github.requests();
    let calls: BTreeSet<_> = requests
        .iter()
        .map(|call| (call.method.as_str(), call.path_only().trim_start_matches("/api/v3")))
        .collect();
    assert_eq!(calls, CALLS.iter().copied().collect::<BTreeSet<_>>());
}

#[test]
fn killed_at_each_command_and_call_of_a_jobs_life() {
    in_worlds(kills(), |world, kill| {
        kill.arm(world);
        let mut first = world.spawn(&world.config(1));
        kill.arm_call(world, first.pid());
        let job = world.github.create_job(world.job().silent());
        // At the first commands the process dies before it listens; then the webhook is delivered later, as GitHub's users do it.
        let is_early = matches!(kill, Kill::Command { verb: "version" | "license show", .. });
        if !is_early {
            first.wait_message("receiver finished starting");
            world.github.send_job_event(job, "queued");
        }
        let (status, _) = first.wait_end_and_lines();
        assert_eq!(status.code(), None, "it was killed");
        if is_early {
            let second = world.start(&world.config(1));
            world.github.send_job_event(job, "queued");
            world.github.wait_completed(job, LIMIT);
            // News that comes while it stops would have to be asked for.
            second.wait_message("job completed");
            second.stop();
        }
        ends_well(world, &world.config(1), &[job]);
    });
}

/// The same while another handler's job runs: that VM is watched on.
#[test]
fn killed_while_another_handlers_job_runs() {
    let cases = kills().into_iter().filter(|kill| {
        // The runner's version is asked for once by all handlers together, so that the first job has done it.
        matches!(kill, Kill::Call { method: "POST", .. })
            || matches!(kill, Kill::Command { verb: "clone" | "start" | "run", when: "during", .. })
            || matches!(kill, Kill::Command { verb: "cp", nth: 1, when: "after" })
    });
    in_worlds(cases.collect(), |world, kill| {
        let mut first = world.start(&world.config(2));
        let running = world.github.create_job(world.job().steps_ms(2_500));
        first.wait_message("job found registered runner and is now in progress");
        kill.arm(world);
        kill.arm_call(world, first.pid());
        let job = world.github.create_job(world.job());
        let (status, _) = first.wait_end_and_lines();
        assert_eq!(status.code(), None, "it was killed");
        ends_well(world, &world.config(2), &[running, job]);
    });
}

/// What a second life does before it takes anything new, with the runner of the first still waiting for its job.
#[test]
fn killed_again_at_each_step_of_the_recovery() {
    let commands = ["version", "license show", "list", "delete"];
    let commands = commands
        .into_iter()
        .flat_map(|verb| ["before", "during", "after"].map(|when| Kill::Command { verb, nth: 1, when }));
    let calls = [
        ("GET", "/repos/acme/app/actions/jobs/*"),
        ("GET", "/repos/acme/app/actions/runners"),
        ("DELETE", "/repos/acme/app/actions/runners/*"),
    ];
    let calls = calls
        .into_iter()
        .flat_map(|(method, path)| [true, false].map(|is_before| Kill::Call { method, path, is_before }));
    in_worlds(commands.chain(calls).collect(), |world, kill| {
        world.github.hold_assignment(true);
        let first = world.start(&world.config(1));
        let job = world.github.create_job(world.job());
        first.wait_message("job is waiting for registered runner");
        first.kill();
        kill.arm(world);
        let mut second = world.spawn(&world.config(1));
        kill.arm_call(world, second.pid());
        let (status, _) = second.wait_end_and_lines();
        assert_eq!(status.code(), None, "it was killed");
        world.github.hold_assignment(false);
        ends_well(world, &world.config(1), &[job]);
    });
}

/// The handler has another name, or is one of others, when the process comes back.
#[test]
fn killed_and_back_without_the_handler() {
    let kills = [
        Kill::Command { verb: "clone", nth: 1, when: "during" },
        Kill::Command { verb: "start", nth: 1, when: "during" },
        Kill::Command { verb: "run", nth: 2, when: "after" },
        Kill::Command { verb: "run", nth: 3, when: "after" },
    ];
    in_worlds(kills.to_vec(), |world, kill| {
        kill.arm(world);
        let mut first = world.start(&world.config(1));
        let job = world.github.create_job(world.job().steps_ms(100));
        let (status, _) = first.wait_end_and_lines();
        assert_eq!(status.code(), None, "it was killed");
        ends_well(world, &world.config(1).replace("HANDLER1", "ANOTHER"), &[job]);
    });
}

/// Not even the queue is there any more: VM and runner go by the ledger, and the job comes with its redelivered webhook.
#[test]
fn killed_and_back_without_the_queue_file() {
    let kills = [
        Kill::Command { verb: "start", nth: 1, when: "during" },
        Kill::Command { verb: "run", nth: 2, when: "after" },
        Kill::Command { verb: "delete", nth: 1, when: "before" },
    ];
    in_worlds(kills.to_vec(), |world, kill| {
        kill.arm(world);
        let mut first = world.start(&world.config(1));
        let job = world.github.create_job(world.job());
        let (status, _) = first.wait_end_and_lines();
        assert_eq!(status.code(), None, "it was killed");
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(world.home.path().join(format!(".config/anklet/anklet.db{end}")));
        }
        // Only the ledger knows of the VM, so that the runner may have been registered up to the moment of the kill.
        let second = world.start(&world.config(1));
        world.assert_clean(&second);
        if !world.github.job(job).is_completed() {
            world.github.send_job_event(job, "queued");
        }
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
        world.assert_clean(&second);
        assert!(world.github.runners(REPO).is_empty());
        second.stop();
    });
}

/// What is done only off the straight way.
#[derive(Clone, Copy, Debug)]
enum Detour {
    /// A job that no host can run is cancelled.
    Cancel,
    /// The runner works, and nobody says on what: the other jobs of its run are asked for.
    RunJobs,
    /// A running job of which nothing is heard is asked about.
    Silence,
    /// A job that GitHub denies, and so its repository, are asked about.
    Denial,
    /// A VM that cannot be deleted is stopped first.
    StopForce,
}

#[test]
fn killed_off_the_straight_way() {
    let call = |detour, method, path| {
        [true, false].map(|is_before| (detour, Kill::Call { method, path, is_before }))
    };
    let job = "/repos/acme/app/actions/jobs/*";
    let mut cases = Vec::new();
    cases.extend(call(Detour::Cancel, "POST", "/repos/acme/app/actions/runs/*/cancel"));
    cases.extend(call(Detour::RunJobs, "GET", "/repos/acme/app/actions/runs/*/jobs"));
    cases.extend(call(Detour::Silence, "GET", job));
    cases.extend(call(Detour::Denial, "GET", job));
    cases.extend(call(Detour::Denial, "GET", "/repos/acme/app"));
    cases.extend(
        ["before", "during", "after"]
            .map(|when| (Detour::StopForce, Kill::Command { verb: "stop", nth: 1, when })),
    );
    in_worlds(cases, |world, (detour, kill)| {
        let limits =
            "limits: {running_silence: 0.5, denied_retry: 0.2, cancel_silence: 0.5, fence_retry: 0.5, ";
        let config = world
            .config(1)
            .replace("limits: {", limits)
            .replace("plugin: github,", "plugin: github, registration_timeout_seconds: 2,");
        let mut first = world.start(&config);
        kill.arm(world);
        kill.arm_call(world, first.pid());
        let jobs = detour.begin(world, &first);
        let (status, _) = first.wait_end_and_lines();
        assert_eq!(status.code(), None, "it was killed");
        world.github.hold_assignment(false);
        let second = world.start(&config);
        for (job, conclusion) in jobs {
            let ended = world.github.wait_job(job, |job| job.is_completed(), LIMIT);
            assert_eq!(ended.conclusion.as_deref(), Some(conclusion), "{}", world.github.story());
        }
        second.wait_for("an empty queue", || world.is_queue_empty());
        world.assert_clean(&second);
        second.stop();
    });
}

impl Detour {
    /// Goes astray; answers which jobs there are to end at GitHub, and how.
    fn begin(self, world: &World, anklet: &Anklet) -> Vec<(JobId, &'static str)> {
        match self {
            Detour::Cancel => {
                let job = world.github.create_job(JobSpec::new(REPO, &["anka-template-tag:v1"]));
                vec![(job, "cancelled")]
            }
            Detour::RunJobs => {
                world.github.hold_assignment(true);
                let ours = world.github.create_job(world.job().run(4_711));
                anklet.wait_message("job is waiting for registered runner");
                let other = world.github.create_job(world.job().run(4_711).silent().steps_ms(5_000));
                let runner = world.vms_made_by_us().remove(0);
                // Nobody is told that it began.
                world.github.webhook_rule(WebhookRule::on("in_progress").drop());
                world.github.assign(other, &runner);
                vec![(other, "success"), (ours, "success")]
            }
            Detour::Silence => vec![(world.github.create_job(world.job().steps_ms(4_000)), "success")],
            Detour::Denial => {
                let job = world.github.create_job(world.job().created_ago(Duration::from_secs(900)).silent());
                world.github.send_job_event(job, "queued");
                world.github.forget_job(job);
                Vec::new()
            }
            Detour::StopForce => {
                let fail = json!({"fail": {"code": 1, "message": "as the test planned"}});
                world.anka.arm(&json!({"match": {"verb": "delete"}, "do": fail}));
                vec![(world.github.create_job(world.job()), "success")]
            }
        }
    }
}
