//! What is said of webhooks whose signature does not fit: a line each, but strangers must not be able to fill the disk with them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use log::warn;

use anklet_http::{Head, Response};

use crate::delivery;

/// Lines in one window; more are counted only.
const N_LINES: u64 = 100;

/// Answers and counts unsigned webhooks.
pub(crate) struct Unsigned {
    window_limit: Duration,
    window: Mutex<Window>,
}

struct Window {
    began_at: Instant,
    n_refused: u64,
}

/// What is to be said of one more.
#[derive(Debug, PartialEq, Eq)]
enum Say {
    Line,
    /// A line, and first that so many had none in the window before.
    LineAfter(u64),
    Nothing,
}

impl Unsigned {
    /// A window lasts `window_limit`.
    pub(crate) fn new(window_limit: Duration, now: Instant) -> Self {
        Self { window_limit, window: Mutex::new(Window { began_at: now, n_refused: 0 }) }
    }

    /// The answer to a webhook that does not prove to come from GitHub.
    pub(crate) fn refuse(&self, head: &Head, why: &'static str) -> Response {
        let say = self.count(Instant::now());
        if let Say::LineAfter(n_hidden) = say {
            warn!(n = n_hidden; "more webhooks without a valid signature were refused");
        }
        if say != Say::Nothing {
            let peer = head.peer().ip().to_canonical();
            warn!(deliveryID = delivery::id(head), peer:% = peer, why = why; "webhook without a valid signature refused");
        }
        Response::text(401, "the signature does not fit the body and the receiver's secret\n")
    }

    fn count(&self, now: Instant) -> Say {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(window.began_at) >= self.window_limit {
            let n_hidden = window.n_refused.saturating_sub(N_LINES);
            *window = Window { began_at: now, n_refused: 1 };
            return if n_hidden > 0 { Say::LineAfter(n_hidden) } else { Say::Line };
        }
        window.n_refused += 1;
        if window.n_refused <= N_LINES { Say::Line } else { Say::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_told_of_later() {
        let begun_at = Instant::now();
        let after = |n_secs| begun_at + Duration::from_secs(n_secs);
        let unsigned = Unsigned::new(Duration::from_secs(60), begun_at);
        for _ in 0..N_LINES {
            assert_eq!(unsigned.count(after(1)), Say::Line);
        }
        for _ in 0..7 {
            assert_eq!(unsigned.count(after(59)), Say::Nothing);
        }
        assert_eq!(unsigned.count(after(60)), Say::LineAfter(7));
        assert_eq!(unsigned.count(after(119)), Say::Line);
        assert_eq!(unsigned.count(after(120)), Say::Line);
    }
}
