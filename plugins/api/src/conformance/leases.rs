//! Rules: leases on names.

use std::time::Duration;

use super::MakeStore;
use super::made::{job, record, seconds};
use super::world::{World, world};
use crate::name::{HostId, VmName};
use crate::store::{Lease, Leased};
use crate::vm::VmRecord;

const LIFE: Duration = Duration::from_secs(90);
/// How long a host is silent before it counts as lost.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

fn alive(_process: &str) -> bool {
    false
}

fn gone_is_first(process: &str) -> bool {
    process == "first"
}

fn lease(host: &str, process: &str) -> Lease {
    Lease {
        name: "plugin/runner".to_owned(),
        host: HostId::new(host),
        process: process.to_owned(),
        predecessor_is_gone: alive,
        life: LIFE,
    }
}

impl World {
    #[track_caller]
    fn lease(&self, lease: &Lease) -> Leased {
        self.store.lease(lease).expect("the store answers a lease")
    }

    /// The VMs of lost hosts, after these were told.
    #[track_caller]
    fn forsaken(&self, told: &[&str]) -> Vec<String> {
        let told: Vec<_> = told.iter().map(|vm| VmName::new(*vm)).collect();
        let records = self.store.forsaken(WEEK, &told).expect("the store answers");
        records.into_iter().map(|record| record.vm.to_string()).collect()
    }

    #[track_caller]
    fn n_vms(&self) -> u64 {
        self.store.counts().expect("counts are read").vms
    }

    /// Hosts `a` and `b` have a lease each; of `a` there are two VMs, of `b` one.
    fn two_hosts(&self) {
        for (name, maker) in [("vm-2", "a1"), ("vm-3", "b1"), ("vm-1", "a2")] {
            self.store.put_vm(None, &record(name, maker, &job(1))).expect("the record is written");
        }
        for host in ["a", "b"] {
            assert_eq!(self.lease(&lease_of(host)), Leased::Ours);
        }
    }
}

/// Each host its own.
fn lease_of(host: &str) -> Lease {
    Lease { name: format!("plugin/of-{host}"), ..lease(host, "first") }
}

fn theirs(host: &str, process: &str, left: Duration) -> Leased {
    Leased::Theirs { host: HostId::new(host), process: process.to_owned(), left }
}

/// Twice gives the same.
pub fn a_lease_is_taken_and_renewed(make: MakeStore<'_>) {
    let world = world(make);
    for _ in 0..4 {
        assert_eq!(world.lease(&lease("a", "first")), Leased::Ours);
        world.clock.advance(LIFE - seconds(1));
    }
    assert_eq!(world.lease(&lease("b", "other")), theirs("a", "first", seconds(1)));
}

/// Whoever asks.
pub fn a_lease_is_respected_until_it_runs_out(make: MakeStore<'_>) {
    let world = world(make);
    assert_eq!(world.lease(&lease("a", "first")), Leased::Ours);
    assert_eq!(world.lease(&lease("b", "first")), theirs("a", "first", LIFE));
    world.clock.advance(seconds(30));
    assert_eq!(world.lease(&lease("a", "second")), theirs("a", "first", seconds(60)));
    world.clock.advance(seconds(60));
    assert_eq!(world.lease(&lease("b", "third")), Leased::Ours);
    assert_eq!(world.lease(&lease("a", "first")), theirs("b", "third", LIFE));
}

/// Of the same host only: nobody knows the processes of another.
pub fn a_gone_predecessor_is_followed_at_once(make: MakeStore<'_>) {
    let world = world(make);
    assert_eq!(world.lease(&lease("a", "first")), Leased::Ours);
    let elsewhere = Lease { predecessor_is_gone: gone_is_first, ..lease("b", "second") };
    assert_eq!(world.lease(&elsewhere), theirs("a", "first", LIFE));
    let here = Lease { predecessor_is_gone: gone_is_first, ..lease("a", "second") };
    assert_eq!(world.lease(&here), Leased::Ours);
    let late = Lease { predecessor_is_gone: gone_is_first, ..lease("a", "first") };
    assert_eq!(world.lease(&late), theirs("a", "second", LIFE));
}

/// Only by its holder.
pub fn a_released_lease_is_free(make: MakeStore<'_>) {
    let world = world(make);
    assert_eq!(world.lease(&lease("a", "first")), Leased::Ours);
    for other in [lease("a", "second"), lease("b", "first")] {
        world.store.release(&other).expect("there is nothing to do");
        assert_eq!(world.lease(&other), theirs("a", "first", LIFE));
    }
    for _ in 0..2 {
        world.store.release(&lease("a", "first")).expect("the lease is given up");
    }
    assert_eq!(world.lease(&lease("b", "other")), Leased::Ours);
}

/// Each name is its own.
pub fn leases_of_other_names_are_free(make: MakeStore<'_>) {
    let world = world(make);
    assert_eq!(world.lease(&lease("a", "first")), Leased::Ours);
    let hook = Lease { name: "hook/1".to_owned(), ..lease("b", "other") };
    assert_eq!(world.lease(&hook), Leased::Ours);
    world.store.release(&hook).expect("the lease is given up");
    assert_eq!(world.lease(&lease("b", "other")), theirs("a", "first", LIFE));
}

/// Each as if it had been asked for alone.
pub fn several_leases_are_renewed_at_once(make: MakeStore<'_>) {
    let world = world(make);
    let hook = |host, process| Lease { name: "hook/1".to_owned(), ..lease(host, process) };
    let renewed = |leases: &[Lease]| world.store.renew_leases(leases).expect("the store answers leases");
    assert_eq!(renewed(&[]), []);
    assert_eq!(world.lease(&hook("b", "other")), Leased::Ours);
    for _ in 0..2 {
        let both = renewed(&[lease("a", "first"), hook("a", "first")]);
        assert_eq!(both, [Leased::Ours, theirs("b", "other", LIFE)]);
    }
    let follow = |name: &str| Lease {
        name: name.to_owned(),
        predecessor_is_gone: gone_is_first,
        ..lease("a", "second")
    };
    assert_eq!(renewed(&[follow("plugin/runner"), follow("plugin/new")]), [Leased::Ours, Leased::Ours]);
    assert_eq!(world.lease(&lease("a", "first")), theirs("a", "second", LIFE));
}

/// An answer may be lost, so that a record goes only once it was told of. Asking with the same names again is well.
pub fn records_of_a_lost_host_are_told_before_they_go(make: MakeStore<'_>) {
    let world = world(make);
    world.two_hosts();
    world.clock.advance(WEEK - seconds(1));
    assert!(world.forsaken(&["vm-1"]).is_empty());
    assert_eq!(world.lease(&lease_of("b")), Leased::Ours);
    world.clock.advance(seconds(1));
    for _ in 0..2 {
        assert_eq!(world.forsaken(&[]), ["vm-1", "vm-2"]);
    }
    assert_eq!(world.n_vms(), 3);
    for _ in 0..2 {
        assert_eq!(world.forsaken(&["vm-1", "vm-3", "unknown"]), ["vm-2"]);
        assert_eq!(world.n_vms(), 2);
    }
    assert!(world.forsaken(&["vm-2"]).is_empty());
    assert_eq!(world.store.vms(&HostId::new("b")).expect("records are read").len(), 1);
}

/// Even in the last moment; and a lease that was given up is a sign of life too.
pub fn a_host_that_comes_back_keeps_its_records(make: MakeStore<'_>) {
    let world = world(make);
    world.two_hosts();
    world.store.release(&lease_of("b")).expect("the lease is given up");
    world.clock.advance(WEEK);
    assert_eq!(world.forsaken(&[]), ["vm-1", "vm-2", "vm-3"]);
    assert_eq!(world.lease(&lease_of("a")), Leased::Ours);
    assert!(world.forsaken(&["vm-1", "vm-2", "vm-3"]).is_empty());
    assert_eq!(world.n_vms(), 2);
}

/// From the first question on. A claim lets go of a VM that goes.
pub fn a_host_that_never_had_a_lease_is_lost_in_time(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let claim = world.claim("a1");
    world.put(&claim.key, &record("vm", "a1", &job(1)));
    world.clock.advance(WEEK);
    assert!(world.forsaken(&[]).is_empty());
    world.clock.advance(WEEK);
    assert_eq!(world.forsaken(&[]), ["vm"]);
    assert!(world.forsaken(&["vm"]).is_empty());
    let entry = world.store.entry(job(1).id).expect("an entry is read").expect("the job is stored");
    assert_eq!(entry.vm, None);
    for n in 0..101 {
        let other = VmRecord { host: HostId::new("c"), ..record(&format!("vm-{n}"), "a1", &job(1)) };
        world.store.put_vm(None, &other).expect("the record is written");
    }
    assert!(world.forsaken(&[]).is_empty());
    world.clock.advance(WEEK);
    assert_eq!(world.forsaken(&[]).len(), 100);
}
