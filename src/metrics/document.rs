//! The document that tells the fleet of this process: in Redis, under the key of the Go program, whose readers know it.
//!
//! It goes with a clean stop; what a dead process leaves expires by itself.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use log::{debug, warn};

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::stop::{Stop, Stopper, stop};

use super::SharedMetrics;
use crate::store::redis::Keys;

/// How often it is written.
const EVERY: Duration = Duration::from_secs(10);
/// How long it stays if nobody writes it any more: as long as the Go program's, since the age of both is read from what is left of it.
pub(super) const LIFE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The thread that writes it.
pub(crate) struct DocumentThread {
    stopper: Stopper,
    thread: JoinHandle<()>,
}

impl DocumentThread {
    /// Writes the document at once, and every ten seconds.
    pub(crate) fn start(keys: Keys, metrics: &SharedMetrics) -> io::Result<Option<Self>> {
        let Some(key) = metrics.key() else { return Ok(None) };
        let (stopper, stop) = stop();
        let metrics = Arc::clone(metrics);
        let thread = Builder::new().name("metrics document".to_owned());
        let thread = thread.spawn(move || write_until(&stop, &keys, &key, &metrics))?;
        Ok(Some(Self { stopper, thread }))
    }

    /// Removes the document and ends the thread.
    pub(crate) fn end(self) {
        drop(self.stopper);
        // A panic there has been told by the panic hook.
        let _ = self.thread.join();
    }
}

fn write_until(stop: &Stop, keys: &Keys, key: &str, metrics: &SharedMetrics) {
    let mut has_warned = false;
    loop {
        match keys.set(key, &metrics.document().to_string(), LIFE) {
            Ok(()) => has_warned = false,
            Err(error) if error.is_refusal() && !has_warned => {
                warn!(key, error:% = error; "cannot write the metrics to the database");
                has_warned = true;
            }
            // That the database is away has been told.
            Err(error) => debug!(error:% = error; "metrics not written"),
        }
        if Ear::to_stop(stop).rest_until(Instant::now() + EVERY) {
            break;
        }
    }
    if let Err(error) = keys.remove(key) {
        debug!(key, error:% = error; "the metrics stay in the database until they expire");
    }
}
