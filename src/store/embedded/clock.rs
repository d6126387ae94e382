//! The store's clock: wall time that never runs back, not even over a restart.
//!
//! It goes on by the machine's monotonic time while the wall clock is behind, so that a clock that was once set far ahead by mistake
//! does not stop expiries and held jobs for as long.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anklet_plugin_api::time::Moment;

/// Tells the time instead of the wall clock, for tests.
pub(crate) type Source = Arc<dyn Fn() -> Moment + Send + Sync>;

pub(super) struct Clock {
    source: Option<Source>,
    last: Mutex<Last>,
}

struct Last {
    moment: Moment,
    read_at: Instant,
}

impl Clock {
    /// Starts no earlier than `stored`.
    pub(super) fn new(source: Option<Source>, stored: Moment) -> Self {
        Self { source, last: Mutex::new(Last { moment: stored, read_at: Instant::now() }) }
    }

    pub(super) fn now(&self) -> Moment {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let read_at = Instant::now();
        let (wall, at_least) = match &self.source {
            Some(source) => (source(), last.moment),
            None => (Moment::now(), last.moment.after(read_at.duration_since(last.read_at))),
        };
        if wall >= last.moment {
            *last = Last { moment: wall, read_at };
        } else if at_least > last.moment {
            // Only whole milliseconds count, so that many calls within one do not stop the clock.
            *last = Last { moment: at_least, read_at };
        }
        last.moment
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_never_runs_back() {
        let wall = Arc::new(AtomicI64::new(1_000));
        let source = Arc::clone(&wall);
        let clock = Clock::new(Some(Arc::new(move || Moment(source.load(Ordering::SeqCst)))), Moment(500));
        assert_eq!(clock.now(), Moment(1_000));
        wall.store(10, Ordering::SeqCst);
        assert_eq!(clock.now(), Moment(1_000));
        wall.store(1_001, Ordering::SeqCst);
        assert_eq!(clock.now(), Moment(1_001));
    }

    #[test]
    fn it_goes_on_from_a_stored_time_that_lies_ahead() {
        let ahead = Moment::now().after(Duration::from_secs(3_600));
        let clock = Clock::new(None, ahead);
        let deadline = Instant::now() + Duration::from_secs(10);
        while clock.now() == ahead && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(clock.now() > ahead);
        assert!(clock.now() < ahead.after(Duration::from_secs(60)));
    }
}
