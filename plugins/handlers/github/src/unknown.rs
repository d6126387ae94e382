//! A runner of ours works, and on what is not known: GitHub has no way from a runner to its job.
//!
//! The claimed job and the other jobs of its run are asked about. If none of them names the runner, the claimed job goes to others, and the
//! VM stays until the runner is free or news names it.

use std::time::Instant;

use crossbeam_channel::{at, select};
use log::{info, warn};

use anklet_plugin_api::job::Phase;
use anklet_plugin_api::store::{Claim, Counted};
use anklet_plugin_api::vm::Stage;

use crate::cleanup::Undone;
use crate::hub::Asked;
use crate::outcome::{Blame, Failure, Outcome};
use crate::watch::{Next, RunnerIs};
use crate::worker::{InHand, Unanswered, Worker, follow};

impl Worker {
    /// The fence says that our runner works. On what?
    pub(crate) fn identify(&mut self, claim: &mut Claim, hand: &mut InHand) -> Next {
        let ear = self.while_undoing();
        self.keep(claim, self.limits().github_retry_total * 2);
        match self.hub.ask(&claim.job, &ear) {
            Ok(Asked::Known(phase)) => {
                let names_ours = phase.runner() == Some(hand.record.vm.as_str());
                let is_queued = phase == Phase::Queued;
                let _ = self.tell_store(&ear, &claim.job, phase);
                if names_ours {
                    return Next::Watch;
                }
                if is_queued {
                    return self.identify_other(claim, hand);
                }
                // Our job is over or runs elsewhere; our runner works on yet another one.
                Next::Unknown
            }
            Ok(Asked::HeldBack(_) | Asked::Unknown) => self.identify_other(claim, hand),
            // Not answered: the VM is kept, and the next look asks again.
            Err(_) if self.interrupt.is_closed() => Next::Ends(Outcome::Kept),
            Err(_) => Next::Watch,
        }
    }

    fn identify_other(&mut self, claim: &mut Claim, hand: &mut InHand) -> Next {
        let ear = self.while_undoing();
        match self.hub.job_of_run_on(&claim.job, &hand.record.vm, &ear) {
            Ok(Some((job, phase))) => {
                let _ = self.tell_store(&ear, &job, phase);
                Next::Watch
            }
            Ok(None) => Next::Unknown,
            Err(_) if self.interrupt.is_closed() => Next::Ends(Outcome::Kept),
            Err(_) => Next::Watch,
        }
    }

    /// The runner works on a job that nobody has named: the claimed job goes to others, the VM stays until the runner is free or news names it.
    pub(crate) fn watch_unknown(&mut self, claim: &mut Claim, hand: &mut InHand) -> Next {
        warn!(vmName:% = hand.record.vm; "the runner works on a job that is not known yet; its VM is kept");
        let ear = self.while_undoing();
        (hand.record.job, hand.record.run, hand.record.stage) = (None, None, Stage::Running);
        if self.patiently(&ear, |store| store.put_vm(None, &hand.record)).is_err() {
            return Next::Ends(Outcome::Kept);
        }
        let failure = Failure::new("the runner was given another job", Counted::No, Blame::Nobody);
        self.settle(claim, Outcome::GiveBack(failure));
        loop {
            match self.patiently(&self.until_stop(), |store| store.adopt(&self.section.name, &hand.record.vm))
            {
                Ok(Ok(Some(adopted))) => {
                    info!(vmName:% = hand.record.vm, workflowJobID = adopted.job.id.0; "the runner's job is known now");
                    follow(&mut hand.record, &adopted.job);
                    *claim = adopted;
                    return Next::Watch;
                }
                Ok(_) => {}
                Err(Unanswered) => return self.leave_unknown(hand),
            }
            select! {
                recv(self.signals) -> _ => continue,
                recv(self.interrupt.closed()) -> _ => return self.leave_unknown(hand),
                recv(at(Instant::now() + self.limits().fence_retry)) -> _ => {}
            }
            match self.undo(None, hand, RunnerIs::Open) {
                Undone::RunnerWorks => {}
                Undone::Gone | Undone::LeftToJanitor | Undone::Unfenced => {
                    return Next::Ends(Outcome::TakenOver);
                }
            }
        }
    }

    fn leave_unknown(&self, hand: &mut InHand) -> Next {
        self.leave(hand);
        Next::Ends(Outcome::TakenOver)
    }
}
