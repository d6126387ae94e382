//! What can be wrong between plugins: queues that nobody fills or empties, and ports used twice.

use crate::config::finding::Findings;
use crate::config::raw::Raw;
use crate::config::{DatabaseChoice, PluginConfig};

type Plugins = [(Raw, PluginConfig)];

/// Gives queues their common name and reports what does not fit together.
pub(super) fn check(plugins: &mut Plugins, metrics_port: Option<u16>, findings: &mut Findings) {
    unite_queues(plugins);
    check_queues(plugins, findings);
    check_ports(plugins, metrics_port, findings);
}

/// Owners compare without case, so a queue that is named after one is spelled as its first plugin spells it.
fn unite_queues(plugins: &mut Plugins) {
    let mut spellings: Vec<String> = Vec::new();
    for (_, plugin) in plugins.iter_mut().filter(|(raw, _)| !raw.has("queue_name")) {
        let queue = &mut plugin.section.queue;
        match spellings.iter().find(|spelling| spelling.eq_ignore_ascii_case(queue)) {
            Some(spelling) => queue.clone_from(spelling),
            None => spellings.push(queue.clone()),
        }
    }
}

/// A built-in queue is seen by this process alone, so whoever uses it needs a partner here.
fn check_queues(plugins: &Plugins, findings: &mut Findings) {
    for (raw, plugin) in plugins {
        let queue = &plugin.section.queue;
        let is_partner = |other: &PluginConfig| {
            other.section.kind != plugin.section.kind
                && other.section.queue == *queue
                && matches!(other.database, DatabaseChoice::Embedded(_))
        };
        let is_embedded = matches!(plugin.database, DatabaseChoice::Embedded(_));
        if !is_embedded || plugins.iter().any(|(_, other)| is_partner(other)) {
            continue;
        }
        if plugin.section.kind == "github" {
            let what = format!(
                "is missing, and no receiver in this file fills the queue `{queue}`, so no job would ever come: \
                 set `global_database_url`, or add a `github_receiver` with the same queue"
            );
            findings.problem(raw.at("database.url"), what);
        } else {
            let what = format!(
                "is missing, and no handler in this file empties the queue `{queue}`: other hosts cannot see it; \
                 set `global_database_url`, or add a `github` plugin with the same queue"
            );
            findings.warn(raw.at("database.url"), what);
        }
    }
}

fn check_ports(plugins: &Plugins, metrics_port: Option<u16>, findings: &mut Findings) {
    let mut used: Vec<(u16, String)> = metrics_port
        .filter(|port| *port != 0)
        .map(|port| (port, "metrics.port".to_owned()))
        .into_iter()
        .collect();
    for (raw, plugin) in plugins.iter().filter(|(_, plugin)| plugin.section.kind == "github_receiver") {
        let Some(port) = plugin.section.port.filter(|port| *port != 0) else { continue };
        match used.iter().find(|(other, _)| *other == port) {
            Some((_, by)) => {
                findings.problem(raw.at("port"), format!("{port} is used by {by} too: choose another"));
            }
            None => used.push((port, format!("plugin {}", plugin.section.name))),
        }
    }
}
