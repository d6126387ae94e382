//! One request from its arrival to its end, with or without a rule for it. It stands alone between the sockets of
//! `server` and the knowledge of `rest` and `runner`.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use crate::credential::authorization;
use crate::http::{Answer, Request, write_answer};
use crate::model::{RequestEnd, RequestRecord};
use crate::rules::{Action, RuleId, pick};
use crate::server::Shared;
use crate::state::State;
use crate::{rest, runner};

/// Logs a request, then does what a rule says with it, or else what GitHub does.
pub(crate) fn attend(shared: &Shared, stream: &TcpStream, request: &Request) -> RequestEnd {
    let (record, rule) = shared.change(|state| {
        let record = log_request(state, request);
        let rule = pick(&mut state.rules, &record);
        (record, rule)
    });
    let end = match &rule {
        Some((id, action)) => attend_by_rule(shared, stream, request, &record, *id, action),
        None => attend_plainly(shared, stream, request, &record),
    };
    shared.change(|state| state.requests[record.index].end = Some(end));
    end
}

fn log_request(state: &mut State, request: &Request) -> RequestRecord {
    let path = request.target.strip_prefix("/api/v3").filter(|rest| rest.starts_with('/'));
    let record = RequestRecord {
        index: state.requests.len(),
        at: state.now(),
        method: request.method.clone(),
        path: path.unwrap_or(&request.target).to_owned(),
        credential: authorization(request).map(|(_, token)| token.to_owned()),
        headers: request.headers.clone(),
        body: String::from_utf8_lossy(&request.body).into_owned(),
        end: None,
    };
    state.requests.push(record.clone());
    record
}

fn attend_plainly(
    shared: &Shared,
    stream: &TcpStream,
    request: &Request,
    record: &RequestRecord,
) -> RequestEnd {
    if let Some(runner_id) = runner::listens(request) {
        return runner::listen(shared, stream, runner_id, request);
    }
    let answer = act(shared, request, record.index);
    respond(stream, &answer)
}

fn respond(mut stream: &TcpStream, answer: &Answer) -> RequestEnd {
    match write_answer(&mut stream, answer) {
        Ok(()) => RequestEnd::Answered(answer.status),
        Err(_) => RequestEnd::Lost(answer.status),
    }
}

/// What GitHub does with a request.
fn act(shared: &Shared, request: &Request, index: usize) -> Answer {
    shared.change(|state| {
        if request.path().starts_with("/_fake/") {
            runner::answer(state, request)
        } else {
            rest::answer(state, request, index)
        }
    })
}

/// Does what a rule says with a request.
fn attend_by_rule(
    shared: &Shared,
    stream: &TcpStream,
    request: &Request,
    record: &RequestRecord,
    rule: RuleId,
    action: &Action,
) -> RequestEnd {
    let now = shared.look(|state| state.now());
    if let Some(answer) = action.instead(record, now) {
        return respond(stream, &answer);
    }
    match action {
        Action::Close => return RequestEnd::Closed,
        Action::KillBefore(pid) => {
            kill(*pid);
            return RequestEnd::Closed;
        }
        Action::Delay(delay) => pause(shared, rule, Some(*delay)),
        Action::Hang(limit) => pause(shared, rule, *limit),
        _ => {}
    }
    if shared.look(|state| state.stopping) {
        return RequestEnd::Closed;
    }
    if runner::listens(request).is_some() {
        return attend_plainly(shared, stream, request, record);
    }
    let answer = act(shared, request, record.index);
    match action {
        Action::Lose => return RequestEnd::Lost(answer.status),
        Action::Truncate => {
            let mut bytes = Vec::new();
            let _ = write_answer(&mut bytes, &answer);
            let mut out = stream;
            let _ = out.write_all(&bytes[..bytes.len() - answer.body.len().div_ceil(2).max(2)]);
            return RequestEnd::Lost(answer.status);
        }
        Action::KillAfter(pid) => {
            kill(*pid);
            return RequestEnd::Lost(answer.status);
        }
        Action::DelayAnswer(delay) => pause(shared, rule, Some(*delay)),
        Action::HangAnswer => pause(shared, rule, None),
        _ => {}
    }
    respond(stream, &action.afterwards(record).unwrap_or(answer))
}

/// Waits for the rule's release, the limit, or the end of the stand-in.
fn pause(shared: &Shared, rule: RuleId, limit: Option<Duration>) {
    let limit = limit.unwrap_or(Duration::from_secs(86_400));
    shared.wait(limit, |state| (state.stopping || state.released.contains(&rule)).then_some(()));
}

fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}
