//! A claim that ran out is taken from a host that is gone: what its runner may still do decides when the job is tried again.

use std::time::Duration;

use anklet_plugin_api::job::JobId;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::name::{HostId, PluginName, VmName};
use anklet_plugin_api::store::{ClaimAnswer, Store, Want};
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::{Stage, VmRecord};
use fake_github::Rule;

use crate::world::{LABELS, Life, REPO, RUNNERS_PATH, World, ms, short};

const RUNNER_PATH: &str = "/repos/acme/app/actions/runners/*";

/// A host that is gone held a job, and had a runner that waited for it: the job, the runner's VM and its id at GitHub.
fn left_behind(limits: Limits) -> (World, JobId, VmName, u64) {
    let mut world = World::new(limits);
    world.section.claim_life = ms(150);
    world.github.hold_assignment(true);
    let job = world.queue(world.job());
    let want = Want {
        handler: PluginName::new("GONE"),
        host: HostId::new("gone"),
        scope: world.section.scope.clone(),
        pass: Vec::new(),
        take_over: false,
        claim_life: ms(1),
    };
    let ClaimAnswer::Claimed(claim) = world.store.claim(&want).unwrap() else { panic!("there is a job") };
    let vm = VmName::new("anklet-vm-of-a-host-that-is-gone");
    let record = VmRecord {
        vm: vm.clone(),
        host: want.host,
        plugin: want.handler,
        queue: world.section.queue.clone(),
        scope: want.scope,
        job: Some(job),
        run: Some(claim.job.run_id),
        repository: REPO.to_owned(),
        labels: claim.job.labels.clone(),
        stage: Stage::Waiting,
        registering_at: Some(Moment::now()),
        registered_at: Some(Moment::now()),
        jit: None,
        created_at: Moment::now(),
        failed_deletions: 0,
    };
    world.store.put_vm(Some(&claim.key), &record).unwrap();
    let runner = world.github.add_runner(REPO, vm.as_str(), &LABELS);
    world.github.set_runner_online(runner, true);
    (world, job, vm, runner)
}

/// The claims of this handler. The heartbeat does not run here, but nobody takes what runs out.
fn attempts(world: &World) -> Vec<String> {
    world.said("queued job found").into_iter().map(|claim| claim.facts["attempts"].clone()).collect()
}

fn end_well(world: &World, life: Life, job: JobId) {
    world.github.hold_assignment(false);
    world.tell_started(job);
    world.end(job, "success");
    world.wait_said("job completed", 1);
    life.stop();
}

/// The runner waits: it is removed, and the job tried again, one try counted for the host that is gone.
#[test]
fn a_runner_that_waits_is_removed_first() {
    let (world, job, vm, _) = left_behind(short());
    let life = world.start();
    world.wait_for("the job claimed twice", || attempts(&world).len() >= 2);
    assert_eq!(attempts(&world), ["1", "1"]);
    assert!(!world.github.runners(REPO).iter().any(|runner| runner.name == vm.as_str()));
    end_well(&world, life, job);
}

/// The runner works, and on another job: it will take no further one, so the job need not wait for that.
#[test]
fn a_runner_that_works_on_another_job_is_not_waited_for() {
    let (world, job, vm, _) = left_behind(short());
    let other = JobId(world.github.create_job(world.job().silent()));
    world.github.assign(other.0, vm.as_str());
    let life = world.start();
    world.wait_for("a VM of our own", || world.vms.vms().len() == 1);
    assert_eq!(world.n_requests("DELETE", RUNNER_PATH), 1);
    assert!(!world.github.job(other.0).is_completed());
    end_well(&world, life, job);
}

/// The runner works, and on this very job: it is left to its host.
#[test]
fn a_runner_that_works_on_the_job_is_left_alone() {
    let (world, job, vm, _) = left_behind(short());
    world.github.assign(job.0, vm.as_str());
    let life = world.start();
    world.wait_for("the job left running", || {
        world.entry(job).is_some_and(|entry| entry.place == anklet_plugin_api::store::Place::Running)
    });
    assert!(world.vms.vms().is_empty());
    world.end(job, "success");
    world.wait_gone_from_the_queue(job);
    life.stop();
}

/// GitHub is away: it is asked again after ever longer waits, and nothing starts before it has answered.
#[test]
fn nothing_starts_while_github_does_not_answer() {
    let limits = Limits {
        fence_no_answer: ms(60),
        fence_retry: Duration::from_secs(60),
        github_retry_total: ms(1),
        ..short()
    };
    let (world, job, _, _) = left_behind(limits);
    let rule = world.github.rule(Rule::on("GET", RUNNERS_PATH).always().status(502, "as the test planned"));
    let life = world.start();
    world.wait_for("four fences", || world.n_requests("GET", RUNNERS_PATH) >= 4);
    let asked: Vec<_> =
        world.github.requests_to("GET", RUNNERS_PATH).iter().map(|it| it.at.instant).collect();
    for (n_earlier, pair) in asked.windows(2).enumerate() {
        let wait = ms(60) * 2u32.pow(u32::try_from(n_earlier).unwrap());
        assert!(pair[1] - pair[0] >= wait, "fence {}", n_earlier + 2);
    }
    assert!(world.vms.vms().is_empty());
    world.github.remove_rule(rule);
    end_well(&world, life, job);
}
