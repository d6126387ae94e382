//! A plugin's thread and the handle that owns it. Its end is told from `Drop`, so a panic is news, not silence.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::Sender;

use anklet_handler_github::Janitor;
use anklet_plugin_api::log_context::{self, Attributes, Context};
use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::plugin::{Plugin, Ready, Services};
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::Section;
use anklet_plugin_api::stop::Stop;

use crate::daemon::Event;
use crate::registry::Role;

/// A running plugin.
pub(crate) struct Hand {
    pub(crate) name: PluginName,
    pub(crate) role: Role,
    pub(crate) is_ready: bool,
    thread: JoinHandle<()>,
}

/// How a plugin's thread ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// As it should.
    Well,
    /// It could not go on.
    Failed(String),
    /// A bug of ours.
    Panicked(String),
}

/// What runs before the plugin itself: waits for its name, and says why it cannot have it.
pub(crate) type Lease = Box<dyn FnOnce() -> Result<bool, String> + Send>;

/// Starts a plugin on a thread of its own. The plugin runs once `lease` has the name; if that ends with false a stop came first.
pub(crate) fn start(
    plugin: Box<dyn Plugin>,
    role: Role,
    section: &Section,
    mut services: Services,
    lease: Lease,
    events: &Sender<Event>,
) -> io::Result<Hand> {
    let name = section.name.clone();
    let context = Context::new(attributes(section));
    let ended = name.clone();
    let notice = EndNotice::new(events, move |how| Event::PluginEnded(ended, how));
    let ready = (name.clone(), events.clone());
    // The daemon may have stopped listening; that is its own affair.
    services.ready = Ready::new(move || drop(ready.1.send(Event::Ready(ready.0))));
    let kind = match role {
        Role::Handler => "handler",
        Role::Receiver => "receiver",
    };
    let thread = Builder::new().name(format!("{kind}/{name}")).spawn(move || {
        let mut notice = notice;
        let _context = context.enter();
        // Unwinding leaves the services behind; whatever a panic broke in them is not used again, since the process stops.
        let result = catch_unwind(AssertUnwindSafe(|| match lease() {
            Ok(true) => plugin.run(services).map_err(|error| error.to_string()),
            Ok(false) => Ok(()),
            Err(why) => Err(why),
        }));
        notice.how = Some(match result {
            Ok(Ok(())) => Ended::Well,
            Ok(Err(why)) => Ended::Failed(why),
            Err(panic) => Ended::Panicked(panic_text(&*panic)),
        });
    })?;
    Ok(Hand { name, role, is_ready: false, thread })
}

impl Hand {
    /// Waits for the thread; it has said that it ends.
    pub(crate) fn join(self) {
        // A panic has been told by the notice.
        let _ = self.thread.join();
    }
}

/// Starts the janitor's thread; it works until `stop` closes.
pub(crate) fn start_janitor(
    janitor: Janitor,
    stop: Stop,
    events: &Sender<Event>,
) -> io::Result<JoinHandle<()>> {
    let context = log_context::inherit();
    let notice = EndNotice::new(events, Event::JanitorEnded);
    Builder::new().name("janitor".to_owned()).spawn(move || {
        let mut notice = notice;
        let _context = context.enter();
        let result = catch_unwind(AssertUnwindSafe(|| janitor.run(&stop)));
        notice.how = Some(match result {
            Ok(()) => Ended::Well,
            Err(panic) => Ended::Panicked(panic_text(&*panic)),
        });
    })
}

/// Tells of a thread's end when it is dropped.
struct EndNotice {
    how: Option<Ended>,
    tell: Option<Box<dyn FnOnce(Ended) -> Event + Send>>,
    events: Sender<Event>,
}

impl EndNotice {
    fn new(events: &Sender<Event>, tell: impl FnOnce(Ended) -> Event + Send + 'static) -> Self {
        Self { how: None, tell: Some(Box::new(tell)), events: events.clone() }
    }
}

impl Drop for EndNotice {
    fn drop(&mut self) {
        let how =
            self.how.take().unwrap_or_else(|| Ended::Panicked("the thread ended without a word".to_owned()));
        if let Some(tell) = self.tell.take() {
            let _ = self.events.send(tell(how));
        }
    }
}

fn attributes(section: &Section) -> Attributes {
    let (owner, repo, enterprise) = match &section.scope {
        Scope::Repository { owner, repo } => (Some(owner), Some(repo), None),
        Scope::Organization { owner } => (Some(owner), None, None),
        Scope::Enterprise { slug } => (None, None, Some(slug)),
    };
    Attributes {
        name: section.name.to_string(),
        plugin: section.kind.clone(),
        owner: owner.cloned(),
        repo: repo.cloned(),
        enterprise: enterprise.cloned(),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::Duration;

    use anklet_plugin_api::fake::host::{FakeHost, lessee};
    use anklet_plugin_api::fake::memory::MemoryStore;
    use anklet_plugin_api::fake::report::QuietReport;
    use anklet_plugin_api::fake::vm_host::ScriptedVmHost;
    use anklet_plugin_api::heartbeat::Heartbeats;
    use anklet_plugin_api::limits::Limits;
    use anklet_plugin_api::plugin::PluginError;
    use anklet_plugin_api::section::{GithubAccess, RegistrationMode};
    use anklet_plugin_api::stop::stop;
    use crossbeam_channel::unbounded;

    use super::*;

    /// Ready, then ends in this way.
    struct Actor(fn() -> Result<(), PluginError>);

    impl Plugin for Actor {
        fn run(self: Box<Self>, mut services: Services) -> Result<(), PluginError> {
            services.ready.tell();
            (self.0)()
        }
    }

    fn section() -> Section {
        Section {
            name: PluginName::new("ACTOR"),
            kind: "github".to_owned(),
            queue: "acme".to_owned(),
            scope: Scope::Organization { owner: "acme".to_owned() },
            github: GithubAccess {
                web_url: String::new(),
                api_url: String::new(),
                ca_file: None,
                token: None,
                token_key: "token",
                app: None,
            },
            registry_url: None,
            skip_pull: false,
            runner_group: None,
            sleep_interval: Duration::ZERO,
            registration_timeout: Duration::ZERO,
            template_disk_buffer: 0.0,
            job_retry_attempts: 0,
            skip_cpu_and_memory_resource_checks: false,
            mounts: Vec::new(),
            registration_mode: RegistrationMode::Token,
            explain_cancellations: false,
            port: None,
            secret: None,
            hook_id: None,
            skip_redeliver: false,
            redeliver_hours: 0,
            claim_life: Duration::ZERO,
            limits: Limits::default(),
            plugins_path: PathBuf::new(),
            work_dir: PathBuf::new(),
        }
    }

    /// What the daemon hears of a plugin that ends like this.
    fn ends(lease: Lease, act: fn() -> Result<(), PluginError>) -> (bool, String) {
        let (events, inbox) = unbounded();
        let (_stopper, never) = stop();
        let services = Services {
            drain: never.clone(),
            interrupt: never,
            store: Arc::new(MemoryStore::default()),
            vms: Arc::new(ScriptedVmHost::default()),
            host: Arc::new(FakeHost::new("host", 2)),
            lessee: lessee(),
            heartbeats: Heartbeats::default(),
            report: Arc::new(QuietReport),
            ready: Ready::new(|| {}),
        };
        let hand = start(Box::new(Actor(act)), Role::Handler, &section(), services, lease, &events).unwrap();
        let mut was_ready = false;
        loop {
            match inbox.recv_timeout(Duration::from_secs(30)).unwrap() {
                Event::Ready(_) => was_ready = true,
                Event::PluginEnded(name, how) => {
                    assert_eq!(name, hand.name);
                    hand.join();
                    return (was_ready, format!("{how:?}"));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_daemon_hears_how_a_plugin_ended_also_by_a_panic() {
        let leased = || Box::new(|| Ok(true)) as Lease;
        assert_eq!(ends(leased(), || Ok(())), (true, "Well".to_owned()));
        let failed = ends(leased(), || Err(PluginError::Setup("port 1 is taken".to_owned())));
        assert_eq!(failed, (true, "Failed(\"port 1 is taken\")".to_owned()));
        assert_eq!(
            ends(leased(), || panic!("a bug of ours")),
            (true, "Panicked(\"a bug of ours\")".to_owned())
        );
        let not_leased = ends(Box::new(|| Err("the name is taken".to_owned())), || Ok(()));
        assert_eq!(not_leased, (false, "Failed(\"the name is taken\")".to_owned()));
        assert_eq!(ends(Box::new(|| Ok(false)), || panic!("never run")), (false, "Well".to_owned()));
    }
}
