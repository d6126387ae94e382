//! The threads that run the handler. A panic in it costs its request an answer of 500, and no thread.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Receiver, Sender};
use log::error;

use crate::request::Request;
use crate::response::Response;
use crate::server::Handler;
use crate::wake::Waker;

/// A complete request and the connection that waits for its answer.
pub(crate) struct Work {
    pub(crate) connection: u64,
    pub(crate) request: Request,
}

pub(crate) struct Answered {
    pub(crate) connection: u64,
    pub(crate) response: Response,
}

/// What each worker holds. `ended` is never sent on: it closes when the last worker is gone.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) handler: Arc<Handler>,
    pub(crate) work: Receiver<Work>,
    pub(crate) answers: Sender<Answered>,
    pub(crate) waker: Arc<Waker>,
    pub(crate) ended: Sender<()>,
}

impl Worker {
    pub(crate) fn start(self, name: String) -> io::Result<JoinHandle<()>> {
        Builder::new().name(name).spawn(move || self.run())
    }

    /// Until the poll loop has dropped its end of the channel.
    fn run(self) {
        for Work { connection, request } in &self.work {
            let response = guarded("handler", || (self.handler)(&request))
                .unwrap_or_else(|| Response::text(500, "internal error\n"));
            // Before the answer, so that the loop may count these bytes as free.
            drop(request);
            if self.answers.send(Answered { connection, response }).is_err() {
                return;
            }
            self.waker.wake();
        }
        drop(self.ended);
    }
}

/// Runs code of the server's owner; a panic is logged and gives `None`.
pub(crate) fn guarded<T>(what: &'static str, run: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(value) => Some(value),
        Err(panic) => {
            error!(code = what, error = panic_text(panic.as_ref()); "panic while answering a request");
            None
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown")
}
