//! Each call about jobs and runs against a scripted server.

use anklet_plugin_api::job::Phase;
use serde_json::{Value, json};

use super::*;
use crate::testing::{Server, Step, answer};
use crate::wire::JobStatus;

const REPOSITORY: Repository = Repository { owner: "Octo-Org", repo: "hello.world" };

fn job(id: u64, status: &str, runner: &str) -> Value {
    json!({
        "id": id, "run_id": 5, "run_attempt": 3, "status": status, "conclusion": null, "labels": ["anka-template:U"],
        "name": "build", "workflow_name": "CI", "html_url": "https://github.com/Octo-Org/hello.world/actions/runs/5/job/7",
        "created_at": "2026-03-04T05:06:07Z", "started_at": "2026-03-04T05:06:07Z", "steps": [],
        "runner_id": 0, "runner_name": runner, "runner_group_id": 0, "runner_group_name": "",
    })
}

#[test]
fn the_state_of_a_job_is_read() {
    let server = Server::new([answer(200, job(7, "in_progress", "vm-1"))]);
    let state = server.client().job_state(REPOSITORY, JobId(7), &Ear::deaf()).unwrap();
    assert_eq!(server.lines(), ["GET /repos/Octo-Org/hello.world/actions/jobs/7 HTTP/1.1"]);
    assert_eq!((state.job.owner.as_str(), state.job.repo.as_str()), ("Octo-Org", "hello.world"));
    assert_eq!((state.job.run_id, state.job.run_attempt), (RunId(5), 3));
    assert_eq!(state.phase, Phase::InProgress { runner: Some("vm-1".into()) });
    assert!(state.is_on("vm-1") && !state.is_on("vm-2") && state.for_us);
}

#[test]
fn an_answer_about_something_else_is_nonsense() {
    for body in [
        job(8, "queued", "").to_string(),
        "{}".into(),
        "null".into(),
        r#"{"id":7,"run_id":5,"labels":[]}"#.into(),
    ] {
        let server = Server::new([answer(200, body)]);
        let error = server.client().job_state(REPOSITORY, JobId(7), &Ear::deaf()).unwrap_err();
        assert!(matches!(error, ClientError::Nonsense { .. }), "{error:?}");
    }
}

#[test]
fn all_jobs_of_a_run_are_read_over_its_pages() {
    let page = |jobs: Vec<Value>| json!({"total_count": 3, "jobs": jobs}).to_string();
    let next = vec![("Link", "</repositories/1/jobs?page=2>; rel=\"next\"".to_owned())];
    let server = Server::new([
        Step::Answer(200, next, page(vec![job(1, "queued", ""), job(2, "pending", "")]).into()),
        answer(200, page(vec![job(3, "in_progress", "vm-1")])),
    ]);
    let states = server.client().run_jobs(REPOSITORY, RunId(5), &Ear::deaf()).unwrap();
    let on_ours: Vec<_> =
        states.iter().filter(|state| state.is_on("vm-1")).map(|state| state.job.id).collect();
    assert_eq!((states.len(), on_ours), (3, vec![JobId(3)]));
    assert_eq!(states[1].status, JobStatus::Pending);
    assert_eq!(
        server.lines(),
        [
            "GET /repos/Octo-Org/hello.world/actions/runs/5/jobs?filter=latest&per_page=100 HTTP/1.1",
            "GET /repositories/1/jobs?page=2 HTTP/1.1"
        ]
    );
}

#[track_caller]
fn check_cancel(script: Vec<Step>, expected: Cancellation) {
    let server = Server::new(script.clone());
    assert_eq!(server.client().cancel_run(REPOSITORY, RunId(5), &Ear::deaf()), Ok(expected), "{script:?}");
    let line = "POST /repos/Octo-Org/hello.world/actions/runs/5/cancel HTTP/1.1";
    assert_eq!(server.lines(), vec![line; script.len()]);
}

#[test]
fn a_cancellation_has_three_ends() {
    let refused = |status, message: &str, permission: Option<&str>| {
        Cancellation::Refused(Refusal {
            status,
            message: message.into(),
            permission: permission.map(ToOwned::to_owned),
        })
    };
    let says = |status, message: &str| answer(status, json!({"message": message}));
    check_cancel(vec![answer(202, "{}")], Cancellation::Accepted);
    check_cancel(
        vec![says(409, "Cannot cancel a workflow run that is completed.")],
        Cancellation::AlreadyOver,
    );
    // The first request worked, but its answer was lost.
    check_cancel(vec![Step::Drop, says(409, "It is Completed")], Cancellation::AlreadyOver);
    let not_yet = "Cannot cancel a workflow run that has not been queued yet.";
    check_cancel(vec![says(409, not_yet)], refused(409, not_yet, None));
    let permission = vec![("X-Accepted-GitHub-Permissions", "actions=write".to_owned())];
    let forbidden =
        Step::Answer(403, permission, r#"{"message":"Resource not accessible by integration"}"#.into());
    check_cancel(
        vec![forbidden],
        refused(403, "Resource not accessible by integration", Some("actions=write")),
    );
    check_cancel(vec![says(404, "Not Found"); 3], refused(404, "Not Found", None));
}

#[test]
fn a_run_is_cancelled_by_force_in_the_same_ways() {
    for (step, expected) in [
        (answer(202, "{}"), Cancellation::Accepted),
        (
            answer(409, json!({"message": "Cannot cancel a workflow run that is completed."})),
            Cancellation::AlreadyOver,
        ),
    ] {
        let server = Server::new([step]);
        let ended = server.client().force_cancel_run(REPOSITORY, RunId(5), &Ear::deaf()).unwrap();
        assert_eq!(ended, expected);
        let line = "POST /repos/Octo-Org/hello.world/actions/runs/5/force-cancel HTTP/1.1";
        assert_eq!(server.lines(), [line]);
    }
}

#[test]
fn a_limit_is_no_refusal() {
    let headers = vec![("Retry-After", "1".to_owned())];
    let server = Server::new([Step::Answer(403, headers, "{}".into()), answer(202, "{}")]);
    let cancelled = server.client().cancel_run(REPOSITORY, RunId(5), &Ear::deaf()).unwrap();
    assert_eq!(cancelled, Cancellation::Accepted);
}

#[test]
fn a_repository_is_seen_or_not() {
    let server = Server::new([answer(200, "{\"id\":1}")]);
    server.client().see_repository(REPOSITORY, &Ear::deaf()).unwrap();
    assert_eq!(server.lines(), ["GET /repos/Octo-Org/hello.world HTTP/1.1"]);
}
