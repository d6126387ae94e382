//! Starting and stopping: a bound listener becomes a running server whose handle owns every thread.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use log::error;
use rustix::net::listen;

use crate::connection::Hooks;
use crate::descriptors;
use crate::door::Door;
use crate::limits::Limits;
use crate::poll_loop::{Links, PollLoop};
use crate::request::{Head, Request};
use crate::response::Response;
use crate::wake::{self, Waker};
use crate::worker::{Worker, guarded};

/// Answers complete requests, on several threads at once. It must end by itself within a limit of its own.
pub type Handler = dyn Fn(&Request) -> Response + Send + Sync;

/// Looks at a head before the body is read; an error is the answer, and the body is not read. A head that declares
/// a body over the limit is answered 413 without asking. It runs on the poll loop and must not block.
pub type Admit = dyn Fn(&Head) -> Result<(), Response> + Send + Sync;

/// How long the handle waits for workers beyond the stop limit of the requests.
const JOIN_LIMIT: Duration = Duration::from_secs(1);

/// Connections that the kernel holds until we accept them.
const N_BACKLOG: i32 = 1024;

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another socket listens there.
    #[error("cannot listen on {address}: the address is in use")]
    AddressInUse {
        /// What was asked for.
        address: SocketAddr,
    },
    /// Any other reason not to listen, such as a missing right or an address that is not ours.
    #[error("cannot listen on {address}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no thread or descriptor.
    #[error("cannot start the server {name}")]
    Start {
        /// The server's name.
        name: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A bound listener that does not answer yet; clients that connect wait.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    limits: Limits,
    name: String,
    admit: Arc<Admit>,
}

impl Server {
    /// Listens on `address`; port 0 takes a free one. `name` begins the names of all threads. Raises the process's
    /// soft limit of descriptors to the hard one, since every connection needs one.
    pub fn bind(address: SocketAddr, limits: Limits, name: &str) -> Result<Server, ServerError> {
        descriptors::raise_limit();
        let bind_error = |source: io::Error| match source.kind() {
            ErrorKind::AddrInUse => ServerError::AddressInUse { address },
            _ => ServerError::Bind { address, source },
        };
        let listener = TcpListener::bind(address).map_err(bind_error)?;
        listener.set_nonblocking(true).map_err(bind_error)?;
        // More than the 128 of the standard library: clients beyond the backlog wait a second for their next try.
        let _ = listen(&listener, N_BACKLOG);
        let address = listener.local_addr().map_err(bind_error)?;
        Ok(Server { listener, address, limits, name: name.to_owned(), admit: Arc::new(|_| Ok(())) })
    }

    /// Where it listens, with the port that the system chose.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Sets the look at each head before its body is read; without it every head is admitted.
    pub fn admit(mut self, admit: Arc<Admit>) -> Server {
        self.admit = admit;
        self
    }

    /// Starts all threads. Dropping the handle stops them.
    pub fn serve(self, handler: Arc<Handler>) -> Result<Running, ServerError> {
        let Server { listener, address, limits, name, admit } = self;
        let start_error = |source| ServerError::Start { name: name.clone(), source };
        let (waker, ear) = wake::pair().map_err(start_error)?;
        let n_workers = limits.n_workers.max(1);
        // Short: what does not fit waits in its connection, where its deadline is watched.
        let (work_sender, work) = bounded(n_workers);
        // One for each connection, so that no worker ever waits for the poll loop.
        let (answers, answer_receiver) = bounded(limits.n_connections.max(1));
        let (ended, workers_ended) = bounded(0);
        let (loop_ended, closed) = bounded(0);
        let shared = Arc::new(Shared::default());
        let waker = Arc::new(waker);
        let mut running = Running {
            address,
            stop_limit: limits.stop_limit,
            shared: shared.clone(),
            waker: waker.clone(),
            workers_ended,
            closed,
            poll_thread: None,
            workers: Vec::new(),
        };
        let worker = Worker { handler, work, answers, waker, ended };
        for n_worker in 1..=n_workers {
            let thread = worker.clone().start(format!("{name}/worker-{n_worker}")).map_err(start_error)?;
            running.workers.push(thread);
        }
        let hooks = Hooks { limits, admit: guarded_admit(admit), stopping: false };
        let links = Links { ear, shared, work: work_sender, answers: answer_receiver };
        let poll_loop = PollLoop::new(Door::new(listener), hooks, links);
        let thread = Builder::new().name(format!("{name}/poll")).spawn(move || {
            // Dropped when the loop ends, be it by a panic.
            let _loop_ended = loop_ended;
            poll_loop.run();
        });
        running.poll_thread = Some(thread.map_err(start_error)?);
        Ok(running)
    }
}

/// What handle and poll loop tell each other.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) stopping: AtomicBool,
    pub(crate) n_wake_ups: AtomicU64,
    pub(crate) n_connections: AtomicUsize,
    pub(crate) n_held_bytes: AtomicUsize,
}

/// Figures of a running server, each as of the poll loop's last turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// How often the poll loop woke since the start; stands still while nothing happens.
    pub n_wake_ups: u64,
    /// Open connections.
    pub n_connections: usize,
    /// Body bytes that are unfinished or not yet handled.
    pub n_held_bytes: usize,
}

/// A running server. `stop`, or dropping it, ends it.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop_limit: Duration,
    shared: Arc<Shared>,
    waker: Arc<Waker>,
    workers_ended: Receiver<()>,
    closed: Receiver<()>,
    poll_thread: Option<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
}

impl Running {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Carries nothing; closes when the server no longer answers, be it by `stop` or by a bug.
    pub fn closed(&self) -> &Receiver<()> {
        &self.closed
    }

    /// Current figures.
    pub fn stats(&self) -> Stats {
        Stats {
            n_wake_ups: self.shared.n_wake_ups.load(Ordering::Relaxed),
            n_connections: self.shared.n_connections.load(Ordering::Relaxed),
            n_held_bytes: self.shared.n_held_bytes.load(Ordering::Relaxed),
        }
    }

    /// Closes the listener and unfinished requests at once, lets complete requests finish within the stop limit,
    /// then joins every thread. A handler that does not end in that time is reported and left behind.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        let Some(poll_thread) = self.poll_thread.take() else { return };
        let stop_at = Instant::now() + self.stop_limit + JOIN_LIMIT;
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.waker.wake();
        if poll_thread.join().is_err() {
            error!(address:% = self.address; "poll loop of the HTTP server panicked");
        }
        match self.workers_ended.recv_deadline(stop_at) {
            Err(RecvTimeoutError::Timeout) => {
                error!(address:% = self.address; "a request handler of the HTTP server does not end");
            }
            Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                for worker in self.workers.drain(..) {
                    // Handler panics are caught, so there is no news in the result.
                    let _ = worker.join();
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// A panic of the hook must not end the poll loop.
fn guarded_admit(admit: Arc<Admit>) -> Box<Admit> {
    Box::new(move |head| {
        guarded("admission", || admit(head)).unwrap_or_else(|| Err(Response::text(500, "internal error\n")))
    })
}
