//! Rules: VM records, and the claims that come from them.

use super::MakeStore;
use super::made::{completed, handler, host_of, in_progress, job, record, repository, seconds};
use super::world::world;
use crate::job::{Conclusion, JobId, Phase, RunId, RunnerId};
use crate::name::{HostId, VmName};
use crate::store::{JobSignal, Place};
use crate::time::Moment;
use crate::vm::{JitRunner, Stage, VmRecord};

fn vm(name: &str) -> VmName {
    VmName::new(name)
}

/// By name; other hosts' are not theirs to see.
pub fn records_are_kept_by_host(make: MakeStore<'_>) {
    let world = world(make);
    assert_eq!(world.store.vms(&host_of("a1")).expect("records are read"), []);
    for (name, maker) in [("vm-2", "a1"), ("vm-3", "b1"), ("vm-1", "a2")] {
        world.store.put_vm(None, &record(name, maker, &job(1))).expect("the record is written");
    }
    let names = |host: &str| -> Vec<String> {
        let records = world.store.vms(&HostId::new(host)).expect("records are read");
        records.into_iter().map(|record| record.vm.to_string()).collect()
    };
    assert_eq!(
        (names("a"), names("b"), names("c")),
        (vec!["vm-1".into(), "vm-2".into()], vec!["vm-3".into()], vec![])
    );
    assert_eq!(world.store.counts().expect("counts are read").vms, 3);
}

/// With a claim or without, twice or once.
pub fn a_record_takes_the_place_of_its_name(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let claim = world.claim("a1");
    for stage in [Stage::Cloning, Stage::Starting, Stage::Starting] {
        world.put(&claim.key, &VmRecord { stage, ..record("vm", "a1", &job(1)) });
        assert_eq!(world.vm("vm", "a1").map(|record| record.stage), Some(stage));
    }
    let entry = world.store.entry(job(1).id).expect("an entry is read").expect("the job is stored");
    assert_eq!(entry.history.iter().filter(|line| line.what == "stage starting").count(), 1);
    let moved = VmRecord { failed_deletions: 2, job: None, ..record("vm", "b1", &job(1)) };
    world.store.put_vm(None, &moved).expect("the record is written");
    assert_eq!((world.vm("vm", "a1"), world.vm("vm", "b1")), (None, Some(moved)));
    assert_eq!(world.store.counts().expect("counts are read").vms, 1);
}

/// And an unknown one is well.
pub fn removing_a_vm_may_be_repeated(make: MakeStore<'_>) {
    let world = world(make);
    world.store.put_vm(None, &record("vm", "a1", &job(1))).expect("the record is written");
    for _ in 0..2 {
        world.store.remove_vm(&vm("vm")).expect("the record goes");
        assert_eq!(world.vm("vm", "a1"), None);
    }
    world.store.remove_vm(&vm("unknown")).expect("there is nothing to do");
    assert_eq!(world.store.counts().expect("counts are read").vms, 0);
}

/// News that names it is of a foreign runner.
pub fn a_removed_vm_is_nobodys(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    world.store.remove_vm(&vm("vm")).expect("the record goes");
    world.holds(&claim, &job(1), &Phase::Queued);
    assert!(world.store.adopt(&handler("a2"), &vm("vm")).expect("the store answers").is_none());
    world.put(&claim.key, &record("vm-again", "a1", &job(1)));
    world.webhook(&job(2), in_progress(Some("vm")));
    assert_eq!(world.place(&job(2)), Some(Place::Running));
    world.holds(&claim, &job(1), &Phase::Queued);
    world.webhook(&job(1), in_progress(Some("vm-again")));
    world.holds(&claim, &job(1), &in_progress(Some("vm-again")));
}

/// Also when its host writes it back, as it does after a loss; whoever takes the claim over is not told of it.
pub fn a_claim_lets_go_of_a_removed_vm(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    world.store.remove_vm(&vm("vm")).expect("the record goes");
    world.store.put_vm(None, &record("vm", "a1", &job(1))).expect("the record is written");
    assert!(world.store.adopt(&handler("a1"), &vm("vm")).expect("the store answers").is_none());
    world.webhook(&job(2), in_progress(Some("vm")));
    assert_eq!(world.place(&job(2)), Some(Place::Running));
    world.holds(&claim, &job(1), &Phase::Queued);
    world.outlive("b1");
    assert_eq!(world.claim_of("b1", &job(1)).taken.and_then(|taken| taken.vm), None);
}

/// Its handler has not yet heard that the VM runs another job.
pub fn a_stale_record_is_written_with_the_claims_job(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm");
    world.webhook(&job(2), in_progress(Some("vm")));
    world.holds(&claim, &job(2), &in_progress(Some("vm")));
    let stale = VmRecord { stage: Stage::Running, ..record("vm", "a1", &job(1)) };
    world.put(&claim.key, &stale);
    let expected = VmRecord { stage: Stage::Running, ..record("vm", "a1", &job(2)) };
    assert_eq!(world.vm("vm", "a1"), Some(expected.clone()));
    let unnamed = VmRecord { job: None, ..expected };
    world.put(&claim.key, &unnamed);
    assert_eq!(world.vm("vm", "a1"), Some(unnamed));
}

/// Nobody watches it, so its plugin has to be told that it is of no use any more.
pub fn the_end_of_the_job_on_an_unwatched_vm_is_told(make: MakeStore<'_>) {
    for runner in [Some("vm"), None] {
        let world = world(make);
        let claim = world.prepare("a1", &job(1), "vm");
        world.webhook(&job(1), in_progress(Some("vm")));
        world.store.leave_running(&claim.key).expect("the claim holds");
        let listener = world.listen("a1");
        world.webhook(&job(1), completed(runner));
        listener.hears(&JobSignal::Vm(vm("vm")));
    }
}

/// Whatever strangers put into it.
pub fn a_record_with_all_its_fields_comes_back(make: MakeStore<'_>) {
    let world = world(make);
    let mut odd = job(1);
    odd.id = JobId(u64::MAX);
    odd.labels = vec!["--yes; $(x) '\"\n\u{1f355}".to_owned(), "x".repeat(256)];
    odd.run_id = RunId(u64::MAX - 1);
    odd.image.tag = Some("v1:2|3".to_owned());
    odd.name = "a:b|c{d}".to_owned();
    odd.enterprise = Some("big".to_owned());
    world.queue(&odd);
    let claim = world.claim("a1");
    assert_eq!(claim.job, odd);
    let full = VmRecord {
        scope: repository("Acme", "app"),
        stage: Stage::Registering,
        jit: Some(JitRunner {
            id: Some(RunnerId(u64::MAX)),
            n_names: 2,
            spare_names: vec!["vm:1|2".to_owned()],
        }),
        registering_at: Some(Moment(7)),
        registered_at: Some(Moment(i64::MAX)),
        failed_deletions: 3,
        ..record("vm:1|2", "a1", &odd)
    };
    world.put(&claim.key, &full);
    assert_eq!(world.vm("vm:1|2", "a1"), Some(full));
    world.webhook(&odd, in_progress(Some("vm:1|2")));
    world.holds(&claim, &odd, &in_progress(Some("vm:1|2")));
    world.clock.advance(seconds(1));
    let conclusion = Conclusion::Other("a word of the future".to_owned());
    let phase = Phase::Completed { conclusion, runner: Some("vm:1|2".to_owned()) };
    world.webhook(&odd, phase.clone());
    world.holds(&claim, &odd, &phase);
}
