//! Rules: who gets which job, and when.

use super::MakeStore;
use super::made::{
    LIFE, avoided, back, completed, enterprise, job, job_of, record, repository, seconds, want,
};
use super::world::{LOOK, world};
use crate::store::{Place, Want};

/// By `created_at`, over all groups, whatever came first.
pub fn the_oldest_job_is_claimed_first(make: MakeStore<'_>) {
    let world = world(make);
    for n in [3, 1, 4, 2] {
        world.queue(&job_of(n, if n % 2 == 0 { "T1" } else { "T2" }));
    }
    let claimed: Vec<_> = ["a1", "a2", "b1", "b2"].map(|name| world.claim(name).job.id.0).into();
    assert_eq!(claimed, [1, 2, 3, 4]);
}

/// Old webhooks tell no date; the store's own time of arrival stands in.
pub fn jobs_without_a_date_go_by_arrival(make: MakeStore<'_>) {
    let world = world(make);
    for n in [3, 1, 2] {
        let mut job = job_of(n, if n == 1 { "T1" } else { "T2" });
        job.created_at = None;
        world.queue(&job);
        world.clock.advance(seconds(1));
    }
    world.queue(&job(9));
    let claimed: Vec<_> = ["a1", "a2", "b1", "b2"].map(|name| world.claim(name).job.id.0).into();
    assert_eq!(claimed, [9, 3, 1, 2]);
}

/// A matrix is created in one second.
pub fn jobs_of_the_same_date_go_by_arrival(make: MakeStore<'_>) {
    let world = world(make);
    for n in [12, 9, 10] {
        let mut job = job_of(n, if n == 9 { "T1" } else { "T2" });
        job.created_at = job_of(1, "T1").created_at;
        world.queue(&job);
    }
    let claimed: Vec<_> = ["a1", "a2", "b1"].map(|name| world.claim(name).job.id.0).into();
    assert_eq!(claimed, [12, 9, 10]);
}

/// A repository handler takes only its own jobs, an organization's those of every repository.
pub fn owner_and_repo_decide_without_case(make: MakeStore<'_>) {
    let world = world(make);
    let mut other = job(1);
    other.repo = "Tools".to_owned();
    let mut foreign = job(2);
    foreign.owner = "Globex".to_owned();
    for job in [&other, &foreign, &job(3)] {
        world.queue(job);
    }
    let of_app = Want { scope: repository("aCME", "APP"), ..want("a1") };
    assert_eq!(world.ask(&of_app).map(|claim| claim.job.id.0), Ok(3));
    assert_eq!(world.nothing_for(&Want { scope: repository("ac", "tools"), ..want("a2") }), None);
    world.claim_of("a2", &other);
    assert!(world.ask(&want("b1")).is_err());
    let of_globex = Want { scope: repository("globex", "app"), ..want("b1") };
    assert_eq!(world.ask(&of_globex).map(|claim| claim.job.id.0), Ok(2));
}

/// Webhooks need not name the enterprise.
pub fn an_enterprise_takes_its_own_and_unnamed_jobs(make: MakeStore<'_>) {
    let world = world(make);
    let (mut own, mut foreign, unnamed) = (job_of(1, "T2"), job_of(2, "T3"), job(3));
    own.enterprise = Some("Big".to_owned());
    foreign.enterprise = Some("Small".to_owned());
    for job in [&own, &foreign, &unnamed] {
        world.queue(job);
    }
    let big = |name| Want { scope: enterprise("big"), ..want(name) };
    assert_eq!(world.ask(&big("a1")).map(|claim| claim.job.id.0), Ok(1));
    assert_eq!(world.ask(&big("a2")).map(|claim| claim.job.id.0), Ok(3));
    assert!(world.ask(&big("b1")).is_err());
}

/// They are of the same group, since the enterprise is not part of it.
pub fn jobs_of_another_enterprise_are_stepped_over(make: MakeStore<'_>) {
    let world = world(make);
    for n in 1..=3 {
        let mut job = job(n);
        job.enterprise = Some(if n == 3 { "big" } else { "small" }.to_owned());
        world.queue(&job);
    }
    let big = Want { scope: enterprise("big"), ..want("a1") };
    assert_eq!(world.ask(&big).map(|claim| claim.job.id.0), Ok(3));
}

/// The same owner, repository, template and tag are one group, however they are spelled.
pub fn groups_are_told_apart_without_case(make: MakeStore<'_>) {
    let world = world(make);
    let mut tagged = job(3);
    tagged.image.tag = Some("v1".to_owned());
    let mut spelled = job_of(2, "t1");
    spelled.owner = "ACME".to_owned();
    for job in [&job(1), &spelled, &tagged] {
        world.queue(job);
    }
    let counts = world.store.counts().expect("counts are read");
    assert_eq!(counts.queued, 3);
    assert_eq!(counts.groups.into_iter().collect::<Vec<_>>(), [(job(1).group(), 2), (tagged.group(), 1)]);
}

/// A host too small for a template leaves the whole group to others.
pub fn groups_passed_by_are_not_claimed(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job_of(1, "Huge"));
    world.queue(&job(2));
    let small = |name| Want { pass: vec![job_of(1, "huge").group()], ..want(name) };
    assert_eq!(world.ask(&small("a1")).map(|claim| claim.job.id.0), Ok(2));
    assert!(world.ask(&small("a2")).is_err());
    world.claim_of("b1", &job_of(1, "Huge"));
}

/// The answer to the first may have been lost.
pub fn a_claim_asked_for_again_is_the_same_one(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    world.queue(&job(2));
    let first = world.claim("a1");
    world.give_back(&first, &avoided("the disk is full"));
    world.clock.advance(seconds(60));
    let first = world.claim("a1");
    assert!(!first.resumed);
    let again = world.claim("a1");
    assert!(again.resumed);
    assert_eq!((again.key, again.job, again.attempts), (first.key, first.job, first.attempts));
    assert_eq!((again.phase, again.reasons, again.host_failures), (first.phase, first.reasons, 1));
    assert_eq!(world.attempts(&job(1)), 1);
    assert_eq!(world.place(&job(2)), Some(Place::Queued));
}

/// A plugin may come back on another machine, and late.
pub fn a_resumed_claim_is_renewed_and_moves_with_its_handler(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let claim = world.claim("a1");
    world.store.pause(&claim.key).expect("the claim holds");
    world.clock.advance(LIFE);
    assert!(world.ask(&Want { host: crate::name::HostId::new("a"), ..want("b1") }).is_err(), "marks only");
    world.clock.advance(LIFE);
    let resumed =
        world.ask(&Want { host: crate::name::HostId::new("c"), ..want("a1") }).expect("the claim holds");
    assert!(resumed.resumed);
    assert_eq!(resumed.key, claim.key);
    let place = Place::Claimed {
        handler: claim.key.handler.clone(),
        host: crate::name::HostId::new("c"),
        paused: false,
    };
    assert_eq!(world.place(&job(1)), Some(place));
    assert_eq!(world.nothing("b1"), Some(LOOK));
}

/// 1, 2, 3 …, whoever claims, so that a later claim always has the greater number.
pub fn fences_count_new_claims(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let first = world.claim("a1");
    world.claim("a1");
    world.give_back(&first, &back("stopped"));
    let second = world.claim("b1");
    world.give_back(&second, &back("stopped"));
    assert!(world.ask(&Want { pass: vec![job(1).group()], ..want("a1") }).is_err());
    let third = world.claim("a1");
    assert_eq!([first.key.fence, second.key.fence, third.key.fence], [1, 2, 3]);
}

/// Then a handler waits for a signal.
pub fn nothing_in_sight_has_no_due_moment(make: MakeStore<'_>) {
    let world = world(make);
    assert_eq!(world.nothing("a1"), None);
    world.queue(&job(1));
    let claim = world.claim("a1");
    assert_eq!(world.nothing("b1"), Some(LOOK));
    assert_eq!(world.nothing_for(&Want { take_over: false, ..want("b1") }), None);
    assert_eq!(world.nothing_for(&Want { scope: repository("acme", "x"), ..want("b1") }), None);
    world.put(&claim.key, &record("vm", "a1", &job(1)));
    world.webhook(&job(1), completed(Some("vm")));
    world.store.finish(&claim.key, &crate::job::Conclusion::Success).expect("the claim holds");
    assert_eq!(world.nothing("b1"), None);
}
