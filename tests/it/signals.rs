//! Stopping: what SIGTERM, SIGINT, SIGQUIT, SIGHUP and the drain file leave behind at each stage of a job.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::thread::Builder;
use std::time::{Duration, Instant};

use fake_github::Rule;
use serde_json::{Value, json};

use crate::queue;
use crate::stages::{ALL, Stage};
use crate::support::{Anklet, LIMIT, REPO, World, bare};

/// Less than any wait that it could be instead, and room for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(8);
/// A stop where `anka` and GitHub answer: five seconds are promised, the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(10);
/// A stop where they hang: the fifteen seconds that undoing may take, and as above.
const LATE: Duration = Duration::from_secs(20);

/// Tries every stage at once, each in a world of its own, since what is tested is mostly waiting.
fn at_each(stages: impl IntoIterator<Item = Stage>, check: impl Fn(Stage) + Sync) {
    std::thread::scope(|scope| {
        let check = &check;
        let threads = stages.into_iter().map(|stage| {
            let thread = Builder::new().name(format!("{stage:?}")).spawn_scoped(scope, move || check(stage));
            (stage, thread.unwrap())
        });
        let threads: Vec<_> = threads.collect();
        let failed: Vec<_> = threads
            .into_iter()
            .filter_map(|(stage, thread)| thread.join().is_err().then_some(stage))
            .collect();
        assert!(failed.is_empty(), "failed at {failed:?}");
    });
}

/// Sends the signal and waits for an end with 0 within the limit.
#[track_caller]
fn end_by(mut anklet: Anklet, signal: &str, limit: Duration) {
    let asked_at = Instant::now();
    anklet.signal(signal);
    let (status, lines) = anklet.wait_end_and_lines();
    let took = asked_at.elapsed();
    let said = || lines.iter().map(|line| line.0.to_string()).collect::<Vec<_>>().join("\n");
    assert_eq!(status.code(), Some(0), "{}", said());
    assert!(took < limit, "{took:?} after {signal}:\n{}", said());
}

/// Nothing hangs any more; the program starts again, the job succeeds, has run once, and nothing is left.
#[track_caller]
fn resume(world: &World, job: Option<u64>) {
    world.anka.plan(&json!([]));
    world.github.hold_assignment(false);
    let second = world.start(&world.config(1));
    if let Some(job) = job {
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
        let ran = world.github.registrations().into_iter().filter(|one| one.jobs.contains(&job)).count();
        assert_eq!(ran, 1, "runners that were given the job");
    }
    world.assert_clean(&second);
    second.wait_for("an empty queue", || queue::jobs(world).is_empty() && queue::vms(world).is_empty());
    second.stop();
}

/// What design asks for where `anka` and GitHub answer: nothing but a running VM stays, and the job is in the queue, uncounted.
#[track_caller]
fn stop_where_all_answer(stage: Stage, signal: &str, how: &Value) {
    let world = World::new();
    let (anklet, job) = stage.reach(&world, &world.config(1), how);
    end_by(anklet, signal, SOON);
    let spot = job.and_then(|job| queue::spot(&world, job));
    if stage == Stage::Running {
        assert_eq!(world.vms_made_by_us().len(), 1, "the VM of the running job stays");
        assert_eq!(spot.as_deref(), Some("running"));
    } else {
        assert_eq!(world.vms_made_by_us(), Vec::<String>::new());
        assert!(world.github.runners(REPO).is_empty());
    }
    if stage.is_before_start() {
        assert_eq!(spot.as_deref(), Some("queued"));
        assert_eq!(job.map(|job| queue::attempts(&world, job)), Some(0), "a stop does not count");
    }
    resume(&world, job);
}

#[test]
fn term_at_each_stage_undoes_what_github_has_not_started() {
    // A deletion in hand comes to its end, as a real one does; everything else hangs until it is cut.
    let how = |stage| match stage {
        Stage::Deleting => json!({"delay_ms": 600}),
        _ => json!({"hang": true}),
    };
    at_each(ALL, |stage| stop_where_all_answer(stage, "TERM", &how(stage)));
}

#[test]
fn int_is_as_term_and_so_is_a_command_that_had_its_effect() {
    let how = |stage| match stage {
        Stage::Deleting => json!({"delay_ms": 600}),
        _ => json!({"hang": "after"}),
    };
    at_each(ALL, |stage| stop_where_all_answer(stage, "INT", &how(stage)));
}

/// `anka delete` hangs and does not even hear TERM: the process ends in time, and the next start removes the VM.
#[test]
fn term_while_deletions_hang_ends_in_time() {
    let stages = ALL.into_iter().filter(|stage| stage.has_vm() && *stage != Stage::Running);
    at_each(stages, |stage| {
        let world = World::new();
        let hang = json!({"hang": true, "ignore_term": true});
        let delete = json!({"match": {"verb": "delete"}, "times": -1, "do": hang});
        let (anklet, job) =
            stage.reach(&world, &world.config(1), &json!({"hang": true, "ignore_term": true}));
        world.anka.arm(&delete);
        end_by(anklet, "TERM", LATE);
        if stage.is_before_start() {
            let job = job.unwrap();
            assert_eq!(queue::spot(&world, job).as_deref(), Some("queued"), "no runner can take it");
            assert_eq!(queue::attempts(&world, job), 0);
        }
        if !world.vms_made_by_us().is_empty() {
            assert_eq!(queue::vms(&world).len(), 1, "the VM stays recorded");
        }
        resume(&world, job);
    });
}

/// GitHub answers nothing from the signal on: no VM is deleted whose runner GitHub may still give a job to.
#[test]
fn term_while_github_hangs_ends_in_time() {
    at_each(ALL, |stage| {
        let world = World::new();
        let config = world.config(1).replace("limits: {", "limits: {undo: 6, ");
        let (anklet, job) = stage.reach(&world, &config, &json!({"hang": true}));
        let silence = world.github.rule(Rule::on("*", "**").always().hang());
        end_by(anklet, "TERM", Duration::from_secs(12));
        if matches!(stage, Stage::StartRunner | Stage::Waiting | Stage::Running) {
            assert_eq!(world.vms_made_by_us().len(), 1, "the runner may be given a job");
            assert_eq!(queue::vms(&world).len(), 1, "the VM stays recorded");
        }
        world.github.remove_rule(silence);
        resume(&world, job);
    });
}

/// Before the plugins run there is nothing to undo, whatever the start waits for.
#[test]
fn a_stop_while_starting_ends_at_once() {
    for signal in ["TERM", "INT", "QUIT"] {
        let world = World::new();
        world.anka.arm(&json!({"match": {"verb": "version"}, "do": {"hang": true}}));
        let anklet = world.spawn(&world.config(1));
        anklet.wait_for("the look at anka", || !world.anka.calls("version").is_empty());
        end_by(anklet, signal, SOON);
    }
}

#[test]
fn a_second_signal_ends_with_1_at_once() {
    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("INT", "TERM"), ("TERM", "INT")] {
        let world = World::new();
        let hang = json!({"hang": true, "ignore_term": true});
        world.anka.arm(&json!({"match": {"verb": "delete"}, "times": -1, "do": hang}));
        let (mut anklet, job) = Stage::Waiting.reach(&world, &world.config(1), &json!({}));
        anklet.signal(first);
        anklet.wait_for("the deletion", || !world.anka.calls("delete").is_empty());
        let asked_at = Instant::now();
        anklet.signal(second);
        assert_eq!(anklet.wait_end_and_lines().0.code(), Some(1));
        assert!(asked_at.elapsed() < AT_ONCE, "{:?}", asked_at.elapsed());
        resume(&world, job);
    }
}

#[test]
fn a_second_signal_while_starting_ends_with_1_at_once() {
    let world = World::new();
    let (anka, deaf) = (world.home.path().join("bin/anka"), world.home.path().join("deaf"));
    fs::remove_file(&anka).unwrap();
    let script = format!("#!/bin/sh\ntrap '' TERM\n: >{}\nexec sleep 40\n", deaf.display());
    fs::write(&anka, script).unwrap();
    fs::set_permissions(&anka, fs::Permissions::from_mode(0o755)).unwrap();
    let mut anklet = world.spawn(&world.config(1).replace("command_grace: 1", "command_grace: 20"));
    anklet.wait_for("an anka that does not hear TERM", || deaf.exists());
    anklet.signal("TERM");
    anklet.wait_message("best effort graceful shutdown, interrupting the job as soon as possible...");
    let asked_at = Instant::now();
    anklet.signal("TERM");
    assert_eq!(anklet.wait_end_and_lines().0.code(), Some(1));
    assert!(asked_at.elapsed() < AT_ONCE, "{:?}", asked_at.elapsed());
}

/// SIGQUIT at each stage: the job in hand goes on to its end, and nothing new is taken.
#[test]
fn quit_at_each_stage_finishes_the_job_in_hand() {
    at_each(ALL, |stage| {
        let world = World::new();
        // Long enough for the signal and the next webhook to arrive meanwhile.
        let (mut anklet, job) = stage.reach(&world, &world.config(1), &json!({"hang": true, "ms": 1_500}));
        anklet.signal("QUIT");
        if let Some(job) = job {
            anklet.wait_message("graceful shutdown, waiting for jobs to finish...");
            let waiting = world.github.create_job(world.job_labelled("waiting"));
            anklet.wait_messages("job pushed to queued queue", 2);
            world.github.hold_assignment(false);
            let (status, lines) = anklet.wait_end_and_lines();
            assert_eq!(status.code(), Some(0));
            assert!(lines.iter().any(|line| line.message() == "job completed"));
            assert_eq!(world.github.job(job).conclusion.as_deref(), Some("success"));
            assert!(!world.github.job(waiting).is_completed());
            assert_eq!(queue::spot(&world, waiting).as_deref(), Some("queued"));
            assert_eq!(queue::jobs(&world).len(), 1);
            assert!(queue::vms(&world).is_empty() && world.vms_made_by_us().is_empty());
            assert!(world.github.runners(REPO).is_empty());
            resume(&world, Some(waiting));
        } else {
            assert_eq!(anklet.wait_end_and_lines().0.code(), Some(0));
        }
    });
}

/// Whoever has no patience after SIGQUIT says TERM: that is a first one, not a second.
#[test]
fn term_after_quit_leaves_the_running_job_to_the_next_start() {
    let world = World::new();
    let (anklet, job) = Stage::Running.reach(&world, &world.config(1), &json!({}));
    anklet.signal("QUIT");
    anklet.wait_message("graceful shutdown, waiting for jobs to finish...");
    end_by(anklet, "TERM", SOON);
    assert_eq!(world.vms_made_by_us().len(), 1, "the VM of the running job stays");
    resume(&world, job);
}

/// What stays is the queue, whole in its one file, and who the host is.
#[test]
fn a_stopped_process_leaves_only_what_the_next_start_needs() {
    let world = World::new();
    let anklet = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    world.assert_clean(&anklet);
    let folder = world.home.config().parent().unwrap().to_owned();
    let names = |folder: &Path| -> BTreeSet<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names(&folder.join("wake")).len(), 1, "the process listens");
    end_by(anklet, "TERM", SOON);
    assert_eq!(names(&folder.join("wake")), BTreeSet::new());
    let of_open_queue = |name: &&String| name.ends_with("-wal") || name.ends_with("-shm");
    assert_eq!(names(&folder).iter().find(of_open_queue), None);
}

/// A logout sends HUP. What `nohup` started ignores it and goes on; alone, the process ends by it as any other.
#[test]
fn hup_does_not_stop_what_nohup_started() {
    let world = World::new();
    let mut command = bare("nohup");
    command.arg(env!("CARGO_BIN_EXE_anklet"));
    let anklet = world.start_with(&world.config(1), command);
    let job = world.github.create_job(world.job().steps_ms(500));
    anklet.wait_message("job found registered runner and is now in progress");
    anklet.signal("HUP");
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    anklet.signal("HUP");
    let another = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(another, LIMIT).conclusion.as_deref(), Some("success"));
    world.assert_clean(&anklet);
    anklet.stop();

    let mut alone = world.start(&world.config(1));
    alone.signal("HUP");
    assert_eq!(alone.wait_end_and_lines().0.signal(), Some(1), "HUP is not taken over");
}

/// The drain file is SIGQUIT without an end: the job in hand goes on, new ones wait until the file is removed.
#[test]
fn the_drain_file_keeps_jobs_waiting_until_it_goes() {
    let world = World::new();
    let drain = world.home.path().join(".config/anklet/.drain");
    let config = world.config(1).replace("limits: {", "limits: {idle_look: 0.2, ");
    let (anklet, running) = Stage::Running.reach(&world, &config, &json!({}));
    fs::write(&drain, "").unwrap();
    let waiting = world.github.create_job(world.job_labelled("waiting"));
    anklet.wait_messages("job pushed to queued queue", 2);
    let running = world.github.wait_completed(running.unwrap(), LIMIT);
    assert_eq!(running.conclusion.as_deref(), Some("success"));
    anklet.wait_message("drain file present; not picking up new jobs");
    assert_eq!(world.anka.calls("clone").len(), 1);
    assert_eq!(queue::spot(&world, waiting).as_deref(), Some("queued"));
    fs::remove_file(&drain).unwrap();
    assert_eq!(world.github.wait_completed(waiting, LIMIT).conclusion.as_deref(), Some("success"));
    world.assert_clean(&anklet);
    anklet.stop();
}
