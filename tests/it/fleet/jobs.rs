//! Many jobs over several hosts, and several receivers: each job runs once.

use std::time::{Duration, Instant};

use crate::support::{LIMIT, REPO, SECRET, World, free_port};

use super::hosts::{Fleet, Host, receiver};

/// Runs so many jobs over three hosts of two slots; answers how long that took.
fn run_over_six_handlers(n_jobs: usize, steps_ms: u64, delays: &[(&str, u64)]) -> Duration {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let hosts = [Host::new(), Host::new(), Host::new()];
    for (host, (verb, ms)) in hosts.iter().flat_map(|host| delays.iter().map(move |delay| (host, delay))) {
        host.anka.set_delay(verb, Duration::from_millis(*ms));
    }
    let receiver = fleet.start_receiver();
    let names = [["A1", "A2"], ["B1", "B2"], ["C1", "C2"]];
    let anklets: Vec<_> = hosts.iter().zip(names).map(|(host, names)| fleet.start(host, &names)).collect();
    let started_at = Instant::now();
    let jobs: Vec<_> = (0..n_jobs).map(|_| world.github.create_job(world.job().steps_ms(steps_ms))).collect();
    fleet.all_ran_once(&jobs);
    let took = started_at.elapsed();
    let by_host = hosts.each_ref().map(Host::n_clones);
    assert_eq!(by_host.iter().sum::<usize>(), n_jobs, "no VM was made in vain: {by_host:?}");
    assert!(by_host.iter().all(|n_clones| *n_clones > 0), "all hosts take part: {by_host:?}");
    assert!(hosts.iter().all(|host| host.anka.peak().0 <= 2), "never more VMs than slots");
    fleet.is_clean(&hosts.each_ref());
    println!(
        "{n_jobs} jobs on 3 hosts of two slots: {took:.1?}, by host {by_host:?}; lost, doubled, left over: 0"
    );
    anklets.into_iter().for_each(crate::support::Anklet::stop);
    receiver.stop();
    took
}

#[test]
fn three_hosts_run_each_job_once() {
    run_over_six_handlers(18, 50, &[]);
}

#[test]
#[ignore = "long: see tests/long"]
fn three_hosts_run_200_jobs_once() {
    run_over_six_handlers(200, 50, &[]);
}

/// Half a second inside anka for each job, as a fast Mac takes, and half a second of work.
#[test]
#[ignore = "long: see tests/long"]
fn three_hosts_run_60_jobs_in_time() {
    let delays = [("clone", 100), ("start", 200), ("run", 60), ("cp", 7)];
    let took = run_over_six_handlers(60, 500, &delays);
    assert!(took <= Duration::from_secs(40), "{took:?}");
}

/// Two hooks, two receivers, one queue: all webhooks come twice, at the same moment, and each job is there once.
#[test]
fn two_receivers_store_each_job_once() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let (other, port, mac) = (Host::new(), free_port(), Host::new());
    world.github.add_hook(REPO, &format!("http://127.0.0.1:{port}/jobs/v1/receiver"), SECRET);
    let first = fleet.start_receiver();
    let second = other.spawn(&fleet.config(&other.home, &[receiver("SECOND", port)]));
    second.wait_message("receiver finished starting");
    let handlers = fleet.start(&mac, &["A1", "A2"]);
    let jobs: Vec<_> = (0..8).map(|_| world.github.create_job(world.job().steps_ms(50))).collect();
    fleet.all_ran_once(&jobs);
    assert!(world.github.wait_webhooks_sent(LIMIT));
    for job in &jobs {
        let deliveries = world.github.deliveries_of(*job, "queued");
        assert_eq!(deliveries.iter().map(|one| one.status_code).collect::<Vec<_>>(), [200, 200]);
    }
    assert_eq!(mac.n_clones(), 8);
    fleet.is_clean(&[&mac]);
    for anklet in [first, second, handlers] {
        anklet.stop();
    }
}
