//! Documents that cannot be read, and those of a newer version.

use std::time::Duration;

use anklet_plugin_api::fake::made::{job, queued, record};
use anklet_plugin_api::job::{Conclusion, JobId, Phase};
use anklet_plugin_api::name::{HostId, PluginName, VmName};
use anklet_plugin_api::store::{Noted, Place, Source, Store, StoreError};
use rusqlite::params;

use super::{Folder, HandClock, claim, connect};
use crate::store::embedded::Options;

fn n_broken(folder: &Folder) -> i64 {
    connect(&folder.file()).query_row("SELECT count(*) FROM broken", [], |row| row.get(0)).unwrap()
}

#[test]
fn a_broken_document_is_set_aside_and_the_queue_goes_on() {
    let folder = Folder::new();
    let store = folder.open();
    for id in 1..=3 {
        store.news(&queued(id), Source::Webhook).unwrap();
    }
    let changed = connect(&folder.file()).execute("UPDATE jobs SET doc = '{\"version\":1' WHERE job = 1", []);
    assert_eq!(changed.unwrap(), 1);
    assert_eq!(claim(&*store, "h").unwrap().job.id, JobId(2));
    assert_eq!(n_broken(&folder), 1);
    assert!(store.entry(JobId(1)).unwrap().is_none());
    connect(&folder.file()).execute("UPDATE jobs SET doc = X'ff00' WHERE job = 3", []).unwrap();
    assert_eq!(store.news(&queued(3), Source::Webhook).unwrap(), Noted::Enqueued);
    assert_eq!((n_broken(&folder), store.counts().unwrap().queued), (2, 1));
    assert_eq!(claim(&*store, "h2").unwrap().job.id, JobId(3));
}

#[test]
fn a_group_goes_with_its_last_broken_document() {
    let folder = Folder::new();
    let store = folder.open();
    store.news(&queued(1), Source::Webhook).unwrap();
    connect(&folder.file()).execute("UPDATE jobs SET doc = 'x'", []).unwrap();
    assert!(claim(&*store, "h").is_none());
    assert!(store.counts().unwrap().groups.is_empty());
}

#[test]
fn a_broken_vm_record_is_set_aside() {
    let folder = Folder::new();
    let store = folder.open();
    store.put_vm(None, &record("vm-1", 1)).unwrap();
    store.put_vm(None, &record("vm-2", 2)).unwrap();
    connect(&folder.file()).execute("UPDATE vms SET doc = '[]' WHERE vm = 'vm-1'", []).unwrap();
    let vms = store.vms(&HostId::new("host-1")).unwrap();
    assert_eq!(vms.iter().map(|record| record.vm.as_str()).collect::<Vec<_>>(), ["vm-2"]);
    assert_eq!(n_broken(&folder), 1);
}

/// How many documents of a table hold this text.
fn n_with(connection: &rusqlite::Connection, table: &str, text: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table} WHERE instr(doc, ?1) > 0");
    connection.query_row(&sql, [text], |row| row.get(0)).unwrap()
}

#[test]
fn newer_documents_stay_for_newer_hosts() {
    let folder = Folder::new();
    let store = folder.open();
    for id in 1..=2 {
        store.news(&queued(id), Source::Webhook).unwrap();
    }
    let other = connect(&folder.file());
    // One that we can read and one that we cannot.
    let newer = "replace(doc, '\"version\":1', '\"version\":2')";
    other.execute(&format!("UPDATE jobs SET version = 2, doc = {newer}"), []).unwrap();
    other.execute("UPDATE jobs SET doc = '{\"version\":2}' WHERE job = 2", []).unwrap();
    assert!(claim(&*store, "h").is_none());
    assert_eq!((n_broken(&folder), store.counts().unwrap().queued), (0, 2));

    let mut news = queued(1);
    news.phase = Phase::InProgress { runner: None };
    assert_eq!(store.news(&news, Source::Webhook).unwrap(), Noted::Moved);
    assert_eq!(store.entry(JobId(1)).unwrap().unwrap().place, Place::Running);
    assert_eq!(n_with(&other, "jobs", "\"version\":2"), 2);
    let refused = store.news(&queued(2), Source::Webhook);
    assert!(matches!(refused, Err(StoreError::Broken { .. })), "{refused:?}");
}

/// Whoever waits for the store to come back must not wait for that.
#[test]
fn a_vm_record_of_a_newer_version_is_no_outage() {
    let folder = Folder::new();
    let store = folder.open();
    store.put_vm(None, &record("vm-1", 1)).unwrap();
    connect(&folder.file()).execute("UPDATE vms SET doc = '{\"version\":2}'", []).unwrap();
    assert_eq!(store.vms(&HostId::new("host-1")).unwrap(), []);
    let adopted = store.adopt(&PluginName::new("h"), &VmName::new("vm-1"));
    assert!(matches!(adopted, Err(StoreError::Broken { .. })), "{adopted:?}");
    let written = store.put_vm(None, &record("vm-1", 1));
    assert!(matches!(written, Err(StoreError::Broken { .. })), "{written:?}");
}

#[test]
fn unknown_fields_are_kept() {
    let folder = Folder::new();
    let store = folder.open();
    store.news(&queued(1), Source::Webhook).unwrap();
    store.put_vm(None, &record("vm-1", 1)).unwrap();
    let other = connect(&folder.file());
    other.execute("UPDATE jobs SET doc = '{\"colour\":\"red\",' || substr(doc, 2)", []).unwrap();
    other.execute("UPDATE vms SET doc = '{\"colour\":\"blue\",' || substr(doc, 2)", []).unwrap();
    let key = claim(&*store, "h").unwrap().key;
    store.put_vm(Some(&key), &record("vm-1", 1)).unwrap();
    assert_eq!(n_with(&other, "jobs", "\"colour\":\"red\""), 1);
    assert_eq!(n_with(&other, "vms", "\"colour\":\"blue\""), 1);
    assert_eq!(store.vms(&HostId::new("host-1")).unwrap()[0].vm, VmName::new("vm-1"));
}

#[test]
fn large_numbers_and_strange_text_come_back_as_they_were() {
    let folder = Folder::new();
    let store = folder.open();
    let mut news = queued(1);
    news.job = job(1);
    news.job.id = JobId(u64::MAX);
    news.job.labels = vec!["\u{0}'\"; DROP TABLE jobs; --".to_owned(), "ä\u{1F680}".repeat(60)];
    news.job.image.tag = Some(String::new());
    store.news(&news, Source::Webhook).unwrap();
    assert_eq!(store.entry(JobId(u64::MAX)).unwrap().unwrap().job, news.job);
    assert_eq!(store.counts().unwrap().groups.keys().next(), Some(&news.job.group()));
    assert_eq!(claim(&*store, "h").unwrap().job, news.job);
}

#[test]
fn tombstones_are_pruned_when_their_time_is_over() {
    let folder = Folder::new();
    let clock = HandClock::new();
    let options = Options {
        clock: Some(clock.source()),
        tombstone_life: Duration::from_secs(60),
        ..Options::default()
    };
    let store = folder.open_with(&options);
    let end = |id: u64| {
        let mut news = queued(id);
        news.phase = Phase::Completed { conclusion: Conclusion::Success, runner: None };
        store.news(&news, Source::Webhook).unwrap();
    };
    (1..=20).for_each(end);
    clock.go_on(Duration::from_secs(59));
    end(21);
    assert_eq!(store.news(&queued(1), Source::Webhook).unwrap(), Noted::Ended);
    clock.go_on(Duration::from_secs(2));
    (22..=25).for_each(end);
    let n: i64 = connect(&folder.file())
        .query_row("SELECT count(*) FROM tombstones WHERE job <= ?1", params![20], |row| row.get(0))
        .unwrap();
    assert_eq!(n, 0);
    assert_eq!(store.news(&queued(21), Source::Webhook).unwrap(), Noted::Ended);
}
