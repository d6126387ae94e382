//! Templates that are not on disk: pulled, missing, out of reach, half pulled, and pulled by somebody else at this moment.

use std::time::Duration;

use fake_anka::Template;
use fake_github::JobSpec;
use serde_json::json;

use crate::metrics::{get, port_of};
use crate::support::{Anklet, LIMIT, REPO, TEMPLATE, World};
use crate::worlds::in_worlds;

const OTHER: &str = "7a1b2c3d-0000-4000-8000-00000000000f";

/// A template of four processors whose runner is current, in no place yet.
fn template(uuid: &str, name: &str, tag: &str) -> Template {
    Template::new(uuid, name, tag).cpu(4).ram_gib(8).runner("2.336.0")
}

fn job(template: &str, tag: Option<&str>) -> JobSpec {
    let mut labels = vec![format!("anka-template:{template}")];
    labels.extend(tag.map(|tag| format!("anka-template-tag:{tag}")));
    JobSpec::new(REPO, &labels.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Registry commands and pulls so far, by verb.
fn verbs(world: &World) -> Vec<String> {
    let asked = world.anka.trace().into_iter().filter(|line| line.event == "start");
    asked.map(|line| line.verb).filter(|verb| verb.starts_with("registry") || verb == "pull").collect()
}

/// The attempts of each claim, in order.
fn claims(anklet: &Anklet) -> Vec<u64> {
    let lines = anklet.lines();
    let found = lines.iter().filter(|line| line.message() == "queued job found");
    found.map(|line| line.0["attempts"].as_u64().unwrap()).collect()
}

#[track_caller]
fn error_of(anklet: &Anklet, message: &str) -> String {
    anklet.line(message).0["error"].as_str().unwrap().to_owned()
}

fn succeeds(world: &World, anklet: &Anklet, job: fake_github::JobId) {
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    world.assert_clean(anklet);
    assert!(world.anka.corruptions().is_empty());
}

#[test]
fn a_template_on_disk_with_its_tag_costs_no_word_to_the_registry() {
    let world = World::new();
    world.anka.set_registry_reachable(false);
    let anklet = world.start(&world.config(1).replace("plugins:", "metrics: {port: 0}\nplugins:"));
    let job = world.github.create_job(world.job());
    succeeds(&world, &anklet, job);
    assert_eq!(verbs(&world), Vec::<String>::new());
    anklet.stop();
}

#[test]
fn what_is_in_the_registry_only_is_pulled_once_in_every_dialect() {
    in_worlds(vec!["3.0", "3.7", "3.9"], |world, shape| {
        world.anka.update(|state| (*shape).clone_into(&mut state.shape));
        world.anka.add(&template(OTHER, "sequoia", "v7").in_registry());
        let anklet = world.start(&world.config(1));
        for n_job in 1..=2 {
            let job = world.github.create_job(job(OTHER, Some("v7")));
            assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
            anklet.wait_messages("job completed", n_job);
        }
        world.assert_clean(&anklet);
        assert_eq!(verbs(world), ["registry list", "registry show", "pull", "registry pull"]);
        let pull = &world.anka.calls("registry pull")[0];
        assert_eq!(pull.argv, ["-j", "registry", "pull", "-t", "v7", OTHER]);
        assert!(pull.text("stdin").ends_with("pull.lock"), "the child holds the lock: {pull:?}");
        let size = &world.anka.calls("pull")[0];
        assert_eq!(size.argv, ["-j", "pull", OTHER, "--check-download-size", "-t", "v7"]);
        anklet.stop();
    });
}

#[test]
fn a_plugins_own_registry_is_asked() {
    let world = World::new();
    world.anka.add(&template(OTHER, "sequoia", "v7").in_registry_named("http://registry.example:8089"));
    let config = world
        .config(1)
        .replace("plugin: github,", "plugin: github, registry_url: \"http://registry.example:8089\",");
    let anklet = world.start(&config);
    let job = world.github.create_job(job(OTHER, None));
    succeeds(&world, &anklet, job);
    let pull = &world.anka.calls("registry pull")[0];
    assert_eq!(
        pull.argv,
        ["-j", "registry", "--remote", "http://registry.example:8089", "pull", "-t", "v7", OTHER]
    );
    let size = &world.anka.calls("pull")[0];
    let words = ["-j", "pull", OTHER, "--check-download-size", "-t", "v7", "http://registry.example:8089"];
    assert_eq!(size.argv, words);
    anklet.stop();
}

/// No tag means the registry's latest: pulled when it is not on disk, and only then.
#[test]
fn without_a_tag_the_latest_is_pulled() {
    let world = World::new();
    let anklet = world.start(&world.config(1));
    let first = world.github.create_job(job(TEMPLATE, None));
    assert_eq!(world.github.wait_completed(first, LIMIT).conclusion.as_deref(), Some("success"));
    assert!(world.anka.calls("registry pull").is_empty(), "v1 is on disk and the latest");
    world.anka.add(&template(TEMPLATE, "sonoma", "v2").in_registry());
    for n_job in 2..=3 {
        let next = world.github.create_job(job(TEMPLATE, None));
        assert_eq!(world.github.wait_completed(next, LIMIT).conclusion.as_deref(), Some("success"));
        anklet.wait_messages("job completed", n_job);
        assert_eq!(world.anka.calls("registry pull").len(), 1);
    }
    let clones = world.anka.calls("clone");
    let tags: Vec<_> = clones.iter().map(|call| call.argv[3].as_str()).collect();
    assert_eq!(tags, ["v1", "v2", "v2"]);
    world.assert_clean(&anklet);
    anklet.stop();
}

/// Anka 2 pushed it, so that the registry cannot show it: its size is known only after the pull.
#[test]
fn a_template_without_metadata_is_pulled_and_measured_on_disk() {
    let world = World::new();
    world.anka.add(&template(OTHER, "sequoia", "v7").in_registry().without_metadata());
    world.anka.add(&template("huge", "huge", "v1").cpu(64).in_registry().without_metadata());
    let anklet = world.start(&world.config(1));
    let huge = world.github.create_job(job("huge", Some("v1")));
    anklet.wait_message("host does not have enough resources to run vm");
    let fits = world.github.create_job(job(OTHER, Some("v7")));
    succeeds(&world, &anklet, fits);
    assert!(!world.github.job(huge).is_completed(), "it waits for a larger host");
    assert_eq!(world.anka.calls("clone").len(), 1);
    anklet.stop();
}

#[test]
fn what_the_registry_certainly_does_not_have_is_cancelled() {
    let cases = vec![
        ("7a1b2c3d-0000-4000-8000-000000000001", None, "sequoia (7a1b2c3d-0000-4000-8000-00000000000f)"),
        ("sequoja", Some("v7"), "sequoia"),
        (OTHER, Some("v8"), "the closest there: v7"),
        (TEMPLATE, Some("v9"), "the closest there: v1"),
    ];
    in_worlds(cases, |world, (uuid, tag, closest)| {
        world.anka.add(&template(OTHER, "sequoia", "v7").in_registry());
        let anklet = world.start(&world.config(1));
        let job = world.github.create_job(job(uuid, *tag));
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("cancelled"));
        let error = error_of(&anklet, "anka template or tag not found in registry; cancelling job");
        assert!(error.contains(closest), "{error}");
        anklet.wait_message("sent cancel workflow run");
        assert_eq!(world.github.requests_to("POST", "/repos/acme/app/actions/runs/*/cancel").len(), 1);
        assert!(world.anka.calls("clone").is_empty() && world.anka.calls("registry pull").is_empty());
        assert_eq!(claims(&anklet), [0]);
        anklet.wait_for("an empty queue", || world.is_queue_empty());
        world.assert_clean(&anklet);
        anklet.stop();
    });
}

/// "Could not ask" is never read as "does not exist": the job waits, and no try counts.
#[test]
fn a_registry_out_of_reach_cancels_nothing() {
    let cases = vec![
        json!({"fail": {"code": 1, "message": "failed to connect: Connection refused"}}),
        json!({"hang": true}),
    ];
    in_worlds(cases, |world, how| {
        world.anka.add(&template(OTHER, "sequoia", "v7").in_registry());
        world.anka.arm(&json!({"match": {"verb": "registry list"}, "times": 2, "do": how}));
        let config =
            world.config(1).replace("limits: {", "limits: {host_avoid_most: 0.2, job_hold_most: 0.2, ");
        let anklet = world.start(&(config + "anka_timeouts: {list: 0.5}\n"));
        let job = world.github.create_job(job(OTHER, Some("v7")));
        succeeds(world, &anklet, job);
        let error = error_of(&anklet, "problem ensuring vm template exists on host");
        assert!(error.contains("the registry cannot be asked"), "{error}");
        assert_eq!(claims(&anklet), [0, 0, 0]);
        assert!(world.github.requests_to("POST", "/repos/acme/app/actions/runs/*/cancel").is_empty());
        anklet.stop();
    });
}

/// What a list does not name, or names in words of another version, is pulled if the registry shows it; no run is cancelled for a list.
#[test]
fn what_the_registry_shows_is_there_whatever_it_lists() {
    let cases = vec![
        json!({"print": "{\"status\":\"OK\",\"body\":[]}", "exit": 0}),
        json!({"print": "{\"status\":\"OK\",\"body\":[{\"uuid\":\"7a1b\",\"name\":\"another\"}]}", "exit": 0}),
        json!({"print": "{\"status\":\"OK\",\"body\":[\"sequoia\"]}", "exit": 0}),
        json!({"print": "{\"status\":\"OK\",\"body\":{\"templates\":[]}}", "exit": 0}),
        json!({"print": "{\"status\":\"OK\",\"bo", "exit": 0}),
        json!({"print": "", "exit": 0}),
    ];
    in_worlds(cases, |world, how| {
        world.anka.add(&template(OTHER, "sequoia", "v7").in_registry());
        world.anka.arm(&json!({"match": {"verb": "registry list"}, "times": 9, "do": how}));
        let anklet = world.start(&world.config(1));
        for (n_job, tag) in [(1, Some("v7")), (2, None)] {
            let job = world.github.create_job(job(OTHER, tag));
            assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
            anklet.wait_messages("job completed", n_job);
        }
        assert_eq!(claims(&anklet), [0, 0]);
        assert!(world.github.requests_to("POST", "/repos/acme/app/actions/runs/*/cancel").is_empty());
        world.assert_clean(&anklet);
        anklet.stop();
    });
}

/// A version that does not know the question what a pull takes can pull all the same.
#[test]
fn a_pull_whose_size_nobody_tells_is_tried() {
    let cases = vec![
        json!({"fail": {"code": 2, "message": "No such command 'pull'."}}),
        json!({"print": "{\"status\":\"OK\",\"body\":{\"bytes\":7}}", "exit": 0}),
    ];
    in_worlds(cases, |world, how| {
        world.anka.add(&template(OTHER, "sequoia", "v7").in_registry());
        world.anka.arm(&json!({"match": {"verb": "pull"}, "times": 9, "do": how}));
        let anklet = world.start(&world.config(1));
        let job = world.github.create_job(job(OTHER, Some("v7")));
        succeeds(world, &anklet, job);
        assert_eq!(claims(&anklet), [0]);
        anklet.wait_message("what a pull would take is not known; it is tried without making room");
        anklet.stop();
    });
}

#[test]
fn without_the_registry_a_job_without_a_tag_gets_what_is_on_disk() {
    in_worlds(vec![true, false], |world, skip_pull| {
        let mut config = world.config(1);
        if *skip_pull {
            world.anka.add(&template(TEMPLATE, "sonoma", "v2").in_registry());
            config = config.replace("plugin: github,", "plugin: github, skip_pull: true,");
        } else {
            world.anka.set_registry_reachable(false);
        }
        let anklet = world.start(&config);
        let job = world.github.create_job(job(TEMPLATE, None));
        succeeds(world, &anklet, job);
        anklet.wait_message("the template is taken as it is on disk; the registry may have a newer one");
        assert!(world.anka.calls("registry pull").is_empty());
        anklet.stop();
    });
}

#[test]
fn with_skip_pull_what_is_not_on_disk_waits_for_another_host() {
    let world = World::new();
    world.anka.add(&template(OTHER, "sequoia", "v7").in_registry());
    let anklet = world.start(&world.config(1).replace("plugin: github,", "plugin: github, skip_pull: true,"));
    let waits = world.github.create_job(job(OTHER, Some("v7")));
    anklet.wait_messages("problem ensuring vm template exists on host", 2);
    let fits = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(fits, LIMIT).conclusion.as_deref(), Some("success"));
    assert!(!world.github.job(waits).is_completed());
    assert!(claims(&anklet).iter().all(|attempts| *attempts == 0));
    assert_eq!(verbs(&world), Vec::<String>::new());
    anklet.stop();
}

#[test]
fn a_pull_that_fails_is_tried_again_and_counts_for_nothing() {
    let cases = vec![
        json!({"half_then_fail": true}),
        json!({"fail": {"code": 3, "message": "sequoia: not found"}}),
        json!({"print": "", "exit": 0}),
        json!({"hang": true, "ignore_term": true}),
    ];
    in_worlds(cases, |world, how| {
        world.anka.add(&template(OTHER, "sequoia", "v7").in_registry());
        world.anka.arm(&json!({"match": {"verb": "registry pull"}, "do": how}));
        let anklet = world.start(&(world.config(1) + "anka_timeouts: {pull: 1}\n"));
        let job = world.github.create_job(job(OTHER, Some("v7")));
        succeeds(world, &anklet, job);
        anklet.wait_message("problem ensuring vm template exists on host");
        assert_eq!(claims(&anklet), [0, 0]);
        assert_eq!(world.anka.calls("registry pull").len(), 2);
        anklet.stop();
    });
}

/// While one handler pulls, a job of another that is on disk waits, open to other hosts; it clones right after.
#[test]
fn no_clone_during_a_pull_and_one_right_after() {
    let world = World::new();
    world.anka.add(&template(OTHER, "sequoia", "v7").in_registry());
    world.anka.set_delay("registry pull", Duration::from_millis(2_500));
    let config = world.config(2).replace("limits: {", "limits: {idle_look: 60, command_report: 0.5, ");
    let anklet = world.start(&config);
    let pulled = world.github.create_job(job(OTHER, Some("v7")));
    assert!(world.anka.wait_for(LIMIT, |lines| lines.iter().any(|line| line.verb == "registry pull")));
    let same = world.github.create_job(world.job());
    anklet.wait_message("another pull runs on this host; waiting for its end");
    anklet.wait_message("pushed job to paused queue");
    anklet.wait_message("execution of command registry pull is still in progress...");
    for job in [pulled, same] {
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    }
    anklet.wait_messages("job completed", 2);
    world.assert_clean(&anklet);
    assert!(world.anka.corruptions().is_empty());
    let trace = world.anka.trace();
    let at = |event: &str, verb: &str| {
        let found = trace.iter().filter(|line| line.event == event && line.verb == verb);
        found.map(|line| line.at_ms).collect::<Vec<_>>()
    };
    let pull_ended_at = at("end", "registry pull")[0];
    for cloned_at in at("start", "clone") {
        // The clone of the paused job may meet the lock once more; it never ran beside the pull.
        assert!(cloned_at >= pull_ended_at - 50.0 && cloned_at <= pull_ended_at + 1_000.0, "{trace:?}");
    }
    anklet.stop();
}

#[test]
fn two_jobs_of_one_missing_template_share_one_pull() {
    let world = World::new();
    world.anka.add(&template(OTHER, "sequoia", "v7").in_registry());
    world.anka.set_delay("registry pull", Duration::from_millis(800));
    let anklet = world.start(&world.config(2));
    let jobs = [(); 2].map(|()| world.github.create_job(job(OTHER, None)));
    for job in jobs {
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    }
    anklet.wait_messages("job completed", 2);
    world.assert_clean(&anklet);
    assert!(world.anka.corruptions().is_empty());
    assert_eq!(world.anka.calls("registry pull").len(), 1);
    anklet.stop();
}

/// The pull outlives a killed daemon, and with it the lock: the next start neither pulls nor clones until it has ended.
#[test]
fn a_pull_that_outlives_us_is_waited_for() {
    let world = World::new();
    world.anka.add(&template(OTHER, "sequoia", "v7").in_registry());
    world.anka.arm(&json!({"match": {"verb": "registry pull"}, "do": {"delay_ms": 3_000}}));
    let anklet = world.start(&world.config(1));
    let pulled = world.github.create_job(job(OTHER, Some("v7")));
    assert!(world.anka.wait_for(LIMIT, |lines| lines.iter().any(|line| line.verb == "registry pull")));
    anklet.kill();
    let anklet = world.start(&world.config(2));
    let on_disk = world.github.create_job(world.job());
    anklet.wait_message("another pull runs on this host; waiting for its end");
    for job in [pulled, on_disk] {
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    }
    anklet.wait_messages("job completed", 2);
    world.assert_clean(&anklet);
    assert!(world.anka.corruptions().is_empty());
    assert_eq!(world.anka.calls("registry pull").len(), 1, "no second pull");
    anklet.stop();
}

/// A stop ends the pull; the job goes back without a try.
#[test]
fn a_stop_ends_a_pull() {
    let world = World::new();
    world.anka.add(&template(OTHER, "sequoia", "v7").in_registry());
    world.anka.arm(&json!({"match": {"verb": "registry pull"}, "do": {"delay_ms": 60_000}}));
    let anklet = world.start(&world.config(1));
    let pulled = world.github.create_job(job(OTHER, Some("v7")));
    assert!(world.anka.wait_for(LIMIT, |lines| lines.iter().any(|line| line.verb == "registry pull")));
    let port = port_of(&anklet);
    anklet.wait_for("the status", || {
        get(port, "/metrics/v1?format=prometheus")
            .1
            .contains("plugin_status{name=HANDLER1,plugin=github,owner=acme,repo=app} pulling")
    });
    anklet.stop();
    let anklet = world.start(&world.config(1));
    succeeds(&world, &anklet, pulled);
    assert_eq!(claims(&anklet), [0]);
    assert_eq!(world.anka.calls("registry pull").len(), 2);
    anklet.stop();
}

/// Two handlers of one queue with a registry each: what the one does not have, the other may.
#[test]
fn another_handlers_registry_is_asked_before_a_run_is_cancelled() {
    let world = World::new();
    world.anka.add(&template(OTHER, "sequoia", "v7").in_registry_named("http://second:8089"));
    let config = world.config(2).replace(
        "name: HANDLER2, plugin: github,",
        "name: HANDLER2, plugin: github, registry_url: \"http://second:8089\",",
    );
    let anklet = world.start(&config);
    for n_job in 1..=2 {
        let there = world.github.create_job(job(OTHER, None));
        assert_eq!(world.github.wait_completed(there, LIMIT).conclusion.as_deref(), Some("success"));
        anklet.wait_messages("job completed", n_job);
    }
    let nowhere = world.github.create_job(job("9".repeat(36).as_str(), None));
    assert_eq!(world.github.wait_completed(nowhere, LIMIT).conclusion.as_deref(), Some("cancelled"));
    anklet.wait_message("anka template or tag not found in registry; cancelling job");
    anklet.stop();
}
