//! Requests that go wrong as a test says.

use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use fake_github::{Answer, FakeGitHub, JobSpec, LimitForm, RequestEnd, Rule};
use serde_json::json;

use crate::support::{GOOD, LIMIT, call, github, request, send};

const TOKEN: &str = "/repos/acme/app/actions/runners/registration-token";

fn token_call(github: &FakeGitHub) -> Option<crate::support::Reply> {
    send(github, &request("POST", TOKEN, &GOOD, None))
}

#[test]
fn an_answer_can_be_lost_before_and_after_the_act() {
    let github = github();
    let id = github.add_runner("acme/app", "vm-1", &["a"]);
    let path = format!("/repos/acme/app/actions/runners/{id}");
    github.rule(Rule::on("DELETE", "@/actions/runners/*").close());
    github.rule(Rule::on("DELETE", "@/actions/runners/*").lose_answer());
    let delete = || send(&github, &request("DELETE", &path, &GOOD, None));
    assert!(delete().is_none());
    assert_eq!(github.runners("acme/app").len(), 1, "nothing was done");
    assert!(delete().is_none());
    assert_eq!(github.runners("acme/app").len(), 0, "it was done");
    assert_eq!(delete().unwrap().status, 404);
    assert!(github.wait_for(|state| state.requests.iter().all(|request| request.end.is_some()), LIMIT));
    let ends: Vec<_> = github.requests().iter().map(|request| request.end.unwrap()).collect();
    assert_eq!(ends, [RequestEnd::Closed, RequestEnd::Lost(204), RequestEnd::Answered(404)]);
}

#[test]
fn rules_count_and_choose() {
    let github = github();
    github.add_pat("ghp_other", &["repo"]);
    let rule = github
        .rule(Rule::on("POST", "@/actions/runners/registration-token").nth(2).times(2).status(502, "Bad"));
    github.rule(Rule::on("*", "/repos/*/*").with_credential("ghp_other").status(500, "Other"));
    github.rule(Rule::on("POST", "/**").with_body("vm-7").status(409, "Seven"));
    let statuses: Vec<u16> = (0..4).map(|_| token_call(&github).unwrap().status).collect();
    assert_eq!(statuses, [201, 502, 502, 201]);
    assert_eq!(github.rule_hits(rule), 2);
    assert_eq!(call(&github, "GET", "/repos/acme/app").status, 200);
    assert_eq!(
        crate::support::call_as(&github, "ghp_other", "GET", "/repos/acme/app", None).message(),
        "Other"
    );
    let jit = json!({ "name": "vm-7", "runner_group_id": 1, "labels": ["a"] });
    let path = "/repos/acme/app/actions/runners/generate-jitconfig";
    assert_eq!(crate::support::call_as(&github, "ghp_good", "POST", path, Some(&jit)).message(), "Seven");
    let always = github.rule(Rule::on("GET", "/rate_limit").always().nonsense(b"<html>"));
    assert_eq!(call(&github, "GET", "/rate_limit").body, "<html>");
    github.remove_rule(always);
    assert!(call(&github, "GET", "/rate_limit").body.is_object());
}

#[test]
fn an_answer_can_be_cut() {
    let github = github();
    github.rule(Rule::on("POST", TOKEN).truncate_answer());
    let reply = token_call(&github).unwrap();
    let length: usize = reply.header("content-length").unwrap().parse().unwrap();
    assert!(reply.body.as_str().unwrap().len() < length);
}

#[test]
fn requests_hang_until_released_or_for_a_while() {
    let github = github();
    let rule = github.rule(Rule::on("POST", TOKEN).hang());
    std::thread::scope(|scope| {
        let (done, is_done) = channel();
        let caller = std::thread::Builder::new().name("caller".to_owned());
        let github = &github;
        caller.spawn_scoped(scope, move || done.send(token_call(github).unwrap().status)).unwrap();
        assert!(github.wait_requests("POST", TOKEN, 1, LIMIT));
        assert!(is_done.recv_timeout(Duration::from_millis(100)).is_err());
        github.release(rule);
        assert_eq!(is_done.recv_timeout(LIMIT).unwrap(), 201);
    });
    for rule in [
        Rule::on("POST", TOKEN).hang_for(Duration::from_millis(100)),
        Rule::on("POST", TOKEN).delay(Duration::from_millis(100)),
        Rule::on("POST", TOKEN).delay_answer(Duration::from_millis(100)),
    ] {
        github.rule(rule);
        let before = Instant::now();
        assert_eq!(token_call(&github).unwrap().status, 201);
        assert!(before.elapsed() >= Duration::from_millis(100));
    }
}

#[test]
fn stopping_frees_what_hangs() {
    let github = github();
    github.rule(Rule::on("POST", TOKEN).hang());
    let mut stream = crate::support::connect(&github);
    use std::io::{Read, Write};
    stream.write_all(&request("POST", TOKEN, &GOOD, None)).unwrap();
    assert!(github.wait_requests("POST", TOKEN, 1, LIMIT));
    drop(github);
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).unwrap_or(0), 0);
}

#[test]
fn the_caller_is_killed() {
    use std::os::unix::process::ExitStatusExt;
    for (after, n_cancelled) in [(false, 0), (true, 1)] {
        let github = github();
        let job = github.create_job(JobSpec::new("acme/app", &["a"]));
        let path = format!("/repos/acme/app/actions/runs/{}/cancel", github.job(job).run_id);
        let mut caller = Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().unwrap();
        let rule = Rule::on("POST", "/repos/*/*/actions/runs/*/cancel");
        github.rule(if after { rule.kill_after(caller.id()) } else { rule.kill_before(caller.id()) });
        assert!(send(&github, &request("POST", &path, &GOOD, None)).is_none());
        assert_eq!(caller.wait().unwrap().signal(), Some(9));
        assert_eq!(usize::from(github.job(job).is_completed()), n_cancelled);
    }
}

#[test]
fn a_test_decides_itself() {
    let github = github();
    let (seen, sees) = channel();
    github.rule(Rule::on("GET", "/repos/*/*").times(2).call(move |request| {
        seen.send(request.path.clone()).unwrap();
        (request.index == 0).then(|| Answer::empty(503).with_header("Retry-After", 1))
    }));
    assert_eq!(call(&github, "GET", "/repos/acme/app").status, 503);
    assert_eq!(call(&github, "GET", "/repos/acme/app").status, 200);
    assert_eq!(sees.try_iter().count(), 2);
    github.rule(Rule::on("POST", TOKEN).call_after(|_| Some(Answer::empty(500))));
    assert_eq!(token_call(&github).unwrap().status, 500);
}

#[test]
fn limits_come_in_all_forms() {
    for (form, status, remaining, retry_after, message) in [
        (LimitForm::Primary { status: 403, reset_in: 3 }, 403, "0", None, "API rate limit exceeded"),
        (LimitForm::Primary { status: 429, reset_in: 3 }, 429, "0", None, "API rate limit exceeded"),
        (
            LimitForm::SecondaryAfter { status: 403, seconds: 7 },
            403,
            "4821",
            Some("7"),
            "secondary rate limit",
        ),
        (
            LimitForm::SecondaryAfter { status: 429, seconds: 7 },
            429,
            "4821",
            Some("7"),
            "secondary rate limit",
        ),
        (LimitForm::SecondaryDate { seconds: 7 }, 403, "4821", Some(" GMT"), "secondary rate limit"),
        (LimitForm::SecondaryReset { reset_in: 5 }, 403, "0", None, "secondary rate limit"),
        (LimitForm::SecondaryBare, 403, "4821", None, "secondary rate limit"),
    ] {
        let github = github();
        github.rule(Rule::on("POST", TOKEN).limit(form));
        let reply = token_call(&github).unwrap();
        assert_eq!(
            (reply.status, reply.header("x-ratelimit-remaining")),
            (status, Some(remaining)),
            "{form:?}"
        );
        assert!(reply.message().contains(message), "{form:?}");
        let after = reply.header("retry-after");
        assert!(after.unwrap_or_default().ends_with(retry_after.unwrap_or_default()), "{form:?} {after:?}");
        assert_eq!(after.is_some(), retry_after.is_some());
        assert_eq!(token_call(&github).unwrap().status, 201);
    }
}

#[test]
fn the_runners_side_goes_wrong_too() {
    let github = github();
    github.rule(Rule::on("POST", "/_fake/runners").status(500, "Oops"));
    let reply = crate::support::fake(&github, "POST", "/_fake/runners", &json!({}));
    assert_eq!((reply.status, reply.message()), (500, "Oops"));
    assert!(github.requests().is_empty(), "requests() is about REST");
}
