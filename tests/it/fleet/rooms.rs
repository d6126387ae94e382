//! Room on hosts that several processes use, and on several hosts: never too much, nobody waits for ever, nothing is idle for long.

use std::time::Duration;

use fake_anka::Template;
use fake_github::JobSpec;

use crate::rooms::longest_idle_ms;
use crate::support::{Anklet, LIMIT, REPO, World};

use super::hosts::{Fleet, Host, handler};

/// A host of 8 processors and 16 GiB with templates of three sizes.
fn host() -> Host {
    let host = Host::new();
    for (name, cpu, gib) in [("large", 8, 12), ("middle", 4, 8), ("small", 2, 4)] {
        let template = Template::new(name, &format!("template-{name}"), "v1").on_disk().cpu(cpu).ram_gib(gib);
        host.anka.add(&template.runner("2.336.0"));
    }
    host
}

fn job(template: &str) -> JobSpec {
    JobSpec::new(REPO, &[&format!("anka-template:{template}"), "anka-template-tag:v1"])
}

/// Starts a process with one handler on that host. Nobody looks by himself: what becomes free is told.
fn start(fleet: &Fleet<'_>, host: &Host, name: &str, limits: &str) -> Anklet {
    let config = fleet
        .config(&host.home, &[handler(name)])
        .replace("cpu_count: 12, memory_bytes: 34359738368", "cpu_count: 8, memory_bytes: 17179869184")
        .replace("idle_look: 1,", "idle_look: 60,")
        .replace("limits: {", &format!("limits: {{{limits}"));
    host.start(&config, 1)
}

#[track_caller]
fn kept_its_limits(host: &Host) {
    let (n_vms, cpu, memory) = host.anka.peak();
    assert!(n_vms <= 2 && cpu <= 8 && memory <= 16 << 30, "{n_vms} VMs with {cpu} CPUs and {memory} bytes");
}

#[test]
fn two_processes_of_a_host_share_its_slots_and_tell_each_other() {
    let world = World::new();
    let (fleet, host) = (Fleet::new(&world), host());
    let receiver = fleet.start_receiver();
    // Three handlers for two slots: one of them always waits for another process.
    let anklets = ["A1", "A2", "A3"].map(|name| start(&fleet, &host, name, ""));
    let jobs: Vec<_> = (0..12).map(|_| world.github.create_job(job("small").steps_ms(50))).collect();
    fleet.all_ran_once(&jobs);
    fleet.is_clean(&[&host]);
    kept_its_limits(&host);
    let longest = longest_idle_ms(&host.anka, 2);
    println!("a slot was idle for at most {longest:.0} ms");
    assert!(longest < 5_000.0, "{longest} ms");
    anklets.into_iter().for_each(Anklet::stop);
    receiver.stop();
}

/// The right of a job that is held ready holds across processes.
#[test]
fn a_large_job_goes_first_before_those_of_another_process() {
    let world = World::new();
    let (fleet, host) = (Fleet::new(&world), host());
    let receiver = fleet.start_receiver();
    let limits = "passed_over: 0.5, ";
    let first = start(&fleet, &host, "A1", limits);
    let small = world.github.create_job(job("small").steps_ms(120_000));
    world.github.wait_in_progress(small, LIMIT);
    let second = start(&fleet, &host, "A2", limits);
    let large = world.github.create_job(job("large"));
    second.wait_message("cannot run vm yet, waiting for enough resources to be available...");
    let late = world.github.create_job(job("small"));
    assert!(world.github.wait_webhooks_sent(LIMIT));
    world.github.cancel_run_of(small);
    fleet.all_ran_once(&[large, late]);
    second.wait_message("vm has enough resources now to run; starting runner");
    let started_at = |job| world.github.job(job).started_at.unwrap().instant;
    assert!(started_at(large) < started_at(late), "nobody overtook the job that was held ready");
    kept_its_limits(&host);
    fleet.is_clean(&[&host]);
    [first, second, receiver].into_iter().for_each(Anklet::stop);
}

#[test]
fn three_hosts_keep_their_limits_and_end_every_job() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let hosts = [host(), host(), host()];
    let receiver = fleet.start_receiver();
    let mut anklets = Vec::new();
    for (host, names) in hosts.iter().zip([["A1", "A2"], ["B1", "B2"], ["C1", "C2"]]) {
        anklets.extend(names.map(|name| start(&fleet, host, name, "passed_over: 1, ")));
    }
    let order = ["small", "large", "middle", "small", "small", "large", "middle", "small", "middle"];
    let jobs: Vec<_> =
        order.iter().cycle().take(27).map(|name| world.github.create_job(job(name).steps_ms(50))).collect();
    fleet.all_ran_once(&jobs);
    fleet.is_clean(&hosts.each_ref());
    hosts.iter().for_each(kept_its_limits);
    anklets.into_iter().for_each(Anklet::stop);
    receiver.stop();
}

/// The lock between pulls and clones holds across processes, and who waits for it hears its end.
#[test]
fn processes_of_a_host_do_not_clone_during_a_pull() {
    let world = World::new();
    let (fleet, host) = (Fleet::new(&world), host());
    host.anka.add(&Template::new("far", "far", "v1").cpu(2).ram_gib(4).in_registry().runner("2.336.0"));
    host.anka.set_delay("registry pull", Duration::from_secs(6));
    let receiver = fleet.start_receiver();
    let anklets = ["A1", "A2"].map(|name| start(&fleet, &host, name, ""));
    let pulled = world.github.create_job(job("far"));
    assert!(host.anka.wait_for(LIMIT, |lines| lines.iter().any(|line| line.verb == "registry pull")));
    let near = world.github.create_job(job("small"));
    fleet.all_ran_once(&[pulled, near]);
    fleet.is_clean(&[&host]);
    assert!(host.anka.corruptions().is_empty());
    let trace = host.anka.trace();
    let pull_ended_at =
        trace.iter().find(|line| line.event == "end" && line.verb == "registry pull").unwrap().at_ms;
    let clones = trace.iter().filter(|line| line.event == "start" && line.verb == "clone");
    assert!(clones.clone().count() == 2 && clones.clone().all(|line| line.at_ms >= pull_ended_at - 50.0));
    let waited = "another pull runs on this host; waiting for its end";
    assert!(anklets.iter().flat_map(Anklet::lines).any(|line| line.message() == waited));
    anklets.into_iter().for_each(Anklet::stop);
    receiver.stop();
}
