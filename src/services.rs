//! What the daemon builds once and hands to its plugins: host, VM driver, stores, heartbeat, and the lease on each plugin's name.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use log::{error, info, warn};

use anklet_handler_github::Desk;
use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::heartbeat::Heartbeats;
use anklet_plugin_api::host::Host;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::plugin::{Ready, Services};
use anklet_plugin_api::presence::{Presence, RECEIVER_PREFIX};
use anklet_plugin_api::section::Section;
use anklet_plugin_api::stop::{Stop, Stopper, stop};
use anklet_plugin_api::store::{Lease, Leased, Lessee, Store, StoreError};
use anklet_plugin_api::time::Moment;

use crate::adoption::Adoption;
use crate::anka::setup::AnkaSetupError;
use crate::anka::{Anka, AnkaSettings};
use crate::config::env::Environment;
use crate::config::{Config, DatabaseChoice, PluginConfig};
use crate::crew::{self, Hand};
use crate::daemon::Event;
use crate::host::process::{process_id_text, process_is_gone};
use crate::host::{DEFAULT_SLOTS, HostSettings, MacHost};
use crate::metrics::{DocumentThread, MetricsError, MetricsServer, SharedMetrics};
use crate::registry::{self, Role};
use crate::store::Stores;
use crate::store::metered::Metered;
use crate::store::redis::Keys;

/// A service that cannot be had. The message is constant, since alarms are built on it.
#[derive(Debug)]
pub(crate) struct SetupError {
    pub(crate) message: &'static str,
    pub(crate) cause: String,
}

/// What all plugins share.
pub(crate) struct Shared {
    host: Arc<MacHost>,
    anka: Arc<Anka>,
    stores: Stores,
    metrics_keys: Option<Keys>,
    /// One for each Redis server of the stores.
    adoptions: Vec<Arc<Adoption>>,
    heartbeats: Heartbeats,
    metrics: SharedMetrics,
    _metrics_server: MetricsServer,
    desk: Desk,
    limits: Limits,
    process: String,
    /// The handlers started so far, for the janitor.
    handlers: Vec<(Section, Arc<dyn Store>)>,
    /// The queues of all plugins started so far.
    queues: Vec<Queue>,
}

/// A queue, and where it is. Plugins of one queue share it, so that what is due for all of them is one question.
struct Queue {
    name: String,
    database: DatabaseChoice,
    store: Arc<dyn Store>,
}

impl Shared {
    /// Builds and checks the services that this config's plugins need; `ear` cuts the wait for `anka`.
    pub(crate) fn build(
        config: &Config,
        environment: &Environment,
        ear: &Ear<'_>,
    ) -> Result<Self, SetupError> {
        let folder = environment.config_folder().ok_or_else(|| SetupError {
            message: "unable to get user home directory",
            cause: "the variable HOME is not set; set it to the home folder of the user whose VMs are used"
                .to_owned(),
        })?;
        let host = open_host(config, folder.clone())?;
        let anka = Arc::new(new_anka(config, environment, folder));
        if config.plugins.iter().any(|plugin| registry::role(&plugin.section.kind) == Some(Role::Handler)) {
            let unusable = |error: AnkaSetupError| SetupError {
                message: "unable to create anka cli",
                cause: error.to_string(),
            };
            let facts = anka.check(ear).map_err(unusable)?;
            // Each VM would fail otherwise, and its job with it.
            if let Some(plugin) = config.plugins.iter().find(|plugin| !plugin.section.mounts.is_empty()) {
                anka.check_mounts(&facts, ear).map_err(|error| SetupError {
                    cause: format!("plugin {}: {error}", plugin.section.name),
                    ..unusable(error)
                })?;
            }
            info!(anka_version = facts.version.as_str(), license = facts.license.as_str(); "anka is usable");
        }
        let process = process_id_text();
        let metrics = SharedMetrics::default();
        for plugin in &config.plugins {
            metrics.add(&plugin.section);
        }
        let stores = Stores::open(config, &process).map_err(no_database)?;
        let (host, desk) = (Arc::new(host), Desk::default());
        metrics.set_host(Arc::clone(&host) as _);
        Ok(Self {
            adoptions: adoptions(&stores, config, &host, &desk),
            host,
            anka,
            metrics_keys: stores.metrics_keys(config, &process).map_err(no_database)?,
            stores,
            heartbeats: Heartbeats::default(),
            _metrics_server: metrics_server(config, &metrics)?,
            metrics,
            desk,
            limits: config.limits.clone(),
            process,
            handlers: Vec::new(),
            queues: Vec::new(),
        })
    }

    /// How long undoing may take after a stop.
    pub(crate) fn undo_limit(&self) -> Duration {
        self.limits.undo
    }

    /// Starts a plugin's thread.
    pub(crate) fn start_plugin(
        &mut self,
        plugin: PluginConfig,
        (drain, interrupt): (Stop, Stop),
        events: &Sender<Event>,
    ) -> Result<Hand, SetupError> {
        let store = self.queue(&plugin).map_err(no_database)?;
        let server = self.stores.server_of(&plugin);
        let section = plugin.section;
        let unknown = || SetupError { message: "plugin not supported", cause: section.kind.clone() };
        let role = registry::role(&section.kind).ok_or_else(unknown)?;
        let built = registry::build(section.clone(), &self.desk).ok_or_else(unknown)?;
        info!(plugin:% = section.name; "starting plugin");
        let adoption = server.filter(|_| role == Role::Handler).and_then(|server| self.adoptions.get(server));
        let lease = self.lease(&section, &store, adoption.cloned(), interrupt.clone());
        let services = self.services(&store, drain, interrupt);
        if role == Role::Handler {
            self.handlers.push((section.clone(), store));
        }
        crew::start(built, role, &section, services, lease, events).map_err(no_thread)
    }

    fn services(&self, store: &Arc<dyn Store>, drain: Stop, interrupt: Stop) -> Services {
        Services {
            drain,
            interrupt,
            store: Arc::clone(store),
            vms: Arc::clone(&self.anka) as _,
            host: Arc::clone(&self.host) as _,
            lessee: self.lessee(),
            heartbeats: self.heartbeats.clone(),
            report: Arc::clone(&self.metrics) as _,
            ready: Ready::new(|| {}),
        }
    }

    /// Takes the name of a plugin, so that no other process works under it: claims are held by names.
    fn lease(
        &self,
        section: &Section,
        store: &Arc<dyn Store>,
        adoption: Option<Arc<Adoption>>,
        interrupt: Stop,
    ) -> crew::Lease {
        let lease = self.new_lease(&section.name, section.claim_life);
        let (store, heartbeats, section) = (Arc::clone(store), self.heartbeats.clone(), section.clone());
        // Handlers say more, and say it themselves.
        let is_receiver = registry::role(&section.kind) == Some(Role::Receiver);
        let sign = is_receiver.then(|| self.presence(&section));
        Box::new(move || {
            let taken = take_lease(&*store, &lease, &Ear::to_stop(&interrupt)).map_err(|held_by| {
                let name = &section.name;
                format!("the name {name} is in use by {held_by}; give this plugin another `name`")
            })?;
            if taken {
                if let Some(sign) = &sign {
                    let key = format!("{RECEIVER_PREFIX}{}", sign.plugin);
                    // Our own type has text keys and no way to fail.
                    let text = serde_json::to_string(sign).unwrap_or_default();
                    heartbeats.say(&store, &key, text, lease.life);
                }
                heartbeats.keep_lease(&store, lease);
                adoption.inspect(|adoption| adoption.begin(&section, &interrupt));
            }
            Ok(taken)
        })
    }

    /// A plugin's queue, new for the first plugin that has it.
    fn queue(&mut self, plugin: &PluginConfig) -> Result<Arc<dyn Store>, String> {
        let name = plugin.section.queue.to_lowercase();
        let is_it = |queue: &&Queue| queue.name == name && queue.database == plugin.database;
        if let Some(queue) = self.queues.iter().find(is_it) {
            return Ok(Arc::clone(&queue.store));
        }
        let store = Metered::wrap(self.stores.queue(plugin)?, &self.metrics);
        self.metrics.add_queue(&name, &store);
        self.queues.push(Queue { name, database: plugin.database.clone(), store: Arc::clone(&store) });
        Ok(store)
    }

    fn presence(&self, section: &Section) -> Presence {
        Presence {
            plugin: section.name.clone(),
            host: self.host.id().clone(),
            host_name: self.host.name(),
            process: self.process.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            scope: section.scope.clone(),
            total: self.host.totals(),
            n_slots: self.host.n_slots(),
            said_at: Moment::now(),
            status: "listening".to_owned(),
            pause: None,
            verdicts: Vec::new(),
        }
    }

    fn new_lease(&self, name: &PluginName, life: Duration) -> Lease {
        self.lessee().lease(format!("plugin/{name}"), life)
    }

    fn lessee(&self) -> Lessee {
        Lessee {
            host: self.host.id().clone(),
            process: self.process.clone(),
            predecessor_is_gone: process_is_gone,
        }
    }

    /// Starts the thread that renews claims and leases.
    pub(crate) fn start_heartbeat(&self, events: &Sender<Event>) -> HeartbeatThread {
        let (stopper, stop) = stop();
        let (heartbeats, events) = (self.heartbeats.clone(), events.clone());
        let spawned = Builder::new().name("heartbeat".to_owned()).spawn(move || {
            heartbeats.run(&stop, |overrun| drop(events.send(Event::Overrun(overrun))));
        });
        let thread = spawned.map_err(|error| error!(error:% = error; "cannot start the heartbeat")).ok();
        HeartbeatThread { heartbeats: self.heartbeats.clone(), stopper, thread }
    }

    /// Starts the thread that tells the fleet of this process; none where there is no Redis.
    pub(crate) fn start_document(&self) -> Option<DocumentThread> {
        let started = DocumentThread::start(self.metrics_keys.clone()?, &self.metrics);
        started.map_err(|error| error!(error:% = error; "cannot write the metrics to the database")).ok()?
    }

    /// Starts the threads that take over what the Go program left, once every handler has its name.
    pub(crate) fn start_adoptions(&self, stop: &Stop) -> Vec<JoinHandle<()>> {
        let started = self.adoptions.iter().filter_map(|adoption| {
            let started = Arc::clone(adoption).start(stop.clone());
            started.map_err(|error| error!(error:% = error; "cannot look for what the Go program left")).ok()
        });
        started.collect()
    }

    /// Starts the janitor, once every handler has read what it held. Without handlers there is nothing to do but to say what an earlier
    /// config left on this host.
    pub(crate) fn start_janitor(
        &self,
        stop: Stop,
        events: &Sender<Event>,
    ) -> Result<Option<JoinHandle<()>>, SetupError> {
        if self.handlers.is_empty() && self.host.records().is_ok_and(|records| records.is_empty()) {
            return Ok(None);
        }
        let sites = self
            .handlers
            .iter()
            .map(|(section, store)| (section.clone(), self.services(store, stop.clone(), stop.clone())));
        let lessee = self.lessee();
        let queues: Vec<_> = self.queues.iter().map(|queue| Arc::clone(&queue.store)).collect();
        let is_leased = Box::new(move |name: &PluginName| {
            // It is given back at once.
            let lease = lessee.lease(format!("plugin/{name}"), Duration::from_secs(1));
            queues.iter().any(|store| match store.lease(&lease) {
                // Nobody had the name; nor do we need it.
                Ok(Leased::Ours) => {
                    let _ = store.release(&lease);
                    false
                }
                Ok(Leased::Theirs { .. }) | Err(_) => true,
            })
        });
        let host = (Arc::clone(&self.host) as _, self.limits.clone());
        let janitor = anklet_handler_github::janitor(sites.collect(), host, self.desk.clone(), is_leased)
            .map_err(|error| SetupError { message: "cannot start the janitor", cause: error.to_string() })?;
        crew::start_janitor(janitor, stop, events).map(Some).map_err(no_thread)
    }
}

fn adoptions(stores: &Stores, config: &Config, host: &Arc<MacHost>, desk: &Desk) -> Vec<Arc<Adoption>> {
    let look = config.limits.go_program_look;
    let adoption = |(place, server)| {
        let handlers = config.plugins.iter().filter(|plugin| {
            registry::role(&plugin.section.kind) == Some(Role::Handler)
                && stores.server_of(plugin) == Some(place)
        });
        let handlers = handlers.map(|plugin| &plugin.section);
        Arc::new(Adoption::new(server, handlers, (Arc::clone(host), desk.clone()), look))
    };
    stores.servers().enumerate().map(adoption).collect()
}

fn metrics_server(config: &Config, metrics: &SharedMetrics) -> Result<MetricsServer, SetupError> {
    MetricsServer::start(&config.metrics, Arc::clone(metrics)).map_err(|error| {
        let message = match error {
            MetricsError::PortInUse { .. } => "metrics port already in use",
            MetricsError::Server(_) => "cannot start the metrics server",
        };
        SetupError { message, cause: error.to_string() }
    })
}

fn no_thread(error: std::io::Error) -> SetupError {
    SetupError { message: "cannot start a thread", cause: error.to_string() }
}

fn open_host(config: &Config, folder: PathBuf) -> Result<MacHost, SetupError> {
    let settings = HostSettings {
        folder,
        n_slots: DEFAULT_SLOTS,
        cpu_count: config.host.cpu_count,
        memory_bytes: config.host.memory_bytes,
    };
    MacHost::open(settings).map_err(|error| SetupError {
        message: "unable to use the host's own files",
        cause: error.to_string(),
    })
}

fn new_anka(config: &Config, environment: &Environment, folder: PathBuf) -> Anka {
    let environment =
        environment.for_children().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Anka::new(AnkaSettings {
        environment: environment.collect(),
        timeouts: config.anka_timeouts.clone(),
        limits: config.limits.clone(),
        folder,
        secrets: config.secrets.clone(),
    })
}

/// Waits for a name for as long as its holder's lease can last; false if a stop came first, an error names the holder.
fn take_lease(store: &dyn Store, lease: &Lease, ear: &Ear<'_>) -> Result<bool, String> {
    let gives_up_at = Instant::now() + lease.life;
    let mut is_said = false;
    loop {
        let (what, wait) = match store.lease(lease) {
            Ok(Leased::Ours) => return Ok(true),
            Ok(Leased::Theirs { host, process, left }) => {
                if Instant::now() >= gives_up_at {
                    return Err(format!("the process {process} on the host {host}"));
                }
                (format!("held by the process {process} on the host {host}"), left.min(lease.life / 6))
            }
            Err(error @ (StoreError::Away { .. } | StoreError::Lost | StoreError::Broken { .. })) => {
                (error.to_string(), Duration::from_secs(1))
            }
        };
        if !is_said {
            warn!(name = lease.name.as_str(), error = what.as_str(); "waiting for the plugin's name");
            is_said = true;
        }
        if ear.rest_until(Instant::now() + wait.max(Duration::from_millis(10))) {
            return Ok(false);
        }
    }
}

/// The heartbeat's thread, ended last.
pub(crate) struct HeartbeatThread {
    heartbeats: Heartbeats,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl HeartbeatThread {
    /// Gives all names back, takes all notices down and ends the thread.
    pub(crate) fn end(self) {
        drop(self.stopper);
        if let Some(thread) = self.thread {
            let _ = thread.join();
        }
        self.heartbeats.let_go_all();
    }
}

fn no_database(cause: String) -> SetupError {
    SetupError { message: "unable to access database", cause }
}
