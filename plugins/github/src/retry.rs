//! Retries as a value: it is told what went wrong and says how long to wait before the next try, or that it is enough.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use anklet_plugin_api::limits::Limits;

use crate::error::{ClientError, Silence};

/// A 404 that is still there after so many retries is an answer. GitHub gives a few right after something was made.
const MOST_RETRIES_OF_NOT_FOUND: u32 = 2;

/// All tries of a call that its caller can do without.
const BRIEF_TOTAL: Duration = Duration::from_secs(5);

/// The retries of one call. All that this client asks may be asked twice.
#[derive(Debug)]
pub(crate) struct Retry {
    next_wait: Duration,
    most_wait: Duration,
    ends_at: Instant,
    n_not_found: u32,
    was_dropped: bool,
}

impl Retry {
    /// The clock runs from `now` on.
    pub(crate) fn new(limits: &Limits, now: Instant) -> Self {
        Self {
            next_wait: limits.github_retry_first,
            most_wait: limits.github_retry_most,
            ends_at: now + limits.github_retry_total,
            n_not_found: 0,
            was_dropped: false,
        }
    }

    /// For a call that its caller can do without: somebody's job waits meanwhile. A 404 is an answer at once.
    pub(crate) fn brief(limits: &Limits, now: Instant) -> Self {
        let ends_at = now + limits.github_retry_total.min(BRIEF_TOTAL);
        Self { ends_at, n_not_found: MOST_RETRIES_OF_NOT_FOUND, ..Self::new(limits, now) }
    }

    /// The total begins so much later: what was waited for a rate limit does not count.
    pub(crate) fn excuse(&mut self, waited: Duration) {
        self.ends_at += waited;
    }

    /// How long to wait before the next try after this failure; none if there is to be none.
    pub(crate) fn wait_after(&mut self, error: &ClientError, now: Instant) -> Option<Duration> {
        match error {
            // Most likely a connection that was kept for reuse and had ended meanwhile: the next one is new.
            ClientError::NoAnswer { silence: Silence::Dropped, .. } if !self.was_dropped => {
                self.was_dropped = true;
                return Some(Duration::ZERO);
            }
            ClientError::NotFound { .. } => {
                self.n_not_found += 1;
                if self.n_not_found > MOST_RETRIES_OF_NOT_FOUND {
                    return None;
                }
            }
            ClientError::NoAnswer { .. } | ClientError::Server { .. } => {}
            ClientError::Cut { .. }
            | ClientError::Unauthorized { .. }
            | ClientError::Forbidden { .. }
            | ClientError::Limited { .. }
            | ClientError::Conflict { .. }
            | ClientError::Unprocessable { .. }
            | ClientError::Nonsense { .. }
            | ClientError::Setup { .. } => return None,
        }
        let wait = jittered(self.next_wait.min(self.most_wait));
        self.next_wait = (self.next_wait * 2).min(self.most_wait);
        (now + wait < self.ends_at).then_some(wait)
    }
}

/// Between half of `wait` and all of it, so that hosts that failed together do not come back together.
fn jittered(wait: Duration) -> Duration {
    // Every RandomState has keys of its own, which is all the chance that is needed here.
    let chance = RandomState::new().build_hasher().finish() % 1_000;
    wait / 2 + wait / 2 * u32::try_from(chance).unwrap_or(0) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{CallName, RateLimit};

    const CALL: CallName = CallName { method: "GET", path: "/" };

    fn limits() -> Limits {
        Limits {
            github_retry_first: Duration::from_secs(1),
            github_retry_most: Duration::from_secs(5),
            github_retry_total: Duration::from_secs(100),
            ..Limits::default()
        }
    }

    fn server() -> ClientError {
        ClientError::Server { call: CALL, status: 502, message: String::new() }
    }

    fn silence(silence: Silence) -> ClientError {
        ClientError::NoAnswer { call: CALL, silence, why: String::new() }
    }

    fn not_found() -> ClientError {
        ClientError::NotFound { call: CALL, message: String::new(), permission: None }
    }

    #[track_caller]
    fn check_wait(wait: Option<Duration>, seconds: u64) {
        let (least, most) = (Duration::from_millis(seconds * 500), Duration::from_secs(seconds));
        assert!(wait.is_some_and(|wait| wait >= least && wait <= most), "{wait:?} is not about {seconds} s");
    }

    #[test]
    fn waits_grow_up_to_the_longest_and_end_with_the_total() {
        let now = Instant::now();
        let mut retry = Retry::new(&limits(), now);
        for seconds in [1, 2, 4, 5, 5] {
            check_wait(retry.wait_after(&server(), now), seconds);
        }
        check_wait(retry.wait_after(&silence(Silence::TooSlow), now + Duration::from_secs(90)), 5);
        assert_eq!(retry.wait_after(&server(), now + Duration::from_secs(98)), None);
    }

    #[test]
    fn the_first_dropped_connection_costs_no_wait() {
        let now = Instant::now();
        let mut retry = Retry::new(&limits(), now);
        assert_eq!(retry.wait_after(&silence(Silence::Dropped), now), Some(Duration::ZERO));
        check_wait(retry.wait_after(&silence(Silence::Dropped), now), 1);
        check_wait(retry.wait_after(&silence(Silence::Unreachable), now), 2);
    }

    #[test]
    fn a_404_that_stays_is_an_answer() {
        let now = Instant::now();
        let mut retry = Retry::new(&limits(), now);
        check_wait(retry.wait_after(&not_found(), now), 1);
        check_wait(retry.wait_after(&not_found(), now), 2);
        assert_eq!(retry.wait_after(&not_found(), now), None);
    }

    #[test]
    fn a_brief_call_is_given_up_soon() {
        let now = Instant::now();
        let mut retry = Retry::brief(&limits(), now);
        check_wait(retry.wait_after(&server(), now), 1);
        assert_eq!(retry.wait_after(&not_found(), now), None);
        assert_eq!(retry.wait_after(&server(), now + Duration::from_secs(4)), None);
    }

    #[test]
    fn answers_are_not_asked_for_again() {
        let message = String::new;
        for error in [
            ClientError::Cut { call: CALL },
            ClientError::Unauthorized { call: CALL, message: message() },
            ClientError::Forbidden { call: CALL, message: message(), permission: None },
            ClientError::Limited { call: CALL, limit: RateLimit::Primary, wait: None },
            ClientError::Conflict { call: CALL, message: message() },
            ClientError::Unprocessable { call: CALL, message: message() },
            ClientError::Nonsense { call: CALL, what: message() },
            ClientError::Setup { what: message() },
        ] {
            let now = Instant::now();
            assert_eq!(Retry::new(&limits(), now).wait_after(&error, now), None, "{error:?}");
        }
    }
}
