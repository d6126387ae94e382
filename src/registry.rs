//! The only file that names plugins: each kind's constructor and place in the life of the process.

use anklet_github::error::ClientError;
use anklet_handler_github::{Desk, GithubHandler};
use anklet_plugin_api::plugin::Plugin;
use anklet_plugin_api::section::Section;
use anklet_receiver_github::GithubReceiver;

/// What a plugin does in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Takes jobs and runs VMs.
    Handler,
    /// Brings jobs; stays until the last handler has ended.
    Receiver,
}

/// The role of a kind; none if there is no such plugin.
pub(crate) fn role(kind: &str) -> Option<Role> {
    match kind {
        anklet_handler_github::KIND => Some(Role::Handler),
        anklet_receiver_github::KIND => Some(Role::Receiver),
        _ => None,
    }
}

/// The plugin of a section; none if there is no such kind.
pub(crate) fn build(section: Section, desk: &Desk) -> Option<Box<dyn Plugin>> {
    match role(&section.kind)? {
        Role::Handler => Some(Box::new(GithubHandler::new(section, desk.clone()))),
        Role::Receiver => Some(Box::new(GithubReceiver::new(section))),
    }
}

/// Whether GitHub lets a receiver see what its webhook did not deliver; none if the plugin does not ask for that.
pub(crate) fn try_log(section: &Section) -> Option<Result<(), ClientError>> {
    match role(&section.kind)? {
        Role::Handler => None,
        Role::Receiver => anklet_receiver_github::try_log(section),
    }
}
