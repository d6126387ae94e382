//! Undoing: the fence, the deletion, and what is left to the janitor.

use anklet_plugin_api::fake::memory::Verb as StoreVerb;
use anklet_plugin_api::fake::vm_host::{Plan, Verb};
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::name::HostId;
use anklet_plugin_api::store::{Noted, Source, Store};
use anklet_plugin_api::vm::{Stage, VmError, VmListed};
use fake_github::Rule;
use log::Level;

use crate::world::{LIMIT, REPO, RUNNERS_PATH, World, ms, short};

fn n_calls(world: &World, verb: Verb) -> usize {
    world.vms.calls().iter().filter(|call| call.verb == verb).count()
}

/// "Deleted" and "not found" are words; a VM is gone when the list no longer names it.
#[test]
fn a_deletion_is_believed_when_the_list_says_so() {
    let world = World::new(short());
    let life = world.start();
    world.vms.pretend_deletions(2);
    let job = world.queue(world.job());
    world.run_to_its_end(job);
    assert_eq!(n_calls(&world, Verb::Delete), 3);
    assert!(world.said("cannot delete the VM; it is tried again every minute").is_empty());
    life.stop();
}

/// The list cannot be read: the VM is not known to be gone, although its deletion was answered well.
#[test]
fn a_deletion_whose_list_fails_is_not_believed() {
    let world = World::new(short());
    let life = world.start();
    let job = world.queue(world.job());
    world.tell_started(job);
    let nonsense = || VmError::Nonsense { verb: "list", answer: "half an answ".to_owned() };
    for _ in 0..2 {
        world.vms.plan(Verb::List, Plan::Fail(nonsense()));
    }
    world.end(job, "success");
    world.wait_clean();
    assert_eq!(n_calls(&world, Verb::Delete), 3);
    life.stop();
}

/// Three failed deletions: an error, the handler goes on with the next job, and the janitor removes the VM when it can.
#[test]
fn after_three_failed_deletions_the_handler_goes_on() {
    let failures = [
        || VmError::Failed { verb: "delete", code: 1, message: "no".to_owned() },
        || VmError::TooSlow { verb: "delete", limit: ms(1) },
        || VmError::Nonsense { verb: "delete", answer: "Segmentation fault".to_owned() },
    ];
    for failure in failures {
        // Nobody tries again before the next job has run.
        let world = World::new(Limits { delete_retry: ms(400), ..short() });
        let life = world.start_with_janitor();
        let job = world.queue(world.job());
        let vm = world.tell_started(job);
        for _ in 0..6 {
            world.vms.plan(Verb::Delete, Plan::Fail(failure()));
            world.vms.plan(Verb::StopForce, Plan::Fail(failure()));
        }
        world.end(job, "success");
        let errors = world.wait_said("cannot delete the VM; it is tried again every minute", 1);
        assert_eq!((errors[0].level, errors[0].facts["vmName"].as_str()), (Level::Error, vm.as_str()));
        assert!(n_calls(&world, Verb::StopForce) >= 3, "each failed deletion is followed by `stop --force`");
        world.wait_said("job completed", 1);
        let next = world.queue(world.job());
        let second = world.tell_started(next);
        assert_ne!(second, vm);
        world.end(next, "success");
        world.wait_clean();
        world.wait_said("cleaned up what was left of a VM", 1);
        assert!(
            n_calls(&world, Verb::Delete) >= 8,
            "three of the handler, three and one of the janitor, one of the second job"
        );
        life.stop();
    }
}

/// A failed deletion counts as a VM of the host while it runs, so that Apple's two are never three.
#[test]
fn a_vm_that_cannot_be_deleted_keeps_its_slot() {
    let world = World::new(Limits { no_slot: ms(50), delete_retry: ms(100), ..short() });
    let life = world.start_with_janitor();
    let failure = || VmError::Failed { verb: "delete", code: 1, message: "no".to_owned() };
    let job = world.queue(world.job());
    world.tell_started(job);
    for _ in 0..12 {
        world.vms.plan(Verb::Delete, Plan::Fail(failure()));
        world.vms.plan(Verb::StopForce, Plan::Fail(failure()));
    }
    world.vms.put_other(VmListed {
        name: "somebody else's".to_owned(),
        uuid: "theirs".to_owned(),
        tag: None,
        running: true,
    });
    world.end(job, "success");
    world.wait_said("job completed", 1);
    let next = world.queue(world.job());
    world.wait_said("host does not have vm capacity", 1);
    assert_eq!(world.vms.vms().len(), 1, "no third VM");
    world.run_to_its_end(next);
    life.stop();
}

/// GitHub is away while a runner has to be removed, and the queue is busy: signals of other jobs do not shorten the waits.
#[test]
fn a_busy_queue_does_not_press_github() {
    let limits = Limits { fence_no_answer: ms(1_500), github_retry_total: ms(1), ..short() };
    let mut world = World::new(limits);
    world.section.registration_timeout = ms(50);
    world.github.hold_assignment(true);
    let life = world.start();
    let job = world.queue(world.job());
    world.wait_said("job is waiting for registered runner", 1);
    let rule = world.github.rule(Rule::on("GET", RUNNERS_PATH).always().status(502, "as the test planned"));
    world.wait_said("GitHub does not answer whether the runner is removed; its VM is kept", 1);
    let n_asked = world.n_requests("GET", RUNNERS_PATH);
    let looks = || world.store.n_calls(StoreVerb::Look);
    for _ in 0..20 {
        let n_looks = looks();
        world.store.come_back();
        world.wait_for("a look", || looks() > n_looks);
    }
    assert!(world.n_requests("GET", RUNNERS_PATH) <= n_asked + 1, "twenty signals, not twenty calls");
    assert_eq!(world.vms.vms().len(), 1, "the VM is kept until GitHub answers");
    world.github.remove_rule(rule);
    world.github.hold_assignment(false);
    world.github.wait_in_progress(job.0, LIMIT);
    world.tell_as(job, "in_progress");
    world.end(job, "success");
    world.wait_clean();
    life.stop();
}

/// The registration was cut off, so that nobody knows whether there is a runner: the VM goes at once, the record stays until a late look.
#[test]
fn a_registration_that_was_cut_off_is_looked_at_later() {
    let world = World::new(Limits { runner_list_lag: ms(400), ..short() });
    let life = world.start_with_janitor();
    world.vms.plan(Verb::Run, Plan::Work);
    world.vms.plan(Verb::Run, Plan::FailDone(VmError::TooSlow { verb: "run", limit: ms(1) }));
    // GitHub's list does not show the runner yet.
    world.github.tune(|knobs| knobs.list_lag = ms(300));
    let job = world.queue(world.job());
    world.wait_said("job given back", 1);
    assert_eq!(world.github.runners(REPO).len(), 1);
    let records = world.store.vms(&HostId::new("host"));
    assert!(records.unwrap().iter().any(|record| record.stage == Stage::Undoing));
    world.wait_for("the hidden runner gone", || {
        !world.github.runners(REPO).iter().any(|runner| !runner.online)
    });
    world.run_to_its_end(job);
    life.stop();
}

/// A stop undoes a VM whose job ran and ended without a word; that it began is told in the middle, and that it ended never.
#[test]
fn a_job_that_ends_untold_during_a_stop_is_asked_about() {
    let world = World::new(short());
    let life = world.start();
    let job = world.queue(world.job());
    world.wait_said("job is waiting for registered runner", 1);
    world.github.wait_in_progress(job.0, LIMIT);
    let began = world.news(job);
    world.github.complete_job(job.0, "success");
    let store = std::sync::Arc::clone(&world.store);
    let tell = move || assert_eq!(store.news(&began, Source::Webhook).unwrap(), Noted::Moved);
    world.vms.plan(Verb::Delete, Plan::First(Box::new(tell)));
    life.stop();
    assert!(world.entry(job).is_none(), "it would lie there as running until a sweep");
    world.wait_clean();
}
