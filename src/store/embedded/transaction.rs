//! The open transaction of the connection, and how those who share it hear of its end.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use log::error;
use rusqlite::Connection;

use super::fail::{Fail, SqlFailure};
use crate::store::signals::Signal;

pub(super) struct Inside {
    pub(super) connection: Connection,
    pub(super) open: Option<Open>,
    pub(super) was_away: bool,
}

/// The open transaction.
pub(super) struct Open {
    pub(super) batch: Arc<Batch>,
    pub(super) n_verbs: usize,
    pub(super) n_changes_before: u64,
    pub(super) signals: Vec<(i64, Signal)>,
}

/// How the transaction ended, for those who wait for it.
#[derive(Default)]
pub(super) struct Batch {
    outcome: Mutex<Option<Result<(), SqlFailure>>>,
    ended: Condvar,
}

impl Inside {
    pub(super) fn begin(&mut self) -> Result<(), Fail> {
        if self.open.is_none() {
            self.execute("BEGIN IMMEDIATE")?;
            let n_changes_before = self.connection.total_changes();
            self.open =
                Some(Open { batch: Arc::default(), n_verbs: 0, n_changes_before, signals: Vec::new() });
        }
        Ok(())
    }

    /// Whether nothing has been written since the transaction began.
    pub(super) fn is_clean(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.n_changes_before == self.connection.total_changes())
    }

    pub(super) fn undo_verb(&self) -> Result<(), SqlFailure> {
        if !self.connection.is_autocommit() {
            self.execute("ROLLBACK TO verb")?;
            self.execute("RELEASE verb")?;
        }
        Ok(())
    }

    /// So that the clock does not run back over a restart.
    pub(super) fn keep_time(&self, now: i64) -> Result<(), SqlFailure> {
        self.connection.prepare_cached("UPDATE clock SET at = ?1 WHERE at < ?1")?.execute([now])?;
        Ok(())
    }

    pub(super) fn execute(&self, sql: &str) -> Result<(), SqlFailure> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    /// Gives the transaction up, after it could not be committed.
    pub(super) fn abandon(&mut self) {
        self.open = None;
        self.was_away = true;
        if !self.connection.is_autocommit()
            && let Err(failure) = self.execute("ROLLBACK")
        {
            error!(error:% = failure; "a transaction of the queue file could not be rolled back");
        }
    }
}

impl Batch {
    pub(super) fn end(&self, outcome: Result<(), SqlFailure>) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.ended.notify_all();
    }

    pub(super) fn wait(&self) -> Result<(), SqlFailure> {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            outcome = self.ended.wait(outcome).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
