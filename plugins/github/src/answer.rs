//! An answer of GitHub's, whole, and the judgement what a bad one means.

use anklet_plugin_api::time::Moment;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::http::{HeaderMap, StatusCode};

use crate::budget::rate_limit;
use crate::error::{CallName, ClientError};
use crate::when::parse_http_date;

/// Of GitHub's words no more than this many characters are passed on.
const MOST_WORDS: usize = 300;
/// A clock that is off by less needs no word: App tokens allow as much.
const CLOCK_TOLERANCE_MILLIS: i64 = 30_000;

/// The words about a clock that is off begin with these.
pub(crate) const CLOCK_IS_OFF: &str = "this host's clock is ";

/// Status, headers and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) call: CallName,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON. The error names the place in it only, since bodies hold tokens.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            self.nonsense(format!(
                "its body is not the JSON that belongs there ({:?} error at byte {} of line {})",
                error.classify(),
                error.column(),
                error.line()
            ))
        })
    }

    /// The complaint that this answer cannot be used.
    pub(crate) fn nonsense(&self, what: impl Into<String>) -> ClientError {
        ClientError::Nonsense { call: self.call, what: what.into() }
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// GitHub's words on what is wrong, fit for a log.
    pub(crate) fn message(&self) -> String {
        let words = self.complaint().message;
        let words = if words.is_empty() { self.status.to_string() } else { words };
        words.chars().take(MOST_WORDS).map(|c| if c.is_control() { ' ' } else { c }).collect()
    }

    /// The permission that GitHub says is needed.
    pub(crate) fn permission(&self) -> Option<String> {
        self.header("x-accepted-github-permissions").filter(|text| !text.is_empty()).map(ToOwned::to_owned)
    }

    /// What this answer means to a caller who did not expect its status.
    pub(crate) fn error(&self) -> ClientError {
        let (call, message) = (self.call, self.message());
        let status = self.status.as_u16();
        let complaint = self.complaint();
        let said = format!("{} {}", complaint.message, complaint.documentation_url);
        if let Some((limit, wait)) = rate_limit(status, &self.headers, &said) {
            return ClientError::Limited { call, limit, wait };
        }
        match status {
            401 => ClientError::Unauthorized { call, message: message + &self.word_about_the_clock() },
            403 => ClientError::Forbidden { call, message, permission: self.permission() },
            404 => ClientError::NotFound { call, message, permission: self.permission() },
            409 => ClientError::Conflict { call, message },
            422 => ClientError::Unprocessable { call, message },
            // 408 is a timeout on GitHub's side.
            408 | 500.. => ClientError::Server { call, status, message },
            _ => self.nonsense(format!("status {status}: {message}")),
        }
    }

    fn complaint(&self) -> Complaint {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn word_about_the_clock(&self) -> String {
        let Some(theirs) = self.header("date").and_then(parse_http_date) else { return String::new() };
        let off = Moment::now().0.saturating_sub(theirs.0);
        if off.abs() < CLOCK_TOLERANCE_MILLIS {
            return String::new();
        }
        let direction = if off > 0 { "ahead of" } else { "behind" };
        format!(" ({CLOCK_IS_OFF}{} s {direction} GitHub's: set it right)", off.abs() / 1_000)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Complaint {
    message: String,
    documentation_url: String,
}

#[cfg(test)]
mod tests {
    use ureq::http::HeaderValue;

    use super::*;

    const CALL: CallName = CallName { method: "GET", path: "/x" };

    fn answer(status: u16, body: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { call: CALL, status, headers: HeaderMap::new(), body: body.into() }
    }

    #[track_caller]
    fn check(status: u16, body: &str, expected: &str) {
        assert_eq!(answer(status, body).error().to_string(), expected);
    }

    #[test]
    fn errors_say_what_github_said() {
        let not_found =
            r#"{"message":"Not Found","documentation_url":"https://docs.example","status":"404"}"#;
        check(
            404,
            not_found,
            "GET /x: GitHub does not find it, or the credentials may not see it: Not Found",
        );
        check(409, r#"{"message":"No\nway"}"#, "GET /x: conflict: No way");
        check(422, "", "GET /x: GitHub refuses it: 422 Unprocessable Entity");
        check(502, "<html>", "GET /x: GitHub is in trouble (status 502): 502 Bad Gateway");
        check(418, "{}", "GET /x: the answer makes no sense: status 418: 418 I'm a teapot");
        check(
            401,
            r#"{"message":"Bad credentials"}"#,
            "GET /x: GitHub does not accept the credentials: Bad credentials",
        );
    }

    #[test]
    fn a_missing_permission_is_named() {
        let mut answer = answer(403, r#"{"message":"Resource not accessible by integration"}"#);
        answer.headers.insert("x-accepted-github-permissions", HeaderValue::from_static("actions=write"));
        let ClientError::Forbidden { permission, .. } = answer.error() else { panic!() };
        assert_eq!(permission.as_deref(), Some("actions=write"));
        assert!(answer.error().to_string().ends_with("(it needs the permission actions=write)"));
    }

    #[test]
    fn a_clock_that_is_off_is_named() {
        let mut answer = answer(401, "{}");
        answer.headers.insert("date", HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"));
        assert!(answer.error().to_string().contains("ahead of GitHub's"));
        answer.headers.insert("date", HeaderValue::from_static("Thu, 01 Jan 2099 00:00:00 GMT"));
        assert!(answer.error().to_string().contains("behind GitHub's"));
    }

    #[test]
    fn a_body_never_shows_in_an_error() {
        let answer = answer(200, r#"{"token": {"x": "ghs_secret"}}"#);
        let error = answer.json::<std::collections::BTreeMap<String, u32>>().unwrap_err().to_string();
        assert!(error.contains("line 1") && !error.contains("ghs_"), "{error}");
    }
}
