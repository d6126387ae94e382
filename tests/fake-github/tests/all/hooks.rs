//! Webhooks: what is sent, signed how, in which order, and what the log and redelivery show.

use std::time::Duration;

use fake_github::{JobSpec, JobStatus, PayloadStyle, WebhookRule, keys, sign};
use serde_json::{Value, json};

use crate::support::{Arrived, LIMIT, github, receiver};

fn actions(arrivals: &std::sync::mpsc::Receiver<Arrived>, n: usize) -> Vec<String> {
    (0..n).map(|_| arrivals.recv_timeout(LIMIT).unwrap().action()).collect()
}

#[test]
fn a_job_sends_three_signed_webhooks() {
    let github = github();
    let (url, arrivals) = receiver(&[]);
    let hook = github.add_hook("acme/app", &url, "geheim");
    let job = github.create_job(JobSpec::new("acme/app", &["a"]));
    github.start_elsewhere(job, "vm-1");
    github.complete_job(job, "success");
    let all: Vec<Arrived> = (0..3).map(|_| arrivals.recv_timeout(LIMIT).unwrap()).collect();
    for (arrived, action) in all.iter().zip(["queued", "in_progress", "completed"]) {
        let body = arrived.json();
        assert_eq!((&body["action"], &body["workflow_job"]["status"]), (&json!(action), &json!(action)));
        assert_eq!(body["workflow_job"]["id"].to_string(), job.to_string());
        assert_eq!(arrived.header("X-Hub-Signature-256"), sign("geheim", &arrived.body));
        assert!(arrived.header("X-Hub-Signature").starts_with("sha1="));
        assert_eq!(arrived.header("X-GitHub-Event"), "workflow_job");
        assert_eq!(arrived.header("X-GitHub-Hook-ID"), hook.to_string());
        assert_eq!(arrived.header("X-GitHub-Hook-Installation-Target-Type"), "repository");
        assert_eq!(arrived.header("X-GitHub-Delivery").len(), 36);
        assert!(arrived.header("User-Agent").starts_with("GitHub-Hookshot/"));
        assert_eq!(arrived.header("Content-Type"), "application/json");
    }
    let runner = |n: usize| all[n].json()["workflow_job"]["runner_name"].clone();
    assert_eq!([runner(0), runner(1), runner(2)], [Value::Null, json!("vm-1"), json!("vm-1")]);
    assert_eq!(all[2].json()["workflow_job"]["conclusion"], "success");
    assert!(github.wait_webhooks_sent(LIMIT));
    assert!(github.deliveries().iter().all(|delivery| delivery.is_ok() && delivery.status == "OK"));
}

#[test]
fn bodies_have_all_the_fields_of_today() {
    let github = github();
    github
        .add_enterprise("big", &["acme"])
        .add_app(7, "Iv1", keys::APP_KEY, &[])
        .add_installation(9, 7, "acme");
    let (url, arrivals) = receiver(&[]);
    github.add_app_hook(7, &url, "s");
    github.create_job(JobSpec::new("acme/app", &["a"]));
    let arrived = arrivals.recv_timeout(LIMIT).unwrap();
    assert_eq!(arrived.header("X-GitHub-Hook-Installation-Target-Type"), "integration");
    let body = arrived.json();
    for key in
        ["action", "workflow_job", "repository", "organization", "enterprise", "installation", "sender"]
    {
        assert!(body.get(key).is_some(), "{key}");
    }
    assert_eq!((&body["installation"]["id"], &body["enterprise"]["slug"]), (&json!(9), &json!("big")));
    let job = body["workflow_job"].as_object().unwrap();
    let fields = "id run_id workflow_name head_branch run_url run_attempt node_id head_sha url html_url status \
                  conclusion created_at started_at completed_at name steps check_run_url labels runner_id \
                  runner_name runner_group_id runner_group_name";
    for field in fields.split_whitespace() {
        assert!(job.contains_key(field), "{field}");
    }
    assert_eq!(job.len(), fields.split_whitespace().count());
    assert!(body["repository"].as_object().unwrap().len() > 70);
}

#[test]
fn old_bodies_and_those_of_users_lack_fields() {
    let github = github();
    github.add_user("jane").add_repo("jane/tool");
    let (url, arrivals) = receiver(&[]);
    github.add_hook("jane/tool", &url, "s");
    let job = github.create_job(JobSpec::new("jane/tool", &["a"]).style(PayloadStyle::Year2021));
    let body = arrivals.recv_timeout(LIMIT).unwrap().json();
    assert!(body.get("organization").is_none());
    for key in ["run_attempt", "workflow_name", "created_at", "head_branch", "runner_id"] {
        assert!(body["workflow_job"].get(key).is_none(), "{key}");
    }
    github.start_elsewhere(job, "vm-1");
    assert_eq!(arrivals.recv_timeout(LIMIT).unwrap().json()["workflow_job"]["runner_name"], "vm-1");
}

#[test]
fn forms_are_signed_as_sent() {
    let github = github();
    let (url, arrivals) = receiver(&[]);
    github.add_form_hook("acme", &url, "s");
    github.create_job(JobSpec::new("acme/app", &["a b&c=ü"]));
    let arrived = arrivals.recv_timeout(LIMIT).unwrap();
    assert_eq!(arrived.header("Content-Type"), "application/x-www-form-urlencoded");
    assert_eq!(arrived.header("X-Hub-Signature-256"), sign("s", &arrived.body));
    let text = String::from_utf8(arrived.body).unwrap();
    let value = text.strip_prefix("payload=").unwrap();
    assert!(!value.contains(['&', '=', '+', ' ', '"']));
    assert!(value.contains("a%20b%26c%3D%C3%BC"));
}

#[test]
fn the_right_hooks_share_one_event() {
    let github = github();
    github.add_repo("acme/other").add_enterprise("big", &["acme"]);
    let (url, arrivals) = receiver(&[]);
    for scope in ["acme/app", "acme", "enterprises/big", "acme/other"] {
        github.add_hook(scope, &url, "");
    }
    github.create_job(JobSpec::new("acme/app", &["a"]));
    assert!(github.wait_webhooks_sent(LIMIT));
    let all: Vec<Arrived> = arrivals.try_iter().collect();
    assert_eq!(all.len(), 3);
    let guid = all[0].header("X-GitHub-Delivery");
    assert!(all.iter().all(|arrived| arrived.header("X-GitHub-Delivery") == guid));
    assert!(all.iter().all(|arrived| arrived.header("X-Hub-Signature-256").is_empty()), "no secret");
}

/// Queues, starts and ends a job under a rule, and says which actions arrive in which order.
fn check_rule(rule: WebhookRule, expected: &[&str]) {
    let github = github();
    let (url, arrivals) = receiver(&[]);
    github.add_hook("acme/app", &url, "s");
    github.webhook_rule(rule);
    let job = github.create_job(JobSpec::new("acme/app", &["a"]));
    github.start_elsewhere(job, "vm-1");
    github.complete_job(job, "success");
    assert_eq!(actions(&arrivals, expected.len()), expected);
    assert!(github.wait_webhooks_sent(LIMIT));
    assert_eq!(arrivals.try_iter().count(), 0);
}

#[test]
fn webhooks_go_wrong_as_told() {
    check_rule(WebhookRule::on("queued").drop(), &["in_progress", "completed"]);
    check_rule(WebhookRule::on("queued").overtaken_by(1), &["in_progress", "queued", "completed"]);
    check_rule(WebhookRule::on("queued").overtaken_by(2), &["in_progress", "completed", "queued"]);
    check_rule(
        WebhookRule::on("in_progress").duplicate(2),
        &["queued", "in_progress", "in_progress", "in_progress", "completed"],
    );
    check_rule(WebhookRule::on("in_progress").fail("failed to connect"), &["queued", "completed"]);
    check_rule(
        WebhookRule::on("in_progress").delay(Duration::from_millis(300)),
        &["queued", "completed", "in_progress"],
    );
    check_rule(WebhookRule::on("*").times(2).drop(), &["completed"]);
    check_rule(WebhookRule::on("queued").job(1).drop(), &["queued", "in_progress", "completed"]);
    check_rule(
        WebhookRule::on("queued").change(|body| body["action"] = json!("dance")),
        &["dance", "in_progress", "completed"],
    );
}

#[test]
fn signatures_go_wrong_as_told() {
    let github = github();
    let (url, arrivals) = receiver(&[]);
    github.add_hook("acme/app", &url, "s");
    github.webhook_rule(WebhookRule::on("queued").wrong_signature());
    github.webhook_rule(WebhookRule::on("in_progress").no_signature());
    let job = github.create_job(JobSpec::new("acme/app", &["a"]));
    github.start_elsewhere(job, "vm-1");
    let wrong = arrivals.recv_timeout(LIMIT).unwrap();
    assert_ne!(wrong.header("X-Hub-Signature-256"), sign("s", &wrong.body));
    assert_eq!(wrong.header("X-Hub-Signature-256").len(), 71);
    assert_eq!(arrivals.recv_timeout(LIMIT).unwrap().header("X-Hub-Signature-256"), "");
}

#[test]
fn held_webhooks_go_when_released() {
    let github = github();
    let (url, arrivals) = receiver(&[]);
    github.add_hook("acme/app", &url, "s");
    let rule = github.webhook_rule(WebhookRule::on("queued").hold());
    let job = github.create_job(JobSpec::new("acme/app", &["a"]));
    github.start_elsewhere(job, "vm-1");
    assert_eq!(actions(&arrivals, 1), ["in_progress"]);
    github.release(rule);
    assert_eq!(actions(&arrivals, 1), ["queued"]);
    github.hold_webhooks(true);
    github.complete_job(job, "success");
    github.send_job_event(job, "completed");
    assert!(!github.wait_webhooks_sent(Duration::from_millis(50)));
    github.hold_webhooks(false);
    assert_eq!(actions(&arrivals, 2), ["completed", "completed"]);
}

#[test]
fn pings_waiting_jobs_and_silent_ones() {
    let github = github();
    let (url, arrivals) = receiver(&[]);
    let hook = github.add_hook("acme", &url, "s");
    github.ping(hook);
    let ping = arrivals.recv_timeout(LIMIT).unwrap();
    assert_eq!(ping.header("X-GitHub-Event"), "ping");
    let body = ping.json();
    assert!(body.get("action").is_none() && body.get("repository").is_none());
    assert_eq!((&body["hook_id"], &body["organization"]["login"]), (&json!(hook), &json!("acme")));
    github.create_job(JobSpec::new("acme/app", &["a"]).silent());
    let age = Duration::from_secs(600);
    github.create_job(JobSpec::new("acme/app", &["a"]).status(JobStatus::Waiting).created_ago(age));
    assert_eq!(actions(&arrivals, 1), ["waiting"]);
}
