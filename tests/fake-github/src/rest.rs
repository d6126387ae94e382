//! The REST API: strict about what comes in, in GitHub's shapes about what goes out. It stands alone as the table
//! of operations and the steps that all of them share; each family of operations is a file below.

use serde_json::{Value, json};

use crate::clock::{At, http_date};
use crate::credential::Caller;
use crate::encode::{hex, percent_decode};
use crate::http::{Answer, Request};
use crate::model::Violation;
use crate::scope::Scope;
use crate::state::{State, random_hex};

mod access;
mod actions;
mod apps;
mod hooks;
mod paging;
mod routes;
mod runners;
mod strict;

use access::Access;
use routes::{ROUTES, Route};

/// An operation under way.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) caller: Caller,
    /// Origin and prefix the caller used; links keep it.
    pub(crate) base: String,
    /// The path after the prefix, without query.
    pub(crate) path: String,
    /// The scope in the path; for operations without one the default is never read.
    pub(crate) scope: Option<Scope>,
    /// The `:` segments of the route's path.
    pub(crate) args: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Value,
    pub(crate) now: At,
    /// Mistakes of the client that GitHub would let pass.
    pub(crate) mistakes: Vec<String>,
}

impl Call<'_> {
    fn scope(&self) -> Scope {
        self.scope.clone().expect("the route's path has a scope")
    }

    /// The n-th `:` segment as a number.
    fn id(&self, n: usize) -> Option<u64> {
        self.args.get(n)?.parse().ok()
    }

    fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// GitHub's error body.
pub(crate) fn error(status: u16, message: &str) -> Answer {
    let body = json!({
        "message": message, "documentation_url": "https://docs.github.com/rest", "status": status.to_string(),
    });
    Answer::json(status, &body)
}

fn not_found() -> Answer {
    error(404, "Not Found")
}

/// Answers a request and notes what was wrong with it.
pub(crate) fn answer(state: &mut State, request: &Request, index: usize) -> Answer {
    if let Some(archive) = runner_archive(state, request) {
        return archive;
    }
    let now = state.now();
    let (base, path) = split_prefix(state, request.path());
    let path = resolve_ids(state, path);
    let mut mistakes = Vec::new();
    let answer = match strict::headers(request, &mut mistakes) {
        Some(refusal) => decorate(state, None, refusal, now),
        None => route(state, request, base, path.clone(), now, &mut mistakes),
    };
    for text in mistakes {
        let text = format!("{} {path}: {text}", request.method);
        state.violations.push(Violation { request: index, text });
    }
    answer
}

fn route(
    state: &mut State,
    request: &Request,
    base: String,
    path: String,
    now: At,
    mistakes: &mut Vec<String>,
) -> Answer {
    let caller = match state.credentials.identify(request, now) {
        Ok(caller) => caller,
        Err(refusal) => {
            let (status, message) = refusal.answer();
            return decorate(state, Some((&Caller::Anonymous, "core")), error(status, message), now);
        }
    };
    let found = ROUTES.iter().find_map(|route| Some((route, route.matches(&request.method, &path)?)));
    let Some((route, (scope, args))) = found else {
        mistakes.push("no such operation".to_owned());
        return decorate(state, Some((&caller, "core")), not_found(), now);
    };
    let key = state.credentials.budget_key(&caller);
    if state.knobs.rate_limits && route.is_counted {
        let budget = state.credentials.budget(&key, route.resource, now);
        if budget.remaining() == 0 {
            let status = if state.knobs.limit_as_429 { 429 } else { 403 };
            let message = format!("API rate limit exceeded for {}.", key.replace(':', " ID "));
            return decorate(state, Some((&caller, route.resource)), error(status, &message), now);
        }
    }
    let mut call = Call {
        state,
        caller,
        base,
        path,
        scope,
        args,
        query: request.query(),
        body: Value::Null,
        now,
        mistakes: Vec::new(),
    };
    let answer = not_modified(request, perform(&mut call, route, request));
    mistakes.append(&mut call.mistakes);
    let caller = call.caller;
    if route.is_counted && answer.status != 304 {
        state.credentials.budget(&key, route.resource, now).used += 1;
    }
    decorate(state, Some((&caller, route.resource)), answer, now)
}

/// Access, existence, query, body; then the operation itself.
fn perform(call: &mut Call<'_>, route: &Route, request: &Request) -> Answer {
    if let Err(refusal) = access::check(call, route.access, &request.method) {
        return refusal;
    }
    if call.scope.as_ref().is_some_and(|scope| !call.state.scope_exists(scope)) {
        return not_found();
    }
    strict::query(call, route.query);
    match strict::body(call, request, route.body) {
        Some(refusal) => refusal,
        None => (route.run)(call),
    }
}

/// Splits `/api/v3` off; the base is what links begin with.
fn split_prefix(state: &State, path: &str) -> (String, String) {
    match path.strip_prefix("/api/v3").filter(|rest| rest.starts_with('/')) {
        Some(rest) => (format!("{}/api/v3", state.origin), rest.to_owned()),
        None => (state.origin.clone(), path.to_owned()),
    }
}

/// `/repositories/ID/…` and `/organizations/ID/…`, which links use, to the paths with names.
fn resolve_ids(state: &State, path: String) -> String {
    let mut segments = path.splitn(4, '/').skip(1);
    let (kind, id, rest) = (segments.next(), segments.next(), segments.next());
    let Some(id) = id.and_then(|id| id.parse::<u64>().ok()) else { return path };
    let scope = match kind {
        Some("repositories") => {
            state.repos.iter().find(|(_, repo)| repo.id == id).map(|(scope, _)| scope.rest_path())
        }
        Some("organizations") => {
            state.owners.values().find(|owner| owner.id == id).map(|owner| format!("/orgs/{}", owner.login))
        }
        _ => None,
    };
    match (scope, rest) {
        (Some(scope), Some(rest)) => format!("{scope}/{rest}"),
        (Some(scope), None) => scope,
        (None, _) => path,
    }
}

/// The headers that each answer has.
fn decorate(state: &mut State, counted: Option<(&Caller, &'static str)>, answer: Answer, now: At) -> Answer {
    let mut answer = answer
        .with_header("Server", "GitHub.com")
        .with_header("Date", http_date(now.unix_seconds()))
        .with_header("X-GitHub-Media-Type", "github.v3; format=json")
        .with_header("x-github-api-version-selected", "2022-11-28")
        .with_header("X-GitHub-Request-Id", format!("FAKE:{}", random_hex(6).to_uppercase()));
    let Some((caller, resource)) = counted else { return answer };
    if let Caller::Pat(token) = caller
        && let Some(pat) = state.credentials.pats.get(token)
        && pat.fine_grained.is_none()
    {
        answer = answer.with_header("X-OAuth-Scopes", pat.scopes.join(", "));
    }
    if !state.knobs.rate_limits {
        return answer;
    }
    let key = state.credentials.budget_key(caller);
    let budget = *state.credentials.budget(&key, resource, now);
    answer
        .with_header("X-RateLimit-Limit", budget.limit)
        .with_header("X-RateLimit-Remaining", budget.remaining())
        .with_header("X-RateLimit-Used", budget.used)
        .with_header("X-RateLimit-Reset", budget.reset_at.unix_seconds())
        .with_header("X-RateLimit-Resource", resource)
}

/// Gives what can be read an `ETag`, and 304 to a caller who has it already.
fn not_modified(request: &Request, answer: Answer) -> Answer {
    if request.method != "GET" || answer.status != 200 {
        return answer;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, &answer.body);
    let tag = format!("W/\"{}\"", hex(digest.as_ref()));
    let is_known = request.header("if-none-match") == Some(&tag);
    let answer =
        answer.with_header("ETag", &tag).with_header("Cache-Control", "private, max-age=60, s-maxage=60");
    if is_known { Answer { status: 304, body: Vec::new(), ..answer } } else { answer }
}

/// The archives that the downloads list names, so that a guest can fetch one and check it.
fn runner_archive(state: &State, request: &Request) -> Option<Answer> {
    let is_it = request.method == "GET" && request.path().starts_with("/actions/runner/releases/download/v");
    is_it.then(|| {
        let answer = Answer { body: state.knobs.runner_archive.clone(), ..Answer::empty(200) };
        answer.with_header("Content-Type", "application/octet-stream")
    })
}

/// Path segments, decoded.
fn segments(path: &str) -> Vec<String> {
    path.trim_start_matches('/').split('/').map(|segment| percent_decode(segment, false)).collect()
}
