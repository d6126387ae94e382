//! What the receiver logs: the messages that alarms know at the moments they name, and nothing of strangers but what is safe.

use anklet_plugin_api::name::PluginName;
use log::Level;

use crate::order::claim;
use crate::shapes::{job, today};
use crate::support::{Bench, GUID, SECRET, section, sign};

#[test]
fn a_job_is_told_of_at_each_step() {
    let bench = Bench::start();
    bench.deliver_job(&today("queued")).is(200, "queued");
    let considered = bench.log.wait_for("received workflow job to consider");
    let queued = bench.log.wait_for("job pushed to queued queue");
    for line in [&considered, &queued] {
        assert_eq!(line.level, Level::Info);
        assert_eq!(line.fact("deliveryID"), GUID);
        assert_eq!(line.fact("repository"), "Octo/Hello");
        assert_eq!(line.fact("workflowJobID"), "9007199254740993");
        assert_eq!(line.fact("workflowJobRunID"), "18446744073709551615");
        assert_eq!(line.fact("workflowName"), "CI");
        assert_eq!(line.fact("workflowJobURL"), "https://github.com/Octo/Hello/actions/runs/1/job/2");
        assert_eq!(line.fact("labels"), r#"["anka-template:U", "anka-template-tag:v1"]"#);
    }
    bench.deliver_job(&today("queued")).is(200, "already known");
    bench.log.wait_for("job already present in queued queue, skipping enqueue");
    bench.deliver_job(&today("in_progress")).is(200, "noted");
    bench.log.wait_for("job pushed to in_progress queue");
    bench.deliver_job(&today("completed")).is(200, "noted");
    bench.log.wait_for("job pushed to completed queue");
    bench.deliver_job(&today("queued")).is(200, "ended");
    bench.log.wait_for("job is known to be further already");
    assert!(bench.lines().iter().all(|line| line.level == Level::Info), "{:#?}", bench.lines());
}

#[test]
fn a_doubled_webhook_of_a_claimed_job_is_told_apart() {
    let bench = Bench::start();
    bench.deliver_job(&today("queued")).is(200, "queued");
    claim(&bench, &PluginName::new("handler"));
    bench.deliver_job(&today("queued")).is(200, "already known");
    bench.log.wait_for("job already being processed by a handler, skipping enqueue");
}

#[test]
fn what_is_not_ours_is_not_told() {
    let bench = Bench::start();
    let mut body = today("queued");
    job(&mut body)["labels"] = ["ubuntu-latest"].into();
    bench.deliver_job(&body).is(200, "not for Anklet");
    bench.deliver("push", "{}").is(200, "not a workflow_job");
    bench.deliver("ping", "{}").is(200, "pong");
    assert!(bench.lines().is_empty(), "{:#?}", bench.lines());
}

#[test]
fn an_unsigned_webhook_is_one_warning() {
    let bench = Bench::start();
    let body = today("queued").to_string();
    let wrong = sign("another", body.as_bytes());
    bench.post(&[("X-GitHub-Event", "workflow_job")], body.as_bytes()).is(401, "");
    bench
        .post(&[("X-GitHub-Event", "workflow_job"), ("X-Hub-Signature-256", &wrong)], body.as_bytes())
        .is(401, "");
    let lines = bench.lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    for line in &lines {
        assert_eq!(
            (line.level, line.fact("deliveryID"), line.fact("peer")),
            (Level::Warn, GUID, "127.0.0.1")
        );
        assert_eq!(line.message, "webhook without a valid signature refused");
    }
    assert!(lines[0].fact("why").contains("missing") && lines[1].fact("why").contains("`secret`"));
}

#[test]
fn strangers_cannot_write_into_the_log() {
    let bench = Bench::start();
    for (header, shown) in [
        ("x\",\"level\":\"INFO", "not a GUID"),
        (&"x".repeat(65), "not a GUID"),
        (&"x".repeat(30_000), "not a GUID"),
        ("ü", "not a GUID"),
        ("", "missing"),
        ("0-9aZ", "0-9aZ"),
    ] {
        let n_before = bench.lines().len();
        let head =
            [("Content-Type", "application/json"), ("Content-Length", "0"), ("X-GitHub-Delivery", header)];
        bench.ask("POST /jobs/v1/receiver", &head, b"").is(401, "");
        assert_eq!(bench.lines()[n_before].fact("deliveryID"), shown);
    }
}

#[test]
fn a_flood_of_unsigned_webhooks_does_not_fill_the_log() {
    let bench = Bench::start();
    let head = [("Content-Type", "application/json"), ("Content-Length", "0")];
    for _ in 0..150 {
        bench.ask("POST /jobs/v1/receiver", &head, b"").is(401, "");
    }
    assert_eq!(bench.lines().len(), 100);
}

#[test]
fn a_broken_webhook_is_an_error_that_shows_little_of_it() {
    let bench = Bench::start();
    bench.deliver("workflow_job", "{").is(400, "JSON");
    let line = bench.log.wait_for("error validating payload");
    assert_eq!((line.level, line.fact("deliveryID")), (Level::Error, GUID));
    assert!(line.fact("error").contains("JSON"));
    // The reader of JSON quotes what it did not expect.
    let long = format!(r#"{{"action": "queued", "workflow_job": "{}"}}"#, "x".repeat(100_000));
    let answer = bench.deliver("workflow_job", &long);
    answer.is(400, "");
    assert!(answer.text.len() < 400 && bench.lines()[1].fact("error").len() < 400);
}

#[test]
fn long_facts_are_cut() {
    let bench = Bench::start();
    let mut body = today("queued");
    job(&mut body)["workflow_name"] = "€".repeat(100_000).into();
    job(&mut body)["html_url"] = "u".repeat(100_000).into();
    let labels: Vec<String> =
        (0..5_000).map(|n| format!("{n}")).chain(["anka-template:U".to_owned()]).collect();
    job(&mut body)["labels"] = labels.into();
    bench.deliver_job(&body).is(200, "queued");
    let line = bench.log.wait_for("job pushed to queued queue");
    assert!(line.facts.values().all(|fact| fact.len() < 2_000), "{line:?}");
}

#[test]
fn no_line_and_no_error_shows_the_secret() {
    let bench = Bench::start();
    let body = today("queued").to_string();
    bench.deliver("workflow_job", &body).is(200, "queued");
    bench.post(&[], body.as_bytes()).is(401, "");
    bench.deliver("workflow_job", "{").is(400, "");
    let lines = format!("{:?} {:?}", bench.log.lines(), section("x"));
    assert!(!lines.contains(SECRET), "{lines}");
    // Nor the sum that the body should have had.
    assert!(!lines.contains(&sign(SECRET, body.as_bytes())[7..]), "{lines}");
}
