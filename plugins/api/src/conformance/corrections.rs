//! Rules: news that corrects what was known: re-runs, the word of the API, runners that were not named before.

use super::MakeStore;
use super::made::{back, completed, in_progress, job, want};
use super::world::world;
use crate::job::{Conclusion, Phase};
use crate::store::{JobSignal, Noted, Place, Source};

/// In the old one's place, with nothing of its past.
pub fn a_higher_run_attempt_is_a_new_job(make: MakeStore<'_>) {
    let world = world(make);
    let listener = world.listen("a1");
    world.queue(&job(1));
    world.give_back(
        &world.claim("a1"),
        &crate::store::GiveBack { counted: crate::store::Counted::Yes, ..back("x") },
    );
    let claim = world.claim("a1");
    let mut rerun = job(1);
    rerun.run_attempt = 2;
    listener.forget();
    assert_eq!(world.webhook(&rerun, Phase::Queued), Noted::Enqueued);
    world.is_lost(&claim);
    listener.hears(&JobSignal::Retry);
    assert_eq!((world.place(&rerun), world.attempts(&rerun)), (Some(Place::Queued), 0));
    let claim = world.claim("a1");
    assert_eq!((claim.job.run_attempt, claim.attempts, claim.reasons.len()), (2, 0, 0));
    world.webhook(&rerun, completed(None));
    world.store.finish(&claim.key, &Conclusion::Failure).expect("the claim holds");
    assert_eq!(world.webhook(&rerun, Phase::Queued), Noted::Ended);
    assert_eq!(world.webhook(&job(1), Phase::Queued), Noted::Ended);
    rerun.run_attempt = 3;
    world.queue(&rerun);
    assert_eq!(world.store.counts().expect("counts are read").queued, 1);
}

/// Its `queued` may be late or lost.
pub fn a_higher_run_attempt_may_begin_anywhere(make: MakeStore<'_>) {
    for (phase, place) in [(in_progress(None), Some(Place::Running)), (completed(None), None)] {
        let world = world(make);
        world.queue(&job(1));
        let claim = world.claim("a1");
        let mut rerun = job(1);
        rerun.run_attempt = 2;
        assert_eq!(world.say(Source::Webhook, &rerun, phase, false), Noted::Moved, "the job is known");
        world.is_lost(&claim);
        assert_eq!(world.place(&rerun), place);
        assert!(world.ask(&want("a1")).is_err());
    }
}

/// The re-run is what counts.
pub fn a_lower_run_attempt_is_late(make: MakeStore<'_>) {
    let world = world(make);
    let mut rerun = job(1);
    rerun.run_attempt = 2;
    world.queue(&rerun);
    let claim = world.claim("a1");
    for phase in [Phase::Queued, in_progress(Some("x")), completed(Some("x"))] {
        assert_eq!(world.webhook(&job(1), phase.clone()), Noted::Known);
        assert_eq!(world.api(&job(1), phase), Noted::Known);
    }
    world.holds(&claim, &rerun, &Phase::Queued);
}

/// GitHub queues jobs again that a runner never took up.
pub fn the_api_moves_a_job_back(make: MakeStore<'_>) {
    let world = world(make);
    let listener = world.listen("a1");
    world.webhook(&job(1), in_progress(Some("elsewhere")));
    assert_eq!(world.webhook(&job(1), Phase::Queued), Noted::Known);
    listener.forget();
    assert_eq!(world.api(&job(1), Phase::Queued), Noted::Moved);
    listener.hears_among_others(&JobSignal::Look);
    assert_eq!((world.place(&job(1)), world.phase(&job(1))), (Some(Place::Queued), Some(Phase::Queued)));
    assert_eq!(world.api(&job(1), Phase::Queued), Noted::Known);
    assert_eq!(world.claim_of("a1", &job(1)).attempts, 0);
}

/// Its handler sees it and decides.
pub fn the_api_moves_a_claimed_job_back(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    world.webhook(&job(1), in_progress(Some("vm")));
    let listener = world.listen("a1");
    assert_eq!(world.api(&job(1), Phase::Queued), Noted::Moved);
    listener.hears(&JobSignal::Retry);
    world.holds(&claim, &job(1), &Phase::Queued);
    assert!(world.ask(&want("b1")).is_err());
    world.webhook(&job(1), in_progress(Some("vm")));
    listener.hears(&JobSignal::Started(job(1).id));
    world.holds(&claim, &job(1), &in_progress(Some("vm")));
}

/// Webhooks of two runners come in any order; the API knows.
pub fn the_api_names_another_runner(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    world.webhook(&job(1), in_progress(Some("vm")));
    assert_eq!(world.webhook(&job(1), in_progress(Some("elsewhere"))), Noted::Known);
    world.holds(&claim, &job(1), &in_progress(Some("vm")));
    assert_eq!(world.api(&job(1), in_progress(Some("elsewhere"))), Noted::Moved);
    world.is_lost(&claim);
    assert_eq!(world.place(&job(1)), Some(Place::Running));
    assert_eq!(world.phase(&job(1)), Some(in_progress(Some("elsewhere"))));
}

/// GitHub does not always name it at first.
pub fn a_runner_is_filled_in(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    world.webhook(&job(1), in_progress(None));
    let listener = world.listen("a1");
    assert_eq!(world.webhook(&job(1), in_progress(Some("vm"))), Noted::Moved);
    listener.hears(&JobSignal::Started(job(1).id));
    world.holds(&claim, &job(1), &in_progress(Some("vm")));
}

/// Later news may name none.
pub fn a_runner_once_named_stays(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    world.webhook(&job(1), in_progress(Some("vm")));
    assert_eq!(world.webhook(&job(1), completed(None)), Noted::Moved);
    world.holds(&claim, &job(1), &completed(Some("vm")));
}

/// The handler finds out which it is.
pub fn an_unnamed_runner_leaves_the_claim(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let claim = world.claim("a1");
    let listener = world.listen("a1");
    assert_eq!(world.webhook(&job(1), in_progress(None)), Noted::Moved);
    listener.hears(&JobSignal::Retry);
    world.holds(&claim, &job(1), &in_progress(None));
    world.is_claimed(&job(1), "a1", false);
}
