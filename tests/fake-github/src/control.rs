//! The stand-in for a shell script: set-up and commands as JSON. It stands alone because the demo cannot call Rust.
//!
//! `POST /_fake/control` `{"command": …}`:
//! `create_job` `{repo, labels, name?, steps_ms?, conclusion?}` → `{id, run_id}` ·
//! `cancel_run` `{run_id}` · `complete_job` `{id, conclusion}` · `rerun_job` `{id}` → `{id}` ·
//! `assign` `{id, runner}` · `hold_assignment` `{hold}` · `job` `{id}` · `wait_job` `{id, status, limit_ms}` ·
//! `state` → jobs, runners, registrations, violations, deliveries.

use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{Answer, Request};
use crate::model::{Job, JobId, JobSpec, JobStatus, Transition};
use crate::server::Shared;
use crate::{FakeGitHub, State};

/// Sets a stand-in up from JSON; says what it cannot read.
///
/// `{"repos": ["acme/app"], "orgs": [], "pats": [{"token", "scopes": []}], "hooks": [{"scope", "url", "secret"}],
/// "cancel_delay_ms": 20, "large_ids": true}`, and for enterprises and Apps `"users": [], "enterprises": [{"slug", "orgs": []}],
/// "groups": [{"scope", "name"}], "apps": [{"id", "client_id", "key", "permissions": ["actions=write"],
/// "installations": [{"id", "account"}]}]`.
pub fn set_up(github: &FakeGitHub, setup: &Value) -> Result<(), String> {
    let list = |key: &str| setup[key].as_array().cloned().unwrap_or_default();
    for org in list("orgs") {
        github.add_org(text(&org, "orgs")?);
    }
    for user in list("users") {
        github.add_user(text(&user, "users")?);
    }
    for enterprise in list("enterprises") {
        github.add_enterprise(text(&enterprise["slug"], "slug")?, &texts(&enterprise["orgs"]));
    }
    for repo in list("repos") {
        github.add_repo(text(&repo, "repos")?);
    }
    for pat in list("pats") {
        github.add_pat(text(&pat["token"], "token")?, &texts(&pat["scopes"]));
    }
    for group in list("groups") {
        github.add_runner_group(text(&group["scope"], "scope")?, text(&group["name"], "name")?);
    }
    for app in list("apps") {
        add_app(github, &app)?;
    }
    for hook in list("hooks") {
        let secret = hook["secret"].as_str().unwrap_or_default();
        github.add_hook(text(&hook["scope"], "scope")?, text(&hook["url"], "url")?, secret);
    }
    if let Some(large_ids) = setup["large_ids"].as_bool() {
        github.tune(|knobs| knobs.large_ids = large_ids);
    }
    if let Some(delay) = setup["cancel_delay_ms"].as_u64() {
        github.tune(|knobs| knobs.cancel_delay = Duration::from_millis(delay));
    }
    Ok(())
}

fn add_app(github: &FakeGitHub, app: &Value) -> Result<(), String> {
    let id = app["id"].as_u64().ok_or("an App's `id` is no number")?;
    let (client_id, key) = (text(&app["client_id"], "client_id")?, text(&app["key"], "key")?);
    github.add_app(id, client_id, key, &texts(&app["permissions"]));
    for installation in app["installations"].as_array().into_iter().flatten() {
        let installation_id = installation["id"].as_u64().ok_or("an installation's `id` is no number")?;
        github.add_installation(installation_id, id, text(&installation["account"], "account")?);
    }
    Ok(())
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| format!("`{key}` is no text"))
}

/// Answers one command.
pub(crate) fn answer(shared: &Shared, request: &Request) -> Answer {
    let Ok(command) = serde_json::from_slice::<Value>(&request.body) else {
        return Answer::json(400, &json!({ "message": "no JSON" }));
    };
    match run(shared, &command) {
        Ok(body) => Answer::json(200, &body),
        Err(message) => Answer::json(400, &json!({ "message": message })),
    }
}

fn run(shared: &Shared, command: &Value) -> Result<Value, String> {
    let number = |key: &str| command[key].as_u64().ok_or_else(|| format!("`{key}` is no number"));
    let word = |key: &str| text(&command[key], key);
    match word("command")? {
        "create_job" => create_job(shared, command),
        "cancel_run" => {
            let run_id = number("run_id")?;
            Ok(json!({ "ok": shared.change(|state| state.cancel_run(run_id, true)).is_ok() }))
        }
        "complete_job" => {
            let (id, conclusion) = (number("id")?, word("conclusion")?);
            Ok(json!({ "ok": shared.change(|state| state.complete_job(id, conclusion)) }))
        }
        "rerun_job" => {
            let id = number("id")?;
            Ok(json!({ "id": shared.change(|state| state.rerun_job(id))? }))
        }
        "assign" => {
            let (id, runner) = (number("id")?, word("runner")?.to_owned());
            shared.change(|state| {
                state.pins.insert(id, runner);
                state.assign();
            });
            Ok(json!({}))
        }
        "hold_assignment" => {
            let hold = command["hold"].as_bool().unwrap_or(true);
            shared.change(|state| {
                state.knobs.hold_assignment = hold;
                state.assign();
            });
            Ok(json!({}))
        }
        "job" => wait_job(shared, number("id")?, None, Duration::ZERO),
        "wait_job" => {
            let status = word("status")?;
            let status = JobStatus::parse(status).ok_or_else(|| format!("no status `{status}`"))?;
            let limit = Duration::from_millis(command["limit_ms"].as_u64().unwrap_or(10_000));
            wait_job(shared, number("id")?, Some(status), limit)
        }
        "state" => Ok(shared.look(summary)),
        other => Err(format!("no command `{other}`")),
    }
}

fn create_job(shared: &Shared, command: &Value) -> Result<Value, String> {
    let repo = text(&command["repo"], "repo")?;
    crate::Scope::parse(repo).ok_or_else(|| format!("`{repo}` is no repository"))?;
    let mut spec = JobSpec::new(repo, &texts(&command["labels"]));
    if let Some(name) = command["name"].as_str() {
        spec = spec.name(name);
    }
    if let Some(steps_ms) = command["steps_ms"].as_u64() {
        spec = spec.steps_ms(steps_ms);
    }
    if let Some(conclusion) = command["conclusion"].as_str() {
        spec = spec.conclusion(conclusion);
    }
    if let Some(run_id) = command["run_id"].as_u64() {
        spec = spec.run(run_id);
    }
    shared.change(|state| {
        let id = state.create_job(spec)?;
        Ok(json!({ "id": id, "run_id": state.jobs[&id].run_id }))
    })
}

/// The job, once it has had the status.
fn wait_job(shared: &Shared, id: JobId, status: Option<JobStatus>, limit: Duration) -> Result<Value, String> {
    let had = |job: &&Job| status.is_none_or(|status| job.reached_at(status).is_some());
    let probe = |state: &State| state.jobs.get(&id).filter(had).map(shown);
    shared.wait(limit, probe).ok_or_else(|| format!("job {id} is unknown or did not come that far"))
}

fn shown(job: &Job) -> Value {
    let step = |step: &Transition| json!({ "status": step.status.as_str(), "unix_ms": step.at.unix_ms, "runner": step.runner });
    json!({
        "id": job.id, "run_id": job.run_id, "name": job.name, "labels": job.labels, "status": job.status.as_str(),
        "conclusion": job.conclusion, "runner": job.runner_name,
        "history": job.history.iter().map(step).collect::<Vec<_>>(),
    })
}

fn summary(state: &State) -> Value {
    let mut jobs: Vec<&Job> = state.jobs.values().collect();
    jobs.sort_by_key(|job| job.order);
    let registrations = state.registrations.iter().map(|it| {
        json!({
            "runner": it.runner_name, "labels": it.labels, "unix_ms": it.at.unix_ms, "jobs": it.jobs,
            "ended_unix_ms": it.ended.map(|(at, _)| at.unix_ms), "end": it.ended.map(|(_, end)| format!("{end:?}")),
        })
    });
    let deliveries = state.deliveries.iter().map(|it| {
        json!({
            "event": it.event, "action": it.action, "job_id": it.job_id, "status": it.status,
            "unix_ms": it.delivered_at.unix_ms,
        })
    });
    json!({
        "jobs": jobs.into_iter().map(shown).collect::<Vec<_>>(),
        "runners": state.runners.values().map(|runner| &runner.name).collect::<Vec<_>>(),
        "registrations": registrations.collect::<Vec<_>>(), "deliveries": deliveries.collect::<Vec<_>>(),
        "violations": state.violations.iter().map(|violation| &violation.text).collect::<Vec<_>>(),
    })
}
