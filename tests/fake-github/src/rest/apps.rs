//! Apps, installations, accounts and budgets over REST. It stands alone as everything a client asks about itself.

use std::time::Duration;

use serde_json::{Value, json};

use crate::credential::{Caller, Installation, InstallationToken};
use crate::http::Answer;
use crate::payload;
use crate::rest::paging::linked;
use crate::rest::{Call, error, not_found};
use crate::scope::Scope;
use crate::state::{State, random_hex};

fn app_id(call: &Call<'_>) -> u64 {
    match call.caller {
        Caller::App(id) => id,
        _ => 0,
    }
}

pub(super) fn app(call: &mut Call<'_>) -> Answer {
    let id = app_id(call);
    let Some(app) = call.state.credentials.apps.get(&id) else { return not_found() };
    let at = app.created_at.rfc3339();
    let slug = format!("app-{id}");
    let body = json!({
        "id": id, "slug": slug, "node_id": format!("A_{id}"), "client_id": app.client_id, "name": slug,
        "owner": payload::account(call.state, "octo-dev"), "description": null, "external_url": call.state.origin,
        "html_url": format!("{}/apps/{slug}", call.state.origin), "created_at": at, "updated_at": at,
        "permissions": app.permissions, "events": ["workflow_job"],
    });
    Answer::json(200, &body)
}

fn shown(state: &State, installation: &Installation) -> Value {
    let id = installation.id;
    let at = installation.created_at.rfc3339_ms();
    let (account, kind, login) = match &installation.account {
        Scope::Enterprise { slug } => (payload::enterprise(state, slug), "Enterprise", slug),
        Scope::Organization { org } | Scope::Repository { owner: org, .. } => {
            let is_user = state.owners.get(org).is_some_and(|owner| owner.is_user);
            (payload::account(state, org), if is_user { "User" } else { "Organization" }, org)
        }
    };
    let api = payload::api(state);
    let client_id = state.credentials.apps.get(&installation.app_id).map(|app| &app.client_id);
    json!({
        "id": id, "target_id": account["id"], "target_type": kind, "account": account,
        "repository_selection": if installation.repos.is_some() { "selected" } else { "all" },
        "access_tokens_url": format!("{api}/app/installations/{id}/access_tokens"),
        "repositories_url": format!("{api}/installation/repositories"),
        "html_url": format!("{}/organizations/{login}/settings/installations/{id}", state.origin),
        "app_id": installation.app_id, "app_slug": format!("app-{}", installation.app_id), "client_id": client_id,
        "permissions": installation.permissions, "events": ["workflow_job"], "created_at": at, "updated_at": at,
        "single_file_name": null, "has_multiple_single_files": false, "single_file_paths": [],
        "suspended_by": null, "suspended_at": null,
    })
}

pub(super) fn installations(call: &mut Call<'_>) -> Answer {
    let app_id = app_id(call);
    let own =
        call.state.credentials.installations.values().filter(|installation| installation.app_id == app_id);
    let all: Vec<Value> = own.map(|installation| shown(call.state, installation)).collect();
    let (page, link) = call.page(all);
    linked(Answer::json(200, &json!(page)), link)
}

fn asked<'a>(call: &'a Call<'_>) -> Option<&'a Installation> {
    let installation = call.state.credentials.installations.get(&call.id(0)?)?;
    (installation.app_id == app_id(call)).then_some(installation)
}

pub(super) fn installation(call: &mut Call<'_>) -> Answer {
    match asked(call) {
        Some(installation) => Answer::json(200, &shown(call.state, installation)),
        None => not_found(),
    }
}

pub(super) fn installation_of_scope(call: &mut Call<'_>) -> Answer {
    answer_installation_of(call, &call.scope())
}

pub(super) fn installation_of_user(call: &mut Call<'_>) -> Answer {
    match Scope::parse(&call.args[0]) {
        Some(scope) => answer_installation_of(call, &scope),
        None => not_found(),
    }
}

fn answer_installation_of(call: &Call<'_>, scope: &Scope) -> Answer {
    match call.state.credentials.installation_of(Some(app_id(call)), scope) {
        Some(installation) => Answer::json(200, &shown(call.state, installation)),
        None => not_found(),
    }
}

/// A token may be narrowed, never widened.
pub(super) fn access_token(call: &mut Call<'_>) -> Answer {
    let Some(installation) = asked(call) else { return not_found() };
    let installation_id = installation.id;
    let mut permissions = installation.permissions.clone();
    if let Some(wanted) = call.body["permissions"].as_object() {
        let is_granted = |(name, level): (&String, &Value)| {
            let given = permissions.get(name).map_or("none", String::as_str);
            given == "write" || level == given
        };
        if !wanted.iter().all(is_granted) {
            return error(422, "The permissions requested are not granted to this installation.");
        }
        permissions = wanted
            .iter()
            .map(|(name, level)| (name.clone(), level.as_str().unwrap_or("read").to_owned()))
            .collect();
    }
    let Ok(narrowed) = narrowed_repos(call, installation) else {
        return error(
            422,
            "There is at least one repository that does not exist or is not accessible to the parent installation.",
        );
    };
    let repos = narrowed.or_else(|| installation.repos.clone());
    let text = format!("ghs_{}", random_hex(18));
    let expires_at = call.now.plus(call.state.knobs.token_life);
    let selection = if repos.is_some() { "selected" } else { "all" };
    let body = json!({
        "token": text, "expires_at": expires_at.rfc3339(), "permissions": permissions,
        "repository_selection": selection,
    });
    let token = InstallationToken { installation_id, expires_at, permissions, repos };
    call.state.credentials.tokens.insert(text, token);
    Answer::json(201, &body)
}

fn narrowed_repos(call: &Call<'_>, installation: &Installation) -> Result<Option<Vec<Scope>>, ()> {
    let mut repos = Vec::new();
    let names = call.body["repositories"].as_array();
    let ids = call.body["repository_ids"].as_array();
    if names.is_none() && ids.is_none() {
        return Ok(None);
    }
    for name in names.into_iter().flatten() {
        repos
            .push(Scope::parse(&format!("{}/{}", installation.account, name.as_str().ok_or(())?)).ok_or(())?);
    }
    for id in ids.into_iter().flatten() {
        let found = call.state.repos.iter().find(|(_, repo)| Some(repo.id) == id.as_u64());
        repos.push(found.ok_or(())?.0.clone());
    }
    let is_known = |repo: &Scope| {
        call.state.repos.contains_key(repo)
            && crate::credential::covers(&installation.account, installation.repos.as_deref(), repo)
    };
    if repos.iter().all(is_known) { Ok(Some(repos)) } else { Err(()) }
}

pub(super) fn rate_limit(call: &mut Call<'_>) -> Answer {
    if !call.state.knobs.rate_limits {
        return error(404, "Rate limiting is not enabled.");
    }
    let key = call.state.credentials.budget_key(&call.caller);
    let now = call.now;
    let mut shown = |resource| {
        let budget = *call.state.credentials.budget(&key, resource, now);
        json!({
            "limit": budget.limit, "used": budget.used, "remaining": budget.remaining(),
            "reset": budget.reset_at.unix_seconds(),
        })
    };
    let core = shown("core");
    let registration = shown("actions_runner_registration");
    let reset = now.plus(Duration::from_secs(60)).unix_seconds();
    let search = json!({ "limit": 30, "used": 0, "remaining": 30, "reset": reset });
    let body = json!({
        "resources": { "core": core, "search": search, "actions_runner_registration": registration },
        "rate": core,
    });
    Answer::json(200, &body)
}

pub(super) fn user(call: &mut Call<'_>) -> Answer {
    let Caller::Pat(token) = &call.caller else { return not_found() };
    let login = call.state.credentials.pats.get(token).map_or("octo-dev", |pat| &pat.login);
    let mut body = payload::account(call.state, login);
    body["type"] = json!("User");
    for key in ["name", "company", "blog", "location", "email", "hireable", "bio"] {
        body[key] = Value::Null;
    }
    for key in ["public_repos", "public_gists", "followers", "following"] {
        body[key] = json!(0);
    }
    body["created_at"] = json!("2024-01-02T03:04:05Z");
    body["updated_at"] = json!("2025-01-02T03:04:05Z");
    Answer::json(200, &body)
}

pub(super) fn account(call: &mut Call<'_>) -> Answer {
    let login = call.args[0].to_ascii_lowercase();
    let is_org_path = call.path.starts_with("/orgs/");
    match call.state.owners.get(&login) {
        Some(owner) if is_org_path && !owner.is_user => {
            Answer::json(200, &payload::organization(call.state, &login).unwrap_or_default())
        }
        Some(_) if !is_org_path => Answer::json(200, &payload::account(call.state, &login)),
        _ => not_found(),
    }
}

pub(super) fn repository(call: &mut Call<'_>) -> Answer {
    Answer::json(200, &payload::repository(call.state, &call.scope()))
}

pub(super) fn versions(_call: &mut Call<'_>) -> Answer {
    Answer::json(200, &json!(["2022-11-28", "2026-03-10"]))
}
