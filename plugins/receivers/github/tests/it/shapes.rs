//! Webhooks in every shape that GitHub was seen to send, all of our own making.

use anklet_plugin_api::job::{Conclusion, Phase, RunId};
use anklet_plugin_api::name::{HostId, PluginName, VmName};
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::store::{Place, Store};
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::{Stage, VmRecord};
use serde_json::{Value, json};

use crate::order::claim;
use crate::support::Bench;

/// Over 2^53, where numbers that pass through floating point change.
pub(crate) const JOB: u64 = 9_007_199_254_740_993;

/// A webhook as repositories of organizations send it today.
pub(crate) fn today(action: &str) -> Value {
    json!({
        "action": action,
        "workflow_job": {
            "id": JOB, "run_id": u64::MAX, "run_attempt": 1, "node_id": "CR_x", "check_run_url": "https://api.github.com/x",
            "workflow_name": "CI", "head_branch": "main", "head_sha": "d3adb33f", "status": action,
            "conclusion": if action == "completed" { json!("success") } else { Value::Null },
            "created_at": "2026-03-04T05:06:07Z", "started_at": "2026-03-04T05:06:07Z", "completed_at": null,
            "name": "build (1, 2)", "steps": [{"name": "Set up job", "status": "queued", "conclusion": null, "number": 1}],
            "labels": ["anka-template:U", "anka-template-tag:v1"],
            "runner_id": null, "runner_name": null, "runner_group_id": null, "runner_group_name": null,
            "html_url": "https://github.com/Octo/Hello/actions/runs/1/job/2",
        },
        "repository": {"id": 1, "name": "Hello", "full_name": "Octo/Hello", "private": true, "owner": {"login": "Octo", "id": 2}},
        "organization": {"login": "Octo", "id": 2}, "sender": {"login": "dev", "id": 3},
    })
}

/// The part that tests change.
pub(crate) fn job(body: &mut Value) -> &mut Value {
    &mut body["workflow_job"]
}

fn without(body: &mut Value, keys: &[&str]) {
    for key in keys {
        body.as_object_mut().expect("an object").remove(*key).expect("a key");
    }
}

/// Delivers and says where the job is now.
#[track_caller]
fn check(change: impl FnOnce(&mut Value), action: &str, phase: &Phase, place: &Place) {
    let bench = Bench::start();
    let mut body = today(action);
    change(&mut body);
    assert_eq!(bench.deliver_job(&body).status, 200);
    let entry = bench.entry(JOB).expect("the job is stored");
    assert_eq!((&entry.phase, &entry.place), (phase, place));
}

fn on(runner: Option<&str>) -> Phase {
    Phase::InProgress { runner: runner.map(str::to_owned) }
}

#[test]
fn a_queued_job_is_stored_whole() {
    let bench = Bench::start();
    bench.deliver_job(&today("queued")).is(200, "queued");
    let stored = bench.entry(JOB).expect("the job is stored");
    assert_eq!((stored.phase, stored.place, stored.attempts), (Phase::Queued, Place::Queued, 0));
    let job = stored.job;
    assert_eq!((job.run_id, job.run_attempt), (RunId(u64::MAX), 1));
    assert_eq!((job.owner.as_str(), job.repo.as_str(), job.enterprise), ("Octo", "Hello", None));
    assert_eq!((job.image.template.as_str(), job.image.tag.as_deref()), ("U", Some("v1")));
    assert_eq!((job.workflow.as_str(), job.name.as_str()), ("CI", "build (1, 2)"));
    assert_eq!(job.created_at, Some(Moment(1_772_600_767_000)));
}

#[test]
fn fields_come_and_go() {
    // 2021.
    let old = |body: &mut Value| {
        without(body, &["organization"]);
        let keys = ["run_attempt", "workflow_name", "created_at", "head_branch", "conclusion", "steps"];
        without(job(body), &keys);
        without(job(body), &["runner_id", "runner_name", "runner_group_id", "runner_group_name"]);
    };
    check(old, "queued", &Phase::Queued, &Place::Queued);
    // The least.
    let least = |body: &mut Value| {
        *body = json!({
            "action": "queued", "workflow_job": {"id": JOB, "run_id": 1, "labels": ["anka-template:U"]},
            "repository": {"name": "r", "owner": {"login": "o"}},
        });
    };
    check(least, "queued", &Phase::Queued, &Place::Queued);
    // Tomorrow, and an App's webhook after an approval.
    let new = |body: &mut Value| {
        body["installation"] = json!({"id": 5});
        body["deployment"] = json!({"id": 6, "payload": {}});
        body["a_new_key"] = json!([[], {}]);
        job(body)["a_new_key"] = json!({"deep": [1, 2.5, null]});
        job(body)["workflow_name"] = Value::Null;
        job(body)["head_branch"] = Value::Null;
    };
    check(new, "queued", &Phase::Queued, &Place::Queued);
}

#[test]
fn the_action_counts_and_not_the_status() {
    check(|body| job(body)["status"] = "waiting".into(), "queued", &Phase::Queued, &Place::Queued);
    let assigned = |body: &mut Value| {
        job(body)["runner_id"] = 5.into();
        job(body)["runner_name"] = "GitHub Actions 5".into();
    };
    check(assigned, "queued", &Phase::Queued, &Place::Queued);
}

#[test]
fn an_enterprise_is_kept() {
    let bench = Bench::start();
    let mut body = today("queued");
    body["enterprise"] = json!({"slug": "big", "id": 1});
    bench.deliver_job(&body).is(200, "queued");
    assert_eq!(bench.entry(JOB).and_then(|entry| entry.job.enterprise).as_deref(), Some("big"));
}

#[test]
fn a_job_that_runs_before_it_was_queued_is_kept() {
    check(|_| (), "in_progress", &on(None), &Place::Running);
    let none = |body: &mut Value| {
        job(body)["runner_id"] = 0.into();
        job(body)["runner_name"] = "".into();
    };
    check(none, "in_progress", &on(None), &Place::Running);
    let named = |body: &mut Value| job(body)["runner_name"] = "anklet-vm-1".into();
    check(named, "in_progress", &on(Some("anklet-vm-1")), &Place::Running);
}

#[test]
fn in_progress_but_cancelled_is_not_in_progress() {
    let bench = Bench::start();
    let mut cancelled = today("in_progress");
    job(&mut cancelled)["conclusion"] = "cancelled".into();
    bench.deliver_job(&cancelled).is(200, "ignored");
    bench.holds_nothing();
    bench.deliver_job(&today("queued")).is(200, "queued");
    bench.deliver_job(&cancelled).is(200, "ignored");
    assert_eq!(bench.entry(JOB).map(|entry| entry.phase), Some(Phase::Queued));
}

#[test]
fn other_actions_move_nothing() {
    let bench = Bench::start();
    for action in ["waiting", "something_new"] {
        bench.deliver_job(&today(action)).is(200, "ignored");
    }
    // They need not even look like a job.
    bench.deliver("workflow_job", r#"{"action": "something_new"}"#).is(200, "ignored");
    bench.holds_nothing();
}

#[test]
fn jobs_that_never_ran_end_too() {
    let bench = Bench::start();
    bench.deliver_job(&today("queued")).is(200, "queued");
    let mut skipped = today("completed");
    job(&mut skipped)["conclusion"] = "skipped".into();
    job(&mut skipped)["labels"] = json!([]);
    bench.deliver_job(&skipped).is(200, "noted");
    bench.holds_nothing();
    assert!(bench.entry(JOB).is_none());
    // As check runs are: without labels, of a job that is not known.
    job(&mut skipped)["id"] = 77.into();
    bench.deliver_job(&skipped).is(200, "not for Anklet");
}

#[test]
fn news_of_our_runner_is_used_whatever_its_labels() {
    let bench = Bench::start();
    let record = VmRecord {
        vm: VmName::new("anklet-vm-1"),
        host: HostId::new("host"),
        plugin: PluginName::new("handler"),
        queue: "octo".to_owned(),
        scope: Scope::Organization { owner: "octo".to_owned() },
        job: None,
        run: None,
        repository: String::new(),
        labels: vec!["self-hosted".to_owned()],
        stage: Stage::Waiting,
        jit: None,
        registering_at: None,
        registered_at: None,
        created_at: Moment(1),
        failed_deletions: 0,
    };
    bench.store.put_vm(None, &record).unwrap();
    let mut body = today("in_progress");
    job(&mut body)["labels"] = json!(["self-hosted"]);
    job(&mut body)["runner_name"] = "anklet-vm-1".into();
    bench.deliver_job(&body).is(200, "noted");
    assert_eq!(bench.entry(JOB).map(|entry| entry.phase), Some(on(Some("anklet-vm-1"))));
    let mut body = today("completed");
    job(&mut body)["labels"] = json!([]);
    bench.deliver_job(&body).is(200, "noted");
    assert!(bench.entry(JOB).is_none());
}

#[test]
fn every_conclusion_ends_a_job() {
    for (conclusion, read) in [
        (json!("failure"), Conclusion::Failure),
        (json!("timed_out"), Conclusion::Other("timed_out".to_owned())),
        (json!("a word of the future"), Conclusion::Other("a word of the future".to_owned())),
        (Value::Null, Conclusion::Other("unknown".to_owned())),
    ] {
        let bench = Bench::start();
        let handler = PluginName::new("handler");
        let signals = bench.store.subscribe(&handler);
        bench.deliver_job(&today("queued")).is(200, "queued");
        claim(&bench, &handler);
        let mut body = today("completed");
        job(&mut body)["conclusion"] = conclusion;
        bench.deliver_job(&body).is(200, "noted");
        let phase = bench.entry(JOB).map(|entry| entry.phase);
        assert_eq!(phase, Some(Phase::Completed { conclusion: read, runner: None }));
        assert!(signals.try_iter().count() > 0);
    }
}
