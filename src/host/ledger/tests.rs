//! The ledger file beside newer versions, broken, and in use.

use std::fs;
use std::time::Instant;

use anklet_plugin_api::job::RunId;
use anklet_plugin_api::name::{HostId, VmName};
use serde_json::{Value, json};

use super::*;
use crate::host::tests::{Folder, record};

fn host() -> HostId {
    HostId::new("h")
}

fn content(folder: &Folder) -> Value {
    serde_json::from_slice(&fs::read(folder.path().join("ledger.json")).unwrap()).unwrap()
}

#[test]
fn fields_of_a_newer_version_are_kept_and_our_own_are_not_left_behind() {
    let folder = Folder::new();
    let ledger = Ledger::new(folder.path());
    let mut written = record(&host(), "a");
    written.run = Some(RunId(9));
    ledger.record(&written).unwrap();
    let mut newer = content(&folder);
    newer["version"] = json!(2);
    newer["future"] = json!({"x": 1});
    newer["vms"]["a"]["cpu_count"] = json!(4);
    newer["vms"]["z"] = json!({"stage": "a stage of the future"});
    fs::write(folder.path().join("ledger.json"), newer.to_string()).unwrap();

    written.run = None;
    ledger.record(&written).unwrap();
    let kept = content(&folder);
    assert_eq!((&kept["version"], &kept["future"]["x"]), (&json!(2), &json!(1)));
    assert_eq!(kept["vms"]["a"]["cpu_count"], json!(4));
    assert_eq!(kept["vms"]["a"].get("run"), None);
    assert_eq!(ledger.records().unwrap(), [written]);
    ledger.forget(&VmName::new("a")).unwrap();
    assert!(content(&folder)["vms"].get("z").is_some(), "what cannot be read stays");
    assert_eq!(ledger.records().unwrap(), []);
}

#[test]
fn a_broken_file_is_set_aside() {
    for broken in ["", "{\"vms\": ", "[]", "{\"vms\": 7}", "\u{0}\u{0}"] {
        let folder = Folder::new();
        let ledger = Ledger::new(folder.path());
        fs::write(folder.path().join("ledger.json"), broken).unwrap();
        ledger.record(&record(&host(), "a")).unwrap();
        assert_eq!(ledger.records().unwrap().len(), 1, "{broken:?}");
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names[1].starts_with("ledger.json.broken-"), "{names:?}");
        assert_eq!(fs::read_to_string(folder.path().join(&names[1])).unwrap(), broken);
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error_that_names_the_file() {
    let ledger = Ledger::new(Path::new("/nonexistent/folder"));
    let error = ledger.record(&record(&host(), "a")).unwrap_err().to_string();
    assert!(error.starts_with("cannot write the ledger file /nonexistent/folder/ledger.json"), "{error}");
}

/// Not a benchmark, but a guard: a write that scanned or grew with time would show.
#[test]
fn a_write_takes_a_moment() {
    let folder = Folder::new();
    let ledger = Ledger::new(folder.path());
    let started_at = Instant::now();
    for round in 0..50 {
        ledger.record(&record(&host(), &format!("vm-{}", round % 4))).unwrap();
    }
    let each = started_at.elapsed() / 50;
    assert!(each.as_millis() < 200, "{each:?} each");
    println!("{each:?} each");
}
