//! What the process does, counted as plugins report it and shown when somebody asks.
//!
//! A report is a few words under a lock; the host is measured only while a page is made.

mod document;
mod fleet;
mod host;
mod old;
mod page;
mod queues;
mod server;
mod tally;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anklet_plugin_api::host::Host;
use anklet_plugin_api::job::Conclusion;
use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::report::{Fact, Report, Status};
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::Section;
use anklet_plugin_api::store::Store;
use anklet_plugin_api::time::Moment;

use self::host::HostMeter;
use self::queues::Queues;
use self::tally::Tally;
use crate::registry::{self, Role};

pub(crate) use document::DocumentThread;
pub(crate) use fleet::Fleet;
pub(crate) use server::{MetricsError, MetricsServer};

/// All that is counted.
#[derive(Default)]
pub(crate) struct Metrics {
    plugins: Mutex<BTreeMap<usize, PluginMetrics>>,
    meter: HostMeter,
    tally: Mutex<Tally>,
    queues: Queues,
    host: OnceLock<Arc<dyn Host>>,
}

/// What is counted of one plugin.
#[derive(Clone, Debug)]
pub(crate) struct PluginMetrics {
    name: PluginName,
    kind: String,
    role: Option<Role>,
    /// Owner or enterprise.
    owner: String,
    repo: Option<String>,
    status: Status,
    status_since: Moment,
    n_vms: u64,
    successful: Runs,
    failed: Runs,
    canceled: Runs,
}

/// Runs that ended in one way.
#[derive(Clone, Debug, Default)]
struct Runs {
    n: u64,
    last: Option<(Moment, String)>,
}

impl Metrics {
    /// Counts this plugin too, as idle for now; plugins are shown in the order in which they come.
    pub(crate) fn add(&self, section: &Section) {
        let (owner, repo) = match &section.scope {
            Scope::Repository { owner, repo } => (owner.clone(), Some(repo.clone())),
            Scope::Organization { owner } => (owner.clone(), None),
            Scope::Enterprise { slug } => (slug.clone(), None),
        };
        let plugin = PluginMetrics {
            name: section.name.clone(),
            kind: section.kind.clone(),
            role: registry::role(&section.kind),
            owner,
            repo,
            status: Status::Idle,
            status_since: Moment::now(),
            n_vms: 0,
            successful: Runs::default(),
            failed: Runs::default(),
            canceled: Runs::default(),
        };
        let mut plugins = self.lock();
        let place = plugins.len();
        plugins.insert(place, plugin);
    }

    /// Shows this queue too; the store is asked for that when somebody looks.
    pub(crate) fn add_queue(&self, name: &str, store: &Arc<dyn Store>) {
        self.queues.add(name, store);
    }

    /// Shows the slots of this host.
    pub(crate) fn set_host(&self, host: Arc<dyn Host>) {
        // A process has one host.
        let _ = self.host.set(host);
    }

    /// A verb of a store has answered.
    pub(crate) fn store_verb(&self, verb: &'static str, took: Duration, is_failed: bool) {
        self.lock_tally().verb(verb, took, is_failed);
    }

    /// `/metrics`.
    fn page(&self) -> String {
        let slots = self.host.get().map(|host| (host.n_slots(), host.n_taken_slots()));
        // First the queues: what asking them costs is then counted too.
        let queues = self.queues.views();
        let tally = self.lock_tally().clone();
        page::text(&self.plugins(), &self.meter.measure(), slots, &tally, &queues)
    }

    fn lock_tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The document about this process, as `/metrics/v1` shows it.
    fn document(&self) -> serde_json::Value {
        old::document(&self.plugins(), &self.meter.measure())
    }

    /// What the Go program would call the document of this process: it bears the name of the first plugin. None without plugins.
    fn key(&self) -> Option<String> {
        let plugins = self.lock();
        let first = plugins.values().next()?;
        Some(format!("anklet/metrics/{}/{}", first.owner, first.name))
    }

    /// A copy of everything as it is now.
    fn plugins(&self) -> Vec<PluginMetrics> {
        self.lock().values().cloned().collect()
    }

    fn change(&self, name: &PluginName, change: impl FnOnce(&mut PluginMetrics)) {
        if let Some(plugin) = self.lock().values_mut().find(|plugin| plugin.name == *name) {
            change(plugin);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, PluginMetrics>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report for Metrics {
    fn status(&self, plugin: &PluginName, status: Status) {
        self.change(plugin, |plugin| {
            if plugin.status != status {
                (plugin.status, plugin.status_since) = (status, Moment::now());
            }
        });
    }

    fn vm_started(&self, plugin: &PluginName) {
        self.change(plugin, |plugin| plugin.n_vms += 1);
    }

    fn ended(&self, plugin: &PluginName, conclusion: &Conclusion, html_url: &str) {
        self.change(plugin, |plugin| {
            let runs = match conclusion {
                Conclusion::Success => &mut plugin.successful,
                Conclusion::Cancelled => &mut plugin.canceled,
                Conclusion::Failure | Conclusion::Other(_) => &mut plugin.failed,
            };
            runs.n += 1;
            runs.last = Some((Moment::now(), html_url.to_owned()));
        });
    }

    fn count(&self, plugin: &PluginName, fact: &Fact<'_>) {
        self.lock_tally().count(plugin, fact);
    }
}

impl PluginMetrics {
    fn is_handler(&self) -> bool {
        self.role == Some(Role::Handler)
    }

    /// Whether a VM of this plugin runs a job.
    fn runs_vm(&self) -> bool {
        matches!(self.status, Status::InProgress)
    }
}

/// Shared by the daemon, its plugins and the pages.
pub(crate) type SharedMetrics = Arc<Metrics>;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const N_REPORTS: u32 = 200_000;
    /// A job makes about a hundred reports: so dear, they would be ten milliseconds of it.
    const DEAREST: Duration = Duration::from_micros(100);

    fn handler(name: &PluginName) -> PluginMetrics {
        PluginMetrics {
            name: name.clone(),
            kind: "github".to_owned(),
            role: Some(Role::Handler),
            owner: "acme".to_owned(),
            repo: None,
            status: Status::Running,
            status_since: Moment::now(),
            n_vms: 0,
            successful: Runs::default(),
            failed: Runs::default(),
            canceled: Runs::default(),
        }
    }

    /// What a report of each kind costs while nobody looks.
    #[test]
    #[ignore = "long: see tests/long"]
    fn a_report_costs_next_to_nothing() {
        let metrics = Metrics::default();
        let plugin = PluginName::new("HANDLER");
        metrics.lock().insert(0, handler(&plugin));
        let (template, took) = ("c0847bc9-5d2d-4dbc-ba6a-240f7ff08032", Duration::from_millis(7));
        let facts = [
            ("a stage", Fact::Stage { template, stage: "cloning", took }),
            ("a call of GitHub", Fact::GithubCall(Some(200))),
            ("a budget", Fact::Budget { resource: "core", limit: 5_000, remaining: 4_000 }),
        ];
        let each = |what: &str, report: &dyn Fn()| {
            let began_at = Instant::now();
            (0..N_REPORTS).for_each(|_| report());
            let cost = began_at.elapsed() / N_REPORTS;
            println!("{what}: {cost:?}");
            assert!(cost < DEAREST, "{what} costs {cost:?}");
        };
        for (what, fact) in &facts {
            each(what, &|| metrics.count(&plugin, fact));
        }
        each("a verb of the store", &|| metrics.store_verb("claim", took, false));
        each("a status", &|| metrics.status(&plugin, Status::Idle));
        each("the end of a job", &|| {
            metrics.ended(&plugin, &Conclusion::Success, "https://github.com/acme/app")
        });
    }
}
