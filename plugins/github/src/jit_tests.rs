//! The one call that makes a runner, and the question for a group's number, against a scripted server.

use serde_json::{Value, json};

use super::*;
use crate::testing::{HALF_AN_ANSWER, Server, Step, answer};

fn organization() -> Scope {
    Scope::Organization { owner: "o".into() }
}

fn labels(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn made(id: u64) -> Step {
    answer(
        201,
        json!({ "runner": { "id": id, "name": "vm-1", "os": "unknown" }, "encoded_jit_config": "eyJ4In0=" }),
    )
}

fn ask(server: &Server, scope: &Scope, wanted: &[&str]) -> Result<JitAnswer, JitFailure> {
    server.client().jit_config(scope, "vm-1", 7, &labels(wanted), &Ear::deaf())
}

#[test]
fn one_call_makes_a_runner_in_each_scope() {
    for (scope, path) in [
        (Scope::Repository { owner: "o".into(), repo: "r".into() }, "/repos/o/r"),
        (organization(), "/orgs/o"),
        (Scope::Enterprise { slug: "e".into() }, "/enterprises/e"),
    ] {
        let server = Server::new([made(u64::MAX)]);
        let answer = ask(&server, &scope, &["a", "b,c", "A", "ü"]).unwrap();
        let JitAnswer::Made { id, config } = &answer else { panic!("{answer:?}") };
        assert_eq!((id.0, config.reveal()), (u64::MAX, "eyJ4In0="));
        assert!(!format!("{answer:?}").contains("eyJ4"));
        let asked = server.asked();
        assert_eq!(asked.line, format!("POST {path}/actions/runners/generate-jitconfig HTTP/1.1"));
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        assert_eq!(body, json!({ "name": "vm-1", "runner_group_id": 7, "labels": ["a", "b,c", "ü"] }));
    }
}

#[test]
fn a_lost_answer_shows_in_the_next_one() {
    let taken =
        || answer(409, json!({ "message": "Already exists - A runner with the name *** already exists." }));
    let server = Server::new([HALF_AN_ANSWER, taken()]);
    assert!(matches!(ask(&server, &organization(), &["a"]), Ok(JitAnswer::NameTaken)));
    assert_eq!(server.lines().len(), 2);
}

#[track_caller]
fn check_failure(script: Vec<Step>, in_doubt: bool) {
    let server = Server::new(script.clone());
    let failure = ask(&server, &organization(), &["a"]).unwrap_err();
    assert_eq!(failure.in_doubt, in_doubt, "{script:?}: {}", failure.error);
    assert_eq!(server.lines().len(), script.len());
}

#[test]
fn a_failure_tells_whether_a_runner_may_exist() {
    check_failure(vec![answer(403, "{}")], false);
    check_failure(vec![answer(401, "{}")], false);
    check_failure(vec![answer(422, "{}")], false);
    check_failure(vec![answer(404, "{}"); 3], false);
    check_failure(vec![Step::Drop, answer(403, "{}")], true);
    check_failure(vec![answer(502, ""), answer(422, "{}")], true);
    for body in [
        "{}",
        "[]",
        r#"{"runner":{"id":1},"encoded_jit_config":""}"#,
        r#"{"runner":{},"encoded_jit_config":"x"}"#,
    ] {
        check_failure(vec![answer(201, body)], true);
    }
}

#[track_caller]
fn check_rule(name: &str, wanted: &[String], word: &str) {
    let server = Server::new([]);
    let failure = server.client().jit_config(&organization(), name, 1, wanted, &Ear::deaf()).unwrap_err();
    assert!(matches!(failure.error, ClientError::Unprocessable { .. }) && !failure.in_doubt, "{failure:?}");
    assert!(failure.error.to_string().contains(word), "{}", failure.error);
    assert_eq!(server.lines(), Vec::<String>::new());
}

#[test]
fn what_github_would_refuse_is_not_asked() {
    let many: Vec<_> = (0..101).map(|n| format!("label-{n}")).collect();
    check_rule("vm-1", &many, "this job asks for 101");
    check_rule("vm-1", &[], "this job asks for 0");
    check_rule("vm-1", &labels(&["a", &"ü".repeat(257)]), "has 257");
    check_rule("vm-1", &labels(&[""]), "has 0");
    for name in ["", "a/b", "a\"", &"x".repeat(65)] {
        check_rule(name, &labels(&["a"]), "can be called");
    }
    let server = Server::new([made(1)]);
    ask(&server, &organization(), &[&"ü".repeat(256)]).unwrap();
}

fn groups(groups: &[(u64, &str)]) -> Value {
    let shown = groups.iter().map(|(id, name)| json!({ "id": id, "name": name, "default": *id == 1 }));
    json!({ "total_count": groups.len(), "runner_groups": shown.collect::<Vec<_>>() })
}

#[test]
fn the_number_of_a_group_is_asked_for_once() {
    let next = vec![("Link", "</organizations/5/groups?page=2>; rel=\"next\"".to_owned())];
    let first = groups(&[(1, "Default"), (3, "Other")]).to_string();
    let server =
        Server::new([Step::Answer(200, next, first.into()), answer(200, groups(&[(9, "Macs of ours")]))]);
    let client = server.client();
    for _ in 0..2 {
        assert_eq!(client.runner_group(&organization(), "macs of ours", &Ear::deaf()).unwrap(), Some(9));
    }
    assert_eq!(
        server.lines(),
        [
            "GET /orgs/o/actions/runner-groups?per_page=100 HTTP/1.1",
            "GET /organizations/5/groups?page=2 HTTP/1.1"
        ]
    );
}

#[test]
fn a_group_that_is_not_there_is_asked_for_again() {
    let listed = || answer(200, groups(&[(4, "G")]));
    let server = Server::new([answer(200, groups(&[])), listed(), listed()]);
    let client = server.client();
    let ask = || client.runner_group(&organization(), "G", &Ear::deaf()).unwrap();
    assert_eq!([ask(), ask()], [None, Some(4)]);
    client.forget_runner_groups();
    assert_eq!(ask(), Some(4));
    assert_eq!(server.lines().len(), 3);
}

#[test]
fn a_repository_has_one_group() {
    let server = Server::new([]);
    let scope = Scope::Repository { owner: "o".into(), repo: "r".into() };
    assert_eq!(server.client().runner_group(&scope, "whatever", &Ear::deaf()).unwrap(), Some(1));
}
