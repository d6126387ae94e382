//! Builds the services on a thread of their own, so that a signal is heard whatever the start waits for.
//!
//! It stands apart from the daemon because nothing runs yet: a stop has nothing to undo, and ends with success.

use std::thread::Builder;

use crossbeam_channel::{Receiver, bounded, select};
use log::warn;

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::stop::stop;

use crate::config::Config;
use crate::config::env::Environment;
use crate::daemon::Event;
use crate::services::{SetupError, Shared};
use crate::signals::Signal;

/// How a start can end.
pub(crate) enum Start {
    /// Everything that the plugins need is there.
    Ready(Box<Shared>, Box<Config>),
    /// Something is missing.
    Failed(SetupError),
    /// A signal came first.
    Stopped,
    /// A second interrupt came before what was under way had ended.
    Forced,
}

/// Builds what this config's plugins need, unless a signal comes first.
pub(crate) fn start(config: Config, environment: &Environment, events: &Receiver<Event>) -> Start {
    let (stopper, stopping) = stop();
    let mut stopper = Some(stopper);
    let environment = environment.clone();
    let (sender, built) = bounded(1);
    let spawned = Builder::new().name("start".to_owned()).spawn(move || {
        let shared = Shared::build(&config, &environment, &Ear::to_stop(&stopping));
        // Nobody listens any more after a second interrupt.
        let _ = sender.send((shared, config));
    });
    let thread = match spawned {
        Ok(thread) => thread,
        Err(error) => {
            let cause = error.to_string();
            return Start::Failed(SetupError { message: "cannot start a thread", cause });
        }
    };
    loop {
        select! {
            recv(built) -> answer => {
                let ended = thread.join();
                return match (answer, &stopper) {
                    (_, None) => Start::Stopped,
                    (Ok((Ok(shared), config)), Some(_)) => Start::Ready(Box::new(shared), Box::new(config)),
                    (Ok((Err(error), _)), Some(_)) => Start::Failed(error),
                    (Err(_), Some(_)) => {
                        let cause = format!("the thread has ended without a word{}", if ended.is_err() { ": it panicked" } else { "" });
                        Start::Failed(SetupError { message: "cannot start", cause })
                    }
                };
            }
            recv(events) -> event => match event {
                Ok(Event::Signal(Signal::Interrupt)) if stopper.is_none() => return Start::Forced,
                Ok(Event::Signal(signal)) => {
                    if signal == Signal::Interrupt {
                        warn!("best effort graceful shutdown, interrupting the job as soon as possible...");
                    } else {
                        warn!("graceful shutdown, waiting for jobs to finish...");
                    }
                    stopper = None;
                }
                // Nothing runs yet that could send anything else.
                Ok(Event::Ready(_) | Event::PluginEnded(..) | Event::JanitorEnded(_) | Event::Overrun(_)) | Err(_) => {}
            }
        }
    }
}
