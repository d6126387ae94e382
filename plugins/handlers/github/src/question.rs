//! Before anything is made: can this job be run at all, and does GitHub still want it run?

use std::time::Duration;

use log::debug;

use anklet_plugin_api::job::{Conclusion, Phase};
use anklet_plugin_api::store::{Claim, Counted};
use anklet_plugin_api::time::Moment;

use anklet_github::labels::{Wanted, wanted};

use crate::facts::job_log;
use crate::hub::Asked;
use crate::mood::doubled;
use crate::outcome::{Blame, Failure, Outcome};
use crate::worker::Worker;

/// What to do with a claimed job.
pub(crate) enum Answer {
    /// Make a VM for it.
    Start,
    /// Nothing is made; this is how the claim ends.
    Ends(Outcome),
}

/// GitHub must deny a job this often before it counts as gone: it also answers 404 for what it has not got round to.
const N_DENIALS: usize = 3;
const DENIAL: &str = "GitHub does not know the job";
const HELD_BACK: &str = "GitHub holds the job back";

impl Worker {
    /// Decides what to do with a claimed job. Costs a call of GitHub's API only if the job is old, was tried before, or comes from elsewhere.
    pub(crate) fn question(&mut self, claim: &mut Claim) -> Answer {
        if let Phase::Completed { conclusion, .. } = &claim.phase {
            return Answer::Ends(Outcome::Finished(conclusion.clone()));
        }
        if let Wanted::Hopeless { why: reason } = wanted(&claim.job.labels) {
            job_log!(error, claim; "anka-template label missing from workflow job; cancelling job", error = reason.as_str());
            return Answer::Ends(Outcome::Cancel(reason));
        }
        let is_old = claim.job.created_at.is_none_or(|at| Moment::now().since(at) > self.limits().fresh_job);
        if claim.attempts > 0 || is_old || claim.resumed || claim.taken.is_some() {
            self.keep(claim, self.limits().github_retry_total);
            if let Some(outcome) = self.ask(claim) {
                return Answer::Ends(outcome);
            }
        }
        if let Some(taken) = claim.taken.clone()
            && let Some(outcome) = self.fence_taken(claim, &taken)
        {
            return Answer::Ends(outcome);
        }
        if claim.attempts > self.section.job_retry_attempts {
            let reason = format!("{} attempts failed: {}", claim.attempts, claim.reasons.join("; "));
            job_log!(error, claim; "job has attempts > max attempts, cancelling it", reasons = reason.as_str());
            return Answer::Ends(Outcome::Cancel(reason));
        }
        Answer::Start
    }

    /// Asks GitHub about the job; none means that it waits for a runner.
    pub(crate) fn ask(&mut self, claim: &mut Claim) -> Option<Outcome> {
        let asked = match self.hub.ask(&claim.job, &self.until_stop()) {
            Ok(asked) => asked,
            Err(error) if error.is_refusal() => {
                job_log!(error, claim; "GitHub does not let this credential see the job's repository", error:% = error);
                let reason = format!("the repository cannot be seen: {error}");
                return Some(Outcome::SetAside { reason, retry: self.limits().refused_retry });
            }
            Err(_) if self.interrupt.is_closed() => {
                return Some(Outcome::GiveBack(Failure::stopped()));
            }
            Err(error) => {
                let what = format!("GitHub cannot be asked about the job: {error}");
                return Some(Outcome::GiveBack(Failure::new(what, Counted::No, Blame::Host)));
            }
        };
        debug!(workflowJobID = claim.job.id.0, answer:? = asked; "asked GitHub about the job");
        match asked {
            Asked::Known(Phase::Queued) => None,
            Asked::Known(phase) => {
                // The store then settles the claim by what GitHub says.
                let _ = self.tell_store(&self.while_undoing(), &claim.job, phase.clone());
                Some(match phase {
                    Phase::Completed { conclusion, .. } => Outcome::Finished(conclusion),
                    Phase::InProgress { .. } | Phase::Queued => Outcome::LeftRunning,
                })
            }
            Asked::HeldBack(status) => {
                let n_earlier =
                    claim.reasons.iter().rev().take_while(|reason| reason.starts_with(HELD_BACK)).count();
                let most = self.limits().waiting_retry.saturating_mul(120);
                let retry =
                    doubled(self.limits().waiting_retry, u32::try_from(n_earlier).unwrap_or(u32::MAX), most);
                Some(Outcome::SetAside { reason: format!("{HELD_BACK}: {status}"), retry })
            }
            Asked::Unknown => Some(self.denied(claim)),
        }
    }

    /// GitHub answers 404: once that is odd, four times it means that the job, with its run, was deleted.
    fn denied(&self, claim: &Claim) -> Outcome {
        let n_earlier = claim.reasons.iter().rev().take_while(|reason| *reason == DENIAL).count();
        if n_earlier < N_DENIALS {
            let retry = Duration::from_secs(150).min(self.limits().refused_retry);
            return Outcome::SetAside { reason: DENIAL.to_owned(), retry };
        }
        match self.hub.sees_repository(&claim.job, &self.until_stop()) {
            Ok(true) => {
                job_log!(warn, claim; "GitHub has deleted the job");
                Outcome::Finished(Conclusion::Other("deleted".to_owned()))
            }
            Ok(false) | Err(_) => {
                job_log!(error, claim; "GitHub does not let this credential see the job's repository");
                let reason = "the repository cannot be seen".to_owned();
                Outcome::SetAside { reason, retry: self.limits().refused_retry }
            }
        }
    }
}
