//! Reading and writing the documents of jobs, and their groups. A [`Tx`] is one verb at work inside the open transaction.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anklet_plugin_api::job::{JobId, Phase};
use anklet_plugin_api::name::{HostId, PluginName, VmName};
use anklet_plugin_api::sorted::map_of;
use anklet_plugin_api::store::ClaimKey;
use anklet_plugin_api::time::Moment;
use log::warn;
use rusqlite::{Connection, Row, params};

use super::Failpoint;
use super::changes::Changes;
use super::document::{self, Spot, StoredJob, VERSION};
use super::fail::{Broken, Fail, Kind};
use crate::store::signals::Signal;

/// One verb at work. What it writes counts only once the transaction is committed.
pub(super) struct Tx<'a> {
    pub(super) connection: &'a Connection,
    pub(super) queue: i64,
    pub(super) now: Moment,
    pub(super) failpoint: Option<&'a Failpoint>,
    pub(super) tombstone_life: Duration,
    pub(super) has_warned: &'a AtomicBool,
    /// To be told after the commit.
    pub(super) signals: Vec<Signal>,
}

impl Tx<'_> {
    /// Lets a test die here.
    pub(super) fn point(&self, name: &'static str) {
        if let Some(failpoint) = self.failpoint {
            failpoint(name);
        }
    }

    /// Says once that documents of a newer version are left alone.
    pub(super) fn warn_of_newer(&self, version: u32) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            warn!(version, known = VERSION; "the queue holds documents of a newer anklet; they are left to it");
        }
    }

    pub(super) fn job(&self, id: JobId) -> Result<Option<StoredJob>, Fail> {
        self.one(
            "SELECT seq, grp, version, doc FROM jobs WHERE queue = ?1 AND job = ?2",
            params![self.queue, id.0.cast_signed()],
        )
    }

    pub(super) fn job_in_row(&self, seq: i64) -> Result<Option<StoredJob>, Fail> {
        self.one("SELECT seq, grp, version, doc FROM jobs WHERE seq = ?1", params![seq])
    }

    /// The job that a handler holds.
    pub(super) fn job_of(&self, handler: &PluginName) -> Result<Option<StoredJob>, Fail> {
        self.one(
            "SELECT seq, grp, version, doc FROM jobs WHERE queue = ?1 AND handler = ?2",
            params![self.queue, handler.as_str()],
        )
    }

    /// The job whose claim has this VM.
    pub(super) fn job_with(&self, vm: &VmName) -> Result<Option<StoredJob>, Fail> {
        self.one(
            "SELECT seq, grp, version, doc FROM jobs WHERE queue = ?1 AND vm = ?2",
            params![self.queue, vm.as_str()],
        )
    }

    /// The job of a claim that must still hold.
    pub(super) fn held(&self, key: &ClaimKey) -> Result<StoredJob, Fail> {
        match self.job_of(&key.handler)? {
            Some(job) if job.hold().is_some_and(|hold| hold.fence == key.fence) => Ok(job),
            _ => Err(Fail::Lost),
        }
    }

    /// All claimed jobs; there are at most as many as handlers.
    pub(super) fn claimed(&self) -> Result<Vec<StoredJob>, Fail> {
        let sql = "SELECT seq, grp, version, doc FROM jobs WHERE queue = ?1 AND handler IS NOT NULL ORDER BY age, seq";
        self.jobs_of(sql, [self.queue])
    }

    /// The jobs of these rows, but for those of a newer version: they are another's, who can read them.
    pub(super) fn jobs_of(&self, sql: &str, of: impl rusqlite::Params) -> Result<Vec<StoredJob>, Fail> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(of)?;
        let mut jobs = Vec::new();
        while let Some(row) = rows.next()? {
            match read_job(row) {
                Err(Fail::Newer { version, .. }) => self.warn_of_newer(version),
                job => jobs.push(job?),
            }
        }
        Ok(jobs)
    }

    fn one(&self, sql: &str, of: impl rusqlite::Params) -> Result<Option<StoredJob>, Fail> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(of)?;
        rows.next()?.map(read_job).transpose()
    }

    /// Carries out what the rules have decided.
    pub(super) fn apply(&mut self, changes: Changes) -> Result<(), Fail> {
        for job in &changes.removed {
            if matches!(job.phase, Phase::Completed { .. }) {
                self.remember(job)?;
            }
            self.remove_job(job)?;
            self.point("job removed");
        }
        for job in &changes.jobs {
            self.put_job(job)?;
            self.point("job written");
        }
        for record in &changes.vms {
            self.write_vm(record)?;
            self.point("VM written");
        }
        if let Some(job) = &changes.tombstone {
            self.bury(job)?;
            self.point("tombstone written");
        }
        self.signals.extend(changes.signals);
        Ok(())
    }

    /// Writes a job where its spot says, new or changed.
    pub(super) fn put_job(&self, job: &StoredJob) -> Result<(), Fail> {
        let group = match job.spot {
            Spot::Queued => Some(self.group(&job.job)?),
            Spot::Held { .. } | Spot::Claimed(_) | Spot::Running => None,
        };
        let due = match job.spot {
            Spot::Held { until } => Some(until.0),
            Spot::Queued | Spot::Claimed(_) | Spot::Running => None,
        };
        let hold = job.hold();
        let handler = hold.map(|hold| hold.handler.as_str());
        let vm = hold.and_then(|hold| hold.vm.as_ref()).map(VmName::as_str);
        let quiet = if hold.is_some() { None } else { Some(job.quiet_since.0) };
        let doc = to_json(job)?;
        let seq = job.row.map(|row| row.seq);
        let sql = match seq {
            Some(_) => {
                "UPDATE jobs SET version = ?4, age = ?5, grp = ?6, due = ?7, handler = ?8, vm = ?9, avoids = ?10, quiet = ?11, doc = ?12 WHERE seq = ?1"
            }
            None => {
                "INSERT INTO jobs (queue, job, version, age, grp, due, handler, vm, avoids, quiet, doc) VALUES (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
            }
        };
        let (id, age, avoids) = (job.job.id.0.cast_signed(), job.age().0, avoids(job, self.now)?);
        self.execute(
            sql,
            params![seq, self.queue, id, job.version, age, group, due, handler, vm, avoids, quiet, doc],
        )?;
        let left = job.row.and_then(|row| row.group);
        self.point("job placed");
        if left != group {
            self.keep_head(left)?;
            self.keep_head(group)?;
        }
        Ok(())
    }

    /// Removes a job; one that was never written is well.
    pub(super) fn remove_job(&self, job: &StoredJob) -> Result<(), Fail> {
        if let Some(row) = job.row {
            self.execute("DELETE FROM jobs WHERE seq = ?1", [row.seq])?;
            self.keep_head(row.group)?;
        }
        Ok(())
    }

    pub(super) fn execute(&self, sql: &str, of: impl rusqlite::Params) -> Result<(), Fail> {
        self.connection.prepare_cached(sql)?.execute(of)?;
        Ok(())
    }
}

/// Reads the columns `seq, grp, version, doc`.
pub(super) fn read_job(row: &Row<'_>) -> Result<StoredJob, Fail> {
    let (seq, version): (i64, u32) = (row.get(0)?, row.get(2)?);
    let parsed = match row.get_ref(3)?.as_str() {
        Ok(doc) => serde_json::from_str::<StoredJob>(doc).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match parsed {
        Ok(mut job) => {
            job.row = Some(document::Row { seq, group: row.get(1)? });
            Ok(job)
        }
        Err(_) if version > VERSION => Err(Fail::Newer { what: format!("the job in row {seq}"), version }),
        Err(why) => Err(Fail::Broken(Broken { kind: Kind::Job, row: seq, why })),
    }
}

/// SQLite's numbers have a sign; ours that cannot have one are stored as they are.
pub(super) fn unsigned(row: &Row<'_>, column: impl rusqlite::RowIndex) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

pub(super) fn to_json(document: &impl serde::Serialize) -> Result<String, Fail> {
    serde_json::to_string(document).map_err(unwritable)
}

pub(super) fn unwritable(error: serde_json::Error) -> Fail {
    Fail::Sql(rusqlite::Error::ToSqlConversionFailure(Box::new(error)).into())
}

/// The hosts that leave the job alone for now, as JSON; none for most jobs.
fn avoids(job: &StoredJob, now: Moment) -> Result<Option<String>, Fail> {
    let avoiding = job.hosts.iter().filter(|(_, view)| view.avoid_until > now);
    let hosts = map_of(avoiding.map(|(host, view)| (host.clone(), view.avoid_until)));
    if hosts.is_empty() { Ok(None) } else { to_json(&hosts).map(Some) }
}

/// Reads what [`avoids`] wrote. What cannot be read keeps nobody away.
pub(super) fn is_avoided(avoids: Option<&str>, host: &HostId, now: Moment) -> bool {
    let hosts: Option<BTreeMap<HostId, Moment>> = avoids.and_then(|text| serde_json::from_str(text).ok());
    hosts.is_some_and(|hosts| hosts.get(host).is_some_and(|until| *until > now))
}
