//! `registration_mode: jit`: one call makes the runner and a configuration that is good for one use. No token that could register more
//! runners enters the VM.
//!
//! The configuration lives for minutes only, so that the call comes right before the start. An answer that is lost leaves a runner that nobody can
//! start: GitHub then calls its name taken, and the next wish is for another name, which the record holds before GitHub is asked.

use log::warn;

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::section::Secret;
use anklet_plugin_api::store::{Claim, Counted};
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::{JitRunner, Stage};

use anklet_github::error::ClientError;
use anklet_github::jit::{JitAnswer, JitFailure};
use anklet_github::runners::Fence;

use crate::facts::job_log;
use crate::outcome::{Blame, Failure, Setback};
use crate::prepare::ledger_setback;
use crate::worker::{InHand, Worker};

/// Each name beyond the first costs a lost answer; so many in a row are no accident.
const MOST_NAMES: u32 = 3;

impl Worker {
    /// Makes the runner; its configuration. From here on a runner may exist, so every undo begins with the fence.
    pub(crate) fn register_jit(&mut self, claim: &mut Claim, hand: &mut InHand) -> Result<Secret, Setback> {
        let limit = self.limits().github_retry_total;
        self.keep(claim, limit);
        let group = self.ask_hub(claim, hand, "no runner group", |ear| self.hub.group(ear))?;
        job_log!(info, claim; "registering github runner inside of vm", vmName:% = hand.record.vm);
        let mut runner = JitRunner::default();
        loop {
            hand.record.jit = Some(runner.clone());
            (hand.record.registering_at, hand.record.registered_at) = (Some(Moment::now()), None);
            self.save(claim, hand, Stage::Registering, limit * 2)?;
            let answer = self.ask_for_runner(claim, hand, group);
            hand.record.registered_at = Some(Moment::now());
            match answer {
                Ok(JitAnswer::Made { id, config }) => {
                    runner.id = Some(id);
                    hand.record.jit = Some(runner);
                    return Ok(config);
                }
                Ok(JitAnswer::NameTaken) if runner.n_names < MOST_NAMES => {
                    self.take_next_name(hand, &mut runner)?;
                }
                Ok(JitAnswer::NameTaken) => {
                    let what = format!("GitHub calls {MOST_NAMES} names for a runner taken");
                    return Err(Setback::Failed(Failure::new(what, Counted::No, Blame::Host)));
                }
                Err(failure) => return Err(self.jit_setback(hand, failure)),
            }
        }
    }

    fn ask_for_runner(&self, claim: &Claim, hand: &InHand, group: u64) -> Result<JitAnswer, JitFailure> {
        let judge = |signal: &_| self.is_useless(signal, claim, &hand.record);
        let ear = Ear::to_signals(&self.interrupt, &self.signals, &judge);
        self.hub.jit_config(&hand.record, group, &ear)
    }

    /// The runner of this name is ours, from an answer that was lost: it is removed, and the next name is in the ledger before it is asked for.
    fn take_next_name(&self, hand: &mut InHand, runner: &mut JitRunner) -> Result<(), Setback> {
        let name = hand.record.runner_name();
        warn!(vmName:% = hand.record.vm, runner = name.as_str(); "GitHub has the runner already, but its answer was lost; another one is made");
        match self.hub.fence(&hand.record, &self.until_stop()) {
            Ok(Fence::Removed) => {}
            // The list lags, or did not come. Whoever undoes the VM asks again.
            Ok(Fence::NotListed | Fence::Busy) | Err(_) => runner.spare_names.push(name),
        }
        runner.n_names += 1;
        hand.record.jit = Some(runner.clone());
        self.host.record(&hand.record).map_err(|error| ledger_setback(&error))
    }

    fn jit_setback(&self, hand: &mut InHand, failure: JitFailure) -> Setback {
        let JitFailure { error, in_doubt } = failure;
        let has_spares = hand.record.jit.as_ref().is_some_and(|jit| !jit.spare_names.is_empty());
        if !in_doubt && !has_spares {
            // GitHub has understood and refused each time: there is nothing to remove.
            (hand.record.registering_at, hand.record.registered_at) = (None, None);
        }
        let counted = match &error {
            ClientError::Cut { .. } if self.interrupt.is_closed() => return Setback::Stopped,
            ClientError::Cut { .. } => return Setback::Useless,
            // No host can make a runner with such labels.
            ClientError::Unprocessable { .. } => Counted::Yes,
            _ => Counted::No,
        };
        Setback::Failed(Failure::new(format!("no runner: {error}"), counted, Blame::Host))
    }
}
