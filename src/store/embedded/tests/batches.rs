//! Verbs that share a flush: each is whole, each is answered for itself.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anklet_plugin_api::fake::made::{queued, want};
use anklet_plugin_api::job::{Conclusion, JobId, Phase};
use anklet_plugin_api::store::{ClaimAnswer, Counted, GiveBack, Source, Store, StoreError};

use super::{Folder, HandClock, claim};
use crate::store::embedded::{Failpoint, Options};

/// A failpoint that counts how often it passes `name`.
fn counter(name: &'static str) -> (Failpoint, Arc<AtomicUsize>) {
    let n = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&n);
    let failpoint: Failpoint = Arc::new(move |point| {
        if point == name {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (failpoint, n)
}

#[test]
fn threads_share_flushes_and_no_job_goes_to_two() {
    let folder = Folder::new();
    let (failpoint, n_commits) = counter("after commit");
    let options = Options { failpoint: Some(failpoint), ..Options::default() };
    let store = folder.open_with(&options);
    let per_thread = 50;
    let taken: Vec<JobId> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8_u64)
            .map(|n| {
                let store = &store;
                scope.spawn(move || {
                    let mut taken = Vec::new();
                    for id in 0..per_thread {
                        store.news(&queued(n * 1_000 + id + 1), Source::Webhook).unwrap();
                        if let Some(claim) = claim(&**store, &format!("h{n}")) {
                            taken.push(claim.job.id);
                            store.finish(&claim.key, &Conclusion::Success).unwrap();
                        }
                    }
                    taken
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), taken.len(), "a job went to two");
    assert_eq!(taken.len() as u64 + store.counts().unwrap().queued, 8 * per_thread);
    let n_verbs = 8 * usize::try_from(per_thread).unwrap() + 2 * taken.len();
    let n_commits = n_commits.load(Ordering::SeqCst);
    assert!(n_commits < n_verbs, "{n_commits} flushes for {n_verbs} verbs");
}

#[test]
fn an_idle_claim_and_all_reads_write_nothing() {
    let folder = Folder::new();
    let (failpoint, n_commits) = counter("before commit");
    let options = Options { failpoint: Some(failpoint), ..Options::default() };
    let store = folder.open_with(&options);
    assert!(claim(&*store, "idle").is_none());
    let mut news = queued(1);
    news.phase = Phase::InProgress { runner: None };
    store.news(&news, Source::Webhook).unwrap();
    let before = n_commits.load(Ordering::SeqCst);
    for _ in 0..3 {
        assert!(claim(&*store, "idle").is_none());
        store.entry(JobId(1)).unwrap();
        store.counts().unwrap();
        store.vms(&want("idle").host).unwrap();
        store.news(&queued(1), Source::Webhook).unwrap();
    }
    assert_eq!(n_commits.load(Ordering::SeqCst), before);
}

#[test]
fn a_verb_that_fails_leaves_nothing_and_does_not_hurt_others() {
    let folder = Folder::new();
    let store = folder.open();
    store.news(&queued(1), Source::Webhook).unwrap();
    let key = claim(&*store, "h").unwrap().key;
    store.finish(&key, &Conclusion::Success).unwrap();
    store.finish(&key, &Conclusion::Success).unwrap();
    let stale = anklet_plugin_api::store::ClaimKey { fence: key.fence + 1, ..key };
    assert!(matches!(store.finish(&stale, &Conclusion::Success), Err(StoreError::Lost)));
    assert!(matches!(store.pause(&stale), Err(StoreError::Lost)));
    store.news(&queued(2), Source::Webhook).unwrap();
    assert_eq!(store.counts().unwrap().queued, 1);
}

#[test]
fn a_panic_in_a_verb_undoes_only_that_verb() {
    let folder = Folder::new();
    let failpoint: Failpoint = Arc::new(|point| assert!(point != "fence taken", "planned"));
    let options = Options { failpoint: Some(failpoint), ..Options::default() };
    let store = folder.open_with(&options);
    store.news(&queued(1), Source::Webhook).unwrap();
    thread::scope(|scope| {
        let panics = scope.spawn(|| catch_unwind(AssertUnwindSafe(|| claim(&*store, "h"))).is_err());
        for id in 2..50 {
            store.news(&queued(id), Source::Webhook).unwrap();
        }
        assert!(panics.join().unwrap());
    });
    assert_eq!(store.counts().unwrap().queued, 49);
    assert_eq!(store.counts().unwrap().claimed, 0);
}

#[test]
fn a_held_job_says_when_it_is_due_and_wakes_those_who_wait() {
    let folder = Folder::new();
    let clock = HandClock::new();
    let options = Options { clock: Some(clock.source()), ..Options::default() };
    let store = folder.open_with(&options);
    store.news(&queued(1), Source::Webhook).unwrap();
    let key = claim(&*store, "h").unwrap().key;
    let signals = store.subscribe(&want("idle").handler);
    let how = GiveBack {
        reason: "no luck".to_owned(),
        counted: Counted::Yes,
        hold: Duration::from_secs(5),
        host_avoids: None,
    };
    store.give_back(&key, &how).unwrap();
    assert!(signals.try_recv().is_ok());
    let ClaimAnswer::Nothing { next_due } = store.claim(&want("idle")).unwrap() else { panic!("held back") };
    assert_eq!(next_due, Some(Duration::from_secs(5)));
    clock.go_on(Duration::from_secs(5));
    let claim = claim(&*store, "idle").unwrap();
    assert_eq!((claim.attempts, claim.reasons), (1, vec!["no luck".to_owned()]));
}
