//! What an answer's headers say of the calls that a credential has left, and how rate limits are told from missing permissions.
//!
//! Only reading is done here; what follows from it is for the `ledger`.

use std::time::Duration;

use anklet_plugin_api::time::Moment;
use ureq::http::HeaderMap;

use crate::error::RateLimit;
use crate::when::parse_http_date;

/// GitHub counts by the hour. Whatever a server or something on the way to it says, after so long it is asked again.
const LONGEST_WAIT: Duration = Duration::from_secs(7_200);

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

/// The resource that an answer is about (`core` for nearly all calls), what is left of it, and how long until the count begins anew; none if the server
/// has no limits.
pub(crate) fn standing(headers: &HeaderMap) -> Option<(String, Standing, Duration)> {
    let resource = text(headers, "x-ratelimit-resource").unwrap_or("core").to_owned();
    let reset_at = reset_at(headers)?;
    let standing = Standing {
        limit: number(headers, "x-ratelimit-limit")?,
        remaining: number(headers, "x-ratelimit-remaining")?,
        reset_at,
    };
    Some((resource, standing, reset_at.since(now(headers)).min(LONGEST_WAIT)))
}

/// Whether a 403 or 429 is a rate limit, which, and how long to wait, if that is said. `said` is the answer's message and the address of its explanation.
pub(crate) fn rate_limit(
    status: u16,
    headers: &HeaderMap,
    said: &str,
) -> Option<(RateLimit, Option<Duration>)> {
    if status != 403 && status != 429 {
        return None;
    }
    let said = said.to_ascii_lowercase();
    let now = now(headers);
    let asked = text(headers, "retry-after").and_then(|text| retry_after(text, now));
    let until_reset = (number(headers, "x-ratelimit-remaining") == Some(0))
        .then(|| {
            reset_at(headers).map(|reset_at| reset_at.since(now).min(LONGEST_WAIT) + Duration::from_secs(1))
        })
        .flatten();
    let is_secondary = said.contains("secondary rate limit")
        || said.contains("secondary-rate-limit")
        || said.contains("abuse detection")
        || asked.is_some();
    if is_secondary {
        return Some((RateLimit::Secondary, asked.or(until_reset)));
    }
    if let Some(wait) = until_reset {
        return Some((RateLimit::Primary, Some(wait)));
    }
    let is_said = said.contains("rate limit exceeded");
    (is_said || status == 429)
        .then_some((if is_said { RateLimit::Primary } else { RateLimit::Secondary }, None))
}

fn retry_after(text: &str, now: Moment) -> Option<Duration> {
    let wait = match text.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => parse_http_date(text).map(|at| at.since(now)),
    };
    wait.map(|wait| wait.min(LONGEST_WAIT))
}

/// By GitHub's own clock where it tells it: this host's may be off.
fn now(headers: &HeaderMap) -> Moment {
    text(headers, "date").and_then(parse_http_date).unwrap_or_else(Moment::now)
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

    const UNTOLD: u64 = 0;
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
        let found = rate_limit(status, &headers, said)
            .map(|(limit, wait)| (limit, wait.map_or(UNTOLD, |wait| wait.as_secs())));
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
        check(403, "API rate limit exceeded for user ID 1.", &[], Some((RateLimit::Primary, UNTOLD)));
        check(403, SECONDARY, &left, Some((RateLimit::Secondary, UNTOLD)));
        check(403, SECONDARY, &used_up, Some((RateLimit::Secondary, 4)));
        check(429, SECONDARY, &[("retry-after", "30")], Some((RateLimit::Secondary, 30)));
        check(403, "", &[("retry-after", "Thu, 01 Jan 1970 00:17:00 GMT")], Some((RateLimit::Secondary, 20)));
        check(429, "Too many requests", &[], Some((RateLimit::Secondary, UNTOLD)));
        check(
            403,
            "You have triggered an abuse detection mechanism",
            &[],
            Some((RateLimit::Secondary, UNTOLD)),
        );
    }

    #[test]
    fn no_wait_is_endless() {
        let longest = Some((RateLimit::Secondary, 7_200));
        check(429, "", &[("retry-after", "18446744073709551615")], longest);
        check(429, "", &[("retry-after", "Thu, 01 Jan 2099 00:00:00 GMT")], longest);
        let far = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9000000000000000")];
        check(403, "", &far, Some((RateLimit::Primary, 7_201)));
        let pairs = [far[0], far[1], ("x-ratelimit-limit", "5000"), ("date", NOW)];
        let (.., wait) = standing(&headers(&pairs)).unwrap();
        assert_eq!(wait.as_secs(), 7_200);
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
    fn a_standing_is_read_whole_or_not_at_all() {
        let mut pairs = vec![("x-ratelimit-limit", "5000"), ("x-ratelimit-remaining", "9"), ("date", NOW)];
        assert_eq!(standing(&headers(&pairs)), None);
        pairs.push(("x-ratelimit-reset", "1003"));
        let expected = Standing { limit: 5000, remaining: 9, reset_at: Moment(1_003_000) };
        let wait = Duration::from_secs(3);
        assert_eq!(standing(&headers(&pairs)), Some(("core".to_owned(), expected, wait)));
        pairs.push(("x-ratelimit-resource", "search"));
        assert_eq!(standing(&headers(&pairs)), Some(("search".to_owned(), expected, wait)));
    }
}
