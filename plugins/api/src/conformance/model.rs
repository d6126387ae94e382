//! Random verbs against a store and the memory store at once: every answer, every signal and all they hold must be the same.
//!
//! The spaces of ids are small, so that jobs, claims and VMs get in each other's way all the time.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{TestCaseError, any, prop_assert_eq};
use proptest::test_runner::{Config, TestError, TestRunner};

use super::pair::Pair;
use super::step::{N_JOBS, Step, all_jobs, any_step};
use super::{ConformanceClock, MakeStore};
use crate::fake::memory::MemoryStore;
use crate::job::JobId;
use crate::name::HostId;
use crate::store::{Dossier, Entry, Spot, StoreError, Survey, Transition};
use crate::time::Moment;

const N_CASES: u32 = 128;
const N_STEPS: usize = 60;

/// As many cases as a test of every day can bear.
pub fn a_store_agrees_with_the_model(make: MakeStore<'_>) {
    a_store_agrees_in(make, N_CASES);
}

/// As many cases as you like.
pub fn a_store_agrees_in(make: MakeStore<'_>, n_cases: u32) {
    let config =
        Config { cases: n_cases, failure_persistence: None, max_shrink_time: 60_000, ..Config::default() };
    let steps = (any::<bool>(), vec(any_step(), 1..N_STEPS));
    match TestRunner::new(config).run(&steps, |(is_full, steps)| agrees(make, is_full, &steps)) {
        Ok(()) => {}
        Err(TestError::Fail(why, (is_full, steps))) => {
            panic!("{why}\nwhere all jobs are queued at first: {is_full}, then {steps:#?}")
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

fn agrees(make: MakeStore<'_>, is_full: bool, steps: &[Step]) -> Result<(), TestCaseError> {
    let clock = ConformanceClock::default();
    let model = Arc::new(MemoryStore::with_clock(clock.source()));
    let mut pair = Pair::new([make(&clock), model], clock);
    // A store may read its clock when it is made: from here on both have.
    contents(&pair);
    let begin = if is_full { all_jobs() } else { Vec::new() };
    let verbs = steps.iter().flat_map(Step::verbs);
    for (n, step) in begin.into_iter().chain(verbs).enumerate() {
        let [said, expected] = pair.take(&step);
        prop_assert_eq!(said, expected, "answer to verb {} {:?}", n, step);
        let [heard, expected] = pair.hear();
        prop_assert_eq!(heard, expected, "signals after verb {} {:?}", n, step);
        let [held, expected] = contents(&pair);
        prop_assert_eq!(held, expected, "contents after verb {} {:?}", n, step);
    }
    Ok(())
}

fn contents(pair: &Pair) -> [Vec<String>; 2] {
    pair.stores.each_ref().map(|store| {
        let jobs = (0..N_JOBS as u64).map(|n| show(store.examine(JobId(n))));
        let vms = ["a", "b"].map(|host| format!("{:#?}", store.vms(&HostId::new(host))));
        let lists = [Spot::Queued, Spot::Held, Spot::Claimed, Spot::Running].map(|spot| {
            let mut ids = store.list(spot, N_JOBS).map(|entries| ids_of(&entries));
            // Of these two in any order.
            if let (Ok(ids), Spot::Claimed | Spot::Running) = (&mut ids, spot) {
                ids.sort();
            }
            format!("{spot:?}: {ids:?}")
        });
        // A question writes nothing, not even the time.
        let survey = store.survey().map(|survey| Survey { at: Moment::default(), ..survey });
        let sums = [format!("{:#?}", store.counts()), format!("{survey:#?}")];
        jobs.chain(vms).chain(lists).chain(sums).collect()
    })
}

fn ids_of(entries: &[Entry]) -> Vec<JobId> {
    entries.iter().map(|entry| entry.job.id).collect()
}

fn show(dossier: Result<Dossier, StoreError>) -> String {
    match dossier {
        Ok(dossier) => {
            let last = dossier.ended.as_ref().and_then(|ended| ended.last.clone());
            let last = last.map(|last| show_entry(Ok(Some(last))));
            let ended = dossier.ended.map(|ended| ended.run_attempt);
            format!("{} {:?} {ended:?} {last:?}", show_entry(Ok(dossier.entry)), dossier.ahead)
        }
        Err(error) => format!("{error:#?}"),
    }
}

/// All but the words of the history, which are for people; its times must not run back.
fn show_entry(entry: Result<Option<Entry>, StoreError>) -> String {
    let shown = entry.map(|entry| {
        entry.map(|entry| {
            let runs_back = !entry.history.is_sorted_by_key(|line: &Transition| line.at);
            let claim = (entry.vm, entry.claimed_until, entry.avoided_by);
            (entry.job, entry.phase, entry.place, entry.attempts, claim, runs_back)
        })
    });
    format!("{shown:#?}")
}
