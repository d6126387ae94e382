//! The server: one lock with its bell, a thread per connection, the timer. It stands alone because it knows
//! sockets and threads, and nothing of what GitHub does with a request.

use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::credential::authorization;
use crate::http::{Answer, Request, read_request, write_answer};
use crate::model::{RequestEnd, RequestRecord};
use crate::rules::{Action, RuleId, pick};
use crate::state::State;
use crate::{control, rest, runner};

/// What all threads share.
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    sockets: Mutex<HashMap<u64, TcpStream>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    n_sockets: AtomicU64,
}

/// Keeps a socket known to `stop` as long as it lives.
pub(crate) struct Registered<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.shared.sockets.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Shared {
    pub(crate) fn new(state: State) -> Shared {
        Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            sockets: Mutex::default(),
            threads: Mutex::default(),
            n_sockets: AtomicU64::new(0),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the state.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the state and wakes all who wait.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Sleeps until a change or the moment.
    pub(crate) fn wait_until<'a>(
        &self,
        guard: MutexGuard<'a, State>,
        moment: Option<Instant>,
    ) -> MutexGuard<'a, State> {
        match moment {
            None => self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(at) => {
                let left = at.saturating_duration_since(Instant::now());
                self.changed.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// Waits until `probe` finds something, or for `limit`.
    pub(crate) fn wait<T>(&self, limit: Duration, mut probe: impl FnMut(&State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            let found = probe(&state);
            if found.is_some() || Instant::now() >= deadline {
                return found;
            }
            state = self.wait_until(state, Some(deadline));
        }
    }

    /// Makes a socket known, so that stopping breaks it.
    pub(crate) fn register(&self, stream: &TcpStream) -> Registered<'_> {
        let id = self.n_sockets.fetch_add(1, Ordering::Relaxed);
        if let Ok(clone) = stream.try_clone() {
            let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
            sockets.insert(id, clone);
        }
        if self.look(|state| state.stopping) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        Registered { shared: self, id }
    }

    /// Starts a thread that `stop` joins.
    pub(crate) fn spawn(self: &Arc<Shared>, name: &str, work: impl FnOnce(&Arc<Shared>) + Send + 'static) {
        let shared = Arc::clone(self);
        let builder = std::thread::Builder::new().name(format!("fake-github/{name}"));
        let thread = builder.spawn(move || work(&shared)).expect("a thread can be started");
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
    }

    /// Breaks every connection and joins every thread.
    pub(crate) fn stop(&self, listener: &TcpListener) {
        self.change(|state| state.stopping = true);
        if let Ok(address) = listener.local_addr() {
            let _ = TcpStream::connect(address);
        }
        loop {
            for socket in self.sockets.lock().unwrap_or_else(PoisonError::into_inner).values() {
                let _ = socket.shutdown(Shutdown::Both);
            }
            let thread = self.threads.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(thread) = thread else { return };
            let _ = thread.join();
        }
    }

    /// The loop of the timer's thread.
    pub(crate) fn run_timers(&self) {
        let mut state = self.lock();
        while !state.stopping {
            let n_before = state.timers.len();
            let next = state.run_timers();
            if state.timers.len() != n_before {
                self.changed.notify_all();
            }
            state = self.wait_until(state, next);
        }
    }
}

/// The loop of the accepting thread.
pub(crate) fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    for (n, stream) in listener.incoming().enumerate() {
        if shared.look(|state| state.stopping) {
            return;
        }
        if let Ok(stream) = stream {
            shared.spawn(&format!("caller-{n}"), move |shared| drop(serve(shared, &stream)));
        }
    }
}

fn serve(shared: &Arc<Shared>, stream: &TcpStream) -> io::Result<()> {
    let _registered = shared.register(stream);
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut out = stream;
    while let Some(request) = read_request(&mut reader, &mut out)? {
        let is_last = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if request.path() == "/_fake/control" {
            write_answer(&mut out, &control::answer(shared, &request))?;
            if is_last {
                break;
            }
            continue;
        }
        let record = shared.change(|state| log_request(state, &request));
        let rule = shared.change(|state| pick(&mut state.rules, &record));
        let end = match &rule {
            Some((id, action)) => attend(shared, stream, &request, &record, *id, action),
            None => attend_plainly(shared, stream, &request, &record),
        };
        shared.change(|state| state.requests[record.index].end = Some(end));
        if is_last || !matches!(end, RequestEnd::Answered(_)) {
            break;
        }
    }
    stream.shutdown(Shutdown::Both)
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
fn attend(
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
