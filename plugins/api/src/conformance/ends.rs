//! Rules: how claims end, what counts, and what the history keeps.

use super::MakeStore;
use super::made::{avoided, back, completed, counted, in_progress, job, nth, seconds, want};
use super::world::world;
use crate::job::{Conclusion, Phase};
use crate::store::{Counted, GiveBack, JobSignal, Noted, Place};

/// So that a crash counts; an uncounted give-back takes it back.
pub fn the_attempt_is_written_with_the_claim(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    assert_eq!(world.attempts(&job(1)), 0);
    for (how, before, after) in [
        (back("stopped"), 0, 0),
        (counted("runner not started"), 0, 1),
        (counted("runner not started"), 1, 2),
        (back("stopped"), 2, 2),
    ] {
        let claim = world.claim("a1");
        assert_eq!((claim.attempts, world.attempts(&job(1))), (before, before + 1));
        world.give_back(&claim, &how);
        assert_eq!(world.attempts(&job(1)), after);
    }
}

/// The first such failure may be the job's; more of them on one host are the host's.
pub fn a_failure_can_count_once_a_host(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let once = GiveBack { counted: Counted::OncePerHost, ..back("clone failed") };
    for (name, after) in [("a1", 1), ("a1", 1), ("a2", 1), ("b1", 2), ("a1", 2), ("b2", 2), ("c1", 3)] {
        world.give_back(&world.claim(name), &once);
        assert_eq!(world.attempts(&job(1)), after, "{name}");
    }
}

/// A give-back without blame ends the row; other hosts have rows of their own.
pub fn failures_of_a_host_in_a_row_are_counted(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    for (name, before, how) in [
        ("a1", 0, avoided("no disk")),
        ("a2", 1, avoided("no disk")),
        ("b1", 0, avoided("no disk")),
        ("a1", 2, back("stopped")),
        ("a1", 0, avoided("no disk")),
        ("b2", 1, back("stopped")),
    ] {
        let claim = world.claim(name);
        assert_eq!(claim.host_failures, before, "{name}");
        world.give_back(&claim, &how);
        world.clock.advance(seconds(60));
    }
}

/// Oldest first, counted or not.
pub fn the_newest_16_reasons_are_kept(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    for n in 0..20 {
        let claim = world.claim("a1");
        let expected: Vec<_> =
            (0..n).skip((n as usize).saturating_sub(16)).map(|n| format!("no. {n}")).collect();
        assert_eq!(claim.reasons, expected);
        world.give_back(&claim, &nth(n, if n % 2 == 0 { back("x") } else { counted("x") }));
    }
}

/// It goes back to the front, since it is the oldest.
pub fn a_given_back_job_keeps_its_age(make: MakeStore<'_>) {
    let world = world(make);
    let listener = world.listen("b1");
    for n in [2, 3] {
        world.queue(&job(n));
    }
    let claim = world.claim_of("a1", &job(2));
    listener.forget();
    world.give_back(&claim, &back("stopped"));
    listener.hears_among_others(&JobSignal::Look);
    assert_eq!(world.place(&job(2)), Some(Place::Queued));
    world.claim_of("b1", &job(2));
    world.claim_of("a1", &job(3));
}

/// The handler had not heard of the end yet.
pub fn giving_back_what_is_over_finishes_it(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let claim = world.claim("a1");
    world.webhook(&job(1), completed(None));
    world.give_back(&claim, &counted("runner not started"));
    assert_eq!(world.place(&job(1)), None);
    assert_eq!(world.webhook(&job(1), Phase::Queued), Noted::Ended);
    assert!(world.ask(&want("a1")).is_err());
}

/// GitHub has decided meanwhile; the try was no failure.
pub fn giving_back_what_runs_leaves_it_running(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    world.webhook(&job(1), in_progress(Some("vm")));
    world.give_back(
        &claim,
        &GiveBack { hold: seconds(9), host_avoids: Some(seconds(9)), ..counted("too slow") },
    );
    assert_eq!((world.place(&job(1)), world.attempts(&job(1))), (Some(Place::Running), 0));
    assert!(world.ask(&want("a1")).is_err());
    world.api(&job(1), Phase::Queued);
    let claim = world.claim("a1");
    assert_eq!((claim.reasons.len(), claim.host_failures), (0, 0));
}

/// The job is GitHub's, and its VM the host's.
pub fn leaving_a_job_running_ends_the_claim_only(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    world.webhook(&job(1), in_progress(Some("vm")));
    world.store.leave_running(&claim.key).expect("the claim holds");
    world.is_lost(&claim);
    assert_eq!(world.place(&job(1)), Some(Place::Running));
    assert_eq!(world.phase(&job(1)), Some(in_progress(Some("vm"))));
    assert!(world.vm("vm", "a1").is_some());
    assert!(world.ask(&want("b1")).is_err());
    let counts = world.store.counts().expect("counts are read");
    assert_eq!((counts.running, counts.claimed, counts.vms), (1, 0, 1));
    assert_eq!(world.webhook(&job(1), completed(Some("vm"))), Noted::Moved);
    assert_eq!(world.place(&job(1)), None);
}

/// GitHub's word came in between.
pub fn leaving_a_job_that_does_not_run_puts_it_where_it_belongs(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let claim = world.claim("a1");
    world.store.leave_running(&claim.key).expect("the claim holds");
    assert_eq!((world.place(&job(1)), world.attempts(&job(1))), (Some(Place::Queued), 0));
    let claim = world.claim("a1");
    world.webhook(&job(1), completed(None));
    world.store.leave_running(&claim.key).expect("the claim holds");
    assert_eq!(world.place(&job(1)), None);
}

/// Late news of it starts nothing.
pub fn a_finished_job_leaves_a_tombstone(make: MakeStore<'_>) {
    let world = world(make);
    let listener = world.listen("a1");
    let claim = world.prepare("a1", &job(1), "vm");
    assert_eq!(world.webhook(&job(1), completed(Some("vm"))), Noted::Moved);
    listener.hears_among_others(&JobSignal::Finish(job(1).id, Conclusion::Success));
    world.holds(&claim, &job(1), &completed(Some("vm")));
    world.is_claimed(&job(1), "a1", false);
    assert_eq!(world.webhook(&job(1), Phase::Queued), Noted::Ended);
    world.store.finish(&claim.key, &Conclusion::Success).expect("the claim holds");
    world.is_lost(&claim);
    assert_eq!(world.place(&job(1)), None);
    for phase in [Phase::Queued, in_progress(None), completed(None)] {
        assert_eq!(world.webhook(&job(1), phase.clone()), Noted::Ended);
        assert_eq!(world.api(&job(1), phase), Noted::Ended);
    }
    assert_eq!(world.place(&job(1)), None);
    assert!(world.vm("vm", "a1").is_some(), "only its host removes it");
}

/// By asking GitHub, whose news is late or lost.
pub fn an_end_found_out_by_the_handler_leaves_a_tombstone(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let claim = world.claim("a1");
    world.store.finish(&claim.key, &Conclusion::Cancelled).expect("the claim holds");
    assert_eq!(world.place(&job(1)), None);
    assert_eq!(world.webhook(&job(1), Phase::Queued), Noted::Ended);
    assert_eq!(world.webhook(&job(1), completed(None)), Noted::Ended);
}
