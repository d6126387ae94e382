//! From raw settings to a config: defaults, precedence, and everything that must fit together.

use std::path::Path;
use std::time::Duration;

use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::section::Secret;

use self::plugin::Shared;
use super::env::Environment;
use super::finding::{At, Findings, Origin};
use super::keys::Root;
use super::raw::Raw;
use super::yaml::{Entry, Value};
use super::{Config, HostSettings, LogSettings, MetricsSettings, PluginConfig};
use crate::anka::timeouts::AnkaTimeouts;

mod credentials;
mod database;
mod fleet;
mod folders;
mod github;
mod needs;
mod plugin;

/// The config, unless something is so wrong that there is none. Whether it may be used is told by `findings`.
pub(super) fn config(
    file: &Path,
    top: &Raw,
    plugins: Option<&Entry>,
    environment: &Environment,
    findings: &mut Findings,
) -> Option<Config> {
    let home = environment.home();
    let work_dir = folders::work_dir(top, environment, findings);
    let plugins_path = folders::with_default(top, "plugins_path", "~/.config/anklet/plugins", home, findings);
    let log = LogSettings {
        file_dir: folders::log_dir(top, home, findings).or_else(|| work_dir.clone()),
        split_by_plugin: top.flag("log.split_by_plugin").unwrap_or(false),
    };
    let mut secrets = Vec::new();
    let metrics = metrics(top, &mut secrets, findings);
    let shared = Shared {
        top,
        environment,
        embedded: folders::with_default(
            top,
            "global_database_path",
            "~/.config/anklet/anklet.db",
            home,
            findings,
        )?,
        ca_file: github::ca_file(top, home, findings),
        limits: limits(top),
        claim_life: top.span("claim_seconds").unwrap_or(Duration::from_secs(90)),
        plugins_path: plugins_path?,
        work_dir: work_dir?,
    };
    let metrics = MetricsSettings { ca_file: shared.ca_file.clone(), ..metrics };
    let mut plugins = if metrics.aggregator {
        ignore_plugins(plugins, findings);
        Vec::new()
    } else {
        all_plugins(plugins, &shared, &mut secrets, findings)
    };
    fleet::check(&mut plugins, metrics.port, findings);
    Some(Config {
        file: file.to_owned(),
        log,
        metrics,
        host: host(top),
        claim_life: shared.claim_life,
        limits: shared.limits,
        anka_timeouts: anka_timeouts(top),
        plugins: plugins.into_iter().map(|(_, plugin)| plugin).collect(),
        secrets,
        warnings: Vec::new(),
    })
}

fn ignore_plugins(plugins: Option<&Entry>, findings: &mut Findings) {
    if let Some(entry) =
        plugins.filter(|entry| matches!(&entry.node.value, Value::List(items) if !items.is_empty()))
    {
        let at = At { origin: Origin::from(entry.line), plugin: None, key: "plugins" };
        findings.warn(
            at,
            "is ignored, since `metrics.aggregator` is set: run the plugins in a process of their own",
        );
    }
}

/// The plugins of the file, each with its raw settings.
fn all_plugins(
    plugins: Option<&Entry>,
    shared: &Shared<'_>,
    secrets: &mut Vec<Secret>,
    findings: &mut Findings,
) -> Vec<(Raw, PluginConfig)> {
    let Some(entry) = plugins else { return Vec::new() };
    let items = match &entry.node.value {
        Value::Null => return Vec::new(),
        Value::List(items) => items,
        Value::Text(_) | Value::Map(_) => {
            let at = At { origin: Origin::from(entry.line), plugin: None, key: "plugins" };
            findings.problem(at, "must be a list: begin each plugin with `- name: NAME`");
            return Vec::new();
        }
    };
    let mut names = Vec::new();
    let mut built = Vec::new();
    for item in items {
        let Value::Map(entries) = &item.value else {
            let at = At { origin: Origin::from(item.line), plugin: None, key: "plugins" };
            findings.problem(
                at,
                "has an item without keys: write each plugin as `- name: NAME` with its keys below",
            );
            continue;
        };
        let name = plugin::name(entries, item.line, &mut names, findings);
        let mut raw = Raw::new(Root::Plugin, name, item.line);
        raw.read(entries, findings);
        if let Some(plugin) = plugin::plugin(&mut raw, shared, secrets, findings) {
            built.push((raw, plugin));
        }
    }
    built
}

fn metrics(top: &Raw, secrets: &mut Vec<Secret>, findings: &mut Findings) -> MetricsSettings {
    let aggregator = top.flag("metrics.aggregator").unwrap_or(false);
    let database = database::of_metrics(top, secrets);
    if aggregator && database.is_none() {
        let what = "needs Redis: set `metrics.database.url` or `global_database_url`";
        findings.problem(top.at("metrics.aggregator"), what);
    }
    MetricsSettings {
        aggregator,
        port: port(top, "metrics.port"),
        bind: top.text("metrics.bind").and_then(|address| address.parse().ok()),
        sleep_interval: positive(top, "metrics.sleep_interval", 10),
        ca_file: None,
        database,
    }
}

fn host(top: &Raw) -> HostSettings {
    HostSettings {
        cpu_count: top.whole("host.cpu_count").and_then(|count| u32::try_from(count).ok()),
        memory_bytes: top.whole("host.memory_bytes").and_then(|bytes| u64::try_from(bytes).ok()),
    }
}

fn limits(top: &Raw) -> Limits {
    let mut limits = Limits::default();
    for name in Limits::NAMES {
        if let (Some(span), Some(limit)) = (top.span(&format!("limits.{name}")), limits.by_name(name)) {
            *limit = span;
        }
    }
    limits
}

fn anka_timeouts(top: &Raw) -> AnkaTimeouts {
    let mut timeouts = AnkaTimeouts::default();
    for name in AnkaTimeouts::NAMES {
        if let (Some(span), Some(timeout)) =
            (top.span(&format!("anka_timeouts.{name}")), timeouts.by_name(name))
        {
            *timeout = span;
        }
    }
    timeouts
}

fn port(raw: &Raw, path: &str) -> Option<u16> {
    raw.whole(path).and_then(|port| u16::try_from(port).ok())
}

/// A duration that counts as not given if it is zero, as in the Go program.
fn positive(raw: &Raw, path: &str, default_seconds: u64) -> Duration {
    raw.span(path).filter(|span| !span.is_zero()).unwrap_or(Duration::from_secs(default_seconds))
}
