//! The way to the server: connections kept ready, the node of a cluster that a queue lives on, and what is done when one does not answer.
//!
//! A verb may be sent twice, since each can be repeated. That makes one rule enough: a kept connection that broke says nothing of the
//! server, so the verb is sent again on a fresh one; a fresh one that breaks, or an answer that is too late, means that the store is away.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use log::{info, warn};
use redis::{Cmd, Connection, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value, cmd};
use thiserror::Error;

use super::breaker::{Backoff, Breaker};
use super::scripts::Verb;
use super::server::{Node, Server};

/// A connection that was not used for so long may have been cut by something on the way.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
/// Connections kept ready to one node.
const N_IDLE: usize = 8;
/// Redirections that one verb follows.
const N_REDIRECTIONS: u32 = 5;
/// No other node is tried when a verb has taken so long.
const TRY_LIMIT: Duration = Duration::from_secs(2);

/// Why a verb was not answered.
#[derive(Debug, Error)]
pub(crate) enum LinkError {
    /// The pause after a failure is not over.
    #[error("Redis at {node} did not answer; asked again in {left:?}")]
    Paused {
        /// The server.
        node: Node,
        /// Until it is asked again.
        left: Duration,
    },
    /// What the client says.
    #[error("Redis at {node}: {source}")]
    Failed {
        /// The server.
        node: Node,
        /// Its words.
        source: RedisError,
    },
}

impl LinkError {
    /// Whether the server has understood and will not, so that asking again is of no use.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Failed { node, source } if matches!(cure(source, node), Cure::Refused))
    }
}

pub(super) struct Link {
    server: Server,
    breaker: Breaker,
    inside: Mutex<Inside>,
    /// Who wants to know when another server may answer than before.
    interrupted: Mutex<Vec<Sender<()>>>,
}

#[derive(Default)]
struct Inside {
    idle: HashMap<Node, Vec<Idle>>,
    /// Where the queues of a cluster live, as far as that is known.
    homes: HashMap<String, Node>,
    /// The other nodes of a cluster.
    others: Vec<Node>,
}

struct Idle {
    connection: Connection,
    used_at: Instant,
}

/// A node that holds keys, and a connection to it.
pub(super) struct Master {
    node: Node,
    connection: Connection,
}

impl Master {
    pub(super) fn query(&mut self, command: &Cmd) -> Result<Value, LinkError> {
        let answer = command.query(&mut self.connection);
        answer.map_err(|source| LinkError::Failed { node: self.node.clone(), source })
    }
}

/// What to do about an error.
enum Cure {
    /// The queue lives on another node.
    Move(Node),
    /// It is about to: only this once.
    Ask(Node),
    /// The connection is of no use any more.
    Reconnect,
    /// The server cannot answer now; the connection is well.
    Wait,
    /// Nothing: the verb itself is refused.
    Refused,
}

impl Link {
    pub(super) fn new(server: Server, backoff: Backoff) -> Self {
        Self {
            server,
            breaker: Breaker::new(backoff),
            inside: Mutex::default(),
            interrupted: Mutex::default(),
        }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    pub(super) fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// A connection of the caller's own to any node.
    pub(super) fn connect_any(&self) -> Result<Connection, LinkError> {
        let started_at = Instant::now();
        let seed = self.server.seed();
        let mut result = self.connect(&seed);
        for node in self.others() {
            if result.is_ok() || started_at.elapsed() > TRY_LIMIT {
                break;
            }
            result = self.connect(&node);
        }
        result.map_err(|source| LinkError::Failed { node: seed, source })
    }

    /// A connection to each node that holds keys of its own.
    pub(super) fn masters(&self) -> Result<Vec<Master>, LinkError> {
        if let Some(left) = self.breaker.pause() {
            return Err(LinkError::Paused { node: self.server.seed(), left });
        }
        let mut any = self.connect_any()?;
        let seed = self.server.seed();
        if !self.server.is_cluster() {
            return Ok(vec![Master { node: seed, connection: any }]);
        }
        let nodes = masters_of(&mut any, &seed).map_err(|source| LinkError::Failed { node: seed, source })?;
        let connect = |node: Node| match self.connect(&node) {
            Ok(connection) => Ok(Master { node, connection }),
            Err(source) => Err(LinkError::Failed { node, source }),
        };
        nodes.into_iter().map(connect).collect()
    }

    /// Runs a verb on a queue's node, whatever it takes within the deadlines.
    pub(super) fn run(&self, verb: &Verb, queue: &str, args: &[&str]) -> Result<Value, LinkError> {
        self.ask(queue, &|connection, asking| {
            let script = verb.script();
            let mut by = |command: &str, script: &str| {
                let command = cmd(command).arg(script).arg(1).arg(queue).arg(args).clone();
                send(connection, &command, asking)
            };
            match by("EVALSHA", &script.hash) {
                // The server has forgotten it.
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    by("EVAL", &script.text)
                }
                sent => sent,
            }
        })
    }

    /// Runs a command about this key on the key's node; it may be run twice.
    pub(super) fn command(&self, key: &str, command: &Cmd) -> Result<Value, LinkError> {
        self.ask(key, &|connection, asking| send(connection, command, asking))
    }

    /// Asks the node that a queue, or a key, lives on.
    fn ask(
        &self,
        queue: &str,
        send: &dyn Fn(&mut Connection, bool) -> RedisResult<Value>,
    ) -> Result<Value, LinkError> {
        let mut node = self.home(queue);
        if let Some(left) = self.breaker.pause() {
            return Err(LinkError::Paused { node, left });
        }
        let started_at = Instant::now();
        let mut others = self.others();
        let (mut n_redirections, mut asking) = (0, false);
        loop {
            let taken = self.take_idle(&node);
            let is_fresh = taken.is_none();
            let sent = match taken.map_or_else(|| self.connect(&node), Ok) {
                Ok(mut connection) => {
                    let sent = send(&mut connection, std::mem::take(&mut asking));
                    self.keep(&node, connection, sent.as_ref().err());
                    sent
                }
                Err(error) => Err(error),
            };
            let error = match sent {
                Ok(value) => {
                    self.settle_home(queue, &node);
                    self.answered();
                    return Ok(value);
                }
                Err(error) => error,
            };
            let can_go_on = n_redirections < N_REDIRECTIONS;
            match cure(&error, &node) {
                Cure::Move(to) if can_go_on => {
                    n_redirections += 1;
                    self.move_home(queue, &to);
                    node = to;
                    continue;
                }
                Cure::Ask(to) if can_go_on => {
                    n_redirections += 1;
                    (node, asking) = (to, true);
                    continue;
                }
                Cure::Reconnect if !is_fresh && !error.is_timeout() => {
                    self.lock().idle.remove(&node);
                    continue;
                }
                Cure::Reconnect => {
                    self.lock().homes.remove(queue);
                    others.retain(|other| *other != node);
                    if started_at.elapsed() < TRY_LIMIT
                        && let Some(other) = others.pop()
                    {
                        self.interrupted();
                        node = other;
                        continue;
                    }
                    self.failed(&error);
                }
                Cure::Move(_) | Cure::Ask(_) | Cure::Wait => self.failed(&error),
                Cure::Refused => {}
            }
            return Err(LinkError::Failed { node, source: error });
        }
    }

    /// Counts an answer; the first after an outage is told.
    pub(super) fn answered(&self) {
        if self.breaker.answered() {
            info!("the database answers again");
            self.interrupted();
        }
    }

    /// Counts a failure; the first is told.
    pub(super) fn failed(&self, error: &RedisError) {
        if self.breaker.failed() {
            self.lock().idle.clear();
            warn!(error:% = error; "unable to access database");
        }
    }

    /// Becomes ready when another server may answer than before, or the same after a restart.
    pub(super) fn interruptions(&self) -> Receiver<()> {
        let (sender, receiver) = bounded(1);
        self.interrupted.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Another server may answer than before.
    pub(super) fn interrupted(&self) {
        let mut interrupted = self.interrupted.lock().unwrap_or_else(PoisonError::into_inner);
        // A full channel says it already.
        interrupted.retain(|sender| !matches!(sender.try_send(()), Err(TrySendError::Disconnected(()))));
    }

    fn connect(&self, node: &Node) -> RedisResult<Connection> {
        let mut connection = self.server.connect(node)?;
        if self.server.is_cluster() && self.others().is_empty() {
            // Of use only when this node goes; a user who may not ask does without.
            let others = nodes_of(&mut connection, node).unwrap_or_default();
            self.lock().others = others;
        }
        Ok(connection)
    }

    #[cfg(test)]
    pub(super) fn home_of(&self, queue: &str) -> Node {
        self.home(queue)
    }

    fn home(&self, queue: &str) -> Node {
        self.lock().homes.get(queue).cloned().unwrap_or_else(|| self.server.seed())
    }

    fn others(&self) -> Vec<Node> {
        self.lock().others.clone()
    }

    fn move_home(&self, queue: &str, to: &Node) {
        self.lock().homes.insert(queue.to_owned(), to.clone());
    }

    /// Remembers who answered, so that the next verb does not go to one who cannot first.
    fn settle_home(&self, queue: &str, node: &Node) {
        if self.server.is_cluster() && self.home(queue) != *node {
            self.move_home(queue, node);
        }
    }

    fn take_idle(&self, node: &Node) -> Option<Connection> {
        let mut inside = self.lock();
        let idle = inside.idle.get_mut(node)?;
        idle.retain(|idle| idle.used_at.elapsed() < IDLE_LIMIT);
        idle.pop().map(|idle| idle.connection)
    }

    /// Keeps a connection for the next verb, unless the error says that it is broken.
    fn keep(&self, node: &Node, connection: Connection, error: Option<&RedisError>) {
        if error.is_some_and(|error| matches!(cure(error, node), Cure::Reconnect)) {
            return;
        }
        let mut inside = self.lock();
        let idle = inside.idle.entry(node.clone()).or_default();
        if idle.len() < N_IDLE {
            idle.push(Idle { connection, used_at: Instant::now() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends one command; `asking` says that the node only holds the key for the moment of a move.
fn send(connection: &mut Connection, command: &Cmd, asking: bool) -> RedisResult<Value> {
    if asking {
        cmd("ASKING").exec(connection)?;
    }
    command.query(connection)
}

fn cure(error: &RedisError, node: &Node) -> Cure {
    let redirection = || error.redirect_node().and_then(|(address, _slot)| node_of(address, node));
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::Moved) => redirection().map_or(Cure::Wait, Cure::Move),
        ErrorKind::Server(ServerErrorKind::Ask) => redirection().map_or(Cure::Wait, Cure::Ask),
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown,
        ) => Cure::Wait,
        // It was made a replica: the name may lead elsewhere now.
        ErrorKind::Server(ServerErrorKind::ReadOnly) => Cure::Reconnect,
        ErrorKind::Server(_) | ErrorKind::Extension => Cure::Refused,
        _ => Cure::Reconnect,
    }
}

/// The node at `HOST:PORT`, said by `asked`: an empty host is the one that was asked.
fn node_of(address: &str, asked: &Node) -> Option<Node> {
    let (host, port) = address.rsplit_once(':')?;
    let host = if host.is_empty() { &asked.host } else { host.trim_matches(['[', ']']) };
    Some(Node { host: host.to_owned(), port: port.parse().ok()? })
}

/// The nodes of a cluster other than `this`, masters and replicas.
fn nodes_of(connection: &mut Connection, this: &Node) -> RedisResult<Vec<Node>> {
    let ranges = ranges_of(connection, this)?;
    Ok(distinct(ranges.into_iter().flatten().filter(|node| node != this)))
}

/// The masters of a cluster, as `asked` knows them.
fn masters_of(connection: &mut Connection, asked: &Node) -> RedisResult<Vec<Node>> {
    let ranges = ranges_of(connection, asked)?;
    Ok(distinct(ranges.into_iter().filter_map(|range| range.into_iter().next())))
}

/// For each range of slots its nodes, the master first.
fn ranges_of(connection: &mut Connection, asked: &Node) -> RedisResult<Vec<Vec<Node>>> {
    let slots: Vec<Vec<Value>> = cmd("CLUSTER").arg("SLOTS").query(connection)?;
    let node = |entry: Value| {
        let Value::Array(entry) = entry else { return None };
        let [host, port, ..] = &entry[..] else { return None };
        let host = redis::from_redis_value_ref::<Option<String>>(host).ok()?.unwrap_or_default();
        // A node that does not know its own name is the one that was asked.
        let host = if host.is_empty() { asked.host.clone() } else { host };
        Some(Node { host, port: redis::from_redis_value_ref(port).ok()? })
    };
    Ok(slots.into_iter().map(|range| range.into_iter().skip(2).filter_map(node).collect()).collect())
}

fn distinct(nodes: impl Iterator<Item = Node>) -> Vec<Node> {
    let mut all = Vec::new();
    for node in nodes {
        if !all.contains(&node) {
            all.push(node);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: Option<(&str, u16)>) {
        let asked = Node { host: "asked".to_owned(), port: 1 };
        let expected = expected.map(|(host, port)| Node { host: host.to_owned(), port });
        assert_eq!(node_of(address, &asked), expected, "{address}");
    }

    #[test]
    fn redirections_name_a_node() {
        check("10.0.0.1:6379", Some(("10.0.0.1", 6379)));
        check("redis.local:6379", Some(("redis.local", 6379)));
        check(":6379", Some(("asked", 6379)));
        check("[::1]:6379", Some(("::1", 6379)));
        check("::1:6379", Some(("::1", 6379)));
        check("10.0.0.1", None);
        check("10.0.0.1:x", None);
    }
}
