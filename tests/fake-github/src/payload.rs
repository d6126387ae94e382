//! The JSON shapes of owners, repositories, runs, jobs and runners. It stands alone because webhooks and REST show
//! the same things, each with its own small differences.

use serde_json::{Map, Value, json};

use crate::model::{Job, JobStatus, PayloadStyle, Run, Runner};
use crate::scope::Scope;
use crate::state::State;

mod urls;

/// Who the job is shown to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    Webhook,
    Rest,
}

/// The base of every API URL in a body.
pub(crate) fn api(state: &State) -> String {
    format!("{}/api/v3", state.origin)
}

/// A user or organization as `owner`, `sender` or `account`.
pub(crate) fn account(state: &State, login: &str) -> Value {
    let owner = state.owners.get(&login.to_ascii_lowercase());
    let (id, is_user) = owner.map_or((900_001, true), |owner| (owner.id, owner.is_user));
    let login = owner.map_or(login, |owner| &owner.login);
    let base = format!("{}/users/{login}", api(state));
    let mut body = json!({
        "login": login, "id": id, "node_id": format!("U_{id}"), "gravatar_id": "",
        "avatar_url": format!("{}/avatars/{id}", state.origin),
        "url": base, "html_url": format!("{}/{login}", state.origin),
        "type": if is_user { "User" } else { "Organization" }, "user_view_type": "public", "site_admin": false,
    });
    urls::add(&mut body, &base, urls::ACCOUNT);
    body
}

/// The `organization` of a webhook.
pub(crate) fn organization(state: &State, org: &str) -> Option<Value> {
    let owner = state.owners.get(org).filter(|owner| !owner.is_user)?;
    let base = format!("{}/orgs/{}", api(state), owner.login);
    let mut body = json!({
        "login": owner.login, "id": owner.id, "node_id": format!("O_{}", owner.id), "url": base,
        "avatar_url": format!("{}/avatars/{}", state.origin, owner.id), "description": "",
    });
    urls::add(&mut body, &base, urls::ORGANIZATION);
    Some(body)
}

/// An enterprise in a webhook or as an installation's account.
pub(crate) fn enterprise(state: &State, slug: &str) -> Value {
    let id = state.enterprises.get(slug).copied().unwrap_or_default();
    json!({
        "id": id, "slug": slug, "name": slug, "node_id": format!("E_{id}"), "description": "", "website_url": "",
        "avatar_url": format!("{}/avatars/b/{id}", state.origin),
        "html_url": format!("{}/enterprises/{slug}", state.origin),
        "created_at": "2024-02-03T04:05:06Z", "updated_at": "2024-03-04T05:06:07Z",
    })
}

/// A repository with all the fields a webhook has.
pub(crate) fn repository(state: &State, scope: &Scope) -> Value {
    let full_name = state.full_name(scope);
    let (id, owner, name, private) = match state.repo(scope) {
        Some(repo) => (repo.id, repo.owner.as_str(), repo.name.as_str(), repo.private),
        None => (0, "", "", false),
    };
    let base = format!("{}/repos/{full_name}", api(state));
    let html = format!("{}/{full_name}", state.origin);
    let mut body = json!({
        "id": id, "node_id": format!("R_{id}"), "name": name, "full_name": full_name, "private": private,
        "owner": account(state, owner), "html_url": html, "description": null, "fork": false, "url": base,
        "created_at": "2024-01-02T03:04:05Z", "updated_at": "2025-01-02T03:04:05Z",
        "pushed_at": "2025-06-07T08:09:10Z", "clone_url": format!("{html}.git"), "svn_url": html,
        "git_url": format!("git://127.0.0.1/{full_name}.git"), "ssh_url": format!("git@127.0.0.1:{full_name}.git"),
        "homepage": null, "size": 17, "language": "Swift", "license": null, "mirror_url": null,
        "visibility": if private { "private" } else { "public" }, "default_branch": "main", "topics": [],
        "custom_properties": {},
    });
    urls::add(&mut body, &base, urls::REPOSITORY);
    if let Value::Object(map) = &mut body {
        for key in ["stargazers_count", "watchers_count", "forks_count", "open_issues_count"] {
            map.insert(key.to_owned(), json!(0));
            map.insert(key.trim_end_matches("_count").to_owned(), json!(0));
        }
        map.remove("stargazers");
        for key in ["has_issues", "has_projects", "has_downloads", "has_wiki", "allow_forking"] {
            map.insert(key.to_owned(), json!(true));
        }
        let off = ["has_pages", "has_discussions", "archived", "disabled", "is_template"];
        for key in off.into_iter().chain(["web_commit_signoff_required"]) {
            map.insert(key.to_owned(), json!(false));
        }
    }
    body
}

/// A job as `workflow_job` or as the jobs API shows it.
pub(crate) fn job(state: &State, job: &Job, audience: Audience) -> Value {
    let full_name = state.full_name(&job.repo);
    let base = format!("{}/repos/{full_name}", api(state));
    let run = state.runs.get(&job.run_id);
    let mut body = json!({
        "id": job.id, "run_id": job.run_id, "run_url": format!("{base}/actions/runs/{}", job.run_id),
        "run_attempt": job.run_attempt, "node_id": format!("CR_{}", job.id),
        "head_sha": run.map_or("", |run| &run.head_sha), "head_branch": run.map(|run| &run.head_branch),
        "workflow_name": run.map(|run| &run.name), "name": job.name, "labels": job.labels,
        "url": format!("{base}/actions/jobs/{}", job.id),
        "html_url": format!("{}/{full_name}/actions/runs/{}/job/{}", state.origin, job.run_id, job.id),
        "check_run_url": format!("{base}/check-runs/{}", job.id),
        "status": job.status.as_str(), "conclusion": job.conclusion,
        "created_at": job.created_at.rfc3339(),
        "started_at": job.started_at.unwrap_or(job.created_at).rfc3339(),
        "completed_at": job.completed_at.map(|at| at.rfc3339()), "steps": steps(job),
        "runner_id": job.runner_id, "runner_name": job.runner_name, "runner_group_id": job.runner_group_id,
        "runner_group_name": job.runner_group_id.map(|id| state.group_name(id)),
    });
    let Value::Object(map) = &mut body else { return body };
    let never_ran = job.runner_id.is_none();
    if audience == Audience::Rest && never_ran && job.is_completed() {
        for (key, value) in
            [("runner_id", json!(0)), ("runner_name", json!("")), ("runner_group_id", json!(0))]
        {
            map.insert(key.to_owned(), value);
        }
        map.insert("runner_group_name".to_owned(), json!(""));
    }
    if audience == Audience::Webhook && job.style == PayloadStyle::Year2021 {
        let fields = ["run_attempt", "workflow_name", "created_at", "head_branch"];
        let runner = ["runner_id", "runner_name", "runner_group_id", "runner_group_name"];
        for key in fields.into_iter().chain(runner.into_iter().filter(|_| never_ran)) {
            map.remove(key);
        }
    }
    body
}

fn steps(job: &Job) -> Value {
    let Some(started) = job.started_at else { return json!([]) };
    let step = |number: u64, name: &str| {
        json!({
            "name": name, "number": number, "status": if job.is_completed() { "completed" } else { "in_progress" },
            "conclusion": job.conclusion, "started_at": started.rfc3339_ms(),
            "completed_at": job.completed_at.map(|at| at.rfc3339_ms()),
        })
    };
    let all = [step(1, "Set up job"), step(2, "Run the tests"), step(3, "Complete job")];
    json!(if job.status == JobStatus::InProgress { &all[..1] } else { &all[..] })
}

/// A runner in the runner API.
pub(crate) fn runner(runner: &Runner) -> Value {
    let label = |(n, name): (usize, &String)| {
        let is_given = ["self-hosted", "macos", "arm64", "x64"].contains(&name.to_ascii_lowercase().as_str());
        json!({ "id": n + 1, "name": name, "type": if is_given { "read-only" } else { "custom" } })
    };
    json!({
        "id": runner.id, "name": runner.name, "os": runner.os, "runner_group_id": runner.group_id,
        "status": if runner.online { "online" } else { "offline" }, "busy": runner.job.is_some(),
        "ephemeral": runner.ephemeral, "version": runner.version,
        "labels": runner.labels.iter().enumerate().map(label).collect::<Vec<_>>(),
    })
}

/// A workflow run in the runs API.
pub(crate) fn run(state: &State, run: &Run) -> Value {
    let full_name = state.full_name(&run.repo);
    let repo = format!("{}/repos/{full_name}", api(state));
    let base = format!("{repo}/actions/runs/{}", run.id);
    let (status, conclusion) = state.run_status(run);
    let ended =
        run.jobs.iter().filter_map(|id| state.jobs.get(id)?.completed_at).map(|at| at.rfc3339()).max();
    let created = run.created_at.rfc3339();
    let person = json!({ "name": "Jo Doe", "email": "jo@example.com" });
    let actor = account(state, "octo-dev");
    let repository = repository(state, &run.repo);
    let mut body = json!({
        "id": run.id, "name": run.name, "node_id": format!("WFR_{}", run.id), "check_suite_id": run.number,
        "check_suite_node_id": format!("CS_{}", run.number), "head_branch": run.head_branch,
        "head_sha": run.head_sha, "path": ".github/workflows/build.yml", "run_number": run.number,
        "run_attempt": run.attempt, "event": "push", "status": status.as_str(), "conclusion": conclusion,
        "workflow_id": 4711, "pull_requests": [], "created_at": created, "run_started_at": created,
        "updated_at": ended.unwrap_or(created.clone()), "actor": actor, "triggering_actor": actor, "url": base,
        "html_url": format!("{}/{full_name}/actions/runs/{}", state.origin, run.id), "previous_attempt_url": null,
        "referenced_workflows": [], "display_title": "Make it build", "repository": repository,
        "head_repository": repository,
        "head_commit": {
            "id": run.head_sha, "tree_id": run.head_sha, "message": "Make it build", "timestamp": created,
            "author": person, "committer": person,
        },
        "check_suite_url": format!("{repo}/check-suites/{}", run.number),
        "workflow_url": format!("{repo}/actions/workflows/4711"),
    });
    urls::add(&mut body, &base, urls::RUN);
    body
}

/// The body of a `workflow_job` webhook, for a hook of the given installation if it is an App's.
pub(crate) fn workflow_job(state: &State, it: &Job, action: &str, installation: Option<u64>) -> Value {
    let mut body = Map::new();
    body.insert("action".to_owned(), json!(action));
    body.insert("workflow_job".to_owned(), job(state, it, Audience::Webhook));
    body.insert("repository".to_owned(), repository(state, &it.repo));
    body.insert("sender".to_owned(), account(state, "octo-dev"));
    add_context(state, &mut body, &it.repo, installation);
    Value::Object(body)
}

fn add_context(state: &State, body: &mut Map<String, Value>, repo: &Scope, installation: Option<u64>) {
    let Scope::Repository { owner, .. } = repo else { return };
    if let Some(organization) = organization(state, owner) {
        body.insert("organization".to_owned(), organization);
    }
    if let Some(slug) = state.owners.get(owner).and_then(|owner| owner.enterprise.as_ref()) {
        body.insert("enterprise".to_owned(), enterprise(state, slug));
    }
    if let Some(id) = installation {
        body.insert("installation".to_owned(), json!({ "id": id, "node_id": format!("IN_{id}") }));
    }
}
