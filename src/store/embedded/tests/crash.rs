//! A process killed in the middle: what was acknowledged is there, what was not is whole or absent.
//!
//! The child is this test program again, told by its environment to run one of the ignored tests below.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anklet_plugin_api::fake::made::{queued, record, want};
use anklet_plugin_api::job::{Conclusion, JobId, Phase};
use anklet_plugin_api::name::{HostId, PluginName};
use anklet_plugin_api::store::{ClaimAnswer, Counted, GiveBack, Place, Source, Store};

use super::{Folder, claim, connect};
use crate::store::embedded::{EmbeddedStore, Failpoint, Options};

const FILE: &str = "ANKLET_TEST_STORE_FILE";
const DIE_AT: &str = "ANKLET_TEST_STORE_DIE_AT";

fn child(test: &str, file: &Path, die_at: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "--test-threads=1"])
        .arg(format!("store::embedded::tests::crash::{test}"))
        .env(FILE, file)
        .env(DIE_AT, die_at.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[allow(clippy::disallowed_methods, reason = "tells the child of a test what to do")]
fn told(name: &str) -> String {
    std::env::var(name).unwrap()
}

/// Ends the process as a crash does: nothing is unwound, nothing closed.
fn die() -> ! {
    std::process::abort()
}

fn acknowledge(id: u64) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "stored {id}").unwrap();
    out.flush().unwrap();
}

#[test]
#[ignore = "the child of the test below"]
fn stores_until_it_is_killed() {
    let store = EmbeddedStore::open(Path::new(&told(FILE)), &Options::default()).unwrap();
    thread::scope(|scope| {
        for n in 0..4_u64 {
            let store = &store;
            scope.spawn(move || {
                for id in 1..1_000_000 {
                    store.news(&queued(n * 1_000_000 + id), Source::Webhook).unwrap();
                    acknowledge(n * 1_000_000 + id);
                }
            });
        }
    });
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there() {
    for n_acknowledged in [1, 50, 400] {
        let folder = Folder::new();
        let mut child = child("stores_until_it_is_killed", &folder.file(), 0);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let number = |line: String| Some(line.rsplit_once("stored ")?.1.parse::<u64>().unwrap());
        let mut stored: Vec<u64> = Vec::new();
        while stored.len() < n_acknowledged {
            stored.extend(number(lines.next().expect("the child goes on").unwrap()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let store = folder.open();
        for id in &stored {
            assert!(store.entry(JobId(*id)).unwrap().is_some(), "{id} was acknowledged");
        }
        assert!(store.counts().unwrap().queued >= stored.len() as u64);
    }
}

/// A whole life of two jobs, with a swap, a takeover from a dead host and a held job.
fn live(store: &EmbeddedStore) {
    let in_progress = |id: u64, runner: &str| {
        let mut news = queued(id);
        news.phase = Phase::InProgress { runner: Some(runner.to_owned()) };
        store.news(&news, Source::Webhook).unwrap();
    };
    for id in 1..=3 {
        store.news(&queued(id), Source::Webhook).unwrap();
    }
    let first = claim(store, "h1").unwrap();
    let second = claim(store, "h2").unwrap();
    let mut vm_1 = record("vm-1", first.job.id.0);
    let mut vm_2 = record("vm-2", second.job.id.0);
    for vm in [&mut vm_1, &mut vm_2] {
        vm.labels = first.job.labels.clone();
    }
    store.put_vm(Some(&first.key), &vm_1).unwrap();
    store.put_vm(Some(&second.key), &vm_2).unwrap();
    in_progress(2, "vm-1");
    in_progress(1, "vm-2");
    let mut news = queued(2);
    news.phase = Phase::Completed { conclusion: Conclusion::Success, runner: Some("vm-1".to_owned()) };
    store.news(&news, Source::Webhook).unwrap();
    store.finish(&first.key, &Conclusion::Success).unwrap();
    store.remove_vm(&vm_1.vm).unwrap();
    store.leave_running(&second.key).unwrap();
    let third = claim(store, "h1").unwrap();
    let how = GiveBack {
        reason: "no luck".to_owned(),
        counted: Counted::Yes,
        hold: std::time::Duration::from_millis(1),
        host_avoids: Some(std::time::Duration::from_secs(1)),
    };
    store.give_back(&third.key, &how).unwrap();
}

#[test]
#[ignore = "the child of the test below"]
fn dies_at_a_point() {
    let die_at: usize = told(DIE_AT).parse().unwrap();
    let n_passed = AtomicUsize::new(0);
    let failpoint: Failpoint = Arc::new(move |_| {
        if n_passed.fetch_add(1, Ordering::SeqCst) == die_at {
            die();
        }
    });
    let options = Options { failpoint: Some(failpoint), ..Options::default() };
    let store = EmbeddedStore::open(Path::new(&told(FILE)), &options).unwrap();
    live(&store);
    acknowledge(0);
}

#[test]
fn between_any_two_writes_a_kill_leaves_every_job_in_one_place() {
    for die_at in 0.. {
        let folder = Folder::new();
        let output = child("dies_at_a_point", &folder.file(), die_at).wait_with_output().unwrap();
        let store = folder.open();
        check_order(&folder, die_at);
        if String::from_utf8_lossy(&output.stdout).contains("stored 0") {
            assert!(die_at > 20, "the life has more writes than {die_at}");
            return;
        }
        go_on(&store, die_at);
    }
}

/// What the tables promise each other.
fn check_order(folder: &Folder, die_at: usize) {
    let tables = connect(&folder.file());
    let count = |sql: &str| -> i64 { tables.query_row(sql, [], |row| row.get(0)).unwrap() };
    for (what, sql) in [
        (
            "jobs in two places",
            "SELECT count(*) FROM jobs WHERE (grp IS NOT NULL) + (due IS NOT NULL) + (handler IS NOT NULL) > 1",
        ),
        (
            "two jobs of a handler",
            "SELECT count(*) - count(DISTINCT handler) FROM jobs WHERE handler IS NOT NULL",
        ),
        (
            "queued without a group",
            "SELECT count(*) FROM jobs WHERE grp IS NOT NULL AND grp NOT IN (SELECT id FROM groups)",
        ),
        (
            "groups without jobs",
            "SELECT count(*) FROM groups WHERE id NOT IN (SELECT grp FROM jobs WHERE grp IS NOT NULL)",
        ),
        (
            "wrong heads",
            "SELECT count(*) FROM groups WHERE (head_age, head_seq) <> (SELECT age, seq FROM jobs WHERE grp = groups.id ORDER BY age, seq LIMIT 1)",
        ),
        (
            "claims whose VM is not recorded",
            "SELECT count(*) FROM jobs WHERE vm IS NOT NULL AND vm NOT IN (SELECT vm FROM vms)",
        ),
    ] {
        assert_eq!(count(sql), 0, "{what}, killed at {die_at}");
    }
}

/// The next start finds each job where its history says and can bring it to its end.
fn go_on(store: &EmbeddedStore, die_at: usize) {
    for handler in ["h1", "h2"] {
        if let ClaimAnswer::Claimed(claim) = store.claim(&want(handler)).unwrap() {
            let entry = store.entry(claim.job.id).unwrap().unwrap();
            let is_its_own =
                matches!(&entry.place, Place::Claimed { handler: by, .. } if *by == PluginName::new(handler));
            assert!(is_its_own, "killed at {die_at}: {:?}", entry.place);
            store.finish(&claim.key, &Conclusion::Success).unwrap();
        }
    }
    for record in store.vms(&HostId::new("host-1")).unwrap() {
        store.remove_vm(&record.vm).unwrap();
    }
    assert_eq!(store.counts().unwrap().claimed, 0, "killed at {die_at}");
}
