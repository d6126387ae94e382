//! At the start: what an earlier life of this handler left behind is finished, watched on or undone, before anything new is taken.

use std::collections::BTreeMap;
use std::time::Instant;

use log::{error, info, warn};

use anklet_plugin_api::host::{HostError, RunningVm};
use anklet_plugin_api::job::Phase;
use anklet_plugin_api::name::VmName;
use anklet_plugin_api::report::Status;
use anklet_plugin_api::sorted::{map_of, sort_by_key};
use anklet_plugin_api::store::{Claim, Counted};
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::{Stage, VmListed, VmRecord};

use crate::diagnostics::Traces;
use crate::facts::job_log;
use crate::hub::Asked;
use crate::mood::doubled;
use crate::outcome::{Blame, Failure, Outcome, Setback};
use crate::worker::{InHand, Seen, Unanswered, Worker};

impl Worker {
    /// This handler's records in store and ledger, both made whole from each other. From here on they are in hand.
    pub(crate) fn read_held(&self) -> Result<Vec<VmRecord>, Unanswered> {
        let records = self.records_of_host(&self.until_stop())?;
        let (ours, _): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| record.plugin == self.section.name);
        for record in &ours {
            self.desk.take(&record.vm);
        }
        Ok(ours)
    }

    /// All records of this host, from the union of store and ledger; each gets back what it lost.
    pub(crate) fn records_of_host(
        &self,
        ear: &anklet_plugin_api::ear::Ear<'_>,
    ) -> Result<Vec<VmRecord>, Unanswered> {
        let Ok(stored) = self.patiently(ear, |store| store.vms(self.host.id()))? else {
            return Ok(Vec::new());
        };
        let mut records = map_of(stored.into_iter().map(|record| (record.vm.clone(), record)));
        let mut ledger = self.host.records().unwrap_or_else(|error| {
            error!(error:% = error; "cannot read the ledger file");
            Vec::new()
        });
        // Those of other queues are in other stores, perhaps in the hands of another process.
        ledger.retain(|record| record.queue.is_empty() || record.queue == self.section.queue);
        for record in &ledger {
            // What is in work somewhere on this host has its record there, or will have it.
            let is_in_work = self.desk.is_in_hand(&record.vm) || self.host.is_reserved(record.vm.as_str());
            // Whoever has just forgotten it had it in work until the ledger had forgotten it too.
            if !records.contains_key(&record.vm) && !is_in_work && self.is_in_ledger(&record.vm) {
                warn!(vmName:% = record.vm; "the store has lost the record of a VM; it is written back from the ledger");
                let record = with_the_worst_assumed(record);
                let _ = self.patiently(ear, |store| store.put_vm(None, &record))?;
                records.insert(record.vm.clone(), record);
            }
        }
        for vm in self.write_down(&records, &ledger, ear)? {
            records.remove(&vm);
        }
        Ok(records.into_values().collect())
    }

    /// Writes what only the store has into the ledger. Answers what was forgotten meanwhile: whoever forgets a VM does so in the store first, so
    /// that the ledger may have got back what it had just lost for good.
    fn write_down(
        &self,
        records: &BTreeMap<VmName, VmRecord>,
        ledger: &[VmRecord],
        ear: &anklet_plugin_api::ear::Ear<'_>,
    ) -> Result<Vec<VmName>, Unanswered> {
        let has = |known: &[VmRecord], vm: &VmName| known.iter().any(|record| record.vm == *vm);
        let told = |vm: &VmName, written: Result<(), HostError>| {
            if let Err(error) = written {
                error!(vmName:% = vm, error:% = error; "cannot write the ledger file");
            }
        };
        let mut written: Vec<VmName> = records.keys().filter(|vm| !has(ledger, vm)).cloned().collect();
        if written.is_empty() {
            return Ok(written);
        }
        written.iter().for_each(|vm| told(vm, self.host.record(&records[vm])));
        let Ok(stored) = self.patiently(ear, |store| store.vms(self.host.id()))? else {
            return Ok(Vec::new());
        };
        written.retain(|vm| !has(&stored, vm));
        written.iter().for_each(|vm| told(vm, self.host.forget(vm)));
        Ok(written)
    }

    fn is_in_ledger(&self, vm: &VmName) -> bool {
        self.host.records().is_ok_and(|records| records.iter().any(|record| record.vm == *vm))
    }

    /// Deals with the records of an earlier life. A handler has one claim at most: that is seen through, perhaps for hours, once all other records
    /// are left to the janitor.
    pub(crate) fn recover(&mut self, mut records: Vec<VmRecord>) {
        sort_by_key(&mut records, |record| record.stage != Stage::Running);
        let mut held = None;
        for record in records {
            if self.interrupt.is_closed() {
                return;
            }
            held = self.adopt(record).or(held);
        }
        if let Some((mut claim, hand, is_running)) = held {
            let outcome = self.recover_claim(&mut claim, hand, is_running);
            self.settle(&claim, outcome);
        }
    }

    /// The claim that goes on with this VM, and whether the VM runs; without one the record is left.
    fn adopt(&mut self, record: VmRecord) -> Option<(Claim, InHand, bool)> {
        info!(vmName:% = record.vm, stage:% = record.stage; "an earlier start left a VM");
        self.status(Status::Running);
        let listed = self.listed().ok()?;
        let ear = self.until_stop();
        let adopted = self.patiently(&ear, |store| store.adopt(&self.section.name, &record.vm)).ok()?;
        let is_running = listed.iter().any(|vm| vm.running && vm.name == record.vm.as_str());
        let running: Vec<_> = listed
            .into_iter()
            .filter(|vm| vm.running)
            .map(|vm| RunningVm { name: vm.name, size: None })
            .collect();
        // An earlier life had room for it; if the host is full without it, it counts all the same.
        let reservation = if is_running { self.host.reserve(&record.vm, None, &running).ok() } else { None };
        let mut hand = InHand { record, reservation, traces: Traces::default() };
        match adopted.ok().flatten() {
            Some(claim) => {
                self.keep(&claim, self.limits().github_retry_total);
                Some((claim, hand, is_running))
            }
            // Its job is nobody's or somebody else's: the janitor has time to wait for its runner, this handler has jobs to do.
            None => {
                self.leave(&mut hand);
                None
            }
        }
    }

    fn recover_claim(&mut self, claim: &mut Claim, mut hand: InHand, is_running: bool) -> Outcome {
        self.keep(claim, self.limits().github_retry_total);
        job_log!(info, claim; "taking up the job of an earlier start", vmName:% = hand.record.vm);
        let crashed = || {
            let what = "the process ended while the VM was prepared";
            Err(Setback::Failed(Failure::new(what, Counted::Yes, Blame::Nobody)))
        };
        if hand.record.registering_at.is_some() && !self.ask_until_answered(claim) {
            return Outcome::Kept;
        }
        match self.see(&self.until_stop(), claim, &mut hand.record) {
            Err(Unanswered) => Outcome::Kept,
            Ok(Seen::RunsHere) if is_running => self.see_through(claim, hand, Ok(())),
            Ok(Seen::RunsHere) => {
                job_log!(warn, claim; "the VM of a running job is gone; GitHub will end the job", vmName:% = hand.record.vm);
                self.leave(&mut hand);
                Outcome::LeftRunning
            }
            Ok(Seen::Waits) => self.see_through(claim, hand, crashed()),
            Ok(Seen::Over { .. } | Seen::RunsElsewhere | Seen::Lost) => {
                self.see_through(claim, hand, Err(Setback::Useless))
            }
        }
    }

    /// Asks GitHub how far the job is and tells the store; false if a stop came first.
    fn ask_until_answered(&mut self, claim: &mut Claim) -> bool {
        if matches!(claim.phase, Phase::Completed { .. }) {
            return true;
        }
        let mut n_failures = 0;
        loop {
            self.keep(claim, self.limits().github_retry_total + self.limits().fence_retry);
            match self.hub.ask(&claim.job, &self.until_stop()) {
                Ok(Asked::Known(phase)) => {
                    return self.tell_store(&self.until_stop(), &claim.job, phase).is_ok();
                }
                // The fence then tells what can be told.
                Ok(Asked::HeldBack(_) | Asked::Unknown) => return true,
                Err(error) if error.is_refusal() => {
                    // That may last: what the store knows has to do, and a VM that runs is kept.
                    self.say_hidden(claim, &error.to_string());
                    return true;
                }
                Err(error) => {
                    if n_failures == 0 {
                        warn!(workflowJobID = claim.job.id.0, error:% = error; "GitHub cannot be asked about a job of an earlier start; waiting");
                    }
                    let wait = doubled(self.limits().fence_no_answer, n_failures, self.limits().fence_retry);
                    n_failures += 1;
                    if self.until_stop().rest_until(Instant::now() + wait) {
                        return false;
                    }
                }
            }
        }
    }

    /// A claim of an earlier life that made no VM: its try counts, so that a job that brings the process down does so only a few times.
    pub(crate) fn settle_resumed(&mut self, claim: &Claim) {
        let what = "the process ended before a VM was made";
        let outcome = match &claim.phase {
            Phase::Queued => Outcome::GiveBack(Failure::new(what, Counted::Yes, Blame::Nobody)),
            Phase::InProgress { .. } => Outcome::LeftRunning,
            Phase::Completed { conclusion, .. } => Outcome::Finished(conclusion.clone()),
        };
        self.settle(claim, outcome);
    }

    fn listed(&self) -> Result<Vec<VmListed>, Unanswered> {
        let mut n_failures = 0;
        loop {
            match self.vms.list(&self.until_stop()) {
                Ok(listed) => return Ok(listed),
                Err(error) => {
                    if self.interrupt.is_closed() {
                        return Err(Unanswered);
                    }
                    warn!(error:% = error; "cannot look at the VMs of this host; waiting");
                    let wait = doubled(self.limits().fence_no_answer, n_failures, self.limits().delete_retry);
                    n_failures += 1;
                    if self.until_stop().rest_until(Instant::now() + wait) {
                        return Err(Unanswered);
                    }
                }
            }
        }
    }
}

/// The ledger is written when a VM is begun, so a record that only the ledger still has may since have got as far as a running job.
fn with_the_worst_assumed(record: &VmRecord) -> VmRecord {
    let registering_at = record.registering_at.or(Some(Moment::now()));
    VmRecord { registering_at, stage: record.stage.max(Stage::Waiting), ..record.clone() }
}
