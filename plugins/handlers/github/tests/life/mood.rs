//! A host is blamed before a job.

use std::time::Duration;

use anklet_plugin_api::fake::vm_host::{Plan, Verb};
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::vm::VmError;
use log::Level;

use crate::world::{World, short};

const RESTS: &str = "jobs keep failing on this host; it rests before it tries another";

fn failure() -> Plan {
    Plan::Fail(VmError::Failed { verb: "start", code: 1, message: "no".to_owned() })
}

/// Three failures in a row on different jobs, then rests of 1, 2, 2 … times the first, an error each, and one job after each rest.
#[test]
fn a_host_that_keeps_failing_rests_longer_each_time() {
    let second = Duration::from_secs(1);
    let world = World::new(Limits { rest_first: second, rest_most: second * 2, ..short() });
    for _ in 0..6 {
        world.vms.plan(Verb::Start, failure());
    }
    let life = world.start();
    let jobs: Vec<_> = (0..4).map(|_| world.queue(world.job())).collect();
    let rests = world.wait_said(RESTS, 3);
    let seconds: Vec<_> = rests.iter().map(|rest| rest.facts["rest_seconds"].as_str()).collect();
    assert_eq!(seconds, ["1", "2", "2"]);
    assert!(rests.iter().all(|rest| rest.level == Level::Error));
    let calls = world.vms.calls();
    let starts: Vec<_> = calls.iter().filter(|call| call.verb == Verb::Start).collect();
    // A sixth, where this is read only after the third rest.
    assert!((5..=6).contains(&starts.len()), "three jobs before the first rest, one after each of the next");
    assert!(world.vms.vms().is_empty(), "a VM that did not start is removed");
    assert_eq!(world.n_requests("POST", crate::world::CANCEL_PATH), 0, "nothing is wrong with the jobs");
    assert!(jobs.iter().all(|job| world.entry(*job).is_some()));
    life.stop();
}

/// A job that starts wipes the slate clean.
#[test]
fn a_success_ends_the_row() {
    let world = World::new(Limits { rest_first: Duration::from_secs(3_600), ..short() });
    let life = world.start();
    for n_failed in 1..=4 {
        world.vms.plan(Verb::Start, failure());
        if n_failed % 2 == 0 {
            world.vms.plan(Verb::Start, Plan::Work);
            let job = world.queue(world.job());
            world.run_to_its_end(job);
            continue;
        }
        let job = world.queue(world.job());
        world.run_to_its_end(job);
    }
    assert!(world.said(RESTS).is_empty());
    assert_eq!(world.said("job given back").len(), 4);
    life.stop();
}
