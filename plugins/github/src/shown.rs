//! What a plugin shows of itself while its calls wait for a rate limit: its status, and more time for its heartbeat.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anklet_plugin_api::heartbeat::Heartbeats;
use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::report::{Fact, Report, Status};
use log::debug;

use crate::budget::Standing;
use crate::error::CallName;
use crate::observer::CallObserver;

/// Reports a plugin's status, and [`Status::LimitPaused`] for as long as a call of it waits.
pub struct ShownStatus {
    plugin: PluginName,
    report: Arc<dyn Report>,
    heartbeats: Heartbeats,
    status: Mutex<Status>,
}

impl ShownStatus {
    /// For the plugin of that name, which is idle. The deadline that it gave its heartbeat moves by as long as calls wait or are repeated.
    pub fn new(plugin: &PluginName, report: &Arc<dyn Report>, heartbeats: &Heartbeats) -> Self {
        Self {
            plugin: plugin.clone(),
            report: Arc::clone(report),
            heartbeats: heartbeats.clone(),
            status: Mutex::new(Status::Idle),
        }
    }

    /// The plugin's status is now this.
    pub fn status(&self, status: Status) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
        self.report.status(&self.plugin, status);
    }
}

impl CallObserver for ShownStatus {
    fn called(&self, _: CallName, status: Option<u16>, _: Duration) {
        self.report.count(&self.plugin, &Fact::GithubCall(status));
    }

    fn budget(&self, resource: &str, standing: Standing) {
        let Standing { limit, remaining, .. } = standing;
        self.report.count(&self.plugin, &Fact::Budget { resource, limit, remaining });
    }

    fn delayed(&self, by: Duration) {
        // The step in hand counts on calls that go well; each of them ends by its own limit.
        self.heartbeats.defer(&self.plugin, by);
    }

    fn paused(&self, by: Duration) {
        debug!(seconds = by.as_secs(); "a call waits for GitHub's rate limit");
        self.report.status(&self.plugin, Status::LimitPaused);
        self.heartbeats.defer(&self.plugin, by);
    }

    fn resumed(&self) {
        let status = *self.status.lock().unwrap_or_else(PoisonError::into_inner);
        self.report.status(&self.plugin, status);
    }
}
