//! A runner of ours works on a job that nobody has named.

use anklet_plugin_api::fake::memory::Verb as StoreVerb;
use anklet_plugin_api::job::JobId;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::name::VmName;

use crate::world::{LIMIT, Life, World, ms, short};

const UNKNOWN: &str = "the runner works on a job that is not known yet; its VM is kept";

/// A handler whose runner was given a job of another run, of which nobody has heard: its own, the runner's, and the VM.
fn lost_in_the_dark(limits: Limits) -> (World, Life, JobId, JobId, VmName) {
    let mut world = World::new(limits);
    world.section.registration_timeout = ms(100);
    world.github.hold_assignment(true);
    let life = world.start();
    let ours = world.queue(world.job());
    world.wait_said("job is waiting for registered runner", 1);
    let vm = world.only_vm();
    let other = JobId(world.github.create_job(world.job().silent()));
    world.github.assign(other.0, vm.as_str());
    world.github.wait_in_progress(other.0, LIMIT);
    world.wait_said(UNKNOWN, 1);
    world.github.hold_assignment(false);
    (world, life, ours, other, vm)
}

/// News names the job while it runs: the handler watches it as any other, and says so.
#[test]
fn news_names_the_job_of_a_runner_later() {
    let (world, life, ours, other, vm) = lost_in_the_dark(Limits { fence_retry: LIMIT * 2, ..short() });
    world.tell_as(other, "in_progress");
    let told = world.wait_said("job found registered runner and is now in progress", 1);
    assert_eq!(told[0].facts["workflowJobID"], other.to_string());
    assert_eq!(told[0].facts["vmName"], vm.as_str());
    world.end(other, "success");
    let ended = world.wait_said("job completed", 1);
    assert_eq!(ended[0].facts["workflowJobID"], other.to_string());
    world.run_to_its_end(ours);
    assert_eq!(world.said("queued job found").last().unwrap().facts["attempts"], "0");
    assert!(world.said("job was picked up by another host").is_empty());
    life.stop();
}

/// The first news is that the job is over: the VM goes at once, and not with the next fence.
#[test]
fn news_of_the_end_of_an_unknown_job_frees_its_vm() {
    let (world, life, ours, other, vm) = lost_in_the_dark(Limits { fence_retry: LIMIT * 2, ..short() });
    world.end(other, "success");
    world.wait_for("the VM gone", || !world.vms.vms().contains_key(&vm));
    world.run_to_its_end(ours);
    assert!(world.said("job was picked up by another host").is_empty());
    life.stop();
}

/// No news at all: the fence is tried until the runner is free, however much else happens in the queue.
#[test]
fn a_busy_queue_does_not_put_off_the_fence() {
    let (world, life, ours, other, _) = lost_in_the_dark(Limits { fence_retry: ms(150), ..short() });
    let n_fences = || world.n_requests("DELETE", "/repos/acme/app/actions/runners/*");
    let n_before = n_fences();
    world.wait_for("three fences", || {
        world.store.come_back();
        n_fences() >= n_before + 3
    });
    assert!(world.store.n_calls(StoreVerb::Adopt) > 3);
    assert!(world.github.complete_job(other.0, "success"));
    world.run_to_its_end(ours);
    life.stop();
}

/// A stop leaves the VM with its record, and the next start takes it up without a claim: the janitor waits for the runner.
#[test]
fn an_unknown_job_outlives_a_stop() {
    let (world, life, ours, other, vm) = lost_in_the_dark(Limits { fence_retry: LIMIT * 2, ..short() });
    life.stop();
    assert!(world.vms.vms()[&vm]);
    let life = world.start_with_janitor();
    let second = world.tell_started(ours);
    assert_ne!(second, vm);
    world.end(ours, "success");
    assert!(world.vms.vms()[&vm], "its runner works");
    world.end(other, "success");
    world.wait_clean();
    life.stop();
}
