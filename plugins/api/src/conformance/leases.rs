//! Rules: leases on names.

use std::time::Duration;

use super::MakeStore;
use super::made::seconds;
use super::world::{World, world};
use crate::name::HostId;
use crate::store::{Lease, Leased};

const LIFE: Duration = Duration::from_secs(90);

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
