//! Who wants to know about each exchange with GitHub, and of waits for its limits: benchmarks take their time off, plugins show them.

use std::time::Duration;

use crate::budget::Standing;
use crate::error::CallName;

/// Is told of every exchange with GitHub, each try on its own.
pub trait CallObserver: Send + Sync {
    /// An exchange is over, with this status, or without an answer. Called on the caller's thread; it must not take long.
    fn called(&self, call: CallName, status: Option<u16>, took: Duration);

    /// What an answer says of the calls that are left.
    fn budget(&self, resource: &str, standing: Standing) {
        let _ = (resource, standing);
    }

    /// A call takes so much longer than one that goes well: a try has failed and the next one comes after a wait, or another thread had to be waited
    /// for. Told before the wait for the next try.
    fn delayed(&self, by: Duration) {
        let _ = by;
    }

    /// A call waits, on this thread, for the end of a rate limit, for so long; told again with the difference if that becomes longer.
    fn paused(&self, by: Duration) {
        let _ = by;
    }

    /// A call that waited goes on, or was cut.
    fn resumed(&self) {}
}
