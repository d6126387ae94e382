//! The main job: from a webhook to an ended job with nothing left, and the ways off the straight road.

use fake_github::JobSpec;
use serde_json::json;

use crate::support::{LIMIT, REPO, TEMPLATE, World};

#[test]
fn a_job_runs_from_webhook_to_clean_end() {
    let world = World::new();
    let anklet = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    let ended = world.github.wait_completed(job, LIMIT);
    assert_eq!(ended.conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    world.assert_clean(&anklet);
    assert_eq!(world.github.registrations_for(job).len(), 1);
    anklet.stop();
}

/// One job succeeds, one is cancelled while it waits, one needs a second VM.
#[test]
fn three_jobs_end_as_they_should() {
    let world = World::new();
    let anklet = world.start(&world.config(1));
    let good = world.github.create_job(world.job_labelled("good").steps_ms(300));
    world.github.wait_in_progress(good, LIMIT);
    let cancelled = world.github.create_job(world.job_labelled("cancelled"));
    anklet.wait_messages("job pushed to queued queue", 2);
    world.github.cancel_run_of(cancelled);
    // Counted from here on: the one clone so far was that of the good job.
    world.anka.arm(&json!({"match": {"verb": "start"}, "do": {"fail": {"code": 1, "message": "no luck"}}}));
    let retried = world.github.create_job(world.job_labelled("retried"));

    assert_eq!(world.github.wait_completed(good, LIMIT).conclusion.as_deref(), Some("success"));
    assert_eq!(world.github.wait_completed(cancelled, LIMIT).conclusion.as_deref(), Some("cancelled"));
    assert_eq!(world.github.wait_completed(retried, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_messages("job completed", 2);
    world.assert_clean(&anklet);
    let n_registrations = |job| world.github.registrations_for(job).len();
    assert_eq!((n_registrations(good), n_registrations(cancelled), n_registrations(retried)), (1, 0, 1));
    assert_eq!(world.anka.calls("clone").len(), 3, "the retried job needed a second VM");
    anklet.stop();
}

/// A registration that fails is a try that counts, and its second VM has a registration of its own.
#[test]
fn a_failed_runner_start_is_tried_again_in_a_fresh_vm() {
    let world = World::new();
    world.anka.arm(&json!({"match": {"verb": "guest svc.sh"}, "do": {"fail": {"code": 1, "message": "no"}}}));
    let anklet = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    world.assert_clean(&anklet);
    assert_eq!(world.github.registrations().len(), 2);
    anklet.stop();
}

#[test]
fn two_handlers_run_two_jobs_at_once() {
    let world = World::new();
    let anklet = world.start(&world.config(2));
    let jobs: Vec<_> = (0..6).map(|_| world.github.create_job(world.job().steps_ms(100))).collect();
    for job in &jobs {
        assert_eq!(world.github.wait_completed(*job, LIMIT).conclusion.as_deref(), Some("success"));
    }
    anklet.wait_messages("job completed", 6);
    world.assert_clean(&anklet);
    assert_eq!(world.anka.peak().0, 2, "two slots, and both used");
    assert_eq!(world.github.registrations().len(), 6);
    anklet.stop();
}

/// Labels are strangers' text: whatever they hold is data.
#[test]
fn labels_are_never_run_and_never_options() {
    let world = World::new();
    let anklet = world.start(&world.config(1));
    let long = "x".repeat(256);
    let template = format!("anka-template:{TEMPLATE}");
    let mut labels = vec![
        "--yes",
        template.as_str(),
        "$(touch pwned)",
        "`touch pwned`",
        "a b'c\"d",
        "Ü 🍏",
        long.as_str(),
    ];
    let many: Vec<_> = (0..90).map(|n| format!("label-{n}")).collect();
    labels.extend(many.iter().map(String::as_str));
    let job = world.github.create_job(JobSpec::new(REPO, &labels));
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    world.assert_clean(&anklet);
    assert!(!world.home.path().join("pwned").exists());
    let registered = &world.github.registrations_for(job)[0];
    let missing: Vec<_> =
        labels.iter().filter(|label| !registered.labels.iter().any(|have| have == *label)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    anklet.stop();
}

#[test]
fn a_job_without_a_template_is_cancelled() {
    let world = World::new();
    let anklet = world.start(&world.config(1));
    let job = world.github.create_job(JobSpec::new(REPO, &["anka-template-tag:v1"]));
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("cancelled"));
    anklet.wait_message("sent cancel workflow run");
    assert!(world.anka.calls("clone").is_empty());
    anklet.stop();
}

/// A user's cancel while the VM is prepared stops the command in hand.
#[test]
fn a_cancel_while_preparing_cuts_the_command() {
    let world = World::new();
    world.anka.arm(&json!({"match": {"verb": "start"}, "do": {"hang": true}}));
    let anklet = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    anklet.wait_for("the start", || !world.anka.calls("start").is_empty());
    world.github.cancel_run_of(job);
    anklet.wait_message("job completed");
    world.assert_clean(&anklet);
    assert!(world.github.registrations().is_empty());
    anklet.stop();
}

/// GitHub gives the runner of one job to another with the same labels.
#[test]
fn runners_that_swap_their_jobs_are_followed() {
    let world = World::new();
    world.github.hold_assignment(true);
    let anklet = world.start(&world.config(2));
    let one = world.github.create_job(world.job().steps_ms(200));
    let two = world.github.create_job(world.job().steps_ms(200));
    anklet.wait_messages("finished preparing anka VM with actions runner", 2);
    anklet.wait_for("two runners online", || {
        world.github.runners(REPO).iter().filter(|runner| runner.online).count() == 2
    });
    let runner_of = |id: u64| {
        let lines = anklet.lines();
        let prepared = lines.iter().find(|line| {
            line.message() == "finished preparing anka VM with actions runner"
                && line.0["workflowJobID"].to_string().contains(&id.to_string())
        });
        prepared.unwrap().0["vmName"].as_str().unwrap().to_owned()
    };
    let (runner_one, runner_two) = (runner_of(one), runner_of(two));
    world.github.assign(one, &runner_two);
    world.github.assign(two, &runner_one);
    for job in [one, two] {
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    }
    anklet.wait_messages("job completed", 2);
    world.assert_clean(&anklet);
    assert_eq!(world.github.registrations().len(), 2, "no VM was made in vain");
    anklet.stop();
}

/// Every command of a job, in order and word by word, but for the lines that the guest runs.
#[test]
fn the_commands_of_a_job() {
    let world = World::new();
    let anklet = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    anklet.stop();
    let vm = &world.github.registrations()[0].runner_name;
    let trace = world.anka.trace().into_iter();
    let starts = trace.filter(|line| line.event == "start" && !line.verb.starts_with("guest "));
    let told: Vec<_> = starts.map(|line| shown(&line.argv, vm)).collect();
    let expected = [
        "-j version",
        "-j license show",
        "-j list",
        "-j show TEMPLATE",
        "-j clone -t v1 TEMPLATE VM",
        "-j start VM",
        "-j cp -a install-runner.bash VM:",
        "-j cp -a register-runner.bash VM:",
        "-j cp -a start-runner.bash VM:",
        "-j run VM bash -c install-runner.bash",
        "-j run VM bash -c register-runner.bash",
        "-j run VM bash -c start-runner.bash",
        // With DEBUG, and after failures, what the guest left is looked at first.
        "-j list",
        "-j run VM bash -c …",
        "-j delete --yes VM",
        "-j list",
    ];
    assert_eq!(told, expected, "{told:#?}");
}

/// A command as it was given, with what differs from job to job named instead, and lines for the guest by the script that they run.
fn shown(argv: &[String], vm: &str) -> String {
    let script = |word: &str| {
        let scripts = ["install-runner.bash", "register-runner.bash", "start-runner.bash"];
        scripts.into_iter().find(|script| word.contains(script))
    };
    let word = |word: &String| match script(word) {
        Some(script) => script.to_owned(),
        None if word.contains(' ') => "…".to_owned(),
        None => word.replace(vm, "VM").replace(TEMPLATE, "TEMPLATE"),
    };
    let words: Vec<_> = argv.iter().map(word).collect();
    words.join(" ")
}
