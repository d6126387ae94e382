//! Hosts that lose sight of Redis and see it again.

use std::time::{Duration, Instant};

use fake_github::{JobId, JobSpec};
use rustix::process::Signal;
use serde_json::json;

use crate::support::{Anklet, LIMIT, REPO, World};
use crate::worlds::in_worlds;

use super::hosts::{FLEET_LIMIT, Fleet, Host, handler, wait, wait_within};
use super::proxy::Proxy;

const WAITS: &str = "job is waiting for registered runner";
const RUNS: &str = "job found registered runner and is now in progress";

fn short_lived(config: &str) -> String {
    config.replace("claim_seconds: 20", "claim_seconds: 4")
}

/// A host behind a proxy that works on a job, and another that does not.
struct Cut {
    proxy: Proxy,
    hosts: [Host; 2],
    receiver: Anklet,
    cut_off: Anklet,
    other: Anklet,
}

impl Cut {
    /// `message` is how far the first is with the job when its line is cut; the other has then taken the claim.
    fn new(fleet: &Fleet<'_>, job: JobSpec, message: &str) -> (Self, JobId) {
        let (proxy, hosts) = (Proxy::to(fleet.redis.port), [Host::new(), Host::new()]);
        let config = fleet.config_by(proxy.port, &hosts[0].home, &[handler("A1")]);
        let cut_off = hosts[0].start(&short_lived(&config), 1);
        let receiver = fleet.start_receiver();
        let job = fleet.world.github.create_job(job);
        cut_off.wait_message(message);
        let other = hosts[1].start(&short_lived(&fleet.config(&hosts[1].home, &[handler("B1")])), 1);
        proxy.cut();
        other.wait_message("queued job found");
        (Self { proxy, hosts, receiver, cut_off, other }, job)
    }

    fn stop(self) {
        for anklet in [self.cut_off, self.other, self.receiver] {
            anklet.stop();
        }
    }
}

/// Before the runner took the job: it is fenced, the job runs elsewhere, and the host undoes its VM when it is back.
#[test]
fn a_host_is_cut_off_before_its_runner_took_the_job() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    world.github.hold_assignment(true);
    let (cut, job) = Cut::new(&fleet, world.job(), WAITS);
    cut.other.wait_message("job given back");
    assert_eq!(cut.hosts[0].vms().len(), 1, "it knows of nothing");
    world.github.hold_assignment(false);
    world.github.wait_in_progress(job, LIMIT);
    cut.proxy.restore();
    cut.cut_off.wait_message("job was picked up by another host");
    fleet.all_ran_once(&[job]);
    assert!(cut.hosts[1].has_had(&world.github.job(job).runner_name.unwrap()));
    assert_eq!((cut.hosts[0].n_clones(), cut.hosts[1].n_clones()), (1, 1));
    fleet.is_clean(&cut.hosts.each_ref());
    wait("every runner gone", || world.github.runners(REPO).is_empty());
    cut.stop();
}

/// After: the job is left to the host, which watches on when it is back.
#[test]
fn a_host_is_cut_off_after_its_runner_took_the_job() {
    for is_back_in_time in [true, false] {
        let world = World::new();
        let fleet = Fleet::new(&world);
        let (cut, job) = Cut::new(&fleet, world.job().steps_ms(14_000), RUNS);
        // The taker is free again, and takes what comes.
        let next = world.github.create_job(world.job_labelled("next"));
        fleet.all_ran_once(&[next]);
        assert!(cut.hosts[1].has_had(&world.github.job(next).runner_name.unwrap()));
        if is_back_in_time {
            assert!(!world.github.job(job).is_completed());
            cut.proxy.restore();
            fleet.all_ran_once(&[job]);
        } else {
            fleet.all_ran_once(&[job]);
            cut.proxy.restore();
        }
        assert!(cut.hosts[0].has_had(&world.github.job(job).runner_name.unwrap()));
        fleet.is_clean(&cut.hosts.each_ref());
        assert_eq!((cut.hosts[0].n_clones(), cut.hosts[1].n_clones()), (1, 1));
        wait("every runner gone", || world.github.runners(REPO).is_empty());
        // The host is as useful as before.
        cut.other.stop();
        let last = world.github.create_job(world.job_labelled("last"));
        fleet.all_ran_once(&[last]);
        assert_eq!(cut.hosts[0].n_clones(), 2);
        cut.cut_off.stop();
        cut.receiver.stop();
    }
}

/// Redis is away for longer than two lives of a claim while six jobs are prepared: no claim changes hands, nothing is undone.
#[test]
fn redis_is_away_while_six_jobs_are_prepared() {
    redis_is_away_for(Duration::from_secs(9), short_lived);
}

/// The same for three minutes, with claims and waits as they are by default.
#[test]
#[ignore = "long: see tests/long"]
fn redis_is_away_for_three_minutes() {
    redis_is_away_for(Duration::from_secs(180), |config| {
        let (before, rest) = config.split_once("claim_seconds: 20\n").unwrap();
        let (host, limits) = rest.split_once("limits:").unwrap();
        format!("{before}{host}{}", &limits[limits.find("plugins:").unwrap()..])
    });
}

fn redis_is_away_for(limit: Duration, settings: impl Fn(&str) -> String) {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let hosts = [Host::new(), Host::new(), Host::new()];
    let names = [["A1", "A2"], ["B1", "B2"], ["C1", "C2"]];
    let receiver = fleet.start_receiver();
    let anklets: Vec<_> = hosts
        .iter()
        .zip(names)
        .zip(["start-runner", "cp", "start"])
        .map(|((host, names), step)| {
            let matching = match step {
                "start-runner" => json!({"verb": "run", "arg_contains": step}),
                verb => json!({"verb": verb}),
            };
            host.anka.plan(&json!([{"match": matching, "times": -1, "do": {"delay_ms": 3_000}}]));
            host.start(&settings(&fleet.config(&host.home, &names.map(handler))), 2)
        })
        .collect();
    world.github.hold_assignment(true);
    let labelled = |n| world.job_labelled(&format!("n{n}")).steps_ms(100);
    let jobs: Vec<_> = (0..6).map(|n| world.github.create_job(labelled(n))).collect();
    wait("six jobs in preparation", || {
        let n_delayed = |host: &Host| host.anka.trace().iter().filter(|line| line.event == "rule").count();
        hosts.iter().all(|host| n_delayed(host) >= 2)
    });
    fleet.redis.signal(Signal::STOP);
    let stopped_at = Instant::now();
    let n_waiting = |anklet: &Anklet| {
        anklet.lines().iter().filter(|line| line.message() == "unable to access database").count()
    };
    wait_within(FLEET_LIMIT + limit, "everybody waiting for Redis, for long", || {
        let all_wait = n_waiting(&receiver) >= 1 && anklets.iter().all(|anklet| n_waiting(anklet) >= 2);
        all_wait && stopped_at.elapsed() > limit
    });
    fleet.redis.signal(Signal::CONT);
    // Until then it refuses webhooks, and nothing here delivers them again.
    receiver.wait_message("the database answers again");
    world.github.hold_assignment(false);
    fleet.all_ran_once(&jobs);
    assert_eq!(hosts.each_ref().map(Host::n_clones), [2, 2, 2], "no VM was made anew");
    assert_eq!(world.github.registrations().len(), 6);
    for anklet in &anklets {
        for lost in ["job was picked up by another host", "job given back"] {
            assert!(!anklet.lines().iter().any(|line| line.message() == lost), "{lost}");
        }
    }
    fleet.is_clean(&hosts.each_ref());
    anklets.into_iter().for_each(Anklet::stop);
    receiver.stop();
}

/// A host is cut off at work on a VM: its job runs elsewhere, and it undoes what it made when it is back.
#[test]
fn a_host_is_cut_off_while_it_prepares() {
    let commands = vec![("clone", 1), ("start", 1), ("run", 1), ("run", 2), ("run", 3)];
    in_worlds(commands, |world, (verb, nth)| {
        let fleet = Fleet::new(world);
        world.github.hold_assignment(true);
        let (proxy, hosts) = (Proxy::to(fleet.redis.port), [Host::new(), Host::new()]);
        // Half of the delay before the work, half after it.
        let rule = json!({"match": {"verb": verb, "nth": nth}, "do": {"delay_ms": 4_000}});
        hosts[0].anka.arm(&rule);
        let config = fleet.config_by(proxy.port, &hosts[0].home, &[handler("A1")]);
        let cut_off = hosts[0].start(&short_lived(&config), 1);
        let receiver = fleet.start_receiver();
        let job = world.github.create_job(world.job());
        wait("the command", || hosts[0].anka.calls(verb).len() == *nth);
        proxy.cut();
        let other = hosts[1].start(&short_lived(&fleet.config(&hosts[1].home, &[handler("B1")])), 1);
        other.wait_message("job given back");
        other.wait_messages("queued job found", 2);
        proxy.restore();
        cut_off.wait_message("job was picked up by another host");
        world.github.hold_assignment(false);
        fleet.all_ran_once(&[job]);
        assert!(hosts[1].has_had(&world.github.job(job).runner_name.unwrap()));
        assert_eq!((hosts[0].n_clones(), hosts[1].n_clones()), (1, 1));
        fleet.is_clean(&hosts.each_ref());
        wait("every runner gone", || world.github.runners(REPO).is_empty());
        for anklet in [cut_off, other, receiver] {
            anklet.stop();
        }
    });
}
