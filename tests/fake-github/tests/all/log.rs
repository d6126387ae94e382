//! The log of webhooks, and redelivery.

use std::time::Duration;

use fake_github::{JobSpec, WebhookRule};
use serde_json::json;

use crate::support::{LIMIT, call, github, receiver};

#[test]
fn failures_are_logged_and_redelivered() {
    let github = github();
    let (url, arrivals) = receiver(&[200, 503]);
    let hook = github.add_hook("acme/app", &url, "s");
    let job = github.create_job(JobSpec::new("acme/app", &["a"]));
    github.start_elsewhere(job, "vm-1");
    github.webhook_rule(WebhookRule::on("completed").fail("failed to connect to host"));
    github.complete_job(job, "success");
    assert!(github.wait_webhooks_sent(LIMIT));
    let path = format!("/repos/acme/app/hooks/{hook}/deliveries");
    let list = |query: &str| call(&github, "GET", &format!("{path}{query}"));
    let all = list("").body;
    let status = |n: usize| {
        (
            all[n]["action"].as_str().unwrap(),
            all[n]["status"].as_str().unwrap(),
            all[n]["status_code"].as_u64().unwrap(),
        )
    };
    assert_eq!(status(0), ("completed", "failed to connect to host", 0), "newest first");
    assert_eq!(status(1), ("in_progress", "Invalid HTTP Response: 503", 503));
    assert_eq!(status(2), ("queued", "OK", 200));
    assert_eq!(list("?status=failure").body.as_array().unwrap().len(), 1, "no status, no match");
    assert_eq!(list("?status=success").body.as_array().unwrap().len(), 1);
    let detail = call(&github, "GET", &format!("{path}/{}", all[0]["id"])).body;
    assert_eq!(detail["request"]["payload"]["workflow_job"]["id"].to_string(), job.to_string());
    assert_eq!(detail["guid"], all[0]["guid"]);
    assert_eq!(arrivals.try_iter().count(), 2);
    let again = call(&github, "POST", &format!("{path}/{}/attempts", all[0]["id"]));
    assert_eq!((again.status, again.body), (202, json!({})));
    let arrived = arrivals.recv_timeout(LIMIT).unwrap();
    assert_eq!(
        (arrived.action().as_str(), arrived.header("X-GitHub-Delivery")),
        ("completed", all[0]["guid"].as_str().unwrap())
    );
    assert!(github.wait_webhooks_sent(LIMIT));
    let newest = list("?per_page=1").body[0].clone();
    assert_eq!(
        (&newest["redelivery"], &newest["guid"], &newest["status"]),
        (&json!(true), &all[0]["guid"], &json!("OK"))
    );
    assert_ne!(newest["id"], all[0]["id"]);
    assert_eq!(list("").body.as_array().unwrap().len(), 4, "the failed one stays listed");
    assert_eq!(github.violations(), Vec::<String>::new());
}

#[test]
fn the_log_is_paged_by_cursor() {
    let github = github();
    let (url, _arrivals) = receiver(&[]);
    let hook = github.add_hook("acme", &url, "s");
    for _ in 0..5 {
        github.create_job(JobSpec::new("acme/app", &["a"]));
    }
    assert!(github.wait_webhooks_sent(LIMIT));
    let mut path = format!("/orgs/acme/hooks/{hook}/deliveries?per_page=2");
    let mut ids: Vec<u64> = Vec::new();
    loop {
        let reply = call(&github, "GET", &path);
        ids.extend(reply.body.as_array().unwrap().iter().map(|item| item["id"].as_u64().unwrap()));
        match reply.link(&github, "next") {
            Some(next) => path = next,
            None => break,
        }
        github.create_job(JobSpec::new("acme/app", &["a"]));
        assert!(github.wait_webhooks_sent(LIMIT));
    }
    assert_eq!(ids.len(), 5, "what came meanwhile shifts nothing");
    assert!(ids.is_sorted_by(|a, b| a > b));
    assert_eq!(call(&github, "GET", "/orgs/acme/hooks/1/deliveries").status, 404);
    assert_eq!(call(&github, "GET", "/orgs/acme/hooks").body[0]["id"], json!(hook));
}

#[test]
fn receivers_that_are_away_or_slow_are_failures() {
    let github = github();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    github.tune(|knobs| knobs.delivery_limit = Duration::from_millis(200));
    let slow = github.add_hook("acme/app", &format!("http://{}/", silent.local_addr().unwrap()), "s");
    github.add_hook("acme/app", &format!("http://{away}/"), "s");
    github.create_job(JobSpec::new("acme/app", &["a"]));
    assert!(github.wait_webhooks_sent(LIMIT));
    for delivery in github.deliveries() {
        let status = if delivery.hook_id == slow { "timed out" } else { "failed to connect to host" };
        assert_eq!((delivery.status.as_str(), delivery.status_code), (status, 0));
    }
    assert_eq!(github.deliveries().len(), 2);
}
