//! Labels, template, admission, pull: all that comes before a VM.

use std::fs;
use std::time::Duration;

use fake_anka::{Size, Template};
use serde_json::json;

use crate::support::{LIMIT, REPO, TEMPLATE, World};

use super::{ASK, CANCEL, Row, check, job};

const OTHER: &str = "7a1b2c3d-0000-4000-8000-00000000000f";
const NO_LABEL: &str = "anka-template label missing from workflow job; cancelling job";
const NOT_THERE: &str = "anka template or tag not found in registry; cancelling job";
const NOT_READY: &str = "problem ensuring vm template exists on host";
const NO_ROOM: &str = "host does not have enough resources to run vm";

fn other() -> Template {
    Template::new(OTHER, "sequoia", "v7").cpu(4).ram_gib(8).runner("2.336.0")
}

fn other_job(_: &World) -> fake_github::JobSpec {
    job(&[&format!("anka-template:{OTHER}"), "anka-template-tag:v7"])
}

fn gib(n: u64) -> u64 {
    n << 30
}

#[test]
fn labels() {
    let row = |name| Row {
        says: &[NO_LABEL, "sent cancel workflow run"],
        anka: &[("list", 0), ("clone", 0)],
        github: &[(CANCEL, 1), (ASK, 0)],
        ..Row::cancelled(name)
    };
    check(&[
        Row { job: |_| job(&["anka-template:", "x"]), ..row("no template") },
        Row { job: |_| job(&["anka-template:-x"]), ..row("a template like an option") },
        Row { job: |_| job(&["anka-template:a\u{7}"]), ..row("a template with control characters") },
        Row {
            job: |_| job(&[&format!("anka-template:{TEMPLATE}"), "anka-template-tag:-t"]),
            ..row("a tag like an option")
        },
        Row {
            job: |_| job(&[&format!("anka-template:{TEMPLATE}"), "anka-template-tag:a\nb"]),
            ..row("a tag with a newline")
        },
        Row { job: |_| job(&[&format!("anka-template:{TEMPLATE}"), "a,b"]), ..row("a label with a comma") },
    ]);
}

#[test]
fn size_of_the_template() {
    let not_there = |name| Row { says: &[NOT_THERE, "sent cancel workflow run"], ..Row::cancelled(name) };
    let not_ready = |name| Row { says: &[NOT_READY, "job given back"], ..Row::held(name, 0) };
    check(&[
        Row {
            job: |_| job(&["anka-template:99999999-0000-4000-8000-000000000000"]),
            anka: &[("registry list", 1), ("registry pull", 0), ("clone", 0)],
            ..not_there("the registry does not list it")
        },
        Row {
            job: |_| job(&[&format!("anka-template:{TEMPLATE}"), "anka-template-tag:v9"]),
            anka: &[("registry list", 1), ("registry show", 2), ("registry pull", 0), ("clone", 0)],
            ..not_there("the registry shows it without the tag only")
        },
        Row {
            config: |config| {
                config
                    + "  - {name: HANDLER2, plugin: github, owner: acme, repo: app, registry_url: \"http://away:8089\"}\n"
            },
            arm: |world| {
                world.anka.update(|state| state.registry_mut("http://away:8089").reachable = false);
            },
            job: other_job,
            anka: &[("registry pull", 0), ("clone", 0)],
            ..not_ready("another registry may have it")
        },
        Row {
            arm: |world| world.anka.set_registry_reachable(false),
            anka: &[("registry list", 0), ("clone", 1), ("delete", 1)],
            says: &["job completed"],
            ..Row::named("registry out of reach, on disk with that tag")
        },
        Row {
            arm: |world| world.anka.set_registry_reachable(false),
            job: |_| job(&[&format!("anka-template:{TEMPLATE}")]),
            anka: &[("registry list", 1), ("registry pull", 0), ("clone", 1)],
            says: &[
                "the template is taken as it is on disk; the registry may have a newer one",
                "job completed",
            ],
            ..Row::named("registry out of reach, no tag asked")
        },
        Row {
            arm: |world| world.anka.set_registry_reachable(false),
            job: other_job,
            anka: &[("registry list", 1), ("registry pull", 0), ("clone", 0)],
            ..not_ready("registry out of reach, not on disk")
        },
        Row {
            arm: |world| world.anka.add(&other().in_registry()),
            config: |config| config.replace("plugin: github,", "plugin: github, skip_pull: true,"),
            job: other_job,
            anka: &[("registry list", 0), ("registry pull", 0), ("clone", 0)],
            ..not_ready("skip_pull, not on disk")
        },
        Row {
            arm: |world| world.anka.add(&other().in_registry().without_metadata()),
            job: other_job,
            anka: &[("registry pull", 1), ("clone", 1), ("delete", 1)],
            says: &["the template is pulled", "job completed"],
            ..Row::named("size not told")
        },
    ]);
}

#[test]
fn admission() {
    let untouched = &[("clone", 0), ("registry pull", 0)];
    check(&[
        Row {
            arm: |world| world.anka.add(&other().cpu(64).on_disk()),
            job: other_job,
            place: "queued",
            says: &[NO_ROOM, "job given back"],
            anka: untouched,
            ..Row::held("larger than the whole host", 0)
        },
        Row {
            arm: |world| world.anka.add(&other().cpu(10).on_disk()),
            config: |config| {
                (config + "  - {name: HANDLER2, plugin: github, owner: acme, repo: app}\n")
                    .replace("limits: {", "limits: {passed_over: 0.001, idle_look: 0.2, ")
            },
            job: |world| {
                // It takes 4 of the host's 12 processors.
                let first = world.github.create_job(world.job().steps_ms(20_000));
                world.github.wait_in_progress(first, LIMIT);
                other_job(world)
            },
            place: "paused",
            attempts: 1,
            says: &[
                NO_ROOM,
                "pushed job to paused queue",
                "cannot run vm yet, waiting for enough resources to be available...",
            ],
            anka: &[("clone", 1)],
            ..Row::held("does not fit beside what we run", 0)
        },
        Row {
            arm: |world| {
                world.anka.add(&other().cpu(10).on_disk());
                world.anka.foreign_vm("theirs", Size { cpu_cores: 4, ram_size: gib(8), ..Size::default() });
            },
            job: other_job,
            place: "queued",
            says: &[NO_ROOM, "job given back"],
            anka: untouched,
            ..Row::held("does not fit beside VMs not ours", 0)
        },
        Row {
            arm: |world| {
                for name in ["one", "two"] {
                    world.anka.foreign_vm(name, Size { cpu_cores: 1, ram_size: gib(1), ..Size::default() });
                }
            },
            place: "queued",
            says: &[
                "job given back",
                "more than 2 VMs are running; unable to run more than 2 at a time due to Apple SLA",
                "host does not have vm capacity",
            ],
            anka: untouched,
            ..Row::held("two VMs run already", 0)
        },
        Row {
            arm: |world| fs::write(world.home.path().join(".config/anklet/.drain"), "").unwrap(),
            place: "queued",
            says: &["job pushed to queued queue", "drain file present; not picking up new jobs"],
            anka: &[("list", 0), ("clone", 0)],
            ..Row::held("drain", 0)
        },
    ]);
}

#[test]
fn pull() {
    check(&[
        Row {
            arm: |world| {
                world.anka.add(&other().in_registry());
                world.anka.set_delay("registry pull", Duration::from_secs(20));
            },
            config: |config| config + "  - {name: HANDLER2, plugin: github, owner: acme, repo: app}\n",
            job: |world| {
                world.github.create_job(other_job(world));
                assert!(
                    world.anka.wait_for(LIMIT, |lines| lines.iter().any(|line| line.verb == "registry pull"))
                );
                world.job()
            },
            place: "paused",
            attempts: 1,
            says: &["another pull runs on this host; waiting for its end", "pushed job to paused queue"],
            anka: &[("registry pull", 1), ("clone", 0)],
            ..Row::held("another pull runs on this host", 0)
        },
        Row {
            arm: |world| {
                world.anka.add(&other().in_registry());
                world.anka.update(|state| {
                    state.disk_free = 1;
                    let templates = &mut state.registry_mut("default").templates;
                    templates.iter_mut().for_each(|one| one.tags[0].size.image_size = gib(500));
                });
            },
            job: other_job,
            says: &["insufficient space on host", "job given back"],
            anka: &[("registry pull", 0), ("clone", 0), ("delete", 0)],
            ..Row::held("too little disk even after deletion", 0)
        },
        Row {
            arm: |world| {
                world.anka.add(&other().in_registry());
                world.anka.arm(&json!({"match": {"verb": "registry pull"}, "do": {"half_then_fail": true}}));
            },
            job: other_job,
            says: &["problem ensuring vm template exists on host", "job given back"],
            anka: &[("registry pull", 1), ("clone", 0)],
            ..Row::held("pull failed", 0)
        },
        Row {
            arm: |world| {
                world.anka.add(&other().in_registry());
                let how = json!({"fail": {"code": 3, "message": "sequoia: not found"}});
                world.anka.arm(&json!({"match": {"verb": "registry pull"}, "do": how}));
            },
            job: |_| {
                fake_github::JobSpec::new(REPO, &[&format!("anka-template:{OTHER}"), "anka-template-tag:v7"])
            },
            says: &["problem ensuring vm template exists on host", "job given back"],
            anka: &[("registry pull", 1), ("clone", 0)],
            ..Row::held("pull failed with words that others use for missing ones", 0)
        },
    ]);
}
