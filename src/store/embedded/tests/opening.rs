//! Who may open the file, and what is said when it cannot be used.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anklet_plugin_api::fake::made::queued;
use anklet_plugin_api::job::JobId;
use anklet_plugin_api::store::{Noted, Source, Store};

use super::{Folder, HandClock, claim, connect, open_once_free};
use crate::store::embedded::{EmbeddedStore, OpenError, Options};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn refusal(path: &Path) -> OpenError {
    open_once_free(path, &Options::default()).err().expect("it must be refused")
}

#[test]
fn folder_and_file_are_made_for_their_owner_only() {
    let folder = Folder::new();
    let store = folder.open();
    store.news(&queued(1), Source::Webhook).unwrap();
    assert_eq!(mode(folder.file().parent().unwrap()), 0o700);
    for name in ["anklet.db", "anklet.db-wal", "anklet.db.lock"] {
        assert_eq!(mode(&folder.file().with_file_name(name)), 0o600, "{name}");
    }
}

#[test]
fn a_second_daemon_hears_who_has_the_file() {
    let folder = Folder::new();
    let store = folder.open();
    let error = EmbeddedStore::open(&folder.file(), &Options::default()).err().unwrap();
    assert!(matches!(error, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    drop(store);
    folder.open();
}

#[test]
fn what_is_stored_is_there_after_a_new_start() {
    let folder = Folder::new();
    let store = folder.open();
    assert_eq!(store.news(&queued(7), Source::Webhook).unwrap(), Noted::Enqueued);
    let held = claim(&*store, "h").unwrap();
    drop(store);
    let store = folder.open();
    let again = claim(&*store, "h").unwrap();
    assert_eq!((again.key, again.resumed, again.attempts), (held.key, true, 0));
}

#[test]
fn tools_read_and_write_beside_the_daemon() {
    let folder = Folder::new();
    let missing = EmbeddedStore::open_beside(&folder.file(), &Options::default()).err().unwrap();
    assert!(matches!(missing, OpenError::Missing { .. }), "{missing}");
    let store = folder.open();
    let tool = EmbeddedStore::open_beside(&folder.file(), &Options::default()).unwrap();
    store.news(&queued(1), Source::Webhook).unwrap();
    assert!(tool.entry(JobId(1)).unwrap().is_some());
    tool.news(&queued(2), Source::Webhook).unwrap();
    assert_eq!(store.counts().unwrap().queued, 2);
}

#[test]
fn queues_of_one_file_do_not_see_each_other() {
    let folder = Folder::new();
    let store = folder.open();
    let other = store.queue("other").unwrap();
    other.news(&queued(1), Source::Webhook).unwrap();
    assert_eq!(store.counts().unwrap().queued, 0);
    assert!(claim(&*store, "h").is_none());
    assert_eq!(claim(&*other, "h").unwrap().key.fence, 1);
    store.news(&queued(1), Source::Webhook).unwrap();
    assert_eq!(claim(&*store, "h").unwrap().key.fence, 1);
    assert_eq!(store.queue("other").unwrap().counts().unwrap().claimed, 1);
}

#[test]
fn a_file_that_is_no_queue_is_left_alone() {
    let folder = Folder::new();
    std::fs::create_dir(folder.file().parent().unwrap()).unwrap();
    let garbage = vec![b'x'; 10_000];
    std::fs::write(folder.file(), &garbage).unwrap();
    let error = refusal(&folder.file());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("move it"), "{error}");
    assert_eq!(std::fs::read(folder.file()).unwrap(), garbage);

    std::fs::remove_file(folder.file()).unwrap();
    connect(&folder.file()).execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    let error = refusal(&folder.file());
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[test]
fn a_newer_layout_is_refused_with_both_versions() {
    let folder = Folder::new();
    drop(folder.open());
    connect(&folder.file()).pragma_update(None, "user_version", 7).unwrap();
    let error = refusal(&folder.file());
    assert!(matches!(error, OpenError::Newer { found: 7, ours: 1, .. }), "{error}");
    assert!(error.to_string().contains("version 7") && error.to_string().contains("version 1"), "{error}");
}

#[test]
fn the_clock_does_not_run_back_over_a_restart() {
    let folder = Folder::new();
    let clock = HandClock::new();
    let ahead = Options { clock: Some(clock.source()), ..Options::default() };
    clock.go_on(std::time::Duration::from_secs(1_000));
    let store = folder.open_with(&ahead);
    store.news(&queued(1), Source::Webhook).unwrap();
    let before = store.entry(JobId(1)).unwrap().unwrap().history[0].at;
    drop(store);
    let behind = Options { clock: Some(HandClock::new().source()), ..Options::default() };
    let store = folder.open_with(&behind);
    store.news(&queued(2), Source::Webhook).unwrap();
    assert_eq!(store.entry(JobId(2)).unwrap().unwrap().history[0].at, before);
}

#[test]
fn damage_behind_the_first_page_says_what_to_do() {
    let folder = Folder::new();
    let store = folder.open();
    for id in 1..100 {
        store.news(&queued(id), Source::Webhook).unwrap();
    }
    drop(store);
    let mut bytes = std::fs::read(folder.file()).unwrap();
    bytes[4_096..].fill(0xff);
    std::fs::write(folder.file(), &bytes).unwrap();
    let said = match open_once_free(&folder.file(), &Options::default()) {
        Err(error) => error.to_string(),
        Ok(store) => store.news(&queued(100), Source::Webhook).unwrap_err().to_string(),
    };
    assert!(said.contains("malformed") && said.contains("move"), "{said}");
    assert_eq!(std::fs::read(folder.file()).unwrap().len(), bytes.len(), "nothing is deleted");
}
