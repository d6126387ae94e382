//! Rules: claims that come from VM records, when a handler starts again.

use super::MakeStore;
use super::made::{LIFE, back, completed, counted, handler, in_progress, job, record, want};
use super::world::{RIPE, world};
use crate::job::{Conclusion, Phase};
use crate::name::VmName;
use crate::store::{JobSignal, Want};
use crate::vm::VmRecord;

fn vm(name: &str) -> VmName {
    VmName::new(name)
}

/// A handler that starts again has its claim and its VM, in every phase.
pub fn the_holder_watches_on(make: MakeStore<'_>) {
    for phase in [Phase::Queued, in_progress(Some("vm")), completed(Some("vm"))] {
        let world = world(make);
        let claim = world.prepare("a1", &job(1), "vm");
        world.webhook(&job(1), phase.clone());
        for _ in 0..2 {
            let adopted = world.store.adopt(&handler("a1"), &vm("vm")).expect("the store answers");
            let adopted = adopted.expect("it holds the claim");
            assert_eq!((adopted.key, adopted.job, adopted.phase), (claim.key.clone(), job(1), phase.clone()));
            assert_eq!((adopted.resumed, adopted.attempts), (true, 0));
        }
        assert!(world.store.adopt(&handler("a2"), &vm("vm")).expect("the store answers").is_none());
        world.is_claimed(&job(1), "a1", false);
    }
}

/// Its host was away, or has left it running.
pub fn a_running_job_is_adopted_by_its_vm(make: MakeStore<'_>) {
    for phase in [in_progress(Some("vm")), in_progress(None)] {
        let world = world(make);
        let claim = world.prepare("a1", &job(1), "vm");
        world.webhook(&job(1), phase.clone());
        world.store.leave_running(&claim.key).expect("the claim holds");
        let adopted = world.store.adopt(&handler("a2"), &vm("vm")).expect("the store answers");
        let adopted = adopted.expect("the job is free");
        assert_eq!((&adopted.job, &adopted.phase), (&job(1), &phase));
        assert_eq!((adopted.attempts, adopted.resumed, &adopted.taken), (0, true, &None));
        assert!(adopted.key.fence > claim.key.fence);
        world.is_claimed(&job(1), "a2", false);
        assert_eq!(world.attempts(&job(1)), 1);
        let again = world.store.adopt(&handler("a2"), &vm("vm")).expect("the store answers");
        assert_eq!(again.map(|again| again.key), Some(adopted.key.clone()));
        let listener = world.listen("a2");
        world.webhook(&job(1), completed(Some("vm")));
        listener.hears_among_others(&JobSignal::Finish(job(1).id, Conclusion::Success));
        world.holds(&adopted, &job(1), &completed(Some("vm")));
        world.store.finish(&adopted.key, &Conclusion::Success).expect("the claim holds");
    }
}

/// Since nobody says how long; 90 s if it never had one.
pub fn an_adopted_claim_lives_as_long_as_the_last(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let claim = world.ask(&Want { claim_life: LIFE * 2, ..want("a1") }).expect("there is a job");
    world.put(&claim.key, &record("vm", "a1", &job(1)));
    world.webhook(&job(1), in_progress(Some("vm")));
    world.store.leave_running(&claim.key).expect("the claim holds");
    for (name, life) in [("a1", LIFE * 2), ("a2", LIFE)] {
        let adopted = world.store.adopt(&handler(name), &vm("vm")).expect("the store answers");
        assert_eq!(world.nothing("b1"), Some(life - life / 6));
        world.clock.advance(life);
        assert_eq!(world.nothing("b1"), Some(RIPE));
        let key = adopted.expect("the job is free").key;
        world.store.renew(std::slice::from_ref(&key)).expect("the store renews");
        assert_eq!(world.nothing("b1"), Some(life - life / 6));
        world.store.leave_running(&key).expect("the claim holds");
    }
}

/// Neither queued again, nor on another runner, nor in other hands.
pub fn a_job_is_adopted_only_where_it_runs(make: MakeStore<'_>) {
    let world = world(make);
    let none = |name: &str, vm: &str| {
        let adopted = world.store.adopt(&handler(name), &VmName::new(vm)).expect("the store answers");
        assert_eq!(adopted.map(|claim| claim.job.id), None);
    };
    none("a1", "unknown");
    let claim = world.prepare("a1", &job(1), "vm");
    world.give_back(&claim, &counted("too slow"));
    none("a1", "vm");
    let claim = world.claim("b1");
    none("a1", "vm");
    world.put(&claim.key, &record("vm-b", "b1", &job(1)));
    world.webhook(&job(1), in_progress(Some("vm-b")));
    none("a1", "vm");
    world.store.leave_running(&claim.key).expect("the claim holds");
    none("a1", "vm");
    world.api(&job(1), Phase::Queued);
    none("b1", "vm-b");
    world.store.put_vm(None, &VmRecord { job: None, ..record("vm", "a1", &job(1)) }).expect("it is written");
    none("a1", "vm");
}

/// A handler holds one claim at most.
pub fn nothing_is_adopted_beside_another_claim(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    world.webhook(&job(1), in_progress(Some("vm")));
    world.store.leave_running(&claim.key).expect("the claim holds");
    world.queue(&job(2));
    let other = world.claim_of("a1", &job(2));
    assert!(world.store.adopt(&handler("a1"), &vm("vm")).expect("the store answers").is_none());
    world.holds(&other, &job(2), &Phase::Queued);
    world.give_back(&other, &back("stopped"));
    assert!(world.store.adopt(&handler("a1"), &vm("vm")).expect("the store answers").is_some());
}

/// There is nothing to watch; its host removes the VM.
pub fn a_job_over_meanwhile_is_not_adopted(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    world.webhook(&job(1), in_progress(Some("vm")));
    world.store.leave_running(&claim.key).expect("the claim holds");
    world.webhook(&job(1), completed(Some("vm")));
    assert!(world.store.adopt(&handler("a1"), &vm("vm")).expect("the store answers").is_none());
    assert!(world.vm("vm", "a1").is_some());
}
