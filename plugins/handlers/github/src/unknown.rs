//! A runner of ours works, and on what is not known: GitHub has no way from a runner to its job.
//!
//! The claimed job and the other jobs of its run are asked about. If none of them names the runner, the claimed job goes to others, and the
//! VM stays until the runner is free or news names it.

use std::time::Instant;

use crossbeam_channel::{at, select};
use log::{info, warn};

use anklet_plugin_api::job::Phase;
use anklet_plugin_api::store::{Claim, Counted, JobSignal};
use anklet_plugin_api::vm::Stage;

use crate::cleanup::Undone;
use crate::hub::{Asked, HubError};
use crate::outcome::{Blame, Failure, Outcome};
use crate::watch::{Next, RunnerIs};
use crate::worker::{InHand, Unanswered, Worker, follow};

impl Worker {
    /// The fence says that our runner works. On what?
    pub(crate) fn identify(&mut self, claim: &mut Claim, hand: &mut InHand) -> Next {
        let ear = self.while_undoing();
        self.keep(claim, self.limits().github_retry_total * 2);
        let outcome = match self.hub.ask(&claim.job, &ear) {
            Ok(Asked::Known(phase)) => {
                let names_ours = phase.runner() == Some(hand.record.vm.as_str());
                let outcome = match &phase {
                    Phase::Queued => given_another(),
                    Phase::InProgress { .. } => Outcome::LeftRunning,
                    Phase::Completed { conclusion, .. } => Outcome::Finished(conclusion.clone()),
                };
                let _ = self.tell_store(&ear, &claim.job, phase);
                if names_ours {
                    return Next::Watch;
                }
                outcome
            }
            Ok(Asked::HeldBack(_) | Asked::Unknown) => given_another(),
            // Not answered: the VM is kept, and the next look asks again.
            Err(_) if self.interrupt.is_closed() => return Next::Ends(Outcome::Kept),
            Err(_) => return Next::Watch,
        };
        match self.name_other(claim, hand) {
            Ok(true) => Next::Watch,
            Ok(false) => Next::Unknown(outcome),
            Err(_) if self.interrupt.is_closed() => Next::Ends(Outcome::Kept),
            Err(_) => Next::Watch,
        }
    }

    /// The claim ends like this, and our runner works all the same. On what?
    pub(crate) fn identify_other(&mut self, claim: &mut Claim, hand: &mut InHand, outcome: Outcome) -> Next {
        self.keep(claim, self.limits().github_retry_total);
        let is_lost = matches!(outcome, Outcome::TakenOver);
        // Without a claim that could move, it is the record that will name the job.
        if is_lost && self.forget_job(hand).is_err() {
            return Next::Ends(Outcome::Kept);
        }
        match self.name_other(claim, hand) {
            Err(_) if self.interrupt.is_closed() => Next::Ends(Outcome::Kept),
            Ok(true) if !is_lost => Next::Watch,
            Ok(_) | Err(_) => Next::Unknown(outcome),
        }
    }

    /// Tells the store of the job of the same run that our runner works on; false if there is none.
    fn name_other(&self, claim: &Claim, hand: &InHand) -> Result<bool, HubError> {
        let ear = self.while_undoing();
        let Some((job, phase)) = self.hub.job_of_run_on(&claim.job, &hand.record.vm, &ear)? else {
            return Ok(false);
        };
        let _ = self.tell_store(&ear, &job, phase);
        Ok(true)
    }

    /// The runner works on a job that nobody has named: the claim ends, the VM stays until the runner is free or news names it.
    pub(crate) fn watch_unknown(&mut self, claim: &mut Claim, hand: &mut InHand, outcome: Outcome) -> Next {
        warn!(vmName:% = hand.record.vm; "the runner works on a job that is not known yet; its VM is kept");
        self.settle(claim, outcome);
        if self.forget_job(hand).is_err() {
            return self.leave_unknown(hand);
        }
        let mut fence_at = Instant::now() + self.limits().fence_retry;
        loop {
            match self.patiently(&self.until_stop(), |store| store.adopt(&self.section.name, &hand.record.vm))
            {
                Ok(Ok(Some(adopted))) => {
                    info!(vmName:% = hand.record.vm, workflowJobID = adopted.job.id.0; "the runner's job is known now");
                    follow(&mut hand.record, &adopted.job);
                    // That it runs is news to everybody.
                    hand.record.stage = Stage::Waiting;
                    *claim = adopted;
                    return Next::Watch;
                }
                Ok(_) => {}
                Err(Unanswered) => return self.leave_unknown(hand),
            }
            if Instant::now() < fence_at {
                select! {
                    // If nothing can be adopted after news the job is over, and the runner free. News that came before the claim had ended was
                    // told to the claim.
                    recv(self.signals) -> signal => if signal != Ok(JobSignal::Look) {
                        fence_at = Instant::now();
                    },
                    recv(self.interrupt.closed()) -> _ => return self.leave_unknown(hand),
                    recv(at(fence_at)) -> _ => {}
                }
                continue;
            }
            match self.undo(None, hand, RunnerIs::Open) {
                Undone::RunnerWorks => fence_at = Instant::now() + self.limits().fence_retry,
                Undone::News => {}
                Undone::Gone | Undone::LeftToJanitor | Undone::Unfenced => {
                    return Next::Ends(Outcome::Settled);
                }
            }
        }
    }

    /// Writes down that it is not known what runs on the VM, unless news has named it since this handler looked.
    fn forget_job(&self, hand: &mut InHand) -> Result<(), Unanswered> {
        let ear = self.while_undoing();
        let known = self.patiently(&ear, |store| store.vms(self.host.id()))?.unwrap_or_default();
        let is_named = known.iter().any(|known| known.vm == hand.record.vm && known.job != hand.record.job);
        (hand.record.job, hand.record.run, hand.record.stage) = (None, None, Stage::Running);
        if is_named {
            return Ok(());
        }
        self.patiently(&ear, |store| store.put_vm(None, &hand.record)).map(|_| ())
    }

    fn leave_unknown(&self, hand: &mut InHand) -> Next {
        self.leave(hand);
        Next::Ends(Outcome::Settled)
    }
}

fn given_another() -> Outcome {
    Outcome::GiveBack(Failure::new("the runner was given another job", Counted::No, Blame::Nobody))
}
