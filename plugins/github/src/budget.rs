//! What GitHub says of the calls that a credential has left, and how rate limits are told from missing permissions.
//!
//! Every answer passes through here, whatever it says, so that the pause before the last call can be built on one place.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anklet_plugin_api::time::Moment;
use ureq::http::HeaderMap;

use crate::error::RateLimit;
use crate::when::parse_http_date;

/// GitHub asks for at least a minute where it does not say how long.
const UNTOLD_WAIT: Duration = Duration::from_secs(60);

/// The calls left to one credential, by GitHub's own count.
#[derive(Debug, Default)]
pub struct Budget(Mutex<BTreeMap<String, Standing>>);

/// The calls left for one kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Calls an hour.
    pub limit: u64,
    /// Calls left.
    pub remaining: u64,
    /// When the count begins anew, by GitHub's clock.
    pub reset_at: Moment,
}

impl Budget {
    /// What the last answer about `resource` (`core` for nearly all calls) said; none if there was none, or the server has no limits.
    pub fn standing(&self, resource: &str) -> Option<Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(resource).copied()
    }

    pub(crate) fn note(&self, headers: &HeaderMap) {
        let (Some(limit), Some(remaining), Some(reset_at)) = (
            number(headers, "x-ratelimit-limit"),
            number(headers, "x-ratelimit-remaining"),
            reset_at(headers),
        ) else {
            return;
        };
        let resource = text(headers, "x-ratelimit-resource").unwrap_or("core").to_owned();
        let mut standings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        standings.insert(resource, Standing { limit, remaining, reset_at });
    }
}

/// Whether a 403 or 429 is a rate limit, which, and how long to wait. `said` is the answer's message and the address of its explanation.
pub(crate) fn rate_limit(status: u16, headers: &HeaderMap, said: &str) -> Option<(RateLimit, Duration)> {
    if status != 403 && status != 429 {
        return None;
    }
    let said = said.to_ascii_lowercase();
    // By GitHub's own clock where it tells it: this host's may be off.
    let now = text(headers, "date").and_then(parse_http_date).unwrap_or_else(Moment::now);
    let asked = text(headers, "retry-after").and_then(|text| retry_after(text, now));
    let until_reset = (number(headers, "x-ratelimit-remaining") == Some(0))
        .then(|| reset_at(headers).map(|reset_at| reset_at.since(now) + Duration::from_secs(1)))
        .flatten();
    let is_secondary = said.contains("secondary rate limit")
        || said.contains("secondary-rate-limit")
        || said.contains("abuse detection")
        || asked.is_some();
    if is_secondary {
        return Some((RateLimit::Secondary, asked.or(until_reset).unwrap_or(UNTOLD_WAIT)));
    }
    if let Some(wait) = until_reset {
        return Some((RateLimit::Primary, wait));
    }
    let is_said = said.contains("rate limit exceeded");
    (is_said || status == 429)
        .then_some((if is_said { RateLimit::Primary } else { RateLimit::Secondary }, UNTOLD_WAIT))
}

fn retry_after(text: &str, now: Moment) -> Option<Duration> {
    match text.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => parse_http_date(text).map(|at| at.since(now)),
    }
}

fn reset_at(headers: &HeaderMap) -> Option<Moment> {
    let seconds = number(headers, "x-ratelimit-reset")?;
    Some(Moment(i64::try_from(seconds).ok()?.checked_mul(1000)?))
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use ureq::http::{HeaderName, HeaderValue};

    use super::*;

    const NOW: &str = "Thu, 01 Jan 1970 00:16:40 GMT";
    const PERMISSION: &str = "Resource not accessible by personal access token https://docs.example/rest";
    const SECONDARY: &str =
        "You have exceeded a secondary rate limit. https://docs.example/limits#about-secondary-rate-limits";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[track_caller]
    fn check(
        status: u16,
        said: &str,
        pairs: &[(&'static str, &'static str)],
        expected: Option<(RateLimit, u64)>,
    ) {
        let mut headers = headers(pairs);
        headers.insert("date", HeaderValue::from_static(NOW));
        let found = rate_limit(status, &headers, said).map(|(limit, wait)| (limit, wait.as_secs()));
        assert_eq!(found, expected, "{status} {said} {pairs:?}");
    }

    #[test]
    fn limits_are_told_from_permissions() {
        let used_up = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1003")];
        let left = [("x-ratelimit-remaining", "21"), ("x-ratelimit-reset", "1003")];
        check(403, PERMISSION, &left, None);
        check(403, PERMISSION, &[], None);
        check(404, PERMISSION, &used_up, None);
        check(403, PERMISSION, &used_up, Some((RateLimit::Primary, 4)));
        check(429, "", &used_up, Some((RateLimit::Primary, 4)));
        check(403, "API rate limit exceeded for user ID 1.", &[], Some((RateLimit::Primary, 60)));
        check(403, SECONDARY, &left, Some((RateLimit::Secondary, 60)));
        check(403, SECONDARY, &used_up, Some((RateLimit::Secondary, 4)));
        check(429, SECONDARY, &[("retry-after", "30")], Some((RateLimit::Secondary, 30)));
        check(403, "", &[("retry-after", "Thu, 01 Jan 1970 00:17:00 GMT")], Some((RateLimit::Secondary, 20)));
        check(429, "Too many requests", &[], Some((RateLimit::Secondary, 60)));
        check(403, "You have triggered an abuse detection mechanism", &[], Some((RateLimit::Secondary, 60)));
    }

    #[test]
    fn a_moment_passed_is_no_wait() {
        check(
            403,
            "",
            &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "900")],
            Some((RateLimit::Primary, 1)),
        );
    }

    #[test]
    fn the_last_word_on_each_resource_is_kept() {
        let budget = Budget::default();
        let note = |remaining, resource| {
            budget.note(&headers(&[
                ("x-ratelimit-limit", "5000"),
                ("x-ratelimit-remaining", remaining),
                ("x-ratelimit-reset", "1003"),
                ("x-ratelimit-resource", resource),
            ]));
        };
        assert_eq!(budget.standing("core"), None);
        note("10", "core");
        note("9", "core");
        note("3", "search");
        budget.note(&headers(&[("x-ratelimit-remaining", "7")]));
        let standing = Standing { limit: 5000, remaining: 9, reset_at: Moment(1_003_000) };
        assert_eq!(budget.standing("core"), Some(standing));
        assert_eq!(budget.standing("search").map(|standing| standing.remaining), Some(3));
    }
}
