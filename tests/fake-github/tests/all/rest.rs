//! REST as the daemon uses it: strictness, paging, runners.

use std::time::Duration;

use fake_github::JobSpec;
use serde_json::{Value, json};

use crate::support::{GOOD, call, call_as, github, request, send};

/// A request without one of the good headers, or with another value of it.
fn check_header(name: &str, value: Option<&str>, status: u16, message: &str, is_violation: bool) {
    let github = github();
    let mut headers: Vec<(&str, &str)> = GOOD.into_iter().filter(|(known, _)| *known != name).collect();
    headers.extend(value.map(|value| (name, value)));
    let reply = send(&github, &request("GET", "/repos/acme/app/actions/runners", &headers, None)).unwrap();
    assert_eq!(reply.status, status, "{name} {value:?}");
    assert!(reply.message().contains(message), "{name} {value:?}: {reply:?}");
    assert_eq!(github.violations().len(), usize::from(is_violation), "{:?}", github.violations());
}

#[test]
fn headers_are_demanded() {
    check_header("Accept", None, 415, "Accept", true);
    check_header("Accept", Some("*/*"), 415, "Accept", true);
    check_header("X-GitHub-Api-Version", None, 400, "version", true);
    check_header("X-GitHub-Api-Version", Some("2021-01-01"), 400, "version", true);
    check_header("User-Agent", None, 403, "administrative rules", true);
    check_header("Authorization", None, 401, "Requires authentication", false);
    check_header("Authorization", Some("Bearer ghp_bad"), 401, "Bad credentials", false);
    check_header("Authorization", Some("Basic ghp_good"), 401, "Bad credentials", false);
    check_header("Authorization", Some("token ghp_good"), 200, "", false);
}

fn check_refused(method: &str, path: &str, body: Option<Value>, status: u16, violation: &str) {
    let github = github();
    let reply = call_as(&github, "ghp_good", method, path, body.as_ref());
    assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
    let violations = github.violations();
    let is_noted = violations.iter().any(|text| text.contains(violation));
    assert_eq!(is_noted, !violation.is_empty(), "{method} {path}: {violations:?}");
}

#[test]
fn paths_queries_and_bodies_are_checked() {
    let runners = "/repos/acme/app/actions/runners";
    let jit = format!("{runners}/generate-jitconfig");
    let good = json!({ "name": "n", "runner_group_id": 1, "labels": ["a"] });
    check_refused("GET", "/repos/acme/app/actions/runner", None, 404, "no such operation");
    check_refused("PATCH", runners, None, 404, "no such operation");
    check_refused("GET", "/repos/acme/gone/actions/runners", None, 404, "");
    check_refused("GET", &format!("{runners}?pages=1"), None, 200, "unknown query key `pages`");
    check_refused("GET", &format!("{runners}?per_page=101"), None, 200, "`per_page` is `101`");
    check_refused("GET", &format!("{runners}?page=0"), None, 200, "`page` is `0`");
    check_refused("GET", runners, Some(json!({})), 200, "a body where none belongs");
    check_refused("POST", &format!("{runners}/registration-token"), Some(json!({})), 201, "");
    check_refused(
        "POST",
        &format!("{runners}/registration-token"),
        Some(json!({ "x": 1 })),
        422,
        "\"x\" is not",
    );
    check_refused("POST", &jit, Some(good.clone()), 201, "");
    check_refused("POST", &jit, Some(json!({ "name": "n", "labels": ["a"] })), 422, "runner_group_id");
    check_refused("POST", &jit, Some(json!([])), 422, "not an object");
    for (key, value) in [
        ("name", json!("a/b")),
        ("name", json!("n".repeat(65))),
        ("labels", json!([])),
        ("labels", json!(vec!["a"; 101])),
        ("labels", json!(["a".repeat(257)])),
        ("runner_group_id", json!("1")),
        ("work_folder", json!(1)),
        ("extra", json!(1)),
    ] {
        let mut body = good.clone();
        body[key] = value;
        check_refused("POST", &jit, Some(body), 422, key.trim_end_matches('s'));
    }
    let mut body = good;
    body["runner_group_id"] = json!(99);
    check_refused("POST", &jit, Some(body), 404, "");
}

#[test]
fn both_bases_answer() {
    let github = github();
    for base in ["", "/api/v3"] {
        assert_eq!(call(&github, "GET", &format!("{base}/repos/ACME/App")).body["full_name"], "acme/app");
    }
    assert_eq!(github.requests_to("GET", "/repos/*/*").len(), 2);
    assert_eq!(github.violations(), Vec::<String>::new());
}

#[test]
fn a_connection_serves_many_requests() {
    use std::io::{Read, Write};
    let github = github();
    let mut stream = crate::support::connect(&github);
    let once = String::from_utf8(request("GET", "/rate_limit", &GOOD, None)).unwrap();
    let keep = once.replace("Connection: close\r\n", "");
    stream.write_all((keep.clone() + &keep + &once).as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3);
}

#[test]
fn pages_follow_their_links() {
    let github = github();
    for n in 0..7 {
        github.add_runner("acme/app", &format!("r{n}"), &["a"]);
        github.add_runner("acme", &format!("o{n}"), &["a"]);
    }
    for (start, prefix) in [
        ("/api/v3/repos/acme/app/actions/runners?per_page=3", "/api/v3/repositories/"),
        ("/orgs/acme/actions/runners?per_page=3", "/organizations/"),
    ] {
        let mut path = start.to_owned();
        let mut sizes = Vec::new();
        loop {
            let reply = call(&github, "GET", &path);
            assert_eq!(reply.body["total_count"], 7);
            sizes.push(reply.body["runners"].as_array().unwrap().len());
            match reply.link(&github, "next") {
                Some(next) => path = next,
                None => break,
            }
            assert!(path.starts_with(prefix), "{path}");
        }
        assert_eq!(sizes, [3, 3, 1]);
    }
    let one = call(&github, "GET", "/repos/acme/app/actions/runners?name=r5");
    assert_eq!(
        (one.body["total_count"].as_u64(), one.body["runners"][0]["name"].as_str()),
        (Some(1), Some("r5"))
    );
    assert_eq!(call(&github, "GET", "/repos/acme/app/actions/runners?name=r").body["total_count"], 0);
    assert_eq!(github.violations(), Vec::<String>::new());
}

#[test]
fn runners_are_fenced() {
    let github = github();
    let id = github.add_runner("acme/app", "vm-1", &["a"]);
    let path = format!("/repos/acme/app/actions/runners/{id}");
    assert_eq!(call(&github, "GET", &path).body["status"], "offline");
    assert_eq!(call(&github, "DELETE", &format!("/orgs/acme/actions/runners/{id}")).status, 404);
    let job = github.create_job(JobSpec::new("acme/app", &["a"]));
    github.set_runner_online(id, true);
    assert_eq!(call(&github, "GET", &path).body["busy"], true);
    let texts: Vec<String> = (0..2).map(|_| call(&github, "DELETE", &path).message().to_owned()).collect();
    assert!(texts[0].contains("is still running a job"), "{texts:?}");
    assert!(texts[1].contains("is currently running a job and cannot be deleted"), "{texts:?}");
    github.complete_job(job, "success");
    assert_eq!(call(&github, "DELETE", &path).status, 404, "an ephemeral runner goes with its job");
    let id = github.add_runner("acme/app", "vm-1", &["a"]);
    let path = format!("/repos/acme/app/actions/runners/{id}");
    assert_eq!(call(&github, "DELETE", &path).status, 204);
    assert_eq!(call(&github, "DELETE", &path).status, 404);
    let history = github.registrations_for(job);
    assert_eq!(history.len(), 2);
    assert_eq!((&history[0].jobs, history[1].jobs.len()), (&vec![job], 0));
}

#[test]
fn the_runner_list_may_lag() {
    let github = github();
    github.set_list_lag(Duration::from_secs(3600)).add_runner("acme/app", "vm-1", &["a"]);
    let path = "/repos/acme/app/actions/runners?name=vm-1";
    assert_eq!(call(&github, "GET", path).body["total_count"], 0);
    github.set_list_lag(Duration::ZERO);
    assert_eq!(call(&github, "GET", path).body["total_count"], 1);
}

#[test]
fn archives_have_the_checksum_that_is_listed() {
    let github = github();
    let list = call(&github, "GET", "/orgs/acme/actions/runners/downloads").body;
    let mac = list
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["os"] == "osx" && it["architecture"] == "arm64")
        .unwrap();
    let path = mac["download_url"].as_str().unwrap().strip_prefix(&github.url()).unwrap().to_owned();
    let reply = send(&github, &request("GET", &path, &[], None)).unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, reply.body.as_str().unwrap().as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(mac["sha256_checksum"], hex);
}

#[test]
fn groups_have_names() {
    let github = github();
    github.add_enterprise("big", &["acme"]);
    let id = github.add_runner_group("acme", "a b'c");
    let groups = call(&github, "GET", "/orgs/acme/actions/runner-groups?per_page=100").body;
    assert_eq!(groups["total_count"], 2);
    assert_eq!(
        (&groups["runner_groups"][1]["id"], &groups["runner_groups"][1]["name"]),
        (&json!(id), &json!("a b'c"))
    );
    assert_eq!(call(&github, "GET", "/enterprises/big/actions/runner-groups").body["total_count"], 1);
    assert_eq!(github.violations(), Vec::<String>::new());
}

#[test]
fn what_is_no_request_is_noted() {
    let github = github();
    assert!(send(&github, b"GET / HTTP/1.0\r\n\r\n").is_none());
    assert!(github.violations()[0].contains("broken request"));
}
