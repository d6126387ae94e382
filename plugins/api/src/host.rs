//! This machine: whether it has room for a VM, and its own list of the VMs it must clean up.

use crossbeam_channel::Receiver;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::name::{HostId, PluginName, VmName};
use crate::time::Moment;
use crate::vm::{VmRecord, VmSize};

/// The host as plugins see it.
pub trait Host: Send + Sync {
    /// Who this host is, for good.
    fn id(&self) -> &HostId;

    /// The host's name, for people: it may change.
    fn name(&self) -> String {
        self.id().to_string()
    }

    /// How many VMs the host runs at most.
    fn n_slots(&self) -> usize;

    /// How many of them are taken, by what is known without asking the VM host.
    fn n_taken_slots(&self) -> usize;

    /// Whether the drain file asks for no new work.
    fn is_drained(&self) -> bool;

    /// Takes a VM slot for `vm`, and room for it if a size is given; both are free again when the reservation is dropped. Each name
    /// that is reserved, here or in another process of the host, or among `running` takes one slot, so that VMs of others and VMs that
    /// could not be deleted count too. What the running ones take of the host counts where nothing is reserved for them.
    fn reserve(
        &self,
        vm: &VmName,
        need: Option<VmSize>,
        running: &[RunningVm],
    ) -> Result<Reservation, HostError>;

    /// Whether [`Host::reserve`] would find a slot, by what is known without asking the VM host.
    fn has_slot(&self) -> bool;

    /// Whether [`Host::reserve`] would find room for a VM of this size, by what is known without asking the VM host.
    fn has_room(&self, need: VmSize) -> bool;

    /// Whether room is reserved for the VM of this name, here or in another process.
    fn is_reserved(&self, name: &str) -> bool;

    /// What the host has for VMs in all.
    fn totals(&self) -> VmSize;

    /// Becomes ready when a reservation of this host ends, in whichever process, or when a handler waits for room no more. Each caller has a
    /// channel of its own.
    fn freed(&self) -> Receiver<()>;

    /// Notes that this handler waits with a job for room of that size, until [`Host::ends_waiting`]; false if another handler of the host, in
    /// whichever process, does already. It keeps the moment at which it began if it is said again.
    fn begins_waiting(&self, handler: &PluginName, need: VmSize) -> Result<bool, HostError>;

    /// The handler waits no more.
    fn ends_waiting(&self, handler: &PluginName);

    /// Which other handler of the host waits for room.
    fn waits_besides(&self, handler: &PluginName) -> Option<WaitsForRoom>;

    /// Writes a record into the host's ledger file, on disk before it returns. It takes the place of the one with the same name.
    fn record(&self, record: &VmRecord) -> Result<(), HostError>;

    /// Removes a record from the ledger file; an unknown one is well.
    fn forget(&self, vm: &VmName) -> Result<(), HostError>;

    /// All records of the ledger file.
    fn records(&self) -> Result<Vec<VmRecord>, HostError>;
}

/// A VM that runs on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningVm {
    /// Its name.
    pub name: String,
    /// What it takes, where that is known and matters.
    pub size: Option<VmSize>,
}

/// A handler that holds a job ready until there is room.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitsForRoom {
    /// The handler.
    pub handler: PluginName,
    /// What its VM needs.
    pub need: VmSize,
    /// Since when, by this host's clock.
    pub since: Moment,
}

/// A VM slot of the host, held until it is dropped.
pub struct Reservation(#[allow(dead_code, reason = "held only to be dropped")] Box<dyn Send>);

impl Reservation {
    /// `release` frees the slot in its `Drop`.
    pub fn new(release: Box<dyn Send>) -> Self {
        Self(release)
    }
}

/// Why the host refuses.
#[derive(Debug, Error)]
pub enum HostError {
    /// Every VM slot is taken.
    #[error("{n_running} VMs are running on this host, which can run {n_slots}")]
    NoSlot {
        /// Running and reserved ones together.
        n_running: usize,
        /// What the host can run.
        n_slots: usize,
    },
    /// There is a slot, but not enough processors or memory beside what runs.
    #[error("the VM needs {need}, and {free} are free on this host{}", if *.for_others { " beside VMs that are not ours" } else { "" })]
    NoRoom {
        /// What the VM needs.
        need: VmSize,
        /// What is free.
        free: VmSize,
        /// It would fit without the VMs that are not ours.
        for_others: bool,
    },
    /// The VM is larger than the whole host.
    #[error("the VM needs {need}, and this host has {total} in all")]
    TooLarge {
        /// What the VM needs.
        need: VmSize,
        /// What the host has.
        total: VmSize,
    },
    /// The ledger file cannot be read or written.
    #[error("cannot {doing} the ledger file {path}: {source}")]
    Ledger {
        /// `read`, `write`, `lock`.
        doing: &'static str,
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}
