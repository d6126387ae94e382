//! The worker: one handler at work. What all its steps share: the store with patience, the look at its claim, the saving of stages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, never};
use log::{info, warn};

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::heartbeat::Heartbeats;
use anklet_plugin_api::host::{Host, Reservation};
use anklet_plugin_api::job::{Conclusion, Group, Job, News, Phase};
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::name::VmName;
use anklet_plugin_api::plugin::Services;
use anklet_plugin_api::presence::{Because, PauseReason};
use anklet_plugin_api::report::{Fact, Report, Status};
use anklet_plugin_api::section::Section;
use anklet_plugin_api::stop::Stop;
use anklet_plugin_api::store::{Claim, ClaimView, JobSignal, Lessee, Source, Store, StoreError};
use anklet_plugin_api::vm::{Stage, VmHost, VmRecord};

use anklet_github::shown::ShownStatus;

use crate::desk::Desk;
use crate::diagnostics::Traces;
use crate::hub::Hub;
use crate::mood::{Mood, doubled};
use crate::outcome::Setback;
use crate::scripts::Scripts;
use crate::sign::Sign;
use crate::stopwatch::{Stopwatch, Took};

/// Added to a step's own limit before the heartbeat calls it hung.
const SLACK: Duration = Duration::from_secs(30);

/// Undoing ends this much before its limit: a command that does not hear TERM takes a second until it is killed, and then the claim has
/// to be settled.
const UNDO_RESERVE: Duration = Duration::from_secs(3);

/// One handler at work.
pub(crate) struct Worker {
    pub(crate) section: Section,
    pub(crate) hub: Hub,
    pub(crate) shown: Arc<ShownStatus>,
    /// What people see of it; the janitor has none.
    sign: Option<Arc<Sign>>,
    stopwatch: Stopwatch,
    pub(crate) scripts: Scripts,
    pub(crate) desk: Desk,
    pub(crate) mood: Mood,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) vms: Arc<dyn VmHost>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) lessee: Lessee,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) report: Arc<dyn Report>,
    pub(crate) signals: Receiver<JobSignal>,
    pub(crate) freed: Receiver<()>,
    pub(crate) started_at: Instant,
    /// GitHub has refused a check that explains a cancellation, and that has been said.
    pub(crate) was_check_refused: bool,
    /// How long undoing goes on after a stop.
    patience: Duration,
    pub(crate) drain: Stop,
    pub(crate) interrupt: Stop,
}

/// A VM that this handler works with, and the host's slot that it takes.
pub(crate) struct InHand {
    pub(crate) record: VmRecord,
    pub(crate) reservation: Option<Reservation>,
    pub(crate) traces: Traces,
}

/// What has become of the job in hand.
#[derive(Debug, PartialEq)]
pub(crate) enum Seen {
    /// GitHub has not started it.
    Waits,
    /// It runs on our VM.
    RunsHere,
    /// It runs on a runner that is not our VM.
    RunsElsewhere,
    /// GitHub has ended it.
    Over {
        /// How.
        conclusion: Conclusion,
        /// It ran on our VM, so that the runner there has had its one job.
        ran_here: bool,
    },
    /// The claim is not ours any more.
    Lost,
}

/// A store verb was not answered before the stop.
pub(crate) struct Unanswered;

impl Worker {
    /// A worker that hears nothing of the queue and the host; see [`Worker::listening`].
    pub(crate) fn new(
        section: Section,
        (hub, shown, sign): (Hub, Arc<ShownStatus>, Option<Arc<Sign>>),
        scripts: Scripts,
        desk: Desk,
        services: &Services,
    ) -> Self {
        Self {
            signals: never(),
            freed: never(),
            started_at: Instant::now(),
            was_check_refused: false,
            patience: section.limits.undo.saturating_sub(UNDO_RESERVE),
            section,
            hub,
            shown,
            sign,
            stopwatch: Stopwatch::default(),
            scripts,
            desk,
            mood: Mood::default(),
            store: Arc::clone(&services.store),
            vms: Arc::clone(&services.vms),
            host: Arc::clone(&services.host),
            lessee: services.lessee.clone(),
            heartbeats: services.heartbeats.clone(),
            report: Arc::clone(&services.report),
            drain: services.drain.clone(),
            interrupt: services.interrupt.clone(),
        }
    }

    /// Hears signals and freed slots from now on. Whoever listens must take what comes.
    pub(crate) fn listening(mut self) -> Self {
        self.signals = self.store.subscribe(&self.section.name);
        self.freed = self.host.freed();
        self
    }

    /// Leaves everything as it is when a stop comes: whoever starts next finds the records.
    pub(crate) fn impatient(mut self) -> Self {
        self.patience = Duration::ZERO;
        self
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.section.limits
    }

    pub(crate) fn status(&self, status: Status) {
        self.shown.status(status);
    }

    /// Shows people why nothing is taken, or that jobs are taken again.
    pub(crate) fn sign_pause(&self, pause: Option<(PauseReason, Option<Instant>)>) {
        if let Some(sign) = &self.sign {
            sign.pause(pause);
        }
    }

    /// Shows people why a job of the group could not be run here.
    pub(crate) fn sign_hinders(&self, group: &Group, because: Because, what: &str) {
        if let Some(sign) = &self.sign {
            sign.hinders(group, because, what);
        }
    }

    /// Nothing hinders jobs of the group here.
    pub(crate) fn sign_runs(&self, group: &Group) {
        if let Some(sign) = &self.sign {
            sign.runs(group, self.limits().verdict_life);
        }
    }

    /// Counts something.
    pub(crate) fn count(&self, fact: &Fact<'_>) {
        self.report.count(&self.section.name, fact);
    }

    /// A job is claimed: its stages are timed from here on.
    pub(crate) fn begin_stages(&self, job: &Job) {
        self.stopwatch.claimed(&job.image.template);
    }

    /// The next stage begins, or none does.
    pub(crate) fn time_stage(&self, stage: Option<Stage>) {
        if let Some(Took { template, stage, took }) = self.stopwatch.next(stage) {
            self.count(&Fact::Stage { template: &template, stage, took });
        }
    }

    /// For work that a stop cuts at once.
    pub(crate) fn until_stop(&self) -> Ear<'_> {
        Ear::to_stop(&self.interrupt)
    }

    /// What makes a call to GitHub about a VM at work needless: news of its job.
    pub(crate) fn until_news(&self) -> Ear<'_> {
        Ear::to_signals(&self.interrupt, &self.signals, &|signal| {
            !matches!(signal, JobSignal::Look | JobSignal::Vm(_))
        })
    }

    /// For undoing, which goes on for a while after a stop.
    pub(crate) fn while_undoing(&self) -> Ear<'_> {
        Ear::to_stop_after(&self.interrupt, self.patience)
    }

    /// Repeats a store verb until it is answered or `ear` is cut. Broken documents are the store's affair: they read as nothing found.
    /// The deadline of the step in hand moves by as long as the store is away: waiting for it is no sign of a hang.
    pub(crate) fn patiently<T>(
        &self,
        ear: &Ear<'_>,
        verb: impl Fn(&dyn Store) -> Result<T, StoreError>,
    ) -> Result<Result<T, Gone>, Unanswered> {
        let mut answer = None;
        self.repeat(ear, &mut |store| {
            answer = Some(verb(store)?);
            Ok(())
        })?;
        Ok(answer.ok_or(Gone))
    }

    /// Ends well with the verb, and with a claim or a document that is not there: then the verb has not answered.
    fn repeat(
        &self,
        ear: &Ear<'_>,
        verb: &mut dyn FnMut(&dyn Store) -> Result<(), StoreError>,
    ) -> Result<(), Unanswered> {
        let mut n_failures = 0;
        loop {
            let tried_at = Instant::now();
            match verb(&*self.store) {
                Ok(()) => {
                    if n_failures > 0 {
                        info!(failures = n_failures; "the store answers again");
                    }
                    return Ok(());
                }
                Err(StoreError::Lost | StoreError::Broken { .. }) => return Ok(()),
                Err(error @ StoreError::Away { .. }) => {
                    if n_failures == 0 {
                        warn!(error:% = error; "unable to access database");
                    }
                    let wait = doubled(Duration::from_millis(250), n_failures, Duration::from_secs(10));
                    n_failures += 1;
                    self.heartbeats.defer(&self.section.name, tried_at.elapsed() + wait);
                    if ear.rest_until(Instant::now() + wait) {
                        return Err(Unanswered);
                    }
                }
            }
        }
    }

    /// What has become of the claim; the claim and the record follow if it is on another job now.
    pub(crate) fn see(
        &self,
        ear: &Ear<'_>,
        claim: &mut Claim,
        record: &mut VmRecord,
    ) -> Result<Seen, Unanswered> {
        let view = self.patiently(ear, |store| store.look(&claim.key))?;
        let Ok(ClaimView::Held { job, phase }) = view else { return Ok(Seen::Lost) };
        if job.id != claim.job.id {
            info!(vmName:% = record.vm, was:% = claim.job.id, is:% = job.id; "GitHub has given the runner another job");
            follow(record, &job);
            claim.job = *job;
            claim.attempts = 0;
        }
        let seen = read_phase(&phase, record);
        claim.phase = phase;
        Ok(seen)
    }

    /// Whether a signal means that preparing this VM has become useless.
    pub(crate) fn is_useless(&self, signal: &JobSignal, claim: &Claim, record: &VmRecord) -> bool {
        if matches!(signal, JobSignal::Look | JobSignal::Vm(_)) {
            return false;
        }
        match self.store.look(&claim.key) {
            // A quick GitHub gives the runner its job while the command that starts it has not ended: that is what it is for.
            Ok(ClaimView::Held { phase, .. }) => {
                !matches!(read_phase(&phase, record), Seen::Waits | Seen::RunsHere)
            }
            Ok(ClaimView::Lost) | Err(StoreError::Lost) => true,
            // Not known now; the next save or look will tell.
            Err(StoreError::Away { .. } | StoreError::Broken { .. }) => false,
        }
    }

    /// Saves the stage before the step that it names, and lets the heartbeat know how long the step may take.
    pub(crate) fn save(
        &self,
        claim: &Claim,
        hand: &mut InHand,
        stage: Stage,
        step_limit: Duration,
    ) -> Result<(), Setback> {
        hand.record.stage = stage;
        self.time_stage(Some(stage));
        self.keep(claim, step_limit);
        let saved = self.patiently(&self.until_stop(), |store| store.put_vm(Some(&claim.key), &hand.record));
        match saved {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Gone)) => Err(Setback::Useless),
            Err(Unanswered) => Err(Setback::Stopped),
        }
    }

    /// Lets the heartbeat renew the claim for one more step.
    pub(crate) fn keep(&self, claim: &Claim, step_limit: Duration) {
        let until = Instant::now() + step_limit + self.limits().command_grace + SLACK;
        self.heartbeats.keep(&self.store, &claim.key, self.section.claim_life, until);
    }

    /// Tells the store what GitHub's API says of a job.
    pub(crate) fn tell_store(&self, ear: &Ear<'_>, job: &Job, phase: Phase) -> Result<(), Unanswered> {
        let news = News { job: job.clone(), phase, for_us: true };
        self.patiently(ear, |store| store.news(&news, Source::Api)).map(|_| ())
    }
}

/// What the store holds under this key is not there, or not ours, any more.
pub(crate) struct Gone;

/// Puts the record onto another job.
pub(crate) fn follow(record: &mut VmRecord, job: &Job) {
    record.job = Some(job.id);
    record.run = Some(job.run_id);
    record.repository = format!("{}/{}", job.owner, job.repo);
}

fn read_phase(phase: &Phase, record: &VmRecord) -> Seen {
    let is_here = |runner: &Option<String>| runner.as_deref() == Some(record.vm.as_str());
    match phase {
        Phase::Queued => Seen::Waits,
        Phase::InProgress { runner } if is_here(runner) => Seen::RunsHere,
        // GitHub does not always name the runner. Ours can have it only if it was started.
        Phase::InProgress { runner: None } if record.stage >= Stage::StartingRunner => Seen::RunsHere,
        Phase::InProgress { .. } => Seen::RunsElsewhere,
        Phase::Completed { conclusion, runner } => {
            Seen::Over { conclusion: conclusion.clone(), ran_here: is_here(runner) }
        }
    }
}

/// A name that no VM has had: names that come back confuse GitHub.
pub(crate) fn fresh_vm_name() -> VmName {
    use std::hash::{BuildHasher, RandomState};
    // Two keyed hashes with keys from the operating system: unique, which is all that a name needs.
    let mut bits =
        [RandomState::new().hash_one(std::process::id()), RandomState::new().hash_one(Instant::now())];
    bits[0] = bits[0] & !0xf000 | 0x4000;
    bits[1] = bits[1] & !(0b11 << 62) | (0b10 << 62);
    let [high, low] = bits;
    VmName::new(format!(
        "anklet-vm-{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn vm_names_are_uuids_and_never_the_same() {
        let names: BTreeSet<_> = (0..1_000).map(|_| fresh_vm_name()).collect();
        assert_eq!(names.len(), 1_000);
        for name in names {
            let uuid = name.as_str().strip_prefix("anklet-vm-").unwrap();
            let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{name}");
            assert!(uuid.as_bytes()[14] == b'4' && b"89ab".contains(&uuid.as_bytes()[19]), "{name}");
        }
    }
}
