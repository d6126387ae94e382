//! What a try leaves in its VM is kept before the VM is deleted: when it failed on our side, and always at the level DEBUG.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use fake_github::JobId;
use serde_json::json;

use crate::support::{LIMIT, World, bare};

/// The program at a level other than the tests' own.
fn at_level(level: &str) -> Command {
    let mut command = bare("/bin/sh");
    command.args(["-c", &format!("LOG_LEVEL={level} exec {} \"$@\"", env!("CARGO_BIN_EXE_anklet")), "sh"]);
    command
}

fn kept(world: &World, job: JobId, attempt: u32) -> PathBuf {
    world.home.path().join("diagnostics").join(format!("{job}-{attempt}"))
}

fn read(folder: &std::path::Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The runner is installed, registered and asked to start; that fails, and the next try does not.
#[test]
fn a_failed_try_is_kept_and_one_that_is_well_is_not() {
    let world = World::new();
    world
        .anka
        .arm(&json!({"match": {"verb": "run", "nth": 3}, "do": {"print": "no such service", "exit": 7}}));
    let anklet = world.start_with(&world.config(1), at_level("INFO"));
    let job = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    anklet.wait_message("kept what the try left in its VM");
    let failed = kept(&world, job, 0);
    assert!(read(&failed, "_diag/Runner_20260101-000000-utc.log").contains("configured"));
    assert!(read(&failed, "install-runner.log").contains("runner"));
    assert!(!read(&failed, "register-runner.log").is_empty());
    assert_eq!(read(&failed, "start-runner.log"), "no such service");
    assert!(read(&failed, "failure.txt").starts_with("start-runner ended with exit code 7"));
    assert!(!kept(&world, job, 1).exists(), "nothing failed there");
    world.assert_clean(&anklet);
    anklet.stop();
}

/// A script that shows its token, a log that never ends, and a guest that does not answer: none of it does harm.
#[test]
fn what_is_kept_is_masked_and_bounded_and_waits_for_nobody() {
    let world = World::new();
    // The guest's bash prints whatever standard input it got, which is the token.
    let own = world.home.path().join(".config/anklet/plugins/handlers/github");
    fs::create_dir_all(&own).unwrap();
    for (name, text) in [
        ("register-runner.bash", "#!/bin/bash\necho \"token is $2\"\nexit 3\n"),
        (
            "install-runner.bash",
            "#!/bin/bash\nmkdir -p actions-runner/_diag\nyes long | head -c 3000000 > actions-runner/_diag/a.log\n",
        ),
    ] {
        fs::write(own.join(name), text).unwrap();
        fs::set_permissions(own.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let config = world.config(1).replace("plugin: github,", "plugin: github, job_retry_attempts: 1,");
    let anklet = world.start_with(&config, at_level("INFO"));
    let job = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("cancelled"));
    for attempt in 0..=1 {
        let folder = kept(&world, job, attempt);
        assert_eq!(read(&folder, "register-runner.log").trim(), "token is ***");
        assert!((100_000..=140_000).contains(&read(&folder, "_diag/a.log").len()));
    }
    anklet.stop();

    let world = World::new();
    world.anka.arm(&json!({"match": {"verb": "run", "nth": 3}, "do": {"print": "no", "exit": 7}}));
    world.anka.arm(&json!({"match": {"verb": "run", "nth": 4}, "do": {"hang": true}}));
    let config = world.config(1).replace("limits: {", "limits: {diagnostics: 0.3, ");
    let anklet = world.start_with(&config, at_level("INFO"));
    let job = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    assert!(kept(&world, job, 0).join("failure.txt").exists(), "what is known without the guest");
    world.assert_clean(&anklet);
    anklet.stop();
}

#[test]
fn at_debug_every_try_is_kept() {
    let world = World::new();
    let anklet = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    let folder = kept(&world, job, 0);
    assert!(read(&folder, "_diag/Runner_20260101-000000-utc.log").contains("configured"));
    assert!(!folder.join("failure.txt").exists());
    anklet.stop();
}
