//! What people ask of the queue, what they do to it by hand, and the notices that processes put up for them.
//!
//! The questions read indexes and no more documents than they answer, so that they are quick on a long queue.

use std::collections::BTreeMap;
use std::time::Duration;

use anklet_plugin_api::job::{Group, JobId};
use anklet_plugin_api::sorted::sort_by_key;
use anklet_plugin_api::store::{
    Ahead, ByHand, Dossier, Ended, Entry, JobSignal, Notice, Spot as Asked, Survey, Waiting,
};
use anklet_plugin_api::time::Moment;
use rusqlite::{OptionalExtension, params};

use super::document::{Spot, StoredJob, VERSION};
use super::fail::Fail;
use super::groups::group_of;
use super::tables::{Tx, to_json, unsigned};
use crate::store::signals::Signal;

/// Notices that have come down and are removed with each one that is put up.
const N_PRUNED: i64 = 8;

/// How long the story of an ended job is kept; its tombstone stands longer.
pub(super) const REMEMBERED: Duration = Duration::from_secs(24 * 3_600);

impl Tx<'_> {
    pub(super) fn survey(&self) -> Result<Survey, Fail> {
        let count = "SELECT
            (SELECT count(*) FROM jobs WHERE queue = ?1 AND due IS NOT NULL AND due > ?2),
            (SELECT count(*) FROM jobs WHERE queue = ?1 AND handler IS NOT NULL),
            (SELECT count(*) FROM jobs WHERE queue = ?1 AND grp IS NULL AND due IS NULL AND handler IS NULL),
            (SELECT count(*) FROM vms WHERE queue = ?1)";
        let at = self.now;
        let mut survey = Survey { at, held: 0, claimed: 0, running: 0, vms: 0, groups: BTreeMap::new() };
        let mut statement = self.connection.prepare_cached(count)?;
        statement.query_row(params![self.queue, at.0], |row| {
            (survey.held, survey.claimed) = (unsigned(row, 0)?, unsigned(row, 1)?);
            (survey.running, survey.vms) = (unsigned(row, 2)?, unsigned(row, 3)?);
            Ok(())
        })?;
        let mut groups = self.connection.prepare_cached(
            "SELECT groups.*, (SELECT count(*) FROM jobs WHERE grp = groups.id) AS n FROM groups WHERE queue = ?1",
        )?;
        let mut rows = groups.query([self.queue])?;
        while let Some(row) = rows.next()? {
            add(&mut survey.groups, group_of(row)?, unsigned(row, "n")?, Moment(row.get("head_age")?));
        }
        for job in self.due_jobs()? {
            add(&mut survey.groups, job.job.group(), 1, job.age());
        }
        Ok(survey)
    }

    /// Jobs that are due, which nobody has moved into their groups yet: a claim moves them.
    fn due_jobs(&self) -> Result<Vec<StoredJob>, Fail> {
        let sql = "SELECT seq, grp, version, doc FROM jobs WHERE queue = ?1 AND due IS NOT NULL AND due <= ?2 AND version <= ?3 ORDER BY due LIMIT 1000";
        self.jobs_of(sql, params![self.queue, self.now.0, VERSION])
    }

    pub(super) fn list(&self, spot: Asked, limit: usize) -> Result<Vec<Entry>, Fail> {
        let n_jobs = i64::try_from(limit).unwrap_or(i64::MAX);
        let (condition, order) = match spot {
            Asked::Queued => {
                let mut jobs = self.oldest_queued(n_jobs)?;
                jobs.extend(self.due_jobs()?);
                sort_by_key(&mut jobs, |job| (job.age(), job.row.map(|row| row.seq)));
                jobs.truncate(limit);
                return Ok(jobs.into_iter().map(|job| job.into_entry(self.now)).collect());
            }
            Asked::Held => ("due IS NOT NULL AND due > ?2", "due, seq"),
            Asked::Claimed => ("handler IS NOT NULL AND ?2", "age, seq"),
            Asked::Running => ("grp IS NULL AND due IS NULL AND handler IS NULL AND ?2", "seq"),
        };
        let sql = format!(
            "SELECT seq, grp, version, doc FROM jobs WHERE queue = ?1 AND {condition} ORDER BY {order} LIMIT ?3"
        );
        let jobs = self.jobs_of(&sql, params![self.queue, self.now.0, n_jobs])?;
        Ok(jobs.into_iter().map(|job| job.into_entry(self.now)).collect())
    }

    /// The oldest of the groups whose heads are the oldest: no others can be among the first.
    fn oldest_queued(&self, n_jobs: i64) -> Result<Vec<StoredJob>, Fail> {
        let mut groups = self
            .connection
            .prepare_cached("SELECT id FROM groups WHERE queue = ?1 ORDER BY head_age, head_seq LIMIT ?2")?;
        let mut found: Vec<(i64, i64)> = Vec::new();
        let mut rows = groups.query(params![self.queue, n_jobs])?;
        while let Some(row) = rows.next()? {
            let mut jobs = self
                .connection
                .prepare_cached("SELECT age, seq FROM jobs WHERE grp = ?1 ORDER BY age, seq LIMIT ?2")?;
            let group: i64 = row.get(0)?;
            let oldest = jobs.query_map(params![group, n_jobs], |row| Ok((row.get(0)?, row.get(1)?)))?;
            for position in oldest {
                found.push(position?);
            }
        }
        found.sort_unstable();
        found.truncate(usize::try_from(n_jobs).unwrap_or(usize::MAX));
        let jobs = found.into_iter().map(|(_, seq)| self.job_in_row(seq));
        jobs.filter_map(Result::transpose).collect()
    }

    pub(super) fn examine(&self, id: JobId) -> Result<Dossier, Fail> {
        let stored = self.job(id)?;
        let ahead = match &stored {
            Some(job) => self.ahead(job)?,
            None => None,
        };
        let ended = match self.ended_attempt(id)? {
            Some(run_attempt) => Some(Ended { run_attempt, last: self.last(id)? }),
            None => None,
        };
        let entry = stored.map(|job| job.into_entry(self.now));
        Ok(Dossier { at: self.now, entry, ahead, ended })
    }

    /// Jobs that are due but not moved yet count with those of their age.
    fn ahead(&self, job: &StoredJob) -> Result<Option<Ahead>, Fail> {
        let (Some(row), true) = (job.row, is_claimable(job, self.now)) else { return Ok(None) };
        let group = job.job.group();
        let mut ahead = Ahead { in_group: 0, in_queue: 0 };
        let mut groups = self.connection.prepare_cached("SELECT * FROM groups WHERE queue = ?1")?;
        let mut rows = groups.query([self.queue])?;
        let mut count = self
            .connection
            .prepare_cached("SELECT count(*) FROM jobs WHERE grp = ?1 AND (age, seq) < (?2, ?3)")?;
        while let Some(found) = rows.next()? {
            let id: i64 = found.get("id")?;
            let n_jobs = count.query_row(params![id, job.age().0, row.seq], |row| unsigned(row, 0))?;
            ahead.in_queue += n_jobs;
            if group_of(found)? == group {
                ahead.in_group += n_jobs;
            }
        }
        let position = |job: &StoredJob| (job.age(), job.row.map(|row| row.seq));
        for other in self.due_jobs()?.iter().filter(|other| position(other) < position(job)) {
            ahead.in_queue += 1;
            ahead.in_group += u64::from(other.job.group() == group);
        }
        Ok(Some(ahead))
    }

    pub(super) fn by_hand(&mut self, id: JobId, what: &ByHand) -> Result<bool, Fail> {
        let Some(mut job) = self.job(id)? else { return Ok(false) };
        match what {
            ByHand::Say(text) => {
                job.note(self.now, text.as_str(), None);
                self.put_job(&job)?;
            }
            ByHand::Retry => {
                if !matches!(job.spot, Spot::Queued | Spot::Held { .. }) {
                    return Ok(false);
                }
                job.spot = Spot::Queued;
                job.hosts.values_mut().for_each(|host| host.avoid_until = Moment::default());
                job.hosts.retain(|_, host| *host != Default::default());
                job.note(self.now, "retried by hand", None);
                self.put_job(&job)?;
                self.signals.push(Signal::look());
            }
            ByHand::Remove => {
                job.note(self.now, "removed by hand", None);
                self.remember(&job)?;
                if let Some(hold) = job.hold() {
                    self.signals.push(Signal::to(&hold.handler, JobSignal::Retry));
                }
                self.remove_job(&job)?;
                self.bury(&job.job)?;
            }
        }
        Ok(true)
    }

    /// Keeps a job that goes, beside its tombstone.
    pub(super) fn remember(&self, job: &StoredJob) -> Result<(), Fail> {
        let life = self.tombstone_life.min(REMEMBERED);
        self.post(&ended_key(job.job.id), &to_json(&job.to_last())?, life)
    }

    fn last(&self, id: JobId) -> Result<Option<Entry>, Fail> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT text FROM notices WHERE queue = ?1 AND key = ?2 AND until > ?3")?;
        let of = params![self.queue, ended_key(id), self.now.0];
        let text: Option<String> = statement.query_row(of, |row| row.get(0)).optional()?;
        // What a newer anklet wrote and we cannot read is as if it had been forgotten.
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    pub(super) fn post(&self, key: &str, text: &str, life: Duration) -> Result<(), Fail> {
        if life.is_zero() {
            return self
                .execute("DELETE FROM notices WHERE queue = ?1 AND key = ?2", params![self.queue, key]);
        }
        self.execute(
            "INSERT INTO notices (queue, key, text, since, until) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (queue, key) DO UPDATE SET text = excluded.text, until = excluded.until,
             since = CASE WHEN text = excluded.text AND until > excluded.since THEN since ELSE excluded.since END",
            params![self.queue, key, text, self.now.0, self.now.after(life).0],
        )?;
        self.execute(
            "DELETE FROM notices WHERE (queue, key) IN (SELECT queue, key FROM notices WHERE until <= ?1 ORDER BY until LIMIT ?2)",
            params![self.now.0, N_PRUNED],
        )
    }

    pub(super) fn notices(&self, prefix: &str) -> Result<Vec<Notice>, Fail> {
        let mut statement = self.connection.prepare_cached(
            "SELECT key, text, since, until FROM notices WHERE queue = ?1 AND key >= ?2 AND substr(key, 1, length(?2)) = ?2 AND until > ?3 ORDER BY key",
        )?;
        let rows = statement.query_map(params![self.queue, prefix, self.now.0], |row| {
            let (since, until) = (Moment(row.get(2)?), Moment(row.get(3)?));
            Ok(Notice { key: row.get(0)?, text: row.get(1)?, since, until })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn ended_key(id: JobId) -> String {
    format!("ended/{id}")
}

fn is_claimable(job: &StoredJob, now: Moment) -> bool {
    match job.spot {
        Spot::Queued => true,
        Spot::Held { until } => until <= now,
        Spot::Claimed(_) | Spot::Running => false,
    }
}

fn add(groups: &mut BTreeMap<Group, Waiting>, group: Group, n_jobs: u64, oldest_at: Moment) {
    let waiting = groups.entry(group).or_insert(Waiting { n_jobs: 0, oldest_at });
    waiting.n_jobs += n_jobs;
    waiting.oldest_at = waiting.oldest_at.min(oldest_at);
}
