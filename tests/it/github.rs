//! How GitHub is asked: how often, and what happens when it allows no more.

use fake_github::{LimitForm, RequestRecord, Rule};
use serde_json::json;

use crate::support::{Anklet, LIMIT, World};

/// What was asked from the `n_earlier`th request on, the runner program's version apart, which is asked for once a day.
fn asked(world: &World, n_earlier: usize) -> Vec<RequestRecord> {
    let requests = world.github.requests().into_iter().skip(n_earlier);
    requests.filter(|request| !request.path.ends_with("/actions/runners/downloads")).collect()
}

fn count(anklet: &Anklet, message: &str) -> usize {
    anklet.lines().iter().filter(|line| line.message() == message).count()
}

#[test]
fn a_job_costs_one_call() {
    let world = World::new();
    let anklet = world.start(&world.config(2));
    for n_job in 1..=4 {
        let n_earlier = world.github.requests().len();
        let job = world.github.create_job(world.job());
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
        anklet.wait_messages("job completed", n_job);
        world.assert_clean(&anklet);
        let paths: Vec<_> =
            asked(&world, n_earlier).into_iter().map(|it| format!("{} {}", it.method, it.path)).collect();
        assert_eq!(paths, ["POST /repos/acme/app/actions/runners/registration-token"], "job {n_job}");
    }
    assert_eq!(world.github.requests_to("GET", "@/actions/runners/downloads").len(), 1);
    anklet.stop();
}

/// One job runs and one is being prepared when GitHub allows no more calls; two wait. All end well, and while the limit lasts nothing is asked.
#[test]
fn everybody_pauses_for_the_limit_and_goes_on() {
    let world = World::new();
    let config = world.config(2).replace("limits: {", "limits: {limit_report: 0.5, idle_look: 0.2, ");
    let anklet = world.start(&config);
    let running = world.github.create_job(world.job_labelled("running").steps_ms(1_500));
    world.github.wait_in_progress(running, LIMIT);
    anklet.wait_message("job found registered runner and is now in progress");
    world.anka.arm(&json!({"match": {"verb": "start"}, "do": {"delay_ms": 300}}));
    let prepared = world.github.create_job(world.job_labelled("prepared"));
    anklet.wait_messages("successfully cloned template to new vm", 2);
    world.github.set_budget("user", 0, 4);
    let waiting: Vec<_> =
        (0..2).map(|n| world.github.create_job(world.job_labelled(&format!("waiting-{n}")))).collect();

    anklet.wait_message("GitHub API rate limit exceeded, pausing until reset");
    anklet.wait_message("still paused for GitHub API rate limit");
    let n_asked = world.github.requests().len();
    // The job that runs needs nothing of GitHub but its webhook, and its handler then claims nothing.
    assert_eq!(world.github.wait_completed(running, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("github plugin waiting for GitHub API rate limit to reset");
    assert_eq!(world.github.requests().len(), n_asked, "nothing is asked during the pause");
    anklet.wait_message("GitHub API rate limit is over, going on");
    for job in waiting.into_iter().chain([prepared]) {
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
        assert_eq!(world.github.registrations_for(job).len(), 1);
    }
    anklet.wait_messages("job completed", 4);
    world.assert_clean(&anklet);
    assert_eq!(count(&anklet, "GitHub API rate limit exceeded, pausing until reset"), 1);
    assert_eq!(count(&anklet, "job given back"), 0);
    assert_eq!(count(&anklet, "queued job found"), 4);
    assert_eq!(world.anka.calls("clone").len(), 4, "nothing that succeeded was repeated");
    let refused = world.github.requests().into_iter().filter(|request| request.status() == Some(403));
    assert_eq!(refused.count(), 1);
    anklet.stop();
}

/// The last ten calls are left to others. A claim lives on while its handler waits, and a stop does not wait.
#[test]
fn the_last_calls_are_left_and_a_stop_does_not_wait() {
    let world = World::new();
    let config = world.config(1).replace("claim_seconds: 3", "claim_seconds: 1");
    let anklet = world.start(&config);
    world.github.set_budget("user", 11, 3_000);
    let job = world.github.create_job(world.job());
    anklet.wait_message("GitHub API rate limit exceeded, pausing until reset");
    let n_asked = world.github.requests().len();
    anklet.stop();
    assert_eq!(world.github.requests().len(), n_asked);

    world.github.set_budget("user", 5_000, 3_000);
    let second = world.start(&config);
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    second.wait_message("job completed");
    world.assert_clean(&second);
    second.stop();
}

/// A limit in any form, at the call that registers the runner.
#[test]
fn every_form_of_a_limit_is_waited_out() {
    let forms = [
        LimitForm::Primary { status: 403, reset_in: 1 },
        LimitForm::Primary { status: 429, reset_in: 1 },
        LimitForm::SecondaryAfter { status: 403, seconds: 1 },
        LimitForm::SecondaryDate { seconds: 1 },
        LimitForm::SecondaryReset { reset_in: 1 },
        LimitForm::SecondaryBare,
    ];
    let world = World::new();
    let config = world.config(1).replace("limits: {", "limits: {secondary_limit_first: 1, idle_look: 0.2, ");
    let anklet = world.start(&config);
    for (n_earlier, form) in forms.into_iter().enumerate() {
        let path = "/repos/acme/app/actions/runners/registration-token";
        let rule = world.github.rule(Rule::on("POST", path).limit(form));
        let job = world.github.create_job(world.job());
        assert_eq!(
            world.github.wait_completed(job, LIMIT).conclusion.as_deref(),
            Some("success"),
            "{form:?}"
        );
        assert_eq!(
            (world.github.rule_hits(rule), world.github.registrations_for(job).len()),
            (1, n_earlier + 1)
        );
        anklet.wait_messages("job completed", n_earlier + 1);
    }
    assert_eq!(count(&anklet, "job given back"), 0);
    world.assert_clean(&anklet);
    anklet.stop();
}

/// A permission is no limit: nobody pauses.
#[test]
fn a_missing_permission_pauses_nobody() {
    let world = World::new();
    let path = "/repos/acme/app/actions/runners/registration-token";
    world.github.rule(Rule::on("POST", path).status(403, "Resource not accessible by personal access token"));
    let anklet = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    anklet.wait_message("job given back");
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    assert_eq!(count(&anklet, "GitHub API rate limit exceeded, pausing until reset"), 0);
    anklet.wait_message("job completed");
    anklet.wait_for("one runner", || world.github.registrations().len() == 1);
    anklet.stop();
}
