//! `Stopper` and `Stop`: how one thread tells any number of others to end.
//!
//! The channel carries nothing and only closes, so a stop can be neither missed nor taken by one listener from another.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

/// Dropping the one `Stopper` wakes every holder of its [`Stop`]s.
#[derive(Debug)]
pub struct Stopper {
    closed_at: Arc<OnceLock<Instant>>,
    // Dropped after `Stopper::drop` has noted the time, so that whoever wakes finds it.
    _sender: Sender<Never>,
}

/// Closes once its [`Stopper`] is dropped, and stays closed.
#[derive(Clone, Debug)]
pub struct Stop {
    closed_at: Arc<OnceLock<Instant>>,
    closing: Receiver<Never>,
}

/// Nothing is ever sent: the channel only closes.
#[derive(Debug)]
pub enum Never {}

/// A fresh pair.
pub fn stop() -> (Stopper, Stop) {
    let (sender, closing) = bounded(0);
    let closed_at = Arc::new(OnceLock::new());
    (Stopper { closed_at: Arc::clone(&closed_at), _sender: sender }, Stop { closed_at, closing })
}

impl Drop for Stopper {
    fn drop(&mut self) {
        let _ = self.closed_at.set(Instant::now());
    }
}

impl Stop {
    /// A channel for `select!` that becomes ready when the stop is asked for.
    pub fn closed(&self) -> &Receiver<Never> {
        &self.closing
    }

    /// Whether the stop has been asked for.
    pub fn is_closed(&self) -> bool {
        matches!(self.closing.try_recv(), Err(TryRecvError::Disconnected))
    }

    /// When the stop was asked for, if it was.
    pub fn closed_at(&self) -> Option<Instant> {
        if self.is_closed() { self.closed_at.get().copied() } else { None }
    }

    /// Waits for the stop until `deadline`; true if it was asked for.
    pub fn wait_until(&self, deadline: Instant) -> bool {
        matches!(self.closing.recv_deadline(deadline), Err(RecvTimeoutError::Disconnected))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_holder_hears_the_drop_of_the_stopper() {
        let (stopper, stop) = stop();
        let other = stop.clone();
        assert!(!stop.is_closed());
        assert_eq!(stop.closed_at(), None);
        assert!(!stop.wait_until(Instant::now() + Duration::from_millis(1)));
        drop(stopper);
        assert!(stop.is_closed() && other.is_closed());
        assert!(other.closed_at().is_some());
        assert!(other.wait_until(Instant::now() + Duration::from_secs(60)));
    }
}
