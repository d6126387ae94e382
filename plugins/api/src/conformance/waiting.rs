//! Rules: jobs that are held, avoided or paused, and who gets them then.

use super::MakeStore;
use super::made::{avoided, back, completed, counted, in_progress, job, job_of, repository, seconds, want};
use super::world::world;
use crate::store::{GiveBack, JobSignal, Place, Want};

/// Before, nobody gets it; from then on everybody sees it queued.
pub fn a_held_job_is_due_at_its_moment(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let claim = world.claim("a1");
    let until = world.clock.now().after(seconds(8));
    world.give_back(&claim, &GiveBack { hold: seconds(8), ..counted("no network") });
    assert_eq!(world.place(&job(1)), Some(Place::Held { until }));
    assert_eq!(world.nothing("b1"), Some(seconds(8)));
    let counts = world.store.counts().expect("counts are read");
    assert_eq!((counts.queued, counts.held, counts.groups.len()), (0, 1, 0));
    world.clock.advance(seconds(7));
    let elsewhere = Want { scope: repository("globex", "x"), take_over: false, ..want("b1") };
    assert_eq!(world.nothing_for(&elsewhere), Some(seconds(1)));
    world.clock.advance(seconds(1));
    assert_eq!(world.place(&job(1)), Some(Place::Queued));
    let counts = world.store.counts().expect("counts are read");
    assert_eq!((counts.queued, counts.held, counts.groups.len()), (1, 0, 1));
    assert_eq!(world.claim_of("b1", &job(1)).attempts, 1);
}

/// The next of its group is at the head meanwhile, and behind it again afterwards.
pub fn a_held_job_blocks_nobody(make: MakeStore<'_>) {
    let world = world(make);
    for n in 1..=3 {
        world.queue(&job(n));
    }
    let claim = world.claim_of("a1", &job(1));
    world.give_back(&claim, &GiveBack { hold: seconds(8), ..counted("no network") });
    world.claim_of("a1", &job(2));
    world.clock.advance(seconds(8));
    world.claim_of("b1", &job(1));
    world.claim_of("b2", &job(3));
}

/// A host is blamed before a job.
pub fn an_avoided_job_is_left_to_other_hosts(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    world.queue(&job(2));
    world.give_back(&world.claim_of("a1", &job(1)), &avoided("clone failed"));
    let second = world.claim_of("a1", &job(2));
    assert!(world.ask(&want("a2")).is_err(), "all handlers of the host avoid it");
    let first = world.claim_of("b1", &job(1));
    assert_eq!(first.host_failures, 0);
    world.give_back(&first, &back("stopped"));
    world.give_back(&second, &back("stopped"));
    world.clock.advance(seconds(60));
    assert_eq!(world.claim_of("a1", &job(1)).host_failures, 1);
}

/// So that a claim costs the same however many this host cannot run.
pub fn at_most_32_avoided_jobs_are_stepped_over(make: MakeStore<'_>) {
    let world = world(make);
    for n in 1..=40 {
        world.queue(&job(n));
    }
    for n in 1..=32 {
        world.give_back(&world.claim_of("a1", &job(n)), &avoided("clone failed"));
    }
    let claim = world.claim_of("a1", &job(33));
    assert!(world.ask(&want("a2")).is_ok());
    world.give_back(&claim, &avoided("clone failed"));
    assert!(world.ask(&want("a1")).is_err());
    world.queue(&job_of(50, "T2"));
    world.claim_of("a1", &job_of(50, "T2"));
    world.claim_of("b1", &job(1));
}

/// It has waited for room already.
pub fn a_paused_job_goes_to_another_host_first(make: MakeStore<'_>) {
    let world = world(make);
    let first = world.prepare("a1", &job(5), "vm");
    let listeners = ["a1", "a2", "b1"].map(|name| world.listen(name));
    world.store.pause(&first.key).expect("the claim holds");
    for listener in &listeners {
        listener.hears_among_others(&JobSignal::Look);
    }
    world.is_claimed(&job(5), "a1", true);
    world.holds(&first, &job(5), &first.phase);
    world.queue(&job(1));
    world.claim_of("a2", &job(1));
    world.queue(&job(2));
    let taken = world.claim_of("b1", &job(5));
    assert_eq!((taken.attempts, taken.taken), (0, None));
    assert_eq!(world.attempts(&job(5)), 1);
    world.is_claimed(&job(5), "b1", false);
    world.is_lost(&first);
    listeners[0].hears(&JobSignal::Retry);
    assert!(world.vm("vm", "a1").is_some());
    world.claim_of("b2", &job(2));
}

/// Scope, groups passed by, and jobs that the host avoids.
pub fn a_paused_job_is_claimed_by_the_same_rules(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    world.give_back(&world.claim_of("b1", &job(1)), &avoided("clone failed"));
    let paused = world.claim_of("a1", &job(1));
    world.store.pause(&paused.key).expect("the claim holds");
    assert!(world.ask(&want("b1")).is_err());
    assert!(world.ask(&Want { scope: repository("acme", "tools"), ..want("c1") }).is_err());
    assert!(world.ask(&Want { pass: vec![job(1).group()], ..want("c1") }).is_err());
    world.holds(&paused, &job(1), &paused.phase);
    world.claim_of("c1", &job(1));
}

/// A job in progress or over is not for another to start.
pub fn a_paused_job_that_has_started_stays(make: MakeStore<'_>) {
    for phase in [in_progress(None), in_progress(Some("vm")), completed(None)] {
        let world = world(make);
        let claim = world.prepare("a1", &job(1), "vm");
        world.store.pause(&claim.key).expect("the claim holds");
        world.webhook(&job(1), phase.clone());
        assert!(world.ask(&want("b1")).is_err());
        world.holds(&claim, &job(1), &phase);
    }
}
