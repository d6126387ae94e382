//! Cancelling the run of a job that nobody can run, and telling its developers why.
//!
//! GitHub ends jobs some seconds after a cancellation. Where it has not when the job is asked about again, the run goes on in spite of it and is
//! cancelled by force.

use log::{info, warn};

use anklet_plugin_api::report::Fact;
use anklet_plugin_api::store::{Claim, Counted, GiveBack};

use anklet_github::checks::FailedCheck;
use anklet_github::labels::{Wanted, wanted};

use crate::facts::job_log;
use crate::hub::Cancelled;
use crate::question::{CANCELLED, CANCELLING};
use crate::worker::Worker;

const CANCELLED_BY_FORCE: &str = "cancelled by force";

/// What the check is called at the commit.
const CHECK_NAME: &str = "anklet";

impl Worker {
    /// Cancels the run, since nobody can run the job; the entry waits for GitHub's word that it is over.
    pub(crate) fn cancel(&mut self, claim: &Claim, reason: &str) {
        let was = |what: &str| claim.reasons.iter().any(|reason| reason.starts_with(what));
        if !was(CANCELLED) && !was(CANCELLING) {
            self.explain(claim, reason);
        }
        // It is asked for only where GitHub has just called the job queued.
        let (by_force, was_forced) = (was(CANCELLED), was(CANCELLED_BY_FORCE));
        self.keep(claim, self.limits().github_retry_total);
        let (said, hold) = match self.hub.cancel(&claim.job, by_force, &self.until_stop()) {
            Ok(Cancelled::Sent) if was_forced => {
                job_log!(error, claim; "GitHub does not end the workflow run, not even by force", reason = reason);
                (format!("{CANCELLED_BY_FORCE}: {reason}"), self.limits().refused_retry)
            }
            Ok(Cancelled::Sent) if by_force => {
                job_log!(error, claim; "the workflow run goes on after its cancellation; sent force cancel", reason = reason);
                (format!("{CANCELLED_BY_FORCE}: {reason}"), self.limits().cancel_silence)
            }
            Ok(Cancelled::Sent) => {
                job_log!(warn, claim; "sent cancel workflow run", reason = reason);
                self.count(&Fact::Cancelled(self.why_cancelled(claim)));
                (format!("{CANCELLED}: {reason}"), self.limits().cancel_silence)
            }
            Ok(Cancelled::AlreadyOver) => {
                // Its end was lost on the way.
                if let Some(outcome) = self.ask(claim) {
                    return self.settle(claim, outcome);
                }
                (format!("{CANCELLING} found the run over, and the job not"), self.limits().cancel_silence)
            }
            Err(error) if error.is_refusal() => {
                job_log!(error, claim; "GitHub refuses to cancel the workflow run", reason = reason, error:% = error);
                (format!("{CANCELLING} was refused: {error}"), self.limits().refused_retry)
            }
            Err(error) => {
                job_log!(warn, claim; "unable to cancel the workflow run; it is tried again", reason = reason, error:% = error);
                (format!("{CANCELLING} failed: {error}"), self.limits().github_retry_most)
            }
        };
        let how = GiveBack { reason: said, counted: Counted::No, hold, host_avoids: None };
        let _ = self.patiently(&self.while_undoing(), |store| store.give_back(&claim.key, &how));
        info!(workflowJobID = claim.job.id.0; "waiting for GitHub to end the job");
    }

    /// A word for the metrics.
    fn why_cancelled(&self, claim: &Claim) -> &'static str {
        let is_hopeless = matches!(wanted(&claim.job.labels), Wanted::Hopeless { .. });
        let is_tried = claim.attempts > self.section.job_retry_attempts;
        match (is_hopeless, is_tried) {
            (true, _) => "labels",
            (false, true) => "attempts",
            (false, false) => "template",
        }
    }

    /// Says at the commit why the run is about to be cancelled: before it is, so that a crash leaves rather two words than none. Whatever
    /// comes of it, the run is cancelled.
    fn explain(&mut self, claim: &Claim, reason: &str) {
        if !self.section.explain_cancellations || self.section.github.app.is_none() {
            return;
        }
        self.keep(claim, self.limits().github_retry_total * 2);
        let check = explanation(claim, reason, self.section.job_retry_attempts);
        match self.hub.fail_check(&claim.job, &check, &self.until_stop()) {
            Ok(()) => job_log!(info, claim; "told the developers at GitHub why the run is cancelled"),
            Err(error) if error.is_refusal() => {
                if !std::mem::replace(&mut self.was_check_refused, true) {
                    warn!(error:% = error; "`explain_cancellations`: GitHub lets the App write no checks; runs are cancelled without a word to their developers");
                }
            }
            Err(error) => {
                job_log!(warn, claim; "unable to tell the developers why the run is cancelled", error:% = error)
            }
        }
    }
}

fn explanation(claim: &Claim, reason: &str, n_retries: u32) -> FailedCheck {
    let is_worn_out = claim.attempts > n_retries;
    let advice = if is_worn_out {
        "Re-run the job. If it fails again, show this to whoever runs Anklet for you: the log of the hosts tells more."
    } else {
        "Correct `runs-on` of this job in its workflow file and push the change. Whoever runs Anklet for you knows which templates there are."
    };
    let mut facts = vec![format!("job: {}", claim.job.name)];
    if is_worn_out {
        facts.push(format!("failed attempts: {}", claim.attempts));
        facts.extend(claim.reasons.iter().map(|reason| format!("- {reason}")));
    } else {
        facts.push(reason.to_owned());
    }
    // Indented, Markdown takes it as it stands, whatever strangers have written into it.
    let facts: Vec<_> = facts.iter().map(|fact| format!("    {}", one_line(fact))).collect();
    let facts = facts.join("\n");
    FailedCheck {
        name: CHECK_NAME,
        title: "Anklet cannot run this job".to_owned(),
        summary: format!(
            "Anklet makes the virtual machines for this job, cannot, and asks GitHub to cancel its workflow run.\n\n{facts}\n\n{advice}\n"
        ),
        details_url: claim.job.html_url.clone(),
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
