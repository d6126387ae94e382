//! `Stopper` and `Stop`: how one thread tells any number of others to end.
//!
//! The channel carries nothing and only closes, so a stop can be neither missed nor taken by one listener from another.

use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

/// Dropping the one `Stopper` wakes every holder of its [`Stop`]s.
#[derive(Debug)]
pub struct Stopper(#[allow(dead_code, reason = "held only to be dropped")] Sender<Never>);

/// Closes once its [`Stopper`] is dropped, and stays closed.
#[derive(Clone, Debug)]
pub struct Stop(Receiver<Never>);

/// Nothing is ever sent: the channel only closes.
#[derive(Debug)]
pub enum Never {}

/// A fresh pair.
pub fn stop() -> (Stopper, Stop) {
    let (sender, receiver) = bounded(0);
    (Stopper(sender), Stop(receiver))
}

impl Stop {
    /// A channel for `select!` that becomes ready when the stop is asked for.
    pub fn closed(&self) -> &Receiver<Never> {
        &self.0
    }

    /// Whether the stop has been asked for.
    pub fn is_closed(&self) -> bool {
        matches!(self.0.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected))
    }

    /// Waits for the stop until `deadline`; true if it was asked for.
    pub fn wait_until(&self, deadline: Instant) -> bool {
        matches!(self.0.recv_deadline(deadline), Err(RecvTimeoutError::Disconnected))
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
        assert!(!stop.wait_until(Instant::now() + Duration::from_millis(1)));
        drop(stopper);
        assert!(stop.is_closed() && other.is_closed());
        assert!(other.wait_until(Instant::now() + Duration::from_secs(60)));
    }
}
