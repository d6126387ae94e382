//! Each call about runners against a scripted server: what it sends, and what it makes of each answer.

use serde_json::{Value, json};

use super::*;
use crate::testing::{HALF_AN_ANSWER, Server, Step, answer};

fn repository() -> Scope {
    Scope::Repository { owner: "o".into(), repo: "r".into() }
}

fn runner(id: u64, name: &str) -> Value {
    json!({
        "id": id, "name": name, "os": "unknown", "status": "offline", "busy": false, "ephemeral": true, "version": null,
        "labels": [{"id": 1, "name": "self-hosted", "type": "read-only"}], "runner_group_id": 1,
    })
}

fn list(runners: &[Value]) -> Step {
    answer(200, json!({"total_count": runners.len(), "runners": runners}))
}

#[test]
fn a_registration_token_is_asked_for_in_each_scope() {
    for (scope, path) in [
        (repository(), "/repos/o/r"),
        (Scope::Organization { owner: "o".into() }, "/orgs/o"),
        (Scope::Enterprise { slug: "e".into() }, "/enterprises/e"),
    ] {
        let written = json!({"token": "AAAA", "expires_at": "2026-01-02T03:04:05.000-08:00"});
        let server = Server::new([answer(201, written)]);
        let token = server.client().registration_token(&scope, &Ear::deaf()).unwrap();
        assert_eq!(token.token.reveal(), "AAAA");
        assert!(!format!("{token:?}").contains("AAAA"));
        assert_eq!(token.expires_at, Moment::parse_rfc3339("2026-01-02T11:04:05Z"));
        let asked = server.asked();
        assert_eq!(asked.line, format!("POST {path}/actions/runners/registration-token HTTP/1.1"));
        assert_eq!(asked.body, "");
    }
}

#[test]
fn a_lost_answer_to_a_registration_is_asked_for_again() {
    let server = Server::new([HALF_AN_ANSWER, answer(201, r#"{"token":"B"}"#)]);
    let token = server.client().registration_token(&repository(), &Ear::deaf()).unwrap();
    assert_eq!((token.token.reveal(), token.expires_at), ("B", None));
}

#[test]
fn no_token_is_nonsense() {
    for body in ["{}", r#"{"token":""}"#, r#"{"token":7}"#, "", "<html>"] {
        let server = Server::new([answer(201, body)]);
        let error = server.client().registration_token(&repository(), &Ear::deaf()).unwrap_err();
        assert!(matches!(error, ClientError::Nonsense { .. }), "{body}: {error:?}");
    }
}

#[test]
fn a_runner_is_found_by_its_exact_name_on_any_page() {
    let mut busy = runner(9, "vm-1");
    busy["status"] = json!("online");
    busy["busy"] = json!(true);
    let link = |path: &str| vec![("Link", format!("<{path}>; rel=\"next\", </last>; rel=\"last\""))];
    let first = json!({"total_count": 3, "runners": [runner(7, "vm-1x"), runner(8, "VM-1")]}).to_string();
    let server = Server::new([
        Step::Answer(200, link("/organizations/5/runners?page=2"), first.into()),
        answer(502, ""),
        list(&[busy]),
    ]);
    let found = server.client().runner(&repository(), "vm-1", &Ear::deaf()).unwrap();
    assert_eq!(found, Some(Runner { id: 9, name: "vm-1".into(), is_online: true, is_busy: true }));
    assert_eq!(
        server.lines(),
        [
            "GET /repos/o/r/actions/runners?name=vm-1&per_page=100 HTTP/1.1",
            "GET /organizations/5/runners?page=2 HTTP/1.1",
            "GET /organizations/5/runners?page=2 HTTP/1.1"
        ]
    );
}

#[test]
fn a_page_elsewhere_is_not_asked_for() {
    let link = vec![("Link", "<https://evil.example/x>; rel=\"next\"".to_owned())];
    let server = Server::new([Step::Answer(200, link, r#"{"runners":[]}"#.into())]);
    let error = server.client().runner(&repository(), "x", &Ear::deaf()).unwrap_err();
    assert!(error.to_string().contains("another host"), "{error}");
}

#[test]
fn endless_pages_end() {
    let link = || vec![("Link", "</more>; rel=\"next\"".to_owned())];
    let server = Server::new((0..101).map(|_| Step::Answer(200, link(), r#"{"runners":[]}"#.into())));
    let error = server.client().runner(&repository(), "x", &Ear::deaf()).unwrap_err();
    assert!(error.to_string().contains("100 pages"), "{error}");
}

#[test]
fn a_name_cannot_leave_its_place_in_the_query() {
    let server = Server::new([list(&[])]);
    server.client().runner(&repository(), "a b&name=c#/é", &Ear::deaf()).unwrap();
    assert!(server.lines()[0].contains("?name=a%20b%26name%3Dc%23%2F%C3%A9&per_page=100 "));
}

#[track_caller]
fn check_removal(script: Vec<Step>, expected: Removal) {
    let server = Server::new(script.clone());
    let n_steps = script.len();
    assert_eq!(
        server.client().remove_runner(&repository(), 9, &Ear::deaf()).unwrap(),
        expected,
        "{script:?}"
    );
    assert_eq!(server.lines(), vec!["DELETE /repos/o/r/actions/runners/9 HTTP/1.1"; n_steps]);
}

#[test]
fn the_status_of_a_removal_decides() {
    check_removal(vec![answer(204, "")], Removal::Removed);
    check_removal(vec![answer(404, r#"{"message":"Not Found"}"#)], Removal::AlreadyGone);
    for words in [
        "Runner \"x\" is still running a job",
        "Runner x is currently running a job and cannot be deleted",
        "",
    ] {
        check_removal(vec![answer(422, json!({"message": words}))], Removal::Busy);
    }
    check_removal(vec![answer(500, ""), answer(204, "")], Removal::Removed);
    // The first removal worked, but its answer was lost.
    check_removal(vec![Step::Drop, answer(404, "{}")], Removal::AlreadyGone);
}

#[track_caller]
fn check_fence(script: Vec<Step>, expected: Option<Fence>) {
    let server = Server::new(script.clone());
    assert_eq!(server.client().fence(&repository(), "vm-1", &Ear::deaf()).ok(), expected, "{script:?}");
    assert_eq!(server.lines().len(), script.len());
}

#[test]
fn only_the_removal_itself_is_proof() {
    let listed = || list(&[runner(9, "vm-1")]);
    check_fence(vec![listed(), answer(204, "")], Some(Fence::Removed));
    check_fence(vec![listed(), answer(404, "{}")], Some(Fence::Removed));
    check_fence(vec![listed(), answer(422, "{}")], Some(Fence::Busy));
    check_fence(vec![list(&[])], Some(Fence::NotListed));
    check_fence(vec![listed(), answer(403, "{}")], None);
    check_fence(vec![answer(403, "{}")], None);
    check_fence(vec![answer(404, "{}"); 3], None);
    check_fence(vec![answer(200, "[]")], None);
}

#[test]
fn a_runner_that_is_hidden_is_not_gone() {
    let check = |script: Vec<Step>, expected: Option<Fence>| {
        let server = Server::new(script.clone());
        let fence = server.client().fence_by_id(&repository(), RunnerId(9), &Ear::deaf());
        assert_eq!(fence.ok(), expected, "{script:?}");
        assert_eq!(server.lines().len(), script.len());
    };
    check(vec![answer(204, "")], Some(Fence::Removed));
    check(vec![answer(422, "{}")], Some(Fence::Busy));
    check(vec![answer(404, "{}"), list(&[])], Some(Fence::Removed));
    check(vec![answer(404, "{}"), answer(403, "{}")], None);
    check(vec![answer(404, "{}"); 4], None);
}

#[test]
fn the_runner_programs_are_read() {
    let entry = |os: &str, filename: &str| {
        json!({
            "os": os, "architecture": "arm64", "download_url": format!("https://x.example/{filename}"), "filename": filename,
            "sha256_checksum": "AB".repeat(32), "temp_download_token": null,
        })
    };
    let mut without_sum = entry("win", "actions-runner-win-arm64-2.336.0.zip");
    without_sum["sha256_checksum"] = json!("short");
    let list = json!([
        entry("osx", "actions-runner-osx-arm64-2.336.0.tar.gz"),
        without_sum,
        entry("x", "odd.tar.gz"),
        {}
    ]);
    let server = Server::new([answer(200, list)]);
    let downloads = server.client().downloads(&repository(), &Ear::deaf()).unwrap();
    assert_eq!(server.lines(), ["GET /repos/o/r/actions/runners/downloads HTTP/1.1"]);
    let expected = RunnerDownload {
        os: "osx".into(),
        architecture: "arm64".into(),
        url: "https://x.example/actions-runner-osx-arm64-2.336.0.tar.gz".into(),
        filename: "actions-runner-osx-arm64-2.336.0.tar.gz".into(),
        sha256: Some("ab".repeat(32)),
        version: "2.336.0".into(),
    };
    assert_eq!(downloads.len(), 2);
    assert_eq!(downloads[0], expected);
    assert_eq!((downloads[1].os.as_str(), downloads[1].sha256.as_ref()), ("win", None));
}

#[test]
fn versions_are_read_from_file_names() {
    for (filename, version) in [
        ("actions-runner-linux-x64-2.329.10.tar.gz", Some("2.329.10")),
        ("actions-runner-osx-x64-2.1.tar.gz", None),
        ("actions-runner-osx-x64-2.1.x.tar.gz", None),
        ("actions-runner-osx-x64-2.1.3", None),
        ("", None),
    ] {
        assert_eq!(version_of(filename), version, "{filename}");
    }
}
