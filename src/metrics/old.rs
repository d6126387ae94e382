//! The pages of the Go program, line for line and field for field: dashboards are built on them.
//!
//! Its text looks like Prometheus' and is none (labels have no quotes, values are words); it stays so. `/metrics` is the valid one.

use serde_json::{Value, json};

use anklet_plugin_api::time::Moment;

use super::host::HostUse;
use super::{PluginMetrics, Runs};

/// The year 1, which is how Go writes that something never was.
pub(super) const NEVER: &str = "0001-01-01T00:00:00Z";

/// `/metrics/v1?format=prometheus`.
pub(crate) fn text(plugins: &[PluginMetrics], host: &HostUse) -> String {
    let mut lines = Vec::new();
    let mut line = |name: &str, labels: &str, value: &str| lines.push(format!("{name}{labels} {value}"));
    for (name, value) in totals(plugins) {
        line(name, "", &value.to_string());
    }
    for plugin in plugins {
        let owner = format!("name={},plugin={},owner={}", plugin.name, plugin.kind, plugin.owner);
        let repo = plugin.repo.as_ref().map(|repo| format!(",repo={repo}")).unwrap_or_default();
        let labels = format!("{{{owner}{repo}}}");
        line("plugin_status", &labels, &plugin.status.to_string());
        if plugin.is_handler() {
            for (how, runs) in runs(plugin) {
                let labels = format!("{{{owner}{repo},job_url={}}}", last_url(runs));
                line(&format!("plugin_last_{how}_run"), &labels, &last_time(runs));
            }
        }
        line("plugin_status_since", &labels, &seconds(plugin.status_since));
        if plugin.is_handler() {
            let labels = format!("{{{owner}}}");
            line("plugin_total_ran_vms", &labels, &plugin.n_vms.to_string());
            for (how, runs) in runs(plugin) {
                line(&format!("plugin_total_{how}_runs_since_start"), &labels, &runs.n.to_string());
            }
        }
    }
    for (name, value) in host_values(host) {
        let value = match value {
            Value::Number(number) if name.ends_with("_percentage") => {
                format!("{:.6}", number.as_f64().unwrap_or_default())
            }
            other => other.to_string(),
        };
        line(name, "", &value);
    }
    lines.join("\n") + "\n"
}

/// `/metrics/v1?format=json`.
pub(crate) fn document(plugins: &[PluginMetrics], host: &HostUse) -> Value {
    let mut document = json!({ "last_update": Moment::now().to_string(), "implementation": "rust" });
    for (name, value) in totals(plugins) {
        document[name] = json!(value);
    }
    for (name, value) in host_values(host) {
        document[name] = value;
    }
    document["plugins"] = plugins.iter().map(plugin_document).collect();
    document
}

fn plugin_document(plugin: &PluginMetrics) -> Value {
    json!({
        "Name": plugin.name.as_str(),
        "PluginName": plugin.kind,
        "RepoName": plugin.repo.as_deref().unwrap_or_default(),
        "OwnerName": plugin.owner,
        "Status": plugin.status.to_string(),
        "StatusSince": seconds(plugin.status_since),
        "LastSuccessfulRun": last_time(&plugin.successful),
        "LastFailedRun": last_time(&plugin.failed),
        "LastCanceledRun": last_time(&plugin.canceled),
        "LastSuccessfulRunJobUrl": last_url(&plugin.successful),
        "LastFailedRunJobUrl": last_url(&plugin.failed),
        "LastCanceledRunJobUrl": last_url(&plugin.canceled),
        "TotalRanVMs": plugin.n_vms,
        "TotalSuccessfulRunsSinceStart": plugin.successful.n,
        "TotalFailedRunsSinceStart": plugin.failed.n,
        "TotalCanceledRunsSinceStart": plugin.canceled.n,
    })
}

fn totals(plugins: &[PluginMetrics]) -> [(&'static str, u64); 4] {
    let sum = |count: fn(&PluginMetrics) -> u64| plugins.iter().map(count).sum();
    [
        ("total_running_vms", sum(|plugin| plugin.runs_vm().into())),
        ("total_successful_runs_since_start", sum(|plugin| plugin.successful.n)),
        ("total_failed_runs_since_start", sum(|plugin| plugin.failed.n)),
        ("total_canceled_runs_since_start", sum(|plugin| plugin.canceled.n)),
    ]
}

fn runs(plugin: &PluginMetrics) -> [(&'static str, &Runs); 3] {
    [("successful", &plugin.successful), ("failed", &plugin.failed), ("canceled", &plugin.canceled)]
}

/// The names of what is said of the host, in their order.
pub(super) const HOST_FIELDS: [&str; 11] = [
    "host_cpu_count",
    "host_cpu_used_count",
    "host_cpu_usage_percentage",
    "host_memory_total_bytes",
    "host_memory_used_bytes",
    "host_memory_available_bytes",
    "host_memory_usage_percentage",
    "host_disk_total_bytes",
    "host_disk_used_bytes",
    "host_disk_available_bytes",
    "host_disk_usage_percentage",
];

fn host_values(host: &HostUse) -> [(&'static str, Value); 11] {
    let values = [
        json!(host.cpu_count),
        json!(host.cpu_used_count()),
        json!(host.cpu_percent),
        json!(host.memory.total),
        json!(host.memory.used()),
        json!(host.memory.available),
        json!(host.memory.percent()),
        json!(host.disk.total),
        json!(host.disk.used()),
        json!(host.disk.available),
        json!(host.disk.percent()),
    ];
    let mut names = HOST_FIELDS.into_iter();
    values.map(|value| (names.next().unwrap_or_default(), value))
}

fn last_time(runs: &Runs) -> String {
    runs.last.as_ref().map_or_else(|| NEVER.to_owned(), |(at, _)| seconds(*at))
}

fn last_url(runs: &Runs) -> &str {
    runs.last.as_ref().map(|(_, url)| url.as_str()).unwrap_or_default()
}

/// RFC 3339 with whole seconds, as the Go program writes times.
fn seconds(moment: Moment) -> String {
    let text = moment.to_string();
    format!("{}Z", text.split('.').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use anklet_plugin_api::name::PluginName;
    use anklet_plugin_api::report::Status;

    use super::super::host::Used;
    use super::*;
    use crate::registry::Role;

    fn plugins() -> Vec<PluginMetrics> {
        let plugin = |name: &str, role, repo: Option<&str>| PluginMetrics {
            name: PluginName::new(name),
            kind: if role == Role::Handler { "github" } else { "github_receiver" }.to_owned(),
            role: Some(role),
            owner: "acme".to_owned(),
            repo: repo.map(str::to_owned),
            status: Status::Idle,
            status_since: Moment(1_000),
            n_vms: 0,
            successful: Runs::default(),
            failed: Runs::default(),
            canceled: Runs::default(),
        };
        let mut handler = plugin("HANDLER1", Role::Handler, Some("app"));
        (handler.status, handler.n_vms) = (Status::InProgress, 3);
        handler.successful = Runs { n: 2, last: Some((Moment(2_500), "https://github.com/x/1".to_owned())) };
        vec![plugin("RECEIVER", Role::Receiver, None), handler]
    }

    fn host() -> HostUse {
        let used = Used { total: 200, available: 150 };
        HostUse { cpu_count: 8, cpu_percent: 50.0, memory: used, disk: used }
    }

    #[test]
    fn the_text_is_that_of_the_go_program() {
        let expected = "\
total_running_vms 1
total_successful_runs_since_start 2
total_failed_runs_since_start 0
total_canceled_runs_since_start 0
plugin_status{name=RECEIVER,plugin=github_receiver,owner=acme} idle
plugin_status_since{name=RECEIVER,plugin=github_receiver,owner=acme} 1970-01-01T00:00:01Z
plugin_status{name=HANDLER1,plugin=github,owner=acme,repo=app} in_progress
plugin_last_successful_run{name=HANDLER1,plugin=github,owner=acme,repo=app,job_url=https://github.com/x/1} 1970-01-01T00:00:02Z
plugin_last_failed_run{name=HANDLER1,plugin=github,owner=acme,repo=app,job_url=} 0001-01-01T00:00:00Z
plugin_last_canceled_run{name=HANDLER1,plugin=github,owner=acme,repo=app,job_url=} 0001-01-01T00:00:00Z
plugin_status_since{name=HANDLER1,plugin=github,owner=acme,repo=app} 1970-01-01T00:00:01Z
plugin_total_ran_vms{name=HANDLER1,plugin=github,owner=acme} 3
plugin_total_successful_runs_since_start{name=HANDLER1,plugin=github,owner=acme} 2
plugin_total_failed_runs_since_start{name=HANDLER1,plugin=github,owner=acme} 0
plugin_total_canceled_runs_since_start{name=HANDLER1,plugin=github,owner=acme} 0
host_cpu_count 8
host_cpu_used_count 4
host_cpu_usage_percentage 50.000000
host_memory_total_bytes 200
host_memory_used_bytes 50
host_memory_available_bytes 150
host_memory_usage_percentage 25.000000
host_disk_total_bytes 200
host_disk_used_bytes 50
host_disk_available_bytes 150
host_disk_usage_percentage 25.000000
";
        assert_eq!(text(&plugins(), &host()), expected);
    }

    /// Each status by its old name, in the text and in the document.
    #[test]
    fn every_status_is_shown() {
        let statuses = [
            (Status::Idle, "idle"),
            (Status::Running, "running"),
            (Status::InProgress, "in_progress"),
            (Status::Paused, "paused"),
            (Status::Pulling, "pulling"),
            (Status::LimitPaused, "limit_paused"),
            (Status::Draining, "draining"),
            (Status::Stopped, "stopped"),
        ];
        for (status, name) in statuses {
            let mut plugins = plugins();
            plugins[1].status = status;
            let text = text(&plugins, &host());
            let line = format!("plugin_status{{name=HANDLER1,plugin=github,owner=acme,repo=app}} {name}");
            assert!(text.lines().any(|found| found == line), "{text}");
            let n_running = u64::from(status == Status::InProgress);
            assert_eq!(text.lines().next(), Some(format!("total_running_vms {n_running}").as_str()));
            let document = document(&plugins, &host());
            assert_eq!(
                (&document["plugins"][1]["Status"], &document["total_running_vms"]),
                (&json!(name), &json!(n_running))
            );
        }
    }

    #[test]
    fn the_document_has_every_field() {
        let document = document(&plugins(), &host());
        let totals = [
            "total_running_vms",
            "total_successful_runs_since_start",
            "total_failed_runs_since_start",
            "total_canceled_runs_since_start",
        ];
        for name in ["last_update"].iter().chain(&totals).chain(&HOST_FIELDS) {
            assert!(document.get(name).is_some(), "{name}");
        }
        let fields = [
            "Name",
            "PluginName",
            "RepoName",
            "OwnerName",
            "Status",
            "StatusSince",
            "LastSuccessfulRun",
            "LastFailedRun",
            "LastCanceledRun",
            "LastSuccessfulRunJobUrl",
            "LastFailedRunJobUrl",
            "LastCanceledRunJobUrl",
            "TotalRanVMs",
            "TotalSuccessfulRunsSinceStart",
            "TotalFailedRunsSinceStart",
            "TotalCanceledRunsSinceStart",
        ];
        for plugin in document["plugins"].as_array().unwrap() {
            assert!(fields.iter().all(|name| plugin.get(name).is_some()), "{plugin}");
        }
        assert_eq!(document["plugins"][1]["LastSuccessfulRunJobUrl"], "https://github.com/x/1");
        assert_eq!(document["plugins"][0]["LastFailedRun"], NEVER);
        assert_eq!(document["plugins"][0].as_object().map(serde_json::Map::len), Some(16));
    }
}
