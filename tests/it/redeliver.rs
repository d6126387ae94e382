//! Webhooks that do not arrive: the receiver finds them in GitHub's log and asks for them again.

use std::fs;
use std::time::Instant;

use fake_github::{HookId, Rule, WebhookRule};

use crate::support::{Anklet, LIMIT, REPO, SECRET, TOKEN, World};
use crate::worlds::in_worlds;

const LOOKED: &str = "looked for missed webhooks";

/// A world whose token may read the hook's log, and its hook.
fn world() -> (World, HookId) {
    let world = World::new();
    world.github.add_pat(TOKEN, &["repo", "admin:org", "admin:org_hook", "workflow"]);
    let hook = world.hook;
    (world, hook)
}

/// Looks follow each other quickly.
fn config(world: &World, hook: HookId) -> String {
    let looks =
        "limits: {redeliver_look: 0.4, redeliver_pace: 0.001, redeliver_settle: 0.2, idle_look: 0.5, ";
    let receiver = format!("plugin: github_receiver, hook_id: {hook},");
    world.config(1).replace("limits: {", looks).replace("plugin: github_receiver,", &receiver)
}

fn n_redeliveries(world: &World) -> usize {
    world.github.requests_to("POST", "/repos/*/*/hooks/*/deliveries/*/attempts").len()
}

fn check_well(world: &World, anklet: &Anklet, job: u64) {
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    world.assert_clean(anklet);
    assert_eq!(world.github.registrations_for(job).len(), 1);
}

#[test]
fn a_lost_webhook_is_asked_for_again_whichever_it_is() {
    let cases = ["acme/app", "acme"]
        .into_iter()
        .flat_map(|of| ["queued", "in_progress", "completed"].map(|action| (of, action)));
    in_worlds(cases.collect(), |world, (of, action)| {
        world.github.add_pat(TOKEN, &["repo", "admin:org", "admin:org_hook", "workflow"]);
        let mut hook = world.hook;
        let mut config = config(world, hook);
        if *of == "acme" {
            world.github.set_hook_url(hook, "http://127.0.0.1:9/nobody");
            hook = world.github.add_hook(
                "acme",
                &format!("http://127.0.0.1:{}/jobs/v1/receiver", world.port),
                SECRET,
            );
            config = self::config(world, hook).replace("owner: acme, repo: app", "owner: acme");
        }
        let anklet = world.start(&config);
        world.github.webhook_rule(WebhookRule::on(action).hook(hook).fail("failed to connect"));
        let began_at = Instant::now();
        let job = world.github.create_job(world.job().steps_ms(1_500));
        check_well(world, &anklet, job);
        anklet.wait_message("redelivering hook");
        let path = if *of == "acme" {
            "/orgs/acme/hooks/*/deliveries/*/attempts"
        } else {
            "/repos/*/*/hooks/*/deliveries/*/attempts"
        };
        assert_eq!(world.github.requests_to("POST", path).len(), 1, "{of} {action}");
        println!("{of}: `{action}` lost: job and cleanup took {:?}, looks 0.4 s apart", began_at.elapsed());
        anklet.stop();
    });
}

/// Nobody listened for a while: what was sent then is found at the start, oldest first, and nothing twice.
#[test]
fn what_was_sent_while_nobody_listened_is_found_at_the_start() {
    let (world, hook) = world();
    let jobs: Vec<_> =
        (0..3).map(|n| world.github.create_job(world.job_labelled(&format!("n{n}")))).collect();
    let cancelled = world.github.create_job(world.job_labelled("cancelled"));
    world.github.cancel_run_of(cancelled);
    assert!(world.github.wait_webhooks_sent(LIMIT));
    assert_eq!(world.github.deliveries().iter().filter(|delivery| !delivery.is_ok()).count(), 5);

    let anklet = world.start(&config(&world, hook));
    for job in &jobs {
        assert_eq!(world.github.wait_completed(*job, LIMIT).conclusion.as_deref(), Some("success"));
    }
    anklet.wait_messages("job completed", 3);
    world.assert_clean(&anklet);
    assert_eq!(world.github.registrations().len(), 3, "the cancelled job got nothing");
    let order: Vec<_> = world
        .github
        .deliveries()
        .iter()
        .filter(|delivery| delivery.redelivery)
        .map(|delivery| (delivery.job_id.unwrap(), delivery.action.clone().unwrap()))
        .collect();
    let queued = |job: &u64| (*job, "queued".to_owned());
    let mut expected: Vec<_> = jobs.iter().chain([&cancelled]).map(queued).collect();
    expected.push((cancelled, "completed".to_owned()));
    assert_eq!(order, expected);
    anklet.stop();

    // All is delivered up to now: the next start reads one page and asks for nothing.
    let n_lists = || world.github.requests_to("GET", "/repos/*/*/hooks/*/deliveries").len();
    let (n_lists_before, n_before) = (n_lists(), n_redeliveries(&world));
    let second = world.start(&config(&world, hook).replace("redeliver_look: 0.4", "redeliver_look: 400"));
    second.wait_for("a look", || n_lists() > n_lists_before);
    second.wait_message(LOOKED);
    second.stop();
    assert_eq!((n_lists(), n_redeliveries(&world)), (n_lists_before + 1, n_before));
}

/// The receiver refuses what the store does not take; when that is over, it asks for it.
#[test]
fn what_was_refused_is_asked_for_when_the_store_is_back() {
    let (world, hook) = world();
    let config = config(&world, hook).replace("redeliver_look: 0.4", "redeliver_look: 400");
    let anklet = world.start(&config);
    anklet.wait_message(LOOKED);
    let file = rusqlite::Connection::open(world.home.path().join(".config/anklet/anklet.db")).unwrap();
    file.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let job = world.github.create_job(world.job());
    anklet.wait_for("a refused webhook", || {
        world.github.deliveries_of(job, "queued").iter().any(|delivery| delivery.status_code == 503)
    });
    file.execute_batch("ROLLBACK").unwrap();
    check_well(&world, &anklet, job);
    assert_eq!(n_redeliveries(&world), 1);
    anklet.stop();
}

/// A delivery that keeps failing is asked for once a look. Others' jobs, and those that are over, are left alone.
#[test]
fn what_is_of_no_use_is_left_alone() {
    let (world, hook) = world();
    let theirs = world.github.create_job(fake_github::JobSpec::new(REPO, &["ubuntu-latest"]));
    assert!(world.github.wait_webhooks_sent(LIMIT));
    let rule = WebhookRule::on("queued").always().with_redeliveries();
    let failing = world.github.webhook_rule(rule.fail("timed out"));
    let stubborn = world.github.create_job(world.job());
    let anklet = world.start(&config(&world, hook));
    anklet.wait_messages("redelivering hook", 3);
    assert!(world.github.deliveries_of(theirs, "queued").iter().all(|delivery| !delivery.redelivery));
    // Its end is heard of, so that its beginning is of no use any more.
    world.github.cancel_run_of(stubborn);
    anklet.wait_message("job pushed to completed queue");
    let n_looks = || anklet.lines().iter().filter(|line| line.message() == LOOKED).count();
    anklet.wait_messages(LOOKED, n_looks() + 3);
    let n_asked = n_redeliveries(&world);
    anklet.wait_messages(LOOKED, n_looks() + 2);
    assert_eq!(n_redeliveries(&world), n_asked);
    world.github.remove_rule(failing);
    anklet.stop();
}

#[test]
fn it_can_be_turned_off() {
    let (world, hook) = world();
    let job = world.github.create_job(world.job_labelled("lost"));
    assert!(world.github.wait_webhooks_sent(LIMIT));
    let config = config(&world, hook).replace("hook_id:", "skip_redeliver: true, hook_id:");
    let anklet = world.start(&config);
    let other = world.github.create_job(world.job_labelled("other"));
    world.github.wait_completed(other, LIMIT);
    assert!(world.github.requests_to("GET", "/repos/*/*/hooks/*/deliveries").is_empty());
    assert!(!world.github.job(job).is_completed());
    anklet.stop();
}

/// An organization's hook, read by a GitHub App; a trouble of GitHub's does not end the looks.
#[test]
fn an_organizations_hook_is_looked_after_too() {
    let world = World::new();
    let url = format!("http://127.0.0.1:{}/jobs/v1/receiver", world.port);
    let hook = world.github.add_hook("acme", &url, SECRET);
    let key = world.home.path().join("app.pem");
    fs::write(&key, fake_github::keys::APP_KEY).unwrap();
    let permissions = [
        "actions=write",
        "organization_self_hosted_runners=write",
        "organization_hooks=write",
        "metadata=read",
    ];
    world.github.add_app(4711, "Iv1.abc", fake_github::keys::APP_KEY, &permissions);
    world.github.add_installation(7, 4711, "acme");
    let path = "/orgs/*/hooks/*/deliveries";
    world.github.rule(Rule::on("GET", path).status(422, "not now"));
    world.github.webhook_rule(WebhookRule::on("queued").times(2).fail("failed to connect"));
    let app = format!("private_key: {}, app_id: Iv1.abc, ", key.display());
    let config = config(&world, hook)
        .replace("owner: acme, repo: app", &format!("{app}owner: acme"))
        .replace(&format!("global_token: {TOKEN}\n"), "");
    let anklet = world.start(&config);
    let job = world.github.create_job(world.job());
    anklet.wait_message("redelivering hook");
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    assert_eq!(world.github.violations(), Vec::<String>::new());
    anklet.stop();
}

/// A GitHub App's own webhook needs no number: its log is read with the App's key.
#[test]
fn an_apps_own_webhook_is_looked_after_without_a_number() {
    let world = World::new();
    let url = format!("http://127.0.0.1:{}/jobs/v1/receiver", world.port);
    world.github.set_hook_url(world.hook, "http://127.0.0.1:9/nobody");
    let key = world.home.path().join("app.pem");
    fs::write(&key, fake_github::keys::APP_KEY).unwrap();
    let permissions = ["actions=write", "administration=write", "metadata=read"];
    world.github.add_app(4711, "Iv1.abc", fake_github::keys::APP_KEY, &permissions);
    world.github.add_installation(7, 4711, "acme");
    let hook = world.github.add_app_hook(4711, &url, SECRET);
    world.github.webhook_rule(WebhookRule::on("queued").hook(hook).fail("failed to connect"));
    let app = format!("private_key: {}, app_id: Iv1.abc, owner: acme", key.display());
    let config = config(&world, hook)
        .replace(&format!("hook_id: {hook}, "), "")
        .replace(&format!("hook_id: {hook},"), "")
        .replace("owner: acme", &app)
        .replace(&format!("global_token: {TOKEN}\n"), "");
    let anklet = world.start(&config);
    let job = world.github.create_job(world.job());
    check_well(&world, &anklet, job);
    let asked = |method, path| world.github.requests_to(method, path).len();
    assert_eq!(asked("POST", "/app/hook/deliveries/*/attempts"), 1);
    assert_eq!(asked("GET", "/app/hook/deliveries/*"), 1, "it was read once");
    assert_eq!(asked("GET", "/repos/*/*/hooks/*/deliveries"), 0);
    assert!(!anklet.lines().iter().any(|line| line.0["key"] == "hook_id"), "nothing is missing");
    anklet.stop();

    // An App that has no webhook: one error that says what to do, and the receiver takes what comes.
    let path = "/app/hook/deliveries";
    world.github.rule(Rule::on("GET", path).always().status(404, "Not Found"));
    let anklet = world.start(&config);
    anklet.wait_lines("an error that says what to do", |lines| {
        let is_it = |line: &crate::support::Line| {
            line.0["level"] == "ERROR" && line.message().contains("see that `hook_id` is right")
        };
        lines.iter().any(is_it)
    });
    let job = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.stop();
}
