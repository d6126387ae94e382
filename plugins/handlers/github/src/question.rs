//! Before anything is made: can this job be run at all, and does GitHub still want it run?

use log::debug;

use anklet_plugin_api::job::Phase;
use anklet_plugin_api::store::{Claim, Counted};
use anklet_plugin_api::time::Moment;

use anklet_github::labels::{Wanted, wanted};

use crate::denial::{Denials, Denied, deleted};
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

/// How the reasons begin for which a job was set aside. Where one of them ever held, GitHub has to say that it holds no more.
pub(crate) const DENIAL: &str = "GitHub does not know the job";
pub(crate) const HELD_BACK: &str = "GitHub holds the job back";
pub(crate) const HIDDEN: &str = "the repository cannot be seen";
pub(crate) const CANCELLED: &str = "cancelled";
pub(crate) const CANCELLING: &str = "cancelling";
const UNANSWERED: &str = "GitHub cannot be asked about the job";

impl Worker {
    /// Decides what to do with a claimed job. Costs a call of GitHub's API only if the job is old, was tried before or set aside, or comes
    /// from elsewhere.
    pub(crate) fn question(&mut self, claim: &mut Claim) -> Answer {
        if let Phase::Completed { conclusion, .. } = &claim.phase {
            return Answer::Ends(Outcome::Finished(conclusion.clone()));
        }
        let is_old = claim.job.created_at.is_none_or(|at| Moment::now().since(at) > self.limits().fresh_job);
        if claim.attempts > 0 || is_old || claim.resumed || claim.taken.is_some() || was_set_aside(claim) {
            self.keep(claim, self.limits().github_retry_total);
            if let Some(outcome) = self.ask(claim) {
                return Answer::Ends(outcome);
            }
        }
        if let Wanted::Hopeless { why: reason } = wanted(&claim.job.labels) {
            job_log!(error, claim; "anka-template label missing from workflow job; cancelling job", error = reason.as_str());
            return Answer::Ends(Outcome::Cancel(reason));
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
    pub(crate) fn ask(&mut self, claim: &Claim) -> Option<Outcome> {
        let asked = match self.hub.ask(&claim.job, &self.until_stop()) {
            Ok(asked) => asked,
            Err(error) if error.is_refusal() => return Some(self.hidden(claim, &error.to_string())),
            Err(_) if self.interrupt.is_closed() => {
                return Some(Outcome::GiveBack(Failure::stopped()));
            }
            Err(error) => {
                let what = format!("{UNANSWERED}: {error}");
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

    /// GitHub answers 404.
    fn denied(&self, claim: &Claim) -> Outcome {
        match Denials::told_by(&claim.reasons).judge(&self.hub, &claim.job, &self.until_stop()) {
            Denied::NotYet => {
                Outcome::SetAside { reason: DENIAL.to_owned(), retry: self.limits().denied_retry }
            }
            Denied::Hidden(why) => self.hidden(claim, &why),
            Denied::Gone => {
                job_log!(warn, claim; "GitHub has deleted the job");
                Outcome::Finished(deleted())
            }
        }
    }

    /// Nothing can be said of a job whose repository GitHub does not show.
    fn hidden(&self, claim: &Claim, why: &str) -> Outcome {
        self.say_hidden(claim, why);
        Outcome::SetAside { reason: format!("{HIDDEN}: {why}"), retry: self.limits().refused_retry }
    }

    pub(crate) fn say_hidden(&self, claim: &Claim, why: &str) {
        let credential = self.hub.credential_name(&claim.job);
        job_log!(
            error, claim;
            "GitHub does not let this credential see the job's repository",
            credential = credential.as_str(), error = why
        );
    }
}

/// Whether the job ever waited for something that only GitHub can say.
fn was_set_aside(claim: &Claim) -> bool {
    let begins = [DENIAL, HELD_BACK, HIDDEN, CANCELLED, CANCELLING, UNANSWERED];
    claim.reasons.iter().any(|reason| begins.iter().any(|begin| reason.starts_with(begin)))
}
