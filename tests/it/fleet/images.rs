//! Templates in a fleet: what one host does not have, another may; only what nobody can have cancels a run.

use std::fs;

use fake_anka::Template;
use fake_github::{JobId, JobSpec};
use redis::cmd;

use crate::support::{Anklet, REPO, World};

use super::hosts::{FLEET_LIMIT, Fleet, Host, handler, wait};

const OTHER: &str = "7a1b2c3d-0000-4000-8000-00000000000f";
const NOT_THERE: &str = "anka template or tag not found in registry; cancelling job";

fn template(cpu: u32) -> Template {
    Template::new(OTHER, "sequoia", "v7").cpu(cpu).ram_gib(8).runner("2.336.0")
}

fn job(template: &str, tag: &str) -> JobSpec {
    JobSpec::new(REPO, &[&format!("anka-template:{template}"), &format!("anka-template-tag:{tag}")])
}

fn n_cancels(world: &World) -> usize {
    world.github.requests_to("POST", "/repos/acme/app/actions/runs/*/cancel").len()
}

fn is_cancelled(world: &World, job: JobId) {
    assert_eq!(world.github.wait_completed(job, FLEET_LIMIT).conclusion.as_deref(), Some("cancelled"));
    assert_eq!(n_cancels(world), 1);
}

fn is_well(world: &World, job: JobId) {
    assert_eq!(world.github.wait_completed(job, FLEET_LIMIT).conclusion.as_deref(), Some("success"));
    assert_eq!(n_cancels(world), 0);
}

fn n_claims(anklet: &Anklet) -> usize {
    anklet.lines().iter().filter(|line| line.message() == "queued job found").count()
}

/// The host takes nothing for now, but lives.
fn drain(host: &Host) {
    fs::write(host.home.path().join(".config/anklet/.drain"), "").unwrap();
}

fn undrain(host: &Host) {
    fs::remove_file(host.home.path().join(".config/anklet/.drain")).unwrap();
}

/// Waits until so many processes have told what they have.
fn told(fleet: &Fleet<'_>, n_processes: usize) {
    wait("what the hosts have", || {
        let keys: Vec<String> = cmd("KEYS").arg("anklet:*}:notice:images/*").query(&mut fleet.raw()).unwrap();
        keys.len() == n_processes
    });
}

#[test]
fn a_template_that_nobody_can_have_cancels_the_run_once() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let hosts = [Host::new(), Host::new(), Host::new()];
    // One has it with another tag, which no registry has.
    hosts[2].anka.add(&template(4).on_disk());
    let receiver = fleet.start_receiver();
    let anklets =
        [fleet.start(&hosts[0], &["A"]), fleet.start(&hosts[1], &["B"]), fleet.start(&hosts[2], &["C"])];
    told(&fleet, 3);
    let missing = world.github.create_job(job(OTHER, "v9"));
    is_cancelled(&world, missing);
    let n_said = anklets.iter().flat_map(Anklet::lines).filter(|line| line.message() == NOT_THERE).count();
    assert_eq!(n_said, 1);
    fleet.is_clean(&hosts.each_ref());
    assert!(hosts.iter().all(|host| host.n_clones() == 0));
    anklets.into_iter().for_each(Anklet::stop);
    // What ends with a process is taken back.
    told(&fleet, 0);
    receiver.stop();
}

#[test]
fn a_template_on_another_hosts_disk_waits_for_that_host() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let [without, with] = [Host::new(), Host::new()];
    with.anka.add(&template(4).on_disk());
    drain(&with);
    let receiver = fleet.start_receiver();
    let anklets = [fleet.start(&without, &["A"]), fleet.start(&with, &["B"])];
    told(&fleet, 2);
    let there = world.github.create_job(job(OTHER, "v7"));
    anklets[0].wait_message("problem ensuring vm template exists on host");
    anklets[0].wait_message("job given back");
    undrain(&with);
    is_well(&world, there);
    assert_eq!((without.n_clones(), with.n_clones(), n_claims(&anklets[0])), (0, 1, 1));
    fleet.is_clean(&[&without, &with]);
    anklets.into_iter().for_each(Anklet::stop);
    receiver.stop();
}

#[test]
fn another_hosts_registry_is_asked_before_a_run_is_cancelled() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let [first, second] = [Host::new(), Host::new()];
    second.anka.add(&template(4).in_registry_named("http://second:8089"));
    drain(&second);
    let receiver = fleet.start_receiver();
    let plugin =
        handler("B").replace("plugin: github,", "plugin: github, registry_url: \"http://second:8089\",");
    let anklets = [fleet.start(&first, &["A"]), second.start(&fleet.config(&second.home, &[plugin]), 1)];
    told(&fleet, 2);
    let there = world.github.create_job(job(OTHER, "v7"));
    anklets[0].wait_message("job given back");
    undrain(&second);
    is_well(&world, there);
    let nowhere = world.github.create_job(job("9", "v7"));
    is_cancelled(&world, nowhere);
    fleet.is_clean(&[&first, &second]);
    anklets.into_iter().for_each(Anklet::stop);
    receiver.stop();
}

/// What a host has counts for as long as it lives.
#[test]
fn a_host_that_died_is_not_waited_for() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let [without, with] = [Host::new(), Host::new()];
    with.anka.add(&template(4).on_disk());
    drain(&with);
    let receiver = fleet.start_receiver();
    let config = |host: &Host, name| {
        let config =
            fleet.config(&host.home, &[handler(name)]).replace("claim_seconds: 20", "claim_seconds: 3");
        config.replace("limits: {", "limits: {verdict_life: 0.5, ")
    };
    let living = without.start(&config(&without, "A"), 1);
    let dying = with.start(&config(&with, "B"), 1);
    told(&fleet, 2);
    let lost = world.github.create_job(job(OTHER, "v7"));
    living.wait_message("job given back");
    assert_eq!(n_cancels(&world), 0);
    dying.kill();
    is_cancelled(&world, lost);
    living.stop();
    receiver.stop();
}

/// How large a template is has to be found out once: smaller hosts leave its jobs alone then.
#[test]
fn hosts_tell_each_other_how_large_vms_are() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let [first, second] = [Host::new(), Host::new()];
    for host in [&first, &second] {
        host.anka.add(&template(64).on_disk());
    }
    drain(&second);
    let receiver = fleet.start_receiver();
    let anklets = [fleet.start(&first, &["A"]), fleet.start(&second, &["B"])];
    let large = world.github.create_job(job(OTHER, "v7"));
    anklets[0].wait_message("host does not have enough resources to run vm");
    anklets[0].wait_message("job given back");
    drain(&first);
    undrain(&second);
    let fits = world.github.create_job(world.job());
    is_well(&world, fits);
    assert_eq!((n_claims(&anklets[1]), second.n_clones()), (1, 1), "the large one was not even claimed");
    assert!(!world.github.job(large).is_completed());
    anklets.into_iter().for_each(Anklet::stop);
    receiver.stop();
}
