//! Rules: what GitHub says, in every order, once or more often.

use super::MakeStore;
use super::made::{back, completed, handler, host_of, in_progress, job, record, seconds, want};
use super::world::world;
use crate::job::{Conclusion, Phase};
use crate::store::{Counts, GiveBack, JobSignal, Noted, Place, Source, Want};

/// Every sequence of up to four, beginning with each of the three.
fn sequences() -> Vec<Vec<Phase>> {
    let phases = [Phase::Queued, in_progress(Some("elsewhere")), completed(Some("elsewhere"))];
    let mut all = vec![Vec::new()];
    let mut longest = all.clone();
    for _ in 0..4 {
        longest = longest
            .iter()
            .flat_map(|begin| {
                phases.iter().map(|phase| [begin.as_slice(), std::slice::from_ref(phase)].concat())
            })
            .collect();
        all.extend_from_slice(&longest);
    }
    all
}

/// Only the furthest counts.
pub fn webhooks_in_any_order_move_a_job_forward(make: MakeStore<'_>) {
    let world = world(make);
    for (n, phases) in sequences().into_iter().enumerate() {
        let job = job(n as u64);
        let mut furthest = None;
        for phase in &phases {
            let rank = Some(phase.rank());
            let expected = match (furthest, phase) {
                (Some(2), _) => Noted::Ended,
                (None, Phase::Queued) => Noted::Enqueued,
                (furthest, _) if rank > furthest => Noted::Moved,
                _ => Noted::Known,
            };
            assert_eq!(world.webhook(&job, phase.clone()), expected, "{phase:?} of {phases:?}");
            furthest = furthest.max(rank);
        }
        let place = match furthest {
            Some(0) => Some(Place::Queued),
            Some(1) => Some(Place::Running),
            _ => None,
        };
        assert_eq!(world.place(&job), place, "{phases:?}");
    }
}

/// A claimed job is its handler's until that ends the claim, unless it runs elsewhere.
pub fn webhooks_in_any_order_reach_a_claimed_job(make: MakeStore<'_>) {
    for phases in sequences() {
        let world = world(make);
        let claim = world.prepare("a1", &job(1), "vm");
        let mut furthest = Phase::Queued;
        for phase in &phases {
            let phase = match phase {
                Phase::Queued => Phase::Queued,
                Phase::InProgress { .. } => in_progress(Some("vm")),
                Phase::Completed { .. } => completed(Some("vm")),
            };
            world.webhook(&job(1), phase.clone());
            if phase.rank() > furthest.rank() {
                furthest = phase;
            }
        }
        world.holds(&claim, &job(1), &furthest);
        world.is_claimed(&job(1), "a1", false);
        assert_eq!(world.attempts(&job(1)), 1);
        world.store.finish(&claim.key, &Conclusion::Success).expect("the claim holds");
        assert_eq!(world.webhook(&job(1), Phase::Queued), Noted::Ended, "{phases:?}");
    }
}

/// Deliveries come twice, and nobody is told twice to look.
pub fn doubled_news_is_known(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let before = world.store.entry(job(1).id).expect("an entry is read").map(|entry| entry.history);
    world.clock.advance(seconds(1));
    assert_eq!(world.webhook(&job(1), Phase::Queued), Noted::Known);
    assert_eq!(world.api(&job(1), Phase::Queued), Noted::Known);
    let after = world.store.entry(job(1).id).expect("an entry is read").map(|entry| entry.history);
    assert_eq!(before, after);
    assert_eq!(world.webhook(&job(1), in_progress(Some("elsewhere"))), Noted::Moved);
    for phase in
        [Phase::Queued, in_progress(Some("elsewhere")), in_progress(None), in_progress(Some("other"))]
    {
        assert_eq!(world.webhook(&job(1), phase), Noted::Known);
    }
    assert_eq!(world.api(&job(1), in_progress(Some("elsewhere"))), Noted::Known);
    assert_eq!(world.api(&job(1), in_progress(None)), Noted::Known);
    assert_eq!(world.phase(&job(1)), Some(in_progress(Some("elsewhere"))));
}

/// Neither an entry nor a tombstone.
pub fn news_that_is_not_ours_stores_nothing(make: MakeStore<'_>) {
    let world = world(make);
    for phase in
        [Phase::Queued, in_progress(None), in_progress(Some("x")), completed(None), completed(Some("x"))]
    {
        for source in [Source::Webhook, Source::Api] {
            assert_eq!(world.say(source, &job(1), phase.clone(), false), Noted::NotOurs);
        }
    }
    assert_eq!(world.store.counts().expect("counts are read"), Counts::default());
    world.queue(&job(1));
}

/// If the job is known or its runner is recorded.
pub fn news_of_ours_is_used_whatever_its_labels(make: MakeStore<'_>) {
    let world = world(make);
    let say = |n, phase| world.say(Source::Webhook, &job(n), phase, false);
    let claim = world.prepare("a1", &job(1), "vm");
    assert_eq!(say(1, in_progress(None)), Noted::Moved);
    assert_eq!(say(1, in_progress(Some("vm"))), Noted::Moved);
    assert_eq!(say(2, in_progress(Some("VM-of-others"))), Noted::NotOurs);
    assert_eq!(say(2, in_progress(Some("vm"))), Noted::Moved);
    world.holds(&claim, &job(2), &in_progress(Some("vm")));
    assert_eq!(say(2, completed(None)), Noted::Moved);
    world.store.finish(&claim.key, &Conclusion::Success).expect("the claim holds");
    assert_eq!(say(3, completed(Some("vm"))), Noted::Moved);
    assert_eq!(say(3, Phase::Queued), Noted::Ended);
}

/// It is kept until its `queued` comes, which starts nothing.
pub fn a_job_in_progress_waits_for_nobody(make: MakeStore<'_>) {
    let world = world(make);
    assert_eq!(world.webhook(&job(1), in_progress(None)), Noted::Moved);
    assert_eq!(world.place(&job(1)), Some(Place::Running));
    assert_eq!(world.webhook(&job(1), Phase::Queued), Noted::Known);
    assert_eq!(world.nothing("a1"), None);
    assert_eq!(world.store.counts().expect("counts are read"), Counts { running: 1, ..Counts::default() });
}

/// Its `queued` may be on the way.
pub fn a_job_over_at_its_first_word_leaves_a_tombstone(make: MakeStore<'_>) {
    let world = world(make);
    assert_eq!(world.webhook(&job(1), completed(None)), Noted::Moved);
    assert_eq!(world.place(&job(1)), None);
    assert_eq!(world.webhook(&job(1), Phase::Queued), Noted::Ended);
    assert_eq!(world.webhook(&job(1), completed(None)), Noted::Ended);
    assert_eq!(world.store.counts().expect("counts are read"), Counts::default());
}

/// Held is no state of GitHub's.
pub fn a_held_job_can_start_or_end(make: MakeStore<'_>) {
    for (phase, place) in [(in_progress(None), Some(Place::Running)), (completed(None), None)] {
        let world = world(make);
        world.queue(&job(1));
        world.give_back(&world.claim("a1"), &GiveBack { hold: seconds(9), ..back("x") });
        assert_eq!(world.webhook(&job(1), phase), Noted::Moved);
        assert_eq!(world.place(&job(1)), place);
        assert_eq!(world.nothing("a1"), None);
        world.clock.advance(seconds(9));
        assert_eq!(world.nothing("a1"), None);
        assert_eq!(world.store.counts().expect("counts are read").held, 0);
    }
}

/// Also a second subscriber of one name, and not one that has gone.
pub fn a_new_job_tells_everybody_to_look(make: MakeStore<'_>) {
    let world = world(make);
    drop(world.listen("a1"));
    let listeners = ["a1", "a1", "b1"].map(|name| world.listen(name));
    world.queue(&job(1));
    for listener in &listeners {
        listener.hears_among_others(&JobSignal::Look);
    }
    let claim =
        world.ask(&Want { handler: handler("a1"), host: host_of("a1"), ..want("a1") }).expect("a job");
    world.put(&claim.key, &record("vm", "a1", &job(1)));
    world.webhook(&job(1), in_progress(Some("vm")));
    listeners[0].hears(&JobSignal::Started(job(1).id));
    listeners[1].hears(&JobSignal::Started(job(1).id));
    listeners[2].hears_nothing_of_its_own();
}
