//! Undoing a VM: the fence first, then the VM, then its records. Every step may run twice.

use log::{debug, error, info, warn};

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::store::Claim;
use anklet_plugin_api::vm::{Stage, VmError, VmRecord, VmVerb};

use crate::fence::Fenced;
use crate::watch::RunnerIs;
use crate::worker::{InHand, Worker};

/// How an undoing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undone {
    /// VM and runner are gone, and so is the record.
    Gone,
    /// The runner can be given no job any more, but something is left that the janitor will remove.
    LeftToJanitor,
    /// The runner works: the VM stays.
    RunnerWorks,
    /// News came of the VM, which no claim holds: that has to be looked at first.
    News,
    /// A stop came before GitHub answered.
    Unfenced,
}

/// How often a deletion is tried before the handler goes on without it.
const N_DELETIONS: u32 = 3;

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
            Fenced::News => return Undone::News,
            Fenced::Unanswered => {
                // When the registration ended is known only here yet, and the next start need not wait so long for an unlisted runner.
                let _ = self.patiently(&self.while_undoing(), |store| store.put_vm(None, &hand.record));
                return Undone::Unfenced;
            }
            Fenced::Yes => self.are_spares_gone(&hand.record, &self.while_undoing()),
            Fenced::NeverStarted => false,
        };
        hand.record.stage = if is_runner_sure { Stage::Deleting } else { Stage::Undoing };
        self.time_stage(Some(hand.record.stage));
        let saved = self.patiently(&self.while_undoing(), |store| store.put_vm(None, &hand.record));
        if saved.is_err() {
            return self.leave_rest(hand);
        }
        if let Some(claim) = claim {
            self.keep_diagnostics(claim, hand, stage);
            let one_try = self.vms.limit(VmVerb::Delete) * 2 + self.vms.limit(VmVerb::List);
            self.keep(claim, one_try * N_DELETIONS);
        }
        if !self.delete_vm(&hand.record) {
            hand.record.failed_deletions += N_DELETIONS;
            let _ = self.patiently(&self.while_undoing(), |store| store.put_vm(None, &hand.record));
            if self.while_undoing().is_cut() {
                warn!(vmName:% = hand.record.vm; "stopped before the VM was deleted; the next start sees to it");
            } else {
                error!(vmName:% = hand.record.vm; "cannot delete the VM; it is tried again every minute");
            }
            return self.leave_rest(hand);
        }
        info!(vmName:% = hand.record.vm; "cleanup | anka.VM | queuedJob");
        if !is_runner_sure || self.forget(&hand.record).is_err() {
            return self.leave_rest(hand);
        }
        self.time_stage(None);
        hand.reservation = None;
        self.desk.clear(&hand.record.vm);
        Undone::Gone
    }

    fn leave_rest(&self, hand: &mut InHand) -> Undone {
        self.time_stage(None);
        self.leave(hand);
        Undone::LeftToJanitor
    }

    /// Deletes the VM; true if it is gone, which only a list that can be read tells: a deletion whose answer was lost may have happened, and
    /// one that was answered well need not have found it.
    pub(crate) fn delete_vm(&self, record: &VmRecord) -> bool {
        for n_try in 1..=N_DELETIONS {
            let ear = self.while_undoing();
            match self.vms.delete(&record.vm, &ear) {
                Ok(()) => {}
                Err(VmError::Cut { .. }) => return false,
                Err(error) => {
                    warn!(vmName:% = record.vm, try_number = n_try, error:% = error; "error deleting vm");
                    self.stop_force(record, &ear);
                }
            }
            match self.vms.list(&ear) {
                Ok(listed) if !listed.iter().any(|vm| vm.name == record.vm.as_str()) => return true,
                Ok(_) => debug!(vmName:% = record.vm, try_number = n_try; "the VM is still there"),
                Err(error) => {
                    warn!(vmName:% = record.vm, error:% = error; "cannot look whether the VM is gone")
                }
            }
            if ear.is_cut() {
                return false;
            }
        }
        false
    }

    fn stop_force(&self, record: &VmRecord, ear: &Ear<'_>) {
        if ear.is_cut() {
            return;
        }
        if let Err(error) = self.vms.stop_force(&record.vm, ear) {
            warn!(vmName:% = record.vm, error:% = error; "error stopping vm");
        }
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
