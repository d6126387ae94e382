//! A claim that ran out and was taken from another handler: its runner is fenced before the job is tried again.
//!
//! The VM's record stays with its host, which removes the VM; only the runner at GitHub matters to the job.

use std::time::{Duration, Instant};

use anklet_plugin_api::store::{Claim, Counted, Taken};
use anklet_plugin_api::vm::VmRecord;

use anklet_github::runners::Fence;

use crate::facts::job_log;
use crate::mood::doubled;
use crate::outcome::{Blame, Failure, Outcome};
use crate::worker::Worker;

impl Worker {
    /// Makes sure that the earlier holder's runner can be given nothing any more. Always an outcome: the job goes back to the
    /// queue. The try of the earlier holder was counted when its claim was taken; that of this handler does not count.
    pub(crate) fn fence_taken(&mut self, claim: &mut Claim, taken: &Taken) -> Option<Outcome> {
        let gone = Failure::new("the claim of its handler ran out", Counted::No, Blame::Nobody);
        let Some(vm) = &taken.vm else { return Some(Outcome::GiveBack(gone)) };
        let Ok(records) = self.patiently(&self.until_stop(), |store| store.vms(&taken.host)) else {
            return Some(Outcome::Kept);
        };
        let record = records.unwrap_or_default().into_iter().find(|record| record.vm == *vm);
        if record.as_ref().is_some_and(|record| record.registering_at.is_none()) {
            // It never will be: that is written under the claim first, and the claim is lost.
            return Some(Outcome::GiveBack(gone));
        }
        let lag_ends = Instant::now() + self.lag_left_at_takeover(record.as_ref());
        // The earlier holder may register its runners elsewhere: an organization's beside a repository's.
        let scope = record.as_ref().map_or(&self.section.scope, |record| &record.scope).clone();
        let mut n_failures = 0;
        loop {
            self.keep(claim, self.limits().github_retry_total * 2 + self.limits().fence_retry);
            let ear = self.until_stop();
            // The record knows best what GitHub calls the runner.
            let fenced = match &record {
                Some(record) => self.hub.fence(record, &ear),
                None => self.hub.fence_by_name(&scope, vm.as_str(), &ear),
            };
            let wait = match &fenced {
                Ok(Fence::Removed) => return Some(Outcome::GiveBack(gone)),
                Ok(Fence::NotListed) if Instant::now() >= lag_ends => return Some(Outcome::GiveBack(gone)),
                Ok(Fence::NotListed) => lag_ends.saturating_duration_since(Instant::now()),
                Err(error) if error.is_refusal() => {
                    job_log!(error, claim; "this credential may not remove the runner of a host that is gone; the job is tried without", vmName:% = vm, scope:% = scope, error:% = error);
                    return Some(Outcome::GiveBack(gone));
                }
                // On this job, as GitHub will say in a moment, or on another, and then it takes no further one.
                Ok(Fence::Busy) => self.limits().fence_no_answer,
                Err(_) => {
                    n_failures += 1;
                    doubled(self.limits().fence_no_answer, n_failures - 1, self.limits().fence_retry)
                }
            };
            if self.until_stop().rest_until(Instant::now() + wait) {
                return Some(Outcome::Kept);
            }
            if let Some(outcome) = self.ask(claim) {
                return Some(outcome);
            }
            if let Ok(Fence::Busy) = fenced {
                return Some(Outcome::GiveBack(gone));
            }
        }
    }

    /// How long a runner that is not listed may still turn up: GitHub's list lags.
    ///
    /// Clocks of hosts are never compared. What the record tells was written under the claim, which that renewed: it is older than the claim's
    /// last renewal, and so by a life and a third at least.
    fn lag_left_at_takeover(&self, record: Option<&VmRecord>) -> Duration {
        let limits = self.limits();
        let registration = match record {
            Some(record) if record.registered_at.is_some() => Duration::ZERO,
            Some(record) => self.registration_limit(record),
            None => limits.register_runner,
        };
        (registration + limits.runner_list_lag).saturating_sub(self.section.claim_life * 4 / 3)
    }
}
