//! A host is blamed before a job: what its clones and starts fail at counts once a host.

use std::fs;

use serde_json::json;

use crate::support::{Anklet, World};

use super::hosts::{FLEET_LIMIT, Fleet, Host};

/// How many tries had been counted at each claim of the job by this process.
fn attempts(anklet: &Anklet, job: u64) -> Vec<u64> {
    let lines = anklet.lines();
    let claims = lines
        .iter()
        .filter(|line| line.message() == "queued job found" && line.0["workflowJobID"].as_u64() == Some(job));
    claims.map(|line| line.0["attempts"].as_u64().unwrap()).collect()
}

/// `times` starts of this host fail; -1 for all.
fn let_starts_fail(host: &Host, times: i64) {
    let how = json!({"code": 1, "message": "the VM does not start"});
    host.anka.arm(&json!({"match": {"verb": "start"}, "times": times, "do": {"fail": how}}));
}

fn ended_well(world: &World, job: u64) {
    assert_eq!(world.github.wait_completed(job, FLEET_LIMIT).conclusion.as_deref(), Some("success"));
    assert!(world.github.requests_to("POST", "/repos/acme/app/actions/runs/*/cancel").is_empty());
}

#[test]
fn failing_starts_count_once_on_each_host() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let hosts = [Host::new(), Host::new()];
    let_starts_fail(&hosts[0], -1);
    let_starts_fail(&hosts[1], 2);
    let drain_file = hosts[1].home.path().join(".config/anklet/.drain");
    fs::write(&drain_file, "").unwrap();
    let receiver = fleet.start_receiver();
    let anklets = [fleet.start(&hosts[0], &["A"]), fleet.start(&hosts[1], &["B"])];
    let job = world.github.create_job(world.job());
    anklets[0].wait_messages("job given back", 3);
    anklets[0].signal("QUIT");
    let [mut first, second] = anklets;
    first.wait_end_and_lines();
    assert_eq!(attempts(&first, job)[..3], [0, 1, 1]);
    fs::remove_file(drain_file).unwrap();
    ended_well(&world, job);
    second.wait_message("job completed");
    assert_eq!(attempts(&second, job), [1, 2, 2]);
    fleet.is_clean(&hosts.each_ref());
    second.stop();
    receiver.stop();
}
