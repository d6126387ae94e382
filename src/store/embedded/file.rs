//! The open queue file, and the flush that verbs share.
//!
//! There is no writer thread. Each thread runs its own verb inside the open transaction, under a lock; the last one in the line commits
//! for all, the others wait for that. A verb that comes alone commits at once, and while a commit is being flushed the next
//! batch lines up by itself.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use log::error;
use rusqlite::Connection;

use super::Failpoint;
use super::clock::Clock;
use super::fail::{Fail, SqlFailure};
use super::lock::DaemonLock;
use super::tables::Tx;
use super::transaction::Inside;
use crate::store::signals::Listeners;

/// Verbs that share a flush at most: the first of them waits for all.
const N_BATCH: usize = 64;

/// A verb without its answer: so there is one transaction for all of them, whatever they answer.
type Verb<'a> = dyn FnMut(&mut Tx<'_>) -> Result<(), Fail> + 'a;

pub(super) struct QueueFile {
    inside: Mutex<Inside>,
    /// Threads on their way to the lock. Whoever is counted here will commit, or leave it to another who is.
    n_waiting: AtomicUsize,
    pub(super) listeners: Listeners<i64>,
    clock: Clock,
    failpoint: Option<Failpoint>,
    tombstone_life: Duration,
    has_warned: AtomicBool,
    /// What makes it the daemon's.
    lock: Option<DaemonLock>,
}

impl QueueFile {
    pub(super) fn new(
        connection: Connection,
        clock: Clock,
        failpoint: Option<Failpoint>,
        tombstone_life: Duration,
        lock: Option<DaemonLock>,
    ) -> Self {
        Self {
            inside: Mutex::new(Inside { connection, open: None, was_away: false }),
            n_waiting: AtomicUsize::new(0),
            listeners: Listeners::default(),
            clock,
            failpoint,
            tombstone_life,
            has_warned: AtomicBool::new(false),
            lock,
        }
    }

    /// Runs a verb whole or not at all. What it and those it builds on have written is on disk when this comes back.
    pub(super) fn run<T>(
        &self,
        queue: i64,
        mut verb: impl FnMut(&mut Tx<'_>) -> Result<T, Fail>,
    ) -> Result<T, Fail> {
        answered(&mut verb, |verb| self.run_verb(queue, verb))
    }

    fn run_verb(&self, queue: i64, verb: &mut Verb<'_>) -> Result<(), Fail> {
        self.n_waiting.fetch_add(1, Ordering::SeqCst);
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        self.n_waiting.fetch_sub(1, Ordering::SeqCst);
        inside.begin()?;
        // A panic must not keep the others of the batch from their commit.
        let caught = catch_unwind(AssertUnwindSafe(|| self.run_in(&mut inside, queue, verb)));
        let outcome = match caught {
            Ok(outcome) => outcome,
            Err(panic) => {
                let undone = inside.undo_verb();
                // Ours is the panic; how the others' verbs ended they hear from the batch.
                let _ = self.settle(inside, undone);
                resume_unwind(panic);
            }
        };
        let so_far = match &outcome {
            // SQLite has undone more than this verb: the whole batch ends as it did.
            Err(Fail::Sql(failure)) if inside.connection.is_autocommit() => Err(failure.clone()),
            _ => Ok(()),
        };
        self.settle(inside, so_far)?;
        outcome
    }

    /// Runs a verb that only reads. Beside a daemon it holds no lock, so that a long question keeps nobody from writing.
    pub(super) fn ask<T>(
        &self,
        queue: i64,
        mut verb: impl FnMut(&mut Tx<'_>) -> Result<T, Fail>,
    ) -> Result<T, Fail> {
        answered(&mut verb, |verb| self.ask_verb(queue, verb))
    }

    fn ask_verb(&self, queue: i64, verb: &mut Verb<'_>) -> Result<(), Fail> {
        if self.lock.is_none() {
            let inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
            inside.execute("BEGIN")?;
            let outcome = verb(&mut self.tx(&inside.connection, queue));
            inside.execute("ROLLBACK")?;
            match outcome {
                // Setting it aside is for the other way.
                Err(Fail::Broken(_)) => {}
                outcome => return outcome,
            }
        }
        self.run_verb(queue, verb)
    }

    /// Commits the batch, or leaves that to the next in line and waits.
    fn settle(&self, mut inside: MutexGuard<'_, Inside>, so_far: Result<(), SqlFailure>) -> Result<(), Fail> {
        let Some(open) = &inside.open else { return so_far.map_err(Fail::Sql) };
        let batch = Arc::clone(&open.batch);
        let is_full = open.n_verbs >= N_BATCH;
        if self.n_waiting.load(Ordering::SeqCst) == 0 || is_full || so_far.is_err() {
            let outcome = so_far.and_then(|()| self.commit(&mut inside));
            if outcome.is_err() {
                inside.abandon();
            }
            drop(inside);
            batch.end(outcome.clone());
            return outcome.map_err(Fail::Sql);
        }
        let is_clean = inside.is_clean();
        drop(inside);
        // What was only read of what is on disk needs no flush.
        if is_clean { Ok(()) } else { batch.wait().map_err(Fail::Sql) }
    }

    fn run_in(&self, inside: &mut Inside, queue: i64, verb: &mut Verb<'_>) -> Result<(), Fail> {
        if let Some(open) = &mut inside.open {
            open.n_verbs += 1;
        }
        loop {
            inside.execute("SAVEPOINT verb")?;
            let mut tx = self.tx(&inside.connection, queue);
            let outcome = verb(&mut tx);
            let signals = tx.signals;
            match outcome {
                Ok(()) => {
                    inside.execute("RELEASE verb")?;
                    if let Some(open) = &mut inside.open {
                        open.signals.extend(signals.into_iter().map(|signal| (queue, signal)));
                    }
                    return Ok(());
                }
                Err(Fail::Broken(broken)) => {
                    inside.undo_verb().map_err(Fail::Sql)?;
                    self.tx(&inside.connection, queue).set_aside(&broken)?;
                    error!(row = broken.row, error = broken.why; "a stored document cannot be read; it was set aside into the table broken");
                }
                Err(fail) => {
                    inside.undo_verb().map_err(Fail::Sql)?;
                    return Err(fail);
                }
            }
        }
    }

    fn commit(&self, inside: &mut Inside) -> Result<(), SqlFailure> {
        let is_clean = inside.is_clean();
        if !is_clean {
            inside.keep_time(self.clock.now().0)?;
            self.point("before commit");
        }
        inside.execute("COMMIT")?;
        let signals = inside.open.take().map(|open| open.signals).unwrap_or_default();
        if !is_clean {
            self.point("after commit");
            if std::mem::take(&mut inside.was_away) {
                self.listeners.tell_all();
            }
        }
        for (queue, signal) in &signals {
            self.listeners.tell(queue, signal);
        }
        Ok(())
    }

    fn tx<'a>(&'a self, connection: &'a Connection, queue: i64) -> Tx<'a> {
        Tx {
            connection,
            queue,
            now: self.clock.now(),
            failpoint: self.failpoint.as_ref(),
            tombstone_life: self.tombstone_life,
            has_warned: &self.has_warned,
            signals: Vec::new(),
        }
    }

    fn point(&self, name: &'static str) {
        if let Some(failpoint) = &self.failpoint {
            failpoint(name);
        }
    }
}

/// Has the verb run by `run`, as often as that wants; its last answer.
fn answered<T>(
    verb: &mut impl FnMut(&mut Tx<'_>) -> Result<T, Fail>,
    run: impl FnOnce(&mut Verb<'_>) -> Result<(), Fail>,
) -> Result<T, Fail> {
    let mut answer = None;
    run(&mut |tx| {
        answer = Some(verb(tx)?);
        Ok(())
    })?;
    Ok(answer.expect("a verb that went well has answered"))
}
