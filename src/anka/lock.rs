//! The lock between pulls and clones of this host.
//!
//! A pull beside another pull or a clone corrupts data, on the whole host. So a pull needs `pull.lock` alone and clones
//! share it, and it is the *child* that holds it, as its standard input: it may outlive us.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anklet_plugin_api::ear::{Ear, Heard};
use anklet_plugin_api::vm::VmError;
use crossbeam_channel::{Receiver, Sender, bounded};
use log::debug;

use crate::host::lock::{FileLock, Sharing};

/// The lock file, and who of this process waits for it.
pub(crate) struct PullLock {
    path: PathBuf,
    /// A look whether the lock is free takes it for a moment; nobody else of this process must be turned away by that.
    gate: Mutex<()>,
    /// Who waits for the end of a pull. One thread waits for all of them.
    waiting: Arc<Mutex<Vec<Sender<()>>>>,
}

impl PullLock {
    /// The lock file of the folder `~/.config/anklet`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { path: folder.join("pull.lock"), gate: Mutex::new(()), waiting: Arc::default() }
    }

    /// Takes the lock as clones do; none while a pull holds it.
    pub(crate) fn shared(&self) -> io::Result<Option<FileLock>> {
        let _gate = lock(&self.gate);
        FileLock::try_take(&self.path, Sharing::Shared)
    }

    /// Takes the lock as a pull does; none while another pull or a clone holds it.
    pub(crate) fn alone(&self) -> io::Result<Option<FileLock>> {
        let _gate = lock(&self.gate);
        FileLock::try_take(&self.path, Sharing::Alone)
    }

    /// Takes the lock as a pull does, once the clones that are under way have ended: they take seconds.
    /// [`VmError::Busy`] while another pull holds it.
    pub(crate) fn alone_after_clones(
        &self,
        verb: &'static str,
        ear: &Ear<'_>,
        deadline: Instant,
    ) -> Result<FileLock, VmError> {
        let unlockable = |source| VmError::NotStarted { verb, source };
        if let Some(lock) = self.alone().map_err(unlockable)? {
            return Ok(lock);
        }
        if !self.is_shared().map_err(unlockable)? {
            return Err(VmError::Busy);
        }
        self.wait_alone(verb, ear, deadline)
    }

    /// Waits until no clone is under way; [`VmError::Busy`] when the limit passes.
    pub(crate) fn wait_for_clones(
        &self,
        verb: &'static str,
        ear: &Ear<'_>,
        deadline: Instant,
    ) -> Result<(), VmError> {
        if !self.is_shared().map_err(|source| VmError::NotStarted { verb, source })? {
            return Ok(());
        }
        debug!(verb; "waiting for clones that are under way");
        self.wait_alone(verb, ear, deadline).map(drop)
    }

    /// Becomes ready once, when no pull holds the lock.
    pub(crate) fn pull_ended(&self) -> io::Result<Receiver<()>> {
        let (ended, ends) = bounded(1);
        let mut waiting = lock(&self.waiting);
        if waiting.is_empty() {
            let taken = FileLock::taking(&self.path, Sharing::Shared)?;
            let all = Arc::clone(&self.waiting);
            thread::Builder::new().name("pull end".to_owned()).stack_size(64 << 10).spawn(move || {
                // Where the lock cannot be waited for, the next try says why.
                drop(taken.recv());
                for one in lock(&all).drain(..) {
                    let _ = one.try_send(());
                }
            })?;
        }
        waiting.push(ended);
        Ok(ends)
    }

    /// Whether a clone holds the lock. While a pull does, none can.
    fn is_shared(&self) -> io::Result<bool> {
        let _gate = lock(&self.gate);
        let free = FileLock::try_take(&self.path, Sharing::Alone)?.is_some();
        Ok(!free && FileLock::try_take(&self.path, Sharing::Shared)?.is_some())
    }

    fn wait_alone(&self, verb: &'static str, ear: &Ear<'_>, deadline: Instant) -> Result<FileLock, VmError> {
        let unlockable = |source| VmError::NotStarted { verb, source };
        let taken = FileLock::taking(&self.path, Sharing::Alone).map_err(unlockable)?;
        match ear.wait(&taken, deadline) {
            Heard::Done(taken) => taken.map_err(unlockable),
            Heard::Cut => Err(VmError::Cut { verb }),
            Heard::TooSlow | Heard::Gone => Err(VmError::Busy),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
