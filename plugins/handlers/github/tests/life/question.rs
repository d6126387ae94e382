//! What GitHub is asked before a VM is made, and what becomes of a job that it does not call queued.

use anklet_plugin_api::fake::memory::Verb as StoreVerb;
use anklet_plugin_api::fake::vm_host::Verb;
use anklet_plugin_api::job::JobId;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::store::Place;
use fake_github::{JobSpec, JobStatus, Rule};
use log::Level;

use crate::world::{CANCEL_PATH, JOB_PATH, LIMIT, OLD, REPOSITORY_PATH, World, ms, short};

#[test]
fn a_job_runs_to_its_end() {
    let world = World::new(short());
    let life = world.start();
    let job = world.queue(world.job());
    world.tell_started(job);
    world.wait_said("job found registered runner and is now in progress", 1);
    world.end(job, "success");
    world.wait_clean();
    world.wait_said("job completed", 1);
    let verbs: Vec<_> = world.vms.calls().into_iter().map(|call| call.verb).collect();
    let expected = [
        [Verb::List, Verb::FindImage, Verb::CloneImage, Verb::Start].as_slice(),
        &[Verb::Copy; 3],
        &[Verb::Run; 3],
        &[Verb::Delete, Verb::List],
    ];
    assert_eq!(verbs, expected.concat());
    life.stop();
}

/// `waiting`, `pending`, `requested`: asked again in 1, 2, 4 … times the first wait, no try counted, no VM made.
#[test]
fn a_job_that_github_holds_back_waits_longer_each_time() {
    for status in [JobStatus::Waiting, JobStatus::Pending, JobStatus::Requested] {
        let world = World::new(Limits { waiting_retry: ms(40), ..short() });
        let life = world.start();
        let job = world.queue(world.job().created_ago(OLD).status(status));
        world.wait_for("three questions", || world.n_requests("GET", JOB_PATH) >= 3);
        world.github.set_job_status(job.0, JobStatus::Queued);
        world.tell_started(job);
        let asked: Vec<_> =
            world.github.requests_to("GET", JOB_PATH).iter().map(|it| it.at.instant).collect();
        for (n_earlier, pair) in asked.windows(2).enumerate() {
            let wait = ms(40) * 2u32.pow(u32::try_from(n_earlier).unwrap());
            assert!(pair[1] - pair[0] >= wait, "{status:?}: question {}", n_earlier + 2);
        }
        let claims = world.said("queued job found");
        assert!(claims.iter().all(|claim| claim.facts["attempts"] == "0"), "{claims:?}");
        assert_eq!(world.github.registrations().len(), 1);
        world.end(job, "success");
        world.wait_clean();
        life.stop();
    }
}

/// A job is too young to be asked about, but was: what GitHub said then has to be asked again, not forgotten.
#[test]
fn a_job_that_was_set_aside_is_asked_about_whatever_its_age() {
    let world = World::new(Limits { waiting_retry: ms(40), ..short() });
    let life = world.start();
    world.wait_for("an idle handler", || world.store.n_calls(StoreVerb::Claim) > 0);
    // The second call answers the claim of the first, as one that was held already, and such a job is asked about.
    world.store.lose_answers(StoreVerb::Claim, 1);
    let job = world.queue(world.job().status(JobStatus::Waiting));
    world.wait_for("three questions", || world.n_requests("GET", JOB_PATH) >= 3);
    assert_eq!(world.github.registrations().len(), 0, "no VM for a job that waits for a person");
    world.github.set_job_status(job.0, JobStatus::Queued);
    world.run_to_its_end(job);
    life.stop();
}

#[test]
fn a_job_that_is_denied_four_times_is_gone() {
    let world = World::new(Limits { denied_retry: ms(30), ..short() });
    let life = world.start();
    let job = world.queue(world.job().created_ago(OLD));
    world.github.forget_job(job.0);
    world.wait_gone_from_the_queue(job);
    // The client itself asks thrice each time.
    assert_eq!(world.n_requests("GET", JOB_PATH), 4 * 3);
    assert_eq!(world.n_requests("GET", REPOSITORY_PATH), 1);
    world.wait_said("GitHub has deleted the job", 1);
    assert!(world.vms.vms().is_empty());
    life.stop();
}

/// No answer about the repository is no answer about the job either: it is asked again soon, and nobody is alarmed.
#[test]
fn only_a_clear_no_hides_a_repository() {
    let limits =
        Limits { denied_retry: ms(30), github_retry_total: ms(300), github_call: ms(100), ..short() };
    for rule in [|rule: Rule| rule.status(502, "as the test planned"), Rule::hang, Rule::close] {
        let world = World::new(limits.clone());
        let rule = world.github.rule(rule(Rule::on("GET", REPOSITORY_PATH).always()));
        let life = world.start();
        let job = world.queue(world.job().created_ago(OLD));
        world.github.forget_job(job.0);
        world.wait_for("two questions", || world.said("queued job found").len() >= 5);
        world.github.remove_rule(rule);
        world.wait_gone_from_the_queue(job);
        assert!(world.said("GitHub does not let this credential see the job's repository").is_empty());
        life.stop();
    }
}

/// 403, 404 or 401: the job is set aside with an error that names repository and credential, and asked about hourly.
#[test]
fn a_hidden_repository_sets_its_jobs_aside() {
    for status in [403, 404, 401] {
        let limits = Limits { denied_retry: ms(20), refused_retry: ms(300), ..short() };
        let world = World::new(limits);
        let paths = [JOB_PATH, REPOSITORY_PATH];
        let hide =
            |path| world.github.rule(Rule::on("GET", path).always().status(status, "as the test planned"));
        let rules = paths.map(hide);
        let life = world.start();
        let job = world.queue(world.job().created_ago(OLD));
        let errors = world.wait_said("GitHub does not let this credential see the job's repository", 2);
        for error in &errors {
            assert_eq!(error.level, Level::Error);
            assert_eq!(error.facts["repository"], "acme/app");
            assert!(error.facts["credential"].contains("access token"), "{error:?}");
        }
        if status == 404 {
            let asked = world.github.requests_to("GET", JOB_PATH);
            assert!(asked.len() <= 6 * 3, "an hour is not ten minutes longer each time: {}", asked.len());
        }
        for rule in rules {
            world.github.remove_rule(rule);
        }
        world.run_to_its_end(job);
        assert!(world.said("queued job found").iter().all(|claim| claim.facts["attempts"] == "0"));
        life.stop();
    }
}

/// A job that nobody can run, whose run is over already while its end was lost.
#[test]
fn a_run_that_is_over_is_not_cancelled_again_and_again() {
    let world = World::new(Limits { cancel_silence: ms(30), ..short() });
    let life = world.start();
    let id = world.github.create_job(JobSpec::new("acme/app", &["anka-template-tag:v1"]));
    world.github.cancel_run_of(id);
    let job = JobId(id);
    world.tell_as(job, "queued");
    world.wait_gone_from_the_queue(job);
    assert_eq!(world.n_requests("POST", CANCEL_PATH), 1);
    assert!(world.said("sent cancel workflow run").is_empty());
    life.stop();
}

/// The same, where the end is lost after a cancellation that was accepted.
#[test]
fn a_cancelled_run_is_asked_about() {
    let world = World::new(Limits { cancel_silence: ms(30), ..short() });
    let life = world.start();
    let job = world.queue(JobSpec::new("acme/app", &["anka-template-tag:v1"]));
    world.wait_gone_from_the_queue(job);
    assert_eq!(world.n_requests("POST", CANCEL_PATH), 1);
    assert_eq!(world.said("sent cancel workflow run").len(), 1);
    assert_eq!(world.github.job(job.0).conclusion.as_deref(), Some("cancelled"));
    life.stop();
}

/// A cancellation that GitHub refuses: set aside with the reason, an error, asked again hourly.
#[test]
fn a_refused_cancellation_is_tried_again_each_hour() {
    for (status, message) in [
        (403, "Resource not accessible by personal access token"),
        (404, "Not Found"),
        (409, "Cannot cancel a workflow run that has not been queued yet"),
    ] {
        let world = World::new(Limits { refused_retry: ms(200), ..short() });
        let rule = world.github.rule(Rule::on("POST", CANCEL_PATH).always().status(status, message));
        let life = world.start();
        let job = world.queue(JobSpec::new("acme/app", &["anka-template-tag:v1"]));
        let errors = world.wait_said("GitHub refuses to cancel the workflow run", 2);
        assert!(errors.iter().all(|error| error.level == Level::Error));
        assert!(errors[0].facts["error"].contains(message), "{errors:?}");
        world.wait_for("the job held", || {
            world.entry(job).is_some_and(|entry| matches!(entry.place, Place::Held { .. }))
        });
        let history = world.entry(job).unwrap().history;
        assert!(history.iter().any(|step| step.what.contains("cancelling was refused")), "{history:?}");
        world.github.remove_rule(rule);
        assert_eq!(world.github.wait_completed(job.0, LIMIT).conclusion.as_deref(), Some("cancelled"));
        world.tell_as(job, "completed");
        world.wait_gone_from_the_queue(job);
        assert!(world.vms.vms().is_empty());
        life.stop();
    }
}

/// The answer to the very first claim is lost: that the second calls it resumed is no sign of a crash.
#[test]
fn a_lost_answer_is_no_try() {
    let world = World::new(short());
    let job = world.queue(world.job());
    world.store.lose_answers(StoreVerb::Claim, 1);
    let life = world.start();
    world.run_to_its_end(job);
    let claims = world.said("queued job found");
    assert_eq!((claims.len(), claims[0].facts["attempts"].as_str()), (1, "0"));
    life.stop();
}

/// While nothing is queued there is nothing to learn of others either, so that an idle fleet costs its store little.
#[test]
fn a_quiet_queue_is_asked_for_jobs_only() {
    let world = World::new(Limits { idle_look: ms(20), ..short() });
    let life = world.start();
    let asked = |verb| world.store.n_calls(verb);
    world.wait_for("ten idle looks", || asked(StoreVerb::Claim) >= 10);
    assert!(asked(StoreVerb::Notices) <= 1, "{} looks at what others found out", asked(StoreVerb::Notices));
    let job = world.queue(world.job());
    world.run_to_its_end(job);
    assert!(asked(StoreVerb::Notices) >= 2, "news of a job is a reason to hear others");
    life.stop();
}
