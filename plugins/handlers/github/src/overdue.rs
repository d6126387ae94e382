//! What is looked at by itself while a VM is watched: a runner that waits too long, a VM that may be gone, a job of which nothing is heard.

use std::time::{Duration, Instant};

use log::warn;

use anklet_plugin_api::store::{Claim, Counted};
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::{Stage, VmVerb};

use crate::denial::{Denials, Denied, deleted};
use crate::facts::job_log;
use crate::hub::{Asked, HubError};
use crate::outcome::{Blame, Failure, Outcome, Setback};
use crate::question::{DENIAL, HELD_BACK, HIDDEN};
use crate::watch::{Next, RunnerIs};
use crate::worker::{InHand, Worker};

/// When something has to be looked at by itself.
pub(crate) struct Timers {
    registration_ends: Option<Instant>,
    look_at: Option<Instant>,
    ask_at: Option<Instant>,
    denials: Denials,
}

impl Timers {
    pub(crate) fn new(worker: &Worker, stage: Stage) -> Self {
        let now = Instant::now();
        if stage < Stage::Running {
            return Self {
                registration_ends: Some(now + worker.section.registration_timeout),
                look_at: None,
                ask_at: None,
                denials: Denials::default(),
            };
        }
        Self {
            registration_ends: None,
            look_at: Some(now + worker.limits().running_look),
            ask_at: Some(now + worker.limits().running_silence),
            denials: Denials::default(),
        }
    }

    pub(crate) fn next(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3_600);
        [self.registration_ends, self.look_at, self.ask_at].into_iter().flatten().min().unwrap_or(far)
    }

    /// The longest that may pass until the next turn of the watch.
    pub(crate) fn longest_step(&self, worker: &Worker) -> Duration {
        let wait = self.next().saturating_duration_since(Instant::now());
        wait + worker.vms.limit(VmVerb::List) + worker.limits().github_retry_total * 2
    }
}

impl Worker {
    /// Looks at what is due; none if there is nothing to do but to watch on.
    pub(crate) fn on_timer(
        &mut self,
        claim: &mut Claim,
        hand: &mut InHand,
        timers: &mut Timers,
    ) -> Option<Next> {
        let now = Instant::now();
        if timers.registration_ends.is_some_and(|ends| now >= ends) {
            timers.registration_ends = None;
            job_log!(warn, claim; "waiting for runner registration timed out, will retry", vmName:% = hand.record.vm);
            match self.registration_timed_out(claim, hand) {
                Some(failure) => return Some(Next::Retreat(Setback::Failed(failure))),
                None => timers.registration_ends = Some(now),
            }
        }
        if timers.look_at.is_some_and(|look_at| now >= look_at) {
            timers.look_at = Some(now + self.limits().running_look);
            job_log!(info, claim; "job is still in progress", vmName:% = hand.record.vm);
            if self.vm_is_gone(hand) {
                job_log!(warn, claim; "the VM of a running job is gone; GitHub will end the job", vmName:% = hand.record.vm);
                self.leave(hand);
                return Some(Next::Ends(Outcome::LeftRunning));
            }
        }
        if timers.ask_at.is_some_and(|ask_at| now >= ask_at) {
            self.keep(claim, self.limits().github_retry_total * 2);
            match self.ask_while_it_runs(claim, &mut timers.denials) {
                Some(wait) => timers.ask_at = Some(Instant::now() + wait),
                None => return Some(Next::Over(Outcome::Finished(deleted()), RunnerIs::Open)),
            }
        }
        None
    }

    /// Asks GitHub about a job of which nothing is heard; answers when to ask again, or none if it was deleted.
    fn ask_while_it_runs(&self, claim: &Claim, denials: &mut Denials) -> Option<Duration> {
        let limits = self.limits();
        let denied = match self.hub.ask(&claim.job, &self.until_news()) {
            Ok(Asked::Unknown) => denials.judge(&self.hub, &claim.job, &self.until_news()),
            Ok(Asked::Known(phase)) => {
                *denials = Denials::default();
                let _ = self.tell_store(&self.until_stop(), &claim.job, phase);
                return Some(limits.running_silence);
            }
            Err(error) if error.is_refusal() => Denied::Hidden(error.to_string()),
            Ok(Asked::HeldBack(_)) | Err(_) => return Some(limits.running_silence),
        };
        match denied {
            Denied::NotYet => Some(limits.denied_retry.min(limits.running_silence)),
            // No answer: what runs is kept.
            Denied::Hidden(why) => {
                self.say_hidden(claim, &why);
                Some(limits.refused_retry)
            }
            Denied::Gone => {
                job_log!(warn, claim; "GitHub has deleted the job");
                None
            }
        }
    }

    /// A runner that is online and gets no job tells nothing about the job unless others got theirs meanwhile, and a GitHub that cannot say
    /// how far the job is, or whether the runner is online, may have given out no job to anybody: neither is a try of the job.
    /// None if news of the job came while GitHub was asked.
    fn registration_timed_out(&self, claim: &Claim, hand: &InHand) -> Option<Failure> {
        let what = "the runner was not given the job in time";
        let nobody = |what: String| Some(Failure::new(what, Counted::No, Blame::Nobody));
        let silent = |error: HubError| {
            let what = format!("{what}, and GitHub does not say why: {error}");
            Some(Failure::new(what, Counted::No, Blame::Host))
        };
        match self.hub.ask(&claim.job, &self.until_news()) {
            // It may be over, and the news of that lost: then undoing finds the claim completed.
            Ok(Asked::Known(phase)) => {
                let _ = self.tell_store(&self.while_undoing(), &claim.job, phase);
            }
            // It is no runner that it waits for. The next claim asks again, and sets the job aside.
            Ok(Asked::HeldBack(status)) => return nobody(format!("{HELD_BACK}: {status}")),
            Ok(Asked::Unknown) => return nobody(DENIAL.to_owned()),
            Err(error) if error.is_refusal() => return nobody(format!("{HIDDEN}: {error}")),
            Err(error) if error.is_cut() => return None,
            Err(error) => return silent(error),
        }
        let started_at = hand.record.registered_at.unwrap_or(hand.record.created_at);
        let is_online = match self.hub.is_online(&hand.record, &self.until_news()) {
            Ok(is_online) => is_online,
            Err(error) if error.is_cut() => return None,
            Err(error) => return silent(error),
        };
        let others_started = self.desk.started_since(started_at);
        let waited = claim.job.created_at.map_or(Duration::ZERO, |at| Moment::now().since(at));
        if is_online && !others_started && waited < self.limits().idle_runner {
            let what = format!("{what}, and nor was any other");
            return Some(Failure::new(what, Counted::No, Blame::Nobody));
        }
        Some(Failure::new(what, Counted::Yes, Blame::Host))
    }

    /// Only a list that can be read tells that a VM is gone.
    fn vm_is_gone(&self, hand: &InHand) -> bool {
        match self.vms.list(&self.until_stop()) {
            Ok(listed) => !listed.iter().any(|vm| vm.running && vm.name == hand.record.vm.as_str()),
            Err(error) => {
                warn!(error:% = error; "cannot look at the running VMs");
                false
            }
        }
    }
}
