//! The guest's side: registration, listening, assignment, and VMs that go away.

use std::net::Shutdown;
use std::time::Duration;

use fake_github::{JobSpec, JobStatus, RegistrationEnd};
use serde_json::{Value, json};

use crate::support::{LIMIT, Listener, call, call_as, fake, github, register};

#[test]
fn a_job_runs_on_a_runner_and_both_end() {
    let github = github();
    let id = register(&github, "acme/app", "vm-1", &["anka-template:1", "extra"]);
    let mut listener = Listener::new(&github, id, "vm-1");
    assert_eq!(listener.next(), json!({ "event": "online" }));
    let job =
        github.create_job(JobSpec::new("acme/app", &["ANKA-template:1"]).steps_ms(7).conclusion("failure"));
    let told = json!({ "event": "job", "job_id": job, "steps_ms": 7, "conclusion": "failure" });
    assert_eq!(listener.next(), told);
    let running = github.wait_in_progress(job, LIMIT);
    assert_eq!((running.runner_id, running.runner_name.as_deref()), (Some(id), Some("vm-1")));
    let path = format!("/_fake/jobs/{job}/done");
    let body = json!({ "runner": "vm-2", "conclusion": "success" });
    assert_eq!(fake(&github, "POST", &path, &body).body, json!({ "accepted": false }));
    let body = json!({ "runner": "vm-1", "conclusion": "failure" });
    assert_eq!(fake(&github, "POST", &path, &body).body, json!({ "accepted": true }));
    assert_eq!(listener.next(), json!({ "event": "stop" }));
    assert_eq!(listener.next(), Value::Null);
    assert_eq!(github.job(job).conclusion.as_deref(), Some("failure"));
    assert!(github.runners("acme/app").is_empty());
    let history = github.registrations();
    assert_eq!((&history[0].jobs, history[0].ended.unwrap().1), (&vec![job], RegistrationEnd::JobDone));
    let steps: Vec<JobStatus> = github.job(job).history.iter().map(|step| step.status).collect();
    assert_eq!(steps, [JobStatus::Queued, JobStatus::InProgress, JobStatus::Completed]);
}

fn check_registration(change: impl Fn(&mut Value), status: u16, message: &str) {
    let github = github();
    github.add_repo("acme/other").add_runner("acme/app", "taken", &["a"]);
    github.add_runner_group("acme", "macs");
    let token =
        call(&github, "POST", "/repos/acme/app/actions/runners/registration-token").body["token"].clone();
    let mut body = json!({
        "url": format!("{}/acme/app", github.url()), "token": token, "name": "vm-1", "labels": ["a"],
        "group": null, "ephemeral": true, "version": "2.336.0",
    });
    change(&mut body);
    let reply = fake(&github, "POST", "/_fake/runners", &body);
    assert_eq!(reply.status, status, "{reply:?}");
    assert!(reply.message().contains(message), "{reply:?}");
}

#[test]
fn registration_is_checked() {
    check_registration(|_| (), 201, "");
    check_registration(|body| body["token"] = json!("wrong"), 404, "NotFound");
    check_registration(
        |body| body["name"] = json!("TAKEN"),
        409,
        "A runner exists with the same name TAKEN.",
    );
    let replacing = |body: &mut Value| {
        body["name"] = json!("taken");
        body["replace"] = json!(true);
    };
    check_registration(replacing, 201, "");
    check_registration(|body| body["name"] = json!("n".repeat(65)), 400, "64");
    check_registration(|body| body["labels"] = json!([]), 400, "labels");
    check_registration(|body| body["group"] = json!("default"), 201, "");
    check_registration(
        |body| body["group"] = json!("macs"),
        404,
        "Could not find any self-hosted runner group named \"macs\".",
    );
    check_registration(|body| body["url"] = json!("http://elsewhere/acme/app"), 404, "Not Found");
    let other = |body: &mut Value| {
        body["url"] = json!(body["url"].as_str().unwrap().replace("/app", "/other"));
    };
    check_registration(other, 404, "NotFound");
}

#[test]
fn tokens_expire_and_do_one_thing() {
    let github = github();
    let token = |kind: &str| {
        call(&github, "POST", &format!("/orgs/acme/actions/runners/{kind}-token")).body["token"].clone()
    };
    let body = |token: Value| json!({ "url": format!("{}/acme", github.url()), "token": token, "name": "vm-1", "labels": ["a"] });
    let (register, remove) = (token("registration"), token("remove"));
    assert_eq!(fake(&github, "POST", "/_fake/runners", &body(remove.clone())).status, 404);
    assert_eq!(fake(&github, "POST", "/_fake/runners", &body(register.clone())).status, 201);
    assert_eq!(fake(&github, "DELETE", "/_fake/runners", &body(register.clone())).status, 404);
    assert_eq!(fake(&github, "DELETE", "/_fake/runners", &body(remove.clone())).status, 204);
    assert_eq!(fake(&github, "DELETE", "/_fake/runners", &body(remove)).status, 404);
    github.move_clock(3601);
    assert_eq!(fake(&github, "POST", "/_fake/runners", &body(register)).status, 401);
}

#[test]
fn the_oldest_job_whose_labels_fit_comes_first() {
    let github = github();
    github.add_repo("acme/other").add_repo("foreign/app").add_enterprise("big", &["acme"]);
    let job = |repo: &str, labels: &[&str]| github.create_job(JobSpec::new(repo, labels));
    let foreign = job("foreign/app", &["a"]);
    let too_much = job("acme/app", &["a", "b"]);
    let without_labels = job("acme/app", &[]);
    let first = job("acme/app", &["a"]);
    let second = job("acme/other", &["a"]);
    let third = job("acme/app", &["a"]);
    let online = |scope: &str, name: &str| {
        let id = github.add_runner(scope, name, &["a"]);
        github.set_runner_online(id, true);
    };
    online("acme/app", "r");
    online("acme", "o");
    online("enterprises/big", "e");
    let runner = |id| github.job(id).runner_name.unwrap_or_default();
    assert_eq!([runner(first), runner(second), runner(third)], ["r", "o", "e"]);
    assert_eq!([runner(foreign), runner(too_much), runner(without_labels)], ["", "", ""]);
}

#[test]
fn tests_decide_who_gets_what() {
    let github = github();
    let job = |name: &str| github.create_job(JobSpec::new("acme/app", &["a"]).name(name));
    github.hold_assignment(true);
    let (one, two, three, four) = (job("1"), job("2"), job("3"), job("4"));
    let ids = ["x", "y", "z"].map(|name| github.add_runner("acme/app", name, &["a"]));
    ids.into_iter().for_each(|id| github.set_runner_online(id, true));
    assert_eq!(github.job(one).status, JobStatus::Queued);
    github.assign(one, "y");
    github.assign(two, "x");
    let runner = |id| github.job(id).runner_name.unwrap_or_default();
    assert_eq!([runner(one), runner(two), runner(three)], ["y", "x", ""]);
    github.start_elsewhere(four, "outside");
    assert_eq!(runner(four), "outside");
    github.hold_assignment(false);
    assert_eq!(runner(three), "z");
    github.set_job_status(three, JobStatus::Waiting);
    assert!(!github.runners("acme/app").iter().any(|runner| runner.job == Some(three)));
    github.set_job_status(three, JobStatus::Queued);
    assert_eq!(github.job(three).status, JobStatus::InProgress, "an idle runner is there");
}

#[test]
fn a_pinned_pair_waits_for_each_other() {
    let github = github();
    let pinned = github.create_job(JobSpec::new("acme/app", &["b"]));
    github.assign(pinned, "x");
    let other = github.create_job(JobSpec::new("acme/app", &["a"]));
    let id = github.add_runner("acme/app", "x", &["a"]);
    github.set_runner_online(id, true);
    assert_eq!((github.job(pinned).runner_id, github.job(other).runner_id), (Some(id), None));
}

#[test]
fn a_vm_that_goes_away_fails_its_job() {
    let github = github();
    github.tune(|knobs| knobs.lost_runner_grace = Duration::from_millis(100));
    let id = register(&github, "acme/app", "vm-1", &["a"]);
    let mut listener = Listener::new(&github, id, "vm-1");
    let job = github.create_job(JobSpec::new("acme/app", &["a"]));
    listener.next();
    listener.next();
    listener.stream.shutdown(Shutdown::Both).unwrap();
    assert!(github.wait_for(|state| state.runners.get(&id).is_none_or(|runner| !runner.online), LIMIT));
    let ended = github.wait_completed(job, LIMIT);
    assert_eq!(ended.conclusion.as_deref(), Some("failure"));
    assert!(github.runners("acme/app").is_empty());
}

#[test]
fn a_runner_may_come_back_within_the_grace() {
    let github = github();
    github.tune(|knobs| knobs.lost_runner_grace = Duration::from_millis(300));
    let id = register(&github, "acme/app", "vm-1", &["a"]);
    let mut listener = Listener::new(&github, id, "vm-1");
    let job = github.create_job(JobSpec::new("acme/app", &["a"]));
    listener.next();
    listener.next();
    let refused = fake(&github, "POST", &format!("/_fake/runners/{id}/listen"), &json!({ "name": "vm-1" }));
    assert_eq!(refused.status, 409, "one session at a time");
    listener.stream.shutdown(Shutdown::Both).unwrap();
    assert!(github.wait_for(|state| !state.runners[&id].online, LIMIT));
    let mut again = Listener::new(&github, id, "vm-1");
    assert_eq!(again.next()["event"], "online");
    assert_eq!(again.next()["job_id"], json!(job), "it is told its job again");
    let is_over = github.wait_for(|state| state.jobs[&job].is_completed(), Duration::from_millis(600));
    assert!(!is_over, "the job goes on");
}

#[test]
fn an_idle_runner_that_breaks_off_stays_listed_offline() {
    let github = github();
    let id = register(&github, "acme/app", "vm-1", &["a"]);
    let mut listener = Listener::new(&github, id, "vm-1");
    listener.next();
    assert!(github.wait_for(|state| state.runners[&id].online, LIMIT));
    drop(listener);
    assert!(github.wait_for(|state| !state.runners[&id].online, LIMIT));
    let job = github.create_job(JobSpec::new("acme/app", &["a"]));
    assert_eq!(github.job(job).status, JobStatus::Queued);
    assert_eq!(
        call(&github, "GET", &format!("/repos/acme/app/actions/runners/{id}")).body["status"],
        "offline"
    );
}

#[test]
fn a_deleted_runner_is_told_to_stop() {
    let github = github();
    let id = register(&github, "acme/app", "vm-1", &["a"]);
    let mut listener = Listener::new(&github, id, "vm-1");
    listener.next();
    assert_eq!(call(&github, "DELETE", &format!("/repos/acme/app/actions/runners/{id}")).status, 204);
    assert_eq!(listener.next(), json!({ "event": "stop" }));
    let refused = fake(&github, "POST", &format!("/_fake/runners/{id}/listen"), &json!({ "name": "vm-1" }));
    assert_eq!(refused.status, 404);
}

#[test]
fn a_cancelled_job_stops_its_runner() {
    let github = github();
    let id = register(&github, "acme/app", "vm-1", &["a"]);
    let mut listener = Listener::new(&github, id, "vm-1");
    let job = github.create_job(JobSpec::new("acme/app", &["a"]));
    listener.next();
    assert_eq!(listener.next()["event"], "job");
    assert!(github.cancel_run_of(job));
    assert_eq!(listener.next()["event"], "stop");
    assert_eq!(github.job(job).conclusion.as_deref(), Some("cancelled"));
}

#[test]
fn a_jit_runner_connects_with_its_configuration() {
    let github = github();
    let body = json!({ "name": "vm-1", "runner_group_id": 1, "labels": ["a"], "work_folder": "_work" });
    let path = "/orgs/acme/actions/runners/generate-jitconfig";
    let made = call_as(&github, "ghp_good", "POST", path, Some(&body));
    assert_eq!((made.status, &made.body["runner"]["os"]), (201, &json!("unknown")));
    assert!(made.body["encoded_jit_config"].as_str().unwrap().len() > 100);
    let again = call_as(&github, "ghp_good", "POST", path, Some(&body));
    assert_eq!((again.status, again.message().contains("already exists")), (409, true));
    let id = made.body["runner"]["id"].as_u64().unwrap();
    let mut listener = Listener::new(&github, id, "vm-1");
    assert_eq!(listener.next()["event"], "online");
    assert!(github.wait_for(|state| state.runners[&id].os == "macOS", LIMIT));
    let mut late = body;
    late["name"] = json!("vm-2");
    let id = call_as(&github, "ghp_good", "POST", path, Some(&late)).body["runner"]["id"].as_u64().unwrap();
    github.move_clock(301);
    let refused = fake(&github, "POST", &format!("/_fake/runners/{id}/listen"), &json!({ "name": "vm-2" }));
    assert_eq!(refused.status, 401);
}
