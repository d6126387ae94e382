//! Rules: how claims end, what counts, and what the history keeps.

use super::MakeStore;
use super::world::{
    LIFE, RIPE, World, assert_lost, avoided, back, completed, counted, handler, host_of, in_progress, job,
    record, seconds, want, world,
};
use crate::job::{Conclusion, Job, Phase};
use crate::store::{Claim, ClaimKey, Counted, GiveBack, JobSignal, Noted, Place};
use crate::vm::Stage;

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
        world.give_back(&claim, &if n % 2 == 0 { back("x") } else { counted("x") }.because(n));
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

type End = fn(&World, &ClaimKey) -> Result<(), crate::store::StoreError>;

const ENDS: [End; 3] = [
    |world, key| world.store.give_back(key, &counted("x")),
    |world, key| world.store.leave_running(key),
    |world, key| world.store.finish(key, &Conclusion::Success),
];

/// The answer was lost; the second call does nothing more, also when others have gone on.
pub fn an_ended_claim_can_be_ended_again(make: MakeStore<'_>) {
    for end in ENDS {
        let world = world(make);
        world.queue(&job(1));
        world.queue(&job(2));
        let claim = world.claim("a1");
        end(&world, &claim.key).expect("the claim holds");
        let place = world.place(&job(1));
        end(&world, &claim.key).expect("it is done already");
        assert_eq!(world.place(&job(1)), place);
        let next = world.claim("a1");
        end(&world, &claim.key).expect("it is done already");
        world.holds(&next, &next.job, &Phase::Queued);
        assert_eq!(world.attempts(&next.job), next.attempts + 1);
    }
}

/// Another took it: nothing may be saved under it.
pub fn a_lost_claim_can_do_nothing(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    world.outlive("b1");
    let taker = world.claim("b1");
    world.is_lost(&claim);
    for end in ENDS {
        assert_lost(end(&world, &claim.key));
    }
    assert_lost(world.store.pause(&claim.key));
    assert_lost(world.store.resume(&claim.key));
    let changed = crate::vm::VmRecord { stage: Stage::Running, ..record("vm", "a1", &job(1)) };
    assert_lost(world.store.put_vm(Some(&claim.key), &changed));
    assert_eq!(world.vm("vm", "a1"), Some(record("vm", "a1", &job(1))));
    assert_lost(world.store.put_vm(Some(&claim.key), &record("vm-2", "a1", &job(1))));
    assert_eq!(world.vm("vm-2", "a1"), None);
    let keys = [claim.key.clone(), taker.key.clone()];
    assert_eq!(world.store.renew(&keys).expect("the store renews"), [claim.key]);
    world.holds(&taker, &job(1), &Phase::Queued);
    world.is_claimed(&job(1), "b1", false);
}

/// A handler's new claim does not answer for its old one.
pub fn an_older_fence_is_lost(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let first = world.claim("a1");
    world.give_back(&first, &back("stopped"));
    let second = world.claim("a1");
    world.give_back(&second, &back("stopped"));
    let third = world.claim("a1");
    assert_lost(world.store.give_back(&first.key, &back("stopped")));
    assert_lost(world.store.pause(&second.key));
    assert_lost(world.store.put_vm(Some(&second.key), &record("vm", "a1", &job(1))));
    world.is_lost(&second);
    let renewed = world.store.renew(&[first.key.clone(), second.key.clone(), third.key.clone()]);
    assert_eq!(renewed.expect("the store renews"), [first.key, second.key]);
    world.is_claimed(&job(1), "a1", false);
}

/// Then no other host may take the job.
pub fn a_resumed_pause_is_over(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let claim = world.claim("a1");
    world.store.pause(&claim.key).expect("the claim holds");
    world.store.resume(&claim.key).expect("the claim holds");
    world.is_claimed(&job(1), "a1", false);
    assert!(world.ask(&want("b1")).is_err());
    world.store.pause(&claim.key).expect("the claim holds");
    world.claim_of("b1", &job(1));
    assert_lost(world.store.resume(&claim.key));
    world.is_claimed(&job(1), "b1", false);
}

/// Answers can be lost.
pub fn pauses_may_be_repeated(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let claim = world.claim("a1");
    for _ in 0..2 {
        world.store.pause(&claim.key).expect("the claim holds");
        world.is_claimed(&job(1), "a1", true);
    }
    for _ in 0..2 {
        world.store.resume(&claim.key).expect("the claim holds");
        world.is_claimed(&job(1), "a1", false);
    }
}

/// It does not renew either.
pub fn looking_changes_nothing(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let claim = world.claim("a1");
    world.clock.advance(LIFE);
    world.holds(&claim, &job(1), &Phase::Queued);
    assert_eq!(world.nothing("b1"), Some(RIPE));
    world.clock.advance(RIPE);
    world.holds(&claim, &job(1), &Phase::Queued);
    world.claim_of("b1", &job(1));
}

/// With times that never run back, and with whom it concerns.
pub fn the_history_tells_what_happened(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let claim = world.claim("a1");
    world.clock.advance(seconds(1));
    world.put(&claim.key, &crate::vm::VmRecord { stage: Stage::Cloning, ..record("vm", "a1", &job(1)) });
    world.store.pause(&claim.key).expect("the claim holds");
    world.clock.set_back(seconds(3_600));
    world.store.resume(&claim.key).expect("the claim holds");
    world.give_back(&claim, &counted("no network"));
    world.clock.advance(seconds(7_200));
    world.prepare_again("b1", &job(1));
    world.webhook(&job(1), in_progress(Some("vm-again")));
    let entry = world.store.entry(job(1).id).expect("an entry is read").expect("the job is stored");
    let lines: Vec<_> = entry.history.iter().map(|line| (line.what.as_str(), line.by.clone())).collect();
    let (a1, b1) = (Some((handler("a1"), host_of("a1"))), Some((handler("b1"), host_of("b1"))));
    let expected = [
        ("queued", None),
        ("claimed", a1.clone()),
        ("stage cloning", a1.clone()),
        ("paused", a1.clone()),
        ("resumed", a1.clone()),
        ("given back: no network", a1),
        ("claimed", b1.clone()),
        ("stage waiting", b1),
        ("in_progress", None),
    ];
    assert_eq!(lines, expected);
    assert!(entry.history.is_sorted_by_key(|line| line.at), "{:?}", entry.history);
}

/// A job that goes round and round does not fill the store.
pub fn the_newest_64_transitions_are_kept(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    for n in 0..40 {
        world.give_back(&world.claim("a1"), &back("").because(n));
    }
    let entry = world.store.entry(job(1).id).expect("an entry is read").expect("the job is stored");
    assert_eq!(entry.history.len(), 64);
    assert_eq!(entry.history.last().map(|line| line.what.as_str()), Some("given back: no. 39"));
}

impl GiveBack {
    fn because(self, n: u32) -> Self {
        Self { reason: format!("no. {n}"), ..self }
    }
}

impl World {
    fn prepare_again(&self, name: &str, job: &Job) -> Claim {
        let claim = self.claim_of(name, job);
        self.put(&claim.key, &record("vm-again", name, job));
        claim
    }
}
