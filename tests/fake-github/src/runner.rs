//! The runner's side: what `config.sh` and `run.sh` of a guest ask of GitHub. The real protocol is not public, so
//! this one is our own. It stands alone because it is a contract with the stand-in for Anka.
//!
//! - `POST /_fake/runners` `{url, token, name, labels, group, ephemeral, version, replace?}` → 201 `{id}`
//! - `DELETE /_fake/runners` `{url, token, name}` → 204
//! - `POST /_fake/runners/ID/listen` `{name, version}` → a stream of JSON lines: `{"event":"online"}`,
//!   `{"event":"job","job_id":N,"steps_ms":N,"conclusion":"success"}`, `{"event":"stop"}`
//! - `POST /_fake/jobs/ID/done` `{runner, conclusion}` → 200 `{accepted}`

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{Answer, Request};
use crate::model::{JobId, JobStatus, RegisteredBy, RegistrationEnd, RequestEnd};
use crate::runners::NewRunner;
use crate::scope::Scope;
use crate::server::Shared;
use crate::state::State;

fn refuse(status: u16, message: impl Into<String>) -> Answer {
    Answer::json(status, &json!({ "message": message.into() }))
}

/// The runner a request wants to listen for.
pub(crate) fn listens(request: &Request) -> Option<u64> {
    let id = request.path().strip_prefix("/_fake/runners/")?.strip_suffix("/listen")?;
    if request.method == "POST" { id.parse().ok() } else { None }
}

/// Answers everything but `listen`.
pub(crate) fn answer(state: &mut State, request: &Request) -> Answer {
    let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
        return refuse(400, "Problems parsing JSON");
    };
    match (
        request.method.as_str(),
        request.path().trim_matches('/').split('/').collect::<Vec<_>>()[..].as_ref(),
    ) {
        ("POST", ["_fake", "runners"]) => register(state, &body),
        ("DELETE", ["_fake", "runners"]) => unregister(state, &body),
        ("POST", ["_fake", "jobs", id, "done"]) => match id.parse() {
            Ok(id) => done(state, id, &body),
            Err(_) => refuse(404, "Not Found"),
        },
        _ => refuse(404, "Not Found"),
    }
}

/// Checks a token against the scope of the runner's `--url`.
fn scope_of(state: &State, body: &Value, removes: bool) -> Result<Scope, Answer> {
    let url = body["url"].as_str().unwrap_or_default();
    let path = url.strip_prefix(&state.origin).ok_or_else(|| refuse(404, format!("Not Found: {url}")))?;
    let scope = Scope::parse(path).filter(|scope| state.scope_exists(scope));
    let scope = scope.ok_or_else(|| refuse(404, format!("Not Found: {url}")))?;
    let token = body["token"].as_str().and_then(|token| state.runner_tokens.get(token));
    match token {
        Some(token)
            if token.scope == scope
                && token.removes == removes
                && token.expires_at.unix_ms > state.now().unix_ms =>
        {
            Ok(scope)
        }
        Some(token) if token.scope == scope && token.removes == removes => {
            Err(refuse(401, "The registration token has expired."))
        }
        _ => Err(refuse(404, "Http response code: NotFound from 'POST runner-registration'")),
    }
}

fn register(state: &mut State, body: &Value) -> Answer {
    let scope = match scope_of(state, body, false) {
        Ok(scope) => scope,
        Err(answer) => return answer,
    };
    let name = body["name"].as_str().unwrap_or_default().to_owned();
    let labels: Vec<String> = body["labels"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|label| label.as_str().map(str::to_owned))
        .collect();
    if name.is_empty() || name.chars().count() > 64 {
        return refuse(400, "The runner's name is empty or longer than 64 characters.");
    }
    if labels.is_empty() || labels.iter().any(|label| label.is_empty() || label.chars().count() > 256) {
        return refuse(400, "A runner needs labels of 1 to 256 characters.");
    }
    let group = body["group"].as_str().unwrap_or("Default");
    let Some(group_id) = state.group_id(&scope, group) else {
        return refuse(404, format!("Could not find any self-hosted runner group named \"{group}\"."));
    };
    let old = state.runners.values().find(|runner| runner.scope == scope && runner.name == name);
    if let Some(old) = old.filter(|old| body["replace"] == true && old.job.is_none()).map(|old| old.id) {
        state.remove_runner(old, RegistrationEnd::Unregistered);
    }
    let new = NewRunner {
        scope,
        name: name.clone(),
        labels,
        group_id,
        ephemeral: body["ephemeral"].as_bool().unwrap_or(false),
        version: body["version"].as_str().map(str::to_owned),
        by: RegisteredBy::Token,
    };
    match state.register(new) {
        Some(id) => Answer::json(201, &json!({ "id": id })),
        None => refuse(409, format!("A runner exists with the same name {name}.")),
    }
}

fn unregister(state: &mut State, body: &Value) -> Answer {
    let scope = match scope_of(state, body, true) {
        Ok(scope) => scope,
        Err(answer) => return answer,
    };
    let name = body["name"].as_str().unwrap_or_default();
    let found = state.runners.values().find(|runner| runner.scope == scope && runner.name == name);
    match found.map(|runner| (runner.id, runner.job.is_some())) {
        Some((_, true)) => refuse(422, format!("Runner \"{name}\" is still running a job")),
        Some((id, false)) => {
            state.remove_runner(id, RegistrationEnd::Unregistered);
            Answer::empty(204)
        }
        None => refuse(404, format!("A runner named {name} does not exist.")),
    }
}

fn done(state: &mut State, job_id: JobId, body: &Value) -> Answer {
    let Some(job) = state.jobs.get(&job_id) else { return refuse(404, "Not Found") };
    let is_its_runner = job.runner_name.as_deref() == body["runner"].as_str();
    let accepted = is_its_runner && job.status == JobStatus::InProgress;
    if accepted {
        let conclusion = body["conclusion"].as_str().unwrap_or("success").to_owned();
        state.complete_job(job_id, &conclusion);
    }
    Answer::json(200, &json!({ "accepted": accepted }))
}

/// What a listening runner is told next.
enum Next {
    Job(Value, JobId),
    Stop,
    Broken,
}

/// Holds a runner's connection: tells it its job, and takes a broken connection for a lost VM.
pub(crate) fn listen(shared: &Shared, stream: &TcpStream, runner_id: u64, request: &Request) -> RequestEnd {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let opened = shared.change(|state| open(state, runner_id, &body));
    let session = match opened {
        Ok(session) => session,
        Err(answer) => {
            let mut out = stream;
            let _ = crate::http::write_answer(&mut out, &answer);
            return RequestEnd::Answered(answer.status);
        }
    };
    let version = body["version"].as_str().map(str::to_owned);
    let name = format!("fake-github/listen-{runner_id}");
    std::thread::scope(|scope| {
        let watch = || {
            let mut ignored = [0; 64];
            let mut from = stream;
            while from.read(&mut ignored).is_ok_and(|n| n > 0) {}
            shared.change(|state| state.runner_lost(runner_id, session));
        };
        let watcher = std::thread::Builder::new().name(name).spawn_scoped(scope, watch);
        if watcher.is_ok() {
            let _ = tell(shared, stream, runner_id, session, version);
        }
        let _ = stream.shutdown(Shutdown::Both);
    });
    shared.change(|state| state.runner_lost(runner_id, session));
    RequestEnd::Lost(200)
}

fn open(state: &mut State, runner_id: u64, body: &Value) -> Result<u64, Answer> {
    let session = state.next();
    let now = state.now();
    let runner = state.runners.get_mut(&runner_id);
    let Some(runner) = runner.filter(|runner| body["name"].as_str() == Some(&runner.name)) else {
        return Err(refuse(404, "The runner registration has been deleted from the server."));
    };
    if runner.connect_by.is_some_and(|limit| limit.unix_ms < now.unix_ms) {
        return Err(refuse(401, "The JIT configuration has expired."));
    }
    if runner.session.is_some() {
        return Err(refuse(409, "A session for this runner already exists."));
    }
    runner.session = Some(session);
    Ok(session)
}

fn tell(
    shared: &Shared,
    mut stream: &TcpStream,
    runner_id: u64,
    session: u64,
    version: Option<String>,
) -> io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    send(stream, &json!({ "event": "online" }))?;
    shared.change(|state| state.runner_online(runner_id, session, version));
    let mut told = None;
    loop {
        let next = shared.wait(Duration::from_secs(86_400), |state| next(state, runner_id, session, told));
        match next.unwrap_or(Next::Broken) {
            Next::Job(event, job_id) => {
                send(stream, &event)?;
                told = Some(job_id);
            }
            Next::Stop => {
                send(stream, &json!({ "event": "stop" }))?;
                return stream.write_all(b"0\r\n\r\n");
            }
            Next::Broken => return Ok(()),
        }
    }
}

fn next(state: &State, runner_id: u64, session: u64, told: Option<JobId>) -> Option<Next> {
    let Some(runner) = state.runners.get(&runner_id).filter(|_| !state.stopping) else {
        return Some(Next::Stop);
    };
    if runner.session != Some(session) {
        return Some(Next::Broken);
    }
    let job = runner.job.filter(|id| told != Some(*id)).and_then(|id| state.jobs.get(&id))?;
    let event = json!({
        "event": "job", "job_id": job.id, "steps_ms": job.steps_ms, "conclusion": job.planned_conclusion,
    });
    Some(Next::Job(event, job.id))
}

fn send(mut stream: &TcpStream, event: &Value) -> io::Result<()> {
    let line = format!("{event}\n");
    stream.write_all(format!("{:x}\r\n{line}\r\n", line.len()).as_bytes())?;
    stream.flush()
}
