//! Jobs of which nothing is heard, and the notes that plugins keep.

use anklet_plugin_api::job::Job;
use anklet_plugin_api::store::Silence;
use rusqlite::{OptionalExtension, params};

use super::document::VERSION;
use super::fail::Fail;
use super::tables::Tx;

/// Of other scopes' jobs at most this many are stepped over in one look.
const N_STEPS: i64 = 1_000;

impl Tx<'_> {
    pub(super) fn silent(&mut self, silence: &Silence) -> Result<Vec<Job>, Fail> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq FROM jobs WHERE queue = ?1 AND quiet IS NOT NULL AND quiet <= ?2 AND version <= ?3 ORDER BY quiet, seq LIMIT ?4",
        )?;
        let before = self.now.before(silence.first).0;
        let n_rows = N_STEPS.saturating_add(i64::try_from(silence.limit).unwrap_or(i64::MAX));
        let rows = statement.query_map(params![self.queue, before, VERSION, n_rows], |row| row.get(0))?;
        let rows: Vec<i64> = rows.collect::<Result<_, _>>()?;
        let mut jobs = Vec::new();
        for seq in rows {
            if jobs.len() >= silence.limit {
                break;
            }
            let Some(mut stored) = self.job_in_row(seq)? else { continue };
            if silence.scope.covers(&stored.job) {
                stored.ask(silence.first, silence.most, self.now);
                self.put_job(&stored)?;
                self.point("silent job asked about");
                jobs.push(stored.job);
            }
        }
        Ok(jobs)
    }

    pub(super) fn note(&self, key: &str) -> Result<Option<String>, Fail> {
        let mut statement =
            self.connection.prepare_cached("SELECT text FROM notes WHERE queue = ?1 AND key = ?2")?;
        Ok(statement.query_row(params![self.queue, key], |row| row.get(0)).optional()?)
    }

    pub(super) fn put_note(&self, key: &str, text: &str) -> Result<(), Fail> {
        self.execute(
            "INSERT INTO notes (queue, key, text) VALUES (?1, ?2, ?3) ON CONFLICT (queue, key) DO UPDATE SET text = excluded.text",
            params![self.queue, key, text],
        )
    }
}
