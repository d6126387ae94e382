//! From a runner that waits to the end of its job, whatever happens on the way.

use std::time::{Duration, Instant};

use crossbeam_channel::{at, select};
use log::warn;

use anklet_plugin_api::report::Status;
use anklet_plugin_api::store::{Claim, Counted};
use anklet_plugin_api::vm::{Stage, VmRecord, VmVerb};

use crate::cleanup::Undone;
use crate::facts::job_log;
use crate::hub::Asked;
use crate::outcome::{Blame, Failure, Outcome, Setback};
use crate::worker::{InHand, Seen, Unanswered, Worker};

/// What to do next with a VM in hand.
pub(crate) enum Next {
    /// Watch until something happens.
    Watch,
    /// Undo it for this reason.
    Retreat(Setback),
    /// Undo it: the job is over. The runner has had its one job, or not.
    Over(Outcome, RunnerIs),
    /// Its runner works on a job that nobody has named.
    Unknown,
    /// Nothing is left to do.
    Ends(Outcome),
}

/// Whether GitHub can still give the runner a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunnerIs {
    /// It has had its one job: GitHub named it with the end of that job.
    Spent,
    /// It may still be given one, until its removal is confirmed.
    Open,
}

impl Worker {
    /// Sees a VM through to its end, from whatever state preparing or recovery left it in.
    pub(crate) fn see_through(
        &mut self,
        claim: &mut Claim,
        mut hand: InHand,
        prepared: Result<(), Setback>,
    ) -> Outcome {
        let mut next = match prepared {
            Ok(()) => Next::Watch,
            Err(setback) => Next::Retreat(setback),
        };
        loop {
            next = match next {
                Next::Watch => self.watch(claim, &mut hand),
                Next::Retreat(setback) => self.retreat(claim, &mut hand, setback),
                Next::Over(outcome, runner) => match self.undo(Some(claim), &mut hand, runner) {
                    Undone::RunnerWorks => Next::Unknown,
                    Undone::Gone | Undone::LeftToJanitor => Next::Ends(outcome),
                    Undone::Unfenced => Next::Ends(Outcome::Kept),
                },
                Next::Unknown => self.watch_unknown(claim, &mut hand),
                Next::Ends(outcome) => return outcome,
            };
        }
    }

    /// Undoes what was made, unless the runner turns out to work.
    fn retreat(&mut self, claim: &mut Claim, hand: &mut InHand, setback: Setback) -> Next {
        if let Setback::Failed(failure) = &setback {
            hand.traces.failure = Some(failure.what.clone());
        }
        if let Setback::Useless = setback {
            return match self.see(&self.while_undoing(), claim, &mut hand.record) {
                Ok(Seen::Waits | Seen::RunsHere) if hand.record.stage >= Stage::Waiting => Next::Watch,
                // Preparing was cut by news that has been taken back since.
                Ok(Seen::Waits | Seen::RunsHere) => Next::Retreat(Setback::Stopped),
                Ok(seen) => ended(seen),
                Err(Unanswered) => Next::Ends(Outcome::Kept),
            };
        }
        match self.undo(Some(claim), hand, RunnerIs::Open) {
            Undone::Unfenced => Next::Ends(Outcome::Kept),
            Undone::RunnerWorks => self.identify(claim, hand),
            Undone::Gone | Undone::LeftToJanitor => {
                // The job may have ended, or gone elsewhere, while its VM was undone.
                let what = match setback {
                    Setback::Failed(failure) => Outcome::GiveBack(failure),
                    Setback::Stopped | Setback::Useless => Outcome::GiveBack(Failure::stopped()),
                };
                match self.see(&self.while_undoing(), claim, &mut hand.record) {
                    Ok(Seen::Waits | Seen::RunsHere) | Err(Unanswered) => Next::Ends(what),
                    Ok(seen) => Next::Ends(outcome_of(seen)),
                }
            }
        }
    }

    /// Why a VM became useless before it existed.
    pub(crate) fn what_made_it_useless(&mut self, claim: &mut Claim, record: &mut VmRecord) -> Outcome {
        match self.see(&self.while_undoing(), claim, record) {
            Ok(Seen::Waits | Seen::RunsHere) | Err(Unanswered) => Outcome::GiveBack(Failure::stopped()),
            Ok(seen) => outcome_of(seen),
        }
    }

    /// Waits for the job to start and to end, at one go of each: comes back whenever something has to be decided.
    fn watch(&mut self, claim: &mut Claim, hand: &mut InHand) -> Next {
        let mut timers = Timers::new(self, hand.record.stage);
        if hand.record.stage < Stage::Running {
            job_log!(info, claim; "job is waiting for registered runner", vmName:% = hand.record.vm);
        }
        loop {
            let seen = match self.see(&self.until_stop(), claim, &mut hand.record) {
                Ok(seen) => seen,
                Err(Unanswered) => return self.stopped(hand),
            };
            match seen {
                Seen::Waits if hand.record.stage == Stage::Running => {
                    // GitHub took the job back from a runner that never picked it up.
                    hand.record.stage = Stage::Waiting;
                    timers = Timers::new(self, Stage::Waiting);
                }
                Seen::Waits => {}
                Seen::RunsHere if hand.record.stage < Stage::Running => {
                    self.on_started(claim, hand);
                    timers = Timers::new(self, Stage::Running);
                }
                Seen::RunsHere => {}
                seen => return ended(seen),
            }
            self.keep(claim, timers.longest_step(self));
            select! {
                recv(self.signals) -> _ => {}
                recv(self.interrupt.closed()) -> _ => return self.stopped(hand),
                recv(at(timers.next())) -> _ => {
                    if let Some(next) = self.on_timer(claim, hand, &mut timers) {
                        return next;
                    }
                }
            }
        }
    }

    fn on_started(&mut self, claim: &Claim, hand: &mut InHand) {
        job_log!(info, claim; "job found registered runner and is now in progress", vmName:% = hand.record.vm);
        self.mood.on_success();
        self.desk.note_start();
        self.status(Status::InProgress);
        // If this is not written the next start asks GitHub and finds out.
        let _ = self.save(claim, hand, Stage::Running, self.limits().running_look);
    }

    fn stopped(&self, hand: &InHand) -> Next {
        match hand.record.stage {
            Stage::Running => Next::Ends(Outcome::LeftRunning),
            _ => Next::Retreat(Setback::Stopped),
        }
    }

    fn on_timer(&mut self, claim: &mut Claim, hand: &mut InHand, timers: &mut Timers) -> Option<Next> {
        let now = Instant::now();
        if timers.registration_ends.is_some_and(|ends| now >= ends) {
            timers.registration_ends = None;
            job_log!(warn, claim; "waiting for runner registration timed out, will retry", vmName:% = hand.record.vm);
            match self.registration_timed_out(claim, hand) {
                Some(failure) => return Some(Next::Retreat(Setback::Failed(failure))),
                None => timers.registration_ends = Some(now),
            }
        }
        if timers.look_at.is_some_and(|look_at| now >= look_at) {
            timers.look_at = Some(now + self.limits().running_look);
            job_log!(info, claim; "job is still in progress", vmName:% = hand.record.vm);
            if self.vm_is_gone(hand) {
                job_log!(warn, claim; "the VM of a running job is gone; GitHub will end the job", vmName:% = hand.record.vm);
                self.leave(hand);
                return Some(Next::Ends(Outcome::LeftRunning));
            }
        }
        if timers.ask_at.is_some_and(|ask_at| now >= ask_at) {
            timers.ask_at = Some(now + self.limits().running_silence);
            self.keep(claim, self.limits().github_retry_total);
            if let Ok(Asked::Known(phase)) = self.hub.ask(&claim.job, &self.until_news()) {
                let _ = self.tell_store(&self.until_stop(), &claim.job, phase);
            }
        }
        None
    }

    /// A runner that is online and gets no job tells nothing about the job unless others got theirs meanwhile.
    /// None if news of the job came while GitHub was asked.
    fn registration_timed_out(&self, claim: &Claim, hand: &InHand) -> Option<Failure> {
        let what = "the runner was not given the job in time";
        // It may be over, and the news of that lost: then undoing finds the claim completed.
        if let Ok(Asked::Known(phase)) = self.hub.ask(&claim.job, &self.while_undoing()) {
            let _ = self.tell_store(&self.while_undoing(), &claim.job, phase);
        }
        let started_at = hand.record.registered_at.unwrap_or(hand.record.created_at);
        let is_online = match self.hub.is_online(&hand.record, &self.until_news()) {
            Err(error) if error.is_cut() => return None,
            asked => asked.unwrap_or(false),
        };
        let others_started = self.desk.started_since(started_at);
        let waited = claim
            .job
            .created_at
            .map_or(Duration::ZERO, |at| anklet_plugin_api::time::Moment::now().since(at));
        if is_online && !others_started && waited < self.limits().idle_runner {
            let what = format!("{what}, and nor was any other");
            return Some(Failure::new(what, Counted::No, Blame::Nobody));
        }
        Some(Failure::new(what, Counted::Yes, Blame::Host))
    }

    /// Only a list that can be read tells that a VM is gone.
    fn vm_is_gone(&self, hand: &InHand) -> bool {
        match self.vms.list(&self.until_stop()) {
            Ok(listed) => !listed.iter().any(|vm| vm.running && vm.name == hand.record.vm.as_str()),
            Err(error) => {
                warn!(error:% = error; "cannot look at the running VMs");
                false
            }
        }
    }

    /// Goes on without this VM; its record stays for the janitor or the next start.
    pub(crate) fn leave(&self, hand: &mut InHand) {
        hand.reservation = None;
        self.desk.leave(&hand.record.vm);
    }
}

/// What ends the work on a VM, and whether the runner in it can still be given a job.
fn ended(seen: Seen) -> Next {
    let runner = match seen {
        Seen::Over { ran_here: true, .. } => RunnerIs::Spent,
        _ => RunnerIs::Open,
    };
    Next::Over(outcome_of(seen), runner)
}

fn outcome_of(seen: Seen) -> Outcome {
    match seen {
        Seen::Over { conclusion, .. } => Outcome::Finished(conclusion),
        Seen::RunsElsewhere | Seen::RunsHere => Outcome::LeftRunning,
        Seen::Lost | Seen::Waits => Outcome::TakenOver,
    }
}

/// When something has to be looked at by itself.
struct Timers {
    registration_ends: Option<Instant>,
    look_at: Option<Instant>,
    ask_at: Option<Instant>,
}

impl Timers {
    fn new(worker: &Worker, stage: Stage) -> Self {
        let now = Instant::now();
        if stage < Stage::Running {
            return Self {
                registration_ends: Some(now + worker.section.registration_timeout),
                look_at: None,
                ask_at: None,
            };
        }
        Self {
            registration_ends: None,
            look_at: Some(now + worker.limits().running_look),
            ask_at: Some(now + worker.limits().running_silence),
        }
    }

    fn next(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3_600);
        [self.registration_ends, self.look_at, self.ask_at].into_iter().flatten().min().unwrap_or(far)
    }

    /// The longest that may pass until the next turn of the watch.
    fn longest_step(&self, worker: &Worker) -> Duration {
        let wait = self.next().saturating_duration_since(Instant::now());
        wait + worker.vms.limit(VmVerb::List) + worker.limits().github_retry_total
    }
}
