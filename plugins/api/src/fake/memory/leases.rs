//! Leases and VM records of the memory store.

use std::time::Duration;

use super::state::State;
use crate::name::{HostId, VmName};
use crate::store::{ClaimKey, Lease, Leased, StoreError};
use crate::time::Moment;
use crate::vm::VmRecord;

/// Records of lost hosts that one question is answered with at most.
const N_FORSAKEN: usize = 100;

pub(super) struct HeldLease {
    host: HostId,
    process: String,
    until: Moment,
}

impl HeldLease {
    fn is_of(&self, lease: &Lease) -> bool {
        self.host == lease.host && self.process == lease.process
    }
}

impl State {
    pub(super) fn lease(&mut self, lease: &Lease, now: Moment) -> Leased {
        if let Some(held) = self.leases.get(&lease.name) {
            let is_free = held.until <= now
                || held.is_of(lease)
                || (held.host == lease.host && (lease.predecessor_is_gone)(&held.process));
            if !is_free {
                let (host, process) = (held.host.clone(), held.process.clone());
                return Leased::Theirs { host, process, left: held.until.since(now) };
            }
        }
        let until = now.after(lease.life);
        let held = HeldLease { host: lease.host.clone(), process: lease.process.clone(), until };
        self.leases.insert(lease.name.clone(), held);
        self.hosts.insert(lease.host.clone(), now);
        self.mark_late(now);
        Leased::Ours
    }

    pub(super) fn release(&mut self, lease: &Lease) {
        if self.leases.get(&lease.name).is_some_and(|held| held.is_of(lease)) {
            self.leases.remove(&lease.name);
        }
    }

    pub(super) fn put_vm(
        &mut self,
        key: Option<&ClaimKey>,
        record: &VmRecord,
        now: Moment,
    ) -> Result<(), StoreError> {
        let mut record = record.clone();
        if let Some(key) = key {
            let held = self.held(key)?;
            held.renew(now);
            held.vm = Some(record.vm.clone());
            let (job, by) = (held.job, (key.handler.clone(), held.host.clone()));
            let known = self.vms.get(&record.vm).map(|known| known.stage);
            if known != Some(record.stage) {
                self.job(job).note(now, format!("stage {}", record.stage), Some(by));
            }
            if record.job.is_some_and(|named| named != job) {
                // The claim has moved since the handler looked.
                let job = &self.jobs[&job].job;
                record.job = Some(job.id);
                record.run = Some(job.run_id);
                record.repository = format!("{}/{}", job.owner, job.repo);
            }
        }
        self.vms.insert(record.vm.clone(), record);
        Ok(())
    }

    pub(super) fn remove_vm(&mut self, vm: &VmName) {
        self.vms.remove(vm);
        for held in self.claims.values_mut().filter(|held| held.vm.as_ref() == Some(vm)) {
            held.vm = None;
        }
    }

    pub(super) fn forsaken(&mut self, silence: Duration, told: &[VmName], now: Moment) -> Vec<VmRecord> {
        for record in self.vms.values() {
            self.hosts.entry(record.host.clone()).or_insert(now);
        }
        let is_silent = |state: &Self, record: &VmRecord| state.hosts[&record.host].after(silence) <= now;
        for vm in told {
            if self.vms.get(vm).is_some_and(|record| is_silent(self, record)) {
                self.remove_vm(vm);
            }
        }
        let has_vms = |host: &HostId| self.vms.values().any(|record| record.host == *host);
        self.hosts.retain(|host, seen_at| seen_at.after(silence) > now || has_vms(host));
        self.vms.values().filter(|record| is_silent(self, record)).take(N_FORSAKEN).cloned().collect()
    }

    pub(super) fn vms_of(&self, host: &HostId) -> Vec<VmRecord> {
        self.vms.values().filter(|record| record.host == *host).cloned().collect()
    }
}
