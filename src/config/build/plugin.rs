//! One plugin: its section, its database, and what its kind needs.

use std::path::PathBuf;
use std::time::Duration;

use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::{GithubAccess, Mount, RegistrationMode, Secret, Section};

use super::credentials::{self, Credentials};
use super::{database, github, needs, port, positive};
use crate::config::env::Environment;
use crate::config::finding::{At, Findings, Origin, readable};
use crate::config::raw::Raw;
use crate::config::yaml::{Entry, Value};
use crate::config::{PluginConfig, keys, paths};

/// What all plugins have in common.
pub(super) struct Shared<'a> {
    pub(super) top: &'a Raw,
    pub(super) environment: &'a Environment,
    pub(super) embedded: PathBuf,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) limits: Limits,
    pub(super) claim_life: Duration,
    pub(super) plugins_path: PathBuf,
    pub(super) work_dir: PathBuf,
}

/// The name of the plugin in these lines, if it is a good one and its own. `names` holds those before it.
pub(super) fn name(
    entries: &[Entry],
    line: Option<usize>,
    names: &mut Vec<String>,
    findings: &mut Findings,
) -> Option<String> {
    let entry = entries.iter().find(|entry| entry.key == "name");
    let at =
        |plugin| At { origin: Origin::from(entry.map_or(line, |entry| entry.line)), plugin, key: "name" };
    let name = match entry.map(|entry| &entry.node.value) {
        Some(Value::Text(name)) if !name.is_empty() => name,
        Some(Value::List(_) | Value::Map(_)) => return None,
        Some(Value::Text(_) | Value::Null) | None => {
            findings.problem_named(
                "name is required for plugins",
                at(None),
                "is missing: write `- name: NAME`",
            );
            return None;
        }
    };
    if name.contains(char::is_whitespace) {
        let what = format!("has a space in it: write for example `{}`", suggestion(name));
        findings.problem_named("plugin name cannot contain spaces", at(Some(name)), what);
    } else if name.len() > 100 || name.contains(|c: char| c.is_control() || c == '/') || name.starts_with('.')
    {
        let what = format!(
            "must have at most 100 characters, no `/`, no control characters and no `.` in front: write for example `{}`",
            suggestion(name)
        );
        findings.problem(at(Some(name)), what);
    } else if names.contains(name) {
        findings.problem(at(Some(name)), "is the name of an earlier plugin too: give each its own");
    }
    names.push(name.clone());
    Some(name.clone())
}

fn suggestion(name: &str) -> String {
    let letter = |c: char| if c.is_whitespace() || c.is_control() || c == '/' { '_' } else { c };
    readable(&name.trim().trim_start_matches('.').chars().map(letter).collect::<String>(), 60)
}

/// The plugin of these settings, after its variables are taken over too.
pub(super) fn plugin(
    raw: &mut Raw,
    shared: &Shared<'_>,
    secrets: &mut Vec<Secret>,
    findings: &mut Findings,
) -> Option<PluginConfig> {
    if let Some(key) = keys::find(keys::Root::Plugin, "job_retry_attempts") {
        raw.read_variable(shared.environment, key, "ANKLET_JOB_RETRY_ATTEMPTS", findings);
    }
    if let Some(name) = raw.plugin.clone() {
        raw.read_environment(shared.environment, &name, findings);
    }
    let raw = &*raw;
    let home = shared.environment.home();
    let scope = github::scope(raw, findings);
    let credentials = credentials::of_plugin(shared.top, raw, scope.as_ref(), home, findings);
    let secret = shared.top.text("global_receiver_secret").or(raw.text("secret")).map(Secret::new);
    let kind = needs::kind(raw, findings);
    match kind.as_deref() {
        Some("github") => needs::check_handler(raw, scope.as_ref(), &credentials, findings),
        Some(_) => needs::check_receiver(raw, scope.as_ref(), &credentials, secret.as_ref(), findings),
        None => {}
    }
    let mounts = mounts(shared, raw, kind.as_deref(), findings);
    secrets.extend(credentials.token.clone());
    secrets.extend(credentials.app.as_ref().map(|app| app.private_key.clone()));
    secrets.extend(secret.clone());
    let database = database::of_plugin(shared.top, raw, &shared.embedded, secrets, findings);
    let section = section(raw, shared, kind?, scope?, credentials, secret, mounts)?;
    Some(PluginConfig { section, database })
}

/// The global mounts, then the plugin's, each once. Only handlers have VMs.
fn mounts(shared: &Shared<'_>, raw: &Raw, kind: Option<&str>, findings: &mut Findings) -> Vec<Mount> {
    if kind != Some("github") {
        return Vec::new();
    }
    let mut mounts = Vec::new();
    for (of, key) in
        [(shared.top, "global_host_to_guest_folder_mounts"), (raw, "host_to_guest_folder_mounts")]
    {
        for item in of.list(key) {
            match paths::mount(item, shared.environment.home()) {
                Ok(mount) if !mounts.contains(&mount) => mounts.push(mount),
                Ok(_) => {}
                Err(what) => findings.problem(of.at(key), what),
            }
        }
    }
    mounts
}

fn section(
    raw: &Raw,
    shared: &Shared<'_>,
    kind: String,
    scope: Scope,
    credentials: Credentials,
    secret: Option<Secret>,
    mounts: Vec<Mount>,
) -> Option<Section> {
    let top = shared.top;
    let (web_url, api_url) = github::urls(top, raw);
    let skips = |raw: &Raw, key| raw.flag(key).unwrap_or(false);
    Some(Section {
        name: PluginName::new(raw.plugin.as_deref()?),
        kind,
        queue: queue(raw, &scope),
        scope,
        github: GithubAccess {
            web_url,
            api_url,
            ca_file: shared.ca_file.clone(),
            token: credentials.token,
            token_key: credentials.token_key,
            app: credentials.app,
        },
        registry_url: raw.text("registry_url").map(str::to_owned),
        skip_pull: raw.flag("skip_pull").unwrap_or(false),
        runner_group: raw.text("runner_group").map(str::to_owned),
        sleep_interval: positive(raw, "sleep_interval", 10),
        registration_timeout: positive(raw, "registration_timeout_seconds", 80),
        template_disk_buffer: raw
            .decimal("template_disk_buffer")
            .or(top.decimal("global_template_disk_buffer"))
            .unwrap_or(10.0),
        job_retry_attempts: raw.whole("job_retry_attempts").and_then(|n| u32::try_from(n).ok()).unwrap_or(5),
        skip_cpu_and_memory_resource_checks: skips(top, "global_skip_cpu_and_memory_resource_checks")
            || skips(raw, "skip_cpu_and_memory_resource_checks"),
        mounts,
        registration_mode: match raw.text("registration_mode") {
            Some("jit") => RegistrationMode::Jit,
            Some(_) | None => RegistrationMode::Token,
        },
        explain_cancellations: raw.flag("explain_cancellations").unwrap_or(false),
        port: port(raw, "port"),
        secret,
        hook_id: raw.whole("hook_id").filter(|id| *id > 0).and_then(|id| u64::try_from(id).ok()),
        skip_redeliver: raw.flag("skip_redeliver").unwrap_or(false),
        redeliver_hours: raw
            .whole("redeliver_hours")
            .filter(|hours| *hours > 0)
            .and_then(|hours| u32::try_from(hours).ok())
            .unwrap_or(24),
        claim_life: shared.claim_life,
        limits: shared.limits.clone(),
        plugins_path: shared.plugins_path.clone(),
        work_dir: shared.work_dir.clone(),
    })
}

/// The queue: as named, else that of the enterprise or the owner.
fn queue(raw: &Raw, scope: &Scope) -> String {
    let owner = match scope {
        Scope::Repository { owner, .. } | Scope::Organization { owner } => owner,
        Scope::Enterprise { slug } => slug,
    };
    raw.text("queue_name").unwrap_or(owner).to_owned()
}
