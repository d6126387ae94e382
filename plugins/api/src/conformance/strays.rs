//! Rules: VMs that no claim holds, and jobs that are over when their runner is first named.

use super::MakeStore;
use super::made::{back, completed, counted, in_progress, job, record};
use super::world::world;
use crate::job::{Conclusion, Phase};
use crate::name::VmName;
use crate::store::{JobSignal, Noted, Place};
use crate::vm::VmRecord;

/// Its claim was given back, or its host is just starting.
pub fn a_vm_without_a_claim_takes_the_job(make: MakeStore<'_>) {
    let world = world(make);
    let first = world.prepare("a1", &job(1), "vm");
    world.give_back(&first, &back("stopped"));
    let second = world.claim_of("b1", &job(1));
    let listeners = ["a1", "b1"].map(|name| world.listen(name));
    assert_eq!(world.webhook(&job(1), in_progress(Some("vm"))), Noted::Moved);
    assert_eq!((world.place(&job(1)), world.attempts(&job(1))), (Some(Place::Running), 0));
    world.is_lost(&second);
    listeners[0].hears(&JobSignal::Vm(VmName::new("vm")));
    listeners[1].hears(&JobSignal::Retry);
    assert_eq!(world.vm("vm", "a1"), Some(record("vm", "a1", &job(1))));
}

/// The fence said that it works, but not on what.
pub fn a_vm_of_an_unknown_job_is_named_its_job(make: MakeStore<'_>) {
    let world = world(make);
    let first = world.prepare("a1", &job(1), "vm");
    let unknown = VmRecord { job: None, run: None, repository: String::new(), ..record("vm", "a1", &job(1)) };
    world.put(&first.key, &unknown);
    world.holds(&first, &job(1), &Phase::Queued);
    world.give_back(&first, &back("its runner took another job"));
    world.queue(&job(2));
    let listener = world.listen("a1");
    world.webhook(&job(2), in_progress(Some("vm")));
    listener.hears(&JobSignal::Vm(VmName::new("vm")));
    assert_eq!(world.place(&job(2)), Some(Place::Running));
    assert_eq!(world.vm("vm", "a1"), Some(VmRecord { ..record("vm", "a1", &job(2)) }));
    world.claim_of("b1", &job(1));
}

/// The VM stays with its host, and so does the job if it starts there.
pub fn a_claim_that_was_taken_over_does_not_hold_the_vm(make: MakeStore<'_>) {
    let world = world(make);
    world.prepare("a1", &job(1), "vm");
    world.outlive("b1");
    let taker = world.claim_of("b1", &job(1));
    let listeners = ["a1", "b1"].map(|name| world.listen(name));
    world.webhook(&job(1), in_progress(Some("vm")));
    world.is_lost(&taker);
    listeners[0].hears(&JobSignal::Vm(VmName::new("vm")));
    listeners[1].hears(&JobSignal::Retry);
    assert_eq!(
        (world.place(&job(1)), world.attempts(&job(1))),
        (Some(Place::Running), 1),
        "the crash counts"
    );
}

/// `in_progress` was lost.
pub fn completed_news_may_be_the_first_of_the_runner(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    let listener = world.listen("a1");
    world.webhook(&job(1), completed(Some("vm")));
    listener.hears_among_others(&JobSignal::Finish(job(1).id, Conclusion::Success));
    world.holds(&claim, &job(1), &completed(Some("vm")));
}

/// The VM of A has run B: the claim ends with B, and A goes on.
pub fn completed_on_another_claims_vm_moves_the_claim(make: MakeStore<'_>) {
    let world = world(make);
    let first = world.prepare("a1", &job(1), "vm");
    let second = world.prepare("b1", &job(2), "vm-b");
    let listeners = ["a1", "b1"].map(|name| world.listen(name));
    world.webhook(&job(2), completed(Some("vm")));
    world.holds(&first, &job(2), &completed(Some("vm")));
    world.holds(&second, &job(1), &Phase::Queued);
    listeners[0].hears_among_others(&JobSignal::Finish(job(2).id, Conclusion::Success));
    listeners[1].hears(&JobSignal::Retry);
    world.webhook(&job(3), completed(Some("vm-b")));
    world.holds(&second, &job(3), &completed(Some("vm-b")));
    assert_eq!(world.place(&job(1)), Some(Place::Queued));
    for (claim, n) in [(first, 2), (second, 3)] {
        world.store.finish(&claim.key, &Conclusion::Success).expect("the claim holds");
        assert_eq!(world.webhook(&job(n), Phase::Queued), Noted::Ended);
    }
}

/// Nothing of ours ran it.
pub fn completed_on_a_foreign_runner_ends_the_claim(make: MakeStore<'_>) {
    for before in [None, Some(in_progress(Some("vm")))] {
        let world = world(make);
        let claim = world.prepare("a1", &job(1), "vm");
        if let Some(before) = before {
            world.webhook(&job(1), before);
        }
        let listener = world.listen("a1");
        assert_eq!(world.webhook(&job(1), completed(Some("elsewhere"))), Noted::Moved);
        world.is_lost(&claim);
        listener.hears(&JobSignal::Retry);
        assert_eq!(world.place(&job(1)), None);
        assert_eq!(world.webhook(&job(1), Phase::Queued), Noted::Ended);
        assert!(world.vm("vm", "a1").is_some());
    }
}

/// Its host learns what became of its VM.
pub fn completed_on_a_vm_without_a_claim_names_its_job(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    world.give_back(&claim, &counted("too slow"));
    let listener = world.listen("a1");
    world.webhook(&job(2), completed(Some("vm")));
    listener.hears(&JobSignal::Vm(VmName::new("vm")));
    assert_eq!(world.vm("vm", "a1"), Some(record("vm", "a1", &job(2))));
    assert_eq!((world.place(&job(2)), world.place(&job(1))), (None, Some(Place::Queued)));
}

/// B is over already, so nothing of it runs on the VM of A.
pub fn a_late_swap_changes_nothing(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    world.webhook(&job(2), completed(None));
    assert_eq!(world.webhook(&job(2), in_progress(Some("vm"))), Noted::Ended);
    world.holds(&claim, &job(1), &Phase::Queued);
    assert_eq!(world.vm("vm", "a1"), Some(record("vm", "a1", &job(1))));
}
