//! A host in a folder of its own, alone and beside another process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anklet_plugin_api::fake::made;
use anklet_plugin_api::host::{Host, HostError, RunningVm};
use anklet_plugin_api::name::{HostId, PluginName, VmName};
use anklet_plugin_api::vm::{Stage, VmRecord, VmSize};
use serde_json::json;

use super::{HostSettings, MacHost};
use crate::host::lock::Sharing;

/// A folder that goes with its owner.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A new and empty one.
    pub(crate) fn new() -> Self {
        static N_MADE: AtomicU32 = AtomicU32::new(0);
        let n = N_MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("anklet-test-{}-{n}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(folder: &Folder) -> MacHost {
    let settings =
        HostSettings { folder: folder.path().to_path_buf(), n_slots: 2, cpu_count: None, memory_bytes: None };
    MacHost::open(settings).unwrap()
}

fn vm(name: &str) -> VmName {
    VmName::new(name)
}

/// A record of a VM of `host`.
pub(crate) fn record(host: &HostId, name: &str) -> VmRecord {
    VmRecord {
        host: host.clone(),
        plugin: PluginName::new("h1"),
        repository: "acme/app".to_string(),
        labels: vec!["anka-template:x".to_string()],
        ..made::record(name, 7)
    }
}

fn names(names: &[&str]) -> Vec<RunningVm> {
    names.iter().map(|name| RunningVm { name: name.to_string(), size: None }).collect()
}

#[track_caller]
fn check_full(host: &MacHost, running: &[&str], expected: usize) {
    match host.reserve(&vm("one-more"), None, &names(running)) {
        Err(HostError::NoSlot { n_running, n_slots: 2 }) => assert_eq!(n_running, expected),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("there is room"),
    }
}

#[test]
fn slots_are_counted_and_given_back() {
    let folder = Folder::new();
    let host = open(&folder);
    let (freed, other) = (host.freed(), host.freed());
    assert!(host.has_slot());
    let first = host.reserve(&vm("a"), None, &[]).unwrap();
    assert!(host.has_slot());
    let second = host.reserve(&vm("b"), None, &[]).unwrap();
    assert!(!host.has_slot());
    check_full(&host, &[], 2);
    drop(other);
    drop(first);
    assert!(freed.recv_timeout(Duration::from_secs(10)).is_ok());
    assert!(host.has_slot());
    check_full(&host, &["x"], 2);
    let third = host.reserve(&vm("c"), None, &[]).unwrap();
    drop((second, third));
    assert!(freed.recv_timeout(Duration::from_secs(10)).is_ok());
    check_full(&host, &["x", "y"], 2);
    host.reserve(&vm("d"), None, &names(&["x"])).map(drop).unwrap();
}

#[test]
fn running_vms_take_slots_each_name_once() {
    let folder = Folder::new();
    let host = open(&folder);
    let reserved = host.reserve(&vm("a"), None, &names(&["a"])).unwrap();
    let second = host.reserve(&vm("b"), None, &names(&["a"]));
    assert!(second.is_ok(), "a VM that is reserved and runs is one VM");
    drop(second);
    check_full(&host, &["a", "not-ours"], 2);
    drop(reserved);
    check_full(&host, &["not-ours", "could-not-be-deleted"], 2);
    let again = host.reserve(&vm("a"), None, &names(&["a", "not-ours"]));
    assert!(again.is_ok(), "a VM is not in its own way");
}

#[test]
fn reservations_of_other_processes_count_while_they_live() {
    let folder = Folder::new();
    let host = open(&folder);
    let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    // A process that lives and is not ours: of another start there is no second one, so its start is left open.
    let boot = super::process::process_id_text().split('/').next().unwrap().to_string();
    let living = format!("{boot}/{}/", child.id());
    let gone = format!("{boot}/1/nonsense");
    let document = json!({"version": 9, "reservations": [
        {"vm": "x", "process": living, "cpu_count": 4},
        {"vm": "y", "process": gone},
        {"nonsense": true},
    ]});
    fs::write(folder.path().join("reservations.json"), document.to_string()).unwrap();
    let ours = host.reserve(&vm("a"), None, &[]).unwrap();
    check_full(&host, &[], 2);
    let written = fs::read_to_string(folder.path().join("reservations.json")).unwrap();
    assert!(written.contains("\"cpu_count\": 4"), "what a newer version reserves is kept: {written}");
    assert!(!written.contains("nonsense"), "the dead are dropped: {written}");
    child.kill().unwrap();
    child.wait().unwrap();
    let more = host.reserve(&vm("b"), None, &[]);
    assert!(more.is_ok(), "its process has ended");
    drop((ours, more));
    let written = fs::read_to_string(folder.path().join("reservations.json")).unwrap();
    assert!(!written.contains("\"vm\""), "{written}");
}

#[test]
fn a_broken_reservation_file_reserves_nothing() {
    let folder = Folder::new();
    let host = open(&folder);
    for content in ["", "{", "[]", "{\"reservations\": 7}"] {
        fs::write(folder.path().join("reservations.json"), content).unwrap();
        host.reserve(&vm("a"), None, &[]).map(drop).unwrap();
    }
}

#[test]
fn the_drain_file_is_seen_at_once() {
    let folder = Folder::new();
    let host = open(&folder);
    assert!(!host.is_drained());
    fs::write(folder.path().join(".drain"), "").unwrap();
    assert!(host.is_drained());
    fs::remove_file(folder.path().join(".drain")).unwrap();
    assert!(!host.is_drained());
}

#[test]
fn records_outlive_the_process_and_those_of_another_host_are_left_alone() {
    let folder = Folder::new();
    let host = open(&folder);
    host.record(&record(host.id(), "a")).unwrap();
    host.record(&record(host.id(), "b")).unwrap();
    host.record(&record(&HostId::new("other"), "c")).unwrap();
    let mut changed = record(host.id(), "a");
    changed.stage = Stage::Waiting;
    host.record(&changed).unwrap();
    host.forget(&vm("b")).unwrap();
    host.forget(&vm("never-there")).unwrap();
    let again = open(&folder);
    assert_eq!(again.id(), host.id());
    assert_eq!(again.records().unwrap(), [changed]);
    assert!(fs::read_to_string(folder.path().join("ledger.json")).unwrap().contains("\"c\""));
}

#[test]
fn what_the_host_has_is_measured_or_told() {
    let folder = Folder::new();
    let host = open(&folder);
    assert!(host.cpu_count() >= 1 && host.memory_bytes() > 1 << 20);
    let settings = HostSettings {
        folder: folder.path().join("deeper/still"),
        n_slots: 1,
        cpu_count: Some(8),
        memory_bytes: Some(16 << 30),
    };
    let host = MacHost::open(settings).unwrap();
    assert_eq!((host.cpu_count(), host.memory_bytes()), (8, 16 << 30));
}

#[test]
fn threads_of_one_process_share_slots_and_ledger() {
    let folder = Folder::new();
    let host = open(&folder);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let host = &host;
            scope.spawn(move || {
                for round in 0..10 {
                    let name = format!("vm-{worker}-{round}");
                    let reserved = host.reserve(&vm(&name), None, &[]);
                    host.record(&record(&HostId::new("other"), &name)).unwrap();
                    assert!(matches!(reserved, Ok(_) | Err(HostError::NoSlot { .. })));
                    host.forget(&vm(&name)).unwrap();
                }
            });
        }
    });
    assert!(host.has_slot());
    let ledger = fs::read_to_string(folder.path().join("ledger.json")).unwrap();
    assert!(!ledger.contains("vm-"), "{ledger}");
}

#[test]
fn a_lock_that_another_holds_is_waited_for() {
    let folder = Folder::new();
    let host = open(&folder);
    let path = folder.path().join("ledger.lock");
    let held = super::FileLock::try_take(&path, Sharing::Alone).unwrap().unwrap();
    assert!(super::FileLock::try_take(&path, Sharing::Shared).unwrap().is_none());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| host.record(&record(host.id(), "a")));
        assert!(!waiting.is_finished());
        drop(held);
        waiting.join().unwrap().unwrap();
    });
    assert_eq!(host.records().unwrap().len(), 1);
}

fn size(cpu_cores: u32, gib: u64) -> VmSize {
    VmSize { cpu_cores, memory_bytes: gib << 30 }
}

/// What is left on a host of 8 processors and 16 GiB, beside what is reserved and what runs.
#[test]
fn room_is_what_neither_reservations_nor_others_take() {
    let folder = Folder::new();
    let settings = HostSettings {
        folder: folder.path().to_path_buf(),
        n_slots: 2,
        cpu_count: Some(8),
        memory_bytes: Some(16 << 30),
    };
    let host = MacHost::open(settings).unwrap();
    let foreign = |gib| [RunningVm { name: "theirs".to_string(), size: Some(size(4, gib)) }];
    let reserve = |name: &str, need, running: &[RunningVm]| host.reserve(&vm(name), Some(need), running);

    assert!(matches!(reserve("a", size(9, 1), &[]), Err(HostError::TooLarge { .. })));
    assert!(matches!(reserve("a", size(1, 17), &[]), Err(HostError::TooLarge { .. })));
    assert!(matches!(
        reserve("a", size(4, 10), &foreign(8)),
        Err(HostError::NoRoom { for_others: true, .. })
    ));
    assert!(!host.has_room(size(4, 10)), "what others take is remembered");
    assert!(host.has_room(size(4, 8)));

    let first = reserve("a", size(4, 10), &[]).unwrap();
    assert!(matches!(reserve("b", size(4, 8), &[]), Err(HostError::NoRoom { for_others: false, .. })));
    assert!(!host.has_room(size(4, 8)) && host.has_room(size(4, 6)));
    // Its own VM runs already: that takes nothing twice.
    let running = [RunningVm { name: "a".to_string(), size: Some(size(4, 10)) }];
    let second = reserve("b", size(4, 6), &running).unwrap();
    assert!(matches!(reserve("c", size(1, 1), &running), Err(HostError::NoSlot { .. })));
    drop(first);
    assert!(host.has_room(size(4, 10)));
    drop(second);
    assert!(host.has_room(size(8, 16)));
}
