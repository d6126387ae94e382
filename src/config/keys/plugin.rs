//! The keys of one plugin.

use super::{Key, Root, database_keys};
use crate::config::kind::Kind;

/// The kinds of plugin there are.
const PLUGINS: &[&str] = &["github", "github_receiver"];

pub(super) fn keys() -> Vec<Key> {
    let mut keys = identity();
    keys.extend(credentials());
    keys.extend(handler());
    keys.extend(receiver());
    keys.push(key(
        "database.enabled",
        Kind::Flag,
        "true",
        "false means that this plugin uses no database but the built-in queue; true has no effect.",
    ));
    keys.extend(database_keys(Root::Plugin, "database."));
    keys.push(key("registration", Kind::Ignored, "none", "Of older versions; read, without effect."));
    keys.push(key("workflows.include", Kind::Ignored, "none", "Of older versions; read, without effect."));
    keys.push(key("workflows.exclude", Kind::Ignored, "none", "Of older versions; read, without effect."));
    keys
}

fn key(path: &str, kind: Kind, default: &str, meaning: &'static str) -> Key {
    Key::new(Root::Plugin, path, kind, default, meaning)
}

fn identity() -> Vec<Key> {
    vec![
        key(
            "name",
            Kind::Text,
            "required",
            "Name of the plugin, its own in the whole fleet, without spaces.",
        ),
        key(
            "plugin",
            Kind::Choice(PLUGINS),
            "required",
            "What it is: github runs jobs in VMs (a handler), github_receiver takes webhooks (a receiver).",
        ),
        key("owner", Kind::GithubName, "none", "Organization or user whose jobs are meant."),
        key(
            "repo",
            Kind::GithubName,
            "none",
            "Name of the repository alone; without it, every repository of the owner.",
        ),
        key(
            "enterprise",
            Kind::GithubName,
            "none",
            "Enterprise whose jobs are meant, instead of owner and repo.",
        ),
        key(
            "queue_name",
            Kind::Text,
            "enterprise, else owner",
            "Name of the queue that receivers and handlers share.",
        ),
        key(
            "github_url",
            Kind::Url,
            "the global one",
            "GitHub's address, such as https://github.example.com.",
        ),
        key(
            "github_api_url",
            Kind::Url,
            "made from github_url",
            "GitHub's API, if it is not where GitHub usually has it.",
        ),
    ]
}

fn credentials() -> Vec<Key> {
    vec![
        key("token", Kind::Secret, "global_token", "Personal access token."),
        key(
            "private_key",
            Kind::Secret,
            "global_private_key",
            "Private key of the GitHub App: a path, which may begin with ~/, or the PEM text itself.",
        ),
        key("app_id", Kind::Text, "none", "Number or client id of the GitHub App."),
        key(
            "installation_id",
            Kind::whole(0, i64::MAX),
            "looked up",
            "Number of the App's installation in the organization.",
        ),
    ]
}

fn handler() -> Vec<Key> {
    vec![
        key(
            "registry_url",
            Kind::Url,
            "anka's own default",
            "Anka registry from which templates are pulled.",
        ),
        key("skip_pull", Kind::Flag, "false", "Use only templates that are on disk; never pull."),
        key("runner_group", Kind::Text, "GitHub's default", "Runner group in which runners are registered."),
        key(
            "sleep_interval",
            Kind::seconds(0.0, 86_400.0),
            "10",
            "The most seconds an idle handler waits before it looks at the queue by itself.",
        ),
        key(
            "registration_timeout_seconds",
            Kind::seconds(0.0, 86_400.0),
            "80",
            "Seconds a started runner may wait for its job before the VM is replaced.",
        ),
        key(
            "registration_mode",
            Kind::Choice(&["token", "jit"]),
            "token",
            "How runners are registered. With token the VM gets a registration token and configures its runner. With jit GitHub makes each runner in one call, and the VM gets a configuration that is good for one job; register-runner.bash is not used, and start-runner.bash finds the configuration in ACTIONS_RUNNER_INPUT_JITCONFIG, where run.sh takes it by itself.",
        ),
        key(
            "template_disk_buffer",
            Kind::decimal(0.0, 99.0),
            "10.0",
            "Percent of the disk that must stay free when a template is pulled.",
        ),
        key(
            "job_retry_attempts",
            Kind::whole(0, 1_000),
            "5",
            "How many failed tries of a job are repeated before its run is cancelled; also ANKLET_JOB_RETRY_ATTEMPTS, for all plugins.",
        ),
        key(
            "skip_cpu_and_memory_resource_checks",
            Kind::Flag,
            "false",
            "Start VMs without looking at free CPU and memory.",
        ),
        key(
            "host_to_guest_folder_mounts",
            Kind::List,
            "none",
            "Folders shared with the VM, as PATH or PATH:NAME (Anka 3.9.0 or later, not on Intel).",
        ),
        key(
            "explain_cancellations",
            Kind::Flag,
            "false",
            "Tell the developers why a run is cancelled, and what to do, by a failed check called anklet on its commit. It needs a GitHub App with the permission Checks: read and write, which no token can have.",
        ),
    ]
}

fn receiver() -> Vec<Key> {
    vec![
        key("port", Kind::whole(0, 65_535), "54321", "Port on which webhooks are taken."),
        key("secret", Kind::Secret, "required", "Secret of the webhook, as given to GitHub."),
        key(
            "hook_id",
            Kind::whole(0, i64::MAX),
            "none",
            "Number of the webhook (the end of its page's address), for asking missed deliveries again. Without it and with a GitHub App the App's own webhook is meant.",
        ),
        key("skip_redeliver", Kind::Flag, "false", "Do not ask GitHub for deliveries that failed."),
        key(
            "redeliver_hours",
            Kind::whole(0, 8_760),
            "24",
            "How many hours back failed deliveries are asked for again; 0 means the default.",
        ),
    ]
}
