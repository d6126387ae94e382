//! Takes news to the store on threads of its own, so that a store that hangs costs a webhook a limited wait, and the receiver a
//! limited number of threads.
//!
//! A verb cannot be called back. When the limit is over, its webhook is answered without it; the verb may still happen later, which
//! is well, since deliveries may be repeated. While every thread hangs, further news is not even begun.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use log::error;

use anklet_plugin_api::log_context::Context;
use anklet_plugin_api::store::{Noted, Source, Store, StoreError};

use crate::delivery::Delivery;

/// How long a verb that is still going on is waited for at a stop; its webhook has been answered before.
const JOIN_LIMIT: Duration = Duration::from_secs(1);

/// Why news is not known to be stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotStored {
    /// The store says no.
    #[error(transparent)]
    Refused(#[from] StoreError),
    /// It may still happen.
    #[error("the store did not answer within its limit")]
    TooSlow,
    /// Our own bug.
    #[error("panic while taking in news: please report this")]
    Panicked,
}

/// The threads; dropping the counters lets them end.
pub(crate) struct StoreThreads {
    threads: Vec<JoinHandle<()>>,
    ended: Receiver<()>,
}

/// Where news is handed in.
pub(crate) struct Counter(Sender<Errand>);

struct Errand {
    delivery: Delivery,
    answer: Sender<Result<Noted, NotStored>>,
}

#[derive(Clone)]
struct Porter {
    store: Arc<dyn Store>,
    context: Context,
    errands: Receiver<Errand>,
    /// Never sent on: closes when the last thread has ended.
    _ended: Sender<()>,
}

impl StoreThreads {
    /// Starts `n_threads`; `name` begins their names.
    pub(crate) fn start(
        store: &Arc<dyn Store>,
        context: &Context,
        name: &str,
        n_threads: usize,
    ) -> io::Result<(StoreThreads, Counter)> {
        // Without room: what no thread takes must not wait in a queue until after its limit.
        let (counter, errands) = bounded(0);
        let (ending, ended) = bounded(0);
        let porter = Porter { store: Arc::clone(store), context: context.clone(), errands, _ended: ending };
        let start = |n_thread: usize| {
            let porter = porter.clone();
            Builder::new().name(format!("{name}/store-{n_thread}")).spawn(move || porter.run())
        };
        let threads = (1..=n_threads).map(start).collect::<io::Result<_>>()?;
        Ok((StoreThreads { threads, ended }, Counter(counter)))
    }

    /// Waits for the threads after the counter is gone. One that hangs in the store is reported and left behind.
    pub(crate) fn join(self) {
        if self.ended.recv_timeout(JOIN_LIMIT) == Err(RecvTimeoutError::Timeout) {
            error!("the store does not answer; what it was told last may or may not be stored");
            return;
        }
        for thread in self.threads {
            // Panics are caught, so there is no news in the result.
            let _ = thread.join();
        }
    }
}

impl Counter {
    /// What became of the news, or that it is not known at the deadline.
    pub(crate) fn take_in(&self, delivery: Delivery, deadline: Instant) -> Result<Noted, NotStored> {
        let (answer, answered) = bounded(1);
        let errand = Errand { delivery, answer };
        self.0.send_deadline(errand, deadline).map_err(|_| NotStored::TooSlow)?;
        answered.recv_deadline(deadline).unwrap_or(Err(NotStored::TooSlow))
    }
}

impl Porter {
    fn run(self) {
        let _context = self.context.enter();
        for Errand { delivery, answer } in &self.errands {
            let guarded = catch_unwind(AssertUnwindSafe(|| self.carry(&delivery, &answer)));
            if guarded.is_err() {
                let _ = answer.send(Err(NotStored::Panicked));
            }
        }
    }

    /// Answers first and tells then. What is stored is told even if it came too late for its answer; what is not, is told by
    /// whoever waited.
    fn carry(&self, delivery: &Delivery, answer: &Sender<Result<Noted, NotStored>>) {
        let noted = match self.store.news(&delivery.news, Source::Webhook) {
            Ok(noted) => noted,
            Err(error) => {
                let _ = answer.send(Err(error.into()));
                return;
            }
        };
        let _ = answer.send(Ok(noted));
        delivery.tell_stored(noted, &*self.store);
    }
}
