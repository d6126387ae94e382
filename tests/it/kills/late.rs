//! Children that outlive the restart: a command goes on for seconds while the next process starts and recovers. Whatever it still makes
//! is found and removed.

use std::time::Duration;

use serde_json::json;

use crate::kills::row::{Row, in_rows};
use crate::kills::{LATE_MS, Queue};
use crate::support::LIMIT;

/// Every command with a VM, and which of them.
const COMMANDS: [(&str, usize); 7] =
    [("clone", 1), ("start", 1), ("cp", 1), ("run", 1), ("run", 2), ("run", 3), ("delete", 1)];

/// The process dies as this command begins, which makes or changes its VM only halfway through.
fn killed_as_it_begins(row: &Row<'_>, (verb, nth): (&'static str, usize)) -> u64 {
    let world = row.world;
    let rule =
        json!({"match": {"verb": verb, "nth": nth}, "do": {"kill_caller": "before", "delay_ms": LATE_MS}});
    world.anka.arm(&rule);
    let first = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    row.killed(first);
    assert_eq!(n_ends(row, verb), nth - 1, "the command is still under way");
    job
}

fn n_ends(row: &Row<'_>, verb: &str) -> usize {
    row.world.anka.trace().iter().filter(|line| line.event == "end" && line.verb == verb).count()
}

fn ends(queue: Queue, commands: Vec<(&'static str, usize)>) {
    in_rows("late children", queue, commands, |row, (verb, nth)| {
        let world = row.world;
        let job = killed_as_it_begins(row, (verb, *nth));
        let vm = world.vms_made_by_us();
        let second = world.start(&world.config(1));
        row.jobs_end(&[job], "success");
        // By then the late command is over, or it has outlived even the second try of its job.
        let is_over = world.anka.wait_for(LIMIT, |lines| {
            let began = lines.iter().find(|line| line.event == "rule").map(|line| line.pid);
            lines.iter().any(|line| line.event == "end" && Some(line.pid) == began)
        });
        assert!(is_over, "the late command ends");
        world.assert_clean(&second);
        for vm in vm {
            assert!(world.anka.state().vm(&vm).is_none());
        }
        second.stop();
        row.ends_well(&world.config(1), &[job]);
    });
}

/// A clone that is under way has made nothing yet that could be deleted: it is waited for.
#[test]
fn the_vm_of_a_late_clone_is_deleted_after_the_clone() {
    in_rows("late children", Queue::Embedded, vec![()], |row, ()| {
        let world = row.world;
        let job = killed_as_it_begins(row, ("clone", 1));
        // The wait itself may be cut short, too.
        let second = world.start(&world.config(1));
        second.wait_message("waiting for clones that are under way");
        row.kill(second);
        row.ends_well(&world.config(1), &[job]);
        let lines = world.anka.trace();
        let at = |event: &str, verb: &str| {
            lines.iter().find(|line| line.event == event && line.verb == verb).map(|line| line.at_ms).unwrap()
        };
        let waited = Duration::from_millis((at("end", "clone") - at("start", "clone")) as u64);
        assert!(waited >= Duration::from_millis(LATE_MS));
        assert!(at("start", "delete") >= at("end", "clone"), "the VM was deleted after it was made");
    });
}

#[test]
fn what_a_late_child_makes_is_removed() {
    ends(Queue::Embedded, COMMANDS.to_vec());
}

pub(super) fn on_redis() {
    ends(Queue::Redis, vec![("clone", 1), ("start", 1)]);
}
