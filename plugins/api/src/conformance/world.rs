//! A store, its clock, and short words for what the rules do with them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::made::{LIFE, handler, host_of, record, want};
use super::{ConformanceClock, MakeStore};
use crate::job::{Job, News, Phase};
use crate::store::{
    Claim, ClaimAnswer, ClaimKey, ClaimView, GiveBack, JobSignal, Noted, Place, Source, Store, StoreError,
    Want,
};
use crate::vm::VmRecord;

/// How long a claim is not renewed before it is marked.
pub(super) const LOOK: Duration = Duration::from_secs(75);
/// How long after a mark a claim may be taken.
pub(super) const RIPE: Duration = Duration::from_secs(30);
const SIGNAL_LIMIT: Duration = Duration::from_secs(20);

pub(super) struct World {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: ConformanceClock,
}

pub(super) fn world(make: MakeStore<'_>) -> World {
    let clock = ConformanceClock::default();
    World { store: make(&clock), clock }
}

impl World {
    #[track_caller]
    pub(super) fn say(&self, source: Source, job: &Job, phase: Phase, for_us: bool) -> Noted {
        self.store.news(&News { job: job.clone(), phase, for_us }, source).expect("news are taken in")
    }

    #[track_caller]
    pub(super) fn webhook(&self, job: &Job, phase: Phase) -> Noted {
        self.say(Source::Webhook, job, phase, true)
    }

    #[track_caller]
    pub(super) fn api(&self, job: &Job, phase: Phase) -> Noted {
        self.say(Source::Api, job, phase, true)
    }

    #[track_caller]
    pub(super) fn queue(&self, job: &Job) {
        assert_eq!(self.webhook(job, Phase::Queued), Noted::Enqueued);
    }

    #[track_caller]
    pub(super) fn ask(&self, want: &Want) -> Result<Claim, Option<Duration>> {
        match self.store.claim(want).expect("the store answers a claim") {
            ClaimAnswer::Claimed(claim) => Ok(*claim),
            ClaimAnswer::Nothing { next_due } => Err(next_due),
        }
    }

    /// A claim for the handler, which must get one.
    #[track_caller]
    pub(super) fn claim(&self, name: &str) -> Claim {
        self.ask(&want(name)).expect("there is a job to claim")
    }

    /// A new claim on this very job.
    #[track_caller]
    pub(super) fn claim_of(&self, name: &str, job: &Job) -> Claim {
        let claim = self.claim(name);
        assert_eq!((claim.job.id, claim.resumed), (job.id, false));
        claim
    }

    /// The handler must get nothing; answers when it pays to ask again.
    #[track_caller]
    pub(super) fn nothing(&self, name: &str) -> Option<Duration> {
        self.nothing_for(&want(name))
    }

    #[track_caller]
    pub(super) fn nothing_for(&self, want: &Want) -> Option<Duration> {
        self.ask(want).map(|claim| claim.job.id).expect_err("there is nothing to claim")
    }

    #[track_caller]
    pub(super) fn give_back(&self, claim: &Claim, how: &GiveBack) {
        self.store.give_back(&claim.key, how).expect("the claim holds");
    }

    /// Job queued, claimed by the handler, and a VM made for it.
    #[track_caller]
    pub(super) fn prepare(&self, name: &str, job: &Job, vm: &str) -> Claim {
        self.queue(job);
        let claim = self.claim_of(name, job);
        self.put(&claim.key, &record(vm, name, job));
        claim
    }

    #[track_caller]
    pub(super) fn put(&self, key: &ClaimKey, record: &VmRecord) {
        self.store.put_vm(Some(key), record).expect("the claim holds");
    }

    /// The record of a VM.
    #[track_caller]
    pub(super) fn vm(&self, vm: &str, name: &str) -> Option<VmRecord> {
        let records = self.store.vms(&host_of(name)).expect("records are read");
        records.into_iter().find(|record| record.vm.as_str() == vm)
    }

    #[track_caller]
    pub(super) fn place(&self, job: &Job) -> Option<Place> {
        self.store.entry(job.id).expect("an entry is read").map(|entry| entry.place)
    }

    #[track_caller]
    pub(super) fn phase(&self, job: &Job) -> Option<Phase> {
        self.store.entry(job.id).expect("an entry is read").map(|entry| entry.phase)
    }

    #[track_caller]
    pub(super) fn attempts(&self, job: &Job) -> u32 {
        self.store.entry(job.id).expect("an entry is read").expect("the job is stored").attempts
    }

    /// The job must be in the hands of this handler, on its host.
    #[track_caller]
    pub(super) fn is_claimed(&self, job: &Job, name: &str, paused: bool) {
        let place = Place::Claimed { handler: handler(name), host: host_of(name), paused };
        assert_eq!(self.place(job), Some(place), "job {}", job.id);
    }

    /// The claim must hold, on this job in this phase.
    #[track_caller]
    pub(super) fn holds(&self, claim: &Claim, job: &Job, phase: &Phase) {
        match self.store.look(&claim.key).expect("the store answers a look") {
            ClaimView::Held { job: held, phase: held_phase } => {
                assert_eq!((&*held, &held_phase), (job, phase));
            }
            ClaimView::Lost => panic!("the claim {:?} is lost", claim.key),
        }
    }

    #[track_caller]
    pub(super) fn is_lost(&self, claim: &Claim) {
        let view = self.store.look(&claim.key).expect("the store answers a look");
        assert!(matches!(view, ClaimView::Lost), "{:?} must be lost, but {view:?}", claim.key);
    }

    pub(super) fn listen(&self, name: &str) -> Listener {
        Listener(self.store.subscribe(&handler(name)))
    }

    /// Lets the claims made so far run out, marks them, and lets the marks ripen. `name` must have no claim, and gets none.
    #[track_caller]
    pub(super) fn outlive(&self, name: &str) {
        self.clock.advance(LIFE);
        assert_eq!(self.nothing(name), Some(RIPE));
        self.clock.advance(RIPE);
    }
}

/// What one handler hears.
pub(super) struct Listener(Receiver<JobSignal>);

impl Listener {
    /// Hears this next, apart from looks and what is heard twice.
    #[track_caller]
    pub(super) fn hears(&self, expected: &JobSignal) {
        let deadline = Instant::now() + SIGNAL_LIMIT;
        loop {
            match self.0.recv_deadline(deadline) {
                Ok(signal) if signal == *expected => return,
                Ok(JobSignal::Look) => {}
                Ok(signal) => panic!("heard {signal:?} while waiting for {expected:?}"),
                Err(error) => panic!("heard nothing while waiting for {expected:?}: {error}"),
            }
        }
    }

    /// Hears this sooner or later.
    #[track_caller]
    pub(super) fn hears_among_others(&self, expected: &JobSignal) {
        let deadline = Instant::now() + SIGNAL_LIMIT;
        while self.0.recv_deadline(deadline).expect("the signal comes") != *expected {}
    }

    /// Has heard nothing but looks, so far.
    #[track_caller]
    pub(super) fn hears_nothing_of_its_own(&self) {
        let heard: Vec<_> = self.0.try_iter().filter(|signal| *signal != JobSignal::Look).collect();
        assert_eq!(heard, []);
    }

    /// Forgets what has come so far.
    pub(super) fn forget(&self) {
        self.0.try_iter().for_each(drop);
    }
}

#[track_caller]
pub(super) fn assert_lost<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    assert!(matches!(answer, Err(StoreError::Lost)), "must be lost, but {answer:?}");
}
