//! A disk that is too full for a pull: what is deleted, in which order, and what never is.

use fake_anka::Template;
use fake_github::JobSpec;
use serde_json::json;

use crate::support::{Anklet, LIMIT, REPO, TEMPLATE, World};

const GIB: u64 = 1 << 30;
const WANTED: &str = "wanted";

fn job(template: &str) -> JobSpec {
    JobSpec::new(REPO, &[&format!("anka-template:{template}"), "anka-template-tag:v1"])
}

fn template(uuid: &str, gib: u64) -> Template {
    Template::new(uuid, uuid, "v1").cpu(2).ram_gib(4).image_bytes(gib * GIB).runner("2.336.0")
}

/// A world with ten templates of 10 GiB beside the usual one of 20, one of 25 in the registry, and so many bytes free. The later
/// ones were used last.
fn world(free: u64) -> World {
    let world = World::new();
    for n in 0..10 {
        world.anka.add(&template(&format!("old-{n}"), 10).on_disk());
    }
    world.anka.add(&template(WANTED, 25).in_registry());
    world.anka.update(|state| {
        for n in 0..10 {
            let vm = state.vm_mut(&format!("old-{n}")).unwrap();
            vm.access_date = format!("2025-01-{:02}T00:00:00Z", n + 1);
        }
        state.disk_free = free;
    });
    world
}

fn config(world: &World, n_handlers: usize, buffer: &str) -> String {
    world.config(n_handlers).replace("limits: {", "limits: {disk_settle: 0.01, ")
        + &format!("global_template_disk_buffer: {buffer}\n")
}

fn deleted(world: &World) -> Vec<String> {
    let calls = world.anka.calls("delete").into_iter().map(|call| call.argv[3].clone());
    calls.filter(|name| !name.starts_with("anklet-vm-")).collect()
}

#[track_caller]
fn bytes_of(anklet: &Anklet) -> String {
    anklet.line("insufficient space on host").0["error"].as_str().unwrap().to_owned()
}

#[test]
fn the_least_used_go_one_by_one_until_the_pull_fits() {
    let world = world(GIB);
    let anklet = world.start(&config(&world, 1, "0"));
    // Two uses of the oldest and one of the next: both are used more than all others, but touched last.
    for (n_job, used) in ["old-0", "old-0", "old-1"].into_iter().enumerate() {
        let job = world.github.create_job(job(used));
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
        anklet.wait_messages("job completed", n_job + 1);
    }
    // The last access does not count before the number of uses.
    world.anka.update(|state| {
        state.vm_mut("old-0").unwrap().access_date = "2020-01-01T00:00:00Z".to_owned();
        state.vm_mut(TEMPLATE).unwrap().access_date = "2025-01-04T12:00:00Z".to_owned();
    });
    let pulled = world.github.create_job(job(WANTED));
    assert_eq!(world.github.wait_completed(pulled, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_messages("job completed", 4);
    assert_eq!(deleted(&world), ["old-2", "old-3", TEMPLATE]);
    world.assert_clean(&anklet);
    anklet.stop();
}

#[test]
fn nothing_is_deleted_if_all_of_it_would_not_do() {
    let world = world(GIB);
    world.anka.update(|state| {
        let templates = &mut state.registry_mut("default").templates;
        templates.iter_mut().for_each(|one| one.tags[0].size.image_size = 500 * GIB);
    });
    let anklet = world.start(&config(&world, 1, "0"));
    let waits = world.github.create_job(job(WANTED));
    anklet.wait_message("insufficient space on host");
    let error = bytes_of(&anklet);
    for bytes in [500 * GIB, GIB, 120 * GIB] {
        assert!(error.contains(&format!("{bytes} bytes")), "{error}");
    }
    // Other jobs go on, and the job is open to other hosts, with no try counted.
    let fits = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(fits, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    assert_eq!(deleted(&world), Vec::<String>::new());
    assert!(world.anka.calls("registry pull").is_empty() && !world.github.job(waits).is_completed());
    let lines = anklet.lines();
    assert!(
        lines.iter().filter(|line| line.message() == "queued job found").all(|line| line.0["attempts"] == 0)
    );
    anklet.stop();
}

#[test]
fn a_share_of_the_disk_stays_free() {
    let world = World::new();
    world.anka.add(&template(WANTED, 25).in_registry());
    // Enough for the pull alone, and nothing much to delete.
    world.anka.update(|state| {
        state.disk_free = 26 * GIB;
        state.vm_mut(TEMPLATE).unwrap().size.image_size = 1;
    });
    let anklet = world.start(&config(&world, 1, "99"));
    world.github.create_job(job(WANTED));
    anklet.wait_message("insufficient space on host");
    assert!(bytes_of(&anklet).contains("bytes are to stay free"), "{}", bytes_of(&anklet));
    assert_eq!(deleted(&world), Vec::<String>::new());
    anklet.stop();
}

/// A template that a VM was cloned of, a running VM, and what has no tag are never deleted, however little they were used.
#[test]
fn what_is_in_use_and_what_is_not_ours_stays() {
    let world = world(GIB);
    world.anka.update(|state| {
        state.vms.retain(|vm| !vm.name.starts_with("old-") || *vm.name <= *"old-3");
        state.vm_mut("old-1").unwrap().tag = None;
        // Somebody uses it as a VM.
        state.vm_mut("old-2").unwrap().status = fake_anka::Status::Running;
    });
    let anklet = world.start(&config(&world, 2, "0"));
    let runs = world.github.create_job(job("old-0").steps_ms(4_000));
    world.github.wait_in_progress(runs, LIMIT);
    world.anka.update(|state| state.vm_mut("old-2").unwrap().status = fake_anka::Status::Stopped);
    world.anka.update(|state| state.vm_mut("old-2").unwrap().tag = None);
    let pulled = world.github.create_job(job(WANTED));
    for job in [runs, pulled] {
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    }
    anklet.wait_messages("job completed", 2);
    let deleted = deleted(&world);
    assert!(
        !deleted.iter().any(|name| ["old-0", "old-1", "old-2", WANTED].contains(&name.as_str())),
        "{deleted:?}"
    );
    assert_eq!(deleted.len(), 2, "{deleted:?}");
    anklet.stop();
}

/// Newer versions of Anka give the room back some time after the deletion: nothing more is deleted meanwhile.
#[test]
fn room_that_shows_late_is_waited_for() {
    let world = world(GIB);
    world.anka.update(|state| {
        let templates = &mut state.registry_mut("default").templates;
        templates.iter_mut().for_each(|one| one.tags[0].size.image_size = 8 * GIB);
    });
    // The first look is true, the next two are still as before.
    let text = json!({"status": "OK", "body": {"size": 8 * GIB, "cached": 0, "available": GIB}}).to_string();
    world
        .anka
        .arm(&json!({"match": {"verb": "pull", "nth": 2}, "times": 2, "do": {"print": text, "exit": 0}}));
    let anklet = world.start(&config(&world, 1, "0"));
    let pulled = world.github.create_job(job(WANTED));
    assert_eq!(world.github.wait_completed(pulled, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    assert_eq!(deleted(&world).len(), 1, "{:?}", deleted(&world));
    assert_eq!(world.anka.calls("pull").len(), 4);
    world.assert_clean(&anklet);
    anklet.stop();
}
