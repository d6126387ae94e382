//! A full disk: what does not fit is refused whole, and the store goes on when there is room.

use std::thread;

use anklet_plugin_api::fake::made::queued;
use anklet_plugin_api::job::JobId;
use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::store::{JobSignal, Noted, Source, Store, StoreError};

use super::{Folder, claim};
use crate::store::embedded::{EmbeddedStore, Options};

/// Stores jobs until one is refused; answers its number.
fn fill(store: &EmbeddedStore) -> u64 {
    for id in 1..10_000 {
        match store.news(&queued(id), Source::Webhook) {
            Ok(noted) => assert_eq!(noted, Noted::Enqueued),
            Err(StoreError::Away { source, .. }) => {
                assert!(source.to_string().contains("full"), "{source}");
                return id;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the file never filled up");
}

#[test]
fn a_full_disk_loses_nothing_and_passes() {
    let folder = Folder::new();
    let options = Options { max_pages: Some(60), ..Options::default() };
    let store = folder.open_with(&options);
    let signals = store.subscribe(&PluginName::new("h"));
    let refused = fill(&store);
    assert!(store.entry(JobId(refused)).unwrap().is_none());
    assert_eq!(store.counts().unwrap().queued, refused - 1);
    while signals.try_recv().is_ok() {}

    // What needs no more room still works, and makes some.
    let claim = claim(&*store, "h").unwrap();
    assert_eq!(claim.job.id, JobId(1));
    assert!(signals.try_iter().any(|signal| signal == JobSignal::Look), "the store came back");
    drop(store);
    let store = folder.open();
    assert_eq!(store.news(&queued(refused), Source::Webhook).unwrap(), Noted::Enqueued);
    assert_eq!(store.counts().unwrap().queued, refused - 1);
}

#[test]
fn on_a_full_disk_every_thread_hears_how_its_own_verb_ended() {
    let folder = Folder::new();
    let options = Options { max_pages: Some(60), ..Options::default() };
    let store = folder.open_with(&options);
    let stored: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let store = &store;
                scope.spawn(move || {
                    let ids = (0..150).map(|id| 1_000 * (n + 1) + id);
                    ids.filter(|id| store.news(&queued(*id), Source::Webhook).is_ok()).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(stored.len() < 600, "the disk must have been full");
    assert_eq!(store.counts().unwrap().queued, stored.len() as u64);
    for id in stored {
        assert!(store.entry(JobId(id)).unwrap().is_some(), "{id}");
    }
}
