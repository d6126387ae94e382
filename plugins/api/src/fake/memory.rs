//! `MemoryStore`: the queue in a few maps under one lock, simple enough to be seen to be right.
//!
//! It is the model for the property tests of real stores, and the store of plugins' tests, which can also plan its failures.

mod claims;
mod ends;
mod leases;
mod news;
mod questions;
mod silence;
mod state;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};

use self::state::State;
use crate::job::{Conclusion, Job, JobId, News};
use crate::name::{HostId, PluginName, VmName};
use crate::store::{
    ByHand, Claim, ClaimAnswer, ClaimKey, ClaimView, Counts, Dossier, Entry, GiveBack, JobSignal, Lease,
    Leased, Noted, Notice, Silence, Source, Spot, Store, StoreError, Survey, Want,
};
use crate::time::Moment;
use crate::vm::VmRecord;

/// Tells the time of a store.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// A store that lives and dies with the process.
pub struct MemoryStore {
    clock: Clock,
    inside: Mutex<Inside>,
}

/// The verbs of [`Store`], to plan failures and to count calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is the verb of its name")]
pub enum Verb {
    News,
    Claim,
    Look,
    Renew,
    GiveBack,
    Pause,
    Resume,
    LeaveRunning,
    Finish,
    PutVm,
    RemoveVm,
    Vms,
    Forsaken,
    Adopt,
    Entry,
    Counts,
    Survey,
    List,
    Examine,
    ByHand,
    Post,
    Notices,
    Lease,
    Release,
    Silent,
    Note,
    PutNote,
}

#[derive(Default)]
struct Inside {
    state: State,
    subscribers: Vec<(PluginName, Sender<JobSignal>)>,
    n_calls: BTreeMap<Verb, usize>,
    n_refusals: BTreeMap<Verb, usize>,
    n_lost_answers: BTreeMap<Verb, usize>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_clock(Arc::new(Moment::now))
    }
}

impl MemoryStore {
    /// An empty store whose time is what `clock` says, except that it never runs back.
    pub fn with_clock(clock: Clock) -> Self {
        Self { clock, inside: Mutex::default() }
    }

    /// The next `n` calls of `verb` find the store away, and do nothing.
    pub fn fail_next(&self, verb: Verb, n: usize) {
        self.lock().n_refusals.insert(verb, n);
    }

    /// The next `n` calls of `verb` are done, but their answer is lost on the way: the caller sees the store away.
    pub fn lose_answers(&self, verb: Verb, n: usize) {
        self.lock().n_lost_answers.insert(verb, n);
    }

    /// How often `verb` was called, failed calls included.
    pub fn n_calls(&self, verb: Verb) -> usize {
        self.lock().n_calls.get(&verb).copied().unwrap_or(0)
    }

    /// Tells every subscriber to look, as a store does that came back.
    pub fn come_back(&self) {
        let mut inside = self.lock();
        inside.state.tell_all();
        inside.deliver();
    }

    fn verb<T>(
        &self,
        verb: Verb,
        doing: &'static str,
        work: impl FnOnce(&mut State, Moment) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut inside = self.lock();
        *inside.n_calls.entry(verb).or_default() += 1;
        if take_one(&mut inside.n_refusals, verb) {
            return Err(away(doing));
        }
        let now = inside.state.advance((self.clock)());
        let answer = work(&mut inside.state, now);
        inside.state.check();
        inside.deliver();
        if take_one(&mut inside.n_lost_answers, verb) {
            return Err(away(doing));
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// Hands out the signals of the verb just done; subscribers that have gone are forgotten.
    fn deliver(&mut self) {
        for (to, signal) in self.state.take_signals() {
            self.subscribers.retain(|(handler, sender)| {
                to.as_ref().is_some_and(|to| to != handler) || sender.send(signal.clone()).is_ok()
            });
        }
    }
}

fn take_one(planned: &mut BTreeMap<Verb, usize>, verb: Verb) -> bool {
    match planned.get_mut(&verb) {
        Some(n) if *n > 0 => {
            *n -= 1;
            true
        }
        _ => false,
    }
}

fn away(doing: &'static str) -> StoreError {
    StoreError::Away { doing, source: "as the test planned".into() }
}

impl Store for MemoryStore {
    fn news(&self, news: &News, source: Source) -> Result<Noted, StoreError> {
        self.verb(Verb::News, "take in news", |state, now| Ok(state.news(news, source, now)))
    }

    fn claim(&self, want: &Want) -> Result<ClaimAnswer, StoreError> {
        self.verb(Verb::Claim, "claim a job", |state, now| Ok(state.claim(want, now)))
    }

    fn look(&self, key: &ClaimKey) -> Result<ClaimView, StoreError> {
        self.verb(Verb::Look, "look at a claim", |state, _| Ok(state.look(key)))
    }

    fn renew(&self, keys: &[ClaimKey]) -> Result<Vec<ClaimKey>, StoreError> {
        self.verb(Verb::Renew, "renew claims", |state, now| {
            let lost = keys.iter().filter(|key| state.renew(key, now).is_err()).cloned().collect();
            state.mark_late(now);
            Ok(lost)
        })
    }

    fn give_back(&self, key: &ClaimKey, how: &GiveBack) -> Result<(), StoreError> {
        self.verb(Verb::GiveBack, "give a job back", |state, now| state.give_back(key, how, now))
    }

    fn pause(&self, key: &ClaimKey) -> Result<(), StoreError> {
        self.verb(Verb::Pause, "pause a job", |state, now| state.pause(key, now))
    }

    fn resume(&self, key: &ClaimKey) -> Result<(), StoreError> {
        self.verb(Verb::Resume, "resume a job", |state, now| state.resume(key, now))
    }

    fn leave_running(&self, key: &ClaimKey) -> Result<(), StoreError> {
        self.verb(Verb::LeaveRunning, "leave a job running", |state, now| state.leave_running(key, now))
    }

    fn finish(&self, key: &ClaimKey, conclusion: &Conclusion) -> Result<(), StoreError> {
        self.verb(Verb::Finish, "finish a job", |state, now| state.finish(key, conclusion, now))
    }

    fn put_vm(&self, key: Option<&ClaimKey>, record: &VmRecord) -> Result<(), StoreError> {
        self.verb(Verb::PutVm, "write a VM record", |state, now| state.put_vm(key, record, now))
    }

    fn remove_vm(&self, vm: &VmName) -> Result<(), StoreError> {
        self.verb(Verb::RemoveVm, "remove a VM record", |state, _| {
            state.remove_vm(vm);
            Ok(())
        })
    }

    fn vms(&self, host: &HostId) -> Result<Vec<VmRecord>, StoreError> {
        self.verb(Verb::Vms, "read VM records", |state, _| Ok(state.vms_of(host)))
    }

    fn forsaken(&self, silence: Duration, told: &[VmName]) -> Result<Vec<VmRecord>, StoreError> {
        self.verb(Verb::Forsaken, "look for VM records of lost hosts", |state, now| {
            Ok(state.forsaken(silence, told, now))
        })
    }

    fn adopt(&self, handler: &PluginName, vm: &VmName) -> Result<Option<Claim>, StoreError> {
        self.verb(Verb::Adopt, "adopt a VM", |state, now| Ok(state.adopt(handler, vm, now)))
    }

    fn entry(&self, job: JobId) -> Result<Option<Entry>, StoreError> {
        self.verb(Verb::Entry, "read a job", |state, now| Ok(state.entry(job, now)))
    }

    fn counts(&self) -> Result<Counts, StoreError> {
        self.verb(Verb::Counts, "count jobs", |state, now| Ok(state.counts(now)))
    }

    fn survey(&self) -> Result<Survey, StoreError> {
        self.verb(Verb::Survey, "survey the queue", |state, now| Ok(state.survey(now)))
    }

    fn list(&self, spot: Spot, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.verb(Verb::List, "list jobs", |state, now| Ok(state.list(spot, limit, now)))
    }

    fn examine(&self, job: JobId) -> Result<Dossier, StoreError> {
        self.verb(Verb::Examine, "examine a job", |state, now| Ok(state.examine(job, now)))
    }

    fn by_hand(&self, job: JobId, what: &ByHand) -> Result<bool, StoreError> {
        self.verb(Verb::ByHand, "change a job by hand", |state, now| Ok(state.by_hand(job, what, now)))
    }

    fn post(&self, key: &str, text: &str, life: Duration) -> Result<(), StoreError> {
        self.verb(Verb::Post, "put up a notice", |state, now| {
            state.post(key, text, life, now);
            Ok(())
        })
    }

    fn notices(&self, prefix: &str) -> Result<Vec<Notice>, StoreError> {
        self.verb(Verb::Notices, "read notices", |state, now| Ok(state.notices(prefix, now)))
    }

    fn lease(&self, lease: &Lease) -> Result<Leased, StoreError> {
        self.verb(Verb::Lease, "lease a name", |state, now| Ok(state.lease(lease, now)))
    }

    fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.verb(Verb::Release, "release a name", |state, _| {
            state.release(lease);
            Ok(())
        })
    }

    fn silent(&self, silence: &Silence) -> Result<Vec<Job>, StoreError> {
        self.verb(Verb::Silent, "look for silent jobs", |state, now| Ok(state.silent(silence, now)))
    }

    fn note(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.verb(Verb::Note, "read a note", |state, _| Ok(state.notes.get(key).cloned()))
    }

    fn put_note(&self, key: &str, text: &str) -> Result<(), StoreError> {
        self.verb(Verb::PutNote, "write a note", |state, _| {
            state.notes.insert(key.to_owned(), text.to_owned());
            Ok(())
        })
    }

    fn incarnation(&self) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    fn interruptions(&self) -> Receiver<()> {
        crossbeam_channel::never()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn subscribe(&self, handler: &PluginName) -> Receiver<JobSignal> {
        let (sender, receiver) = unbounded();
        self.lock().subscribers.push((handler.clone(), sender));
        receiver
    }
}
