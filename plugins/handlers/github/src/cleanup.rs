//! Undoing a VM: the fence first, then the VM, then its records. Every step may run twice.
//!
//! The fence is GitHub's own answer to the removal of the runner: only 204 or 404 proves that it can be given no job any more. A VM is
//! never deleted under a runner that works.

use std::time::{Duration, Instant};

use crossbeam_channel::{at, select};
use log::{error, info, warn};

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::store::Claim;
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::{Stage, VmError, VmRecord, VmVerb};

use anklet_github::runners::Fence;

use crate::mood::doubled;
use crate::watch::RunnerIs;
use crate::worker::{InHand, Seen, Worker};

/// How an undoing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undone {
    /// VM and runner are gone, and so is the record.
    Gone,
    /// The runner can be given no job any more, but something is left that the janitor will remove.
    LeftToJanitor,
    /// The runner works: the VM stays.
    RunnerWorks,
    /// A stop came before GitHub answered.
    Unfenced,
}

/// How often a deletion is tried before the handler goes on without it.
const N_DELETIONS: u32 = 3;

/// What the fence has shown.
enum Fenced {
    /// GitHub can give the runner nothing any more.
    Yes,
    /// The runner was never started, so that nothing can run on it; whether it is registered is seen later.
    NeverStarted,
    /// It works.
    Works,
    /// No answer before the stop.
    Unanswered,
}

impl Worker {
    /// Removes runner and VM. With a claim, its end is noticed on the way.
    pub(crate) fn undo(
        &mut self,
        mut claim: Option<&mut Claim>,
        hand: &mut InHand,
        runner: RunnerIs,
    ) -> Undone {
        let fenced = match (runner, hand.record.registering_at) {
            (RunnerIs::Spent, _) | (_, None) => Fenced::Yes,
            (RunnerIs::Open, Some(_)) => self.fence(claim.as_deref_mut(), hand),
        };
        let stage = hand.record.stage;
        let is_runner_sure = match fenced {
            Fenced::Works => return Undone::RunnerWorks,
            Fenced::Unanswered => {
                // When the registration ended is known only here yet, and the next start need not wait so long for an unlisted runner.
                let _ = self.patiently(&self.while_undoing(), |store| store.put_vm(None, &hand.record));
                return Undone::Unfenced;
            }
            Fenced::Yes => self.are_spares_gone(&hand.record, &self.while_undoing()),
            Fenced::NeverStarted => false,
        };
        hand.record.stage = if is_runner_sure { Stage::Deleting } else { Stage::Undoing };
        let saved = self.patiently(&self.while_undoing(), |store| store.put_vm(None, &hand.record));
        if saved.is_err() {
            return self.leave_rest(hand);
        }
        if let Some(claim) = claim {
            self.keep_diagnostics(claim, hand, stage);
            self.keep(claim, self.vms.limit(VmVerb::Delete) * (3 * N_DELETIONS));
        }
        if !self.delete_vm(&hand.record) {
            hand.record.failed_deletions += N_DELETIONS;
            let _ = self.patiently(&self.while_undoing(), |store| store.put_vm(None, &hand.record));
            error!(vmName:% = hand.record.vm; "cannot delete the VM; it is tried again every minute");
            return self.leave_rest(hand);
        }
        info!(vmName:% = hand.record.vm; "cleanup | anka.VM | queuedJob");
        if !is_runner_sure || self.forget(&hand.record).is_err() {
            return self.leave_rest(hand);
        }
        hand.reservation = None;
        self.desk.clear(&hand.record.vm);
        Undone::Gone
    }

    fn leave_rest(&self, hand: &mut InHand) -> Undone {
        self.leave(hand);
        Undone::LeftToJanitor
    }

    /// Asks GitHub to remove the runner until there is an answer that proves something.
    fn fence(&mut self, mut claim: Option<&mut Claim>, hand: &mut InHand) -> Fenced {
        let mut n_failures = 0;
        loop {
            if let Some(claim) = claim.as_deref_mut() {
                self.keep(claim, self.limits().github_retry_total + self.limits().fence_retry);
            }
            let ear = self.while_undoing();
            let wait = match self.hub.fence(&hand.record, &ear) {
                Ok(Fence::Removed) => return Fenced::Yes,
                Ok(Fence::Busy) => return Fenced::Works,
                Ok(Fence::NotListed) => {
                    let wait = self.list_lag_left(&hand.record);
                    if wait.is_zero() {
                        return Fenced::Yes;
                    }
                    if hand.record.stage < Stage::StartingRunner {
                        return Fenced::NeverStarted;
                    }
                    wait.min(self.limits().fence_no_answer)
                }
                Err(error) => {
                    if n_failures == 0 {
                        warn!(vmName:% = hand.record.vm, error:% = error; "GitHub does not answer whether the runner is removed; its VM is kept");
                    }
                    n_failures += 1;
                    doubled(self.limits().fence_no_answer, n_failures - 1, self.limits().fence_retry)
                }
            };
            if ear.is_cut() {
                return Fenced::Unanswered;
            }
            if self.waits_in_vain(claim.as_deref_mut(), hand, wait) {
                return Fenced::Yes;
            }
            if self.while_undoing().is_cut() {
                return Fenced::Unanswered;
            }
        }
    }

    /// Whether runners of earlier names, on which nothing can run, are known to be gone. It is not waited for: the janitor asks again.
    pub(crate) fn are_spares_gone(&self, record: &VmRecord, ear: &Ear<'_>) -> bool {
        match self.hub.remove_spares(record, ear) {
            Ok(are_gone) => are_gone || self.list_lag_left(record).is_zero(),
            Err(error) => {
                warn!(vmName:% = record.vm, error:% = error; "GitHub does not answer whether a runner of an earlier name is removed");
                false
            }
        }
    }

    /// Waits before the next fence; true if news came meanwhile that makes it needless: the runner has had its one job.
    fn waits_in_vain(&self, claim: Option<&mut Claim>, hand: &mut InHand, wait: Duration) -> bool {
        let ear = self.while_undoing();
        let deadline = Instant::now() + wait;
        if claim.is_none() {
            ear.rest_until(deadline);
            return false;
        }
        // After a stop only the clock counts: the ear then ends the wait by itself.
        if self.interrupt.is_closed() {
            ear.rest_until(deadline);
            return false;
        }
        select! {
            recv(self.signals) -> _ => {}
            recv(self.interrupt.closed()) -> _ => {}
            recv(at(deadline)) -> _ => {}
        }
        match claim.map(|claim| self.see(&ear, claim, &mut hand.record)) {
            Some(Ok(Seen::Over { ran_here, .. })) => ran_here,
            _ => false,
        }
    }

    /// How long an unlisted runner may still exist: GitHub's list lags.
    pub(crate) fn list_lag_left(&self, record: &VmRecord) -> Duration {
        let limits = self.limits();
        list_lag_left(record, Moment::now(), limits.runner_list_lag, self.registration_limit(record))
    }

    /// How long the registration of this runner may take: a command in the guest, or a call of GitHub with its retries.
    pub(crate) fn registration_limit(&self, record: &VmRecord) -> Duration {
        match record.jit {
            Some(_) => self.limits().github_retry_total,
            None => self.limits().register_runner,
        }
    }

    /// Deletes the VM; true if it is gone.
    pub(crate) fn delete_vm(&self, record: &VmRecord) -> bool {
        for n_try in 1..=N_DELETIONS {
            let ear = self.while_undoing();
            match self.vms.delete(&record.vm, &ear) {
                Ok(()) => return true,
                Err(VmError::Cut { .. }) => return false,
                Err(error) => {
                    warn!(vmName:% = record.vm, try_number = n_try, error:% = error; "error deleting vm");
                }
            }
            if ear.is_cut() {
                return false;
            }
            if let Err(error) = self.vms.stop_force(&record.vm, &ear) {
                warn!(vmName:% = record.vm, error:% = error; "error stopping vm");
            }
            // The answer may have been lost and the VM be gone all the same; only the list tells.
            if let Ok(listed) = self.vms.list(&ear)
                && !listed.iter().any(|vm| vm.name == record.vm.as_str())
            {
                return true;
            }
        }
        false
    }

    /// Forgets a VM that is gone with its runner: the store first, the ledger last.
    pub(crate) fn forget(&self, record: &VmRecord) -> Result<(), ()> {
        self.patiently(&self.while_undoing(), |store| store.remove_vm(&record.vm))
            .map_err(|_| ())?
            .map_err(|_| ())?;
        self.host.forget(&record.vm).map_err(|error| {
            error!(vmName:% = record.vm, error:% = error; "cannot write the ledger file");
        })
    }
}

/// See [`Worker::list_lag_left`]; a registration whose end was not written may have lasted for its whole limit.
fn list_lag_left(record: &VmRecord, now: Moment, lag: Duration, registration_limit: Duration) -> Duration {
    let Some(began_at) = record.registering_at else { return Duration::ZERO };
    let ended_at = record.registered_at.unwrap_or_else(|| began_at.after(registration_limit));
    let gone_at = ended_at.after(lag);
    // A clock that was set back must not make anyone wait for more than the wait itself.
    gone_at.since(now).min(lag + registration_limit)
}
