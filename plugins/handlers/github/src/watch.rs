//! From a runner that waits to the end of its job, whatever happens on the way.

use crossbeam_channel::{at, select};

use anklet_plugin_api::job::Phase;
use anklet_plugin_api::report::Status;
use anklet_plugin_api::store::Claim;
use anklet_plugin_api::vm::{Stage, VmRecord};

use crate::cleanup::Undone;
use crate::facts::job_log;
use crate::hub::Asked;
use crate::outcome::{Failure, Outcome, Setback};
use crate::overdue::Timers;
use crate::worker::{InHand, Seen, Unanswered, Worker};

/// What to do next with a VM in hand.
pub(crate) enum Next {
    /// Watch until something happens.
    Watch,
    /// Undo it for this reason.
    Retreat(Setback),
    /// Undo it: the job is over. The runner has had its one job, or not.
    Over(Outcome, RunnerIs),
    /// Its runner works on a job that nobody has named, and the claim ends like this.
    Unknown(Outcome),
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
                    Undone::RunnerWorks | Undone::News => self.identify_other(claim, &mut hand, outcome),
                    Undone::Gone | Undone::LeftToJanitor => Next::Ends(outcome),
                    Undone::Unfenced => Next::Ends(Outcome::Kept),
                },
                Next::Unknown(outcome) => self.watch_unknown(claim, &mut hand, outcome),
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
            Undone::RunnerWorks | Undone::News => self.identify(claim, hand),
            Undone::Gone | Undone::LeftToJanitor => {
                // The job may have ended, or gone elsewhere, while its VM was undone.
                let what = match setback {
                    Setback::Failed(failure) => Outcome::GiveBack(failure),
                    Setback::Hopeless(reason) => Outcome::Cancel(reason),
                    Setback::Stopped | Setback::Useless => Outcome::GiveBack(Failure::stopped()),
                };
                match self.see(&self.while_undoing(), claim, &mut hand.record) {
                    Ok(Seen::RunsHere) => Next::Ends(self.ended_unseen(claim).unwrap_or(what)),
                    Ok(Seen::Waits) | Err(Unanswered) => Next::Ends(what),
                    Ok(seen) => Next::Ends(outcome_of(seen)),
                }
            }
        }
    }

    /// The job is said to run on a VM whose runner is gone for good: most likely it is over, and its end not told yet.
    fn ended_unseen(&self, claim: &Claim) -> Option<Outcome> {
        match self.hub.ask(&claim.job, &self.while_undoing()) {
            Ok(Asked::Known(Phase::Completed { conclusion, .. })) => Some(Outcome::Finished(conclusion)),
            Ok(_) | Err(_) => None,
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
                // An earlier life has said that it runs; what this one does is shown anew.
                Seen::RunsHere => self.status(Status::InProgress),
                seen => {
                    if let Seen::Over { ran_here: true, .. } = seen {
                        // It was quick: what its start would have told counts all the same.
                        self.on_success();
                    }
                    return ended(seen);
                }
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
        self.on_success();
        self.status(Status::InProgress);
        // If this is not written the next start asks GitHub and finds out.
        let _ = self.save(claim, hand, Stage::Running, self.limits().running_look);
    }

    /// GitHub gave the VM's runner a job: the host is well, and GitHub does give out jobs.
    fn on_success(&mut self) {
        self.mood.on_success();
        self.desk.note_start();
    }

    fn stopped(&self, hand: &InHand) -> Next {
        match hand.record.stage {
            Stage::Running => Next::Ends(Outcome::LeftRunning),
            _ => Next::Retreat(Setback::Stopped),
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
