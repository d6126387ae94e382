//! The main job: from a webhook to an ended job with nothing left, and the ways off the straight road.

use serde_json::json;

use crate::support::{LIMIT, World};

#[test]
fn a_job_runs_from_webhook_to_clean_end() {
    let world = World::new();
    let anklet = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    let ended = world.github.wait_completed(job, LIMIT);
    assert_eq!(ended.conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    world.assert_clean(&anklet);
    assert_eq!(world.github.registrations().len(), 1);
    anklet.stop();
}

#[test]
fn a_failed_start_is_tried_again_in_a_fresh_vm() {
    let world = World::new();
    world.anka.arm(&json!({"match": {"verb": "start"}, "do": {"fail": {"code": 1, "message": "no"}}}));
    let anklet = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    world.github.wait_completed(job, LIMIT);
    anklet.wait_message("job completed");
    world.assert_clean(&anklet);
    assert_eq!(world.github.registrations().len(), 1);
    assert_eq!(world.anka.calls("clone").len(), 2);
    anklet.stop();
}
