//! The handler panics, as by a bug in the VM host: the job keeps its try, and the next life puts everything right.

use std::sync::Arc;

use anklet_plugin_api::fake::vm_host::{Plan, Verb};
use anklet_plugin_api::host::Host;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::store::{Place, Store};

use crate::world::{LIMIT, World, short};

#[test]
fn a_panic_at_each_step_costs_a_try_and_leaves_nothing() {
    let verbs = [
        Verb::List,
        Verb::FindImage,
        Verb::CloneImage,
        Verb::Start,
        Verb::Copy,
        Verb::Run,
        Verb::Run,
        Verb::Run,
    ];
    for (i_step, verb) in verbs.into_iter().enumerate() {
        let world = World::new(short());
        if verb == Verb::Run {
            for _ in 5..i_step {
                world.vms.plan(verb, Plan::Work);
            }
        }
        world.vms.plan(verb, Plan::First(Box::new(|| panic!("a bug, as the test planned"))));
        let mut life = world.start();
        let job = world.queue(world.job());
        assert!(life.wait_end().is_err(), "{verb:?}: it panicked");
        let entry = world.entry(job).unwrap();
        assert!(matches!(entry.place, Place::Claimed { .. }), "{verb:?}: {:?}", entry.place);
        assert_eq!(entry.attempts, 1);

        let life = world.start_with_janitor();
        world.tell_started(job);
        let claims = world.said("queued job found");
        assert_eq!(claims.last().unwrap().facts["attempts"], "1", "{verb:?} {i_step}: {claims:?}");
        world.end(job, "success");
        world.wait_clean();
        life.stop();
    }
}

/// The job is over, and the panic comes while its VM is deleted: the next life finishes both.
#[test]
fn a_panic_in_the_deletion_leaves_it_to_the_next_life() {
    let world = World::new(short());
    world.vms.plan(Verb::Delete, Plan::First(Box::new(|| panic!("a bug, as the test planned"))));
    let mut life = world.start();
    let job = world.queue(world.job());
    world.tell_started(job);
    world.end(job, "success");
    assert!(life.wait_end().is_err(), "it panicked");
    assert_eq!(world.vms.vms().len(), 1);
    let life = world.start_with_janitor();
    world.wait_clean();
    world.wait_said("job completed", 1);
    life.stop();
}

/// The VM is gone with its record, and the process dies before the claim is settled: the job is over all the same.
#[test]
fn a_claim_whose_job_is_over_is_finished_by_the_next_life() {
    let world = World::new(short());
    let mut life = world.start();
    let job = world.queue(world.job());
    let vm = world.tell_started(job);
    let store = Arc::clone(&world.store);
    let die = move || {
        store.remove_vm(&vm).unwrap();
        panic!("a bug, as the test planned");
    };
    world.vms.plan(Verb::Delete, Plan::First(Box::new(die)));
    world.end(job, "success");
    assert!(life.wait_end().is_err(), "it panicked");
    for vm in world.vms.vms().into_keys() {
        world.host.forget(&vm).unwrap();
        world.vms.lose_vm(&vm);
    }
    drop(life);
    let life = world.start();
    world.wait_said("job completed", 1);
    assert!(world.said("job given back").is_empty());
    life.stop();
}

/// Its job ended while nobody was here, and the store has let go of it: the end of the runner's one job is proof enough that GitHub gives it
/// nothing more, however long GitHub's list of runners may lag.
#[test]
fn the_vm_of_a_job_that_ended_meanwhile_goes_at_once() {
    let world = World::new(Limits { runner_list_lag: LIMIT * 10, ..short() });
    let life = world.start_with_janitor();
    let job = world.queue(world.job());
    world.tell_started(job);
    world.wait_said("job found registered runner and is now in progress", 1);
    life.stop();
    world.end(job, "success");
    let life = world.start_with_janitor();
    world.wait_clean();
    life.stop();
}
