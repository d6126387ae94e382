//! `/metrics` for Prometheus: names, units and types by its conventions. Label values come from the config, never from jobs.

use std::fmt::Write;

use anklet_plugin_api::report::Status;

use super::PluginMetrics;
use super::host::HostUse;

const STATUSES: [Status; 8] = [
    Status::Idle,
    Status::Running,
    Status::InProgress,
    Status::Paused,
    Status::Pulling,
    Status::LimitPaused,
    Status::Draining,
    Status::Stopped,
];

/// The page.
pub(crate) fn text(plugins: &[PluginMetrics], host: &HostUse) -> String {
    let mut page = Page(String::new());
    page.family("anklet_build_info", "gauge", "The version of this process.");
    page.sample("anklet_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);

    page.family("anklet_plugin_status", "gauge", "1 for the status that a plugin has, 0 for the others.");
    for plugin in plugins {
        for status in STATUSES {
            let labels = [("plugin", plugin.name.as_str()), ("status", &status.to_string())];
            page.sample("anklet_plugin_status", &labels, f64::from(u8::from(plugin.status == status)));
        }
    }
    page.family(
        "anklet_plugin_status_since_seconds",
        "gauge",
        "When a plugin took its status, in seconds since 1970.",
    );
    for plugin in plugins {
        let labels = [("plugin", plugin.name.as_str())];
        page.sample("anklet_plugin_status_since_seconds", &labels, exact(plugin.status_since.0) / 1_000.0);
    }
    let handlers = || plugins.iter().filter(|plugin| plugin.is_handler());
    page.family("anklet_vms_started_total", "counter", "VMs that a handler has started.");
    for plugin in handlers() {
        page.sample("anklet_vms_started_total", &[("plugin", plugin.name.as_str())], exact(plugin.n_vms));
    }
    page.family(
        "anklet_jobs_completed_total",
        "counter",
        "Jobs of a handler that GitHub has ended, by how they ended.",
    );
    for plugin in handlers() {
        for (conclusion, runs) in
            [("success", &plugin.successful), ("failure", &plugin.failed), ("cancelled", &plugin.canceled)]
        {
            let labels = [("plugin", plugin.name.as_str()), ("conclusion", conclusion)];
            page.sample("anklet_jobs_completed_total", &labels, exact(runs.n));
        }
    }
    host_text(&mut page, host);
    page.0
}

fn host_text(page: &mut Page, host: &HostUse) {
    let gauges = [
        ("anklet_host_cpus", "Processors of the host.", exact(host.cpu_count)),
        ("anklet_host_cpu_usage_ratio", "Share of the processors in use, 0 to 1.", host.cpu_percent / 100.0),
        ("anklet_host_memory_bytes", "Memory of the host.", exact(host.memory.total)),
        ("anklet_host_memory_available_bytes", "Memory that is available.", exact(host.memory.available)),
        ("anklet_host_disk_bytes", "Size of the disk.", exact(host.disk.total)),
        ("anklet_host_disk_available_bytes", "Room on the disk.", exact(host.disk.available)),
    ];
    for (name, help, value) in gauges {
        page.family(name, "gauge", help);
        page.sample(name, &[], value);
    }
}

/// A number as Prometheus wants it: numbers beyond 2^53 lose their last digits, which nobody reads.
fn exact<N: TryInto<i64>>(number: N) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "said above")]
    let float = number.try_into().unwrap_or(i64::MAX) as f64;
    float
}

struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a text does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        if !labels.is_empty() {
            let labels: Vec<_> =
                labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
            let _ = write!(self.0, "{{{}}}", labels.join(","));
        }
        let _ = writeln!(self.0, " {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}
