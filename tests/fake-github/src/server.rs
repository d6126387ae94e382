//! The server: one lock with its bell, a thread per connection, the timer. It stands alone because it knows
//! sockets and threads, and nothing of what GitHub does with a request.

use std::collections::HashMap;
use std::io::{self, BufReader};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::attend::attend;
use crate::control;
use crate::http::{Request, read_request, write_answer};
use crate::model::{RequestEnd, Violation};
use crate::state::State;

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
    while let Some(request) = next_request(shared, &mut reader, &mut out)? {
        let is_last = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let is_answered = if request.path() == "/_fake/control" {
            write_answer(&mut out, &control::answer(shared, &request)).is_ok()
        } else {
            matches!(attend(shared, stream, &request), RequestEnd::Answered(_))
        };
        if is_last || !is_answered {
            break;
        }
    }
    stream.shutdown(Shutdown::Both)
}

/// The next request; what is none is a mistake of the client.
fn next_request(
    shared: &Shared,
    reader: &mut BufReader<TcpStream>,
    out: &mut &TcpStream,
) -> io::Result<Option<Request>> {
    let request = read_request(reader, out);
    if let Err(error) = &request
        && error.kind() == io::ErrorKind::InvalidData
    {
        let text = format!("broken request: {error}");
        shared.change(|state| state.violations.push(Violation { request: state.requests.len(), text }));
    }
    request
}
