//! Stored documents: a job or VM record of the queue file, or the host's ledger, holds any bytes, and everything else goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anklet_plugin_api::fake::made::{HOST, claim_for, queued, record, want};
use anklet_plugin_api::host::Host;
use anklet_plugin_api::job::{Conclusion, JobId, News, Phase};
use anklet_plugin_api::name::{HostId, PluginName, VmName};
use anklet_plugin_api::store::{Claim, Counted, GiveBack, Noted, Source, Store, StoreError, Want};
use anklet_plugin_api::vm::VmRecord;
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::host::{HostSettings, MacHost};
use crate::store::embedded::{EmbeddedStore, Options};

struct World {
    store: Arc<EmbeddedStore>,
    file: PathBuf,
    host: MacHost,
    folder: PathBuf,
}

thread_local! {
    static WORLD: LazyLock<(World, Connection)> = LazyLock::new(|| {
        let folder = memory_folder("stored");
        let file = folder.join("anklet.db");
        let store = EmbeddedStore::open(&file, &Options::default()).expect("the store opens");
        let settings = HostSettings {
            folder: folder.clone(), n_slots: 2, cpu_count: Some(4), memory_bytes: Some(8 << 30),
        };
        let host = MacHost::open(settings).expect("the host's files open");
        let connection = Connection::open(&file).expect("the file opens beside");
        (World { store, file, host, folder }, connection)
    });
}

/// A folder in memory where there is one, so that flushes cost nothing.
pub(crate) fn memory_folder(name: &str) -> PathBuf {
    let shared = Path::new("/dev/shm");
    let parent = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    let folder = parent.join(format!("anklet-fuzz-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// The first byte says which document it is and where its row stands; the rest is the document.
pub fn stored_document(bytes: &[u8]) {
    let Some((&kind, document)) = bytes.split_first() else { return };
    WORLD.with(|world| {
        let (world, beside) = &**world;
        match kind & 3 {
            0 | 1 => job(world, beside, kind, document),
            2 => vm(world, beside, document),
            _ => ledger(world, document),
        }
    });
}

fn job(world: &World, beside: &Connection, kind: u8, document: &[u8]) {
    let store = &*world.store;
    clear(beside);
    assert_eq!(well(store.news(&queued(1), Source::Webhook)), Some(Noted::Enqueued));
    assert_eq!(well(store.news(&queued(2), Source::Webhook)), Some(Noted::Enqueued));
    let first = (kind & 4 != 0).then(|| claim(store, "first").expect("the first job"));
    if let Some(first) = &first {
        well(store.put_vm(Some(&first.key), &record("vm-1", 1)));
    }
    if kind & 8 != 0 {
        let held = GiveBack {
            reason: "fuzz".to_owned(),
            counted: Counted::Yes,
            hold: Duration::from_secs(9),
            host_avoids: None,
        };
        if let Some(first) = &first {
            well(store.give_back(&first.key, &held));
        }
    }
    beside.execute("UPDATE jobs SET doc = ?1 WHERE job = 1", [value(document)]).expect("changed");

    well(store.entry(JobId(1)));
    well(store.counts());
    if let Some(first) = &first {
        well(store.look(&first.key));
        well(store.renew(std::slice::from_ref(&first.key)));
        well(store.pause(&first.key));
        well(store.put_vm(Some(&first.key), &record("vm-1", 1)));
    }
    well(store.adopt(&PluginName::new("first"), &VmName::new("vm-1")));
    let seconds = claim(store, "second");
    if let Some(claim) = &seconds {
        well(store.look(&claim.key));
        let how = GiveBack {
            reason: "fuzz".to_owned(),
            counted: Counted::Yes,
            hold: Duration::ZERO,
            host_avoids: Some(Duration::from_secs(1)),
        };
        well(store.give_back(&claim.key, &how));
    }
    well(store.news(&queued(1), Source::Webhook));
    let ended = Phase::Completed { conclusion: Conclusion::Success, runner: Some("vm-1".to_owned()) };
    well(store.news(&News { phase: ended, ..queued(1) }, Source::Webhook));
    // Whatever became of that document, the queue goes on.
    assert_eq!(well(store.news(&queued(3), Source::Webhook)), Some(Noted::Enqueued));
    let mut n_claimed = 0;
    for handler in ["third", "fourth", "fifth", "sixth"] {
        let Some(claim) = claim(store, handler) else { break };
        n_claimed += usize::from(claim.job.id == JobId(2) || claim.job.id == JobId(3));
        well(store.finish(&claim.key, &Conclusion::Success));
    }
    assert!(n_claimed >= 1, "no other job can be claimed any more");
    well(store.remove_vm(&VmName::new("vm-1")));
}

fn vm(world: &World, beside: &Connection, document: &[u8]) {
    let store = &*world.store;
    clear(beside);
    well(store.put_vm(None, &record("vm-1", 1)));
    well(store.put_vm(None, &record("vm-2", 2)));
    beside.execute("UPDATE vms SET doc = ?1 WHERE vm = 'vm-1'", [value(document)]).expect("changed");
    let records = well(store.vms(&HostId::new(HOST))).unwrap_or_default();
    assert!(records.iter().any(|record| record.vm.as_str() == "vm-2"));
    well(store.adopt(&PluginName::new("first"), &VmName::new("vm-1")));
    well(store.put_vm(None, &record("vm-1", 1)));
    well(store.remove_vm(&VmName::new("vm-1")));
}

fn ledger(world: &World, document: &[u8]) {
    fs::write(world.folder.join("ledger.json"), document).expect("written");
    let before = world.host.records().expect("a broken ledger is set aside");
    let ours = VmRecord { host: world.host.id().clone(), ..record("vm-9", 9) };
    world.host.record(&ours).expect("a record can be written");
    let after = world.host.records().expect("it can be read");
    assert!(after.iter().any(|record| record.vm.as_str() == "vm-9"));
    assert!(before.iter().all(|old| after.iter().any(|new| new.vm == old.vm)), "a record was lost");
    world.host.forget(&VmName::new("vm-9")).expect("forgotten");
    for entry in fs::read_dir(&world.folder).expect("the folder").flatten() {
        if entry.file_name().to_string_lossy().contains("broken") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Anything but "the file cannot be used": that would stop the whole queue.
fn well<T>(answer: Result<T, StoreError>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(StoreError::Lost | StoreError::Broken { .. }) => None,
        Err(error @ StoreError::Away { .. }) => panic!("{error}"),
    }
}

/// Text where it is text, as we write it; else bytes, as a disk may leave them.
fn value(document: &[u8]) -> Value {
    match std::str::from_utf8(document) {
        Ok(text) => Value::Text(text.to_owned()),
        Err(_) => Value::Blob(document.to_vec()),
    }
}

fn clear(beside: &Connection) {
    let sql = "BEGIN IMMEDIATE; DELETE FROM jobs; DELETE FROM groups; DELETE FROM vms; DELETE FROM broken; DELETE FROM handlers; DELETE FROM tombstones; COMMIT;";
    beside.execute_batch(sql).expect("cleared");
}

fn claim(store: &EmbeddedStore, handler: &str) -> Option<Claim> {
    well(claim_for(store, &Want { take_over: true, ..want(handler) }))?
}
