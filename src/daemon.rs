//! The daemon: builds the services, starts the plugins one after the other, and runs the one loop that everything reports to.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, never, select, unbounded};
use log::{error, info, warn};

use anklet_plugin_api::heartbeat::Overrun;
use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::stop::{Stop, Stopper, stop};

use crate::aggregator;
use crate::config::Config;
use crate::config::env::Environment;
use crate::crew::{Ended, Hand};
use crate::registry::Role;
use crate::services::Shared;
use crate::signals::{self, Signal};
use crate::startup::{self, Start};

/// Everything that can wake the daemon.
#[derive(Debug)]
pub(crate) enum Event {
    /// The operator wants something.
    Signal(Signal),
    /// A plugin is ready: the next may start.
    Ready(PluginName),
    /// A plugin's thread has ended.
    PluginEnded(PluginName, Ended),
    /// The janitor's thread has ended.
    JanitorEnded(Ended),
    /// A handler's step hangs.
    Overrun(Overrun),
}

/// How long plugins may take to end after a stop, beyond what undoing may take.
const STOP_SLACK: Duration = Duration::from_secs(10);

/// Runs the config's plugins to their end.
pub(crate) fn run(config: Config, environment: &Environment) -> ExitCode {
    let (sender, events) = unbounded();
    if let Err(error) = signals::listen(sender.clone()) {
        error!(error:% = error; "cannot listen to signals");
        return ExitCode::FAILURE;
    }
    if config.metrics.aggregator {
        return aggregator::run(&config, &events);
    }
    if config.plugins.is_empty() {
        warn!("no plugins are configured; nothing to do");
        info!("anklet (and all plugins) shut down");
        return ExitCode::SUCCESS;
    }
    match startup::start(config, environment, &events) {
        Start::Ready(shared, config) => Daemon::new(*shared, *config, sender, events).run(),
        Start::Failed(error) => {
            error!(error:% = error.cause; "{}", error.message);
            ExitCode::FAILURE
        }
        Start::Stopped => {
            info!("anklet (and all plugins) shut down");
            ExitCode::SUCCESS
        }
        Start::Forced => forced(),
    }
}

fn forced() -> ExitCode {
    warn!("forceful shutdown after second interrupt; the next start cleans up");
    ExitCode::FAILURE
}

struct Daemon {
    shared: Shared,
    sender: Sender<Event>,
    events: Receiver<Event>,
    waiting: VecDeque<crate::config::PluginConfig>,
    hands: Vec<Hand>,
    janitor: Option<(Option<Stopper>, JoinHandle<()>)>,
    adoptions: Option<Vec<JoinHandle<()>>>,
    drain: (Option<Stopper>, Stop),
    interrupt: (Option<Stopper>, Stop),
    must_end_at: Option<Instant>,
    is_failed: bool,
}

impl Daemon {
    fn new(shared: Shared, config: Config, sender: Sender<Event>, events: Receiver<Event>) -> Self {
        let (drain, interrupt) = (stop(), stop());
        Self {
            shared,
            sender,
            events,
            waiting: config.plugins.into(),
            hands: Vec::new(),
            janitor: None,
            adoptions: None,
            drain: (Some(drain.0), drain.1),
            interrupt: (Some(interrupt.0), interrupt.1),
            must_end_at: None,
            is_failed: false,
        }
    }

    fn run(mut self) -> ExitCode {
        let heartbeat = self.shared.start_heartbeat(&self.sender);
        let document = self.shared.start_document();
        self.start_next();
        loop {
            if self.hands.is_empty() && (self.waiting.is_empty() || self.is_stopping()) {
                match &mut self.janitor {
                    Some((stopper, _)) => *stopper = None,
                    None => break,
                }
            }
            let limit = self.must_end_at.map_or_else(never, at);
            select! {
                recv(self.events) -> event => match event {
                    Ok(event) => if let Some(code) = self.on_event(event) { return code },
                    Err(_) => break,
                },
                recv(limit) -> _ => {
                    error!("plugins do not end; leaving them behind");
                    return ExitCode::FAILURE;
                }
            }
        }
        self.interrupt.0 = None;
        for adoption in self.adoptions.take().into_iter().flatten() {
            // A panic there has been told by the panic hook.
            let _ = adoption.join();
        }
        if let Some(document) = document {
            document.end();
        }
        heartbeat.end();
        info!("anklet (and all plugins) shut down");
        if self.is_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    fn on_event(&mut self, event: Event) -> Option<ExitCode> {
        match event {
            Event::Signal(Signal::Interrupt) if self.is_interrupted() => {
                return Some(forced());
            }
            Event::Signal(Signal::Interrupt) => {
                warn!("best effort graceful shutdown, interrupting the job as soon as possible...");
                self.interrupt();
            }
            Event::Signal(Signal::Drain) => {
                warn!("graceful shutdown, waiting for jobs to finish...");
                self.drain.0 = None;
                self.end_receivers_after_handlers();
            }
            Event::Ready(name) => {
                if let Some(hand) = self.hands.iter_mut().find(|hand| hand.name == name) {
                    hand.is_ready = true;
                }
                self.start_next();
            }
            Event::PluginEnded(name, how) => self.on_ended(&name, &how),
            Event::JanitorEnded(how) => self.on_janitor_ended(&how),
            Event::Overrun(Overrun { handler }) => {
                error!(plugin:% = handler; "a step of this handler hangs beyond its limit; stopping");
                self.fail();
            }
        }
        None
    }

    /// Starts the next plugin, unless a stop was asked for or one is still starting.
    fn start_next(&mut self) {
        if self.is_stopping() || self.hands.iter().any(|hand| !hand.is_ready) {
            return;
        }
        let Some(plugin) = self.waiting.pop_front() else {
            self.start_janitor();
            self.adoptions.get_or_insert_with(|| self.shared.start_adoptions(&self.interrupt.1));
            return;
        };
        let name = plugin.section.name.clone();
        let stops = (self.drain.1.clone(), self.interrupt.1.clone());
        match self.shared.start_plugin(plugin, stops, &self.sender) {
            Ok(hand) => self.hands.push(hand),
            Err(error) => {
                error!(plugin:% = name, error:% = error.cause; "{}", error.message);
                self.fail();
            }
        }
    }

    fn start_janitor(&mut self) {
        if self.janitor.is_some() {
            return;
        }
        let (stopper, stop) = stop();
        match self.shared.start_janitor(stop, &self.sender) {
            Ok(Some(thread)) => self.janitor = Some((Some(stopper), thread)),
            Ok(None) => {}
            Err(error) => {
                error!(error:% = error.cause; "{}", error.message);
                self.fail();
            }
        }
    }

    fn on_ended(&mut self, name: &PluginName, how: &Ended) {
        if let Some(place) = self.hands.iter().position(|hand| hand.name == *name) {
            self.hands.remove(place).join();
        }
        match how {
            Ended::Well => info!(plugin:% = name; "anklet plugin shut down"),
            Ended::Failed(why) | Ended::Panicked(why) => {
                error!(plugin:% = name, error = why.as_str(); "error running plugin");
                self.fail();
            }
        }
        self.end_receivers_after_handlers();
    }

    /// It ends by itself only by a bug of ours; without it, failed deletions would be tried by nobody.
    fn on_janitor_ended(&mut self, how: &Ended) {
        if let Some((_, thread)) = self.janitor.take() {
            // A panic has been told by the notice.
            let _ = thread.join();
        }
        if let Ended::Failed(why) | Ended::Panicked(why) = how {
            error!(error = why.as_str(); "error running the janitor");
            self.fail();
        }
    }

    /// A running job ends by webhook, so a drained process keeps its receivers until the last handler has ended.
    fn end_receivers_after_handlers(&mut self) {
        if self.drain.0.is_none() && !self.hands.iter().any(|hand| hand.role == Role::Handler) {
            self.interrupt.0 = None;
        }
    }

    fn interrupt(&mut self) {
        self.must_end_at = Some(Instant::now() + self.shared.undo_limit() + STOP_SLACK);
        self.drain.0 = None;
        self.interrupt.0 = None;
        // It has nothing to undo: its records stay for the next start.
        if let Some((stopper, _)) = &mut self.janitor {
            *stopper = None;
        }
    }

    fn fail(&mut self) {
        self.is_failed = true;
        if !self.is_interrupted() {
            self.interrupt();
        }
    }

    fn is_stopping(&self) -> bool {
        self.drain.0.is_none()
    }

    fn is_interrupted(&self) -> bool {
        self.must_end_at.is_some()
    }
}
