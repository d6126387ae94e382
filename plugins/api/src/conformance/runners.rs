//! Rules: the runner decides which job it runs, so claims follow it.

use super::MakeStore;
use super::made::{completed, in_progress, job, record, repository, want};
use super::world::{World, world};
use crate::job::{Conclusion, Job, Phase};
use crate::name::VmName;
use crate::store::{JobSignal, Noted, Place};
use crate::vm::{Stage, VmRecord};

/// The usual case.
pub fn a_job_starts_on_its_own_vm(make: MakeStore<'_>) {
    let world = world(make);
    let listeners = ["a1", "b1"].map(|name| world.listen(name));
    let claim = world.prepare("a1", &job(1), "vm");
    assert_eq!(world.webhook(&job(1), in_progress(Some("vm"))), Noted::Moved);
    listeners[0].hears(&JobSignal::Started(job(1).id));
    listeners[1].hears_nothing_of_its_own();
    world.holds(&claim, &job(1), &in_progress(Some("vm")));
    assert_eq!(world.vm("vm", "a1"), Some(record("vm", "a1", &job(1))));
    assert_eq!(world.attempts(&job(1)), 1);
}

/// Our own attempt at it is undone; the entry ends with `completed`.
pub fn a_foreign_runner_takes_the_job(make: MakeStore<'_>) {
    let world = world(make);
    let listener = world.listen("a1");
    let claim = world.prepare("a1", &job(1), "vm");
    assert_eq!(world.webhook(&job(1), in_progress(Some("elsewhere"))), Noted::Moved);
    listener.hears_among_others(&JobSignal::Retry);
    world.is_lost(&claim);
    assert_eq!((world.place(&job(1)), world.attempts(&job(1))), (Some(Place::Running), 0));
    assert_eq!(world.vm("vm", "a1"), Some(record("vm", "a1", &job(1))), "its host cleans up");
    assert!(world.ask(&want("a1")).is_err());
    assert_eq!(world.webhook(&job(1), completed(Some("elsewhere"))), Noted::Moved);
    assert_eq!(world.place(&job(1)), None);
}

/// Job A of `a1`'s VM is back in its group, uncounted, and the claim is on job B, which the VM runs.
#[track_caller]
fn claim_moved(world: &World, claim: &crate::store::Claim, a: &Job, b: &Job, phase: &Phase) {
    world.holds(claim, b, phase);
    world.is_claimed(b, "a1", false);
    assert_eq!(world.attempts(b), 1);
    let named = VmRecord {
        job: Some(b.id),
        run: Some(b.run_id),
        repository: format!("{}/{}", b.owner, b.repo),
        ..record("vm", "a1", a)
    };
    assert_eq!(world.vm("vm", "a1"), Some(named));
    assert_eq!((world.place(a), world.attempts(a)), (Some(Place::Queued), 0));
}

/// A workflow without our labels may match our runner.
pub fn an_unknown_job_on_our_vm_takes_the_claim(make: MakeStore<'_>) {
    let world = world(make);
    let listeners = ["a1", "b1"].map(|name| world.listen(name));
    let claim = world.prepare("a1", &job(1), "vm");
    listeners[1].forget();
    let mut other = job(2);
    other.repo = "tools".to_owned();
    assert_eq!(
        world.say(crate::store::Source::Webhook, &other, in_progress(Some("vm")), false),
        Noted::Moved
    );
    listeners[0].hears(&JobSignal::Started(other.id));
    listeners[1].hears_among_others(&JobSignal::Look);
    claim_moved(&world, &claim, &job(1), &other, &in_progress(Some("vm")));
    world.claim_of("b1", &job(1));
}

/// A was claimed for it, but B was given to it.
pub fn a_queued_job_on_our_vm_takes_the_claim(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    world.queue(&job(2));
    world.webhook(&job(2), in_progress(Some("vm")));
    claim_moved(&world, &claim, &job(1), &job(2), &in_progress(Some("vm")));
    assert_eq!(world.store.counts().expect("counts are read").queued, 1);
    world.claim_of("b1", &job(1));
}

/// News that named no runner came first.
pub fn a_running_job_on_our_vm_takes_the_claim(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    world.webhook(&job(2), in_progress(None));
    assert_eq!(world.webhook(&job(2), in_progress(Some("vm"))), Noted::Moved);
    claim_moved(&world, &claim, &job(1), &job(2), &in_progress(Some("vm")));
}

/// Jobs A and B are prepared by `a1` and `b1`, and the VM of `a1` gets B.
fn crossed(
    make: MakeStore<'_>,
    prepare_b1: impl FnOnce(&World, &Job),
) -> (World, [super::world::Listener; 3], [crate::store::Claim; 2]) {
    let world = world(make);
    let first = world.prepare("a1", &job(1), "vm");
    world.queue(&job(2));
    let second = world.claim_of("b1", &job(2));
    prepare_b1(&world, &job(2));
    let listeners = ["a1", "b1", "c1"].map(|name| world.listen(name));
    world.webhook(&job(2), in_progress(Some("vm")));
    (world, listeners, [first, second])
}

/// Non-matrix jobs of one run have the same labels.
pub fn two_claims_swap_their_jobs(make: MakeStore<'_>) {
    let mut prepared = None;
    let (world, listeners, [first, second]) = crossed(make, |world, b| {
        let claim = world.claim("b1");
        let mut made = record("vm-b", "b1", b);
        made.labels = vec!["extra".to_owned(), "ANKA-TEMPLATE:t1".to_owned(), "Self-Hosted".to_owned()];
        world.put(&claim.key, &made);
        prepared = Some(made);
    });
    world.holds(&first, &job(2), &in_progress(Some("vm")));
    world.holds(&second, &job(1), &Phase::Queued);
    world.is_claimed(&job(2), "a1", false);
    world.is_claimed(&job(1), "b1", false);
    assert_eq!((world.attempts(&job(1)), world.attempts(&job(2))), (1, 1));
    listeners[0].hears(&JobSignal::Started(job(2).id));
    listeners[1].hears(&JobSignal::Retry);
    listeners[2].hears_nothing_of_its_own();
    let named =
        VmRecord { job: Some(job(1).id), run: Some(job(1).run_id), ..prepared.expect("it was prepared") };
    assert_eq!(world.vm("vm-b", "b1"), Some(named));
    assert_eq!(world.vm("vm", "a1").and_then(|record| record.job), Some(job(2).id));
    world.webhook(&job(1), in_progress(Some("vm-b")));
    listeners[1].hears(&JobSignal::Started(job(1).id));
    for claim in [&first, &second] {
        world.store.finish(&claim.key, &Conclusion::Success).expect("the claim holds");
    }
    assert_eq!(world.webhook(&job(1), Phase::Queued), Noted::Ended);
    assert_eq!(world.webhook(&job(2), Phase::Queued), Noted::Ended);
}

/// Else A goes back to its group, uncounted, and B's VM is undone by its handler.
pub fn a_partner_must_be_able_to_run_the_job(make: MakeStore<'_>) {
    let changes: [fn(&mut VmRecord); 6] = [
        |made| made.labels.truncate(1),
        |made| made.scope = repository("acme", "tools"),
        |made| made.stage = Stage::Running,
        |made| made.stage = Stage::Undoing,
        |made| made.stage = Stage::Deleting,
        |made| made.job = None,
    ];
    let unfit = |change: Option<fn(&mut VmRecord)>| {
        let (world, listeners, [first, second]) = crossed(make, |world, b| {
            if let Some(change) = change {
                let mut made = record("vm-b", "b1", b);
                change(&mut made);
                world.put(&world.claim("b1").key, &made);
            }
        });
        claim_moved(&world, &first, &job(1), &job(2), &in_progress(Some("vm")));
        world.is_lost(&second);
        listeners[0].hears_among_others(&JobSignal::Started(job(2).id));
        listeners[1].hears_among_others(&JobSignal::Retry);
        listeners[2].hears_among_others(&JobSignal::Look);
        world.claim_of("b1", &job(1));
    };
    unfit(None);
    changes.into_iter().for_each(|change| unfit(Some(change)));
    let (world, _, [_, second]) = crossed(make, |world, b| {
        world.put(&world.claim("b1").key, &record("vm-b", "b1", b));
        world.store.remove_vm(&VmName::new("vm-b")).expect("the record goes");
    });
    world.is_lost(&second);
    assert_eq!(world.place(&job(1)), Some(Place::Queued));
}

/// By the API's word B runs on A's VM; what it ran on before is used up.
pub fn a_partner_that_ran_the_job_before_gets_nothing(make: MakeStore<'_>) {
    let world = world(make);
    let first = world.prepare("a1", &job(1), "vm");
    let second = world.prepare("b1", &job(2), "vm-b");
    world.webhook(&job(2), in_progress(Some("vm-b")));
    assert_eq!(world.api(&job(2), in_progress(Some("vm"))), Noted::Moved);
    claim_moved(&world, &first, &job(1), &job(2), &in_progress(Some("vm")));
    world.is_lost(&second);
}

/// A was cancelled while its runner waited; then B came to the runner.
pub fn a_job_over_is_not_handed_on(make: MakeStore<'_>) {
    let world = world(make);
    let first = world.prepare("a1", &job(1), "vm");
    let second = world.prepare("b1", &job(2), "vm-b");
    world.webhook(&job(1), completed(None));
    world.webhook(&job(2), in_progress(Some("vm")));
    world.holds(&first, &job(2), &in_progress(Some("vm")));
    world.is_lost(&second);
    assert_eq!(world.place(&job(1)), None);
    assert_eq!(world.webhook(&job(1), Phase::Queued), Noted::Ended);
}

/// GitHub said that A runs; only the API can say otherwise.
pub fn a_job_in_progress_is_not_handed_on(make: MakeStore<'_>) {
    let world = world(make);
    let first = world.prepare("a1", &job(1), "vm");
    let second = world.prepare("b1", &job(2), "vm-b");
    world.webhook(&job(1), in_progress(None));
    world.webhook(&job(2), in_progress(Some("vm")));
    world.holds(&first, &job(2), &in_progress(Some("vm")));
    world.is_lost(&second);
    assert_eq!((world.place(&job(1)), world.attempts(&job(1))), (Some(Place::Running), 0));
}

/// It was taken over for A; of B's past it says nothing.
pub fn a_moved_claim_is_taken_from_nobody(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    world.claim("b1");
    world.outlive("a1");
    let taker = world.claim_of("a1", &job(1));
    assert!(taker.taken.is_some());
    world.put(&taker.key, &record("vm", "a1", &job(1)));
    world.webhook(&job(2), in_progress(Some("vm")));
    let moved = world.claim("a1");
    assert_eq!((moved.key, moved.job, moved.taken), (taker.key, job(2), None));
}
