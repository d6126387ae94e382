//! Many handlers at once: whatever the interleaving, a job is in one pair of hands at a time and ends once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::MakeStore;
use super::made::{back, handler, host_of, job_of, want};
use super::world::world;
use crate::job::{Conclusion, JobId};
use crate::store::{ClaimAnswer, Counts, Source, Store};

const N_THREADS: u64 = 8;
const N_JOBS: u64 = 2_000;
const N_GROUPS: u64 = 10;
/// One of so many is given back the first time a thread gets it.
const GIVEN_BACK: u64 = 16;

#[derive(Default)]
struct Seen {
    in_hand: BTreeSet<JobId>,
    finished: BTreeMap<JobId, u32>,
    fences: BTreeSet<u64>,
}

type Shared = Arc<Mutex<Seen>>;

/// Eight handlers claim and finish two thousand jobs; some are given back on the way.
pub fn a_crowd_of_handlers_ends_each_job_once(make: MakeStore<'_>) {
    let world = world(make);
    for n in 0..N_JOBS {
        world.queue(&job_of(n, &format!("T{}", n % N_GROUPS)));
    }
    let seen = Shared::default();
    let threads: Vec<_> = (0..N_THREADS)
        .map(|n| {
            let (store, seen) = (Arc::clone(&world.store), Arc::clone(&seen));
            let builder = thread::Builder::new().name(format!("crowd/{n}"));
            builder.spawn(move || work(n, store.as_ref(), &seen)).expect("a thread is started")
        })
        .collect();
    for thread in threads {
        thread.join().expect("no thread of the crowd panics");
    }
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let expected: BTreeMap<_, _> = (0..N_JOBS).map(|n| (JobId(n), 1)).collect();
    assert_eq!(seen.finished, expected);
    let n_claims = seen.fences.len() as u64;
    assert_eq!(seen.fences, (1..=n_claims).collect());
    assert_eq!(world.store.counts().expect("counts are read"), Counts::default());
}

/// Ends when there is nothing left. A thread that gives a job back comes round again, so that none is left behind.
fn work(n: u64, store: &dyn Store, seen: &Shared) {
    let name = format!("{}{n}", ["a", "b", "c", "d"][n as usize % 4]);
    let want = crate::store::Want { handler: handler(&name), host: host_of(&name), ..want(&name) };
    let mut given_back = BTreeSet::new();
    while let ClaimAnswer::Claimed(claim) = store.claim(&want).expect("the store answers a claim") {
        let id = claim.job.id;
        assert!(!claim.resumed);
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            assert!(seen.in_hand.insert(id), "job {id} is in two hands");
            assert!(seen.fences.insert(claim.key.fence), "fence {} is given twice", claim.key.fence);
        }
        let gives_back = (id.0 + n).is_multiple_of(GIVEN_BACK) && given_back.insert(id);
        if !gives_back {
            let phase = crate::job::Phase::Completed { conclusion: Conclusion::Success, runner: None };
            let news = crate::job::News { job: claim.job.clone(), phase, for_us: true };
            store.news(&news, Source::Webhook).expect("news are taken in");
        }
        {
            // Out of the hand before the store knows, since the next may have it before this thread goes on.
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.in_hand.remove(&id);
            *seen.finished.entry(id).or_default() += u32::from(!gives_back);
            seen.finished.retain(|_, n_ends| *n_ends > 0);
        }
        let ended = match gives_back {
            true => store.give_back(&claim.key, &back("not now")),
            false => store.finish(&claim.key, &Conclusion::Success),
        };
        ended.expect("the claim holds");
    }
}
