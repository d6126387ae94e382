//! What every call has in common: its headers, its retries, its limits, its ear, its connections.

use std::sync::Mutex;
use std::thread;

use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::stop::stop;

use super::*;
use crate::address::Repository;
use crate::error::Silence;
use crate::testing::{Asked, HALF_AN_ANSWER, PATIENCE, Server, Step, access, answer, quick_limits};

const REPOSITORY: Repository = Repository { owner: "o", repo: "r" };

fn see(client: &Client) -> Result<(), ClientError> {
    client.see_repository(REPOSITORY, &Ear::deaf())
}

#[track_caller]
fn check(script: Vec<Step>, expected: impl Fn(&Result<(), ClientError>) -> bool, n_tries: usize) {
    let server = Server::new(script.clone());
    let result = see(&server.client());
    assert!(expected(&result), "{script:?} gave {result:?}");
    assert_eq!(server.lines().len(), n_tries, "{script:?}");
}

#[test]
fn every_call_bears_its_headers() {
    let server = Server::new([answer(200, "{}"), answer(201, r#"{"token":"T"}"#)]);
    let client = server.client();
    see(&client).unwrap();
    let Asked { line, headers, body, .. } = server.asked();
    assert_eq!((line.as_str(), body.as_str()), ("GET /repos/o/r HTTP/1.1", ""));
    let user_agent = format!("anklet/{}", env!("CARGO_PKG_VERSION"));
    for (name, value) in [
        ("host", format!("127.0.0.1:{}", server.port).as_str()),
        ("authorization", "Bearer ghp_secret"),
        ("accept", "application/vnd.github+json"),
        ("x-github-api-version", "2022-11-28"),
        ("user-agent", &user_agent),
        ("accept-encoding", "gzip"),
    ] {
        assert_eq!(headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!headers.contains_key("content-length") && !headers.contains_key("transfer-encoding"));
    client.registration_token(&Scope::Organization { owner: "o".into() }, &Ear::deaf()).unwrap();
    assert_eq!(server.asked().headers.get("content-length").map(String::as_str), Some("0"));
}

#[test]
fn trouble_is_waited_out() {
    let well = || answer(200, "{}");
    let is_ok = |result: &Result<(), ClientError>| result.is_ok();
    check(vec![well()], is_ok, 1);
    check(vec![answer(502, "<html>"), answer(500, "{}"), answer(503, ""), well()], is_ok, 4);
    check(vec![Step::Drop, Step::Drop, HALF_AN_ANSWER, well()], is_ok, 4);
    check(vec![answer(404, "{}"), well()], is_ok, 2);
    check(vec![answer(408, ""), well()], is_ok, 2);
    // Wherever an answer breaks off.
    for half in [
        "HTTP/1.1 2",
        "HTTP/1.1 200 OK\r\nContent-",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"a",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    ] {
        check(vec![Step::Half(half), well()], is_ok, 2);
    }
}

#[test]
fn answers_are_not_asked_for_twice() {
    check(vec![answer(401, "{}")], |it| matches!(it, Err(ClientError::Unauthorized { .. })), 1);
    check(vec![answer(403, "{}")], |it| matches!(it, Err(ClientError::Forbidden { .. })), 1);
    check(vec![answer(409, "{}")], |it| matches!(it, Err(ClientError::Conflict { .. })), 1);
    check(vec![answer(422, "{}")], |it| matches!(it, Err(ClientError::Unprocessable { .. })), 1);
    check(vec![answer(304, "")], |it| matches!(it, Err(ClientError::Nonsense { .. })), 1);
    check(
        vec![answer(404, "{}"), answer(404, "{}"), answer(404, "{}")],
        |it| matches!(it, Err(ClientError::NotFound { .. })),
        3,
    );
}

#[test]
fn trouble_ends_with_the_total() {
    let server = Server::new(vec![answer(500, "{}"); 1_000]);
    let limits = Limits { github_retry_total: Duration::from_millis(50), ..quick_limits() };
    let client = Client::new(&access(&server.url()), &limits).unwrap();
    assert!(matches!(see(&client), Err(ClientError::Server { status: 500, .. })));
    assert!(server.lines().len() > 1);
}

#[test]
fn a_connection_is_used_again_and_replaced_when_it_has_ended() {
    let server =
        Server::new([answer(200, "{}"), answer(404, "{}"), answer(200, "{}"), Step::Drop, answer(200, "{}")]);
    // So long a wait would be felt: a connection that ended meanwhile is replaced without one.
    let limits =
        Limits { github_retry_first: PATIENCE / 2, github_retry_most: PATIENCE / 2, ..quick_limits() };
    let began_at = Instant::now();
    let client = Client::new(&access(&server.url()), &quick_limits()).unwrap();
    (0..2).for_each(|_| see(&client).unwrap());
    assert_eq!((0..3).map(|_| server.asked().n_connection).collect::<Vec<_>>(), [0, 0, 0]);
    let patient = Client { limits, ..client };
    see(&patient).unwrap();
    assert_eq!((server.asked().n_connection, server.asked().n_connection), (0, 1));
    assert!(began_at.elapsed() < PATIENCE / 4);
}

#[test]
fn a_silent_server_is_left_at_the_limit() {
    let server = Server::new([Step::Hang, answer(200, "{}")]);
    let limits = Limits { github_call: Duration::from_millis(100), ..quick_limits() };
    let client = Client::new(&access(&server.url()), &limits).unwrap();
    see(&client).unwrap();
    assert_eq!(server.lines().len(), 2);

    let server = Server::new([Step::Hang]);
    let limits = Limits { github_retry_total: Duration::ZERO, ..limits };
    let client = Client::new(&access(&server.url()), &limits).unwrap();
    let Err(ClientError::NoAnswer { silence, .. }) = see(&client) else { panic!() };
    assert_eq!(silence, Silence::TooSlow);
}

#[test]
fn a_stop_cuts_a_call_and_the_next_works() {
    let server = Server::new([Step::Hang, answer(200, "{}")]);
    let client = server.client();
    let (stopper, stop) = stop();
    thread::scope(|scope| {
        let cut = scope.spawn(|| client.see_repository(REPOSITORY, &Ear::to_stop(&stop)));
        server.asked();
        drop(stopper);
        assert!(matches!(cut.join().unwrap(), Err(ClientError::Cut { .. })));
    });
    server.left();
    see(&client).unwrap();
}

#[test]
fn a_cut_call_costs_others_no_more_than_a_new_connection() {
    let server = Server::new([Step::Hang, Step::Hang, answer(200, "{}")]);
    let client = server.client();
    let (stopper, stop) = stop();
    thread::scope(|scope| {
        let cut = scope.spawn(|| client.see_repository(REPOSITORY, &Ear::to_stop(&stop)));
        let other = scope.spawn(|| see(&client));
        (0..2).for_each(|_| drop(server.asked()));
        drop(stopper);
        assert!(matches!(cut.join().unwrap(), Err(ClientError::Cut { .. })));
        other.join().unwrap().unwrap();
    });
}

#[test]
fn a_stop_cuts_the_wait_between_two_tries() {
    let server = Server::new([answer(500, "{}"), answer(500, "{}")]);
    let limits = Limits {
        github_retry_first: PATIENCE,
        github_retry_most: PATIENCE,
        github_retry_total: PATIENCE * 9,
        ..quick_limits()
    };
    let client = Client::new(&access(&server.url()), &limits).unwrap();
    let (stopper, stop) = stop();
    let began_at = Instant::now();
    thread::scope(|scope| {
        let cut = scope.spawn(|| client.see_repository(REPOSITORY, &Ear::to_stop(&stop)));
        server.asked();
        drop(stopper);
        assert!(matches!(cut.join().unwrap(), Err(ClientError::Cut { .. })));
    });
    assert!(began_at.elapsed() < PATIENCE / 3);
}

#[test]
fn nobody_there_is_no_answer() {
    let url = Server::new([]).url();
    let limits = Limits { github_retry_total: Duration::ZERO, ..quick_limits() };
    let client = Client::new(&access(&url), &limits).unwrap();
    let error = see(&client).unwrap_err();
    assert!(matches!(error, ClientError::NoAnswer { silence: Silence::Unreachable, .. }), "{error:?}");
    assert!(error.is_unknown_outcome());
}

#[test]
fn a_renamed_repository_is_followed_on_the_same_server_only() {
    let elsewhere = Server::new([answer(200, "{}")]);
    let to = |url: String| Step::Answer(301, vec![("Location", url)], "{}".into());
    let server =
        Server::new([to("/repositories/1".into()), answer(200, "{}"), to(elsewhere.url() + "/repos/o/r")]);
    let client = server.client();
    see(&client).unwrap();
    assert_eq!(server.asked().line, "GET /repos/o/r HTTP/1.1");
    let followed = server.asked();
    assert_eq!(followed.line, "GET /repositories/1 HTTP/1.1");
    assert_eq!(followed.headers["authorization"], "Bearer ghp_secret");
    let error = see(&client).unwrap_err();
    assert!(error.to_string().contains("another host or port"), "{error}");
    assert!(elsewhere.lines().is_empty());

    let around = Server::new((0..9).map(|_| to("/again".into())));
    assert!(matches!(see(&around.client()), Err(ClientError::Nonsense { .. })));
    assert_eq!(around.lines().len(), 4);
}

#[test]
fn a_redirected_post_stays_a_post() {
    for status in [301, 302, 307, 308] {
        let elsewhere = Server::new([answer(202, "{}")]);
        let to = |url: String| Step::Answer(status, vec![("Location", url)], Vec::new());
        let server =
            Server::new([to("/repositories/1/cancel".to_owned()), answer(202, "{}"), to(elsewhere.url())]);
        let run = anklet_plugin_api::job::RunId(1);
        server.client().cancel_run(REPOSITORY, run, &Ear::deaf()).unwrap();
        server.asked();
        let followed = server.asked();
        assert_eq!(followed.line, "POST /repositories/1/cancel HTTP/1.1", "{status}");
        assert_eq!(followed.headers["authorization"], "Bearer ghp_secret");
        server.client().cancel_run(REPOSITORY, run, &Ear::deaf()).unwrap_err();
        assert!(elsewhere.lines().is_empty(), "{status}: the credentials stay");
    }
}

#[test]
fn an_endless_body_is_not_read_to_its_end() {
    let server = Server::new([answer(200, " ".repeat(11 * 1024 * 1024))]);
    assert!(matches!(see(&server.client()), Err(ClientError::Nonsense { .. })));
}

#[test]
fn the_budget_hears_every_answer() {
    let headers = vec![
        ("X-RateLimit-Limit", "5000".to_owned()),
        ("X-RateLimit-Remaining", "44".to_owned()),
        ("X-RateLimit-Reset", "2000000000".to_owned()),
    ];
    let server = Server::new([Step::Answer(403, headers, "{}".into())]);
    let client = server.client();
    see(&client).unwrap_err();
    assert_eq!(client.standing(REPOSITORY).map(|standing| standing.remaining), Some(44));
    assert_eq!(server.client().standing(REPOSITORY), client.standing(REPOSITORY), "clients share it");
    let other = GithubAccess { token: Some(Secret::new("ghp_other")), ..access(&server.url()) };
    assert_eq!(Client::new(&other, &quick_limits()).unwrap().standing(REPOSITORY), None);
}

#[test]
fn a_limit_is_waited_out_and_nothing_is_asked_meanwhile() {
    let limited = Step::Answer(429, vec![("Retry-After", "1".into())], "{}".into());
    let server = Server::new([answer(200, "{}"), limited, answer(200, "{}"), answer(200, "{}")]);
    let clients = [server.client(), server.client()];
    see(&clients[0]).unwrap();
    server.asked();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| see(&clients[0]));
        server.asked();
        let limited_at = Instant::now();
        while clients[1].paused_until(&Scope::Organization { owner: "x".into() }).is_none() {
            std::thread::yield_now();
            assert!(limited_at.elapsed() < PATIENCE);
        }
        see(&clients[1]).unwrap();
        first.join().unwrap().unwrap();
        assert!(limited_at.elapsed() >= Duration::from_millis(900), "{:?}", limited_at.elapsed());
    });
    assert_eq!(server.lines().len(), 2);
}

#[test]
fn who_does_not_wait_is_told_of_the_limit_and_asks_nothing() {
    let limited = Step::Answer(403, vec![("Retry-After", "1".into())], "{}".into());
    let server = Server::new([limited, answer(200, "{}")]);
    let client = server.client().never_waiting();
    for _ in 0..3 {
        let error = see(&client).unwrap_err();
        assert!(matches!(error, ClientError::Limited { .. }), "{error:?}");
    }
    assert_eq!(server.lines().len(), 1);
    // Another client waits, and then this one may ask again.
    see(&server.client()).unwrap();
    assert!(!matches!(see(&client), Err(ClientError::Limited { .. })));
}

#[test]
fn the_observer_hears_every_try() {
    #[derive(Default)]
    struct Seen(Mutex<Vec<(String, Option<u16>)>>);
    impl CallObserver for Seen {
        fn called(&self, call: CallName, status: Option<u16>, _took: Duration) {
            self.0.lock().unwrap().push((call.to_string(), status));
        }
    }
    let seen = Arc::new(Seen::default());
    let server = Server::new([Step::Drop, answer(500, "{}"), answer(200, "{}")]);
    see(&server.client().observed_by(seen.clone())).unwrap();
    let name = "GET /repos/{owner}/{repo}";
    let expected = [None, Some(500), Some(200)].map(|status| (name.to_owned(), status));
    assert_eq!(*seen.0.lock().unwrap(), expected);
}

#[test]
fn the_observer_hears_what_repeats_cost() {
    #[derive(Default)]
    struct Seen(Mutex<Vec<Duration>>);
    impl CallObserver for Seen {
        fn called(&self, _: CallName, _: Option<u16>, _: Duration) {}

        fn delayed(&self, by: Duration) {
            self.0.lock().unwrap().push(by);
        }
    }
    let seen = Arc::new(Seen::default());
    let server = Server::new([Step::Drop, answer(500, "{}"), answer(500, "{}"), answer(200, "{}")]);
    let wait = Duration::from_millis(40);
    let limits = Limits { github_retry_first: wait, github_retry_most: wait, ..quick_limits() };
    let client = Client::new(&access(&server.url()), &limits).unwrap().observed_by(seen.clone());
    let began_at = Instant::now();
    see(&client).unwrap();
    let took = began_at.elapsed();
    let delays = seen.0.lock().unwrap();
    // The first one was repeated at once.
    assert!(delays.len() == 3 && delays[1..].iter().all(|delay| *delay >= wait / 2), "{delays:?}");
    assert!(delays.iter().sum::<Duration>() < took + wait, "{delays:?}");
}

#[test]
fn what_an_operator_must_mend_is_named() {
    let new = |change: &dyn Fn(&mut GithubAccess)| {
        let mut access = access("https://api.github.com");
        change(&mut access);
        Client::new(&access, &Limits::default()).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(new(&|_| {}), "");
    assert!(new(&|access| access.api_url = "api.github.com".into()).contains("github_api_url"));
    assert!(
        new(&|access| access.ca_file = Some("/nonexistent/ca.pem".into())).contains("/nonexistent/ca.pem")
    );
    let not_pem = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    assert!(new(&|access| access.ca_file = Some(not_pem.into())).contains("no PEM certificate"));

    let server = Server::new([]);
    let bad = GithubAccess { token: Some(Secret::new("ghp_secret\n")), ..access(&server.url()) };
    let error = see(&Client::new(&bad, &quick_limits()).unwrap()).unwrap_err();
    assert!(matches!(error, ClientError::Setup { .. }) && !error.to_string().contains("ghp_"), "{error}");
    let none = GithubAccess { token: None, ..access(&server.url()) };
    let error = see(&Client::new(&none, &quick_limits()).unwrap()).unwrap_err();
    assert!(error.to_string().contains("`token`"), "{error}");
}

/// An answer with a tag.
fn tagged(tag: &str, body: &str) -> Step {
    Step::Answer(200, vec![("ETag", tag.to_owned())], body.into())
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let job = |status: &str| format!(r#"{{"id":7,"run_id":8,"labels":[],"status":"{status}"}}"#);
    let not_modified = || Step::Answer(304, vec![("ETag", "\"a\"".to_owned())], Vec::new());
    let server = Server::new([
        tagged("\"a\"", &job("queued")),
        not_modified(),
        answer(502, ""),
        not_modified(),
        tagged("\"b\"", &job("in_progress")),
        answer(200, job("completed")),
        answer(200, job("completed")),
    ]);
    let client = server.client();
    let ask = || client.job_state(REPOSITORY, anklet_plugin_api::job::JobId(7), &Ear::deaf()).unwrap();
    let states: Vec<_> = (0..6).map(|_| ask().status.to_string()).collect();
    assert_eq!(states, ["queued", "queued", "queued", "in_progress", "completed", "completed"]);
    let tags: Vec<_> = (0..7).map(|_| server.asked().headers.get("if-none-match").cloned()).collect();
    let tag = |tag: &str| Some(format!("\"{tag}\""));
    assert_eq!(tags, [None, tag("a"), tag("a"), tag("a"), tag("a"), tag("b"), None]);
}

#[test]
fn what_is_remembered_is_little() {
    let large =
        format!(r#"{{"id":7,"run_id":8,"labels":[],"status":"queued","x":"{}"}}"#, "x".repeat(64 * 1024));
    let server = Server::new([tagged("\"a\"", &large), tagged("\"a\"", &large)]);
    let client = server.client();
    for _ in 0..2 {
        client.job_state(REPOSITORY, anklet_plugin_api::job::JobId(7), &Ear::deaf()).unwrap();
        assert!(!server.asked().headers.contains_key("if-none-match"));
    }
    let job =
        |id: u64| tagged("\"a\"", &format!(r#"{{"id":{id},"run_id":8,"labels":[],"status":"queued"}}"#));
    let ids = || (0..9).chain([8, 0]);
    let server = Server::new(ids().map(job));
    let client = server.client();
    ids().for_each(|id| {
        drop(client.job_state(REPOSITORY, anklet_plugin_api::job::JobId(id), &Ear::deaf()).unwrap())
    });
    let known: Vec<_> = ids().map(|_| server.asked().headers.contains_key("if-none-match")).collect();
    assert_eq!(known[9..], [true, false], "the ninth is known, the first of nine is not any more");
}

#[test]
fn a_packed_body_is_unpacked() {
    // {"token":"zipped"}
    let packed = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x2a\xc9\xcf\x4e\xcd\x53\xb2\x52\xaa\xca\x2c\x28\x48\x4d\x51\xaa\x05\x00\xe7\x59\xc8\xb3\x12\x00\x00\x00";
    let headers = vec![("Content-Encoding", "gzip".to_owned())];
    let server = Server::new([Step::Answer(201, headers, packed.to_vec())]);
    let scope = Scope::Organization { owner: "o".into() };
    let token = server.client().registration_token(&scope, &Ear::deaf()).unwrap();
    assert_eq!(token.token.reveal(), "zipped");
}
