//! Who wants to know about each exchange with GitHub: benchmarks take its time off, metrics count it.

use std::time::Duration;

use crate::error::CallName;

/// Is told of every exchange with GitHub, each try on its own.
pub trait CallObserver: Send + Sync {
    /// An exchange is over, with this status, or without an answer. Called on the caller's thread; it must not take long.
    fn called(&self, call: CallName, status: Option<u16>, took: Duration);
}
