//! `/metrics` for Prometheus: names, units and types by its conventions. Label values come from the config or are
//! bounded in number; never a job, a branch or a runner.

use std::fmt::Write;

use anklet_plugin_api::report::Status;

use super::PluginMetrics;
use super::host::HostUse;
use super::queues::QueueView;
use super::tally::{Histogram, STAGE_BUCKETS, STORE_BUCKETS, Tally};

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
pub(super) fn text(
    plugins: &[PluginMetrics],
    host: &HostUse,
    slots: Option<(usize, usize)>,
    tally: &Tally,
    queues: &[(String, Option<QueueView>)],
) -> String {
    let mut page = Page(String::new());
    page.family("anklet_build_info", "gauge", "The version of this process.");
    page.sample("anklet_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    plugins_text(&mut page, plugins);
    tally_text(&mut page, tally);
    store_text(&mut page, tally);
    queues_text(&mut page, queues);
    host_text(&mut page, host, slots);
    page.0
}

fn plugins_text(page: &mut Page, plugins: &[PluginMetrics]) {
    page.family("anklet_plugin_status", "gauge", "1 for the status that a plugin has, 0 for the others.");
    for plugin in plugins {
        for status in STATUSES {
            let labels = [("plugin", plugin.name.as_str()), ("status", &status.to_string())];
            page.sample("anklet_plugin_status", &labels, f64::from(u8::from(plugin.status == status)));
        }
    }
    page.family(
        "anklet_plugin_status_start_timestamp_seconds",
        "gauge",
        "When a plugin took its status, in seconds since 1970.",
    );
    for plugin in plugins {
        let labels = [("plugin", plugin.name.as_str())];
        let since = exact(plugin.status_since.0) / 1_000.0;
        page.sample("anklet_plugin_status_start_timestamp_seconds", &labels, since);
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
}

fn tally_text(page: &mut Page, tally: &Tally) {
    let stages = "anklet_stage_duration_seconds";
    page.family(
        stages,
        "histogram",
        "How long a job was in a stage: until_cloned counts from its creation, image from its claim.",
    );
    for ((plugin, template, stage), histogram) in &tally.stages {
        let labels = [("plugin", plugin.as_str()), ("template", template), ("stage", stage)];
        page.histogram(stages, &labels, histogram, &STAGE_BUCKETS);
    }
    page.family("anklet_jobs_given_back_total", "counter", "Jobs that a handler gave back, by reason.");
    for ((plugin, reason), n) in &tally.given_back {
        let labels = [("plugin", plugin.as_str()), ("reason", *reason)];
        page.sample("anklet_jobs_given_back_total", &labels, exact(*n));
    }
    page.family("anklet_runs_cancelled_total", "counter", "Runs that a handler had cancelled, by reason.");
    for ((plugin, reason), n) in &tally.cancelled {
        let labels = [("plugin", plugin.as_str()), ("reason", *reason)];
        page.sample("anklet_runs_cancelled_total", &labels, exact(*n));
    }
    let calls = "anklet_github_requests_total";
    page.family(calls, "counter", "Calls of GitHub's API, by the kind of answer.");
    for ((plugin, answer), n) in &tally.calls {
        page.sample(calls, &[("plugin", plugin.as_str()), ("answer", *answer)], exact(*n));
    }
    let left = "anklet_github_rate_limit_remaining";
    page.family(left, "gauge", "Calls that GitHub leaves to the credential of a plugin.");
    for ((plugin, resource), (_, remaining)) in &tally.budgets {
        page.sample(left, &[("plugin", plugin.as_str()), ("resource", resource)], exact(*remaining));
    }
    let limit = "anklet_github_rate_limit";
    page.family(limit, "gauge", "Calls an hour that GitHub allows the credential of a plugin.");
    for ((plugin, resource), (allowed, _)) in &tally.budgets {
        page.sample(limit, &[("plugin", plugin.as_str()), ("resource", resource)], exact(*allowed));
    }
}

fn store_text(page: &mut Page, tally: &Tally) {
    let verbs = "anklet_store_verb_duration_seconds";
    page.family(verbs, "histogram", "How long the store took to answer a verb.");
    for (verb, (histogram, _)) in &tally.verbs {
        page.histogram(verbs, &[("verb", verb)], histogram, &STORE_BUCKETS);
    }
    let errors = "anklet_store_errors_total";
    page.family(errors, "counter", "Verbs that the store did not answer, or refused for a broken document.");
    for (verb, (_, n)) in &tally.verbs {
        page.sample(errors, &[("verb", verb)], exact(*n));
    }
}

fn queues_text(page: &mut Page, queues: &[(String, Option<QueueView>)]) {
    page.family("anklet_store_up", "gauge", "1 if the store of a queue answered this scrape.");
    for (queue, view) in queues {
        page.sample("anklet_store_up", &[("queue", queue)], f64::from(u8::from(view.is_some())));
    }
    let seen = || queues.iter().filter_map(|(queue, view)| Some((queue.as_str(), view.as_ref()?)));
    page.family("anklet_queue_jobs", "gauge", "Jobs of a queue, in the whole fleet, by where they are.");
    for (queue, view) in seen() {
        let places = [
            ("waiting", view.waiting),
            ("held", view.held),
            ("claimed", view.claimed),
            ("running", view.running),
        ];
        for (place, n) in places {
            page.sample("anklet_queue_jobs", &[("queue", queue), ("place", place)], exact(n));
        }
    }
    page.family("anklet_queue_vms", "gauge", "VMs that are recorded in a queue.");
    for (queue, view) in seen() {
        page.sample("anklet_queue_vms", &[("queue", queue)], exact(view.vms));
    }
    page.family("anklet_queue_waiting_jobs", "gauge", "Jobs that wait for a handler, by template.");
    for (queue, view) in seen() {
        for (template, waiting) in &view.templates {
            let labels = [("queue", queue), ("template", template)];
            page.sample("anklet_queue_waiting_jobs", &labels, exact(waiting.n_jobs));
        }
    }
    let oldest = "anklet_queue_oldest_job_age_seconds";
    page.family(oldest, "gauge", "How long the oldest job that waits has been there, by template.");
    for (queue, view) in seen() {
        for (template, waiting) in &view.templates {
            page.sample(oldest, &[("queue", queue), ("template", template)], waiting.oldest.as_secs_f64());
        }
    }
    let handlers = "anklet_queue_handlers";
    page.family(
        handlers,
        "gauge",
        "Handlers of the fleet that take the waiting jobs of a template, by what they do.",
    );
    for (queue, view) in seen() {
        for (template, waiting) in &view.templates {
            let states = [("free", waiting.n_free), ("busy", waiting.n_busy), ("unable", waiting.n_unable)];
            for (state, n) in states {
                page.sample(
                    handlers,
                    &[("queue", queue), ("template", template), ("state", state)],
                    exact(n),
                );
            }
        }
    }
}

fn host_text(page: &mut Page, host: &HostUse, slots: Option<(usize, usize)>) {
    if let Some((n_slots, n_taken)) = slots {
        page.family("anklet_host_vm_slots", "gauge", "VMs that the host runs at most.");
        page.sample("anklet_host_vm_slots", &[], exact(n_slots));
        page.family("anklet_host_vm_slots_taken", "gauge", "VM slots of the host that are taken.");
        page.sample("anklet_host_vm_slots_taken", &[], exact(n_taken));
    }
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

impl Page {
    fn histogram<const N: usize>(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        histogram: &Histogram<N>,
        buckets: &[f64; N],
    ) {
        let mut n_so_far = 0;
        let bucket = |bound: &str, n: u64, page: &mut Self| {
            let labels: Vec<_> = labels.iter().copied().chain([("le", bound)]).collect();
            page.sample(&format!("{name}_bucket"), &labels, exact(n));
        };
        for (bound, n) in buckets.iter().zip(histogram.counts) {
            n_so_far += n;
            bucket(&bound.to_string(), n_so_far, self);
        }
        bucket("+Inf", histogram.n, self);
        self.sample(&format!("{name}_sum"), labels, histogram.sum);
        self.sample(&format!("{name}_count"), labels, exact(histogram.n));
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}
