//! Bodies as forms, in chunks, very large, and full of what would be dangerous if it were not data.

use anklet_plugin_api::job::Phase;
use serde_json::{Value, json};

use crate::shapes::{JOB, job, today};
use crate::support::{Bench, SECRET, sign};

const FORM: &str = "application/x-www-form-urlencoded";

fn form(json: &str) -> String {
    let mut text = "payload=".to_owned();
    for byte in json.bytes() {
        match byte {
            b' ' => text.push('+'),
            byte if byte.is_ascii_alphanumeric() => text.push(byte.into()),
            byte => text += &format!("%{byte:02X}"),
        }
    }
    text
}

fn post_form(bench: &Bench, content_type: &str, body: &str) -> crate::support::Answer {
    let signature = sign(SECRET, body.as_bytes());
    let headers = [
        ("Content-Type", content_type),
        ("X-GitHub-Event", "workflow_job"),
        ("X-Hub-Signature-256", signature.as_str()),
    ];
    bench.post(&headers, body.as_bytes())
}

#[test]
fn forms_are_webhooks_too() {
    let bench = Bench::start();
    let mut body = today("queued");
    job(&mut body)["workflow_name"] = "A + B & C = 100 % ü".into();
    let text = form(&body.to_string());
    post_form(&bench, FORM, &text).is(200, "queued");
    assert_eq!(bench.entry(JOB).map(|entry| entry.job.workflow).as_deref(), Some("A + B & C = 100 % ü"));
    post_form(&bench, "Application/X-WWW-Form-URLencoded; charset=utf-8", &text).is(200, "already known");
    post_form(&bench, FORM, &format!("x=1&{text}")).is(200, "already known");
    post_form(&bench, FORM, "x=1").is(400, "`payload`");
    post_form(&bench, FORM, "").is(400, "`payload`");
    post_form(&bench, FORM, "payload").is(400, "JSON");
    post_form(&bench, FORM, "payload=%7B").is(400, "JSON");
    post_form(&bench, FORM, "payload=%FF").is(400, "JSON");
    // What it claims to be is what it is read as.
    post_form(&bench, FORM, &body.to_string()).is(400, "`payload`");
    post_form(&bench, "application/json", &text).is(400, "JSON");
}

#[test]
fn json_may_name_its_charset() {
    let bench = Bench::start();
    post_form(&bench, "APPLICATION/JSON ; charset=utf-8", &today("queued").to_string()).is(200, "queued");
}

#[test]
fn chunks_are_put_together_before_the_signature_is_checked() {
    let bench = Bench::start();
    let body = today("queued").to_string();
    let chunks: String = body.as_bytes().chunks(100).fold(String::new(), |text, chunk| {
        text + &format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk))
    });
    let signature = sign(SECRET, body.as_bytes());
    let headers = [
        ("Content-Type", "application/json"),
        ("X-GitHub-Event", "workflow_job"),
        ("X-Hub-Signature-256", signature.as_str()),
        ("Transfer-Encoding", "chunked"),
    ];
    let answer = bench.ask("POST /jobs/v1/receiver", &headers, format!("{chunks}0\r\n\r\n").as_bytes());
    answer.is(200, "queued");
}

#[test]
fn the_largest_body_is_read() {
    let bench = Bench::start();
    let mut body = today("queued");
    body["padding"] = "".into();
    let n_missing = (25 << 20) - body.to_string().len();
    body["padding"] = "x".repeat(n_missing).into();
    let text = body.to_string();
    assert_eq!(text.len(), 25 << 20);
    bench.deliver("workflow_job", &text).is(200, "queued");
    bench.deliver("workflow_job", &(text + " ")).is(413, "too large");
}

/// All of this reaches the store as it was sent.
#[track_caller]
fn check_labels(labels: &[String]) {
    let bench = Bench::start();
    let mut body = today("queued");
    job(&mut body)["labels"] = json!(labels);
    bench.deliver_job(&body).is(200, "queued");
    let stored = bench.entry(JOB).expect("the job is stored").job;
    assert_eq!(stored.labels, labels);
}

#[test]
fn labels_are_data() {
    let template = || "anka-template:U".to_owned();
    check_labels(&[template(), "x".repeat(256)]);
    let hundred: Vec<_> = (0..99).map(|n| format!("label-{n}")).chain([template()]).collect();
    check_labels(&hundred);
    let hundred: Vec<_> =
        (0..99).map(|n| format!("{n:0>256}")).chain([format!("anka-template:{:U<242}", "")]).collect();
    check_labels(&hundred);
    for text in [
        "$(touch /tmp/x)",
        "`id`",
        "a'b\"c",
        "a\nb\r\0c",
        "--yes",
        "-rf",
        "ü€😀",
        "\u{202e}rtl",
        "a,b",
        " ",
        "",
        "\u{feff}",
        "%s%n",
        "'; DROP TABLE jobs; --",
        "{{template}}",
        "<script>",
    ] {
        check_labels(&[template(), text.to_owned()]);
        check_labels(&[format!("anka-template:{text}"), format!("anka-template-tag:{text}")]);
    }
}

#[test]
fn other_texts_are_data() {
    let bench = Bench::start();
    let hostile = "$(id) `id` '\" \n\r\0 --yes ü😀 \u{202e}";
    let mut body = today("in_progress");
    for key in ["name", "workflow_name", "html_url", "runner_name"] {
        job(&mut body)[key] = hostile.into();
    }
    body["repository"]["name"] = hostile.into();
    body["repository"]["owner"]["login"] = hostile.into();
    bench.deliver_job(&body).is(200, "noted");
    let entry = bench.entry(JOB).expect("the job is stored");
    assert_eq!(entry.phase, Phase::InProgress { runner: Some(hostile.to_owned()) });
    for text in [&entry.job.name, &entry.job.workflow, &entry.job.html_url, &entry.job.owner, &entry.job.repo]
    {
        assert_eq!(text, hostile);
    }
}

#[test]
fn texts_for_people_may_be_anything() {
    for odd in [json!(null), json!(7), json!([1]), json!({"a": {}})] {
        let bench = Bench::start();
        let mut body = today("queued");
        for key in ["name", "workflow_name", "html_url", "created_at", "run_attempt", "status"] {
            job(&mut body)[key] = odd.clone();
        }
        bench.deliver_job(&body).is(200, "queued");
    }
}

#[test]
fn odd_json_is_an_answer_and_no_panic() {
    let bench = Bench::start();
    let deep = format!("{{\"action\": \"queued\", \"x\": {}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    for (body, status) in [
        (deep.as_str(), 400),
        ("[]", 400),
        ("0", 400),
        ("\"queued\"", 400),
        ("{} {}", 400),
        ("{\"action\": \"queued\", \"action\": \"completed\"}", 400),
        ("{\"action\": \"\\ud800\"}", 400),
        ("\u{feff}{}", 400),
    ] {
        assert_eq!(bench.deliver("workflow_job", body).status, status, "{body:.60}");
    }
    assert_eq!(
        bench
            .post(
                &[("X-GitHub-Event", "workflow_job"), ("X-Hub-Signature-256", &sign(SECRET, b"\xff"))],
                b"\xff"
            )
            .status,
        400
    );
    let mut huge = today("queued");
    job(&mut huge)["id"] = Value::from(1e300);
    bench.deliver_job(&huge).is(400, "workflow_job.id");
    bench.holds_nothing();
}
