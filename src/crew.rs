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
