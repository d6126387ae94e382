//! Who we are at GitHub: a GitHub App in all the ways in which it can be given, and an enterprise, which needs a token and an App.

use std::fs;

use fake_github::{JobSpec, RequestRecord, Rule, keys};

use crate::support::{Anklet, LIMIT, REPO, SECRET, TAG, TEMPLATE, TOKEN, World};
use crate::worlds::in_worlds;

const PERMISSIONS: [&str; 4] =
    ["actions=write", "administration=write", "organization_self_hosted_runners=write", "metadata=read"];

/// A way to give a GitHub App in the config.
#[derive(Clone, Debug)]
struct AppCase {
    /// The scope's keys in the config.
    scope: &'static str,
    /// The App's keys in the config; `KEY` stands for the key's text in one line.
    keys: &'static str,
    is_pkcs8: bool,
    /// Ways to find the installation that GitHub does not answer.
    closed_ways: &'static [&'static str],
    n_lookups: usize,
}

const CASES: [AppCase; 5] = [
    AppCase {
        scope: "owner: acme, repo: app",
        keys: "app_id: Iv1.abc, private_key: ~/app.pem",
        is_pkcs8: false,
        closed_ways: &[],
        n_lookups: 1,
    },
    AppCase {
        scope: "owner: acme, repo: app",
        keys: "app_id: 4711, installation_id: 7, private_key: HOME/app.pem",
        is_pkcs8: true,
        closed_ways: &[],
        n_lookups: 0,
    },
    AppCase {
        scope: "owner: acme",
        keys: "app_id: 4711, private_key: \"KEY\"",
        is_pkcs8: false,
        closed_ways: &[],
        n_lookups: 1,
    },
    AppCase {
        scope: "owner: acme",
        keys: "app_id: Iv1.abc, private_key: \"KEY\"",
        is_pkcs8: true,
        closed_ways: &["/orgs/acme/installation"],
        n_lookups: 2,
    },
    AppCase {
        scope: "owner: acme",
        keys: "app_id: Iv1.abc, installation_id: 0, private_key: ~/app.pem",
        is_pkcs8: false,
        closed_ways: &["/orgs/acme/installation", "/users/acme/installation"],
        n_lookups: 3,
    },
];

fn with_app(world: &World, case: &AppCase) -> String {
    let key = if case.is_pkcs8 { keys::APP_KEY_PKCS8 } else { keys::APP_KEY };
    fs::write(world.home.path().join("app.pem"), key).unwrap();
    let keys = case.keys.replace("KEY", &key.replace('\n', "\\n"));
    let keys = keys.replace("HOME", &world.home.path().display().to_string());
    let app = format!("plugin: github, {}, {keys}", case.scope);
    world
        .config(1)
        .replace(&format!("global_token: {TOKEN}\n"), "")
        .replace("plugin: github, owner: acme, repo: app", &app)
}

fn lookups(world: &World) -> Vec<RequestRecord> {
    let requests = world.github.requests().into_iter();
    requests.filter(|it| it.method == "GET" && it.path_only().contains("/installation")).collect()
}

#[test]
fn an_app_is_understood_however_it_is_given() {
    in_worlds(CASES.to_vec(), |world, case| {
        world.github.add_app(4711, "Iv1.abc", keys::APP_KEY, &PERMISSIONS).add_installation(7, 4711, "acme");
        for way in case.closed_ways {
            world.github.rule(Rule::on("GET", way).always().status(404, "Not Found"));
        }
        let anklet = world.start(&with_app(world, case));
        let job = world.github.create_job(world.job());
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
        anklet.wait_message("job completed");
        let hopeless = world.github.create_job(JobSpec::new(REPO, &["anka-template-tag:v1"]));
        anklet.wait_message("sent cancel workflow run");
        assert_eq!(world.github.wait_completed(hopeless, LIMIT).conclusion.as_deref(), Some("cancelled"));
        world.assert_clean(&anklet);
        assert_eq!(lookups(world).len(), case.n_lookups, "{:?}", lookups(world));
        let tokens = world.github.requests_to("POST", "/app/installations/7/access_tokens");
        assert_eq!(tokens.len(), 1, "one token serves for an hour");
        let shown: String = anklet.lines().iter().map(|line| line.0.to_string()).collect();
        assert!(!shown.contains("ghs_") && !shown.contains("PRIVATE KEY"), "no secret is shown");
        anklet.stop();
    });
}

/// What makes an enterprise: two organizations, a classic token for its runners, an App on each organization, and its hook.
pub(crate) fn enterprise(world: &World) -> String {
    let key = world.home.path().join("app.pem");
    fs::write(&key, keys::APP_KEY).unwrap();
    let url = format!("http://127.0.0.1:{}/jobs/v1/receiver", world.port);
    // The hook of the repository sends nothing of use.
    world.github.set_hook_url(world.hook, "http://127.0.0.1:9/nobody");
    world
        .github
        .add_repo("other/tool")
        .add_enterprise("big", &["acme", "other"])
        .add_pat(TOKEN, &["manage_runners:enterprise"])
        .add_app(4711, "Iv1.abc", keys::APP_KEY, &["actions=write", "metadata=read"])
        .add_installation(7, 4711, "acme")
        .add_installation(8, 4711, "other");
    world.github.add_hook("enterprises/big", &url, SECRET);
    world.github.add_runner_group("enterprises/big", "macs of all");
    let app = "enterprise: big, app_id: Iv1.abc, runner_group: macs of all,";
    world
        .config(2)
        .replace("global_token:", "global_private_key: ~/app.pem\nglobal_token:")
        .replace(
            "plugin: github_receiver, owner: acme, repo: app,",
            "plugin: github_receiver, enterprise: big,",
        )
        .replace(
            "plugin: github, owner: acme, repo: app",
            &format!("plugin: github, {}", app.trim_end_matches(',')),
        )
}

/// Which calls were made with which credential, as `GET /path TOKEN`.
fn check_callers(world: &World) {
    for request in world.github.requests() {
        let credential = request.credential.clone().unwrap_or_default();
        let path = request.path_only();
        let is_right = if path.starts_with("/enterprises/big/actions/runners") {
            credential == TOKEN
        } else if path.starts_with("/repos/") {
            credential.starts_with("ghs_") && !path.contains("/actions/runners")
                || credential.starts_with("eyJ") && path.ends_with("/installation")
        } else if path == "/app" || path.starts_with("/app/installations/") {
            credential.starts_with("eyJ")
        } else {
            path.starts_with("/actions/runner/releases") || path.starts_with("/_fake/")
        };
        assert!(is_right, "{} {path} with {credential}", request.method);
    }
}

#[test]
fn an_enterprise_runs_the_jobs_of_its_organizations() {
    let world = World::new();
    let anklet = world.start(&enterprise(&world));
    let (template, tag) = (format!("anka-template:{TEMPLATE}"), format!("anka-template-tag:{TAG}"));
    let job_in = |repo: &str, labels: &[&str]| world.github.create_job(JobSpec::new(repo, labels));
    let jobs = [REPO, "other/tool", REPO].map(|repo| job_in(repo, &[&template, &tag]));
    for job in jobs {
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
        let registration = &world.github.registrations_for(job)[0];
        assert_eq!(registration.scope.to_string(), "enterprises/big");
        assert_eq!(registration.group, "macs of all");
    }
    anklet.wait_messages("job completed", 3);
    // What concerns a job is asked of the organization that it belongs to.
    for (n_earlier, repo) in [REPO, "other/tool"].into_iter().enumerate() {
        let job = job_in(repo, &[&tag]);
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("cancelled"));
        anklet.wait_messages("sent cancel workflow run", n_earlier + 1);
    }
    for installation in [7, 8] {
        let path = format!("/app/installations/{installation}/access_tokens");
        assert_eq!(world.github.requests_to("POST", &path).len(), 1);
    }
    check_callers(&world);
    world.assert_clean(&anklet);
    anklet.wait_for("no runner of the enterprise", || world.github.runners("enterprises/big").is_empty());
    anklet.stop();
}

#[track_caller]
fn check_refused(world: &World, config: &str, words: &[&str]) {
    let mut anklet: Anklet = world.spawn(config);
    let (status, lines) = anklet.wait_end_and_lines();
    assert_eq!(status.code(), Some(1));
    let said: String = lines.iter().map(|line| format!("{}\n", line.0)).collect();
    assert!(words.iter().all(|word| said.contains(word)), "{words:?} in\n{said}");
    assert!(world.github.requests().is_empty());
}

#[test]
fn an_enterprise_without_one_of_its_credentials_does_not_start() {
    let world = World::new();
    let config = enterprise(&world);
    let no_token = config.replace(&format!("global_token: {TOKEN}\n"), "");
    check_refused(&world, &no_token, &["HANDLER1", "\"key\":\"token\"", "manage_runners:enterprise"]);
    let no_app = config.replace("global_private_key: ~/app.pem\n", "").replace("app_id: Iv1.abc, ", "");
    check_refused(&world, &no_app, &["HANDLER2", "\"key\":\"app_id\"", "needs a GitHub App too"]);
    let fine_grained = config.replace(TOKEN, "github_pat_0123456789");
    check_refused(&world, &fine_grained, &["HANDLER1", "fine-grained"]);
    let key = world.home.path().join("app.pem");
    fs::write(&key, "-----BEGIN PRIVATE KEY-----\nTUlJ\n-----END PRIVATE KEY-----\n").unwrap();
    check_refused(&world, &config, &["the private key of the GitHub App Iv1.abc cannot be used"]);
    fs::write(&key, "-----BEGIN PRIVATE KEY-----\nnonsense\n").unwrap();
    check_refused(&world, &config, &["global_private_key", "cut off"]);
    let said: String =
        world.spawn(&config).wait_end_and_lines().1.iter().map(|line| line.0.to_string()).collect();
    assert!(!said.contains("app_id"), "a key that is broken is not missing: {said}");
}
