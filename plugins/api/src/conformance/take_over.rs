//! Rules: claims that ran out, and who may take them.

use super::MakeStore;
use super::made::{
    LIFE, avoided, back, completed, counted, enterprise, handler, host_of, in_progress, job, job_of, record,
    repository, seconds, want,
};
use super::world::{LOOK, RIPE, world};
use crate::job::Conclusion;
use crate::name::{HostId, VmName};
use crate::store::{JobSignal, Lease, Leased, Place, Taken, Want};

/// The first look marks, a renewal's time before the end; only the second, a third of a life later, takes.
pub fn taking_a_claim_needs_two_looks(make: MakeStore<'_>) {
    let world = world(make);
    let listener = world.listen("a1");
    let claim = world.prepare("a1", &job(1), "vm");
    world.clock.advance(LOOK - seconds(1));
    assert_eq!(world.nothing("b1"), Some(seconds(1)));
    world.clock.advance(seconds(1_000));
    assert_eq!(world.nothing("b1"), Some(RIPE));
    world.clock.advance(RIPE - seconds(1));
    assert_eq!(world.nothing("b2"), Some(seconds(1)));
    listener.hears_nothing_of_its_own();
    world.clock.advance(seconds(1));
    let taken = world.claim("b2");
    let from = Taken { handler: handler("a1"), host: host_of("a1"), vm: Some(VmName::new("vm")) };
    assert_eq!((taken.job.id, taken.taken, taken.resumed), (job(1).id, Some(from.clone()), false));
    assert_eq!((taken.attempts, world.attempts(&job(1))), (1, 2), "the crash counts");
    assert!(taken.key.fence > claim.key.fence);
    world.is_claimed(&job(1), "b2", false);
    world.is_lost(&claim);
    listener.hears(&JobSignal::Retry);
    assert_eq!(world.vm("vm", "a1"), Some(record("vm", "a1", &job(1))));
    let again = world.claim("b2");
    assert_eq!((again.key, again.taken, again.resumed), (taken.key, Some(from), true));
}

/// The holder was only slow.
pub fn a_renewal_after_the_mark_keeps_the_claim(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let claim = world.claim("a1");
    world.clock.advance(LIFE);
    assert_eq!(world.nothing("b1"), Some(RIPE));
    world.clock.advance(seconds(29));
    assert_eq!(world.store.renew(std::slice::from_ref(&claim.key)).expect("the store renews"), []);
    world.clock.advance(seconds(1));
    assert_eq!(world.nothing("b1"), Some(LOOK - seconds(1)));
    world.clock.advance(LOOK - seconds(1));
    assert_eq!(world.nothing("b1"), Some(RIPE), "the old mark is forgotten");
    world.holds(&claim, &job(1), &claim.phase);
}

/// A handler with a short life of claims marks one that has a long life; it has to run out all the same.
pub fn a_marked_claim_is_taken_when_it_has_run_out(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    world.claim("a1");
    let quick = Want { claim_life: seconds(30), ..want("b1") };
    world.clock.advance(LOOK);
    assert_eq!(world.nothing_for(&quick), Some(LIFE - LOOK));
    world.clock.advance(LIFE - LOOK - seconds(1));
    assert_eq!(world.nothing_for(&quick), Some(seconds(1)));
    world.clock.advance(seconds(1));
    assert!(world.ask(&quick).is_ok());
}

/// While every handler is busy nobody asks for jobs, but each process has leases to renew. The first handler that is free again need not wait.
pub fn whoever_renews_a_lease_marks_claims(make: MakeStore<'_>) {
    let world = world(make);
    let lease = |host: &str| Lease {
        name: "plugin/b1".to_owned(),
        host: HostId::new(host),
        process: "first".to_owned(),
        predecessor_is_gone: |_| false,
        life: LIFE,
    };
    let renew = |host| world.store.lease(&lease(host)).expect("the store answers a lease");
    let timid = Want { take_over: false, ..want("b1") };
    world.queue(&job(1));
    let claim = world.claim("a1");
    world.clock.advance(LOOK - seconds(1));
    assert_eq!(renew("b"), Leased::Ours);
    world.clock.advance(seconds(1));
    assert!(matches!(renew("c"), Leased::Theirs { .. }));
    world.clock.advance(seconds(1));
    assert_eq!(renew("b"), Leased::Ours);
    world.clock.advance(seconds(15));
    assert_eq!(renew("b"), Leased::Ours, "again, and it marks nothing anew");
    world.clock.advance(RIPE - seconds(16));
    assert_eq!(world.nothing("c1"), Some(seconds(1)));
    assert_eq!(world.nothing_for(&timid), None);
    world.clock.advance(seconds(1));
    world.holds(&claim, &job(1), &claim.phase);
    world.claim_of("c1", &job(1));
}

/// A busy handler's heartbeat does so too, and more often.
pub fn whoever_renews_a_claim_marks_others(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    world.claim("a1");
    world.queue(&job(2));
    let busy = world.claim("b1");
    world.clock.advance(LOOK);
    for _ in 0..2 {
        assert_eq!(world.store.renew(std::slice::from_ref(&busy.key)).expect("the store renews"), []);
        world.clock.advance(RIPE / 2);
    }
    world.claim_of("c1", &job(1));
    world.holds(&busy, &job(2), &busy.phase);
}

/// A claim is lost only when another took it.
pub fn a_late_holder_succeeds_and_renews(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    let verbs: [&dyn Fn(); 5] = [
        &|| drop(world.store.renew(std::slice::from_ref(&claim.key))),
        &|| world.put(&claim.key, &record("vm", "a1", &job(1))),
        &|| world.store.resume(&claim.key).expect("the claim holds"),
        &|| drop(world.claim("a1")),
        &|| drop(world.store.adopt(&handler("a1"), &VmName::new("vm"))),
    ];
    for verb in verbs {
        world.outlive("b1");
        verb();
        assert_eq!(world.nothing("b1"), Some(LOOK));
        world.holds(&claim, &job(1), &claim.phase);
    }
    world.outlive("a2");
    world.store.pause(&claim.key).expect("the claim holds");
    assert_eq!(world.nothing("a2"), Some(LOOK));
}

/// Whatever it has to say of the job is still true.
pub fn a_late_holder_may_end_its_claim(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let claim = world.claim("a1");
    world.outlive("b1");
    world.give_back(&claim, &counted("too slow"));
    assert_eq!(world.place(&job(1)), Some(Place::Queued));
    let claim = world.claim("a1");
    world.webhook(&job(1), completed(None));
    world.outlive("b1");
    world.store.finish(&claim.key, &Conclusion::Success).expect("the claim holds");
    assert_eq!(world.nothing("b1"), None);
}

/// A process whose connection has just come back may not: the holders could not renew either.
pub fn nothing_is_marked_or_taken_unasked(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let claim = world.claim("a1");
    let timid = Want { take_over: false, ..want("b1") };
    world.clock.advance(LIFE);
    assert_eq!(world.nothing_for(&timid), None);
    world.clock.advance(RIPE);
    assert_eq!(world.nothing("b1"), Some(RIPE), "nobody has marked it");
    world.clock.advance(RIPE);
    assert_eq!(world.nothing_for(&timid), None);
    world.holds(&claim, &job(1), &claim.phase);
    world.claim_of("b1", &job(1));
}

/// The taker could not ask GitHub about them.
pub fn claims_outside_the_scope_are_left_alone(make: MakeStore<'_>) {
    let world = world(make);
    let mut named = job(1);
    named.enterprise = Some("big".to_owned());
    world.queue(&named);
    world.claim("a1");
    for scope in [repository("acme", "tools"), repository("globex", "app"), enterprise("small")] {
        let elsewhere = Want { scope, ..want("b1") };
        world.clock.advance(LIFE + RIPE);
        assert_eq!(world.nothing_for(&elsewhere), None);
    }
    assert_eq!(world.nothing("b2"), Some(RIPE), "they have not marked it");
    world.clock.advance(RIPE);
    assert!(world.ask(&Want { scope: enterprise("BIG"), ..want("b1") }).is_ok());
}

/// They have waited longest.
pub fn the_oldest_ripe_claim_comes_before_queued_jobs(make: MakeStore<'_>) {
    let world = world(make);
    for n in [3, 2] {
        world.queue(&job_of(n, if n == 2 { "T2" } else { "T1" }));
        world.claim(if n == 2 { "a2" } else { "a1" });
    }
    world.outlive("b1");
    world.queue(&job(1));
    world.claim_of("b1", &job_of(2, "T2"));
    world.claim_of("b2", &job(3));
    world.claim_of("c1", &job(1));
}

/// The taker asks GitHub, and finishes, leaves running or gives back.
pub fn a_claim_is_taken_in_every_phase(make: MakeStore<'_>) {
    for phase in [in_progress(Some("vm")), in_progress(None), completed(Some("vm"))] {
        let world = world(make);
        world.prepare("a1", &job(1), "vm");
        world.webhook(&job(1), phase.clone());
        world.outlive("b1");
        let taken = world.claim_of("b1", &job(1));
        assert_eq!(taken.phase, phase);
        assert_eq!(taken.taken.and_then(|taken| taken.vm), Some(VmName::new("vm")));
        world.store.leave_running(&taken.key).expect("the claim holds");
        let is_over = phase == completed(Some("vm"));
        assert_eq!(world.place(&job(1)), (!is_over).then_some(Place::Running));
    }
}

/// It needs no room to ask GitHub.
pub fn what_the_host_passes_by_is_taken_too(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    world.give_back(
        &world.claim("b1"),
        &crate::store::GiveBack { host_avoids: Some(LIFE * 9), ..avoided("no disk") },
    );
    world.claim("a1");
    let passing = Want { pass: vec![job(1).group()], ..want("b1") };
    world.clock.advance(LIFE);
    assert_eq!(world.nothing_for(&passing), Some(RIPE));
    world.clock.advance(RIPE);
    let taken = world.ask(&passing).expect("the claim is ripe");
    assert_eq!((taken.job.id, taken.host_failures), (job(1).id, 1));
    world.give_back(&taken, &back("the handler that held it is gone"));
    assert!(world.ask(&passing).is_err());
    assert_eq!(world.attempts(&job(1)), 1);
}

/// A handler that was away too long, unless another was faster.
pub fn an_own_claim_that_ran_out_is_resumed(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    world.queue(&job(2));
    let claim = world.claim("a1");
    world.clock.advance(LIFE + RIPE);
    let resumed = world.claim("a1");
    assert_eq!((&resumed.key, resumed.resumed, resumed.taken), (&claim.key, true, None));
    world.claim("b1");
    world.outlive("c1");
    world.claim_of("c1", &job(1));
    assert_eq!(world.claim_of("a1", &job(2)).taken.map(|taken| taken.handler), Some(handler("b1")));
}

/// Each crash counts.
pub fn a_taker_may_die_too(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    world.claim("a1");
    for (n, name) in ["b1", "c1", "a1", "b1"].into_iter().enumerate() {
        world.outlive(name);
        assert_eq!(world.claim(name).attempts as usize, n + 1);
    }
    assert_eq!(world.attempts(&job(1)), 5);
}

/// The wall clock may be set back; what was due stays due, and no claim lives longer for it.
pub fn the_clock_never_runs_back(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    world.claim("a1");
    world.clock.advance(LIFE);
    assert_eq!(world.nothing("b1"), Some(RIPE));
    world.clock.set_back(seconds(50));
    assert_eq!(world.nothing("b1"), Some(RIPE));
    world.clock.advance(seconds(50) + RIPE);
    world.claim_of("b1", &job(1));
}
