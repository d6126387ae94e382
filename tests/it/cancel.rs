//! Runs that nobody can run are cancelled: by force where GitHub does not end them, and with a word to their developers.

use fake_github::{JobSpec, keys};
use serde_json::Value;

use crate::support::{Anklet, LIMIT, REPO, TEMPLATE, TOKEN, World, bare};

const HOPELESS: &[&str] = &["anka-template-tag:of-nothing"];

fn count(anklet: &Anklet, message: &str) -> usize {
    anklet.lines().iter().filter(|line| line.message() == message).count()
}

fn n_calls(world: &World, word: &str) -> usize {
    world.github.requests_to("POST", &format!("@/actions/runs/*/{word}")).len()
}

/// The first line of this message: its level, the job's address, and what it says of the reason.
#[track_caller]
fn said(anklet: &Anklet, message: &str) -> (String, String, String) {
    let line = anklet.line(message);
    let text = |key: &str| line.0[key].as_str().unwrap_or_default().to_owned();
    (text("level"), text("workflowJobURL"), text("reason"))
}

fn config(world: &World) -> String {
    world.config(1).replace("limits: {", "limits: {cancel_silence: 0.5, ")
}

#[test]
fn a_run_that_goes_on_after_its_cancellation_is_cancelled_by_force() {
    let world = World::new();
    let anklet = world.start(&config(&world));
    let run = 4_711;
    let job = JobSpec::new(REPO, HOPELESS).run(run).silent();
    let job = world.github.create_job(job);
    world.github.set_run_deaf(run, true);
    world.github.send_job_event(job, "queued");
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("cancelled"));
    assert_eq!((n_calls(&world, "cancel"), n_calls(&world, "force-cancel")), (1, 1));
    let (level, url, reason) =
        said(&anklet, "the workflow run goes on after its cancellation; sent force cancel");
    assert_eq!(level, "ERROR");
    assert!(url.ends_with(&format!("/job/{job}")) && reason.contains("anka-template:UUID"), "{url} {reason}");
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    assert!(world.anka.calls("clone").is_empty());
    world.assert_clean(&anklet);
    anklet.stop();
}

/// An ordinary cancellation needs no force.
#[test]
fn a_run_that_ends_is_not_forced() {
    let world = World::new();
    let anklet = world.start(&config(&world));
    let job = world.github.create_job(JobSpec::new(REPO, HOPELESS));
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("cancelled"));
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    assert_eq!((n_calls(&world, "cancel"), n_calls(&world, "force-cancel")), (1, 0));
    anklet.stop();
}

/// GitHub cancels no run that hangs before its queue: the job is set aside, and asked about again later.
#[test]
fn a_run_that_cannot_be_cancelled_is_set_aside() {
    let world = World::new();
    let config = world.config(1).replace("limits: {", "limits: {cancel_silence: 0.5, refused_retry: 1, ");
    let anklet = world.start(&config);
    let run = 4_711;
    let job = world.github.create_job(JobSpec::new(REPO, HOPELESS).run(run).silent());
    world.github.set_run_stuck(run, true);
    world.github.send_job_event(job, "queued");
    let (level, url, _) = said(&anklet, "GitHub refuses to cancel the workflow run");
    assert_eq!(level, "ERROR");
    assert!(url.ends_with(&format!("/job/{job}")), "{url}");
    let good = world.github.create_job(world.job());
    assert_eq!(
        world.github.wait_completed(good, LIMIT).conclusion.as_deref(),
        Some("success"),
        "nobody waits"
    );
    anklet.wait_messages("GitHub refuses to cancel the workflow run", 2);
    world.github.set_run_stuck(run, false);
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("cancelled"));
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    assert_eq!(n_calls(&world, "force-cancel"), 0, "a refusal is no cancellation that does not work");
    anklet.stop();
}

/// A world whose handlers work as an App with these permissions.
fn app_world(permissions: &[&str]) -> (World, Anklet) {
    let world = World::new();
    world
        .github
        .revoke(TOKEN)
        .add_app(77, "Iv23client", keys::APP_KEY, permissions)
        .add_installation(501, 77, "acme");
    let config = config(&world).replace(&format!("global_token: {TOKEN}\n"), "").replace(
        "plugin: github,",
        "plugin: github, app_id: 77, explain_cancellations: true, job_retry_attempts: 0,",
    );
    let mut command = bare(env!("CARGO_BIN_EXE_anklet"));
    command.env("ANKLET_GLOBAL_PRIVATE_KEY", keys::APP_KEY);
    let anklet = world.start_with(&config, command);
    (world, anklet)
}

fn checks(world: &World) -> Vec<Value> {
    world.github.look(|state| state.check_runs.clone())
}

#[test]
fn developers_are_told_why_their_run_is_cancelled() {
    let (world, anklet) = app_world(&["administration=write", "actions=write", "checks=write"]);
    let hopeless = world.github.create_job(JobSpec::new(REPO, &["anka-template:", "*[x](y)*\n# big"]));
    assert_eq!(world.github.wait_completed(hopeless, LIMIT).conclusion.as_deref(), Some("cancelled"));
    let check = checks(&world).remove(0);
    assert_eq!(
        (&check["name"], &check["status"], &check["conclusion"]),
        (&"anklet".into(), &"completed".into(), &"failure".into())
    );
    assert_eq!(check["head_sha"].as_str().unwrap().len(), 40);
    assert!(check["details_url"].as_str().unwrap().ends_with(&format!("/job/{hopeless}")));
    let summary = check["output"]["summary"].as_str().unwrap();
    assert!(
        summary.contains("add `anka-template:UUID` to `runs-on`") && summary.contains("push the change"),
        "{summary}"
    );
    assert!(
        summary.lines().filter(|line| line.contains("anka-template:")).all(|line| line.starts_with("    "))
    );

    // The world's template, and a tag of it that nobody has.
    let template = format!("anka-template:{TEMPLATE}");
    let unknown = world.github.create_job(JobSpec::new(REPO, &[&template, "anka-template-tag:v9"]));
    assert_eq!(world.github.wait_completed(unknown, LIMIT).conclusion.as_deref(), Some("cancelled"));
    let check = checks(&world).remove(1);
    assert!(check["output"]["summary"].as_str().unwrap().contains("the closest there: v1"), "{check}");

    // One try is all that this config allows.
    world.anka.arm(&serde_json::json!({"match": {"verb": "run"}, "times": -1, "do": {"fail": {"code": 1, "message": "no"}}}));
    let failing = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(failing, LIMIT).conclusion.as_deref(), Some("cancelled"));
    let check = checks(&world).remove(2);
    let summary = check["output"]["summary"].as_str().unwrap();
    assert!(
        summary.contains("    failed attempts: 1\n    - ") && summary.contains("Re-run the job"),
        "{summary}"
    );
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    assert_eq!(checks(&world).len(), 3);
    world.assert_clean(&anklet);
    anklet.stop();
}

#[test]
fn without_the_permission_runs_are_cancelled_without_a_word() {
    let (world, anklet) = app_world(&["administration=write", "actions=write"]);
    for _ in 0..2 {
        let job = world.github.create_job(JobSpec::new(REPO, HOPELESS));
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("cancelled"));
    }
    anklet.wait_messages("sent cancel workflow run", 2);
    let warning = "`explain_cancellations`: GitHub lets the App write no checks; runs are cancelled without a word to their developers";
    assert_eq!(count(&anklet, warning), 1);
    let line = anklet.line(warning);
    assert!(line.0["error"].as_str().unwrap().contains("checks=write"), "{line:?}");
    assert!(checks(&world).is_empty());
    anklet.stop();
}

/// A token can write no checks: that is said at the start, and GitHub is not asked.
#[test]
fn a_token_explains_nothing() {
    let world = World::new();
    let config = config(&world).replace("plugin: github,", "plugin: github, explain_cancellations: true,");
    let anklet = world.start(&config);
    anklet.wait_message("`explain_cancellations` needs a GitHub App (`private_key` and `app_id`): GitHub takes no checks from a token");
    let job = world.github.create_job(JobSpec::new(REPO, HOPELESS));
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("cancelled"));
    assert!(world.github.requests_to("POST", "@/check-runs").is_empty());
    anklet.stop();
}
