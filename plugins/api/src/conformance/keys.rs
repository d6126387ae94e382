//! Rules: what a key may do as long as its claim holds, and afterwards; and what the history keeps of it.

use super::MakeStore;
use super::made::{LIFE, back, counted, handler, host_of, in_progress, job, nth, record, seconds, want};
use super::world::{RIPE, World, assert_lost, world};
use crate::job::{Conclusion, Job, Phase};
use crate::store::{Claim, ClaimKey};
use crate::vm::Stage;

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
        world.give_back(&world.claim("a1"), &nth(n, back("")));
    }
    let entry = world.store.entry(job(1).id).expect("an entry is read").expect("the job is stored");
    assert_eq!(entry.history.len(), 64);
    assert_eq!(entry.history.last().map(|line| line.what.as_str()), Some("given back: no. 39"));
}

impl World {
    fn prepare_again(&self, name: &str, job: &Job) -> Claim {
        let claim = self.claim_of(name, job);
        self.put(&claim.key, &record("vm-again", name, job));
        claim
    }
}
