//! What is refused, with which status, and that nothing of it is stored.

use std::io::Write;

use anklet_plugin_api::fake::memory::Verb;
use serde_json::Value;

use crate::shapes::{job, today};
use crate::support::{Bench, SECRET, connect, read_answer, sign};

const EVENT: (&str, &str) = ("X-GitHub-Event", "workflow_job");

#[test]
fn other_paths_and_methods() {
    let bench = Bench::start();
    let length = [("Content-Length", "0")];
    for (line, status, text) in [
        ("GET /healthcheck", 200, "ok"),
        ("GET /healthcheck?x=1", 200, "ok"),
        ("POST /healthcheck", 405, "GET"),
        ("GET /jobs", 501, "/jobs/v1/receiver"),
        ("POST /jobs", 501, "/jobs/v1/receiver"),
        ("GET /jobs/v1/receiver", 405, "POST"),
        ("HEAD /jobs/v1/receiver", 405, ""),
        ("PUT /jobs/v1/receiver", 405, "POST"),
        ("post /jobs/v1/receiver", 405, "POST"),
        ("OPTIONS /jobs/v1/receiver", 405, "POST"),
        ("GET /", 404, "/jobs/v1/receiver"),
        ("POST /jobs/v1/receiver/", 404, ""),
        ("POST /jobs/v1", 404, ""),
        ("POST //jobs/v1/receiver", 404, ""),
        ("POST /jobs/v1/../v1/receiver", 404, ""),
        ("POST /jobs/v1/%72eceiver", 404, ""),
        ("GET /metrics", 404, ""),
    ] {
        bench.ask(line, &length, b"").is(status, text);
    }
    assert_eq!(bench.ask("GET /healthcheck", &[], b"").text, "ok");
    assert_eq!(bench.ask("GET /jobs/v1/receiver", &[], b"").header("Allow"), Some("POST"));
    assert_eq!(bench.ask("HEAD /healthcheck", &[], b"").text, "");
    assert_eq!(bench.store.n_calls(Verb::News), 0);
}

#[test]
fn signatures_that_are_none() {
    let bench = Bench::start();
    let body = today("queued").to_string();
    let good = sign(SECRET, body.as_bytes());
    let sha_1 = format!("sha1={}", &good[7..47]);
    for headers in [
        vec![],
        vec![("X-Hub-Signature-256", "")],
        vec![("X-Hub-Signature-256", "sha256=")],
        vec![("X-Hub-Signature-256", &good[7..])],
        vec![("X-Hub-Signature-256", &good[..good.len() - 1])],
        vec![("X-Hub-Signature-256", &good.to_uppercase())],
        vec![("X-Hub-Signature-256", &good[7..].to_uppercase())],
        vec![("X-Hub-Signature-256", &format!("sha256={}", good[7..].to_uppercase()))],
        vec![("X-Hub-Signature-256", &format!("{good}0"))],
        vec![("X-Hub-Signature-256", &good.replace("sha256=", "sha1="))],
        vec![("X-Hub-Signature", &good)],
        vec![("X-Hub-Signature", &sha_1)],
        vec![("X-Hub-Signature-256", &sign("another secret", body.as_bytes()))],
        vec![("X-Hub-Signature-256", &sign("", body.as_bytes()))],
        vec![("X-Hub-Signature-256", &sign(SECRET, b""))],
        vec![("X-Hub-Signature-256", &sign(SECRET, format!("{body} ").as_bytes()))],
        // Of two, the first counts.
        vec![("X-Hub-Signature-256", &sign("x", body.as_bytes())), ("X-Hub-Signature-256", &good)],
    ] {
        let headers = [vec![EVENT], headers].concat();
        let answer = bench.post(&headers, body.as_bytes());
        assert_eq!(answer.status, 401, "{headers:?}: {answer:?}");
        assert!(!answer.text.contains(&good[7..]), "{answer:?}");
    }
    bench.holds_nothing();
    assert_eq!(bench.store.n_calls(Verb::News), 0);
    // The names of headers have no case.
    bench
        .post(&[("x-github-event", "workflow_job"), ("x-hub-signature-256", &good)], body.as_bytes())
        .is(200, "queued");
}

#[test]
fn an_unsigned_body_is_not_waited_for() {
    let bench = Bench::start();
    let mut stream = connect(bench.address);
    let head = "POST /jobs/v1/receiver HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 20000000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    read_answer(&mut stream).is(401, "");
}

#[test]
fn other_content_types() {
    let bench = Bench::start();
    let body = today("queued").to_string();
    let signature = sign(SECRET, body.as_bytes());
    for kind in ["text/plain", "application/jsonx", "multipart/form-data; boundary=x", "application/xml", ""]
    {
        let headers = [EVENT, ("X-Hub-Signature-256", signature.as_str()), ("Content-Type", kind)];
        bench.post(&headers, body.as_bytes()).is(415, "application/json");
    }
    let length = body.len().to_string();
    let headers = [EVENT, ("X-Hub-Signature-256", signature.as_str()), ("Content-Length", &length)];
    bench.ask("POST /jobs/v1/receiver", &headers, body.as_bytes()).is(415, "");
    bench.holds_nothing();
}

#[test]
fn too_much() {
    let bench = Bench::start();
    let body = vec![b' '; 26 << 20];
    // Too much is too much, signed or not; the answer can be read though the body was sent whole.
    bench.post(&[EVENT], &body).is(413, "too large");
    bench.post(&[EVENT, ("X-Hub-Signature-256", &sign(SECRET, &body))], &body).is(413, "too large");
    let headers = [("Content-Type", "application/json"), ("Content-Length", "99999999999999999999999")];
    bench.ask("POST /jobs/v1/receiver", &headers, b"").is(413, "too large");
    bench.holds_nothing();
}

#[test]
fn what_is_missing_is_named() {
    let bench = Bench::start();
    bench.deliver("workflow_job", "").is(400, "JSON");
    bench.deliver("workflow_job", "{\"action\": ").is(400, "JSON");
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
        for null in [false, true] {
            let mut body = today("queued");
            let pointer = format!("/{}", field.replace('.', "/"));
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let parent = body.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
            match null {
                true => parent.insert(key.to_owned(), Value::Null),
                false => parent.remove(key),
            };
            bench.deliver_job(&body).is(400, &format!("`{field}` is missing"));
        }
    }
    let body = today("queued").to_string();
    let signature = sign(SECRET, body.as_bytes());
    bench.post(&[("X-Hub-Signature-256", &signature)], body.as_bytes()).is(400, "`X-GitHub-Event`");
    bench.holds_nothing();
    // A stranger does not learn that much.
    bench.post(&[("X-Hub-Signature-256", &sign("x", b""))], body.as_bytes()).is(401, "");
}

#[test]
fn what_is_not_for_us_is_not_stored() {
    let bench = Bench::start();
    for labels in [&[][..], &["self-hosted", "macOS"], &["xanka-template:U"]] {
        for action in ["queued", "in_progress", "completed"] {
            let mut body = today(action);
            job(&mut body)["labels"] = labels.into();
            job(&mut body)["runner_name"] = "somebody-elses".into();
            bench.deliver_job(&body).is(200, "not for Anklet");
        }
    }
    for event in ["push", "workflow_run", "check_run", "workflow_jobs", "WORKFLOW_JOB", ""] {
        bench.deliver(event, &today("queued").to_string()).is(200, "ignored");
    }
    bench.deliver("ping", r#"{"zen": "Keep it logically awesome.", "hook_id": 1}"#).is(200, "pong");
    bench.holds_nothing();
}
