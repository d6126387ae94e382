//! Webhooks doubled, late and out of order: a job only moves forward.

use anklet_plugin_api::job::Phase;
use anklet_plugin_api::name::{HostId, PluginName};
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::store::{Claim, ClaimAnswer, Place, Store, Want};
use serde_json::Value;

use crate::shapes::{JOB, job, today};
use crate::support::{Bench, PATIENCE};

pub(crate) fn claim(bench: &Bench, handler: &PluginName) -> Claim {
    let want = Want {
        handler: handler.clone(),
        host: HostId::new("host"),
        scope: Scope::Organization { owner: "octo".to_owned() },
        pass: Vec::new(),
        take_over: false,
        claim_life: PATIENCE,
    };
    match bench.store.claim(&want) {
        Ok(ClaimAnswer::Claimed(claim)) => *claim,
        other => panic!("{other:?}"),
    }
}

/// Delivers the actions in this order. Each answer's word and, at the end, the place are as expected.
#[track_caller]
fn check(deliveries: &[(&str, &str)], place: Option<Place>) {
    let bench = Bench::start();
    for (action, word) in deliveries {
        bench.deliver_job(&today(action)).is(200, word);
    }
    assert_eq!(bench.entry(JOB).map(|entry| entry.place), place, "{deliveries:?}");
}

#[test]
fn every_order_ends_where_github_is() {
    check(&[("queued", "queued"), ("queued", "already known")], Some(Place::Queued));
    check(
        &[("queued", "queued"), ("in_progress", "noted"), ("in_progress", "already known")],
        Some(Place::Running),
    );
    check(&[("in_progress", "noted"), ("queued", "already known")], Some(Place::Running));
    check(
        &[("queued", "queued"), ("in_progress", "noted"), ("queued", "already known")],
        Some(Place::Running),
    );
    check(&[("queued", "queued"), ("completed", "noted"), ("completed", "ended")], None);
    check(
        &[("queued", "queued"), ("completed", "noted"), ("in_progress", "ended"), ("queued", "ended")],
        None,
    );
    check(&[("in_progress", "noted"), ("completed", "noted"), ("queued", "ended")], None);
    check(
        &[("completed", "noted"), ("queued", "ended"), ("in_progress", "ended"), ("completed", "ended")],
        None,
    );
}

#[test]
fn the_jobs_end_does_not_end_the_next_attempt() {
    let bench = Bench::start();
    let of_attempt = |action: &str, run_attempt: u32| -> Value {
        let mut body = today(action);
        job(&mut body)["run_attempt"] = run_attempt.into();
        body
    };
    bench.deliver_job(&of_attempt("completed", 1)).is(200, "noted");
    bench.deliver_job(&of_attempt("queued", 1)).is(200, "ended");
    bench.deliver_job(&of_attempt("queued", 2)).is(200, "queued");
    bench.deliver_job(&of_attempt("in_progress", 1)).is(200, "ended");
    assert_eq!(bench.entry(JOB).map(|entry| (entry.job.run_attempt, entry.phase)), Some((2, Phase::Queued)));
}

#[test]
fn late_news_does_not_disturb_a_claim() {
    let bench = Bench::start();
    bench.deliver_job(&today("queued")).is(200, "queued");
    let handler = PluginName::new("handler");
    let claimed = claim(&bench, &handler);
    assert_eq!(claimed.job.id.0, JOB);
    bench.deliver_job(&today("queued")).is(200, "already known");
    let place = bench.entry(JOB).map(|entry| entry.place);
    assert!(matches!(&place, Some(Place::Claimed { handler: by, .. }) if *by == handler), "{place:?}");
}

#[test]
fn many_jobs_at_once_are_all_stored_once() {
    let bench = Bench::start();
    let n_jobs = 200;
    std::thread::scope(|scope| {
        // Each job twice, as with a hook of the repository and one of the organization.
        for n_thread in 0..8_u64 {
            let bench = &bench;
            scope.spawn(move || {
                for n_job in (0..n_jobs).filter(|n| n % 4 == n_thread % 4) {
                    let mut body = today("queued");
                    job(&mut body)["id"] = (n_job + 1).into();
                    assert_eq!(bench.deliver_job(&body).status, 200);
                }
            });
        }
    });
    assert_eq!(bench.counts().queued, n_jobs);
}
