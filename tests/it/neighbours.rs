//! Two processes of one host: they share its ledger, and neither touches what the other has in work.

use crate::redis_server::Redis;
use crate::support::{LIMIT, REPO, free_port};

#[test]
fn another_process_with_another_queue_is_left_alone() {
    let redis = Redis::start();
    let world = redis.world();
    world.github.hold_assignment(true);
    let first = world.start(&world.config(1).replace("repo: app", "repo: app, queue_name: ours"));
    let job = world.github.create_job(world.job());
    first.wait_message("job is waiting for registered runner");

    // Something is left for the other's janitor, so that it can be seen at work.
    let ledger = world.home.path().join(".config/anklet/ledger.json");
    let text = std::fs::read_to_string(&ledger).unwrap();
    let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let vms = document["vms"].as_object_mut().unwrap();
    let left = "anklet-vm-00000000-0000-4000-8000-000000000000";
    let mut record = vms.values().next().unwrap().clone();
    (record["vm"], record["plugin"], record["queue"]) = (left.into(), "GONE".into(), "theirs".into());
    vms.insert(left.to_owned(), record);
    std::fs::write(&ledger, document.to_string()).unwrap();
    let theirs = world
        .config(1)
        .replace("RECEIVER", "RECEIVER2")
        .replace("HANDLER1", "HANDLER2")
        .replace(&format!("port: {}}}", world.port), &format!("port: {}}}", free_port()))
        .replace("repo: app", "repo: app, queue_name: theirs")
        .replace("runner_list_lag: 1, register_runner: 5", "runner_list_lag: 0.1, register_runner: 0.1");
    let second = world.start(&theirs);
    second.wait_message("cleaned up what was left of a VM");
    second.stop();
    assert_eq!((world.vms_made_by_us().len(), world.github.runners(REPO).len()), (1, 1));

    world.github.hold_assignment(false);
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    world.assert_clean(&first);
    assert_eq!(world.github.registrations().len(), 1);
    first.stop();
}
