//! The one thread that holds every socket: waits for news, moves connections on, makes room, keeps deadlines.

use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use log::{error, warn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::connection::{Connection, Hooks, Next, Standing};
use crate::door::{Door, Quiet};
use crate::refusal::Refusal;
use crate::room;
use crate::server::Shared;
use crate::wake::Ear;
use crate::worker::{Answered, Work};

/// Most bytes taken from one socket at a time.
const N_SCRATCH_BYTES: usize = 64 << 10;
/// Connections accepted between two looks at the others: a flood of new ones must not push out a request that has
/// arrived but was not yet read.
const N_ACCEPTS: usize = 16;
/// How long the loop listens to workers only, when the system cannot poll.
const REST_LIMIT: Duration = Duration::from_secs(1);
/// The longest wait; longer ones do not fit every system's clock.
const POLL_LIMIT: Duration = Duration::from_secs(3600);

/// What the loop is given to live with.
pub(crate) struct Links {
    pub(crate) ear: Ear,
    pub(crate) shared: Arc<Shared>,
    pub(crate) work: Sender<Work>,
    pub(crate) answers: Receiver<Answered>,
}

pub(crate) struct PollLoop {
    door: Door,
    hooks: Hooks,
    links: Links,
    connections: BTreeMap<u64, Connection>,
    n_accepted: u64,
    /// Connections whose request waits for a worker, in the order of arrival.
    waiting: VecDeque<u64>,
    stop_at: Option<Instant>,
    scratch: Vec<u8>,
    crowded: Quiet,
}

/// What `poll` reported.
#[derive(Default)]
struct News {
    is_woken: bool,
    is_acceptable: bool,
    connections: Vec<u64>,
}

impl PollLoop {
    pub(crate) fn new(door: Door, hooks: Hooks, links: Links) -> PollLoop {
        PollLoop {
            door,
            hooks,
            links,
            connections: BTreeMap::new(),
            n_accepted: 0,
            waiting: VecDeque::new(),
            stop_at: None,
            scratch: vec![0; N_SCRATCH_BYTES],
            crowded: Quiet::default(),
        }
    }

    /// Until it is told to stop and the requests in work are answered, or the stop limit is over.
    pub(crate) fn run(mut self) {
        while !self.is_over(Instant::now()) {
            self.publish();
            let news = self.wait(Instant::now());
            self.links.shared.n_wake_ups.fetch_add(1, Ordering::Relaxed);
            let now = Instant::now();
            if news.is_woken {
                self.links.ear.quiet();
                self.take_answers(now);
            }
            for id in news.connections {
                self.on_ready(id, now);
            }
            if news.is_acceptable {
                self.accept(now);
            }
            self.keep_deadlines(now);
            self.hand_over();
        }
    }

    fn is_over(&mut self, now: Instant) -> bool {
        if !self.links.shared.stopping.load(Ordering::SeqCst) {
            return false;
        }
        self.door.close();
        self.hooks.stopping = true;
        let stop_at = *self.stop_at.get_or_insert(now + self.hooks.limits.stop_limit);
        let is_open = |standing| !matches!(standing, Standing::Unfinished { .. } | Standing::Idle { .. });
        self.connections.retain(|_, connection| is_open(connection.standing()));
        let has_complete = self.connections.values().any(|c| c.standing() == Standing::Complete);
        !has_complete || now >= stop_at
    }

    fn publish(&self) {
        let shared = &self.links.shared;
        shared.n_connections.store(self.connections.len(), Ordering::Relaxed);
        shared.n_held_bytes.store(self.n_held_bytes(), Ordering::Relaxed);
    }

    fn n_held_bytes(&self) -> usize {
        self.connections.values().map(Connection::n_held_bytes).sum()
    }

    fn wait(&mut self, now: Instant) -> News {
        let listener = self.door.listener().filter(|_| self.has_room(now));
        let mut polled = vec![PollFd::new(&self.links.ear, PollFlags::IN)];
        polled.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
        let n_others = polled.len();
        let mut ids = Vec::with_capacity(self.connections.len());
        for (id, connection) in &self.connections {
            if let Some(interest) = connection.interest() {
                ids.push(*id);
                polled.push(PollFd::new(connection, interest));
            }
        }
        let limit = self.next_deadline().map(|at| timespec(at.saturating_duration_since(now)));
        let result = poll(&mut polled, limit.as_ref());
        let has_news = |polled: &PollFd<'_>| !polled.revents().is_empty();
        match result {
            Ok(_) => News {
                is_woken: has_news(&polled[0]),
                is_acceptable: n_others == 2 && has_news(&polled[1]),
                connections: ids
                    .into_iter()
                    .zip(&polled[n_others..])
                    .filter(|(_, polled)| has_news(polled))
                    .map(|(id, _)| id)
                    .collect(),
            },
            Err(Errno::INTR) => News::default(),
            Err(error) => {
                error!(error:% = error; "cannot wait for HTTP connections");
                self.rest(now)
            }
        }
    }

    /// The system cannot poll at all, for lack of memory: answers still come, and time passes without a spin.
    fn rest(&mut self, now: Instant) -> News {
        if let Ok(answered) = self.links.answers.recv_timeout(REST_LIMIT) {
            self.on_answer(answered, now);
        }
        News::default()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let connections = self.connections.values().filter_map(|c| c.deadline(&self.hooks.limits));
        connections.chain(self.door.deadline()).chain(self.stop_at).min()
    }

    fn take_answers(&mut self, now: Instant) {
        while let Ok(answered) = self.links.answers.try_recv() {
            self.on_answer(answered, now);
        }
    }

    fn on_answer(&mut self, Answered { connection: id, response }: Answered, now: Instant) {
        if let Some(connection) = self.connections.get_mut(&id) {
            let next = connection.answer(&response, &self.hooks, now);
            self.settle(id, next, now);
        }
    }

    fn on_ready(&mut self, id: u64, now: Instant) {
        // It may be gone by now: closed for another's sake in this turn.
        if let Some(connection) = self.connections.get_mut(&id) {
            let next = connection.on_ready(&mut self.scratch, &self.hooks, now);
            self.settle(id, next, now);
        }
    }

    fn keep_deadlines(&mut self, now: Instant) {
        let limits = &self.hooks.limits;
        let is_over = |connection: &Connection| connection.deadline(limits).is_some_and(|at| at <= now);
        let late: Vec<u64> = self.connections.iter().filter(|(_, c)| is_over(c)).map(|(id, _)| *id).collect();
        for id in late {
            if let Some(connection) = self.connections.get_mut(&id) {
                let next = connection.on_deadline(&self.hooks, now);
                self.settle(id, next, now);
            }
        }
        self.door.on_time(now);
    }

    fn settle(&mut self, id: u64, next: Next, now: Instant) {
        match next {
            Next::Wait => {}
            Next::HandOver => self.waiting.push_back(id),
            Next::Close => return self.close(id),
        }
        self.keep_held_limit(id, now);
    }

    fn close(&mut self, id: u64) {
        self.connections.remove(&id);
        self.door.end_rest();
    }

    /// Refuses bodies until all together are few enough again, after that of `newest` grew.
    fn keep_held_limit(&mut self, newest: u64, now: Instant) {
        let n_fair = self.hooks.limits.n_fair_bytes();
        while self.n_held_bytes() > self.hooks.limits.n_held_bytes {
            let n_newest = self.connections.get(&newest).map_or(0, Connection::n_held_bytes);
            let unfinished = self.connections.iter().map(|(id, c)| (*id, c.n_unfinished_bytes()));
            let id = room::body_to_refuse(unfinished, newest, n_newest, n_fair);
            let Some(connection) = self.connections.get_mut(&id).filter(|c| c.n_held_bytes() > 0) else {
                return;
            };
            if connection.refuse(Refusal::NoRoom, &self.hooks, now) == Next::Close {
                self.close(id);
            }
            if id == newest {
                return;
            }
        }
    }

    /// Gives waiting requests to workers as long as there is room. Only this thread sends, so a channel that is not
    /// full takes one; a full one means that answers, and with them the next turn, will come.
    fn hand_over(&mut self) {
        while !self.links.work.is_full() {
            let Some(id) = self.waiting.pop_front() else { return };
            let Some(request) = self.connections.get_mut(&id).and_then(Connection::take_waiting) else {
                continue;
            };
            if self.links.work.try_send(Work { connection: id, request }).is_err() {
                error!("no worker of the HTTP server is left");
                self.close(id);
            }
        }
    }

    fn has_room(&self, now: Instant) -> bool {
        self.has_place() || self.connection_to_close(now).is_some()
    }

    fn has_place(&self) -> bool {
        self.connections.len() < self.hooks.limits.n_connections.max(1)
    }

    fn connection_to_close(&self, now: Instant) -> Option<u64> {
        room::connection_to_close(self.connections.iter().map(|(id, c)| (*id, c.standing())), now)
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..N_ACCEPTS {
            if !self.has_room(now) {
                return;
            }
            let Some((stream, peer)) = self.door.accept(now) else { return };
            self.add(stream, peer, now);
        }
    }

    fn add(&mut self, stream: TcpStream, peer: SocketAddr, now: Instant) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        // Answers leave in one write; without this the kernel may still hold a part of them back.
        let _ = stream.set_nodelay(true);
        if !self.has_place() {
            if self.crowded.allows(now) {
                warn!(limit = self.hooks.limits.n_connections; "too many HTTP connections; closing the slowest");
            }
            if let Some(id) = self.connection_to_close(now) {
                self.close(id);
            }
        }
        self.n_accepted += 1;
        self.connections.insert(self.n_accepted, Connection::new(stream, peer, now));
        // Its request is often here already; read now, it is not taken for an idle connection.
        self.on_ready(self.n_accepted, now);
    }
}

fn timespec(limit: Duration) -> Timespec {
    let limit = limit.min(POLL_LIMIT);
    Timespec { tv_sec: limit.as_secs() as _, tv_nsec: limit.subsec_nanos() as _ }
}
