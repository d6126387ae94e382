//! The verbs that read what the rules need, and carry out what they decide.

use std::time::Duration;

use anklet_plugin_api::job::News;
use anklet_plugin_api::name::{PluginName, VmName};
use anklet_plugin_api::store::{Claim, ClaimKey, ClaimView, Counts, Noted, Source};
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::VmRecord;
use rusqlite::{OptionalExtension, params};

use super::changes::{Changes, naming};
use super::document::{Hold, Spot, StoredJob};
use super::fail::Fail;
use super::groups::group_of;
use super::news::{Scene, decide};
use super::tables::{Tx, unsigned};
use crate::store::signals::Signal;

impl Tx<'_> {
    pub(super) fn news(&mut self, news: &News, source: Source) -> Result<Noted, Fail> {
        let scene = self.scene(news)?;
        let (noted, mut changes) = decide(news, source, scene, self.now);
        for job in changes.jobs.iter_mut().filter(|job| job.job.id == news.job.id) {
            job.hear(self.now);
        }
        self.apply(changes)?;
        Ok(noted)
    }

    fn scene(&self, news: &News) -> Result<Scene, Fail> {
        let mut scene = Scene {
            known: self.job(news.job.id)?,
            ended_attempt: self.ended_attempt(news.job.id)?,
            ..Scene::default()
        };
        let known_runner = || scene.known.as_ref().and_then(|known| known.phase.runner());
        let Some(vm) = news.phase.runner().or_else(known_runner).map(VmName::new) else { return Ok(scene) };
        scene.runner = self.vm(&vm)?;
        if scene.runner.is_some() {
            scene.other = self.job_with(&vm)?.filter(|other| other.job.id != news.job.id);
        }
        if let Some(own) = scene.known.as_ref().and_then(StoredJob::hold).and_then(|hold| hold.vm.as_ref()) {
            scene.own_vm = self.vm(own)?;
        }
        Ok(scene)
    }

    pub(super) fn look(&self, key: &ClaimKey) -> Result<ClaimView, Fail> {
        match self.held(key) {
            Ok(job) => Ok(ClaimView::Held { job: Box::new(job.job), phase: job.phase }),
            Err(Fail::Lost) => Ok(ClaimView::Lost),
            Err(fail) => Err(fail),
        }
    }

    pub(super) fn renew(&mut self, keys: &[ClaimKey]) -> Result<Vec<ClaimKey>, Fail> {
        let mut lost = Vec::new();
        for key in keys {
            match self.held(key) {
                Ok(mut job) => {
                    renew_hold(&mut job, self.now);
                    self.put_job(&job)?;
                }
                Err(Fail::Lost) => lost.push(key.clone()),
                Err(fail) => return Err(fail),
            }
        }
        self.mark_late()?;
        Ok(lost)
    }

    /// Ends a claim as `rule` says. A handler that repeats the end of its last claim is answered as before.
    pub(super) fn end(
        &mut self,
        key: &ClaimKey,
        rule: impl FnOnce(StoredJob, Moment) -> Changes,
    ) -> Result<(), Fail> {
        match self.held(key) {
            Ok(job) => {
                self.apply(rule(job, self.now))?;
                self.remember_end(key)
            }
            Err(Fail::Lost) if self.has_ended(key)? => Ok(()),
            Err(fail) => Err(fail),
        }
    }

    pub(super) fn set_paused(&mut self, key: &ClaimKey, paused: bool) -> Result<(), Fail> {
        let mut job = self.held(key)?;
        renew_hold(&mut job, self.now);
        let was_paused = job.hold_mut().map(|hold| std::mem::replace(&mut hold.paused, paused));
        if was_paused != Some(paused) {
            job.note_of_hold(self.now, if paused { "paused" } else { "resumed" });
            if paused {
                self.signals.push(Signal::look());
            }
        }
        self.put_job(&job)
    }

    pub(super) fn put_vm(&mut self, key: Option<&ClaimKey>, record: &VmRecord) -> Result<(), Fail> {
        let mut record = record.clone();
        if let Some(key) = key {
            let mut job = self.held(key)?;
            renew_hold(&mut job, self.now);
            if let Some(hold) = job.hold_mut() {
                hold.vm = Some(record.vm.clone());
            }
            if self.vm(&record.vm)?.map(|known| known.stage) != Some(record.stage) {
                job.note_of_hold(self.now, format!("stage {}", record.stage));
            }
            self.put_job(&job)?;
            self.point("claim has its VM");
            if record.job.is_some_and(|named| named != job.job.id) {
                // The claim has moved since the handler looked.
                record = naming(record, &job.job);
            }
        }
        self.write_vm(&record)
    }

    pub(super) fn remove_vm(&mut self, vm: &VmName) -> Result<(), Fail> {
        self.forget_vm(vm)?;
        self.point("VM removed");
        if let Some(mut job) = self.job_with(vm)? {
            if let Some(hold) = job.hold_mut() {
                hold.vm = None;
            }
            self.put_job(&job)?;
        }
        Ok(())
    }

    pub(super) fn adopt(
        &mut self,
        handler: &PluginName,
        vm: &VmName,
        claim_life: Duration,
    ) -> Result<Option<Claim>, Fail> {
        let Some(record) = self.vm(vm)? else { return Ok(None) };
        if let Some(mut held) = self.job_of(handler)? {
            if held.hold().is_none_or(|hold| hold.vm.as_ref() != Some(vm)) {
                return Ok(None);
            }
            renew_hold(&mut held, self.now);
            self.put_job(&held)?;
            return Ok(held.claim(true));
        }
        let Some(mut job) = record.job.map(|job| self.job(job)).transpose()?.flatten() else {
            return Ok(None);
        };
        let runs_elsewhere = job.phase.runner().is_some_and(|runner| runner != vm.as_str());
        if job.spot != Spot::Running || runs_elsewhere {
            return Ok(None);
        }
        let life = self.life_of(handler)?.unwrap_or(claim_life);
        let mut hold = Hold::new(handler, &record.host, self.next_fence()?, life, self.now);
        hold.vm = Some(vm.clone());
        job.begin(hold, "adopted", self.now);
        self.put_job(&job)?;
        Ok(job.claim(true))
    }

    pub(super) fn counts(&self) -> Result<Counts, Fail> {
        let mut counts = Counts::default();
        let count = "SELECT
            count(*) FILTER (WHERE grp IS NOT NULL OR due <= ?2),
            count(*) FILTER (WHERE due > ?2),
            count(*) FILTER (WHERE handler IS NOT NULL),
            count(*) FILTER (WHERE grp IS NULL AND due IS NULL AND handler IS NULL)
            FROM jobs WHERE queue = ?1";
        self.connection.query_row(count, params![self.queue, self.now.0], |row| {
            counts.queued = unsigned(row, 0)?;
            counts.held = unsigned(row, 1)?;
            counts.claimed = unsigned(row, 2)?;
            counts.running = unsigned(row, 3)?;
            Ok(())
        })?;
        let mut groups = self.connection.prepare(
            "SELECT groups.*, (SELECT count(*) FROM jobs WHERE grp = groups.id) AS n FROM groups WHERE queue = ?1",
        )?;
        let mut rows = groups.query([self.queue])?;
        while let Some(row) = rows.next()? {
            *counts.groups.entry(group_of(row)?).or_default() += unsigned(row, "n")?;
        }
        let mut due = self.connection.prepare("SELECT seq FROM jobs WHERE queue = ?1 AND due <= ?2")?;
        let due = due.query_map(params![self.queue, self.now.0], |row| row.get(0))?;
        for seq in due.collect::<Result<Vec<i64>, _>>()? {
            if let Some(job) = self.job_in_row(seq)? {
                *counts.groups.entry(job.job.group()).or_default() += 1;
            }
        }
        let count_vms = "SELECT count(*) FROM vms WHERE queue = ?1";
        counts.vms = self.connection.query_row(count_vms, [self.queue], |row| unsigned(row, 0))?;
        Ok(counts)
    }

    /// The number of a queue in this file, if it has one.
    pub(super) fn known_queue(&self, name: &str) -> Result<Option<i64>, Fail> {
        let known =
            self.connection.query_row("SELECT id FROM queues WHERE name = ?1", [name], |row| row.get(0));
        Ok(known.optional()?)
    }

    /// The number of a queue in this file; a new one is made.
    pub(super) fn queue_number(&self, name: &str) -> Result<i64, Fail> {
        match self.known_queue(name)? {
            Some(id) => Ok(id),
            None => {
                self.execute("INSERT INTO queues (name) VALUES (?1)", [name])?;
                Ok(self.connection.last_insert_rowid())
            }
        }
    }
}

fn renew_hold(job: &mut StoredJob, now: Moment) {
    if let Some(hold) = job.hold_mut() {
        hold.renew(now);
    }
}
