//! How a handler gets a job: its own again, one whose holder is gone, one that is paused elsewhere, or the oldest of the groups.
//!
//! The cost is that of the groups of the scope, oldest first, up to the first job that can be had; never that of the jobs behind them.

use std::collections::HashSet;
use std::time::Duration;

use anklet_plugin_api::job::{Group, Phase};
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::store::{ClaimAnswer, JobSignal, Taken, Want};
use anklet_plugin_api::time::Moment;
use rusqlite::{OptionalExtension, params, params_from_iter};

use super::document::{Hold, Spot, StoredJob, VERSION};
use super::fail::Fail;
use super::groups::group_of;
use super::tables::{Tx, is_avoided};
use crate::store::signals::Signal;

/// Jobs of a group that a host avoids and a claim steps over.
const N_STEPS: usize = 32;

/// Jobs that one verb moves into their groups when they are due.
const N_DUE: i64 = 256;

/// Where in the order of age a job is.
type Position = (i64, i64);

impl Tx<'_> {
    pub(super) fn claim(&mut self, want: &Want) -> Result<ClaimAnswer, Fail> {
        self.remember_life(&want.handler, want.claim_life)?;
        if let Some(job) = self.job_of(&want.handler)? {
            return self.claim_again(job, want);
        }
        let claimed: Vec<StoredJob> =
            self.claimed()?.into_iter().filter(|job| want.scope.covers(&job.job)).collect();
        if want.take_over
            && let Some(job) = self.look_twice(&claimed, want)?
        {
            return self.take_over(job, want);
        }
        if let Some(job) = claimed.iter().find(|job| self.is_paused_for(job, want)) {
            return self.take_paused(job.clone(), want);
        }
        self.move_due()?;
        match self.oldest(want)? {
            Some(job) => self.grant(job, want, None),
            None => Ok(ClaimAnswer::Nothing { next_due: self.next_due(want)? }),
        }
    }

    /// The answer to the first call may have been lost.
    fn claim_again(&mut self, mut job: StoredJob, want: &Want) -> Result<ClaimAnswer, Fail> {
        if let Some(hold) = job.hold_mut() {
            hold.host = want.host.clone();
            hold.life_ms = u64::try_from(want.claim_life.as_millis()).unwrap_or(u64::MAX);
            hold.paused = false;
            hold.renew(self.now);
        }
        self.put_job(&job)?;
        claimed(&job, true)
    }

    /// Marks the claims that were not renewed in time; answers the oldest job whose mark is ripe. `claimed` is in order of age.
    fn look_twice(&mut self, claimed: &[StoredJob], want: &Want) -> Result<Option<StoredJob>, Fail> {
        let mut ripe = None;
        for job in claimed {
            let Some(hold) = job.hold().filter(|hold| hold.look_at() <= self.now) else { continue };
            match hold.marked_at {
                Some(marked_at) if ripens_at(hold, marked_at, want) <= self.now => {
                    ripe.get_or_insert_with(|| job.clone());
                }
                Some(_) => {}
                None => self.mark(job.clone())?,
            }
        }
        Ok(ripe)
    }

    fn mark(&self, mut job: StoredJob) -> Result<(), Fail> {
        if let Some(hold) = job.hold_mut() {
            hold.marked_at = Some(self.now);
        }
        self.put_job(&job)?;
        self.point("claim marked");
        Ok(())
    }

    /// Marks all claims that were not renewed in time.
    pub(super) fn mark_late(&self) -> Result<(), Fail> {
        let is_late = |hold: &Hold| hold.marked_at.is_none() && hold.look_at() <= self.now;
        for job in self.claimed()?.into_iter().filter(|job| job.hold().is_some_and(is_late)) {
            self.mark(job)?;
        }
        Ok(())
    }

    /// The attempt of the old claim stays counted: its handler may have died of this job.
    fn take_over(&mut self, mut job: StoredJob, want: &Want) -> Result<ClaimAnswer, Fail> {
        let taken = self.take_from_holder(&mut job);
        let taken = taken.map(|old| Taken { handler: old.handler, host: old.host, vm: old.vm });
        self.grant(job, want, taken)
    }

    /// The old handler has only waited: its attempt is taken back.
    fn take_paused(&mut self, mut job: StoredJob, want: &Want) -> Result<ClaimAnswer, Fail> {
        self.take_from_holder(&mut job);
        job.uncount();
        self.grant(job, want, None)
    }

    fn take_from_holder(&mut self, job: &mut StoredJob) -> Option<Hold> {
        let old = job.take_hold()?;
        self.signals.push(Signal::to(&old.handler, JobSignal::Retry));
        Some(old)
    }

    fn is_paused_for(&self, job: &StoredJob, want: &Want) -> bool {
        job.hold().is_some_and(|hold| hold.paused && hold.host != want.host)
            && job.phase == Phase::Queued
            && job.version <= VERSION
            && !want.pass.contains(&job.job.group())
            && job.hosts.get(&want.host).is_none_or(|host| host.avoid_until <= self.now)
    }

    fn grant(&mut self, mut job: StoredJob, want: &Want, taken: Option<Taken>) -> Result<ClaimAnswer, Fail> {
        let fence = self.next_fence()?;
        self.point("fence taken");
        let what = if taken.is_some() { "taken over" } else { "claimed" };
        let mut hold = Hold::new(&want.handler, &want.host, fence, want.claim_life, self.now);
        hold.taken = taken;
        job.begin(hold, what, self.now);
        self.put_job(&job)?;
        claimed(&job, false)
    }

    /// Moves jobs that are due into their groups.
    pub(super) fn move_due(&mut self) -> Result<(), Fail> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq FROM jobs WHERE queue = ?1 AND due IS NOT NULL AND due <= ?2 AND version <= ?3 ORDER BY due LIMIT ?4",
        )?;
        let due = statement.query_map(params![self.queue, self.now.0, VERSION, N_DUE], |row| row.get(0))?;
        let due: Vec<i64> = due.collect::<Result<_, _>>()?;
        if due.is_empty() {
            return Ok(());
        }
        for seq in due {
            if let Some(mut job) = self.job_in_row(seq)? {
                job.spot = Spot::Queued;
                self.put_job(&job)?;
                self.point("due job moved");
            }
        }
        self.signals.push(Signal::look());
        Ok(())
    }

    /// The oldest job that this handler can have. Groups come in the order of their oldest job, so that the search ends early.
    fn oldest(&self, want: &Want) -> Result<Option<StoredJob>, Fail> {
        let pass: HashSet<&Group> = want.pass.iter().collect();
        let (sql, of) = groups_of(&want.scope, self.queue);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut groups = statement.query(params_from_iter(of))?;
        let mut oldest: Option<Position> = None;
        while let Some(row) = groups.next()? {
            let head = (row.get("head_age")?, row.get("head_seq")?);
            if oldest.is_some_and(|oldest| oldest < head) {
                break;
            }
            if !pass.is_empty() && pass.contains(&group_of(row)?) {
                continue;
            }
            if let Some(found) = self.oldest_of_group(row.get("id")?, want)? {
                oldest = Some(oldest.map_or(found, |oldest| oldest.min(found)));
            }
        }
        oldest.map_or(Ok(None), |(_, seq)| self.job_in_row(seq))
    }

    fn oldest_of_group(&self, group: i64, want: &Want) -> Result<Option<Position>, Fail> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT age, seq, version, avoids FROM jobs WHERE grp = ?1 ORDER BY age, seq")?;
        let mut jobs = statement.query([group])?;
        let mut n_steps = 0;
        while let Some(row) = jobs.next()? {
            let version: u32 = row.get(2)?;
            if version > VERSION {
                self.warn_of_newer(version);
                continue;
            }
            if !is_avoided(row.get_ref(3)?.as_str_or_null().unwrap_or(None), &want.host, self.now) {
                return Ok(Some((row.get(0)?, row.get(1)?)));
            }
            n_steps += 1;
            if n_steps > N_STEPS {
                break;
            }
        }
        Ok(None)
    }

    /// How long until it pays to ask again.
    fn next_due(&self, want: &Want) -> Result<Option<Duration>, Fail> {
        let mut statement = self.connection.prepare_cached(
            "SELECT due FROM jobs WHERE queue = ?1 AND due IS NOT NULL AND version <= ?2 ORDER BY due LIMIT 1",
        )?;
        let due: Option<i64> =
            statement.query_row(params![self.queue, VERSION], |row| row.get(0)).optional()?;
        let mut next = due.map(Moment);
        if want.take_over {
            let claimed = self.claimed()?.into_iter().filter(|job| want.scope.covers(&job.job));
            let ends = claimed.filter_map(|job| {
                let hold = job.hold()?;
                Some(hold.marked_at.map_or(hold.look_at(), |marked_at| ripens_at(hold, marked_at, want)))
            });
            next = next.into_iter().chain(ends).min();
        }
        // Never zero, even if more is due than one verb moves: nobody may spin.
        Ok(next.map(|next| next.since(self.now).max(Duration::from_millis(1))))
    }
}

fn ripens_at(hold: &Hold, marked_at: Moment, want: &Want) -> Moment {
    marked_at.after(want.claim_life / 3).max(hold.expires_at)
}

fn claimed(job: &StoredJob, resumed: bool) -> Result<ClaimAnswer, Fail> {
    job.claim(resumed).map(|claim| ClaimAnswer::Claimed(Box::new(claim))).ok_or(Fail::Lost)
}

/// The groups that a scope covers, as SQL and its parameters. A job that names no enterprise belongs to whichever queue it is in.
fn groups_of(scope: &Scope, queue: i64) -> (String, Vec<rusqlite::types::Value>) {
    let mut of = vec![queue.into()];
    let condition = match scope {
        Scope::Repository { owner, repo } => {
            of.extend([owner.to_ascii_lowercase().into(), repo.to_ascii_lowercase().into()]);
            "owner = ?2 AND repo = ?3"
        }
        Scope::Organization { owner } => {
            of.push(owner.to_ascii_lowercase().into());
            "owner = ?2"
        }
        Scope::Enterprise { slug } => {
            of.push(slug.to_ascii_lowercase().into());
            "enterprise IN ('', ?2)"
        }
    };
    let sql = format!("SELECT * FROM groups WHERE queue = ?1 AND {condition} ORDER BY head_age, head_seq");
    (sql, of)
}
