//! Jobs and runs over REST, and the control endpoint that shows them to scripts.

use std::time::Duration;

use fake_github::{JobSpec, JobStatus};
use serde_json::{Value, json};

use crate::support::{LIMIT, call, github};

#[test]
fn runs_are_cancelled() {
    let github = github();
    let spec = || JobSpec::new("acme/app", &["a"]);
    let running = github.create_job(spec().name("one"));
    let run = github.job(running).run_id;
    let waiting = github.create_job(spec().name("two").run(run));
    github.start_elsewhere(running, "other");
    github.tune(|knobs| knobs.cancel_delay = Duration::from_millis(50));
    let path = format!("/repos/acme/app/actions/runs/{run}");
    let cancel = |path: &str| call(&github, "POST", path);
    github.set_run_stuck(run, true);
    assert!(cancel(&format!("{path}/cancel")).message().contains("has not been queued yet"));
    assert!(cancel(&format!("{path}/force-cancel")).message().contains("has not been queued yet"));
    github.set_run_stuck(run, false);
    github.set_run_deaf(run, true);
    assert_eq!(cancel(&format!("{path}/cancel")).status, 202);
    assert!(!github.job(waiting).is_completed());
    github.set_run_deaf(run, false);
    assert_eq!(cancel(&format!("{path}/cancel")).status, 202);
    assert_eq!(github.job(waiting).conclusion.as_deref(), Some("cancelled"), "what waits ends at once");
    assert_eq!(github.wait_completed(running, LIMIT).conclusion.as_deref(), Some("cancelled"));
    let refused = cancel(&format!("{path}/cancel"));
    assert_eq!((refused.status, refused.message()), (409, "Cannot cancel a workflow run that is completed."));
    assert_eq!(call(&github, "GET", &path).body["conclusion"], "cancelled");
    assert_eq!(cancel("/repos/acme/app/actions/runs/7/cancel").status, 404);
}

#[test]
fn jobs_and_runs_are_shown() {
    let github = github();
    let job = github.create_job(JobSpec::new("acme/app", &["a", "B"]).name("one"));
    let run = github.job(job).run_id;
    let path = format!("/repos/acme/app/actions/jobs/{job}");
    let shown = call(&github, "GET", &path).body;
    assert_eq!((&shown["id"], &shown["status"]), (&json!(job), &json!("queued")));
    assert_eq!((&shown["runner_id"], &shown["labels"]), (&Value::Null, &json!(["a", "B"])));
    let listed = |query: &str| call(&github, "GET", &format!("/repos/acme/app/actions/runs?{query}")).body;
    assert_eq!(listed("status=queued&per_page=100")["workflow_runs"][0]["id"], json!(run));
    assert_eq!(listed("status=in_progress")["total_count"], 0);
    github.complete_job(job, "cancelled");
    let shown = call(&github, "GET", &path).body;
    assert_eq!((&shown["runner_id"], &shown["runner_name"]), (&json!(0), &json!("")));
    let again = github.rerun_job(job);
    assert_eq!((github.job(again).run_attempt, github.job(again).run_id), (2, run));
    let jobs = |rest: &str| call(&github, "GET", &format!("/repos/acme/app/actions/runs/{run}{rest}")).body;
    assert_eq!(jobs("/jobs")["jobs"][0]["id"], json!(again));
    assert_eq!(jobs("/jobs?filter=all")["total_count"], 2);
    assert_eq!(jobs("/attempts/1/jobs")["jobs"][0]["id"], json!(job));
    assert_eq!(jobs("")["status"], "queued");
    github.forget_job(again);
    assert_eq!(call(&github, "GET", &format!("/repos/acme/app/actions/jobs/{again}")).status, 404);
    let waiting = github.create_job(JobSpec::new("acme/app", &["a"]).status(JobStatus::Waiting));
    let shown = call(&github, "GET", &format!("/repos/acme/app/actions/jobs/{waiting}")).body;
    assert_eq!(shown["status"], "waiting");
    assert_eq!(github.violations(), Vec::<String>::new());
}

#[test]
fn ids_are_large_by_turns() {
    let github = github();
    let ids: Vec<u64> = (0..8).map(|_| github.create_job(JobSpec::new("acme/app", &["a"]))).collect();
    assert!(ids.iter().any(|id| *id > 1 << 53) && ids.iter().any(|id| *id < 1 << 53), "{ids:?}");
    let large = ids.iter().find(|id| **id > 1 << 53).unwrap();
    let text = call(&github, "GET", &format!("/repos/acme/app/actions/jobs/{large}")).body["id"].to_string();
    assert_eq!(text, large.to_string());
}

#[test]
fn the_control_endpoint_does_what_the_demo_needs() {
    let github = github();
    let command = |body: Value| crate::support::fake(&github, "POST", "/_fake/control", &body);
    let made =
        command(json!({ "command": "create_job", "repo": "acme/app", "labels": ["a"], "name": "demo" }));
    let id = made.body["id"].as_u64().unwrap();
    assert_eq!(github.job(id).name, "demo");
    let run_id = made.body["run_id"].clone();
    assert_eq!(command(json!({ "command": "cancel_run", "run_id": run_id })).body["ok"], true);
    let ended = command(json!({ "command": "wait_job", "id": id, "status": "completed" }));
    assert_eq!(ended.body["conclusion"], "cancelled");
    assert_eq!(command(json!({ "command": "state" })).body["jobs"][0]["name"], "demo");
    assert_eq!(command(json!({ "command": "dance" })).status, 400);
    let late = command(json!({ "command": "wait_job", "id": 1, "status": "queued", "limit_ms": 1 }));
    assert_eq!(late.status, 400);
}
