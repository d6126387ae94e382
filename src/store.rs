//! Picks the queue's home: a file of this host, or Redis.

pub(crate) mod embedded;
pub(crate) mod metered;
pub(crate) mod redis;
mod signals;
pub(crate) mod vm_document;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anklet_plugin_api::store::Store;

use self::embedded::EmbeddedStore;
use self::redis::{Keys, RedisServer};
use crate::config::{Config, DatabaseChoice, PluginConfig, RedisSettings};

/// An ended job is remembered for this much longer than its webhook can be redelivered.
const TOMBSTONE_SLACK: Duration = Duration::from_secs(24 * 3_600);

/// The open queue files and Redis servers, each with its queues.
#[derive(Default)]
pub(crate) struct Stores {
    files: BTreeMap<PathBuf, Arc<EmbeddedStore>>,
    servers: Vec<(RedisSettings, Arc<RedisServer>)>,
}

impl Stores {
    /// Opens what the plugins of this config need; an error says in words what cannot be used. A Redis server may answer later.
    pub(crate) fn open(config: &Config, process: &str) -> Result<Self, String> {
        let mut stores = Self::default();
        for plugin in &config.plugins {
            match &plugin.database {
                DatabaseChoice::Embedded(path) if stores.files.contains_key(path) => {}
                DatabaseChoice::Embedded(path) => {
                    let options = embedded::Options {
                        queue: queue_name(&plugin.section.queue),
                        tombstone_life: tombstone_life(config),
                        claim_life: config.claim_life,
                        ..embedded::Options::default()
                    };
                    let store = EmbeddedStore::open(path, &options).map_err(|error| error.to_string())?;
                    stores.files.insert(path.clone(), store);
                }
                DatabaseChoice::Redis(settings) if stores.server(settings).is_some() => {}
                DatabaseChoice::Redis(settings) => {
                    let queues = queues_on(settings, config);
                    let options = redis_options(settings, plugin, config, process)?;
                    let server = RedisServer::open(options, &queues).map_err(|error| error.to_string())?;
                    stores.servers.push((settings.clone(), server));
                }
            }
        }
        Ok(stores)
    }

    /// A plugin's queue.
    pub(crate) fn queue(&self, plugin: &PluginConfig) -> Result<Arc<dyn Store>, String> {
        let queue = queue_name(&plugin.section.queue);
        match &plugin.database {
            DatabaseChoice::Embedded(path) => {
                let file = self.files.get(path).ok_or("the queue file is not open")?;
                file.queue(&queue).map(|store| store as _).map_err(|error| error.to_string())
            }
            DatabaseChoice::Redis(settings) => {
                let server = self.server(settings).ok_or("the Redis server is not in use")?;
                Ok(server.queue(&queue))
            }
        }
    }

    /// Where the document about this process goes: the database of the metrics, else that of the first plugin that has one.
    pub(crate) fn metrics_keys(&self, config: &Config, process: &str) -> Result<Option<Keys>, String> {
        let Some(plugin) = config.plugins.first() else { return Ok(None) };
        match &config.metrics.database {
            Some(settings) if self.server(settings).is_none() => {
                let options = redis_options(settings, plugin, config, process)?;
                Ok(Some(Keys::open(&options)))
            }
            Some(settings) => Ok(self.server(settings).map(|server| server.keys())),
            None => Ok(self.servers.first().map(|(_, server)| server.keys())),
        }
    }

    /// Every Redis server in use.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Arc<RedisServer>> {
        self.servers.iter().map(|(_, server)| server)
    }

    /// The place in [`Stores::servers`] of the one that a plugin's queue lies on.
    pub(crate) fn server_of(&self, plugin: &PluginConfig) -> Option<usize> {
        let DatabaseChoice::Redis(settings) = &plugin.database else { return None };
        self.servers.iter().position(|(known, _)| known == settings)
    }

    fn server(&self, settings: &RedisSettings) -> Option<&Arc<RedisServer>> {
        self.servers.iter().find(|(known, _)| known == settings).map(|(_, server)| server)
    }
}

/// Queues that a command-line tool opens beside the daemons that may run. Nobody tells it of news.
#[derive(Default)]
pub(crate) struct Beside {
    files: BTreeMap<PathBuf, Arc<EmbeddedStore>>,
    servers: Vec<(RedisSettings, Arc<RedisServer>)>,
}

impl Beside {
    /// A plugin's queue. A Redis server that does not answer is noticed at the first question.
    pub(crate) fn queue(&mut self, plugin: &PluginConfig, config: &Config) -> Result<Arc<dyn Store>, String> {
        let queue = queue_name(&plugin.section.queue);
        match &plugin.database {
            DatabaseChoice::Embedded(path) => {
                if let Some(file) = self.files.get(path) {
                    let store = file.queue(&queue).map_err(|error| error.to_string())?;
                    return Ok(store);
                }
                let options = embedded::Options {
                    queue,
                    tombstone_life: tombstone_life(config),
                    ..embedded::Options::default()
                };
                let store = EmbeddedStore::open_beside(path, &options).map_err(|error| error.to_string())?;
                self.files.insert(path.clone(), Arc::clone(&store));
                Ok(store)
            }
            DatabaseChoice::Redis(settings) => {
                if let Some((_, server)) = self.servers.iter().find(|(known, _)| known == settings) {
                    return Ok(server.queue(&queue));
                }
                let options = redis_options(settings, plugin, config, "tool")?;
                let server = RedisServer::open_beside(options);
                self.servers.push((settings.clone(), Arc::clone(&server)));
                Ok(server.queue(&queue))
            }
        }
    }
}

/// The keys of the metrics' database, for a process without plugins.
pub(crate) fn metrics_keys_alone(settings: &RedisSettings, config: &Config) -> Result<Keys, String> {
    let ca = config.metrics.ca_file.as_deref().map(read_ca).transpose()?;
    Ok(Keys::open(&redis::Options {
        settings: settings.clone(),
        ca,
        clock: None,
        tombstone_life: tombstone_life(config),
        claim_life: config.claim_life,
        process: "aggregator".to_owned(),
        silence_limit: redis::SILENCE_LIMIT,
    }))
}

/// How the Redis server of a plugin is used.
pub(crate) fn redis_options(
    settings: &RedisSettings,
    plugin: &PluginConfig,
    config: &Config,
    process: &str,
) -> Result<redis::Options, String> {
    let ca = plugin.section.github.ca_file.as_deref().map(read_ca).transpose()?;
    Ok(redis::Options {
        settings: settings.clone(),
        ca,
        clock: None,
        tombstone_life: tombstone_life(config),
        claim_life: config.claim_life,
        process: process.to_owned(),
        silence_limit: redis::SILENCE_LIMIT,
    })
}

fn read_ca(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("`ca_file` {}: {error}", path.display()))
}

fn queues_on(settings: &RedisSettings, config: &Config) -> BTreeSet<String> {
    let is_there = |plugin: &&PluginConfig| matches!(&plugin.database, DatabaseChoice::Redis(other) if other == settings);
    config.plugins.iter().filter(is_there).map(|plugin| queue_name(&plugin.section.queue)).collect()
}

fn tombstone_life(config: &Config) -> Duration {
    let hours = config.plugins.iter().map(|plugin| plugin.section.redeliver_hours).max().unwrap_or(24);
    Duration::from_secs(u64::from(hours) * 3_600) + TOMBSTONE_SLACK
}

/// Queues are named after owners and enterprises, which compare without case.
fn queue_name(queue: &str) -> String {
    queue.to_lowercase()
}
