//! Many cases, each in a world of its own, a few at a time.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;

use crate::support::World;

/// Worlds at once: each is a few processes that mostly wait.
const N_WORLDS: usize = 4;

/// Runs every case in a world of its own, a few at a time; fails with all that failed.
pub(crate) fn in_worlds<C: Clone + std::fmt::Debug + Send + Sync>(
    cases: Vec<C>,
    run: impl Fn(&World, &C) + Sync,
) {
    in_worlds_of(World::new, cases, run);
}

/// The same in worlds of another kind.
pub(crate) fn in_worlds_of<W, C: Clone + std::fmt::Debug + Send + Sync>(
    new_world: impl Fn() -> W + Sync,
    cases: Vec<C>,
    run: impl Fn(&W, &C) + Sync,
) {
    let n_cases = cases.len();
    let waiting = Mutex::new(VecDeque::from(cases));
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..N_WORLDS {
            scope.spawn(|| {
                loop {
                    let Some(case) = waiting.lock().unwrap().pop_front() else { return };
                    let world = new_world();
                    if catch_unwind(AssertUnwindSafe(|| run(&world, &case))).is_err() {
                        failed.lock().unwrap().push(format!("{case:?}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {n_cases} failed: {failed:#?}", failed.len());
    println!("{n_cases} cases; lost, doubled, left over: 0");
}
