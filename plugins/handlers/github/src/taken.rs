//! A claim that ran out and was taken from another handler: its runner is fenced before the job is tried again.
//!
//! The VM's record stays with its host, which removes the VM; only the runner at GitHub matters to the job.

use std::time::Instant;

use anklet_plugin_api::name::VmName;
use anklet_plugin_api::store::{Claim, Counted};

use anklet_github::runners::Fence;

use crate::outcome::{Blame, Failure, Outcome};
use crate::worker::Worker;

impl Worker {
    /// Makes sure that the earlier holder's runner can be given nothing any more. Always an outcome: the job goes back to the queue, its try counted.
    pub(crate) fn fence_taken(&mut self, claim: &mut Claim, vm: Option<&VmName>) -> Option<Outcome> {
        let gone = Failure::new("the claim of its handler ran out", Counted::Yes, Blame::Nobody);
        let Some(vm) = vm else { return Some(Outcome::GiveBack(gone)) };
        // The runner may have been registered until a moment ago, and the list lags.
        let lag_ends = Instant::now() + self.limits().runner_list_lag;
        loop {
            self.keep(claim, self.limits().github_retry_total + self.limits().fence_no_answer);
            let wait = match self.hub.fence_by_name(&self.section.scope, vm, &self.until_stop()) {
                Ok(Fence::Removed) => return Some(Outcome::GiveBack(gone)),
                Ok(Fence::NotListed) if Instant::now() >= lag_ends => return Some(Outcome::GiveBack(gone)),
                Ok(Fence::NotListed) => lag_ends.saturating_duration_since(Instant::now()),
                // It works, on this job or another: GitHub's news will tell.
                Ok(Fence::Busy(_)) | Err(_) => self.limits().fence_no_answer,
            };
            if self.until_stop().rest_until(Instant::now() + wait.min(self.limits().fence_no_answer)) {
                return Some(Outcome::Kept);
            }
            if let Some(outcome) = self.ask(claim) {
                return Some(outcome);
            }
        }
    }
}
