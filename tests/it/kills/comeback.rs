//! The process comes back with another config or without its queue: the handler has another name, is gone beside others, is gone with all
//! others of its scope, or nobody knows the queue any more.

use std::fs;

use serde_json::Value;

use crate::kills::kill::Kill;
use crate::kills::row::in_rows;
use crate::kills::{LONG_MS, Queue};
use crate::support::{LIMIT, Line, REPO, World};

const START: Kill = Kill::Command { verb: "start", nth: 1, when: "during" };
const REGISTERED: Kill = Kill::Command { verb: "run", nth: 2, when: "after" };
const RUNNER_STARTED: Kill = Kill::Command { verb: "run", nth: 3, when: "after" };
const CLONE: Kill = Kill::Command { verb: "clone", nth: 1, when: "during" };
const DELETE: Kill = Kill::Command { verb: "delete", nth: 1, when: "before" };

/// The VMs in the ledger file, with what it says of each.
fn ledger(world: &World) -> Vec<(String, Value)> {
    let text = fs::read_to_string(world.home.path().join(".config/anklet/ledger.json")).unwrap();
    let ledger: Value = serde_json::from_str(&text).unwrap();
    ledger["vms"].as_object().unwrap().iter().map(|(vm, record)| (vm.clone(), record.clone())).collect()
}

fn another_name(queue: Queue, kills: &[Kill]) {
    in_rows("handler renamed", queue, kills.to_vec(), |row, kill| {
        let world = row.world;
        let first = world.start(&world.config(1));
        kill.arm(world, first.pid());
        let job = world.github.create_job(world.job().steps_ms(1_500));
        row.killed(first);
        row.ends_well(&world.config(1).replace("HANDLER1", "ANOTHER"), &[job]);
    });
}

/// Two handlers had one job, and the one that has it is not in the config any more.
fn without_it(queue: Queue, kills: &[Kill]) {
    in_rows("handler removed", queue, kills.to_vec(), |row, kill| {
        let world = row.world;
        let first = world.start(&world.config(2));
        kill.arm(world, first.pid());
        let job = world.github.create_job(world.job().steps_ms(1_500));
        row.killed(first);
        row.ends_well(&without_its_handler(world), &[job]);
    });
}

/// The config of two without the handler that the ledger's only VM belongs to.
pub(super) fn without_its_handler(world: &World) -> String {
    let [(_, record)] = ledger(world).try_into().unwrap();
    let its = format!("name: {},", record["plugin"].as_str().unwrap());
    let config = world.config(2);
    let others: Vec<_> = config.lines().filter(|line| !line.contains(&its)).collect();
    assert_eq!(others.len() + 1, config.lines().count(), "{config}");
    others.join("\n") + "\n"
}

/// The same while the job runs: its VM is kept until it is over.
fn without_it_while_the_job_runs(queue: Queue) {
    in_rows("handler removed", queue, vec!["while its job runs"], |row, _| {
        let world = row.world;
        let first = world.start(&world.config(2));
        let job = world.github.create_job(world.job().steps_ms(LONG_MS));
        first.wait_message("job found registered runner and is now in progress");
        row.kill(first);
        let second = world.start(&without_its_handler(world));
        // The janitor asks whether the runner can be removed, and hears that it works.
        let pattern = "/repos/*/*/actions/runners/*";
        assert!(world.github.wait_requests("DELETE", pattern, 2, LIMIT), "{}", world.github.story());
        assert_eq!(world.vms_made_by_us().len(), 1);
        assert!(!world.github.job(job).is_completed());
        world.github.complete_job(job, "success");
        world.assert_clean(&second);
        second.stop();
        row.ends_well(&world.config(2), &[job]);
    });
}

/// The errors that name this VM as nobody's.
fn complaints(lines: &[Line]) -> Vec<Line> {
    let is_complaint =
        |line: &&Line| line.0["level"] == "ERROR" && line.message().starts_with("no handler of this host");
    lines.iter().filter(is_complaint).cloned().collect()
}

/// What is in the config when no handler of the scope is left.
#[derive(Clone, Copy, Debug)]
enum Instead {
    /// A handler of another repository in the same queue.
    OtherRepo,
    /// A handler of another queue.
    OtherQueue,
    /// Only the receiver.
    Nobody,
}

/// No handler of its scope is left: nothing is touched, and one error an hour says what there is to do.
fn without_any(queue: Queue) {
    let cases = vec![Instead::OtherRepo, Instead::OtherQueue, Instead::Nobody];
    in_rows("no handler left", queue, cases, |row, instead| {
        let world = row.world;
        world.github.add_repo("acme/other").add_repo("elsewhere/other");
        world.github.hold_assignment(true);
        let first = world.start(&world.config(1));
        let job = world.github.create_job(world.job());
        first.wait_message("job is waiting for registered runner");
        row.kill(first);
        // The other handler's first question apart, which is about its own scope.
        let asked = || {
            let requests = world.github.requests().into_iter();
            requests.filter(|request| !request.path.ends_with("/actions/runners/downloads")).count()
        };
        let n_asked = asked();
        // Rounds follow each other much faster than complaints.
        let config = world.config(1).replace("delete_retry: 0.5", "delete_retry: 0.05, complaint: 1");
        let without = match instead {
            Instead::OtherRepo => {
                let other = "name: OTHER, plugin: github, owner: acme, repo: other";
                config.replace("name: HANDLER1, plugin: github, owner: acme, repo: app", other)
            }
            Instead::OtherQueue => config
                .replace("owner: acme, repo: app", "owner: elsewhere, repo: other")
                .replace("HANDLER1", "OTHER"),
            Instead::Nobody => {
                let others = config.lines().filter(|line| !line.contains("HANDLER1"));
                others.collect::<Vec<_>>().join("\n") + "\n"
            }
        };
        let second = world.start(&without);
        second.wait_lines("three complaints", |lines| complaints(lines).len() >= 3);
        let said = complaints(&second.lines());
        let [(vm, _)] = ledger(world).try_into().unwrap();
        for line in &said {
            let text = line.0.to_string();
            assert_eq!(line.0["vmName"], Value::from(vm.as_str()));
            assert!(text.contains(&format!("anka delete --yes {vm}")), "{text}");
            assert!(
                text.contains("gh api --method DELETE") && text.contains("repos/acme/app/actions/runners"),
                "{text}"
            );
        }
        let seconds = |line: &Line| {
            let time = line.0["time"].as_str().unwrap();
            let clock = time.split('T').nth(1).unwrap().trim_end_matches('Z');
            let parts: Vec<f64> = clock.split(':').map(|part| part.parse().unwrap()).collect();
            parts[0] * 3_600.0 + parts[1] * 60.0 + parts[2]
        };
        for pair in said.windows(2) {
            let apart = (seconds(&pair[1]) - seconds(&pair[0]) + 86_400.0) % 86_400.0;
            assert!(apart > 0.9, "one complaint each time: {said:?}");
        }
        assert_eq!(world.vms_made_by_us().len(), 1, "nothing was touched");
        assert_eq!(world.github.runners(REPO).len(), 1);
        assert_eq!(asked(), n_asked);
        second.stop();
        world.github.hold_assignment(false);
        row.ends_well(&world.config(1), &[job]);
    });
}

/// Not even the queue is there any more: VM and runner go by the ledger, and the job comes with its webhook, sent again.
fn without_the_queue(queue: Queue, kills: &[Kill]) {
    in_rows("queue lost", queue, kills.to_vec(), |row, kill| {
        let world = row.world;
        let first = world.start(&world.config(1));
        kill.arm(world, first.pid());
        let job = world.github.create_job(world.job());
        row.killed(first);
        match row.redis {
            Some(redis) => assert_eq!(redis.ask::<String>(&["FLUSHALL"]), "OK"),
            None => {
                for end in ["", "-wal", "-shm"] {
                    let _ = fs::remove_file(world.home.path().join(format!(".config/anklet/anklet.db{end}")));
                }
            }
        }
        // Only the ledger knows of the VM, so that the runner may have been registered up to the moment of the kill.
        let second = world.start(&world.config(1));
        world.assert_clean(&second);
        if !world.github.job(job).is_completed() {
            world.github.send_job_event(job, "queued");
        }
        row.sees_through(second, &[job], "success");
    });
}

#[test]
fn back_with_another_name_for_the_handler() {
    another_name(Queue::Embedded, &[CLONE, START, REGISTERED, RUNNER_STARTED]);
}

#[test]
fn back_without_the_handler_beside_another() {
    without_it(Queue::Embedded, &[CLONE, START, REGISTERED, RUNNER_STARTED, DELETE]);
    without_it_while_the_job_runs(Queue::Embedded);
}

#[test]
fn back_with_no_handler_of_the_scope() {
    without_any(Queue::Embedded);
}

#[test]
fn back_without_the_queue() {
    without_the_queue(Queue::Embedded, &[START, REGISTERED, DELETE]);
}

/// The same on Redis; `is_long` plays all rows, else one of each kind.
pub(super) fn on_redis(is_long: bool) {
    let n_rows = if is_long { usize::MAX } else { 1 };
    let some = |kills: &[Kill]| kills.iter().take(n_rows).cloned().collect::<Vec<_>>();
    another_name(Queue::Redis, &some(&[REGISTERED, CLONE, START, RUNNER_STARTED]));
    without_it(Queue::Redis, &some(&[RUNNER_STARTED, START, REGISTERED, CLONE, DELETE]));
    without_the_queue(Queue::Redis, &some(&[REGISTERED, START, DELETE]));
    if is_long {
        without_it_while_the_job_runs(Queue::Redis);
        without_any(Queue::Redis);
    }
}
