//! Plain keys beside the queues, which share nothing with them but the way to the server: the metrics documents.

use std::sync::Arc;
use std::time::Duration;

use redis::{Value, cmd};

use super::args::millis;
use super::link::{Link, LinkError};
use super::{Options, new_link};

/// The keys of a server, or of a cluster. Each call may be repeated, and has happened or not when it fails.
#[derive(Clone)]
pub(crate) struct Keys {
    link: Arc<Link>,
}

impl Keys {
    /// Of a server that has no queues of ours. It need not answer yet.
    pub(crate) fn open(options: &Options) -> Self {
        Self::on(&Arc::new(new_link(options)))
    }

    pub(super) fn on(link: &Arc<Link>) -> Self {
        Self { link: Arc::clone(link) }
    }

    /// Writes a text that expires by itself.
    pub(crate) fn set(&self, key: &str, text: &str, life: Duration) -> Result<(), LinkError> {
        self.send(key, cmd("SET").arg(key).arg(text).arg("PX").arg(millis(life))).map(drop)
    }

    /// Removes a key; none is well.
    pub(crate) fn remove(&self, key: &str) -> Result<(), LinkError> {
        self.send(key, cmd("DEL").arg(key)).map(drop)
    }

    fn send(&self, key: &str, command: &redis::Cmd) -> Result<Value, LinkError> {
        self.link.command(key, command)
    }
}
