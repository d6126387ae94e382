//! Plain keys beside the queues, which share nothing with them but the way to the server: the metrics documents, and what the Go program left.

use std::collections::BTreeSet;
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

    /// The text under a key; none if there is none.
    pub(crate) fn get(&self, key: &str) -> Result<Option<String>, LinkError> {
        let value = self.send(key, cmd("GET").arg(key))?;
        Ok(bytes_of(value).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// How long until a key expires; none if it never does or is not there.
    pub(crate) fn time_left(&self, key: &str) -> Result<Option<Duration>, LinkError> {
        match self.send(key, cmd("PTTL").arg(key))? {
            Value::Int(left) => Ok(u64::try_from(left).ok().map(Duration::from_millis)),
            _ => Ok(None),
        }
    }

    /// Up to a hundred items of a list, those after the first `skip`. None where it is no list.
    pub(crate) fn items(&self, list: &str, skip: usize) -> Result<Vec<Vec<u8>>, LinkError> {
        let items = self.send(list, cmd("LRANGE").arg(list).arg(skip).arg(skip + 99))?;
        let Value::Array(items) = items else { return Ok(Vec::new()) };
        Ok(items.into_iter().filter_map(bytes_of).collect())
    }

    /// Takes one item out of a list, the first of those that are the same; none is well.
    pub(crate) fn take_out(&self, list: &str, item: &[u8]) -> Result<(), LinkError> {
        self.send(list, cmd("LREM").arg(list).arg(1).arg(item)).map(drop)
    }

    /// All keys of this pattern, by a walk through every key of the server: not for every day.
    pub(crate) fn find(&self, pattern: &str) -> Result<BTreeSet<String>, LinkError> {
        let mut found = BTreeSet::new();
        for mut node in self.link.masters()? {
            let mut cursor = "0".to_owned();
            loop {
                let page =
                    node.query(cmd("SCAN").arg(&cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(1_000))?;
                let Value::Array(page) = page else { break };
                let mut page = page.into_iter();
                cursor = page.next().and_then(bytes_of).map_or_else(String::new, text);
                if let Some(Value::Array(keys)) = page.next() {
                    found.extend(keys.into_iter().filter_map(bytes_of).map(text));
                }
                if cursor == "0" || cursor.is_empty() {
                    break;
                }
            }
        }
        Ok(found)
    }

    pub(super) fn send(&self, key: &str, command: &redis::Cmd) -> Result<Value, LinkError> {
        self.link.command(key, command)
    }
}

fn bytes_of(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_default()
}
