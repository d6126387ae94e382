//! The App's calls: where it looks for its installation, and that each token is asked for once.

use std::thread;

use anklet_plugin_api::job::RunId;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::section::GithubAccess;
use fake_github::keys::APP_KEY;
use serde_json::{Value, json};

use super::*;
use crate::address::Repository;
use crate::testing::{Server, Step, access, answer, app, quick_limits};

const REPOSITORY: Repository = Repository { owner: "Octo", repo: "r" };

fn client(server: &Server, installation_id: Option<u64>, token: Option<&str>) -> Client {
    let access = GithubAccess {
        token: token.map(Secret::new),
        app: Some(app(APP_KEY, installation_id)),
        ..access(&server.url())
    };
    Client::new(&access, &quick_limits()).unwrap()
}

/// A token that ends that long after the answer, by the server's own clock, which is years off ours.
fn token(name: &str, minutes: u32) -> Step {
    let body =
        json!({"token": name, "expires_at": format!("2020-09-29T12:{minutes:02}:00Z"), "permissions": {}});
    Step::Answer(201, vec![("Date", "Tue, 29 Sep 2020 12:00:00 GMT".into())], body.to_string().into())
}

fn see(client: &Client) -> Result<(), ClientError> {
    client.see_repository(REPOSITORY, &Ear::deaf())
}

/// Lines of what was asked, and the tokens that were shown; those signed by the App's key are all called `jwt`.
fn shown(server: &Server, n_requests: usize) -> Vec<(String, String)> {
    let one = |_| {
        let asked = server.asked();
        let shown = asked.headers["authorization"].trim_start_matches("Bearer ").to_owned();
        let shown = if shown.matches('.').count() == 2 { "jwt".to_owned() } else { shown };
        (asked.line.trim_end_matches(" HTTP/1.1").to_owned(), shown)
    };
    (0..n_requests).map(one).collect()
}

#[track_caller]
fn check(server: &Server, expected: &[(&str, &str)]) {
    let expected: Vec<_> =
        expected.iter().map(|(line, shown)| ((*line).to_owned(), (*shown).to_owned())).collect();
    assert_eq!(shown(server, expected.len()), expected);
    assert!(server.lines().is_empty());
}

const ASK_FOR_TOKEN: (&str, &str) = ("POST /app/installations/7/access_tokens", "jwt");

#[test]
fn a_token_serves_until_shortly_before_its_end() {
    let server = Server::new([token("A", 59), answer(200, "{}"), answer(202, "{}")]);
    let app = client(&server, Some(7), Some("ghp_pat"));
    see(&app).unwrap();
    app.cancel_run(REPOSITORY, RunId(1), &Ear::deaf()).unwrap();
    check(
        &server,
        &[ASK_FOR_TOKEN, ("GET /repos/Octo/r", "A"), ("POST /repos/Octo/r/actions/runs/1/cancel", "A")],
    );

    let server = Server::new([token("A", 4), answer(200, "{}"), token("B", 59), answer(200, "{}")]);
    let app = client(&server, Some(7), None);
    (0..2).for_each(|_| see(&app).unwrap());
    check(&server, &[ASK_FOR_TOKEN, ("GET /repos/Octo/r", "A"), ASK_FOR_TOKEN, ("GET /repos/Octo/r", "B")]);
}

/// The wait for a token is none of the call's own time.
#[test]
fn a_call_is_repeated_however_long_its_token_took() {
    let limited = Step::Answer(429, vec![("Retry-After", "3".into())], "{}".into());
    let server = Server::new([limited, token("A", 59), answer(500, "{}"), answer(200, "{}")]);
    let access = GithubAccess { token: None, app: Some(app(APP_KEY, Some(7))), ..access(&server.url()) };
    let limits = Limits { github_retry_total: Duration::from_millis(2_500), ..quick_limits() };
    see(&Client::new(&access, &limits).unwrap()).unwrap();
    let ask = ("GET /repos/Octo/r", "A");
    check(&server, &[ASK_FOR_TOKEN, ASK_FOR_TOKEN, ask, ask]);
}

#[test]
fn a_token_that_github_refuses_is_replaced_once() {
    let refused = || answer(401, r#"{"message":"Bad credentials"}"#);
    let server = Server::new([token("A", 59), refused(), token("B", 59), answer(200, "{}")]);
    see(&client(&server, Some(7), None)).unwrap();
    check(&server, &[ASK_FOR_TOKEN, ("GET /repos/Octo/r", "A"), ASK_FOR_TOKEN, ("GET /repos/Octo/r", "B")]);

    let server = Server::new([token("A", 59), refused(), token("B", 59), refused()]);
    let error = see(&client(&server, Some(7), None)).unwrap_err();
    assert!(matches!(error, ClientError::Unauthorized { .. }), "{error:?}");
}

#[test]
fn a_refused_app_says_so_at_once() {
    let server = Server::new([answer(401, r#"{"message":"A JSON web token could not be decoded"}"#)]);
    let error = see(&client(&server, Some(7), None)).unwrap_err().to_string();
    assert!(error.contains("access_tokens") && error.contains("could not be decoded"), "{error}");
}

#[track_caller]
fn check_lookup(scope: &Scope, script: Vec<Step>, expected: &[&str]) {
    let n_lookups = expected.len();
    let registration = answer(201, r#"{"token":"R"}"#);
    let server = Server::new(script.into_iter().chain([token("A", 59), registration.clone(), registration]));
    let app = client(&server, None, None);
    (0..2).for_each(|_| drop(app.registration_token(scope, &Ear::deaf()).unwrap()));
    let asked: Vec<_> = shown(&server, n_lookups + 3).into_iter().map(|(line, _)| line).collect();
    assert_eq!(asked[..n_lookups], *expected);
    assert_eq!(asked[n_lookups], ASK_FOR_TOKEN.0);
}

#[test]
fn an_installation_is_looked_for_where_it_may_be() {
    let found = || answer(200, r#"{"id":7,"account":{"login":"Octo"}}"#);
    let nothing = || answer(404, "{}");
    let organization = Scope::Organization { owner: "Octo".into() };
    check_lookup(&organization, vec![found()], &["GET /orgs/Octo/installation"]);
    check_lookup(
        &organization,
        vec![nothing(), found()],
        &["GET /orgs/Octo/installation", "GET /users/Octo/installation"],
    );
    let repository = Scope::Repository { owner: "Octo".into(), repo: "r".into() };
    check_lookup(&repository, vec![found()], &["GET /repos/Octo/r/installation"]);
    let of = |id: u64, account: Value| json!({"id": id, "account": account});
    let next = vec![("Link", "</page2>; rel=\"next\"".to_owned())];
    let others = json!([of(1, json!({"login": "other"})), of(2, Value::Null)]).to_string();
    let ours = json!([of(3, json!({"slug": "x"})), of(7, json!({"login": "octo"}))]);
    check_lookup(
        &repository,
        vec![nothing(), Step::Answer(200, next, others.into()), answer(200, ours)],
        &["GET /repos/Octo/r/installation", "GET /app/installations?per_page=100", "GET /page2"],
    );
    let enterprise = Scope::Enterprise { slug: "Big".into() };
    check_lookup(&enterprise, vec![found()], &["GET /enterprises/Big/installation"]);
}

#[test]
fn an_app_that_is_not_installed_says_where() {
    let server = Server::new([answer(404, "{}"), answer(200, "[]")]);
    let error = see(&client(&server, None, None)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the GitHub App Iv1.abc is not installed for octo: install it there, or mend `app_id`"
    );
}

#[test]
fn an_enterprises_runners_are_for_the_token() {
    let server = Server::new([
        answer(201, r#"{"token":"R"}"#),
        answer(200, r#"{"id":7}"#),
        token("A", 59),
        answer(200, "{}"),
    ]);
    let both = client(&server, None, Some("ghp_pat"));
    both.registration_token(&Scope::Enterprise { slug: "e".into() }, &Ear::deaf()).unwrap();
    see(&both).unwrap();
    check(
        &server,
        &[
            ("POST /enterprises/e/actions/runners/registration-token", "ghp_pat"),
            ("GET /repos/Octo/r/installation", "jwt"),
            ASK_FOR_TOKEN,
            ("GET /repos/Octo/r", "A"),
        ],
    );
}

#[test]
fn many_threads_cause_one_renewal() {
    const N_THREADS: usize = 50;
    let server = Server::new([token("A", 59)].into_iter().chain((0..N_THREADS).map(|_| answer(200, "{}"))));
    let app = client(&server, Some(7), None);
    thread::scope(|scope| (0..N_THREADS).for_each(|_| drop(scope.spawn(|| see(&app).unwrap()))));
    let lines = server.lines();
    assert_eq!(lines.len(), N_THREADS + 1);
    assert_eq!(lines.iter().filter(|line| line.starts_with("POST")).count(), 1);
}
