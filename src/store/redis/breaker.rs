//! When to ask a server that did not answer again.
//!
//! A verb never waits for the next try: it fails at once until that is due, so that a webhook is refused in time and a stop is never
//! held up. Who asked waits and asks again.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How the pauses between tries grow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    /// The first pause.
    pub(super) delay: Duration,
    /// By how much each is longer than the one before.
    pub(super) factor: f64,
    /// How often they grow; after that they stay as they are.
    pub(super) n_growing: u32,
}

/// No configured growth goes beyond this.
const LONGEST: Duration = Duration::from_secs(60);

impl Backoff {
    /// The pause after so many failures in a row, which count from 1, with `jitter` between 0 and 1 making it up to a quarter shorter.
    fn pause(&self, n_failures: u32, jitter: f64) -> Duration {
        let n_grown = n_failures.min(self.n_growing).saturating_sub(1);
        let grown = self.delay.as_secs_f64() * self.factor.max(1.0).powi(n_grown.cast_signed());
        let longest = LONGEST.max(self.delay);
        let grown = Duration::try_from_secs_f64(grown).map_or(longest, |grown| grown.min(longest));
        grown.mul_f64(1.0 - jitter / 4.0)
    }
}

/// What is known of the server's health.
pub(super) struct Breaker {
    backoff: Backoff,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    n_failures: u32,
    closed_until: Option<Instant>,
    back_at: Option<Instant>,
}

impl Breaker {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { backoff, state: Mutex::default() }
    }

    /// How long nobody should ask; none if now is well.
    pub(super) fn pause(&self) -> Option<Duration> {
        let left = self.lock().closed_until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// How long to wait after so many tries in vain that say nothing of the server itself.
    pub(super) fn pause_after(&self, n_failures: u32) -> Duration {
        if n_failures == 0 { Duration::ZERO } else { self.backoff.pause(n_failures, jitter()) }
    }

    /// The server did not answer; answers whether that is news.
    pub(super) fn failed(&self) -> bool {
        let mut state = self.lock();
        // Threads that asked at the same time fail together: that is one failure.
        if state.closed_until.is_some_and(|until| until > Instant::now()) {
            return false;
        }
        state.n_failures = state.n_failures.saturating_add(1);
        state.closed_until = Some(Instant::now() + self.backoff.pause(state.n_failures, jitter()));
        state.n_failures == 1
    }

    /// The server answered; answers whether it had not before.
    pub(super) fn answered(&self) -> bool {
        let mut state = self.lock();
        state.closed_until = None;
        if std::mem::take(&mut state.n_failures) == 0 {
            return false;
        }
        state.back_at = Some(Instant::now());
        true
    }

    /// How long ago the server came back from an outage; none if it never was away.
    pub(super) fn back_since(&self) -> Option<Duration> {
        self.lock().back_at.map(|back_at| back_at.elapsed())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between 0 and 1, other in each process and at each call, so that a fleet does not come back in one moment.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(Instant::now());
    f64::from(u32::try_from(random & 0xffff).unwrap_or(0)) / f64::from(0xffff_u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(delay_ms: u64, factor: f64, n_growing: u32) -> Backoff {
        Backoff { delay: Duration::from_millis(delay_ms), factor, n_growing }
    }

    #[track_caller]
    fn check(backoff: Backoff, expected_ms: [u64; 5]) {
        for (n, expected) in (1..).zip(expected_ms) {
            assert_eq!(backoff.pause(n, 0.0), Duration::from_millis(expected), "after {n} failures");
            assert_eq!(backoff.pause(n, 1.0), Duration::from_millis(expected).mul_f64(0.75));
        }
    }

    #[test]
    fn pauses_grow_as_often_as_configured() {
        check(backoff(1_000, 2.0, 5), [1_000, 2_000, 4_000, 8_000, 16_000]);
        check(backoff(1_000, 2.0, 2), [1_000, 2_000, 2_000, 2_000, 2_000]);
        check(backoff(500, 1.0, 5), [500; 5]);
        check(backoff(500, 0.1, 5), [500; 5]);
        check(backoff(500, 3.0, 0), [500; 5]);
        check(backoff(20_000, 9.0, 5), [20_000, 60_000, 60_000, 60_000, 60_000]);
        check(backoff(90_000, 2.0, 5), [90_000; 5]);
    }

    #[test]
    fn failures_of_the_same_moment_are_one() {
        let breaker = Breaker::new(backoff(60_000, 2.0, 5));
        assert_eq!(breaker.pause(), None);
        assert!(breaker.failed());
        assert!(!breaker.failed());
        assert!(breaker.pause().is_some_and(|pause| pause <= Duration::from_secs(60)));
        assert_eq!(breaker.back_since(), None);
        assert!(breaker.answered());
        assert!(!breaker.answered());
        assert_eq!(breaker.pause(), None);
        assert!(breaker.back_since().is_some());
    }
}
