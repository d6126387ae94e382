//! The store under test and the model, taking the same steps.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::ConformanceClock;
use super::made::{LIFE, enterprise, handler, host_of, record, repository, want};
use super::step::{HANDLERS, MadeFor, Step, job_in, vm_name};
use crate::job::{Conclusion, Job, JobId, News, Phase};
use crate::name::{HostId, VmName};
use crate::scope::Scope;
use crate::store::{
    ByHand, Claim, ClaimAnswer, ClaimKey, ClaimView, JobSignal, Lease, Source, Store, StoreError, Want,
};
use crate::vm::VmRecord;

const SIGNAL_LIMIT: Duration = Duration::from_secs(10);

pub(super) struct Pair {
    /// The store under test, then the model.
    pub(super) stores: [Arc<dyn Store>; 2],
    clock: ConformanceClock,
    /// By handler: what each hears in each store.
    ears: Vec<[Receiver<JobSignal>; 2]>,
    /// The claims that each handler was given, by the model.
    keys: [Vec<ClaimKey>; HANDLERS.len()],
    last: Option<Step>,
}

impl Pair {
    pub(super) fn new(stores: [Arc<dyn Store>; 2], clock: ConformanceClock) -> Self {
        let ears = HANDLERS.map(|name| stores.each_ref().map(|store| store.subscribe(&handler(name)))).into();
        Self { stores, clock, ears, keys: Default::default(), last: None }
    }

    /// What the two say to a step that is one verb.
    pub(super) fn take(&mut self, step: &Step) -> [String; 2] {
        let step = match step {
            Step::Again => match self.last.clone() {
                Some(last) => last,
                None => return Default::default(),
            },
            other => other.clone(),
        };
        match &step {
            Step::Advance(by) => self.clock.advance(*by),
            Step::SetBack(by) => self.clock.set_back(*by),
            _ => {}
        }
        let answers = self.stores.each_ref().map(|store| self.ask(store.as_ref(), &step));
        let [(said, _), (expected, key)] = answers;
        if let Some(key) = key {
            let known = HANDLERS.iter().position(|name| handler(name) == key.handler);
            let keys = &mut self.keys[known.expect("handlers are of the list")];
            if keys.last() != Some(&key) {
                keys.push(key);
            }
        }
        self.last = Some(step);
        [said, expected]
    }

    /// What a store says, and the key of the claim that it gives.
    fn ask(&self, store: &dyn Store, step: &Step) -> (String, Option<ClaimKey>) {
        let key = |handler: &usize, age: &usize| self.key(*handler, *age);
        let said = match step {
            Step::News { job, attempt, phase, by_api, for_us } => {
                let news = News { job: job_in(*job, *attempt), phase: phase.clone(), for_us: *for_us };
                show(store.news(&news, if *by_api { Source::Api } else { Source::Webhook }))
            }
            Step::Begin { job_of, vm, is_over } => {
                let runner = Some(vm_name(*vm));
                let phase = match is_over {
                    true => Phase::Completed { conclusion: Conclusion::Cancelled, runner },
                    false => Phase::InProgress { runner },
                };
                let news = News { job: self.claimed(*job_of), phase, for_us: true };
                show(store.news(&news, Source::Webhook))
            }
            Step::Claim { handler, pass, take_over, long } => {
                return match store.claim(&want_of(*handler, *pass, *take_over, *long)) {
                    Ok(ClaimAnswer::Claimed(claim)) => show_claim(&claim),
                    other => (show(other), None),
                };
            }
            Step::Look(handler, age) => show(store.look(&key(handler, age))),
            Step::Renew(handler, age) => show(store.renew(&[key(handler, age), key(&0, &0), key(&3, &0)])),
            Step::GiveBack(handler, age, how) => show(store.give_back(&key(handler, age), how)),
            Step::Pause(handler, age) => show(store.pause(&key(handler, age))),
            Step::Resume(handler, age) => show(store.resume(&key(handler, age))),
            Step::LeaveRunning(handler, age) => show(store.leave_running(&key(handler, age))),
            Step::Finish(handler, age) => show(store.finish(&key(handler, age), &Conclusion::Failure)),
            Step::PutVm { handler, age, second, made_for, stage, few_labels } => {
                let made = self.record_of(*handler, *second, *made_for, *few_labels);
                let key = age.map(|age| self.key(*handler, age));
                show(store.put_vm(key.as_ref(), &VmRecord { stage: *stage, ..made }))
            }
            Step::RemoveVm(vm) => show(store.remove_vm(&VmName::new(vm_name(*vm)))),
            Step::Adopt { handler: n, vm } => {
                return match store.adopt(&handler(HANDLERS[*n]), &VmName::new(vm_name(*vm))) {
                    Ok(Some(claim)) => show_claim(&claim),
                    other => (show(other), None),
                };
            }
            Step::Forsaken { told } => show(store.forsaken(LIFE, &[VmName::new(vm_name(*told))])),
            Step::Lease { process, gone } => show(store.lease(&lease_of(*process, *gone))),
            Step::ByHand { job, retry } => {
                let what = if *retry { ByHand::Retry } else { ByHand::Remove };
                show(store.by_hand(JobId(*job as u64), &what))
            }
            Step::Release { process } => show(store.release(&lease_of(*process, false))),
            Step::Advance(_)
            | Step::SetBack(_)
            | Step::Prepare { .. }
            | Step::Outlive { .. }
            | Step::Again => String::new(),
        };
        (said, None)
    }

    fn key(&self, n: usize, age: usize) -> ClaimKey {
        let given = self.keys[n].iter().rev().nth(age).cloned();
        given.unwrap_or_else(|| ClaimKey { handler: handler(HANDLERS[n]), fence: 0 })
    }

    /// The job that the handler's claim is on.
    fn claimed(&self, n: usize) -> Job {
        match self.stores[1].look(&self.key(n, 0)) {
            Ok(ClaimView::Held { job, .. }) => *job,
            Ok(ClaimView::Lost) | Err(_) => job_in(0, 1),
        }
    }

    fn record_of(&self, n: usize, second: bool, made_for: MadeFor, few_labels: bool) -> VmRecord {
        let job = match made_for {
            MadeFor::Claimed => self.claimed(n),
            MadeFor::Job(job) => job_in(job, 1),
            MadeFor::Nobody => job_in(0, 1),
        };
        let mut made = record(&vm_name(n * 2 + usize::from(second)), HANDLERS[n], &job);
        made.scope = scope_of(n);
        if few_labels {
            made.labels.truncate(1);
        }
        if matches!(made_for, MadeFor::Nobody) {
            made.job = None;
        }
        made
    }

    /// What each handler hears in the two. More looks than needed, and news of a start beside that of the end, are well.
    pub(super) fn hear(&self) -> [Vec<Vec<JobSignal>>; 2] {
        let mut heard = [Vec::new(), Vec::new()];
        for [real, model] in &self.ears {
            let expected = distinct(model.try_iter());
            let deadline = Instant::now() + SIGNAL_LIMIT;
            let mut signals = distinct(real.try_iter());
            while !expected.iter().all(|signal| signals.contains(signal) || is_implied(signal, &expected)) {
                match real.recv_deadline(deadline) {
                    Ok(signal) => signals.push(signal),
                    Err(_) => break,
                }
            }
            let needed = |all: Vec<JobSignal>| -> Vec<JobSignal> {
                let needed = |signal: &&JobSignal| {
                    !is_implied(signal, &all) && (**signal != JobSignal::Look || expected.contains(signal))
                };
                distinct(all.iter().filter(needed).cloned())
            };
            heard[0].push(needed(signals));
            heard[1].push(needed(expected.clone()));
        }
        heard
    }
}

/// In a fixed order, each once.
fn distinct(signals: impl Iterator<Item = JobSignal>) -> Vec<JobSignal> {
    let mut signals: Vec<_> = signals.collect();
    signals.sort_by_cached_key(|signal| format!("{signal:?}"));
    signals.dedup();
    signals
}

fn is_implied(signal: &JobSignal, all: &[JobSignal]) -> bool {
    matches!(signal, JobSignal::Started(job)
        if all.iter().any(|other| matches!(other, JobSignal::Finish(over, _) if over == job)))
}

fn show<T: Debug>(answer: Result<T, StoreError>) -> String {
    match answer {
        Err(StoreError::Lost) => "lost".to_owned(),
        answer => format!("{answer:#?}"),
    }
}

fn show_claim(claim: &Claim) -> (String, Option<ClaimKey>) {
    (format!("{claim:#?}"), Some(claim.key.clone()))
}

fn scope_of(handler: usize) -> Scope {
    match handler {
        2 => repository("ACME", "app"),
        3 => enterprise("big"),
        _ => Scope::Organization { owner: "acme".to_owned() },
    }
}

fn want_of(n: usize, pass: Option<usize>, take_over: bool, long: bool) -> Want {
    let pass = pass.map(|job| job_in(job, 1).group()).into_iter().collect();
    let claim_life = if long { LIFE } else { LIFE / 3 };
    Want { scope: scope_of(n), pass, take_over, claim_life, ..want(HANDLERS[n]) }
}

fn lease_of(process: usize, gone: bool) -> Lease {
    let host = if process == 2 { host_of("b1") } else { HostId::new("a") };
    Lease {
        name: "plugin/name".to_owned(),
        host,
        process: format!("process-{process}"),
        predecessor_is_gone: if gone { |_| true } else { |_| false },
        life: LIFE,
    }
}
