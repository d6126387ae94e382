//! From the clone to a runner that waits for its job.

use fake_github::Rule;
use serde_json::json;

use crate::support::World;

use super::{ASK, CANCEL, REMOVE, Row, check};

const RUNNERS: (&str, &str) = ("GET", "/repos/acme/app/actions/runners");
const TOKEN: (&str, &str) = ("POST", "/repos/acme/app/actions/runners/registration-token");

fn fails(world: &World, verb: &str, nth: usize) {
    let how = json!({"fail": {"code": 1, "message": "as the test planned"}});
    world.anka.arm(&json!({"match": {"verb": verb, "nth": nth}, "do": how}));
}

/// The guest's commands come in this order: install, register, start; their failure is that of the guest.
fn fails_in_guest(world: &World, nth: usize) {
    world.anka.arm(&json!({"match": {"verb": "run", "nth": nth}, "do": {"print": "no", "exit": 9}}));
}

#[test]
fn registration_token_clone_start_and_mount() {
    check(&[
        Row {
            arm: |world| {
                world.github.rule(Rule::on(TOKEN.0, TOKEN.1).always().status(500, "as the test planned"));
            },
            github: &[(CANCEL, 0), (REMOVE, 0), (RUNNERS, 0)],
            anka: &[("clone", 1), ("delete", 1)],
            ..Row::held("no token after the call's own retries", 0)
        },
        Row {
            arm: |world| world.anka.leak(2),
            then: |world, anklet, _| {
                anklet.wait_message("host does not have vm capacity");
                // Neither the VM that is gone nor news of another job is a reason to try again.
                world.github.create_job(world.job());
                anklet.wait_messages("job pushed to queued queue", 2);
            },
            place: "queued",
            says: &[
                "job given back",
                "more than 2 VMs are running; unable to run more than 2 at a time due to Apple SLA",
                "host does not have vm capacity",
            ],
            github: &[(CANCEL, 0), (REMOVE, 0)],
            anka: &[("clone", 1), ("start", 1), ("delete", 1)],
            ..Row::held("maximum number of running instances", 0)
        },
        Row {
            arm: |world| fails(world, "clone", 1),
            github: &[(CANCEL, 0), (REMOVE, 0)],
            anka: &[("clone", 1), ("start", 0), ("delete", 1)],
            ..Row::held("clone", 1)
        },
        Row {
            arm: |world| fails(world, "start", 1),
            github: &[(CANCEL, 0), (REMOVE, 0)],
            anka: &[("clone", 1), ("start", 1), ("delete", 1)],
            ..Row::held("start", 1)
        },
        Row {
            arm: |world| {
                let how = json!({"fail": {"code": 1, "message": "as the test planned"}});
                world.anka.arm(&json!({"match": {"verb": "start"}, "times": 2, "do": how}));
            },
            config: |config| {
                let config = config.replace("host_avoid_most: 600", "host_avoid_most: 0.1");
                config.replace("job_hold_most: 600", "job_hold_most: 0.1")
            },
            then: |_, anklet, _| {
                // The third claim knows of one try.
                anklet.wait_lines("the third claim", |lines| {
                    let found = lines.iter().filter(|line| line.message() == "queued job found");
                    found.map(|line| line.0["attempts"].as_u64().unwrap()).eq([0, 1, 1])
                });
            },
            place: "gone",
            ended: Some("success"),
            says: &["job completed"],
            anka: &[("clone", 3), ("start", 3), ("delete", 3)],
            ..Row::held("start, twice on one host", 1)
        },
        Row {
            config: |config| {
                config.replace("plugin: github,", "plugin: github, host_to_guest_folder_mounts: [/tmp],")
            },
            arm: |world| fails(world, "mount", 1),
            anka: &[("start", 1), ("mount", 1), ("cp", 0), ("delete", 1)],
            ..Row::held("mount", 1)
        },
    ]);
}

#[test]
fn scripts_and_registration() {
    check(&[
        Row {
            arm: |world| fails(world, "cp", 2),
            github: &[(CANCEL, 0), (TOKEN, 0), (REMOVE, 0)],
            anka: &[("clone", 1), ("delete", 1)],
            ..Row::held("copy", 1)
        },
        Row {
            arm: |world| fails_in_guest(world, 1),
            github: &[(CANCEL, 0), (TOKEN, 0), (REMOVE, 0)],
            anka: &[("clone", 1), ("delete", 1)],
            ..Row::held("install runner", 1)
        },
        Row {
            arm: |world| fails_in_guest(world, 2),
            config: |config| config.replace("runner_list_lag: 1", "runner_list_lag: 0.1"),
            github: &[(CANCEL, 0), (TOKEN, 1)],
            anka: &[("clone", 1), ("delete", 1)],
            ..Row::held("register runner fails", 1)
        },
        Row {
            arm: |world| world.anka.arm(&json!({"match": {"verb": "run", "nth": 2}, "do": {"hang": true}})),
            config: |config| config.replace("register_runner: 5", "register_runner: 0.5"),
            github: &[(CANCEL, 0), (TOKEN, 1)],
            anka: &[("clone", 1), ("delete", 1)],
            ..Row::held("register runner hangs", 1)
        },
        Row {
            arm: |world| fails_in_guest(world, 3),
            github: &[(CANCEL, 0), (TOKEN, 1), (REMOVE, 1)],
            anka: &[("clone", 1), ("delete", 1)],
            ..Row::held("start runner", 1)
        },
    ]);
}

#[test]
fn wait_for_in_progress() {
    let short = |config: String| {
        config.replace("plugin: github,", "plugin: github, registration_timeout_seconds: 1,")
    };
    check(&[
        Row {
            arm: |world| {
                world.github.hold_assignment(true);
            },
            config: |config| {
                // A runner that is online counts after that time only, or when others got their jobs.
                let config = config.replace("limits: {", "limits: {idle_runner: 0.1, ");
                config.replace("plugin: github,", "plugin: github, registration_timeout_seconds: 1,")
            },
            says: &["waiting for runner registration timed out, will retry", "job given back"],
            github: &[(CANCEL, 0), (ASK, 1), (REMOVE, 1)],
            anka: &[("clone", 1), ("delete", 1)],
            ..Row::held("the runner gets no job", 1)
        },
        Row {
            arm: |world| {
                world.github.hold_assignment(true);
            },
            config: short,
            then: |world, anklet, job| {
                anklet.wait_message("job is waiting for registered runner");
                world.github.cancel_run_of(job);
            },
            ended: Some("cancelled"),
            place: "gone",
            says: &["job completed"],
            anka: &[("clone", 1), ("delete", 1)],
            ..Row::named("the job is over by then")
        },
    ]);
}
