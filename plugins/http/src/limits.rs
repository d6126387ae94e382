//! What clients may cost. One value, so that tests and odd fleets can set each number.

use std::time::Duration;

/// The bounds of one server. `Limits::default()` suits a receiver on the open internet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; beyond that an unfinished or idle one is closed, never a complete request.
    pub n_connections: usize,
    /// Threads that run the handler.
    pub n_workers: usize,
    /// Header lines of one request; more are answered 431.
    pub n_headers: usize,
    /// Bytes of request line and headers; more are answered 431.
    pub n_head_bytes: usize,
    /// Bytes of one body; more are answered 413.
    pub n_body_bytes: usize,
    /// Bytes of all bodies that are unfinished or not yet handled; beyond that 503.
    pub n_held_bytes: usize,
    /// From a request's first byte until it is complete and a worker has it; over it 408 or 503.
    pub request_limit: Duration,
    /// From an answer's first byte until the client has taken it.
    pub answer_limit: Duration,
    /// How long a connection may stay open without a request.
    pub idle_limit: Duration,
    /// How long a connection that is given up is still read from, so that the client sees the answer.
    pub linger_limit: Duration,
    /// Bytes read and thrown away in that time.
    pub n_linger_bytes: usize,
    /// How long requests in work may take to finish after a stop.
    pub stop_limit: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            n_connections: 128,
            n_workers: 4,
            n_headers: 100,
            n_head_bytes: 32 << 10,
            n_body_bytes: 25 << 20,
            n_held_bytes: 32 << 20,
            request_limit: Duration::from_secs(10),
            answer_limit: Duration::from_secs(10),
            idle_limit: Duration::from_secs(60),
            linger_limit: Duration::from_secs(10),
            n_linger_bytes: 64 << 20,
            stop_limit: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// The part of the held bytes that each connection could have at once. A request up to this size is never
    /// refused for lack of room while a larger one is unfinished.
    pub(crate) fn n_fair_bytes(&self) -> usize {
        self.n_held_bytes / self.n_connections.max(1)
    }
}
