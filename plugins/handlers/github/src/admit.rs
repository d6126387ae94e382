//! Admission: whether this host has room for a job's VM now, and what to do if it has not.
//!
//! Groups whose VM is larger than the host, or does not fit beside what runs, are passed by in later claims, so that they cost nothing
//! and block nobody. A group that was passed by for too long is claimed all the same: its job then waits here, ready, until there is
//! room. What becomes free goes to it first, and after as long again no other handler of the host takes anything, so that it cannot be
//! overtaken for ever. Any other host may take it.

use std::time::{Duration, Instant};

use log::{debug, warn};

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::host::{HostError, Reservation, RunningVm};
use anklet_plugin_api::job::Group;
use anklet_plugin_api::presence::Because;
use anklet_plugin_api::store::{Claim, Counted};
use anklet_plugin_api::vm::{VmListed, VmRecord, VmSize};

use crate::facts::job_log;
use crate::outcome::{Blame, Failure, Setback};
use crate::worker::{Gone, Unanswered, Worker};

/// The keys of notices that tell how large the VM of a group is begin with this.
pub(crate) const NEEDS: &str = "need/";

impl Worker {
    /// Reserves a slot, and room if `need` is known, for the job's VM; waits for room where the job's turn has come.
    pub(crate) fn admit(
        &self,
        claim: &mut Claim,
        record: &mut VmRecord,
        need: Option<VmSize>,
        listed: &[VmListed],
    ) -> Result<Reservation, Setback> {
        let group = claim.job.group();
        let refused = match self.reserve(claim, record, need, listed)? {
            Ok(reservation) => {
                self.desk.verdicts.fits(&group);
                self.sign_runs(&group);
                return Ok(reservation);
            }
            Err(refused) => refused,
        };
        let (need, for_others) = match refused {
            HostError::TooLarge { need, .. } => (need, false),
            HostError::NoRoom { need, for_others, .. } => (need, for_others),
            HostError::NoSlot { .. } => return Err(failed(&refused, Blame::NoSlot)),
            HostError::Ledger { .. } => return Err(failed(&refused, Blame::Host)),
        };
        job_log!(info, claim; "host does not have enough resources to run vm", error:% = refused);
        self.desk.verdicts.did_not_fit(group.clone(), need);
        self.tell_need(&group, need);
        self.sign_hinders(&group, because(&refused), &refused.to_string());
        let is_too_large = matches!(refused, HostError::TooLarge { .. });
        if is_too_large
            || for_others
            || !self.desk.verdicts.is_starving(&group, self.limits())
            || !self
                .host
                .begins_waiting(&self.section.name, need)
                .map_err(|error| failed(&error, Blame::Host))?
        {
            return Err(failed(&refused, Blame::Nobody));
        }
        let waited = self.wait_for_room(claim, record, need);
        self.host.ends_waiting(&self.section.name);
        waited
    }

    /// Reserves beside what the list says. A VM of this host that has gone since the list was made looks like a stranger's, so a refusal for
    /// strangers stands only if a second list has them too.
    fn reserve(
        &self,
        claim: &Claim,
        record: &VmRecord,
        need: Option<VmSize>,
        listed: &[VmListed],
    ) -> Result<Result<Reservation, HostError>, Setback> {
        let running = self.running(claim, record, listed, need.is_some())?;
        let refused = match self.host.reserve(&record.vm, need, &running) {
            Ok(reservation) => return Ok(Ok(reservation)),
            Err(refused) => refused,
        };
        let may_be_for_strangers =
            matches!(refused, HostError::NoSlot { .. } | HostError::NoRoom { for_others: true, .. });
        let is_stranger = |vm: &RunningVm| vm.name != record.vm.as_str() && !self.host.is_reserved(&vm.name);
        if !may_be_for_strangers || !running.iter().any(is_stranger) {
            return Ok(Err(refused));
        }
        let listed =
            self.vms.list(&self.until_stop()).map_err(|error| self.vm_setback(&error, Counted::No))?;
        let running = self.running(claim, record, &listed, need.is_some())?;
        Ok(self.host.reserve(&record.vm, need, &running))
    }

    /// Hosts that are too small for it then need not look at the template themselves.
    fn tell_need(&self, group: &Group, need: VmSize) {
        if !self.store.is_shared() {
            return;
        }
        let (Ok(key), Ok(text)) = (serde_json::to_string(group), serde_json::to_string(&need)) else {
            return;
        };
        let key = format!("{NEEDS}{key}");
        if let Err(error) = self.store.post(&key, &text, self.limits().verdict_life) {
            debug!(error:% = error; "others are not told how large a VM is");
        }
    }

    /// Holds the job ready until there is room; any other host may take it meanwhile.
    fn wait_for_room(
        &self,
        claim: &mut Claim,
        record: &mut VmRecord,
        need: VmSize,
    ) -> Result<Reservation, Setback> {
        self.pause(claim)?;
        job_log!(warn, claim; "cannot run vm yet, waiting for enough resources to be available...");
        let mut said_at = Instant::now();
        loop {
            self.turn_while_paused(claim, record, &self.freed)?;
            if said_at.elapsed() >= self.limits().state_line {
                job_log!(info, claim; "waiting for enough resources to be available...");
                said_at = Instant::now();
            }
            if !self.host.has_slot() || !self.host.has_room(need) {
                continue;
            }
            let listed =
                self.vms.list(&self.until_stop()).map_err(|error| self.vm_setback(&error, Counted::No))?;
            match self.reserve(claim, record, Some(need), &listed)? {
                Ok(reservation) => {
                    self.resume(claim)?;
                    job_log!(info, claim; "vm has enough resources now to run; starting runner");
                    self.desk.verdicts.fits(&claim.job.group());
                    return Ok(reservation);
                }
                // Nobody tells when those end: others may have use for what is free until then.
                Err(refused @ HostError::NoRoom { for_others: true, .. }) => {
                    return Err(failed(&refused, Blame::Nobody));
                }
                Err(_) => {}
            }
        }
    }

    pub(crate) fn settled(&self, answer: Result<Result<(), Gone>, Unanswered>) -> Result<(), Setback> {
        match answer {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Gone)) => Err(Setback::Useless),
            Err(Unanswered) => Err(Setback::Stopped),
        }
    }

    /// What runs on the host. Sizes are asked for only where they matter: of VMs that nothing here has reserved room for.
    fn running(
        &self,
        claim: &Claim,
        record: &VmRecord,
        listed: &[VmListed],
        with_sizes: bool,
    ) -> Result<Vec<RunningVm>, Setback> {
        let mut running = Vec::new();
        for vm in listed.iter().filter(|vm| vm.running) {
            let size = if with_sizes && !self.host.is_reserved(&vm.name) {
                self.size(claim, record, (&vm.uuid, None), vm.uuid.clone())?
            } else {
                None
            };
            running.push(RunningVm { name: vm.name.clone(), size });
        }
        Ok(running)
    }

    /// How large a VM or template is, in its current tag if none is named; asked once in a while.
    pub(crate) fn size(
        &self,
        claim: &Claim,
        record: &VmRecord,
        (name, tag): (&str, Option<&str>),
        key: String,
    ) -> Result<Option<VmSize>, Setback> {
        if let Some(known) = self.desk.verdicts.known_size(&key, self.limits()) {
            return Ok(known);
        }
        let judge = |signal: &_| self.is_useless(signal, claim, record);
        let ear = Ear::to_signals(&self.interrupt, &self.signals, &judge);
        match self.vms.size(name, tag, &ear) {
            Ok(size) => {
                self.desk.verdicts.keep_size(&key, size, self.limits());
                Ok(size)
            }
            // A VM of somebody else's may have gone since the list.
            Err(anklet_plugin_api::vm::VmError::NotFound { .. }) => Ok(None),
            Err(error) => {
                warn!(name, error:% = error; "cannot find out how large a VM is");
                Err(self.vm_setback(&error, Counted::No))
            }
        }
    }

    /// The longest that an idle handler may wait before a group's turn comes.
    pub(crate) fn until_starving(&self) -> Duration {
        let moment = self.desk.verdicts.next_starving(self.limits());
        moment.map_or(Duration::MAX, |moment| moment.saturating_duration_since(Instant::now()))
    }
}

fn failed(refused: &HostError, blame: Blame) -> Setback {
    let failure = Failure::new(refused.to_string(), Counted::No, blame);
    Setback::Failed(failure.because(because(refused)))
}

fn because(refused: &HostError) -> Because {
    match refused {
        HostError::TooLarge { .. } => Because::TooLarge,
        HostError::NoRoom { .. } => Because::NoRoom,
        HostError::NoSlot { .. } => Because::NoSlot,
        HostError::Ledger { .. } => Because::Other,
    }
}
