//! Bad input from every side: strangers' webhooks, labels, `anka`'s answers, stored documents, the config.

use std::fs;
use std::time::{Duration, Instant};

use fake_github::{JobSpec, sign};
use serde_json::json;

use crate::http::{deliver, queued, send, webhook};
use crate::queue;
use crate::support::{LIMIT, Line, REPO, SECRET, TAG, TEMPLATE, World};

/// A row: what is sent, the status, a word of the answer, and the delivery that the log must name, if any.
struct Row {
    what: &'static str,
    bytes: Vec<u8>,
    status: u16,
    word: &'static str,
    warned: bool,
}

fn rows() -> Vec<Row> {
    let good = queued(77, "app").to_string();
    let signature = sign(SECRET, good.as_bytes());
    let signed = |event: &str, body: &str| {
        webhook(event, body.as_bytes(), Some(&sign(SECRET, body.as_bytes())), "signed")
    };
    let row = |what, bytes, status, word| Row { what, bytes, status, word, warned: false };
    let unsigned = |what, signature: Option<&str>, delivery| Row {
        what,
        bytes: webhook("workflow_job", good.as_bytes(), signature, delivery),
        status: 401,
        word: "signature",
        warned: true,
    };
    let raw = |text: &str| text.as_bytes().to_vec();
    let without = |field: &str| {
        let mut payload = queued(77, "app");
        let path: Vec<_> = field.split('.').collect();
        payload[path[0]].as_object_mut().unwrap().remove(path[1]);
        signed("workflow_job", &payload.to_string())
    };
    let mut other_labels = queued(78, "app");
    other_labels["workflow_job"]["labels"] = json!(["ubuntu-latest"]);
    vec![
        unsigned("no signature", None, "11111111-0000-4000-8000-000000000000"),
        unsigned(
            "a wrong signature",
            Some(&sign("other", good.as_bytes())),
            "22222222-0000-4000-8000-000000000000",
        ),
        unsigned("half a signature", Some(&signature[..40]), "33333333-0000-4000-8000-000000000000"),
        unsigned("an old signature", Some("sha1=0123456789"), "44444444-0000-4000-8000-000000000000"),
        row("not POST", raw("GET /jobs/v1/receiver HTTP/1.0\r\n\r\n"), 405, "POST"),
        row("the old path", raw("POST /jobs HTTP/1.0\r\n\r\n"), 501, "/jobs/v1/receiver"),
        row("another path", raw("GET /x HTTP/1.0\r\n\r\n"), 404, "/jobs/v1/receiver"),
        row(
            "neither JSON nor form",
            raw("POST /jobs/v1/receiver HTTP/1.0\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n"),
            415,
            "application/json",
        ),
        row(
            "no content type",
            raw("POST /jobs/v1/receiver HTTP/1.0\r\nContent-Length: 0\r\n\r\n"),
            415,
            "json",
        ),
        row(
            "over 25 MiB",
            raw(
                "POST /jobs/v1/receiver HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 26214401\r\n\r\n",
            ),
            413,
            "",
        ),
        row(
            "two lengths",
            raw(
                "POST /jobs/v1/receiver HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            400,
            "Transfer-Encoding",
        ),
        row("broken JSON", signed("workflow_job", "{\"action\": \"queued\""), 400, "JSON"),
        row("no JSON at all", signed("workflow_job", "\u{0}\u{1}"), 400, "JSON"),
        row("no id", without("workflow_job.id"), 400, "id"),
        row("no run", without("workflow_job.run_id"), 400, "run_id"),
        row("no owner", without("repository.owner"), 400, "owner"),
        row("another event", signed("push", "{}"), 200, "ignored"),
        row("a ping", signed("ping", "{}"), 200, "pong"),
        row("others' labels", signed("workflow_job", &other_labels.to_string()), 200, "ignored"),
    ]
}

#[test]
fn what_the_receiver_refuses_is_not_stored_and_is_told_once() {
    let world = World::new();
    let anklet = world.start(&world.config(1));
    for row in rows() {
        let (status, answer) = send(world.port, &row.bytes);
        assert_eq!(status, row.status, "{}: {answer}", row.what);
        assert!(answer.contains(row.word), "{}: {answer}", row.what);
    }
    assert!(queue::jobs(&world).is_empty());
    let lines = anklet.lines();
    for row in rows().iter().filter(|row| row.warned) {
        let text = String::from_utf8_lossy(&row.bytes).into_owned();
        let delivery = text.split("X-GitHub-Delivery: ").nth(1).unwrap().split('\r').next().unwrap();
        let told = lines.iter().filter(|line| line.0["deliveryID"] == *delivery);
        assert_eq!(told.filter(|line| line.0["level"] == "WARN").count(), 1, "{}", row.what);
    }
    let invalid = lines.iter().filter(|line| line.message() == "error validating payload").count();
    assert_eq!(invalid, rows().iter().filter(|row| row.status == 400 && row.what != "two lengths").count());
    anklet.stop();
}

/// 64-bit ids come back as they were sent: to the API, into the queue, into the log.
#[test]
fn the_largest_ids_are_kept() {
    let world = World::new();
    fs::write(world.home.path().join(".config/anklet/.drain"), "").unwrap();
    let anklet = world.start(&world.config(1));
    let id = u64::try_from(i64::MAX).unwrap();
    for id in [id, (1 << 53) + 1] {
        assert_eq!(deliver(world.port, &queued(id, "app")).0, 200);
        assert_eq!(queue::spot(&world, id).as_deref(), Some("queued"));
        let is_it = |line: &Line| line.0["workflowJobID"] == json!(id);
        anklet.wait_lines("the id in the log", |lines| lines.iter().any(is_it));
    }
    let mut too_large = queued(1, "app");
    too_large["workflow_job"]["id"] = json!(1.5e300);
    assert_eq!(deliver(world.port, &too_large).0, 400);
    assert_eq!(queue::jobs(&world).len(), 2);
    anklet.stop();
}

/// Labels and the runner group are strangers' text. The group is one of the organization's, so its handler registers there.
#[test]
fn labels_and_groups_are_data() {
    let world = World::new();
    world.github.add_runner_group("acme", "a b'c");
    let config = world.config(1).replace(
        "plugin: github, owner: acme, repo: app",
        "plugin: github, owner: acme, runner_group: \"a b'c\"",
    );
    let anklet = world.start(&config);
    let long = "x".repeat(256);
    let (template, tag) = (format!("anka-template:{TEMPLATE}"), format!("anka-template-tag:{TAG}"));
    let mut labels =
        vec!["--yes", "-n", template.as_str(), tag.as_str(), "$(touch pwned)", "`touch pwned`", "a b'c\"d\\"];
    labels.extend(["'; touch pwned; '", "line\nline", "a\rb", "Ü 🍏", "*", "~", long.as_str()]);
    let many: Vec<_> = (labels.len()..100).map(|n| format!("label-{n}")).collect();
    labels.extend(many.iter().map(String::as_str));
    assert_eq!(labels.len(), 100);
    let job = world.github.create_job(JobSpec::new(REPO, &labels));
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    let registered = &world.github.registrations_for(job)[0];
    let missing: Vec<_> =
        labels.iter().filter(|label| !registered.labels.iter().any(|have| have == *label)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    anklet.wait_for("no runner of the organization", || world.github.runners("acme").is_empty());
    world.assert_clean(&anklet);
    assert_no_trace_of_pwned(&world);
    anklet.stop();
}

/// A template or a tag that could be an option or break a line is no template; one with shell in it is only unknown.
#[test]
fn templates_and_tags_are_data() {
    let world = World::new();
    let anklet = world.start(&world.config(1));
    let template = format!("anka-template:{TEMPLATE}");
    for labels in [
        ["anka-template:--yes", "x"],
        ["anka-template:a\nb", "x"],
        [template.as_str(), "anka-template-tag:--yes"],
        [template.as_str(), "anka-template-tag:a\u{7}b"],
        [template.as_str(), "a,b"],
    ] {
        let job = world.github.create_job(JobSpec::new(REPO, &labels));
        assert_eq!(
            world.github.wait_completed(job, LIMIT).conclusion.as_deref(),
            Some("cancelled"),
            "{labels:?}"
        );
    }
    assert!(world.anka.calls("clone").is_empty());
    let unknown = world.github.create_job(JobSpec::new(REPO, &["anka-template:$(touch pwned)"]));
    anklet.wait_message("anka template or tag not found in registry; cancelling job");
    assert_eq!(world.github.wait_completed(unknown, LIMIT).conclusion.as_deref(), Some("cancelled"));
    let good = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(good, LIMIT).conclusion.as_deref(), Some("success"));
    world.assert_clean(&anklet);
    assert_no_trace_of_pwned(&world);
    anklet.stop();
}

#[track_caller]
fn assert_no_trace_of_pwned(world: &World) {
    let found = std::process::Command::new("find").arg(world.home.path()).args(["-name", "pwned*"]).output();
    assert_eq!(String::from_utf8(found.unwrap().stdout).unwrap(), "");
}

/// Whatever `anka` says instead of an answer, the job is given back and succeeds later.
#[test]
fn nonsense_from_anka_costs_a_try_at_most() {
    let world = World::new();
    let config = world.config(1).replace(
        "claim_seconds: 3",
        "claim_seconds: 3\nanka_timeouts: {list: 1, clone: 1, start: 1, cp: 1, delete: 1}",
    );
    let anklet = world.start(&config);
    let half = r#"{"status": "OK", "code": 0, "bo"#;
    let other = r#"{"result": {"state": "fine"}, "apiVersion": 9}"#;
    for verb in ["list", "clone", "start", "cp", "delete"] {
        for action in [
            json!({"print": ""}),
            json!({"print": half}),
            json!({"print": other, "effect": true}),
            json!({"prefix_lines": ["warning: a new version of anka is there", "{}"]}),
            json!({"hang": true}),
        ] {
            world.anka.plan(&json!([{"match": {"verb": verb}, "do": action}]));
            let job = world.github.create_job(world.job());
            let ended = world.github.wait_completed(job, LIMIT);
            assert_eq!(ended.conclusion.as_deref(), Some("success"), "{verb} {action}");
            world.assert_clean(&anklet);
        }
    }
    anklet.stop();
}

/// A document that cannot be read is set aside with an error, and the others go on; so it is with the ledger.
#[test]
fn broken_documents_are_set_aside() {
    let world = World::new();
    let drain = world.home.path().join(".config/anklet/.drain");
    fs::write(&drain, "").unwrap();
    let first = world.start(&world.config(1));
    let broken = world.github.create_job(world.job_labelled("broken"));
    first.wait_messages("job pushed to queued queue", 1);
    let good = world.github.create_job(world.job_labelled("good"));
    first.wait_messages("job pushed to queued queue", 2);
    first.stop();
    let changed = queue::open(&world)
        .execute("UPDATE jobs SET doc = '{\"version\":1,' WHERE seq = (SELECT min(seq) FROM jobs)", []);
    assert_eq!(changed.unwrap(), 1);
    fs::write(world.home.path().join(".config/anklet/ledger.json"), "{\"vms\": [").unwrap();
    fs::remove_file(&drain).unwrap();

    let second = world.start(&world.config(1));
    assert_eq!(world.github.wait_completed(good, LIMIT).conclusion.as_deref(), Some("success"));
    second.wait_message("a stored document cannot be read; it was set aside into the table broken");
    second.wait_message(
        "the ledger file was broken and has been set aside; VMs that only it knew have to be deleted by hand",
    );
    assert!(!world.github.job(broken).is_completed());
    // GitHub says it again, and it runs.
    world.github.send_job_event(broken, "queued");
    assert_eq!(world.github.wait_completed(broken, LIMIT).conclusion.as_deref(), Some("success"));
    world.assert_clean(&second);
    second.stop();
}

#[test]
fn what_is_no_config_is_refused_at_once() {
    let world = World::new();
    let mut aliases = String::from("a0: &a0 [x, x]\n");
    for n in 1..40 {
        aliases += &format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1);
    }
    let huge = format!("plugins:\n{}", "# a comment without an end\n".repeat(4 << 20));
    for (what, config, word) in [
        ("exploding aliases", aliases, "alias"),
        ("100 MB", huge, "larger than"),
        ("UTF-16", "p\0l\0u\0g\0i\0n\0s\0:\0\n\0x\0x\0".to_owned(), "UTF-16"),
        ("a list", "- 1\n".to_owned(), "keys"),
        ("a tab", "plugins:\n\t- x\n".to_owned(), "config"),
    ] {
        let mut anklet = world.spawn(&config);
        let begun_at = Instant::now();
        let (status, lines) = anklet.wait_end_and_lines();
        assert!(begun_at.elapsed() < Duration::from_secs(8), "{what}: {:?}", begun_at.elapsed());
        assert_eq!(status.code(), Some(1), "{what}");
        let errors: Vec<_> = lines.iter().filter(|line| line.0["level"] == "ERROR").collect();
        assert!(!errors.is_empty() && errors[0].0.to_string().contains(word), "{what}: {lines:?}");
        assert!(errors[0].message().starts_with("unable to load config.yml"), "{what}: {lines:?}");
    }
}
