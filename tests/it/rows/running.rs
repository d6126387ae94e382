//! A job that runs, the cleanup after it, and what GitHub says at any time.

use std::time::Duration;

use fake_github::{JobStatus, Rule};
use serde_json::json;

use crate::support::World;

use super::{ASK, CANCEL, REMOVE, Row, check, runs};

const NOT_SEEN: &str = "GitHub does not let this credential see the job's repository";

#[test]
fn running_and_cleanup() {
    check(&[
        Row {
            arm: |world| {
                world.github.tune(|knobs| knobs.lost_runner_grace = Duration::from_secs(60));
            },
            config: |config| config.replace("limits: {", "limits: {running_look: 0.3, "),
            job: |world| world.job().steps_ms(30_000),
            then: |world, _, job| {
                runs(world, job);
                let vm = world.anka.running_vms().remove(0).name;
                assert!(world.anka.vm_dies(&vm, true));
            },
            place: "running",
            ended: None,
            says: &["the VM of a running job is gone; GitHub will end the job"],
            github: &[(CANCEL, 0)],
            anka: &[("clone", 1)],
            ..Row::named("VM gone")
        },
        Row {
            arm: |world| {
                let how = json!({"fail": {"code": 1, "message": "as the test planned"}});
                world.anka.arm(&json!({"match": {"verb": "delete"}, "times": 3, "do": how}));
            },
            then: |_, anklet, _| {
                anklet.wait_message("cannot delete the VM; it is tried again every minute");
                anklet.wait_message("job completed");
                // By the janitor, half a second later here.
                anklet.wait_message("cleaned up what was left of a VM");
            },
            says: &["error deleting vm"],
            anka: &[("clone", 1), ("delete", 4), ("stop", 3)],
            ..Row::named("delete fails three times")
        },
    ]);
}

#[test]
fn asked_and_cancelled() {
    let old = |world: &World| world.job().created_ago(Duration::from_secs(600));
    check(&[
        Row {
            job: |world| world.job().created_ago(Duration::from_secs(600)),
            says: &["job completed"],
            github: &[(CANCEL, 0), (ASK, 1)],
            ..Row::named("an old job is asked about once")
        },
        Row {
            job: |world| {
                world.job().created_ago(Duration::from_secs(600)).status(JobStatus::Waiting).silent()
            },
            then: |world, _, job| world.github.send_job_event(job, "queued"),
            place: "held",
            ended: None,
            says: &["queued job found"],
            github: &[(CANCEL, 0), (ASK, 1)],
            anka: &[("list", 0), ("clone", 0)],
            ..Row::named("waiting for an approval")
        },
        Row {
            arm: |world| {
                world.github.rule(
                    Rule::on(CANCEL.0, CANCEL.1)
                        .always()
                        .status(409, "Cannot cancel a workflow run that is not queued yet"),
                );
            },
            job: |_| super::job(&["anka-template:-x"]),
            place: "held",
            ended: None,
            says: &["GitHub refuses to cancel the workflow run"],
            github: &[(CANCEL, 1)],
            anka: &[("clone", 0)],
            ..Row::named("cancel refused with 409")
        },
        Row {
            arm: |world| {
                world
                    .github
                    .rule(Rule::on(CANCEL.0, CANCEL.1).always().status(403, "Resource not accessible"));
            },
            job: |_| super::job(&["anka-template:-x"]),
            place: "held",
            ended: None,
            says: &["GitHub refuses to cancel the workflow run"],
            github: &[(CANCEL, 1)],
            anka: &[("clone", 0)],
            ..Row::named("cancel refused with 403")
        },
        Row {
            arm: |world| {
                for nth in 1..=3 {
                    let how = json!({"print": "no", "exit": 9});
                    world.anka.arm(&json!({"match": {"verb": "run", "nth": nth}, "do": how}));
                }
            },
            config: |config| {
                config
                    .replace("host_avoid_most: 600", "host_avoid_most: 0.1")
                    .replace("job_hold_most: 600", "job_hold_most: 0.1")
                    .replace("plugin: github,", "plugin: github, job_retry_attempts: 1,")
            },
            says: &["job has attempts > max attempts, cancelling it", "sent cancel workflow run"],
            github: &[(CANCEL, 1), (ASK, 2)],
            anka: &[("clone", 2), ("delete", 2)],
            ..Row::cancelled("too many attempts, and GitHub calls it queued")
        },
        Row {
            arm: |world| world.anka.arm(&json!({"match": {"verb": "start"}, "do": {"delay_ms": 20_000}})),
            then: |world, anklet, job| {
                anklet.wait_message("successfully cloned template to new vm");
                world.github.cancel_run_of(job);
            },
            says: &["job completed"],
            github: &[(REMOVE, 0)],
            anka: &[("clone", 1), ("delete", 1), ("cp", 0)],
            ended: Some("cancelled"),
            ..Row::named("cancelled meanwhile")
        },
        Row {
            arm: |world| {
                world.github.rule(Rule::on(ASK.0, ASK.1).always().status(404, "Not Found"));
            },
            config: |config| config.replace("limits: {", "limits: {denied_retry: 0.1, "),
            job: old,
            ended: None,
            says: &["GitHub has deleted the job", "job completed"],
            github: &[(CANCEL, 0), (("GET", "/repos/acme/app"), 1)],
            anka: &[("clone", 0)],
            ..Row::named("404 four times, and the repository answers")
        },
        Row {
            arm: |world| {
                world.github.rule(Rule::on(ASK.0, ASK.1).always().status(404, "Not Found"));
                world.github.rule(Rule::on("GET", "/repos/acme/app").always().status(404, "Not Found"));
            },
            config: |config| config.replace("limits: {", "limits: {denied_retry: 0.1, "),
            job: old,
            place: "held",
            ended: None,
            says: &[NOT_SEEN],
            github: &[(CANCEL, 0)],
            anka: &[("clone", 0)],
            ..Row::named("404, and the repository is not to be seen")
        },
        Row {
            arm: |world| {
                world.github.rule(Rule::on(ASK.0, ASK.1).always().status(403, "Resource not accessible"));
            },
            job: old,
            place: "held",
            ended: None,
            says: &[NOT_SEEN],
            github: &[(CANCEL, 0)],
            anka: &[("clone", 0)],
            ..Row::named("the repository answers 403")
        },
    ]);
}
