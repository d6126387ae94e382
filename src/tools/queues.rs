//! The queues that a config uses, opened beside the daemons that may run.

use std::sync::Arc;

use anklet_plugin_api::job::JobId;
use anklet_plugin_api::name::HostId;
use anklet_plugin_api::section::Section;
use anklet_plugin_api::store::{Dossier, Store};

use super::ToolError;
use crate::config::env::Environment;
use crate::config::{Config, DatabaseChoice};
use crate::host::id;
use crate::registry::{self, Role};
use crate::store::Beside;

/// One queue.
pub(super) struct Queue {
    pub(super) name: String,
    /// Where it lives, for people.
    pub(super) home: String,
    pub(super) store: Arc<dyn Store>,
    /// This host, if a daemon has run here.
    pub(super) own_host: Option<HostId>,
    /// The handlers of this config that work on it.
    pub(super) handlers: Vec<Section>,
}

/// All queues of a config.
pub(super) struct Queues(pub(super) Vec<Queue>);

impl Queues {
    /// Opens them; fails at the first that cannot be opened.
    pub(super) fn open(config: &Config, environment: &Environment) -> Result<Self, ToolError> {
        let own_host = environment.config_folder().and_then(|folder| id::known(&folder.join("host-id")));
        let mut beside = Beside::default();
        let mut queues: Vec<(DatabaseChoice, Queue)> = Vec::new();
        for plugin in &config.plugins {
            let section = &plugin.section;
            let is_handler = registry::role(&section.kind) == Some(Role::Handler);
            let known = queues.iter_mut().find(|(database, queue)| {
                *database == plugin.database && queue.name.eq_ignore_ascii_case(&section.queue)
            });
            if let Some((_, queue)) = known {
                queue.handlers.extend(is_handler.then(|| section.clone()));
                continue;
            }
            let home = match &plugin.database {
                DatabaseChoice::Embedded(path) => path.display().to_string(),
                DatabaseChoice::Redis(settings) => format!("Redis at {}:{}", settings.host, settings.port),
            };
            let store = beside.queue(plugin, config).map_err(ToolError::Failed)?;
            let handlers = is_handler.then(|| section.clone()).into_iter().collect();
            let (name, own_host) = (section.queue.to_lowercase(), own_host.clone());
            let queue = Queue { name, home, store, own_host, handlers };
            queues.push((plugin.database.clone(), queue));
        }
        if queues.is_empty() {
            let why = format!("{} has no plugins, and so no queue", config.file.display());
            return Err(ToolError::Failed(why));
        }
        Ok(Self(queues.into_iter().map(|(_, queue)| queue).collect()))
    }

    /// The queue that knows the job, and what it knows; none if none does.
    pub(super) fn find(&self, job: JobId) -> Result<Option<(&Queue, Dossier)>, ToolError> {
        for queue in &self.0 {
            let dossier = queue.store.examine(job).map_err(|error| ToolError::store(&error, &queue.name))?;
            if dossier.entry.is_some() || dossier.ended.is_some() {
                return Ok(Some((queue, dossier)));
            }
        }
        Ok(None)
    }

    /// The queues' names, for people.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|queue| format!("{} ({})", queue.name, queue.home)).collect();
        names.join(", ")
    }
}
