//! One turn of a handler: wait until there is something to claim, claim it, see it through, settle the claim.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crossbeam_channel::{after, select};
use log::{debug, error, info, warn};

use anklet_plugin_api::job::{Group, JobId};
use anklet_plugin_api::presence::{Because, PauseReason};
use anklet_plugin_api::report::{Fact, Status};
use anklet_plugin_api::store::{Claim, ClaimAnswer, Counted, GiveBack, Want};
use anklet_plugin_api::time::Moment;

use crate::admit::NEEDS;
use crate::facts::job_log;
use crate::mood::doubled;
use crate::outcome::{Blame, Failure, Outcome};
use crate::question::Answer;
use crate::worker::{Unanswered, Worker};

impl Worker {
    /// Takes jobs until a stop or drain is asked for.
    pub(crate) fn turns(&mut self) {
        let mut state_line = StateLine::default();
        let mut is_first = true;
        // On a quiet queue there is nothing new that others could have found out.
        let mut is_quiet = false;
        while !self.is_ending() {
            if let Some(wait) = self.reason_to_wait(&mut state_line) {
                self.idle(wait);
                is_quiet = false;
                continue;
            }
            // Signals sent before the claim below are answered by it.
            while self.signals.try_recv().is_ok() {}
            let want = Want {
                handler: self.section.name.clone(),
                host: self.host.id().clone(),
                scope: self.section.scope.clone(),
                pass: self.passed(is_quiet),
                // Others' claims may look run out only because everybody was down; they get their time to come back.
                take_over: self.started_at.elapsed() > self.section.claim_life,
                claim_life: self.section.claim_life,
            };
            let n_asked = Cell::new(0);
            let claimed = self.patiently(&self.until_stop(), |store| {
                n_asked.set(n_asked.get() + 1);
                store.claim(&want)
            });
            is_quiet = false;
            match claimed {
                // Asked twice, the second answer may be about a claim of this life, whose first answer was lost.
                Ok(Ok(ClaimAnswer::Claimed(claim))) if claim.resumed && is_first && n_asked.get() == 1 => {
                    self.settle_resumed(&claim)
                }
                Ok(Ok(ClaimAnswer::Claimed(claim))) => self.work(*claim),
                Ok(Ok(ClaimAnswer::Nothing { next_due })) => {
                    self.status(Status::Idle);
                    let is_woken = self.idle(next_due.unwrap_or(Duration::MAX).min(self.until_starving()));
                    is_quiet = next_due.is_none() && !is_woken;
                }
                Ok(Err(_)) => {
                    self.idle(Duration::from_secs(1));
                }
                Err(Unanswered) => return,
            }
            is_first = false;
        }
    }

    /// The groups that are none of this handler's for now.
    fn passed(&self, is_quiet: bool) -> Vec<Group> {
        let verdicts = &self.desk.verdicts;
        if self.store.is_shared() && verdicts.is_hearing_due(self.limits().idle_look, is_quiet) {
            match self.store.notices(NEEDS) {
                Ok(notices) => verdicts.hear(&notices),
                Err(error) => debug!(error:% = error; "the store does not tell what others found out"),
            }
        }
        let mut passed = verdicts.passed(&*self.host, &self.section.name, self.limits());
        let (registry, life) = (&self.section.registry_url, self.limits().verdict_life);
        passed.extend(self.desk.sources.passed(registry, life));
        passed
    }

    fn is_ending(&self) -> bool {
        self.drain.is_closed() || self.interrupt.is_closed()
    }

    /// Why nothing should be claimed now, as a time to wait.
    fn reason_to_wait(&self, state_line: &mut StateLine) -> Option<Duration> {
        if self.host.is_drained() {
            self.status(Status::Draining);
            if state_line.is_due("drain", self.limits().state_line) {
                warn!("drain file present; not picking up new jobs");
            }
            self.sign_pause(Some((PauseReason::Drained, None)));
            return Some(Duration::MAX);
        }
        if let Some(until) = self.hub.paused_until() {
            // What is claimed now could not be registered: other hosts may have calls left.
            self.status(Status::LimitPaused);
            if state_line.is_due("limit", self.limits().state_line) {
                info!("github plugin waiting for GitHub API rate limit to reset");
            }
            self.sign_pause(Some((PauseReason::Budget, Some(until))));
            return Some(until.saturating_duration_since(Instant::now()));
        }
        if !self.host.has_slot() {
            self.status(Status::Idle);
            if state_line.is_due("capacity", self.limits().state_line) {
                warn!("host does not have vm capacity");
            }
            self.sign_pause(Some((PauseReason::NoSlot, None)));
            return Some(Duration::MAX);
        }
        if self.is_others_turn() {
            self.sign_pause(Some((PauseReason::OtherGoesFirst, None)));
            return Some(Duration::MAX);
        }
        if let Some(until) = self.mood.waits_until(Instant::now()) {
            self.sign_pause(Some((self.mood.reason(Instant::now()), Some(until))));
            return Some(until.saturating_duration_since(Instant::now()));
        }
        state_line.end();
        self.sign_pause(None);
        None
    }

    /// Whether a handler of this host that holds a job ready goes first: what becomes free is its, and after a while all that may become
    /// free is kept for it.
    fn is_others_turn(&self) -> bool {
        self.host.waits_besides(&self.section.name).is_some_and(|waits| {
            self.host.has_room(waits.need) || Moment::now().since(waits.since) >= self.limits().passed_over
        })
    }

    /// Waits for news, for at most `wait` and never longer than an idle look may take; true if news came.
    fn idle(&mut self, wait: Duration) -> bool {
        let longest = match self.section.sleep_interval {
            Duration::ZERO => self.limits().idle_look,
            interval => interval.min(self.limits().idle_look),
        };
        select! {
            recv(self.signals) -> _ => true,
            recv(self.freed) -> _ => {
                self.mood.on_freed_slot();
                true
            }
            recv(self.drain.closed()) -> _ => true,
            recv(self.interrupt.closed()) -> _ => true,
            recv(after(wait.min(longest))) -> _ => false,
        }
    }

    /// Sees a claim through and settles it.
    pub(crate) fn work(&mut self, mut claim: Claim) {
        self.keep(&claim, self.limits().github_retry_total);
        self.begin_stages(&claim.job);
        self.status(Status::Running);
        job_log!(info, claim; "queued job found");
        let outcome = self.attempt(&mut claim);
        self.settle(&claim, outcome);
    }

    fn attempt(&mut self, claim: &mut Claim) -> Outcome {
        job_log!(info, claim; "handling anka workflow run job");
        match self.question(claim) {
            Answer::Start => {}
            Answer::Ends(outcome) => return outcome,
        }
        match self.take_in_hand(claim) {
            Ok((image, mut hand)) => {
                let prepared = self.prepare(claim, &image, &mut hand);
                self.see_through(claim, hand, prepared)
            }
            Err(outcome) => outcome,
        }
    }

    /// Ends the claim in the way that the outcome asks for.
    pub(crate) fn settle(&mut self, claim: &Claim, outcome: Outcome) {
        debug!(workflowJobID = claim.job.id.0, outcome:? = outcome; "settling claim");
        let key = &claim.key;
        let ear = self.while_undoing();
        // Lost claims and answers that did not come need nothing more: the next start, or another host, finds the claim as it is.
        match outcome {
            Outcome::Finished(conclusion) => {
                job_log!(info, claim; "job completed", conclusion:% = conclusion);
                let _ = self.patiently(&ear, |store| store.finish(key, &conclusion));
                job_log!(info, claim; "cleanup | WorkflowJobPayload | queuedJob");
                self.report.ended(&self.section.name, &conclusion, &claim.job.html_url);
            }
            Outcome::GiveBack(failure) => self.give_back(claim, &failure),
            Outcome::Cancel(reason) => self.cancel(claim, &reason),
            Outcome::SetAside { reason, retry } => {
                let how = GiveBack { reason, counted: Counted::No, hold: retry, host_avoids: None };
                let _ = self.patiently(&ear, |store| store.give_back(key, &how));
            }
            Outcome::LeftRunning => {
                let _ = self.patiently(&ear, |store| store.leave_running(key));
            }
            Outcome::TakenOver => job_log!(info, claim; "job was picked up by another host"),
            Outcome::Settled => {}
            Outcome::Kept => {
                job_log!(warn, claim; "stopped before the runner was known to be gone; the next start sees to it")
            }
        }
        self.heartbeats.let_go(&self.section.name);
    }

    fn give_back(&mut self, claim: &Claim, failure: &Failure) {
        let limits = self.limits();
        let is_host = failure.blame == Blame::Host;
        let how = GiveBack {
            reason: failure.what.clone(),
            counted: failure.counted,
            hold: match failure.blame {
                Blame::Host => doubled(limits.job_hold_first, claim.attempts, limits.job_hold_most),
                Blame::NoSlot | Blame::Nobody => Duration::ZERO,
            },
            host_avoids: is_host
                .then(|| doubled(limits.host_avoid_first, claim.host_failures, limits.host_avoid_most)),
        };
        if is_host {
            job_log!(warn, claim; "job given back", error = failure.what.as_str());
        } else {
            job_log!(info, claim; "job given back", reason = failure.what.as_str());
        }
        let is_stop = failure.because == Because::Other && failure.blame == Blame::Nobody;
        if !is_stop {
            self.sign_hinders(&claim.job.group(), failure.because, &failure.what);
        }
        self.count(&Fact::GivenBack(failure.because));
        let _ = self.patiently(&self.while_undoing(), |store| store.give_back(&claim.key, &how));
        self.judge_host(claim.job.id, failure.blame);
    }

    fn judge_host(&mut self, job: JobId, blame: Blame) {
        let now = Instant::now();
        match blame {
            Blame::Host => {
                if let Some(rest) = self.mood.on_failure(job, now, &self.section.limits) {
                    error!(rest_seconds = rest.as_secs(); "jobs keep failing on this host; it rests before it tries another");
                }
            }
            Blame::NoSlot => {
                warn!("more than 2 VMs are running; unable to run more than 2 at a time due to Apple SLA");
                warn!("host does not have vm capacity");
                // The slot that the undone VM gave back is not one that was missing.
                while self.freed.try_recv().is_ok() {}
                self.mood.on_no_slot(now, &self.section.limits);
            }
            Blame::Nobody => {}
        }
    }
}

/// A line that tells a state comes when the state begins, and then once in a while.
#[derive(Default)]
struct StateLine {
    state: Option<(&'static str, Instant)>,
}

impl StateLine {
    fn is_due(&mut self, state: &'static str, every: Duration) -> bool {
        let now = Instant::now();
        let is_due = self.state.is_none_or(|(known, said_at)| known != state || now >= said_at + every);
        if is_due {
            self.state = Some((state, now));
        }
        is_due
    }

    fn end(&mut self) {
        self.state = None;
    }
}
