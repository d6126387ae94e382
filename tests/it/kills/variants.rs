//! Lives that differ: the template has to be pulled, folders are mounted, the runner comes with a configuration for one job.

use std::fs;

use fake_anka::Template;
use fake_github::JobSpec;
use serde_json::json;

use crate::kills::kill::{LIFE, Steps, commands_since, shape};
use crate::kills::row::{Row, in_rows};
use crate::kills::{LATE_MS, Queue};
use crate::support::{LIMIT, REPO, World};

/// What comes besides what comes in each life.
pub(super) const PULLED: Steps = Steps {
    // What `pull` says tells how much there is to load.
    commands: &[("registry list", 1), ("registry show", 1), ("pull", 1), ("registry pull", 1)],
    calls: &[],
};

pub(super) const MOUNTED: Steps = Steps { commands: &[("mount", 1)], calls: &[] };

pub(super) const JIT: Steps =
    Steps { commands: &[], calls: &[("POST", "/repos/acme/app/actions/runners/generate-jitconfig")] };

const ABSENT: &str = "7a1b2c3d-0000-4000-8000-00000000000f";

/// A kind of life.
struct Variant {
    name: &'static str,
    steps: &'static Steps,
    config: fn(&World) -> String,
    job: fn(&World) -> JobSpec,
}

const ALL: [Variant; 3] = [
    Variant {
        name: "template pulled",
        steps: &PULLED,
        config: |world| world.config(1),
        job: |world| {
            let template = Template::new(ABSENT, "absent", "v1").in_registry().cpu(4).ram_gib(8);
            world.anka.add(&template.runner("2.336.0"));
            JobSpec::new(REPO, &[&format!("anka-template:{ABSENT}"), "anka-template-tag:v1"])
        },
    },
    Variant {
        name: "folder mounted",
        steps: &MOUNTED,
        config: |world| {
            let folder = world.home.path().join("cache");
            fs::create_dir_all(&folder).unwrap();
            let mounts = format!("plugin: github, host_to_guest_folder_mounts: [{}],", folder.display());
            world.config(1).replace("plugin: github,", &mounts)
        },
        job: World::job,
    },
    Variant {
        name: "configuration for one job",
        steps: &JIT,
        config: |world| {
            // So long may a call last whose answer was lost, and so long an unlisted runner is waited for.
            let config = world.config(1).replace("limits: {", "limits: {github_retry_total: 3, ");
            config.replace("plugin: github,", "plugin: github, registration_mode: jit,")
        },
        job: World::job,
    },
];

/// What comes besides is what the table names.
fn names_every_step(row: &Row<'_>, variant: &Variant) {
    let world = row.world;
    let config = (variant.config)(world);
    let anklet = world.start(&config);
    let job = world.github.create_job((variant.job)(world));
    world.github.wait_completed(job, LIMIT);
    anklet.wait_message("job completed");
    anklet.stop();
    let mut seen = commands_since(world, 0);
    seen.retain(|verb| !LIFE.commands.iter().any(|(known, _)| known == verb));
    let named = variant.steps.commands.iter().flat_map(|(verb, n)| vec![(*verb).to_owned(); *n]);
    assert_eq!(seen, named.collect::<Vec<_>>());
    let mut seen: Vec<_> = world.github.requests().iter().map(shape).collect();
    seen.retain(|(method, path)| !LIFE.calls.contains(&(method, path)));
    let named = variant.steps.calls.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned()));
    assert_eq!(seen, named.collect::<Vec<_>>());
}

pub(super) fn killed(queue: Queue) {
    for variant in &ALL {
        in_rows(variant.name, queue, variant.steps.kills(), |row, kill| {
            let config = (variant.config)(row.world);
            let first = row.world.start(&config);
            kill.arm(row.world, first.pid());
            let job = row.world.github.create_job((variant.job)(row.world));
            row.killed(first);
            row.ends_well(&config, &[job]);
        });
    }
}

#[test]
fn the_matrix_names_every_command_and_call_of_other_lives() {
    in_rows("other lives", Queue::Embedded, vec![0, 1, 2], |row, n| names_every_step(row, &ALL[*n]));
}

#[test]
fn killed_at_the_steps_of_other_lives() {
    killed(Queue::Embedded);
}

/// The pull goes on when its process has died: until it has ended nothing else is pulled or cloned.
#[test]
fn a_late_pull_is_waited_for() {
    in_rows("late children", Queue::Embedded, vec![()], |row, ()| {
        let world = row.world;
        let how = json!({"kill_caller": "before", "delay_ms": LATE_MS});
        world.anka.arm(&json!({"match": {"verb": "registry pull"}, "do": how}));
        let first = world.start(&world.config(1));
        let job = world.github.create_job((ALL[0].job)(world));
        row.killed(first);
        // Its template is on disk, and it must wait all the same.
        let other = world.github.create_job(world.job_labelled("other").silent());
        let second = world.start(&world.config(1));
        world.github.send_job_event(other, "queued");
        row.sees_through(second, &[job, other], "success");
        let lines = world.anka.trace();
        let first_at = |event: &str, verb: &str| {
            let mut found = lines.iter().filter(|line| line.event == event && line.verb == verb);
            found.next().map(|line| line.at_ms).unwrap()
        };
        assert!(first_at("start", "clone") >= first_at("end", "registry pull"));
    });
}
