//! Takes over what the Go program left in Redis: the jobs of its lists, and its VMs on this host.
//!
//! It happens once none of its processes works with that Redis any more, which the age of their metrics documents tells. Each item is
//! first copied and then taken out of its list, so that a death between the two costs nothing: an item that is adopted twice changes nothing.

mod documents;
mod lists;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use log::{debug, error, info, warn};
use thiserror::Error;

use anklet_handler_github::Desk;
use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::host::Host;
use anklet_plugin_api::job::{News, Phase};
use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::Section;
use anklet_plugin_api::sorted::{map_of, sort_by};
use anklet_plugin_api::stop::Stop;
use anklet_plugin_api::store::{Source, Store, StoreError};
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::{Stage, VmRecord};

use self::documents::{Document, GoJob, GoVm};
use self::lists::{Kind, List};
use crate::host::MacHost;
use crate::store::redis::{Keys, LinkError, RedisServer, RedisStore};

/// How long the Go program's metrics documents live from each writing.
const METRICS_LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);
/// It writes them every 10 s: one that is older than this was left by a process that has ended.
const METRICS_FRESH: Duration = Duration::from_secs(60);
/// After how long a look that failed is made again, at the latest.
const RETRY: Duration = Duration::from_secs(10);

/// Adopts what lies on one Redis server.
pub(crate) struct Adoption {
    keys: Keys,
    queues: BTreeMap<String, Arc<RedisStore>>,
    host: Arc<MacHost>,
    desk: Desk,
    /// The handlers of this process whose queues lie there: only they know where the VMs of their lists are.
    handlers: BTreeMap<PluginName, Scope>,
    /// Time between two looks while the Go program still works.
    look: Duration,
}

/// Why an adoption did not come to its end.
#[derive(Debug, Error)]
enum Trouble {
    #[error("{0}")]
    Keys(#[from] LinkError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Host(#[from] anklet_plugin_api::host::HostError),
}

impl Trouble {
    /// Whether trying again is of no use.
    fn is_refusal(&self) -> bool {
        matches!(self, Self::Keys(error) if error.is_refusal())
    }
}

/// What a look found.
#[derive(Debug, PartialEq)]
enum Found {
    /// The Go program works: this is its document.
    Working(String),
    /// Everything that was there is ours now.
    Adopted,
}

impl Adoption {
    /// For the queues of a server, on behalf of these handlers.
    pub(crate) fn new<'a>(
        server: &Arc<RedisServer>,
        handlers: impl Iterator<Item = &'a Section>,
        (host, desk): (Arc<MacHost>, Desk),
        look: Duration,
    ) -> Self {
        let queues = server.queues().iter().map(|queue| (queue.clone(), server.queue(queue)));
        let handlers = handlers.map(|section| (section.name.clone(), section.scope.clone()));
        Self { keys: server.keys(), queues: map_of(queues), host, desk, handlers: map_of(handlers), look }
    }

    /// Before a handler starts, so that it finds the VM that it had under the Go program among its records, and watches its job on.
    /// What that was cleaning up, and all of this if it cannot be done now, is for the thread, and its VMs are for the janitor.
    pub(crate) fn begin(&self, section: &Section, stop: &Stop) {
        let list = lists::of_handler(&section.queue, &section.name);
        if let Err(error) = self.adopt_own(&list, stop) {
            warn!(error:% = error; "cannot look for what the Go program left to this handler");
        }
    }

    fn adopt_own(&self, list: &List, stop: &Stop) -> Result<(), Trouble> {
        let is_empty = self.keys.items(&list.key, 0)?.is_empty();
        if !is_empty && self.working_among(&self.keys.find(lists::ALL)?)?.is_none() {
            self.adopt_list(list, stop)?;
        }
        Ok(())
    }

    /// Starts the thread that looks until everything is adopted, or `stop` closes. All handlers must have their names by now.
    pub(crate) fn start(self: Arc<Self>, stop: Stop) -> io::Result<JoinHandle<()>> {
        Builder::new().name("adoption".to_owned()).spawn(move || self.run(&stop))
    }

    fn run(&self, stop: &Stop) {
        let mut is_said = false;
        loop {
            let wait = match self.look(stop) {
                Ok(Found::Adopted) => return,
                Ok(Found::Working(document)) => {
                    if !is_said {
                        info!(document; "the Go program works with this database; its jobs are adopted when it has ended");
                    }
                    is_said = true;
                    self.look
                }
                Err(error) if error.is_refusal() => {
                    warn!(error:% = error; "cannot look for what the Go program left");
                    return;
                }
                Err(error) => {
                    debug!(error:% = error; "what the Go program left cannot be adopted now");
                    self.look.min(RETRY)
                }
            };
            if Ear::to_stop(stop).rest_until(Instant::now() + wait) {
                return;
            }
        }
    }

    fn look(&self, stop: &Stop) -> Result<Found, Trouble> {
        let keys = self.keys.find(lists::ALL)?;
        let is_ours = |queue: &str| self.queues.contains_key(queue);
        let mut lists: Vec<_> = keys.iter().filter_map(|key| lists::list(key, is_ours)).collect();
        if let Some(document) = self.working_among(&keys)? {
            return Ok(Found::Working(document));
        }
        sort_by(&mut lists, Ord::cmp);
        for list in lists {
            match self.adopt_list(&list, stop) {
                Err(error) if error.is_refusal() => {
                    error!(list = list.key.as_str(), error:% = error; "a list of the Go program cannot be read; it stays where it is");
                }
                adopted => adopted?,
            }
        }
        Ok(Found::Adopted)
    }

    /// The document of a process of the Go program that works now.
    fn working_among(&self, keys: &BTreeSet<String>) -> Result<Option<String>, Trouble> {
        for key in keys.iter().filter(|key| lists::is_metrics(key)) {
            let Some(left) = self.keys.time_left(key)? else { continue };
            if METRICS_LIFE.saturating_sub(left) < METRICS_FRESH && !self.is_of_rust(key)? {
                return Ok(Some(key.clone()));
            }
        }
        Ok(None)
    }

    fn is_of_rust(&self, key: &str) -> Result<bool, Trouble> {
        let document: serde_json::Value =
            serde_json::from_str(&self.keys.get(key)?.unwrap_or_default()).unwrap_or_default();
        Ok(document["implementation"] == "rust")
    }

    /// Adopts what is in a list; VMs of handlers that are not of this process stay there for them.
    fn adopt_list(&self, list: &List, stop: &Stop) -> Result<(), Trouble> {
        let Some(store) = self.queues.get(&list.queue) else { return Ok(()) };
        let (mut n_adopted, mut n_left) = (0, 0);
        // The VM lies behind its job, and has to be ours before the job is.
        let has_vm = self.adopt_vms(store, list)?;
        loop {
            let items = self.keys.items(&list.key, n_left)?;
            if items.is_empty() || stop.is_closed() {
                break;
            }
            for item in items {
                match documents::read(&item, list.kind.state()) {
                    Ok(Document::Vm(_)) => {
                        n_left += 1;
                        continue;
                    }
                    Ok(Document::Job(job)) => adopt_job(store, &list.kind, *job, has_vm)?,
                    Ok(Document::Nothing) => {}
                    Err(why) => {
                        store.keep_broken(&list.key, &item)?;
                        error!(list = list.key.as_str(), error = why; "a document of the Go program cannot be read and was set aside");
                    }
                }
                self.keys.take_out(&list.key, &item)?;
                n_adopted += 1;
            }
        }
        if n_adopted > 0 || has_vm {
            info!(list = list.key.as_str(), items = n_adopted; "adopted a list of the Go program");
        }
        if n_left > 0 {
            warn!(list = list.key.as_str(), vms = n_left; "the Go program left a VM, which is adopted when the handler of that name starts");
        }
        Ok(())
    }

    /// Writes records of the VMs in the list of a handler of this process; true if there was one.
    fn adopt_vms(&self, store: &RedisStore, list: &List) -> Result<bool, Trouble> {
        let Kind::Handler { name, is_cleaning } = &list.kind else { return Ok(false) };
        let Some(scope) = self.handlers.get(name) else { return Ok(false) };
        let items = self.keys.items(&list.key, 0)?;
        let repository = items.iter().find_map(|item| match documents::read(item, list.kind.state()) {
            Ok(Document::Job(job)) => Some(format!("{}/{}", job.news.job.owner, job.news.job.repo)),
            _ => None,
        });
        let mut has_vm = false;
        for item in &items {
            let Ok(Document::Vm(vm)) = documents::read(item, list.kind.state()) else { continue };
            let stage = if *is_cleaning { Stage::Undoing } else { Stage::Waiting };
            let record = self.record(vm, name, scope, stage, repository.clone());
            self.host.record(&record)?;
            store.put_vm(None, &record)?;
            self.keys.take_out(&list.key, item)?;
            info!(plugin:% = name, vmName:% = record.vm; "adopted a VM of the Go program");
            self.desk.call_janitor();
            has_vm = true;
        }
        Ok(has_vm)
    }

    /// How far its runner came nobody knows, so it may have been registered until now.
    fn record(
        &self,
        vm: GoVm,
        plugin: &PluginName,
        scope: &Scope,
        stage: Stage,
        repository: Option<String>,
    ) -> VmRecord {
        VmRecord {
            vm: vm.vm,
            host: self.host.id().clone(),
            plugin: plugin.clone(),
            queue: String::new(),
            scope: scope.clone(),
            job: vm.job,
            run: vm.run,
            repository: repository.unwrap_or_default(),
            labels: vm.labels,
            stage,
            jit: None,
            registering_at: Some(Moment::now()),
            registered_at: Some(Moment::now()),
            created_at: Moment::now(),
            failed_deletions: 0,
        }
    }
}

/// A job of a handler that made a VM may run there: its handler finds out before anybody else takes it. GitHub is asked about all others too
/// before they start.
fn adopt_job(store: &RedisStore, kind: &Kind, job: GoJob, has_vm: bool) -> Result<(), Trouble> {
    let GoJob { news, attempts, started_at } = job;
    match kind {
        Kind::Handler { is_cleaning: false, .. } if has_vm => {
            let phase = Phase::InProgress { runner: None };
            store.import(&News { phase, ..news }, attempts, started_at)?;
        }
        Kind::Handler { .. } | Kind::Queued | Kind::Paused => store.import(&news, attempts, started_at)?,
        Kind::Completed => drop(store.news(&news, Source::Webhook)?),
        // Of a job that nobody has, this is old news.
        Kind::InProgress => drop(store.news(&News { for_us: false, ..news }, Source::Webhook)?),
    }
    Ok(())
}
