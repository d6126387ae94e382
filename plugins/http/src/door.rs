//! The listener and its moods: open, resting because the system has no descriptor for us, closed.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use log::warn;

/// How long the listener rests, unless a connection closes before.
const REST_LIMIT: Duration = Duration::from_secs(1);
/// Clients that left before they were accepted and are stepped over at once.
const N_ABORTED: usize = 16;
/// The least time between two warnings about the same state.
const WARNING_REST: Duration = Duration::from_secs(60);

pub(crate) struct Door {
    /// `None` once the server stops.
    listener: Option<TcpListener>,
    rests_until: Option<Instant>,
    starved: Quiet,
}

impl Door {
    pub(crate) fn new(listener: TcpListener) -> Door {
        Door { listener: Some(listener), rests_until: None, starved: Quiet::default() }
    }

    /// What to poll for new connections; nothing while it rests, since `poll` would report them without end.
    pub(crate) fn listener(&self) -> Option<&TcpListener> {
        self.listener.as_ref().filter(|_| self.rests_until.is_none())
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.rests_until
    }

    pub(crate) fn on_time(&mut self, now: Instant) {
        self.rests_until = self.rests_until.filter(|until| *until > now);
    }

    /// A descriptor has become free.
    pub(crate) fn end_rest(&mut self) {
        self.rests_until = None;
    }

    pub(crate) fn close(&mut self) {
        self.listener = None;
    }

    /// The next new connection, if there is one.
    pub(crate) fn accept(&mut self, now: Instant) -> Option<(TcpStream, SocketAddr)> {
        for _ in 0..N_ABORTED {
            match self.listener()?.accept() {
                Ok(accepted) => return Some(accepted),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if is_about_one_client(&error) => {}
                Err(error) => {
                    if self.starved.allows(now) {
                        warn!(error:% = error; "cannot accept HTTP connections for the moment");
                    }
                    self.rests_until = Some(now + REST_LIMIT);
                }
            }
        }
        None
    }
}

/// Lets one warning through a minute, since strangers decide how often there is reason for one.
#[derive(Default)]
pub(crate) struct Quiet {
    last_at: Option<Instant>,
}

impl Quiet {
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        let is_due = self.last_at.is_none_or(|at| now.saturating_duration_since(at) >= WARNING_REST);
        if is_due {
            self.last_at = Some(now);
        }
        is_due
    }
}

/// A client that left before it was accepted says nothing about the next.
fn is_about_one_client(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}
