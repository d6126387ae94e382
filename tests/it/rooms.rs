//! Room on the host: VMs of several sizes, too large ones, and the VMs of others.

use std::time::{Duration, Instant};

use fake_anka::{FakeAnka, Size, Template};
use fake_github::JobSpec;
use serde_json::json;

use crate::support::{LIMIT, REPO, World};

/// A world whose host has 8 processors and 16 GiB, and templates of these sizes beside the usual one.
fn world(templates: &[(&str, u32, u64)]) -> World {
    let world = World::new();
    for (uuid, cpu, gib) in templates {
        let template =
            Template::new(uuid, &format!("template-{uuid}"), "v1").on_disk().cpu(*cpu).ram_gib(*gib);
        world.anka.add(&template.runner("2.336.0"));
    }
    world
}

fn config(world: &World, n_handlers: usize) -> String {
    world
        .config(n_handlers)
        .replace("cpu_count: 12, memory_bytes: 34359738368", "cpu_count: 8, memory_bytes: 17179869184")
}

fn job(template: &str) -> JobSpec {
    JobSpec::new(REPO, &[&format!("anka-template:{template}")])
}

#[test]
fn jobs_too_large_for_the_host_are_passed_by_and_not_cancelled() {
    let world = world(&[("huge", 16, 8), ("giant", 2, 64), ("small", 2, 4)]);
    let anklet = world.start(&config(&world, 1));
    let too_large: Vec<_> = (0..10)
        .flat_map(|_| ["huge", "giant"])
        .map(|template| world.github.create_job(job(template)))
        .collect();
    let fits = world.github.create_job(job("small"));
    assert_eq!(world.github.wait_completed(fits, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    let n_refused = anklet
        .lines()
        .iter()
        .filter(|line| line.message() == "host does not have enough resources to run vm")
        .count();
    assert!(n_refused <= 2, "each group is looked at once, but {n_refused} jobs were");
    for job in too_large {
        assert!(!world.github.job(job).is_completed(), "it waits for a larger host");
    }
    world.assert_clean(&anklet);
    anklet.stop();
}

#[test]
fn two_vms_never_take_more_than_the_host_has() {
    let world = world(&[("large", 6, 12), ("middle", 4, 8), ("small", 2, 4)]);
    let anklet = world.start(&config(&world, 2));
    let jobs: Vec<_> = ["large", "small", "middle", "small", "large", "middle", "small", "small", "large"]
        .map(|template| world.github.create_job(job(template).steps_ms(30)))
        .to_vec();
    for job in &jobs {
        assert_eq!(world.github.wait_completed(*job, LIMIT).conclusion.as_deref(), Some("success"));
    }
    anklet.wait_messages("job completed", jobs.len());
    let (n_vms, cpu, memory) = world.anka.peak();
    assert!(n_vms <= 2 && cpu <= 8 && memory <= 16 << 30, "{n_vms} VMs with {cpu} CPUs and {memory} bytes");
    world.assert_clean(&anklet);
    anklet.stop();
}

/// A job that fits only alone is overtaken for a while; then it is held ready and goes first.
#[test]
fn a_large_job_is_held_ready_after_a_while() {
    let world = world(&[("large", 8, 12), ("small", 2, 4)]);
    let config = config(&world, 2).replace("limits: {", "limits: {passed_over: 0.3, idle_look: 0.2, ");
    let anklet = world.start(&config);
    let small = world.github.create_job(job("small").steps_ms(2_500));
    world.github.wait_in_progress(small, LIMIT);
    let large = world.github.create_job(job("large"));
    anklet.wait_message("pushed job to paused queue");
    anklet.wait_message("cannot run vm yet, waiting for enough resources to be available...");
    let late = world.github.create_job(job("small"));
    for job in [small, large, late] {
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    }
    anklet.wait_message("vm has enough resources now to run; starting runner");
    anklet.wait_messages("job completed", 3);
    let started_at = |job| world.github.job(job).started_at.unwrap().instant;
    assert!(started_at(large) < started_at(late), "nobody overtook the job that was held ready");
    world.assert_clean(&anklet);
    anklet.stop();
}

/// What VMs of others take counts, and so do their slots.
#[test]
fn vms_of_others_take_room_and_slots() {
    let world = world(&[("large", 6, 12)]);
    let config =
        config(&world, 1).replace("limits: {", "limits: {no_slot: 0.3, idle_look: 0.2, verdict_life: 0.5, ");
    let theirs = world.anka.foreign_vm("theirs", Size { cpu_cores: 4, ram_size: 8 << 30, ..Size::default() });
    let anklet = world.start(&config);
    let large = world.github.create_job(job("large"));
    anklet.wait_message("host does not have enough resources to run vm");
    let other = world.anka.foreign_vm("others", Size { cpu_cores: 1, ram_size: 1 << 30, ..Size::default() });
    let small = world.github.create_job(world.job());
    anklet.wait_message("host does not have vm capacity");
    assert!(world.anka.calls("clone").is_empty());
    for vm in [theirs, other] {
        assert!(world.anka.vm_dies(&vm, true));
    }
    for job in [large, small] {
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    }
    anklet.wait_messages("job completed", 2);
    world.assert_clean(&anklet);
    anklet.stop();
}

/// It is on the list that another handler has just been given, but nothing is reserved for it any more.
#[test]
fn a_vm_that_goes_while_others_list_is_no_strangers() {
    let world = world(&[("small", 2, 4), ("other", 2, 4)]);
    let anklet =
        world.start(&config(&world, 2).replace("limits: {", "limits: {idle_look: 60, no_slot: 60, "));
    let first = world.github.create_job(job("small").steps_ms(600_000));
    anklet.wait_message("job found registered runner and is now in progress");
    world.anka.arm(&json!({"match": {"verb": "list", "nth": 1}, "do": {"hang": "after", "ms": 6_000}}));
    let second = world.github.create_job(job("small"));
    assert!(world.anka.wait_for(LIMIT, |lines| lines.iter().any(|line| line.event == "hang")));
    let third = world.github.create_job(job("other").steps_ms(600_000));
    assert!(world.github.complete_job(first, "success"));
    world.github.wait_in_progress(third, LIMIT);
    assert_eq!(world.github.wait_completed(second, LIMIT).conclusion.as_deref(), Some("success"));
    assert!(world.github.complete_job(third, "success"));
    anklet.wait_messages("job completed", 3);
    let n_refused =
        anklet.lines().iter().filter(|line| line.message() == "host does not have vm capacity").count();
    assert_eq!(n_refused, 0);
    world.assert_clean(&anklet);
    anklet.stop();
}

#[test]
fn the_skip_flag_turns_off_processors_and_memory_but_not_slots() {
    let world = world(&[("huge", 16, 64)]);
    let config = config(&world, 1) + "global_skip_cpu_and_memory_resource_checks: true\n";
    let anklet = world.start(&config);
    let huge = world.github.create_job(job("huge"));
    assert_eq!(world.github.wait_completed(huge, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    anklet.stop();
}

/// The longest time in which a slot of this host was free although a job was still to come, by the commands that make and delete VMs.
pub(crate) fn longest_idle_ms(anka: &FakeAnka, n_slots: usize) -> f64 {
    let mut changes: Vec<(f64, isize)> = Vec::new();
    let mut last_clone_at = 0.0_f64;
    for line in anka.trace() {
        match (line.event.as_str(), line.verb.as_str()) {
            ("start", "clone") => {
                changes.push((line.at_ms, 1));
                last_clone_at = last_clone_at.max(line.at_ms);
            }
            ("end", "delete") => changes.push((line.at_ms, -1)),
            _ => {}
        }
    }
    changes.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut n_busy, mut idle_since, mut longest) = (0_isize, None, 0.0_f64);
    for (at, change) in changes.into_iter().filter(|(at, _)| *at <= last_clone_at) {
        if let Some(since) = idle_since.take() {
            longest = longest.max(at - since);
        }
        n_busy += change;
        if n_busy < isize::try_from(n_slots).unwrap() {
            idle_since = Some(at);
        }
    }
    longest
}

/// Nobody looks by himself here: what becomes free is told.
#[test]
fn no_slot_is_idle_while_a_job_waits() {
    let world = world(&[("small", 2, 4)]);
    let config = config(&world, 2).replace("limits: {", "limits: {idle_look: 60, ");
    let anklet = world.start(&config);
    let jobs: Vec<_> = (0..12).map(|_| world.github.create_job(job("small").steps_ms(30))).collect();
    for job in &jobs {
        assert_eq!(world.github.wait_completed(*job, LIMIT).conclusion.as_deref(), Some("success"));
    }
    anklet.wait_messages("job completed", jobs.len());
    let (longest, (n_vms, ..)) = (longest_idle_ms(&world.anka, 2), world.anka.peak());
    println!("a slot was idle for at most {longest:.0} ms; {n_vms} VMs at most");
    // A tenth of that on a quiet machine.
    assert!(longest < 5_000.0 && n_vms == 2, "{longest} ms, {n_vms} VMs");
    world.assert_clean(&anklet);
    anklet.stop();
}

/// Small jobs come without end, and a large one that fits only alone gets its turn all the same.
#[test]
fn small_jobs_without_end_do_not_starve_a_large_one() {
    let world = world(&[("large", 8, 12), ("small", 2, 4)]);
    let config = config(&world, 2).replace("limits: {", "limits: {passed_over: 1, idle_look: 60, ");
    let anklet = world.start(&config);
    let mut n_jobs = 0;
    let mut feed = |n_wanted: usize| {
        while n_jobs < n_wanted {
            world.github.create_job(job("small").steps_ms(150));
            n_jobs += 1;
        }
    };
    feed(6);
    let large = world.github.create_job(job("large"));
    let deadline = Instant::now() + LIMIT;
    loop {
        let lines = anklet.lines();
        let n_ended = lines.iter().filter(|line| line.message() == "job completed").count();
        if world.github.job(large).started_at.is_some() {
            break;
        }
        assert!(Instant::now() < deadline, "the large job starves");
        feed(n_ended + 6);
        std::thread::park_timeout(Duration::from_millis(20));
    }
    assert_eq!(world.github.wait_completed(large, LIMIT).conclusion.as_deref(), Some("success"));
    let (n_vms, cpu, memory) = world.anka.peak();
    assert!(n_vms <= 2 && cpu <= 8 && memory <= 16 << 30, "{n_vms} VMs with {cpu} CPUs and {memory} bytes");
    anklet.stop();
}
