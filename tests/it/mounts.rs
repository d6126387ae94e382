//! Folders of the host in the guest: mounted before anything runs there, and refused at the start where that cannot be.

use std::fs;

use serde_json::json;

use crate::support::{LIMIT, World};
use crate::worlds::in_worlds;

/// A world with two folders and a link to a third, and a config that mounts them.
fn world() -> (World, String) {
    let world = World::new();
    let home = world.home.path();
    for folder in ["cache", "tools", "real"] {
        fs::create_dir_all(home.join(folder)).unwrap();
        fs::write(home.join(folder).join("here"), folder).unwrap();
    }
    std::os::unix::fs::symlink(home.join("real"), home.join("link")).unwrap();
    let path = |name: &str| home.join(name).display().to_string();
    let mounts = format!(
        "host_to_guest_folder_mounts: [{}, {}, \"{}:t\"],",
        path("link"),
        path("cache"),
        path("tools")
    );
    let config = world.config(1).replace("plugin: github,", &format!("plugin: github, {mounts}"))
        + &format!("global_host_to_guest_folder_mounts: [{}]\n", path("cache"));
    (world, config)
}

#[test]
fn folders_are_mounted_in_order_and_once_before_anything_runs() {
    let (world, config) = world();
    let anklet = world.start(&config);
    let job = world.github.create_job(world.job().steps_ms(500));
    world.github.wait_in_progress(job, LIMIT);
    let vm = world.anka.running_vms().remove(0);
    let seen: Vec<_> =
        vm.mounts.iter().map(|mount| (mount.name.as_str(), mount.host_path.as_str())).collect();
    let real = |name: &str| world.home.path().join(name).canonicalize().unwrap().display().to_string();
    let [cache, linked, tools] = ["cache", "real", "tools"].map(real);
    assert_eq!(seen, [("cache", cache.as_str()), ("real", &linked), ("t", &tools)]);
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_messages("mounted host folder into guest vm", 3);
    let verbs: Vec<_> =
        world.anka.trace().into_iter().filter(|line| line.event == "start").map(|line| line.verb).collect();
    let at = |verb: &str| verbs.iter().position(|one| one == verb).unwrap();
    assert!(at("start") < at("mount") && at("mount") < at("cp") && at("mount") < at("run"), "{verbs:?}");
    anklet.wait_message("job completed");
    world.assert_clean(&anklet);
    anklet.stop();
}

#[test]
fn a_mount_that_fails_counts_once_a_host() {
    let (world, config) = world();
    world
        .anka
        .arm(&json!({"match": {"verb": "mount", "nth": 2}, "do": {"fail": {"code": 1, "message": "no"}}}));
    let anklet = world.start(&config);
    let job = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    let lines = anklet.lines();
    let attempts: Vec<_> = lines
        .iter()
        .filter(|line| line.message() == "queued job found")
        .map(|line| line.0["attempts"].as_u64().unwrap())
        .collect();
    assert_eq!(attempts, [0, 1]);
    world.assert_clean(&anklet);
    anklet.stop();
}

#[test]
fn old_versions_and_intel_macs_are_refused_at_the_start() {
    let cases = vec![("3.8.2", false, "this host has 3.8.2"), ("3.9.1", true, "Intel processor")];
    in_worlds(cases, |_, (version, intel, text)| {
        let (world, config) = world();
        world.anka.update(|state| {
            (*version).clone_into(&mut state.version);
            state.intel = *intel;
        });
        let mut anklet = world.spawn(&config);
        let (status, lines) = anklet.wait_end_and_lines();
        assert_eq!(status.code(), Some(1));
        let line = lines.iter().find(|line| line.message() == "unable to create anka cli").unwrap();
        let error = line.0["error"].as_str().unwrap();
        assert!(error.contains(text) && error.contains("HANDLER1"), "{error}");
    });
}
