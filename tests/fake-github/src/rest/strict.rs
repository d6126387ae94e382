//! What the stand-in demands of a request beyond what GitHub does, so that a sloppy client shows in a test. It
//! stands alone because a mistake is both answered and remembered.

use serde_json::Value;

use crate::http::{Answer, Request};
use crate::rest::{Call, error};

/// What an operation wants in its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// A read: nothing at all.
    None,
    /// A write without arguments: nothing, or `{}`.
    Empty,
    /// An object with these keys; without required ones it may be missing.
    Json { required: &'static [&'static str], optional: &'static [&'static str] },
}

/// Checks the headers every request needs.
pub(super) fn headers(request: &Request, mistakes: &mut Vec<String>) -> Option<Answer> {
    let header = |name| request.header(name).unwrap_or_default();
    let (status, message) = if header("user-agent").is_empty() {
        (
            403,
            "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.",
        )
    } else if header("x-github-api-version") != "2022-11-28" {
        (400, "The API version in X-GitHub-Api-Version is missing or not supported.")
    } else if header("accept") != "application/vnd.github+json" {
        (415, "Unsupported 'Accept' header. Must accept 'application/vnd.github+json'.")
    } else if request.method != "GET"
        && request.method != "DELETE"
        && request.header("content-length").is_none()
    {
        (411, "A Content-Length is required.")
    } else {
        return None;
    };
    mistakes.push(message.to_owned());
    Some(error(status, message))
}

/// Notes query keys the operation does not have. GitHub ignores them, so they are no refusal.
pub(super) fn query(call: &mut Call<'_>, known: &[&str]) {
    for (key, value) in call.query.clone() {
        if !known.contains(&key.as_str()) {
            call.mistakes.push(format!("unknown query key `{key}`"));
        }
        let is_page = key == "per_page" || key == "page";
        let range = if key == "per_page" { 1..=100 } else { 1..=u64::MAX };
        if is_page && !value.parse().is_ok_and(|number: u64| range.contains(&number)) {
            call.mistakes.push(format!("query key `{key}` is `{value}`"));
        }
    }
}

/// Reads and checks the body into [`Call::body`].
pub(super) fn body(call: &mut Call<'_>, request: &Request, wanted: Body) -> Option<Answer> {
    if request.body.is_empty() {
        call.body = Value::Object(serde_json::Map::new());
    } else {
        if wanted == Body::None {
            call.mistakes.push("a body where none belongs".to_owned());
        }
        if !request.header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
            call.mistakes.push("a body without `Content-Type: application/json`".to_owned());
        }
        match serde_json::from_slice(&request.body) {
            Ok(body @ Value::Object(_)) => call.body = body,
            Ok(_) => return refuse(call, 422, "Invalid request.\n\nThe body is not an object.".to_owned()),
            Err(_) => return refuse(call, 400, "Problems parsing JSON".to_owned()),
        }
    }
    let (required, optional): (&[&str], &[&str]) = match wanted {
        Body::None | Body::Empty => (&[], &[]),
        Body::Json { required, optional } => (required, optional),
    };
    let keys: Vec<String> =
        call.body.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default();
    if let Some(missing) = required.iter().find(|key| !keys.iter().any(|given| given == *key)) {
        return refuse(call, 422, format!("Invalid request.\n\n\"{missing}\" wasn't supplied."));
    }
    let is_unknown = |key: &&String| !required.contains(&key.as_str()) && !optional.contains(&key.as_str());
    let unknown = keys.iter().find(is_unknown)?;
    refuse(call, 422, format!("Invalid request.\n\n\"{unknown}\" is not a permitted key."))
}

fn refuse(call: &mut Call<'_>, status: u16, message: String) -> Option<Answer> {
    let answer = error(status, &message);
    call.mistakes.push(message.replace("\n\n", " "));
    Some(answer)
}
