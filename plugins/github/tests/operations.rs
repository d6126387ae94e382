//! GitHub's own description of the operations that we use, in our own words: each call the client can make is one of them, in every scope, with
//! the headers that each needs, a query that it knows and a body that it takes; and what we read of an answer is what it holds.
#![allow(clippy::unwrap_used, reason = "what fails here fails its test")]

use std::collections::BTreeSet;

use anklet_github::address::Repository;
use anklet_github::client::Client;
use anklet_github::deliveries::Hook;
use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::job::{JobId, RunId};
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::{AppCredentials, GithubAccess, Secret};
use fake_github::{FakeGitHub, JobSpec, RequestRecord, Rule, keys};
use serde_json::Value;

/// An operation. In its path `{r}`, `{o}`, `{e}` and their combinations stand for the scopes that it exists in; `{…}` is one segment.
struct Operation {
    method: &'static str,
    path: &'static str,
    query: &'static [&'static str],
    /// What its body must hold, and nothing else; most have none.
    body: &'static [&'static str],
    /// The status of success.
    well: u16,
    /// What we read of the answer, as JSON pointers; `/0` is the first item of a list.
    reads: &'static [&'static str],
}

const fn get(
    path: &'static str,
    query: &'static [&'static str],
    reads: &'static [&'static str],
) -> Operation {
    Operation { method: "GET", path, query, body: &[], well: 200, reads }
}

const fn post(path: &'static str, well: u16, reads: &'static [&'static str]) -> Operation {
    Operation { method: "POST", path, query: &[], body: &[], well, reads }
}

const OPERATIONS: &[Operation] = &[
    post("{roe}/actions/runners/registration-token", 201, &["/token", "/expires_at"]),
    get(
        "{roe}/actions/runners",
        &["name", "per_page", "page"],
        &["/runners/0/id", "/runners/0/name", "/runners/0/status", "/runners/0/busy"],
    ),
    Operation {
        method: "DELETE",
        path: "{roe}/actions/runners/{id}",
        query: &[],
        body: &[],
        well: 204,
        reads: &[],
    },
    get(
        "{roe}/actions/runners/downloads",
        &[],
        &["/0/os", "/0/architecture", "/0/download_url", "/0/filename", "/0/sha256_checksum"],
    ),
    // A second one of the same name is refused, so its answer is not asked for again here.
    Operation {
        body: &["name", "runner_group_id", "labels"],
        ..post("{roe}/actions/runners/generate-jitconfig", 201, &[])
    },
    get(
        "{oe}/actions/runner-groups",
        &["per_page", "page"],
        &["/runner_groups/0/id", "/runner_groups/0/name"],
    ),
    get("{r}", &[], &[]),
    get(
        "{r}/actions/jobs/{id}",
        &[],
        &["/id", "/run_id", "/run_attempt", "/status", "/conclusion", "/labels", "/runner_name"],
    ),
    get(
        "{r}/actions/runs/{id}/jobs",
        &["filter", "per_page", "page"],
        &[
            "/jobs/0/id",
            "/jobs/0/run_id",
            "/jobs/0/status",
            "/jobs/0/conclusion",
            "/jobs/0/labels",
            "/jobs/0/runner_name",
        ],
    ),
    post("{r}/actions/runs/{id}/cancel", 202, &[]),
    get(
        "{ro}/hooks/{id}/deliveries",
        &["per_page", "cursor", "status"],
        &["/0/id", "/0/guid", "/0/delivered_at", "/0/redelivery", "/0/status", "/0/status_code", "/0/event"],
    ),
    get(
        "{ro}/hooks/{id}/deliveries/{delivery}",
        &[],
        &["/request/payload/action", "/request/payload/workflow_job/id"],
    ),
    post("{ro}/hooks/{id}/deliveries/{delivery}/attempts", 202, &[]),
    get("{roe}/installation", &[], &["/id"]),
    get("/users/{user}/installation", &[], &["/id"]),
    get(
        "/app/hook/deliveries",
        &["per_page", "cursor", "status"],
        &["/0/id", "/0/guid", "/0/delivered_at", "/0/redelivery", "/0/status", "/0/status_code", "/0/event"],
    ),
    get(
        "/app/hook/deliveries/{delivery}",
        &[],
        &["/request/payload/action", "/request/payload/workflow_job/id"],
    ),
    post("/app/hook/deliveries/{delivery}/attempts", 202, &[]),
    get("/app", &[], &["/id"]),
    get("/app/installations", &["per_page", "page"], &["/0/id", "/0/account/login"]),
    post("/app/installations/{id}/access_tokens", 201, &["/token", "/expires_at"]),
];

impl Operation {
    /// The paths that it has in each of its scopes, `*` for one segment.
    fn paths(&self) -> Vec<String> {
        let (scopes, rest) = match self.path.strip_prefix('{').and_then(|path| path.split_once('}')) {
            Some((letters, rest)) => (letters.chars().map(prefix).collect(), rest),
            None => (vec![""], self.path),
        };
        let segments: Vec<_> =
            rest.split('/').map(|segment| if segment.starts_with('{') { "*" } else { segment }).collect();
        scopes.into_iter().map(|scope| format!("{scope}{}", segments.join("/"))).collect()
    }

    fn is(&self, method: &str, path: &str) -> Option<String> {
        let fits = |pattern: &String| {
            let (wanted, given): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
            wanted.len() == given.len()
                && wanted
                    .iter()
                    .zip(given)
                    .all(|(wanted, given)| *wanted == given || *wanted == "*" && !given.is_empty())
        };
        if method == self.method { self.paths().into_iter().find(fits) } else { None }
    }
}

fn prefix(letter: char) -> &'static str {
    match letter {
        'r' => "/repos/*/*",
        'o' => "/orgs/*",
        'e' => "/enterprises/*",
        other => panic!("no scope {other}"),
    }
}

/// A request is one of the operations, and as GitHub wants it. The operation's name.
fn check(request: &RequestRecord) -> String {
    let name = format!("{} {}", request.method, request.path_only());
    let found = OPERATIONS.iter().filter_map(|it| Some((it, it.is(&request.method, request.path_only())?)));
    // A literal segment goes before one that may be anything: `downloads` is no runner's id.
    let (operation, path) =
        found.min_by_key(|(_, path)| path.matches('*').count()).unwrap_or_else(|| panic!("{name}"));
    let header = |name: &str| {
        let found = request.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.as_str())
    };
    assert_eq!(header("accept"), "application/vnd.github+json", "{name}");
    assert_eq!(header("x-github-api-version"), "2022-11-28", "{name}");
    assert!(header("user-agent").starts_with("anklet/"), "{name}");
    // `Bearer` is what JWTs need and all take.
    assert!(header("authorization").starts_with("Bearer "), "{name}");
    let body =
        if request.body.is_empty() { Value::Null } else { serde_json::from_str(&request.body).unwrap() };
    let keys: BTreeSet<_> = body.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, operation.body.iter().copied().collect(), "{name}");
    assert_eq!(header("content-type") == "application/json", !keys.is_empty(), "{name}");
    assert_eq!(header("content-length").is_empty(), request.method != "POST", "{name}");
    let query = request.path.split_once('?').map_or("", |(_, query)| query);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap();
        assert!(operation.query.contains(&key), "{name}: {key}");
        let is_page = key == "per_page" || key == "page";
        assert!(!is_page || (1..=100).contains(&value.parse::<u32>().unwrap()), "{name}: {pair}");
    }
    format!("{} {path}", operation.method)
}

/// Asks once more as the client did, and looks for what it reads.
fn check_answer(github: &FakeGitHub, request: &RequestRecord) {
    let found = OPERATIONS.iter().find(|it| it.is(&request.method, request.path_only()).is_some()).unwrap();
    if found.reads.is_empty() || request.status() != Some(found.well) {
        return;
    }
    let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
    let mut again = ureq::http::Request::builder().method(request.method.as_str());
    again = again.uri(format!("{}{}", github.api_url(), request.path));
    for (name, value) in
        request.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("accept-encoding"))
    {
        again = again.header(name, value);
    }
    let answer = agent.run(again.body(Vec::new()).unwrap()).unwrap().body_mut().read_to_string().unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    for pointer in found.reads {
        assert!(
            answer.pointer(pointer).is_some(),
            "{} {}: {pointer} in {answer}",
            request.method,
            request.path
        );
    }
}

fn client(github: &FakeGitHub, token: Option<&str>, with_app: bool) -> Client {
    let private_key = Secret::new(keys::APP_KEY);
    let access = GithubAccess {
        web_url: github.url(),
        api_url: github.api_url(),
        ca_file: None,
        token: token.map(Secret::new),
        token_key: "token",
        app: with_app.then(|| AppCredentials {
            id: "Iv1.abc".to_owned(),
            installation_id: None,
            private_key,
            private_key_key: "private_key",
        }),
    };
    let limits = Limits { github_retry_first: std::time::Duration::from_millis(5), ..Limits::default() };
    Client::new(&access, &limits).unwrap()
}

/// Every call there is, for this scope. The runner, the job, the failed delivery and the hook are there to be found.
fn call_all(github: &FakeGitHub, client: &Client, with_app: bool, scope: &Scope, name: &str) {
    let (ear, repository) = (Ear::deaf(), Repository { owner: "acme", repo: "app" });
    client.registration_token(scope, &ear).unwrap();
    client.downloads(scope, &ear).unwrap();
    let group = client.runner_group(scope, "Default", &ear).unwrap().unwrap();
    client.jit_config(scope, "once", group, &["x".to_owned()], &ear).unwrap();
    github.add_runner(name, "stays", &["x"]);
    let id = github.add_runner(name, "goes", &["x"]);
    client.runner(scope, "stays", &ear).unwrap().unwrap();
    client.remove_runner(scope, id, &ear).unwrap();
    client.see_repository(repository, &ear).unwrap();
    let hook = (!matches!(scope, Scope::Enterprise { .. })).then(|| Hook::OfScope {
        scope: scope.clone(),
        id: github.add_hook(name, "http://127.0.0.1:9/nobody", "s"),
    });
    let app_hook = with_app.then(|| {
        github.add_app_hook(1, "http://127.0.0.1:9/nobody", "s");
        Hook::OfApp
    });
    let job = github.create_job(JobSpec::new("acme/app", &["anka-template:U"]));
    let run = RunId(github.job(job).run_id);
    client.job_state(repository, JobId(job), &ear).unwrap();
    client.run_jobs(repository, run, &ear).unwrap();
    for hook in hook.into_iter().chain(app_hook) {
        assert!(github.wait_webhooks_sent(std::time::Duration::from_secs(30)));
        let page = client.deliveries(&hook, None, &ear).unwrap();
        client.delivered(&hook, page.deliveries[0].id, &ear).unwrap().unwrap();
        assert!(client.redeliver(&hook, page.deliveries[0].id, &ear).unwrap());
    }
    client.cancel_run(repository, run, &ear).unwrap();
}

#[test]
fn every_call_is_an_operation_of_githubs_in_every_scope() {
    let mut used = BTreeSet::new();
    for (scope, name) in [
        (Scope::Repository { owner: "acme".to_owned(), repo: "app".to_owned() }, "acme/app"),
        (Scope::Organization { owner: "acme".to_owned() }, "acme"),
        (Scope::Enterprise { slug: "big".to_owned() }, "enterprises/big"),
    ] {
        for with_app in [false, true] {
            let github = FakeGitHub::start();
            let permissions = [
                "actions=write",
                "administration=write",
                "repository_hooks=write",
                "organization_hooks=write",
                "organization_self_hosted_runners=write",
            ];
            let scopes = ["repo", "admin:org", "admin:org_hook", "manage_runners:enterprise"];
            github.add_repo("acme/app").add_enterprise("big", &["acme"]).add_pat("ghp_good", &scopes);
            github.add_app(1, "Iv1.abc", keys::APP_KEY, &permissions).add_installation(7, 1, "acme");
            let token = (!with_app || name.starts_with("enterprises/")).then_some("ghp_good");
            call_all(&github, &client(&github, token, with_app), with_app, &scope, name);
            if with_app {
                client(&github, token, with_app).see_app(&Ear::deaf()).unwrap();
                // The other ways to the installation.
                github.rule(Rule::on("GET", "/orgs/acme/installation").status(404, "Not Found"));
                let again = client(&github, None, true);
                let elsewhere = Scope::Organization { owner: "acme".to_owned() };
                drop(again.registration_token(&elsewhere, &Ear::deaf()));
            }
            let requests = github.requests();
            used.extend(requests.iter().map(check));
            requests.iter().for_each(|request| check_answer(&github, request));
            assert_eq!(github.violations(), [""; 0]);
        }
    }
    // An enterprise's own installation is looked for only by an App without a token.
    let github = FakeGitHub::start();
    github.add_repo("acme/app").add_enterprise("big", &["acme"]).add_app(
        1,
        "Iv1.abc",
        keys::APP_KEY,
        &["actions=write"],
    );
    github.add_installation(7, 1, "enterprises/big").add_installation(8, 1, "acme");
    github.rule(Rule::on("GET", "/orgs/acme/installation").status(404, "Not Found"));
    github.rule(Rule::on("GET", "/users/acme/installation").status(404, "Not Found"));
    let app = client(&github, None, true);
    for scope in
        [Scope::Enterprise { slug: "big".to_owned() }, Scope::Organization { owner: "acme".to_owned() }]
    {
        drop(app.registration_token(&scope, &Ear::deaf()));
    }
    used.extend(github.requests().iter().map(check));
    let all =
        OPERATIONS.iter().flat_map(|it| it.paths().into_iter().map(|path| format!("{} {path}", it.method)));
    assert_eq!(used, all.collect());
}
