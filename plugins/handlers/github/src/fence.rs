//! The fence: GitHub's own answer to the removal of a runner. Only 204 or 404 proves that it can be given no job any more, and a VM is never
//! deleted under a runner that works.

use std::time::{Duration, Instant};

use crossbeam_channel::{RecvError, at, select};
use log::warn;

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::store::{Claim, JobSignal};
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::{Stage, VmRecord};

use anklet_github::runners::Fence;

use crate::mood::doubled;
use crate::worker::{InHand, Seen, Worker};

/// What the fence has shown.
pub(crate) enum Fenced {
    /// GitHub can give the runner nothing any more.
    Yes,
    /// The runner was never started, so that nothing can run on it; whether it is registered is seen later.
    NeverStarted,
    /// It works.
    Works,
    /// News came of the VM, which no claim holds.
    News,
    /// No answer before the stop.
    Unanswered,
}

/// How a wait for the next fence ended.
enum Waited {
    /// It is time.
    Out,
    /// The runner has had its one job.
    Needless,
    /// News came of the VM, which no claim holds.
    News,
}

impl Worker {
    /// Asks GitHub to remove the runner until there is an answer that proves something.
    pub(crate) fn fence(&mut self, mut claim: Option<&mut Claim>, hand: &mut InHand) -> Fenced {
        let mut n_failures = 0;
        loop {
            if let Some(claim) = claim.as_deref_mut() {
                self.keep(claim, self.limits().github_retry_total + self.limits().fence_retry);
            }
            let ear = self.while_undoing();
            let wait = match self.hub.fence(&hand.record, &ear) {
                Ok(Fence::Removed) => return Fenced::Yes,
                Ok(Fence::Busy) => return Fenced::Works,
                Ok(Fence::NotListed) => {
                    let wait = self.list_lag_left(&hand.record);
                    if wait.is_zero() {
                        return Fenced::Yes;
                    }
                    if hand.record.stage < Stage::StartingRunner {
                        return Fenced::NeverStarted;
                    }
                    wait.min(self.limits().fence_no_answer)
                }
                Err(error) => {
                    if n_failures == 0 {
                        warn!(vmName:% = hand.record.vm, error:% = error; "GitHub does not answer whether the runner is removed; its VM is kept");
                    }
                    n_failures += 1;
                    doubled(self.limits().fence_no_answer, n_failures - 1, self.limits().fence_retry)
                }
            };
            if ear.is_cut() {
                return Fenced::Unanswered;
            }
            match self.wait_for_fence(claim.as_deref_mut(), hand, wait) {
                Waited::Out => {}
                Waited::Needless => return Fenced::Yes,
                Waited::News => return Fenced::News,
            }
            if self.while_undoing().is_cut() {
                return Fenced::Unanswered;
            }
        }
    }

    /// Waits before the next fence. Signals that change nothing do not shorten the wait: GitHub must not be pressed by a busy queue.
    fn wait_for_fence(&self, mut claim: Option<&mut Claim>, hand: &mut InHand, wait: Duration) -> Waited {
        let ear = self.while_undoing();
        let deadline = Instant::now() + wait;
        // After a stop only the clock counts: the ear then ends the wait by itself.
        if self.interrupt.is_closed() {
            ear.rest_until(deadline);
            return Waited::Out;
        }
        loop {
            let is_out = select! {
                recv(self.signals) -> signal => {
                    if claim.is_none() && is_about(signal, &hand.record) {
                        return Waited::News;
                    }
                    false
                }
                recv(self.interrupt.closed()) -> _ => true,
                recv(at(deadline)) -> _ => true,
            };
            let seen = claim.as_deref_mut().map(|claim| self.see(&ear, claim, &mut hand.record));
            if let Some(Ok(Seen::Over { ran_here: true, .. })) = seen {
                return Waited::Needless;
            }
            if is_out {
                return Waited::Out;
            }
        }
    }

    /// Whether runners of earlier names, on which nothing can run, are known to be gone. It is not waited for: the janitor asks again.
    pub(crate) fn are_spares_gone(&self, record: &VmRecord, ear: &Ear<'_>) -> bool {
        match self.hub.remove_spares(record, ear) {
            Ok(are_gone) => are_gone || self.list_lag_left(record).is_zero(),
            Err(error) => {
                warn!(vmName:% = record.vm, error:% = error; "GitHub does not answer whether a runner of an earlier name is removed");
                false
            }
        }
    }

    /// How long an unlisted runner may still exist: GitHub's list lags.
    pub(crate) fn list_lag_left(&self, record: &VmRecord) -> Duration {
        let limits = self.limits();
        list_lag_left(record, Moment::now(), limits.runner_list_lag, self.registration_limit(record))
    }

    /// How long the registration of this runner may take: a command in the guest, or a call of GitHub with its retries.
    pub(crate) fn registration_limit(&self, record: &VmRecord) -> Duration {
        match record.jit {
            Some(_) => self.limits().github_retry_total,
            None => self.limits().register_runner,
        }
    }
}

/// Whether the signal tells that the record, which no claim holds, names a job now, or that its job is over.
fn is_about(signal: Result<JobSignal, RecvError>, record: &VmRecord) -> bool {
    signal.is_ok_and(|signal| matches!(signal, JobSignal::Vm(vm) if vm == record.vm))
}

/// See [`Worker::list_lag_left`]; a registration whose end was not written may have lasted for its whole limit.
fn list_lag_left(record: &VmRecord, now: Moment, lag: Duration, registration_limit: Duration) -> Duration {
    let Some(began_at) = record.registering_at else { return Duration::ZERO };
    let ended_at = record.registered_at.unwrap_or_else(|| began_at.after(registration_limit));
    let gone_at = ended_at.after(lag);
    // A clock that was set back must not make anyone wait for more than the wait itself.
    gone_at.since(now).min(lag + registration_limit)
}
