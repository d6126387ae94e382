//! The contract between the daemon and a plugin.

use std::sync::Arc;

use thiserror::Error;

use crate::heartbeat::Heartbeats;
use crate::host::Host;
use crate::report::Report;
use crate::stop::Stop;
use crate::store::{Lessee, Store};
use crate::vm::VmHost;

/// A plugin: built from its [`Section`](crate::section::Section), then run on a thread of its own.
pub trait Plugin: Send {
    /// Works until it is told to stop, and comes back only when nothing of its own runs any more. Calls [`Services::ready`] once the
    /// next plugin may start. What goes wrong with single jobs is the plugin's own affair; an error here ends the process.
    fn run(self: Box<Self>, services: Services) -> Result<(), PluginError>;
}

/// What the daemon hands to a plugin.
pub struct Services {
    /// Closes when no new work is to be taken; what is in work is finished.
    pub drain: Stop,
    /// Closes when the plugin must end soon.
    pub interrupt: Stop,
    /// The queue of this plugin's section.
    pub store: Arc<dyn Store>,
    /// The VMs of this host.
    pub vms: Arc<dyn VmHost>,
    /// This host.
    pub host: Arc<dyn Host>,
    /// This process, for leases.
    pub lessee: Lessee,
    /// Keeps claims and leases alive.
    pub heartbeats: Heartbeats,
    /// Takes reports for the metrics.
    pub report: Arc<dyn Report>,
    /// Where readiness is told.
    pub ready: Ready,
}

/// Says once that a plugin is ready.
pub struct Ready(Option<Box<dyn FnOnce() + Send>>);

impl Ready {
    /// `told` is called once.
    pub fn new(told: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(told)))
    }

    /// The plugin is ready; saying it again changes nothing.
    pub fn tell(&mut self) {
        if let Some(told) = self.0.take() {
            told();
        }
    }
}

/// Why a plugin had to end.
#[derive(Debug, Error)]
pub enum PluginError {
    /// Something that only an operator can mend: the message says what, where and what to do.
    #[error("{0}")]
    Setup(String),
}
