//! What a verb wants changed, collected before anything is written: the rules fill it, the tables carry it out.

use anklet_plugin_api::job::{Job, Phase};
use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::store::JobSignal;
use anklet_plugin_api::vm::VmRecord;

use super::document::{Hold, Spot, StoredJob};
use crate::store::signals::Signal;

/// Carried out whole, in this order: removals, jobs, VMs, tombstone; signals go out after the commit.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) removed: Vec<StoredJob>,
    pub(super) jobs: Vec<StoredJob>,
    pub(super) vms: Vec<VmRecord>,
    pub(super) tombstone: Option<Job>,
    pub(super) signals: Vec<Signal>,
}

impl Changes {
    pub(super) fn put(&mut self, job: StoredJob) {
        self.jobs.push(job);
    }

    pub(super) fn remove(&mut self, job: StoredJob) {
        self.removed.push(job);
    }

    pub(super) fn tell(&mut self, handler: &PluginName, signal: JobSignal) {
        self.signals.push(Signal::to(handler, signal));
    }

    /// A job became claimable.
    pub(super) fn tell_all(&mut self) {
        self.signals.push(Signal::look());
    }

    /// Takes the claim off the job and tells its handler. What becomes of the job is the caller's affair.
    pub(super) fn lose(&mut self, job: &mut StoredJob) -> Option<Hold> {
        let hold = job.take_hold()?;
        self.tell(&hold.handler, JobSignal::Retry);
        Some(hold)
    }

    /// Puts a job whose claim has ended through no fault of its own where its phase says; the try does not count.
    pub(super) fn let_go(&mut self, mut job: StoredJob) {
        job.uncount();
        match job.phase {
            Phase::Queued => {
                job.spot = Spot::Queued;
                self.tell_all();
                self.put(job);
            }
            Phase::InProgress { .. } => {
                job.spot = Spot::Running;
                self.put(job);
            }
            Phase::Completed { .. } => self.remove(job),
        }
    }

    /// The record now names this job.
    pub(super) fn name_job(&mut self, record: VmRecord, job: &Job) {
        let named = naming(record.clone(), job);
        if named != record {
            self.vms.push(named);
        }
    }
}

/// The record with this job as the one it is for.
pub(super) fn naming(record: VmRecord, job: &Job) -> VmRecord {
    let repository = format!("{}/{}", job.owner, job.repo);
    VmRecord { job: Some(job.id), run: Some(job.run_id), repository, ..record }
}
