//! How the memory store takes in what GitHub says: which job runs on which VM, and so whose claim is on what.

use super::state::{Spot, State};
use crate::job::{Conclusion, Job, JobId, News, Phase};
use crate::name::{PluginName, VmName};
use crate::scope::same;
use crate::store::{JobSignal, Noted, Source};
use crate::time::Moment;
use crate::vm::Stage;

impl State {
    pub(super) fn news(&mut self, news: &News, source: Source, now: Moment) -> Noted {
        let (job, id) = (&news.job, news.job.id);
        if self.tombstones.get(&id).is_some_and(|ended| *ended >= job.run_attempt) {
            return Noted::Ended;
        }
        let known = self.jobs.get(&id).map(|stored| (stored.job.run_attempt, stored.phase.clone()));
        let on_our_vm = news.phase.runner().is_some_and(|runner| self.recorded(runner).is_some());
        match &known {
            None if !news.for_us && !on_our_vm => return Noted::NotOurs,
            Some((attempt, _)) if *attempt > job.run_attempt => return Noted::Known,
            Some((attempt, _)) if *attempt < job.run_attempt => self.replace(id),
            Some((_, phase)) if !moves(phase, &news.phase, source) => return Noted::Known,
            None | Some(_) => {}
        }
        let noted = self.take_in(news, now);
        self.hear(id, now);
        noted
    }

    fn take_in(&mut self, news: &News, now: Moment) -> Noted {
        let (job, id) = (&news.job, news.job.id);
        match &news.phase {
            Phase::Queued if self.jobs.contains_key(&id) => self.move_back(id, now),
            Phase::Queued => {
                self.add_job(job, Phase::Queued, Spot::InGroup, now).note(now, "queued", None);
                self.tell_all();
                return Noted::Enqueued;
            }
            Phase::InProgress { runner } => self.begin(job, runner.as_deref(), now),
            Phase::Completed { conclusion, runner } => self.complete(job, conclusion, runner.as_deref(), now),
        }
        Noted::Moved
    }

    fn recorded(&self, runner: &str) -> Option<VmName> {
        let vm = VmName::new(runner);
        self.vms.contains_key(&vm).then_some(vm)
    }

    /// A higher `run_attempt` has come: the old job is no more.
    fn replace(&mut self, id: JobId) {
        let old = self.remove(id);
        if let Some(handler) = old.as_ref().and_then(|stored| stored.claimant()) {
            self.lose(handler);
        }
    }

    fn move_back(&mut self, id: JobId, now: Moment) {
        let stored = self.job(id);
        stored.phase = Phase::Queued;
        stored.note(now, "queued", None);
        match stored.claimant().cloned() {
            Some(handler) => self.tell(&handler, JobSignal::Retry),
            None => {
                stored.spot = Spot::InGroup;
                self.tell_all();
            }
        }
    }

    /// The job runs, on `runner` if that is known.
    fn begin(&mut self, job: &Job, runner: Option<&str>, now: Moment) {
        let phase = Phase::InProgress { runner: runner.map(str::to_owned) };
        if !self.jobs.contains_key(&job.id) {
            self.add_job(job, phase.clone(), Spot::Running, now);
        }
        let stored = self.job(job.id);
        let before = std::mem::replace(&mut stored.phase, phase);
        stored.note(now, "in_progress", None);
        let claimant = stored.claimant().cloned();
        let Some(runner) = runner else {
            match claimant {
                Some(handler) => self.tell(&handler, JobSignal::Retry),
                None => stored.spot = Spot::Running,
            }
            return;
        };
        let vm = self.recorded(runner);
        let holder = vm.as_ref().and_then(|vm| self.holder_of_vm(vm));
        if let Some(vm) = &vm {
            self.name_job(vm, job.id);
        }
        match (holder, claimant) {
            (Some(holder), Some(claimant)) if holder == claimant => {
                self.tell(&holder, JobSignal::Started(job.id));
            }
            (Some(holder), claimant) => self.swap(&holder, claimant, job.id, &before, now),
            (None, claimant) => {
                if let Some(claimant) = claimant {
                    self.lose(&claimant);
                    self.let_go(job.id);
                }
                self.job(job.id).spot = Spot::Running;
                if let Some(vm) = vm {
                    let plugin = self.vms[&vm].plugin.clone();
                    self.tell(&plugin, JobSignal::Vm(vm));
                }
            }
        }
    }

    /// The VM of `holder`, made for job A, runs job B, which `claimant` may have been preparing.
    fn swap(
        &mut self,
        holder: &PluginName,
        claimant: Option<PluginName>,
        b: JobId,
        before: &Phase,
        now: Moment,
    ) {
        let a = self.claims[holder].job;
        let partner = claimant.as_ref().filter(|claimant| self.can_run(claimant, a, before)).cloned();
        self.move_claim(holder, b, now);
        self.tell(holder, JobSignal::Started(b));
        if claimant.is_none() {
            self.job(b).attempts += 1;
        }
        match (partner, claimant) {
            (Some(partner), _) => {
                self.move_claim(&partner, a, now);
                if let Some(vm) = self.claims[&partner].vm.clone() {
                    self.name_job(&vm, a);
                }
                self.tell(&partner, JobSignal::Retry);
            }
            (None, claimant) => {
                if let Some(claimant) = claimant {
                    self.lose(&claimant);
                }
                self.let_go(a);
            }
        }
    }

    /// Whether the VM that `handler` made for its job, whose phase was `before`, can run job `a` instead.
    fn can_run(&self, handler: &PluginName, a: JobId, before: &Phase) -> bool {
        let a = &self.jobs[&a];
        let record = self.claims[handler].vm.as_ref().and_then(|vm| self.vms.get(vm));
        record.is_some_and(|record| {
            a.phase == Phase::Queued
                && record.stage < Stage::Running
                && record.job.is_some()
                && before.runner() != Some(record.vm.as_str())
                && record.scope.covers(&a.job)
                && a.job.labels.iter().all(|asked| record.labels.iter().any(|has| same(has, asked)))
        })
    }

    fn move_claim(&mut self, handler: &PluginName, to: JobId, now: Moment) {
        if let Some(held) = self.claims.get_mut(handler) {
            held.job = to;
            held.taken = None;
            let host = held.host.clone();
            let stored = self.job(to);
            stored.spot = Spot::Claimed(handler.clone());
            stored.note(now, "claimed", Some((handler.clone(), host)));
        }
    }

    fn name_job(&mut self, vm: &VmName, id: JobId) {
        let job = &self.jobs[&id].job;
        if let Some(record) = self.vms.get_mut(vm) {
            record.job = Some(id);
            record.run = Some(job.run_id);
            record.repository = format!("{}/{}", job.owner, job.repo);
        }
    }

    fn complete(&mut self, job: &Job, conclusion: &Conclusion, runner: Option<&str>, now: Moment) {
        let known_runner = self.jobs.get(&job.id).and_then(|stored| stored.phase.runner().map(str::to_owned));
        if runner.is_some() && runner != known_runner.as_deref() {
            self.begin(job, runner, now);
        }
        self.bury(job);
        let Some(stored) = self.jobs.get_mut(&job.id) else { return };
        let runner = runner.map(str::to_owned).or(known_runner);
        let vm = runner.as_deref().map(VmName::new);
        stored.phase = Phase::Completed { conclusion: conclusion.clone(), runner };
        stored.note(now, "completed", None);
        if let Some(handler) = stored.claimant().cloned() {
            self.tell(&handler, JobSignal::Finish(job.id, conclusion.clone()));
            return;
        }
        self.remove(job.id);
        // Nobody watches the VM that it ran on; its plugin has to clean it up.
        if let Some(record) = vm.as_ref().and_then(|vm| self.vms.get(vm))
            && self.holder_of_vm(&record.vm).is_none()
        {
            let (plugin, vm) = (record.plugin.clone(), record.vm.clone());
            self.tell(&plugin, JobSignal::Vm(vm));
        }
    }

    /// Leaves a tombstone.
    pub(super) fn bury(&mut self, job: &Job) {
        let ended = self.tombstones.entry(job.id).or_default();
        *ended = (*ended).max(job.run_attempt);
    }
}

/// Whether the news says more than is known. Webhooks come late and doubled; the API's word is the truth of its moment.
fn moves(known: &Phase, said: &Phase, source: Source) -> bool {
    let is_true_now = source == Source::Api;
    match said.rank().cmp(&known.rank()) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Less => is_true_now,
        std::cmp::Ordering::Equal => match (known.runner(), said.runner()) {
            (None, Some(_)) => true,
            (Some(known), Some(said)) => is_true_now && known != said,
            (_, None) => false,
        },
    }
}
