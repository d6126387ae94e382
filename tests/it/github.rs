//! How GitHub is asked: how often, and what happens when it allows no more.

use std::fs;

use fake_anka::Template;
use fake_github::{JobSpec, LimitForm, RequestRecord, Rule, keys};
use serde_json::{Value, json};

use crate::support::{Anklet, LIMIT, REPO, TOKEN, World};
use crate::worlds::in_worlds;

const TOKEN_PATH: &str = "/repos/acme/app/actions/runners/registration-token";

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
        LimitForm::SecondaryAfter { status: 429, seconds: 1 },
        LimitForm::SecondaryDate { seconds: 1 },
        LimitForm::SecondaryReset { reset_in: 1 },
        LimitForm::SecondaryBare,
    ];
    let world = World::new();
    let config = world.config(1).replace("limits: {", "limits: {secondary_limit_first: 1, idle_look: 0.2, ");
    let anklet = world.start(&config);
    for (n_earlier, form) in forms.iter().copied().enumerate() {
        let n_asked_before = world.github.requests().len();
        let rule = world.github.rule(Rule::on("POST", TOKEN_PATH).limit(form));
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
        let statuses: Vec<_> = asked(&world, n_asked_before).iter().map(RequestRecord::status).collect();
        assert!(matches!(statuses[..], [Some(403 | 429), Some(201)]), "{form:?}: {statuses:?}");
    }
    for message in
        ["GitHub API rate limit exceeded, pausing until reset", "GitHub API rate limit is over, going on"]
    {
        assert_eq!(count(&anklet, message), forms.len());
    }
    assert_eq!(count(&anklet, "job given back"), 0);
    world.assert_clean(&anklet);
    anklet.stop();
}

/// The address of the page that shows the plugins' statuses.
fn page_of(anklet: &Anklet) -> String {
    format!("http://127.0.0.1:{}/metrics/v1?format=json", anklet.line("metrics server started").0["port"])
}

/// The status of each handler, as that page shows it.
fn statuses(url: &str) -> Vec<String> {
    let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
    let page: Value =
        serde_json::from_str(&agent.get(url).call().unwrap().body_mut().read_to_string().unwrap()).unwrap();
    let plugins =
        page["plugins"].as_array().unwrap().iter().filter(|plugin| plugin["PluginName"] == "github");
    plugins.map(|plugin| plugin["Status"].as_str().unwrap().to_owned()).collect()
}

/// Four handlers have four jobs, two of them in VMs, when GitHub allows no more calls. All four show it, none makes a call, and all go on.
#[test]
fn four_handlers_pause_and_resume() {
    let forms = vec![
        LimitForm::Primary { status: 403, reset_in: 8 },
        LimitForm::SecondaryAfter { status: 429, seconds: 8 },
    ];
    in_worlds(forms, |world, form| {
        let config = world.config(4).replace("limits: {", "limits: {limit_report: 1, idle_look: 0.2, ");
        let anklet = world.start(&config);
        let page = page_of(&anklet);
        let rule = world.github.rule(Rule::on("POST", TOKEN_PATH).limit(*form));
        let jobs: Vec<_> =
            (0..4).map(|n| world.github.create_job(world.job_labelled(&format!("n{n}")))).collect();
        anklet.wait_message("GitHub API rate limit exceeded, pausing until reset");
        anklet.wait_for("all paused", || statuses(&page) == ["limit_paused"; 4]);
        let n_asked = world.github.requests().len();
        anklet.wait_messages("still paused for GitHub API rate limit", 2);
        assert_eq!(world.github.requests().len(), n_asked, "nothing is asked during the pause");
        for job in &jobs {
            assert_eq!(world.github.wait_completed(*job, LIMIT).conclusion.as_deref(), Some("success"));
            assert_eq!(world.github.registrations_for(*job).len(), 1);
        }
        anklet.wait_messages("job completed", 4);
        world.assert_clean(&anklet);
        anklet.wait_for("all idle", || statuses(&page) == ["idle"; 4]);
        assert_eq!(world.github.rule_hits(rule), 1);
        assert_eq!(world.github.requests_to("POST", TOKEN_PATH).len(), 5, "one was refused");
        assert_eq!(world.anka.calls("clone").len(), 4, "nothing that succeeded was repeated");
        anklet.stop();
    });
}

/// A runner was left by a handler that is not in the config any more. GitHub allows no removal now: the VM is kept, nothing is asked, and then
/// both go.
#[test]
fn the_janitors_fence_waits_for_the_limit() {
    let world = World::new();
    world.github.hold_assignment(true);
    let config = world.config(1).replace("limits: {", "limits: {limit_report: 0.5, ");
    let first = world.start(&config);
    let job = world.github.create_job(world.job());
    first.wait_message("job is waiting for registered runner");
    first.kill();
    let path = "/repos/acme/app/actions/runners/*";
    world.github.rule(Rule::on("DELETE", path).limit(LimitForm::Primary { status: 403, reset_in: 3 }));
    // The host does not wait for the lease of a process that is gone, and a drained one claims nothing.
    fs::write(world.home.path().join(".config/anklet/.drain"), "").unwrap();
    let second = world.start(&config.replace("HANDLER1", "ANOTHER"));
    second.wait_message("GitHub API rate limit exceeded, pausing until reset");
    let n_asked = world.github.requests().len();
    second.wait_message("still paused for GitHub API rate limit");
    assert_eq!(world.github.requests().len(), n_asked, "nothing is asked during the pause");
    assert_eq!(world.vms_made_by_us().len(), 1, "the VM is kept until the runner is gone");
    second.wait_message("cleaned up what was left of a VM");
    assert!(world.github.runners(REPO).is_empty() && world.vms_made_by_us().is_empty());
    let removals: Vec<_> =
        world.github.requests_to("DELETE", path).iter().map(RequestRecord::status).collect();
    assert_eq!(removals, [Some(403), Some(204)]);
    world.github.hold_assignment(false);
    fs::remove_file(world.home.path().join(".config/anklet/.drain")).unwrap();
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    second.stop();
}

/// Which runner program GitHub wants is good to know, but no job waits for a GitHub that does not say it, and it is not asked for each job.
#[test]
fn a_github_that_names_no_runner_program_holds_up_no_job() {
    in_worlds(vec![500, 501, 404, 405], |world, status| {
        world.github.rule(
            Rule::on("GET", "/repos/acme/app/actions/runners/downloads").status(*status, "no").times(1_000),
        );
        let config = world.config(1).replace("github_retry_first: 0.05", "github_retry_first: 3");
        let anklet = world.start(&config);
        for n_job in 1..=3 {
            let job = world.github.create_job(world.job());
            assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
            anklet.wait_messages("job completed", n_job);
        }
        // One try, and one more where the trouble may pass.
        let n_asked = world.github.requests_to("GET", "@/actions/runners/downloads").len();
        assert!(n_asked <= 2, "GitHub was asked {n_asked} times");
        world.assert_clean(&anklet);
        anklet.stop();
    });
}

/// The runner in the template is old: GitHub says which it wants, where that lies and what its sum is, once a day; one line says so.
#[test]
fn an_old_runner_is_replaced_and_told_once() {
    let world = World::new();
    let old = "5b0d57a8-24a5-4a06-8f6d-52a1a8a9c2d1";
    let template =
        Template::new(old, "old", "v1").on_disk().in_registry().cpu(4).ram_gib(8).runner("2.300.0");
    world.anka.add(&template);
    let anklet = world.start(&world.config(2));
    for n_job in 1..=3 {
        let job = world
            .github
            .create_job(JobSpec::new(REPO, &[&format!("anka-template:{old}"), "anka-template-tag:v1"]));
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
        anklet.wait_messages("job completed", n_job);
    }
    let told = "the runner in the template is not the one that GitHub wants and was replaced; put the new one into the template to save that time";
    let lines: Vec<_> = anklet.lines().into_iter().filter(|line| line.message() == told).collect();
    let facts = |line: &crate::support::Line| (line.0["found"].clone(), line.0["wanted"].clone());
    assert_eq!(lines.iter().map(facts).collect::<Vec<_>>(), [(json!("2.300.0"), json!("2.336.0"))]);
    assert_eq!(world.github.requests_to("GET", "@/actions/runners/downloads").len(), 1);
    world.assert_clean(&anklet);
    anklet.stop();

    // An archive that is not what GitHub says is not used.
    let wrong = format!(
        r#"[{{"os":"osx","architecture":"arm64","filename":"actions-runner-osx-arm64-2.337.0.tar.gz",
        "download_url":"{}/actions/runner/releases/download/v2.337.0/x.tar.gz","sha256_checksum":"{}"}}]"#,
        world.github.url(),
        "ab".repeat(32)
    );
    world
        .github
        .rule(Rule::on("GET", "/repos/acme/app/actions/runners/downloads").nonsense(wrong.as_bytes()));
    let second = world.start(&world.config(1));
    world.github.create_job(world.job());
    second.wait_lines("a job given back for the sum", |lines| {
        lines
            .iter()
            .any(|line| line.message() == "job given back" && line.0.to_string().contains("has the checksum"))
    });
    second.stop();
}

/// The calls of one situation that the README counts, as `METHOD path`.
struct Situation {
    /// The row of the README's table, and the number that it begins with.
    row: &'static str,
    n_calls: usize,
    calls: Vec<String>,
}

fn calls(world: &World, n_earlier: usize) -> Vec<String> {
    let requests = world.github.requests().into_iter().skip(n_earlier);
    requests
        .map(|request| format!("{} {}", request.method, request.path_only()))
        .filter(|it| !it.contains("/releases/"))
        .collect()
}

fn run_well(world: &World, anklet: &Anklet, spec: JobSpec, n_job: usize) {
    let job = world.github.create_job(spec);
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_messages("job completed", n_job);
    world.assert_clean(anklet);
}

/// What single jobs cost, in the order of the README's rows.
fn measured() -> Vec<Situation> {
    let world = World::new();
    let anklet = world.start(&world.config(1));
    run_well(&world, &anklet, world.job(), 1);
    let (daily, token): (Vec<_>, Vec<_>) =
        calls(&world, 0).into_iter().partition(|call| call.ends_with("/downloads"));
    let n_before = world.github.requests().len();
    world.github.create_job(JobSpec::new(REPO, &["anka-template-tag:v1"]));
    anklet.wait_message("sent cancel workflow run");
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    let cancelled = calls(&world, n_before);
    anklet.stop();

    let anklet = world.start(&world.config(1).replace("limits: {", "limits: {fresh_job: 0.001, "));
    run_well(&world, &anklet, world.job(), 1);
    let n_before = world.github.requests().len();
    run_well(&world, &anklet, world.job(), 2);
    let old = calls(&world, n_before);
    anklet.stop();

    world.github.hold_assignment(true);
    let anklet = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    anklet.wait_message("job is waiting for registered runner");
    let n_before = world.github.requests().len();
    world.github.cancel_run_of(job);
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    let undone = calls(&world, n_before);
    anklet.stop();

    let handler = "plugin: github, registration_timeout_seconds: 1,";
    let anklet = world.start(&world.config(1).replace("plugin: github,", handler));
    let job = world.github.create_job(world.job());
    anklet.wait_message("job is waiting for registered runner");
    let n_before = world.github.requests().len();
    anklet.wait_message("job given back");
    let too_late = calls(&world, n_before);
    world.github.hold_assignment(false);
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.stop();

    fs::write(world.home.path().join("app.pem"), keys::APP_KEY).unwrap();
    world
        .github
        .add_app(1, "Iv1.abc", keys::APP_KEY, &["actions=write", "administration=write"])
        .add_installation(7, 1, "acme");
    let app = "plugin: github, app_id: Iv1.abc, private_key: ~/app.pem,";
    let n_before = world.github.requests().len();
    let anklet = world.start(
        &world.config(2).replace("plugin: github,", app).replace(&format!("global_token: {TOKEN}\n"), ""),
    );
    run_well(&world, &anklet, world.job(), 1);
    run_well(&world, &anklet, world.job(), 2);
    let app: Vec<_> =
        calls(&world, n_before).into_iter().filter(|call| !call.contains("/actions/")).collect();
    anklet.stop();

    let registration = format!("POST {TOKEN_PATH}");
    assert_eq!(token, [registration.as_str()]);
    let situation = |row, n_calls, calls| Situation { row, n_calls, calls };
    vec![
        situation("a job claimed within 5 minutes", 1, token),
        situation("the version of the runner program", 1, daily),
        situation(
            "a GitHub App's token",
            1,
            app.iter().filter(|call| call.ends_with("/access_tokens")).cloned().collect(),
        ),
        situation(
            "its installation, where",
            1,
            app.iter().filter(|call| call.ends_with("/installation")).cloned().collect(),
        ),
        situation("a job that is older", 1, old.into_iter().filter(|call| *call != registration).collect()),
        situation("a VM that is undone", 2, undone),
        situation("a runner that is given no job", 4, too_late),
        situation("a run that is cancelled", 1, cancelled),
    ]
}

/// The README says what each situation costs, and so it is.
#[test]
fn the_readme_counts_right() {
    let readme = include_str!("../../README.md");
    for Situation { row, n_calls, calls } in measured() {
        assert_eq!(calls.len(), n_calls, "{row}: {calls:?}");
        let line = readme
            .lines()
            .find(|line| line.starts_with(&format!("| {row}")))
            .unwrap_or_else(|| panic!("no row {row}"));
        let said = line.split('|').nth(2).unwrap().trim();
        assert!(said.starts_with(&n_calls.to_string()), "{line}");
    }
}

/// A permission is no limit: nobody pauses.
#[test]
fn a_missing_permission_pauses_nobody() {
    let world = World::new();
    let few_permissions = ["actions=write", "metadata=read"];
    world.github.add_fine_grained_pat(TOKEN, &few_permissions);
    let anklet = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    anklet.wait_lines("a job given back for the permission", |lines| {
        let is_it = |line: &crate::support::Line| {
            line.0.to_string().contains("it needs the permission administration=write")
        };
        lines.iter().any(|line| line.message() == "job given back" && is_it(line))
    });
    assert_eq!(
        world.github.requests_to("POST", TOKEN_PATH).len(),
        1,
        "what is forbidden is not asked for again at once"
    );
    world.github.add_pat(TOKEN, &["repo"]);
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    assert_eq!(count(&anklet, "GitHub API rate limit exceeded, pausing until reset"), 0);
    anklet.wait_message("job completed");
    anklet.wait_for("one runner", || world.github.registrations().len() == 1);
    anklet.stop();
}
