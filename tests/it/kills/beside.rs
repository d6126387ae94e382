//! Commands and calls that a straight life has not: cancelling a hopeless job, a runner that is not given its job or works on another, a
//! deletion that fails, webhooks that never come, and a handler that takes over from one that is gone.

use std::fs;
use std::time::Duration;

use fake_github::{JobId, JobSpec, WebhookRule};
use serde_json::json;

use crate::kills::comeback::without_its_handler;
use crate::kills::kill::Steps;
use crate::kills::row::{Row, in_rows};
use crate::kills::{LONG_MS, Queue};
use crate::support::{Anklet, REPO, TOKEN, World};

/// No webhook tells of the end, so that it is asked for.
pub(super) const CANCEL: Steps = Steps {
    commands: &[],
    calls: &[("POST", "/repos/acme/app/actions/runs/*/cancel"), ("GET", "/repos/acme/app/actions/jobs/*")],
};

pub(super) const TIMED_OUT: Steps = Steps {
    commands: &[("delete", 1)],
    calls: &[
        ("GET", "/repos/acme/app/actions/jobs/*"),
        ("GET", "/repos/acme/app/actions/runners"),
        ("DELETE", "/repos/acme/app/actions/runners/*"),
    ],
};

pub(super) const WORKS_ON_ANOTHER: Steps = Steps {
    commands: &[],
    calls: &[
        ("GET", "/repos/acme/app/actions/jobs/*"),
        ("GET", "/repos/acme/app/actions/runners"),
        ("DELETE", "/repos/acme/app/actions/runners/*"),
        ("GET", "/repos/acme/app/actions/runs/*/jobs"),
    ],
};

/// The first `delete` fails; this is what follows it.
pub(super) const DELETION_FAILS: Steps =
    Steps { commands: &[("stop", 1), ("list", 1), ("delete", 1)], calls: &[] };

pub(super) const SILENT_RUN: Steps =
    Steps { commands: &[], calls: &[("GET", "/repos/acme/app/actions/jobs/*")] };

pub(super) const SILENT_QUEUE: Steps = Steps {
    commands: &[],
    calls: &[("GET", "/repos/acme/app/actions/runs/*/jobs"), ("GET", "/repos/acme/app/actions/jobs/*")],
};

/// GitHub denies the job, so that it is asked whether it shows the repository.
pub(super) const DENIED: Steps =
    Steps { commands: &[], calls: &[("GET", "/repos/acme/app/actions/jobs/*"), ("GET", "/repos/acme/app")] };

pub(super) const REDELIVERY: Steps = Steps {
    commands: &[],
    calls: &[
        ("GET", "/repos/acme/app/hooks/*/deliveries"),
        ("GET", "/repos/acme/app/hooks/*/deliveries/*"),
        ("POST", "/repos/acme/app/hooks/*/deliveries/*/attempts"),
    ],
};

pub(super) const TAKEN_OVER: Steps = TIMED_OUT;

/// A situation in which these steps come.
struct Scene {
    name: &'static str,
    steps: &'static Steps,
    config: fn(&World) -> String,
    /// Brings it about; `arm` is called right before the steps may come. The jobs that are to end.
    play: fn(&Row<'_>, &Anklet, &dyn Fn()) -> Vec<JobId>,
    /// Done when the process has been killed.
    release: fn(&World),
    conclusion: &'static str,
}

const SCENES: [Scene; 8] = [
    Scene {
        name: "cancel",
        steps: &CANCEL,
        config: |world| world.config(1).replace("limits: {", "limits: {cancel_silence: 0.3, "),
        play: |row, _, arm| {
            row.world.github.webhook_rule(WebhookRule::on("completed").drop());
            arm();
            vec![row.world.github.create_job(JobSpec::new(REPO, &["anka-template:-rf"]))]
        },
        release: |_| {},
        conclusion: "cancelled",
    },
    Scene {
        name: "job denied",
        steps: &DENIED,
        config: |world| world.config(1).replace("limits: {", "limits: {denied_retry: 0.2, "),
        play: |row, _, arm| {
            let old = row.world.job().created_ago(Duration::from_secs(900)).silent();
            let job = row.world.github.create_job(old);
            arm();
            row.world.github.send_job_event(job, "queued");
            row.world.github.forget_job(job);
            Vec::new()
        },
        release: |_| {},
        conclusion: "success",
    },
    Scene {
        name: "registration timed out",
        steps: &TIMED_OUT,
        config: |world| with_timeout(&world.config(1)),
        play: |row, _, arm| {
            row.world.github.hold_assignment(true);
            arm();
            vec![row.world.github.create_job(row.world.job())]
        },
        release: |world| world.github.hold_assignment(false),
        conclusion: "success",
    },
    Scene {
        name: "runner works on another job",
        steps: &WORKS_ON_ANOTHER,
        config: |world| with_timeout(&world.config(1)).replace("limits: {", "limits: {fence_retry: 0.4, "),
        play: works_on_another,
        release: |world| world.github.hold_assignment(false),
        conclusion: "success",
    },
    Scene {
        name: "deletion fails",
        steps: &DELETION_FAILS,
        config: |world| world.config(1),
        play: |row, first, arm| {
            let job = row.world.github.create_job(row.world.job().steps_ms(LONG_MS));
            first.wait_message("job found registered runner and is now in progress");
            let fail = json!({"code": 1, "message": "as the test planned"});
            row.world.anka.arm(&json!({"match": {"verb": "delete"}, "do": {"fail": fail}}));
            arm();
            row.world.github.complete_job(job, "success");
            vec![job]
        },
        release: |_| {},
        conclusion: "success",
    },
    Scene {
        name: "no news of a running job",
        steps: &SILENT_RUN,
        config: |world| world.config(1).replace("limits: {", "limits: {running_silence: 0.4, "),
        play: |row, _, arm| {
            row.world.github.webhook_rule(WebhookRule::on("completed").drop());
            arm();
            vec![row.world.github.create_job(row.world.job().steps_ms(100))]
        },
        release: |_| {},
        conclusion: "success",
    },
    Scene {
        name: "no news of a waiting job",
        steps: &SILENT_QUEUE,
        config: |world| {
            let waits = "limits: {sweep_look: 0.2, sweep_first: 0.4, sweep_most: 2, idle_look: 0.2, ";
            // A job that is over and not known to be gets a VM, whose runner waits in vain.
            with_timeout(&world.config(1)).replace("limits: {", waits)
        },
        play: waits_in_silence,
        release: |world| fs::remove_file(drain_file(world)).unwrap(),
        conclusion: "success",
    },
    Scene {
        name: "redelivery",
        steps: &REDELIVERY,
        config: |world| {
            world.github.add_pat(TOKEN, &["repo", "admin:org", "admin:org_hook", "workflow"]);
            let looks = "limits: {redeliver_look: 0.4, redeliver_pace: 0.001, redeliver_settle: 0.2, idle_look: 0.5, ";
            let receiver = format!("plugin: github_receiver, hook_id: {},", world.hook);
            world.config(1).replace("limits: {", looks).replace("plugin: github_receiver,", &receiver)
        },
        play: |row, _, arm| {
            row.world.github.webhook_rule(WebhookRule::on("queued").fail("failed to connect"));
            arm();
            vec![row.world.github.create_job(row.world.job())]
        },
        release: |_| {},
        conclusion: "success",
    },
];

fn with_timeout(config: &str) -> String {
    config.replace("plugin: github,", "plugin: github, registration_timeout_seconds: 1,")
}

/// Our runner is given a job of the same run, of which no word comes.
fn works_on_another(row: &Row<'_>, first: &Anklet, arm: &dyn Fn()) -> Vec<JobId> {
    let github = &row.world.github;
    github.hold_assignment(true);
    github.webhook_rule(WebhookRule::on("in_progress").always().drop());
    let run = 4_711;
    let ours = github.create_job(row.world.job().run(run));
    first.wait_message("job is waiting for registered runner");
    arm();
    let other = github.create_job(row.world.job().run(run).silent().steps_ms(LONG_MS));
    github.assign(other, &row.world.vms_made_by_us().remove(0));
    row.runs_until_the_next_start(other);
    vec![ours, other]
}

fn drain_file(world: &World) -> std::path::PathBuf {
    world.home.path().join(".config/anklet/.drain")
}

/// A job was cancelled and run again, and no webhook tells of either: the sweep asks about the run, and about the job of its first attempt.
fn waits_in_silence(row: &Row<'_>, first: &Anklet, arm: &dyn Fn()) -> Vec<JobId> {
    let github = &row.world.github;
    fs::write(drain_file(row.world), "").unwrap();
    let cancelled = github.create_job(row.world.job());
    first.wait_message("job pushed to queued queue");
    github.webhook_rule(WebhookRule::on("*").times(2).drop());
    arm();
    github.cancel_run_of(cancelled);
    vec![github.rerun_job(cancelled)]
}

fn scenes(queue: Queue, scenes: &[&Scene]) {
    for scene in scenes {
        in_rows(scene.name, queue, scene.steps.kills(), |row, kill| {
            let config = (scene.config)(row.world);
            let first = row.world.start(&config);
            let jobs = (scene.play)(row, &first, &|| kill.arm(row.world, first.pid()));
            row.killed(first);
            (scene.release)(row.world);
            row.ends_with(&config, &jobs, scene.conclusion);
        });
    }
}

/// The handler is gone from the config, and the other that takes its job over is killed.
fn taken_over(queue: Queue) {
    in_rows("taken over", queue, TAKEN_OVER.kills(), |row, kill| {
        let world = row.world;
        world.github.hold_assignment(true);
        let first = world.start(&world.config(2));
        let job = world.github.create_job(world.job());
        first.wait_message("job is waiting for registered runner");
        row.kill(first);
        let config = without_its_handler(world);
        kill.arm_command(world);
        let second = world.spawn(&config);
        kill.arm_call(world, second.pid());
        row.killed(second);
        world.github.hold_assignment(false);
        row.ends_well(&config, &[job]);
    });
}

#[test]
fn killed_where_a_job_is_cancelled_or_denied() {
    scenes(Queue::Embedded, &[&SCENES[0], &SCENES[1]]);
}

#[test]
fn killed_where_a_runner_waits_in_vain() {
    scenes(Queue::Embedded, &[&SCENES[2], &SCENES[3]]);
}

#[test]
fn killed_where_a_deletion_fails() {
    scenes(Queue::Embedded, &[&SCENES[4]]);
}

#[test]
fn killed_where_webhooks_do_not_come() {
    scenes(Queue::Embedded, &[&SCENES[5], &SCENES[6], &SCENES[7]]);
}

#[test]
fn killed_where_a_job_is_taken_over() {
    taken_over(Queue::Embedded);
}

pub(super) fn on_redis() {
    scenes(Queue::Redis, &SCENES.iter().collect::<Vec<_>>());
    taken_over(Queue::Redis);
}
