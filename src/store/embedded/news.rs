//! What news does: the rules of the queue without a line of SQL, so that they can be read and tested as they are.
//!
//! Here B is the job that the news is about. The runner that the news names may be the VM of a claim that was made for another job,
//! A: GitHub decides by labels which job a runner gets.

use std::cmp::Ordering;

use anklet_plugin_api::job::{Conclusion, News, Phase};
use anklet_plugin_api::scope::same;
use anklet_plugin_api::store::{JobSignal, Noted, Source};
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::{Stage, VmRecord};

use super::changes::Changes;
use super::document::{Spot, StoredJob};

/// All that the store knows and that bears on the news.
#[derive(Debug, Default)]
pub(super) struct Scene {
    /// B, if it is stored.
    pub(super) known: Option<StoredJob>,
    /// The highest `run_attempt` of B that has ended.
    pub(super) ended_attempt: Option<u32>,
    /// The record of the VM that the news names as B's runner; where it names none, of the one that was known before.
    pub(super) runner: Option<VmRecord>,
    /// A: the job, other than B, whose claim has that VM.
    pub(super) other: Option<StoredJob>,
    /// The record of the VM of the claim on B.
    pub(super) own_vm: Option<VmRecord>,
}

/// Decides what becomes of the news and what has to change.
pub(super) fn decide(news: &News, source: Source, scene: Scene, now: Moment) -> (Noted, Changes) {
    let attempt = news.job.run_attempt;
    let mut desk = Desk { news, now, scene, changes: Changes::default() };
    if desk.scene.ended_attempt.is_some_and(|ended| ended >= attempt) {
        return (Noted::Ended, desk.changes);
    }
    match &desk.scene.known {
        None if !news.for_us && desk.scene.runner.is_none() => return (Noted::NotOurs, desk.changes),
        Some(known) if known.job.run_attempt > attempt => return (Noted::Known, desk.changes),
        Some(known) if known.job.run_attempt < attempt => desk.replace(),
        Some(known) if !moves(&known.phase, &news.phase, source) => return (Noted::Known, desk.changes),
        None | Some(_) => {}
    }
    let noted = match &news.phase {
        Phase::Queued => desk.queue(),
        Phase::InProgress { runner } => {
            let job = desk.begin(runner.as_deref());
            desk.changes.put(job);
            Noted::Moved
        }
        Phase::Completed { conclusion, runner } => {
            desk.complete(conclusion, runner.as_deref());
            Noted::Moved
        }
    };
    (noted, desk.changes)
}

/// Whether the news says more than is known. Webhooks come late and doubled; the API's word is the truth of its moment.
fn moves(known: &Phase, said: &Phase, source: Source) -> bool {
    match said.rank().cmp(&known.rank()) {
        Ordering::Greater => true,
        Ordering::Less => source == Source::Api,
        Ordering::Equal => match (known.runner(), said.runner()) {
            (None, Some(_)) => true,
            (Some(known), Some(said)) => source == Source::Api && known != said,
            (_, None) => false,
        },
    }
}

struct Desk<'a> {
    news: &'a News,
    now: Moment,
    scene: Scene,
    changes: Changes,
}

impl Desk<'_> {
    /// A higher `run_attempt` is a new job in the old one's place.
    fn replace(&mut self) {
        self.scene.own_vm = None;
        if let Some(mut old) = self.scene.known.take() {
            self.changes.lose(&mut old);
            self.changes.remove(old);
        }
    }

    /// A new job; or one that GitHub queues again because no runner took it up.
    fn queue(&mut self) -> Noted {
        let Some(mut job) = self.scene.known.take() else {
            let mut job = StoredJob::new(&self.news.job, Phase::Queued, Spot::Queued, self.now);
            job.note(self.now, "queued", None);
            self.changes.put(job);
            self.changes.tell_all();
            return Noted::Enqueued;
        };
        job.phase = Phase::Queued;
        job.note(self.now, "queued", None);
        match job.hold() {
            Some(hold) => self.changes.tell(&hold.handler, JobSignal::Retry),
            None => {
                job.spot = Spot::Queued;
                self.changes.tell_all();
            }
        }
        self.changes.put(job);
        Noted::Moved
    }

    /// B runs, on `runner` if that is known. Answers B as it is to be stored.
    fn begin(&mut self, runner: Option<&str>) -> StoredJob {
        let phase = Phase::InProgress { runner: runner.map(str::to_owned) };
        let mut job = self
            .scene
            .known
            .take()
            .unwrap_or_else(|| StoredJob::new(&self.news.job, phase.clone(), Spot::Running, self.now));
        let before = std::mem::replace(&mut job.phase, phase);
        job.note(self.now, "in_progress", None);
        let Some(runner) = runner else {
            match job.hold() {
                Some(hold) => self.changes.tell(&hold.handler, JobSignal::Retry),
                None => job.spot = Spot::Running,
            }
            return job;
        };
        let record = self.scene.runner.take();
        if let Some(record) = &record {
            self.changes.name_job(record.clone(), &job.job);
        }
        if let (Some(record), Some(hold)) = (&record, job.hold())
            && hold.vm.as_ref() == Some(&record.vm)
        {
            let handler = hold.handler.clone();
            self.changes.tell(&handler, JobSignal::Started(job.job.id));
            return job;
        }
        if let Some(other) = self.scene.other.take() {
            self.swap(&mut job, other, &before);
            return job;
        }
        if self.changes.lose(&mut job).is_some() {
            job.uncount();
        }
        job.spot = Spot::Running;
        if let Some(record) = record {
            debug_assert_eq!(record.vm.as_str(), runner);
            self.changes.tell(&record.plugin, JobSignal::Vm(record.vm.clone()));
        }
        job
    }

    /// The claim on A has a VM, and that VM runs B: the claim goes to B. Whoever was preparing B gets A, if its VM can run it.
    fn swap(&mut self, job: &mut StoredJob, mut other: StoredJob, before: &Phase) {
        let own_vm = self.scene.own_vm.take();
        let can_run = own_vm.as_ref().is_some_and(|record| can_run(record, &other, before));
        let Some(mut moving) = other.take_hold() else { return };
        let displaced = if can_run { job.take_hold() } else { self.changes.lose(job) };
        if displaced.is_none() {
            job.attempts = job.attempts.saturating_add(1);
        }
        self.changes.tell(&moving.handler, JobSignal::Started(job.job.id));
        moving.taken = None;
        job.place(moving, "claimed", self.now);
        match (displaced, own_vm) {
            (Some(mut displaced), Some(own_vm)) if can_run => {
                self.changes.tell(&displaced.handler, JobSignal::Retry);
                displaced.taken = None;
                other.place(displaced, "claimed", self.now);
                self.changes.name_job(own_vm, &other.job);
                self.changes.put(other);
            }
            _ => self.changes.let_go(other),
        }
    }

    /// B is over. The end of a job tells for the first time which runner it had, if news was lost or late.
    fn complete(&mut self, conclusion: &Conclusion, runner: Option<&str>) {
        let known_runner =
            self.scene.known.as_ref().and_then(|known| known.phase.runner().map(str::to_owned));
        let mut job = self.scene.known.take();
        // Told where nobody watches the VM that the job ran on: its plugin has to clean it up.
        let unwatched = self.scene.runner.clone().filter(|_| self.scene.other.is_none());
        if runner.is_some() && runner != known_runner.as_deref() {
            self.scene.known = job;
            job = Some(self.begin(runner));
        }
        self.changes.tombstone = Some(self.news.job.clone());
        let Some(mut job) = job else { return };
        let runner = runner.map(str::to_owned).or(known_runner);
        job.phase = Phase::Completed { conclusion: conclusion.clone(), runner };
        job.note(self.now, "completed", None);
        match job.hold() {
            Some(hold) => {
                self.changes.tell(&hold.handler, JobSignal::Finish(job.job.id, conclusion.clone()));
                self.changes.put(job);
            }
            None => {
                if let Some(record) = unwatched {
                    self.changes.tell(&record.plugin, JobSignal::Vm(record.vm));
                }
                self.changes.remove(job);
            }
        }
    }
}

/// Whether the VM that was made for B, whose phase was `before`, can run A instead.
fn can_run(record: &VmRecord, other: &StoredJob, before: &Phase) -> bool {
    other.phase == Phase::Queued
        && record.stage < Stage::Running
        && record.job.is_some()
        && before.runner() != Some(record.vm.as_str())
        && record.scope.covers(&other.job)
        && other.job.labels.iter().all(|asked| record.labels.iter().any(|has| same(has, asked)))
}
