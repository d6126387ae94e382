//! Runners and runner groups over REST. It stands alone as the calls by which a handler makes, finds and fences its
//! runner.

use serde_json::{Value, json};

use crate::encode::{base64, hex};
use crate::http::Answer;
use crate::model::RegisteredBy;
use crate::payload;
use crate::rest::paging::linked;
use crate::rest::{Call, error, not_found};
use crate::runners::{DeleteRefusal, NewRunner};
use crate::scope::Scope;
use crate::state::{RunnerToken, random_hex};

pub(super) fn registration_token(call: &mut Call<'_>) -> Answer {
    token(call, false)
}

pub(super) fn remove_token(call: &mut Call<'_>) -> Answer {
    token(call, true)
}

fn token(call: &mut Call<'_>, removes: bool) -> Answer {
    let text = format!("A{}", random_hex(14).to_uppercase());
    let expires_at = call.now.plus(call.state.knobs.token_life);
    let scope = call.scope();
    call.state.runner_tokens.insert(text.clone(), RunnerToken { scope, expires_at, removes });
    Answer::json(201, &json!({ "token": text, "expires_at": expires_at.rfc3339_ms() }))
}

pub(super) fn jit_config(call: &mut Call<'_>) -> Answer {
    let scope = call.scope();
    let (name, labels, group_id) = match jit_request(call) {
        Ok(checked) => checked,
        Err(message) => {
            call.mistakes.push(message.clone());
            return error(422, &format!("Validation Failed: {message}"));
        }
    };
    let is_group =
        group_id == 1 || call.state.groups.iter().any(|group| group.id == group_id && group.scope == scope);
    if !is_group {
        return not_found();
    }
    let new = NewRunner {
        scope: scope.clone(),
        name: name.clone(),
        labels,
        group_id,
        ephemeral: true,
        version: None,
        by: RegisteredBy::Jit,
    };
    let Some(id) = call.state.register(new) else {
        return error(409, "Already exists - A runner with the name *** already exists.");
    };
    let path = scope.rest_path().replacen("/repos/", "/", 1).replacen("/orgs/", "/", 1);
    let settings = json!({
        "AgentId": id.to_string(), "AgentName": name, "PoolId": group_id.to_string(),
        "GitHubUrl": format!("{}{path}", call.state.origin), "ServerUrl": call.state.origin, "Ephemeral": "True",
        "DisableUpdate": "True", "WorkFolder": call.body["work_folder"].as_str().unwrap_or("_work"),
    });
    let credentials = json!({ "Scheme": "OAuth", "Data": { "ClientId": random_hex(16) } });
    let files = json!({
        ".runner": base64(settings.to_string().as_bytes()),
        ".credentials": base64(credentials.to_string().as_bytes()),
    });
    let runner = payload::runner(&call.state.runners[&id]);
    let config = base64(files.to_string().as_bytes());
    Answer::json(201, &json!({ "runner": runner, "encoded_jit_config": config }))
}

fn jit_request(call: &Call<'_>) -> Result<(String, Vec<String>, u64), String> {
    let name = call.body["name"].as_str().unwrap_or_default();
    if name.is_empty()
        || name.chars().count() > 64
        || name.contains(['"', '/', ':', '<', '>', '\\', '|', '*', '?'])
    {
        return Err(format!("name `{name}`"));
    }
    let labels = call.body["labels"].as_array().ok_or("labels is no list")?;
    let labels: Option<Vec<String>> = labels.iter().map(|label| label.as_str().map(str::to_owned)).collect();
    let labels =
        labels.filter(|labels| (1..=100).contains(&labels.len())).ok_or("labels are not 1 to 100 texts")?;
    if let Some(label) = labels.iter().find(|label| label.is_empty() || label.chars().count() > 256) {
        return Err(format!("label `{label}`"));
    }
    let group_id = call.body["runner_group_id"].as_u64().ok_or("runner_group_id is no number")?;
    if call.body.get("work_folder").is_some_and(|folder| !folder.is_string()) {
        return Err("work_folder is no text".to_owned());
    }
    Ok((name.to_owned(), labels, group_id))
}

pub(super) fn list(call: &mut Call<'_>) -> Answer {
    let scope = call.scope();
    let name = call.param("name");
    let matching = |runner: &Value| name.is_none_or(|name| runner["name"] == name);
    let all: Vec<Value> = call.state.listed_runners(&scope).map(payload::runner).filter(matching).collect();
    let total_count = all.len();
    let (runners, link) = call.page(all);
    linked(Answer::json(200, &json!({ "total_count": total_count, "runners": runners })), link)
}

pub(super) fn one(call: &mut Call<'_>) -> Answer {
    let runner = call.id(0).and_then(|id| call.state.runners.get(&id));
    match runner.filter(|runner| Some(&runner.scope) == call.scope.as_ref()) {
        Some(runner) => Answer::json(200, &payload::runner(runner)),
        None => not_found(),
    }
}

/// 422 comes in both texts seen, by turns.
pub(super) fn delete(call: &mut Call<'_>) -> Answer {
    let scope = call.scope();
    match call.id(0).map(|id| call.state.delete_runner(&scope, id)) {
        Some(Ok(())) => Answer::empty(204),
        Some(Err(DeleteRefusal::Busy { name })) => {
            call.state.n_busy_refusals += 1;
            if call.state.n_busy_refusals % 2 == 1 {
                error(422, &format!("Bad request - Runner \"{name}\" is still running a job"))
            } else {
                let message = format!("Runner {name} is currently running a job and cannot be deleted.");
                error(422, &message)
            }
        }
        Some(Err(DeleteRefusal::Unknown)) | None => not_found(),
    }
}

pub(super) fn downloads(call: &mut Call<'_>) -> Answer {
    let version = &call.state.knobs.runner_version;
    let digest = ring::digest::digest(&ring::digest::SHA256, &call.state.knobs.runner_archive);
    let kinds = [("osx", "x64"), ("osx", "arm64"), ("linux", "x64"), ("linux", "arm64"), ("win", "x64")];
    let all = kinds.map(|(os, architecture)| {
        let kind = if os == "win" { "zip" } else { "tar.gz" };
        let filename = format!("actions-runner-{os}-{architecture}-{version}.{kind}");
        let folder = format!("{}/actions/runner/releases/download/v{version}", call.state.origin);
        json!({
            "os": os, "architecture": architecture, "filename": filename,
            "download_url": format!("{folder}/{filename}"), "sha256_checksum": hex(digest.as_ref()),
        })
    });
    Answer::json(200, &json!(all))
}

pub(super) fn deprecation(call: &mut Call<'_>) -> Answer {
    let body = json!({
        "runner_version": call.args[0], "registration_deprecates_at": null, "runtime_deprecates_at": null,
    });
    Answer::json(200, &body)
}

/// The groups of a scope, the default one first.
fn all_groups(call: &Call<'_>) -> Vec<Value> {
    let scope = call.scope();
    let own = call.state.groups.iter().filter(|group| group.scope == scope);
    let mut named: Vec<(u64, String)> = vec![(1, "Default".to_owned())];
    named.extend(own.map(|group| (group.id, group.name.clone())));
    let base = format!("{}{}/actions/runner-groups", payload::api(call.state), scope.rest_path());
    let shown = |(id, name): (u64, String)| {
        let mut group = json!({
            "id": id, "name": name, "visibility": "all", "default": id == 1,
            "runners_url": format!("{base}/{id}/runners"), "allows_public_repositories": true,
            "restricted_to_workflows": false, "selected_workflows": [], "workflow_restrictions_read_only": false,
        });
        if let Scope::Organization { .. } = scope {
            group["inherited"] = json!(false);
        }
        group
    };
    named.into_iter().map(shown).collect()
}

pub(super) fn groups(call: &mut Call<'_>) -> Answer {
    let all = all_groups(call);
    let total_count = all.len();
    let (groups, link) = call.page(all);
    linked(Answer::json(200, &json!({ "total_count": total_count, "runner_groups": groups })), link)
}

pub(super) fn group(call: &mut Call<'_>) -> Answer {
    let id = call.id(0);
    match all_groups(call).into_iter().find(|group| group["id"].as_u64() == id) {
        Some(group) => Answer::json(200, &group),
        None => not_found(),
    }
}

pub(super) fn of_group(call: &mut Call<'_>) -> Answer {
    let scope = call.scope();
    let group_id = call.id(0);
    let in_group = call.state.listed_runners(&scope).filter(|runner| Some(runner.group_id) == group_id);
    let all: Vec<Value> = in_group.map(payload::runner).collect();
    let total_count = all.len();
    let (runners, link) = call.page(all);
    linked(Answer::json(200, &json!({ "total_count": total_count, "runners": runners })), link)
}
