//! How GitHub says that a limit is reached. It stands alone as a table of the forms seen.

use serde_json::json;

use crate::clock::{At, http_date};
use crate::http::Answer;

/// The forms in which GitHub says that a limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitForm {
    /// 403 or 429, nothing remaining, reset in so many seconds.
    Primary {
        /// 403 or 429.
        status: u16,
        /// Seconds to `x-ratelimit-reset`.
        reset_in: i64,
    },
    /// 403 or 429 with `retry-after` in seconds, and some budget remaining.
    SecondaryAfter {
        /// 403 or 429.
        status: u16,
        /// The value of `retry-after`.
        seconds: i64,
    },
    /// 403 with `retry-after` as an HTTP date so many seconds ahead.
    SecondaryDate {
        /// Seconds from now.
        seconds: i64,
    },
    /// 403 with nothing remaining, reset in so many seconds, and no `retry-after`.
    SecondaryReset {
        /// Seconds to `x-ratelimit-reset`.
        reset_in: i64,
    },
    /// 403 that is known only by its message: no `retry-after`, budget remaining.
    SecondaryBare,
}

impl LimitForm {
    pub(super) fn answer(self, now: At) -> Answer {
        let seconds = now.unix_seconds();
        let (status, remaining, reset_in, retry_after) = match self {
            LimitForm::Primary { status, reset_in } => (status, 0, reset_in, None),
            LimitForm::SecondaryAfter { status, seconds: after } => {
                (status, 4821, 3000, Some(after.to_string()))
            }
            LimitForm::SecondaryDate { seconds: after } => {
                (403, 4821, 3000, Some(http_date(seconds + after)))
            }
            LimitForm::SecondaryReset { reset_in } => (403, 0, reset_in, None),
            LimitForm::SecondaryBare => (403, 4821, 3000, None),
        };
        let body = if let LimitForm::Primary { .. } = self {
            json!({
                "message": "API rate limit exceeded for user ID 900001.",
                "documentation_url": "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api",
                "status": status.to_string(),
            })
        } else {
            json!({
                "message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
                "documentation_url": "https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits",
                "status": status.to_string(),
            })
        };
        let answer = Answer::json(status, &body)
            .with_header("X-RateLimit-Limit", 5000)
            .with_header("X-RateLimit-Remaining", remaining)
            .with_header("X-RateLimit-Used", 5000 - remaining)
            .with_header("X-RateLimit-Reset", seconds + reset_in)
            .with_header("X-RateLimit-Resource", "core");
        match retry_after {
            Some(after) => answer.with_header("Retry-After", after),
            None => answer,
        }
    }
}
