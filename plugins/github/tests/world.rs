//! The client against the stand-in for GitHub, which refuses what GitHub would not understand: every call in every scope, by token and as
//! an App, and what the client makes of limits, expiry and clocks.
#![allow(clippy::unwrap_used, reason = "what fails here fails its test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anklet_github::address::Repository;
use anklet_github::client::Client;
use anklet_github::deliveries::Hook;
use anklet_github::error::{CallName, ClientError};
use anklet_github::jit::JitAnswer;
use anklet_github::jobs::Cancellation;
use anklet_github::observer::CallObserver;
use anklet_github::runners::{Fence, Removal};
use anklet_github::wire::JobStatus;
use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::job::{JobId, Phase, RunId};
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::{AppCredentials, GithubAccess, Secret};
use anklet_plugin_api::stop::{Stopper, stop};
use fake_github::{FakeGitHub, JobSpec, LimitForm, Rule, keys};

const REPOSITORY: Repository = Repository { owner: "acme", repo: "app" };
const PERMISSIONS: &[&str] =
    &["actions=write", "administration=write", "metadata=read", "organization_self_hosted_runners=write"];

/// A GitHub with one repository, a token that may do everything, and an App on the organization.
fn github() -> FakeGitHub {
    let github = FakeGitHub::start();
    github
        .add_enterprise("big", &["acme"])
        .add_repo("acme/app")
        .add_pat("ghp_good", &["repo", "admin:org", "manage_runners:enterprise"])
        .add_app(4711, "Iv1.abc", keys::APP_KEY_PKCS8, PERMISSIONS)
        .add_installation(7, 4711, "acme");
    github
}

fn client(github: &FakeGitHub, token: Option<&str>, app_id: Option<&str>) -> Client {
    let app = app_id.map(|id| AppCredentials {
        id: id.to_owned(),
        installation_id: None,
        private_key: Secret::new(keys::APP_KEY),
        private_key_key: "private_key",
    });
    let access = GithubAccess {
        web_url: github.url(),
        api_url: github.api_url(),
        ca_file: None,
        token: token.map(Secret::new),
        token_key: "token",
        app,
    };
    let limits = Limits { github_retry_first: std::time::Duration::from_millis(5), ..Limits::default() };
    Client::new(&access, &limits).unwrap()
}

fn scopes() -> [(Scope, &'static str); 3] {
    [
        (Scope::Repository { owner: "acme".into(), repo: "app".into() }, "acme/app"),
        (Scope::Organization { owner: "acme".into() }, "acme"),
        (Scope::Enterprise { slug: "big".into() }, "enterprises/big"),
    ]
}

#[track_caller]
fn check_runner_calls(github: &FakeGitHub, client: &Client, scope: &Scope, name: &str) {
    let ear = Ear::deaf();
    assert!(!client.registration_token(scope, &ear).unwrap().token.reveal().is_empty());
    let (idle, busy) = (format!("{name}-idle").replace('/', "-"), format!("{name}-busy").replace('/', "-"));
    let id = github.add_runner(name, &idle, &["anka-template:U"]);
    assert_eq!(client.runner(scope, &idle, &ear).unwrap().map(|runner| runner.id), Some(id));
    assert_eq!(client.runner(scope, &idle.to_uppercase(), &ear).unwrap(), None);
    assert_eq!(client.fence(scope, &idle, &ear).unwrap(), Fence::Removed);
    assert_eq!(client.fence(scope, &idle, &ear).unwrap(), Fence::NotListed);
    assert_eq!(client.remove_runner(scope, id, &ear).unwrap(), Removal::AlreadyGone);

    let id = github.add_runner(name, &busy, &["anka-template:U"]);
    github.set_runner_online(id, true);
    let job = github.create_job(JobSpec::new("acme/app", &["anka-template:U"]));
    github.assign(job, &busy);
    assert_eq!(client.fence(scope, &busy, &ear).unwrap(), Fence::Busy, "{}", github.story());
    let runner = client.runner(scope, &busy, &ear).unwrap().unwrap();
    assert!(runner.is_busy && runner.is_online);
    assert!(client.job_state(REPOSITORY, JobId(job), &ear).unwrap().is_on(&busy));
    assert!(client.downloads(scope, &ear).unwrap().iter().any(|download| download.os == "osx"));
    check_jit_calls(github, client, scope, name);
}

#[track_caller]
fn check_jit_calls(github: &FakeGitHub, client: &Client, scope: &Scope, name: &str) {
    let ear = Ear::deaf();
    let group = match scope {
        Scope::Repository { .. } => 1,
        Scope::Organization { .. } | Scope::Enterprise { .. } => github.add_runner_group(name, "Macs"),
    };
    assert_eq!(client.runner_group(scope, "Macs", &ear).unwrap(), Some(group));
    let vm = format!("{name}-jit").replace('/', "-");
    let labels = ["anka-template:U".to_owned(), "x y".to_owned()];
    let made = client.jit_config(scope, &vm, group, &labels, &ear).unwrap();
    let JitAnswer::Made { id, config } = made else { panic!("{}", github.story()) };
    assert!(config.reveal().len() > 100);
    assert_eq!(client.runner(scope, &vm, &ear).unwrap().map(|runner| runner.id), Some(id.0));
    let again = client.jit_config(scope, &vm, group, &labels, &ear).unwrap();
    assert!(matches!(again, JitAnswer::NameTaken));
    assert_eq!(client.fence_by_id(scope, id, &ear).unwrap(), Fence::Removed);
    assert_eq!(client.fence_by_id(scope, id, &ear).unwrap(), Fence::Removed, "that it is gone is as good");
    assert_eq!(client.fence(scope, &vm, &ear).unwrap(), Fence::NotListed);
}

#[test]
fn every_call_is_understood_in_every_scope() {
    for (scope, name) in scopes() {
        let github = github();
        check_runner_calls(&github, &client(&github, Some("ghp_good"), None), &scope, name);
        // An enterprise's runners are for the token, its jobs for the App.
        let token = matches!(scope, Scope::Enterprise { .. }).then_some("ghp_good");
        for app_id in ["Iv1.abc", "4711"] {
            let github = self::github();
            check_runner_calls(&github, &client(&github, token, Some(app_id)), &scope, name);
            assert_eq!(github.violations(), [""; 0]);
        }
        assert_eq!(github.violations(), [""; 0]);
    }
}

#[test]
fn jobs_and_runs_are_understood() {
    for (token, app_id) in [(Some("ghp_good"), None), (None, Some("Iv1.abc"))] {
        let github = github();
        let (client, ear) = (client(&github, token, app_id), Ear::deaf());
        client.see_repository(REPOSITORY, &ear).unwrap();
        let job = github.create_job(JobSpec::new("acme/app", &["anka-template:U", "anka-template-tag:v1"]));
        let run = RunId(github.job(job).run_id);
        let state = client.job_state(REPOSITORY, JobId(job), &ear).unwrap();
        assert_eq!((state.phase, state.job.run_id, state.for_us), (Phase::Queued, run, true));
        let others: Vec<_> =
            (0..101).map(|_| github.create_job(JobSpec::new("acme/app", &["x"]).run(run.0))).collect();
        github.set_job_status(others[0], fake_github::JobStatus::Waiting);
        let states = client.run_jobs(REPOSITORY, run, &ear).unwrap();
        assert_eq!(states.len(), 102);
        assert_eq!(states.iter().filter(|state| state.status == JobStatus::Waiting).count(), 1);
        assert_eq!(client.cancel_run(REPOSITORY, run, &ear).unwrap(), Cancellation::Accepted);
        github.wait_completed(job, std::time::Duration::from_secs(30));
        assert_eq!(client.cancel_run(REPOSITORY, run, &ear).unwrap(), Cancellation::AlreadyOver);
        let stuck = github.create_job(JobSpec::new("acme/app", &["x"]));
        github.set_run_stuck(github.job(stuck).run_id, true);
        let stuck = client.cancel_run(REPOSITORY, RunId(github.job(stuck).run_id), &ear).unwrap();
        assert!(matches!(stuck, Cancellation::Refused(refusal) if refusal.status == 409));
        github.forget_job(job);
        let gone = client.job_state(REPOSITORY, JobId(job), &ear);
        assert!(matches!(gone, Err(ClientError::NotFound { .. })), "{gone:?}");
        assert_eq!(github.violations(), [""; 0]);
    }
}

#[test]
fn a_missing_permission_is_named() {
    let github = github();
    github.add_fine_grained_pat("github_pat_weak", &["actions=read", "metadata=read"]);
    let client = client(&github, Some("github_pat_weak"), None);
    let error = client.registration_token(&scopes()[0].0, &Ear::deaf()).unwrap_err();
    assert!(
        matches!(&error, ClientError::Forbidden { permission: Some(it), .. } if it.contains("administration")),
        "{error:?}"
    );
}

#[test]
fn an_expired_installation_token_is_replaced() {
    let github = github();
    let client = client(&github, None, Some("Iv1.abc"));
    client.see_repository(REPOSITORY, &Ear::deaf()).unwrap();
    github.expire_installation_tokens();
    client.see_repository(REPOSITORY, &Ear::deaf()).unwrap();
    assert_eq!(github.requests_to("POST", "/app/installations/*/access_tokens").len(), 2);
}

/// Fifty calls find the token expired in the same moment, and those of another plugin with the same App too: one asks for a new one.
#[test]
fn many_find_the_token_expired_and_one_renews_it() {
    let github = github();
    let clients = [client(&github, None, Some("Iv1.abc")), client(&github, None, Some("Iv1.abc"))];
    clients.iter().for_each(|client| client.see_repository(REPOSITORY, &Ear::deaf()).unwrap());
    let n_tokens = || github.requests_to("POST", "/app/installations/*/access_tokens").len();
    assert_eq!(n_tokens(), 1, "both plugins share it");
    github.expire_installation_tokens();
    let gate = std::sync::Barrier::new(50);
    std::thread::scope(|scope| {
        for n in 0..50 {
            let (client, gate) = (&clients[n % 2], &gate);
            scope.spawn(move || {
                gate.wait();
                client.see_repository(REPOSITORY, &Ear::deaf()).unwrap();
            });
        }
    });
    assert_eq!(n_tokens(), 2);
    let asked = github.requests_to("GET", "/repos/acme/app");
    let refused = asked.iter().filter(|request| request.status() == Some(401)).count();
    assert!(refused >= 1 && asked.len() == 2 + 50 + refused, "{refused} of {}", asked.len());
    assert_eq!(github.violations(), [""; 0]);
}

/// What is asked again and again costs nothing of the limit while nothing changes.
#[test]
fn an_unchanged_answer_is_free() {
    let github = github();
    github.add_pat("ghp_hooks", &["repo"]);
    let client = client(&github, Some("ghp_hooks"), None);
    let ear = Ear::deaf();
    let job = github.create_job(JobSpec::new("acme/app", &["anka-template:U"]));
    let run = RunId(github.job(job).run_id);
    let hook = Hook::OfScope {
        scope: scopes()[0].0.clone(),
        id: github.add_hook("acme/app", "http://127.0.0.1:9/nobody", "s"),
    };
    let ask_all = || {
        assert_eq!(client.job_state(REPOSITORY, JobId(job), &ear).unwrap().status, JobStatus::Queued);
        assert_eq!(client.run_jobs(REPOSITORY, run, &ear).unwrap().len(), 1);
        assert!(client.deliveries(&hook, None, &ear).unwrap().deliveries.is_empty());
        assert!(!client.downloads(&scopes()[0].0, &ear).unwrap().is_empty());
        client.standing(REPOSITORY).unwrap().remaining
    };
    let remaining = ask_all();
    assert_eq!((ask_all(), ask_all()), (remaining, remaining));
    assert_eq!(github.requests().iter().filter(|request| request.status() == Some(304)).count(), 8);
    github.set_job_status(job, fake_github::JobStatus::Waiting);
    assert_eq!(client.job_state(REPOSITORY, JobId(job), &ear).unwrap().status, JobStatus::Waiting);
}

#[test]
fn a_clock_that_is_off_is_explained() {
    let github = github();
    github.move_clock(-300);
    let error = client(&github, None, Some("Iv1.abc")).see_repository(REPOSITORY, &Ear::deaf()).unwrap_err();
    assert!(error.to_string().contains("s ahead of GitHub's"), "{error}");
}

/// Ends the wait as soon as it begins, and remembers how long it would have been.
struct Impatient(Mutex<Option<Stopper>>, Mutex<Duration>);

impl CallObserver for Impatient {
    fn called(&self, _: CallName, _: Option<u16>, _: Duration) {}

    fn paused(&self, by: Duration) {
        *self.1.lock().unwrap() = by;
        *self.0.lock().unwrap() = None;
    }
}

#[test]
fn every_form_of_a_limit_is_known() {
    use LimitForm::{Primary, SecondaryAfter, SecondaryBare, SecondaryDate, SecondaryReset};
    for (form, seconds) in [
        (Primary { status: 403, reset_in: 30 }, 31),
        (Primary { status: 429, reset_in: 30 }, 31),
        (SecondaryAfter { status: 403, seconds: 7 }, 7),
        (SecondaryAfter { status: 429, seconds: 7 }, 7),
        (SecondaryDate { seconds: 7 }, 7),
        (SecondaryReset { reset_in: 30 }, 31),
        (SecondaryBare, 60),
    ] {
        let github = github();
        github.rule(Rule::on("GET", "/repos/acme/app").limit(form));
        let (stopper, stop) = stop();
        let observer = Arc::new(Impatient(Mutex::new(Some(stopper)), Mutex::default()));
        let client = client(&github, Some("ghp_good"), None).observed_by(observer.clone());
        let error = client.see_repository(REPOSITORY, &Ear::to_stop(&stop));
        assert!(matches!(error, Err(ClientError::Cut { .. })), "{form:?}: {error:?}");
        let wait = *observer.1.lock().unwrap();
        assert!((wait.as_secs() + 1).abs_diff(seconds) <= 1, "{form:?}: {wait:?}");
        assert_eq!(github.requests().len(), 1);
    }
}
