//! The desk: what the handlers of a process and their janitor must know of each other.
//!
//! Above all which VM records a handler has in hand, so that the janitor touches only the others.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use anklet_plugin_api::job::Image;
use anklet_plugin_api::name::VmName;
use anklet_plugin_api::time::Moment;

use crate::archives::KnownArchives;
use crate::sources::Sources;
use crate::verdicts::Verdicts;

/// Templates whose old runners are remembered as told.
const MOST_STALE_RUNNERS: usize = 1_000;

/// Shared by all handlers of the process and the janitor.
#[derive(Clone)]
pub struct Desk {
    in_hand: Arc<Mutex<BTreeSet<VmName>>>,
    pub(crate) verdicts: Arc<Verdicts>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) archives: KnownArchives,
    stale_runners: Arc<Mutex<BTreeSet<String>>>,
    started_at: Arc<AtomicI64>,
    left: Sender<()>,
    leavings: Receiver<()>,
}

impl Default for Desk {
    fn default() -> Self {
        let (left, leavings) = bounded(1);
        Self {
            in_hand: Arc::default(),
            verdicts: Arc::default(),
            sources: Arc::default(),
            archives: KnownArchives::default(),
            stale_runners: Arc::default(),
            started_at: Arc::default(),
            left,
            leavings,
        }
    }
}

impl Desk {
    /// A handler works with this VM from now on.
    pub(crate) fn take(&self, vm: &VmName) {
        self.lock().insert(vm.clone());
    }

    /// The VM is gone, and so is its record.
    pub(crate) fn clear(&self, vm: &VmName) {
        self.lock().remove(vm);
    }

    /// The handler goes on without it; the janitor sees to the rest.
    pub(crate) fn leave(&self, vm: &VmName) {
        self.clear(vm);
        self.call_janitor();
    }

    /// There may be a record that no handler has in hand.
    pub fn call_janitor(&self) {
        // A full channel means that it is on its way already.
        let _ = self.left.try_send(());
    }

    /// Whether a handler has it.
    pub(crate) fn is_in_hand(&self, vm: &VmName) -> bool {
        self.lock().contains(vm)
    }

    /// A job of some handler's VM went in progress now: GitHub does give out jobs.
    pub(crate) fn note_start(&self) {
        self.started_at.fetch_max(Moment::now().0, Ordering::Relaxed);
    }

    /// Whether a job went in progress since then.
    pub(crate) fn started_since(&self, moment: Moment) -> bool {
        self.started_at.load(Ordering::Relaxed) > moment.0
    }

    /// Whether it is news that the template's runner is not of the version that GitHub wants: that is worth a line for each new version.
    pub(crate) fn is_first_stale_runner(&self, image: &Image, wanted: &str) -> bool {
        let mut known = self.stale_runners.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_STALE_RUNNERS {
            known.clear();
        }
        known.insert(format!("{}:{} {wanted}", image.template, image.tag.as_deref().unwrap_or_default()))
    }

    /// Becomes ready when something was left.
    pub(crate) fn leavings(&self) -> &Receiver<()> {
        &self.leavings
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<VmName>> {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
