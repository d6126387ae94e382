//! Names are leased across hosts: claims are held by names, so no two processes may have one.

use crate::support::World;

use super::hosts::{Fleet, Host, handler};

#[test]
fn a_name_is_leased_to_one_host() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let (one, other) = (Host::new(), Host::new());
    let config = |host: &Host| {
        fleet.config(&host.home, &[handler("SAME")]).replace("claim_seconds: 20", "claim_seconds: 3")
    };
    let first = one.start(&config(&one), 1);
    let started_at = std::time::Instant::now();
    let mut second = other.spawn(&config(&other));
    second.wait_message("waiting for the plugin's name");
    let (status, lines) = second.wait_end_and_lines();
    assert_eq!(status.code(), Some(1));
    assert!(
        started_at.elapsed() >= std::time::Duration::from_secs(3),
        "it waited for as long as a lease lasts"
    );
    let said: Vec<_> = lines.iter().map(|line| line.0.to_string()).collect();
    assert!(said.iter().any(|line| line.contains("the name SAME is in use")), "{said:#?}");
    first.stop();
    // It was given back, so that nobody waits for it.
    other.start(&config(&other), 1).stop();
}

/// A host that died keeps its name until the lease runs out; who waits for it gets it then.
#[test]
fn the_name_of_a_dead_host_is_free_after_its_lease() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let (one, other) = (Host::new(), Host::new());
    let config = |host: &Host| {
        fleet.config(&host.home, &[handler("SAME")]).replace("claim_seconds: 20", "claim_seconds: 3")
    };
    one.start(&config(&one), 1).kill();
    let second = other.start(&config(&other), 1);
    second.wait_message("waiting for the plugin's name");
    second.stop();
}
