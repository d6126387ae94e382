//! Webhooks and answers in every shape GitHub was seen to use, and in some it should not.

use serde_json::{Value, json};

use super::*;

/// A webhook as GitHub sends them today.
fn today(action: &str) -> Value {
    json!({
        "action": action,
        "workflow_job": {
            "id": 9_007_199_254_740_993_u64, "run_id": 18_446_744_073_709_551_615_u64, "run_attempt": 2,
            "workflow_name": "CI", "head_branch": "main", "status": action, "conclusion": null,
            "created_at": "2026-03-04T05:06:07Z", "started_at": "2026-03-04T05:06:07Z", "completed_at": null,
            "name": "build", "steps": [{"name": "x", "number": 1}], "labels": ["anka-template:U", "anka-template-tag:v1"],
            "runner_id": null, "runner_name": null, "runner_group_id": null, "runner_group_name": null,
            "html_url": "https://github.com/Octo-Org/Hello/actions/runs/1/job/2", "a_new_key": {"x": [1, 2]},
        },
        "repository": {"id": 1, "name": "Hello", "full_name": "Octo-Org/Hello", "owner": {"login": "Octo-Org", "id": 2}},
        "organization": {"login": "Octo-Org"}, "sender": {"login": "someone"}, "installation": {"id": 5},
    })
}

fn read(body: &Value) -> Result<Webhook, WireError> {
    webhook(body.to_string().as_bytes())
}

#[track_caller]
fn news(body: &Value) -> News {
    match read(body) {
        Ok(Webhook::News(news)) => *news,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn check_phase(action: &str, change: impl Fn(&mut Value), expected: Phase) {
    let mut body = today(action);
    change(&mut body["workflow_job"]);
    assert_eq!(news(&body).phase, expected);
}

fn named(runner: &str) -> Option<String> {
    Some(runner.to_owned())
}

#[test]
fn every_fact_of_a_job_is_read() {
    let News { job, phase, for_us } = news(&today("queued"));
    assert!(for_us);
    assert_eq!(phase, Phase::Queued);
    assert_eq!((job.id, job.run_id), (JobId(9_007_199_254_740_993), RunId(u64::MAX)));
    assert_eq!((job.run_attempt, job.owner.as_str(), job.repo.as_str()), (2, "Octo-Org", "Hello"));
    assert_eq!((job.image.template.as_str(), job.image.tag.as_deref()), ("U", Some("v1")));
    assert_eq!((job.name.as_str(), job.workflow.as_str()), ("build", "CI"));
    assert!(job.html_url.ends_with("/job/2"));
    assert_eq!(job.created_at, Some(Moment(1_772_600_767_000)));
    assert_eq!(job.enterprise, None);
}

#[test]
fn a_webhook_of_2021_is_enough() {
    let body = json!({
        "action": "queued", "workflow_job": {"id": 3, "run_id": 4, "labels": ["anka-template:U"]},
        "repository": {"name": "r", "owner": {"login": "o"}},
    });
    let job = news(&body).job;
    assert_eq!((job.run_attempt, job.created_at, job.workflow.as_str()), (1, None, ""));
}

#[test]
fn an_enterprise_is_kept() {
    let mut body = today("queued");
    body["enterprise"] = json!({"slug": "big", "id": 4});
    assert_eq!(news(&body).job.enterprise.as_deref(), Some("big"));
    body["workflow_job"]["workflow_name"] = Value::Null;
    assert_eq!(news(&body).job.workflow, "");
}

#[test]
fn labels_say_whether_it_is_for_us() {
    let mut body = today("completed");
    body["workflow_job"]["labels"] = json!([]);
    assert!(!news(&body).for_us);
    body["workflow_job"]["labels"] = json!(["anka-template-tag:v1"]);
    let news = news(&body);
    assert!(news.for_us && news.job.image.template.is_empty());
}

#[test]
fn the_action_decides_the_phase() {
    check_phase("queued", |job| job["status"] = json!("waiting"), Phase::Queued);
    check_phase("queued", |job| job["runner_name"] = json!("vm-1"), Phase::Queued);
    check_phase(
        "in_progress",
        |job| job["runner_name"] = json!("vm-1"),
        Phase::InProgress { runner: named("vm-1") },
    );
    for none in [json!(null), json!("")] {
        check_phase(
            "in_progress",
            move |job| job["runner_name"] = none.clone(),
            Phase::InProgress { runner: None },
        );
    }
    let completed = |conclusion, runner| Phase::Completed { conclusion, runner };
    for (word, conclusion) in [
        ("success", Conclusion::Success),
        ("cancelled", Conclusion::Cancelled),
        ("timed_out", Conclusion::Other("timed_out".into())),
    ] {
        let change = move |job: &mut Value| {
            job["conclusion"] = json!(word);
            job["runner_name"] = json!("vm-1");
        };
        check_phase("completed", change, completed(conclusion, named("vm-1")));
    }
    let remove = |job: &mut Value| {
        job.as_object_mut().unwrap().remove("runner_name");
    };
    check_phase("completed", remove, completed(Conclusion::Other("unknown".into()), None));
}

#[test]
fn what_moves_no_job_is_ignored() {
    for action in ["waiting", "something_new"] {
        assert!(matches!(read(&today(action)).unwrap(), Webhook::Ignored(_)), "{action}");
    }
    let mut cancelled = today("in_progress");
    cancelled["workflow_job"]["conclusion"] = json!("cancelled");
    assert!(matches!(read(&cancelled).unwrap(), Webhook::Ignored(_)));
}

#[test]
fn what_is_missing_is_named() {
    for field in [
        "action",
        "workflow_job",
        "workflow_job.id",
        "workflow_job.run_id",
        "workflow_job.labels",
        "repository",
        "repository.name",
        "repository.owner.login",
    ] {
        let pointer = format!("/{}", field.replace('.', "/"));
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let mut body = today("queued");
        body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
        assert_eq!(read(&body).unwrap_err().to_string(), format!("`{field}` is missing"));
    }
}

#[test]
fn what_is_wrong_is_named() {
    for (pointer, wrong) in [
        ("/action", json!(1)),
        ("/workflow_job/id", json!("12")),
        ("/workflow_job/id", json!(-1)),
        ("/workflow_job/run_id", json!(1.5)),
        ("/workflow_job/labels", json!("a")),
        ("/workflow_job/labels", json!([1])),
        ("/repository/name", json!([])),
    ] {
        let mut body = today("queued");
        *body.pointer_mut(pointer).unwrap() = wrong;
        let error = read(&body).unwrap_err().to_string();
        let field = pointer.trim_start_matches('/').replace('/', ".");
        assert!(error.starts_with(&format!("`{field}` is not ")), "{error}");
    }
    for broken in ["", "{", "null", "{\"action\":\"queued\",\"workflow_job\":3}"] {
        assert!(matches!(webhook(broken.as_bytes()), Err(WireError::Broken(_))), "{broken}");
    }
    assert!(matches!(webhook(b"[]"), Err(WireError::Missing("action"))));
    let deep = format!("{{\"action\":{}1", "[".repeat(1_000_000));
    assert!(matches!(webhook(deep.as_bytes()), Err(WireError::Broken(_))));
}

#[track_caller]
fn check_state(status: &str, conclusion: Value, runner: Value, expected: Phase, is_held_back: bool) {
    let mut written = today("queued")["workflow_job"].clone();
    written["status"] = json!(status);
    written["conclusion"] = conclusion;
    written["runner_name"] = runner;
    let written: WrittenJob = serde_json::from_value(written).unwrap();
    let state = written.state("o", "r").unwrap();
    assert_eq!(state.phase, expected);
    assert_eq!(state.status.is_held_back(), is_held_back);
    assert_eq!(state.status.to_string(), status);
    assert_eq!(state.news().job.owner, "o");
    assert_eq!(state.is_on("vm-1"), expected.runner() == Some("vm-1"));
}

#[test]
fn answers_of_the_api_are_read_by_status() {
    let null = || Value::Null;
    check_state("queued", null(), json!(""), Phase::Queued, false);
    for held_back in ["waiting", "pending", "requested", "something_new"] {
        check_state(held_back, null(), null(), Phase::Queued, true);
    }
    let on_vm = || Phase::InProgress { runner: named("vm-1") };
    check_state("in_progress", null(), json!("vm-1"), on_vm(), false);
    check_state("in_progress", json!("cancelled"), json!("vm-1"), on_vm(), false);
    let over = Phase::Completed { conclusion: Conclusion::Cancelled, runner: None };
    check_state("in_progress", json!("cancelled"), null(), over, false);
    let over = Phase::Completed { conclusion: Conclusion::Failure, runner: named("vm-1") };
    check_state("completed", json!("failure"), json!("vm-1"), over, false);
}
