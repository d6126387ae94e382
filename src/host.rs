//! This machine: who it is, what fits on it, whether it is drained, and which VMs it must clean up.
//!
//! Everything that processes of one host must agree on lies in `~/.config/anklet` under one lock, which is held for
//! the moment of a read and a write only.

pub(crate) mod files;
pub(crate) mod id;
pub(crate) mod ledger;
pub(crate) mod lock;
pub(crate) mod process;
pub(crate) mod slots;
mod wake;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anklet_plugin_api::host::{Host, HostError, Reservation, RunningVm, WaitsForRoom};
use anklet_plugin_api::name::{HostId, PluginName, VmName};
use anklet_plugin_api::sorted::set_of;
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::{VmRecord, VmSize};
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use log::{debug, warn};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::host::ledger::Ledger;
use crate::host::lock::FileLock;
use crate::host::slots::{Others, Slots};
use crate::host::wake::Wake;

/// While it is in the host's folder, handlers take nothing new.
pub(crate) const DRAIN_FILE: &str = ".drain";
/// How many macOS VMs Apple allows on a Mac.
pub(crate) const DEFAULT_SLOTS: usize = 2;
/// The lock is held for milliseconds; a holder that takes longer has been stopped.
const LOCK_LIMIT: Duration = Duration::from_secs(10);

/// VMs that are not ours come and go without a word, so what they took is believed only for so long.
const FOREIGN_LIFE: Duration = Duration::from_secs(30);

/// What the host has to be told.
pub(crate) struct HostSettings {
    /// `~/.config/anklet`; made if it is missing.
    pub(crate) folder: PathBuf,
    /// How many VMs may run at once.
    pub(crate) n_slots: usize,
    /// `host.cpu_count`; measured if not given.
    pub(crate) cpu_count: Option<u32>,
    /// `host.memory_bytes`; measured if not given.
    pub(crate) memory_bytes: Option<u64>,
}

/// This machine.
pub(crate) struct MacHost {
    id: HostId,
    cpu_count: u32,
    memory_bytes: u64,
    shared: Arc<Shared>,
}

/// What reservations, too, need until they end.
struct Shared {
    folder: PathBuf,
    host: HostId,
    n_slots: usize,
    process: String,
    ledger: Ledger,
    slots: Slots,
    state: Arc<Mutex<State>>,
    wake: Wake,
}

#[derive(Default)]
struct State {
    /// The VMs that this process has reserved room for, and how much.
    reserved: Vec<(VmName, Option<VmSize>)>,
    /// What VMs without a reservation took when they were last looked at.
    foreign: Option<(Instant, VmSize)>,
    /// Who of this process waits for room.
    waits: Option<WaitsForRoom>,
    listeners: Vec<Sender<()>>,
}

impl MacHost {
    /// Finds out who this host is and what it has.
    pub(crate) fn open(settings: HostSettings) -> Result<Self, HostError> {
        let folder = settings.folder;
        let failed = |doing, source| HostError::Ledger { doing, path: folder.display().to_string(), source };
        fs::create_dir_all(&folder).map_err(|source| failed("make the folder of", source))?;
        let _lock = lock(&folder)?;
        let id = id::host_id(&folder.join("host-id"), id::hardware_id().as_deref())
            .map_err(|source| failed("read or write the host's id beside", source))?;
        let state = Arc::<Mutex<State>>::default();
        let heard = Arc::clone(&state);
        let shared = Shared {
            wake: Wake::listen(&folder, move || lock_state(&heard).tell_listeners()),
            state,
            host: id.clone(),
            n_slots: settings.n_slots,
            process: process::process_id_text(),
            ledger: Ledger::new(&folder),
            slots: Slots::new(&folder),
            folder,
        };
        let host = Self {
            id,
            cpu_count: settings.cpu_count.unwrap_or_else(measured_cpu_count),
            memory_bytes: settings.memory_bytes.unwrap_or_else(measured_memory_bytes),
            shared: Arc::new(shared),
        };
        debug!(hostID:% = host.id, cpuCount = host.cpu_count(), memoryBytes = host.memory_bytes(); "host measured");
        Ok(host)
    }

    /// The host's logical processors.
    pub(crate) fn cpu_count(&self) -> u32 {
        self.cpu_count
    }

    /// The host's memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

impl Host for MacHost {
    fn id(&self) -> &HostId {
        &self.id
    }

    fn name(&self) -> String {
        System::host_name().unwrap_or_else(|| self.id.to_string())
    }

    fn n_slots(&self) -> usize {
        self.shared.n_slots
    }

    fn n_taken_slots(&self) -> usize {
        let state = self.shared.state();
        let others = self.shared.slots.of_others(&self.shared.process).unwrap_or_default();
        state.names(&others).len()
    }

    fn is_drained(&self) -> bool {
        self.shared.folder.join(DRAIN_FILE).exists()
    }

    fn reserve(
        &self,
        vm: &VmName,
        need: Option<VmSize>,
        running: &[RunningVm],
    ) -> Result<Reservation, HostError> {
        self.shared.reserve(vm, need, running, self.totals())?;
        Ok(Reservation::new(Box::new(Held { shared: Arc::clone(&self.shared), vm: vm.clone() })))
    }

    fn has_slot(&self) -> bool {
        let state = self.shared.state();
        match self.shared.slots.of_others(&self.shared.process) {
            Ok(others) => state.names(&others).len() < self.shared.n_slots,
            // Reserving tells what is wrong.
            Err(_) => true,
        }
    }

    fn has_room(&self, need: VmSize) -> bool {
        let state = self.shared.state();
        match self.shared.slots.of_others(&self.shared.process) {
            Ok(others) => need.fits(self.totals().minus(state.taken(&others).plus(state.foreign_now()))),
            // Reserving tells what is wrong.
            Err(_) => true,
        }
    }

    fn is_reserved(&self, name: &str) -> bool {
        let state = self.shared.state();
        let others = self.shared.slots.of_others(&self.shared.process).unwrap_or_default();
        state.names(&others).contains(name)
    }

    fn totals(&self) -> VmSize {
        VmSize { cpu_cores: self.cpu_count, memory_bytes: self.memory_bytes }
    }

    fn freed(&self) -> Receiver<()> {
        let (sender, receiver) = bounded(1);
        self.shared.state().listeners.push(sender);
        receiver
    }

    fn begins_waiting(&self, handler: &PluginName, need: VmSize) -> Result<bool, HostError> {
        self.shared.begins_waiting(handler, need)
    }

    fn ends_waiting(&self, handler: &PluginName) {
        let mut state = self.shared.state();
        if state.waits.take_if(|waits| waits.handler == *handler).is_some() {
            self.shared.write_and_tell(&mut state);
        }
    }

    fn waits_besides(&self, handler: &PluginName) -> Option<WaitsForRoom> {
        let state = self.shared.state();
        let ours = state.waits.clone().filter(|waits| waits.handler != *handler);
        ours.or_else(|| self.shared.slots.of_others(&self.shared.process).ok()?.waits().cloned())
    }

    fn record(&self, record: &VmRecord) -> Result<(), HostError> {
        let _state = self.shared.state();
        let _lock = lock(&self.shared.folder)?;
        self.shared.ledger.record(record)
    }

    fn forget(&self, vm: &VmName) -> Result<(), HostError> {
        let _state = self.shared.state();
        let _lock = lock(&self.shared.folder)?;
        self.shared.ledger.forget(vm)
    }

    /// Those of a copied disk's former host are not ours to clean up and are left out.
    fn records(&self) -> Result<Vec<VmRecord>, HostError> {
        let _state = self.shared.state();
        let _lock = lock(&self.shared.folder)?;
        self.shared.own_records()
    }
}

impl Shared {
    fn reserve(
        &self,
        vm: &VmName,
        need: Option<VmSize>,
        running: &[RunningVm],
        total: VmSize,
    ) -> Result<(), HostError> {
        let mut state = self.state();
        let _lock = lock(&self.folder)?;
        if let Some(need) = need.filter(|need| !need.fits(total)) {
            return Err(HostError::TooLarge { need, total });
        }
        let others = self.slots.of_others(&self.process).map_err(|source| self.failed("read", source))?;
        let names = state.names(&others);
        let foreign =
            running.iter().filter(|one| one.name != vm.as_str() && !names.contains(one.name.as_str()));
        let foreign_size = foreign.clone().filter_map(|one| one.size).fold(VmSize::default(), VmSize::plus);
        let n_running = names.len() + foreign.count() - usize::from(names.contains(vm.as_str()));
        if n_running >= self.n_slots {
            return Err(HostError::NoSlot { n_running, n_slots: self.n_slots });
        }
        if let Some(need) = need {
            let free_of_ours = total.minus(state.taken_without(&others, vm));
            let free = free_of_ours.minus(foreign_size);
            state.foreign = Some((Instant::now(), foreign_size));
            if !need.fits(free) {
                return Err(HostError::NoRoom { need, free, for_others: need.fits(free_of_ours) });
            }
        }
        let mut reserved = state.reserved.clone();
        reserved.push((vm.clone(), need));
        self.slots
            .write(&self.process, &reserved, state.waits.as_ref(), others)
            .map_err(|source| self.failed("write", source))?;
        state.reserved = reserved;
        Ok(())
    }

    fn release(&self, vm: &VmName) {
        let mut state = self.state();
        if let Some(at) = state.reserved.iter().position(|(reserved, _)| reserved == vm) {
            state.reserved.remove(at);
        }
        self.write_and_tell(&mut state);
    }

    fn begins_waiting(&self, handler: &PluginName, need: VmSize) -> Result<bool, HostError> {
        let mut state = self.state();
        let _lock = lock(&self.folder)?;
        let others = self.slots.of_others(&self.process).map_err(|source| self.failed("read", source))?;
        if let Some(known) = state.waits.as_ref().or(others.waits()) {
            return Ok(known.handler == *handler);
        }
        let waits = WaitsForRoom { handler: handler.clone(), need, since: Moment::now() };
        let written = self.slots.write(&self.process, &state.reserved, Some(&waits), others);
        written.map_err(|source| self.failed("write", source))?;
        state.waits = Some(waits);
        Ok(true)
    }

    /// Writes down what we have, now that it is less, and tells everybody of the host.
    fn write_and_tell(&self, state: &mut State) {
        let written = lock(&self.folder).and_then(|_lock| {
            let others = self.slots.of_others(&self.process);
            others
                .and_then(|others| {
                    self.slots.write(&self.process, &state.reserved, state.waits.as_ref(), others)
                })
                .map_err(|source| self.failed("write", source))
        });
        if let Err(error) = written {
            // This process knows better, and the next write puts it right for others.
            warn!(error:% = error; "what this process no longer needs was not written down");
        }
        state.tell_listeners();
        self.wake.tell_others();
    }

    fn own_records(&self) -> Result<Vec<VmRecord>, HostError> {
        let mut records = self.ledger.records()?;
        records.retain(|record| record.host == self.host);
        Ok(records)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock_state(&self.state)
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> HostError {
        HostError::Ledger { doing, path: self.folder.join("reservations.json").display().to_string(), source }
    }
}

impl State {
    /// The VMs that something is reserved for, each once.
    fn names<'a>(&'a self, others: &'a Others) -> BTreeSet<&'a str> {
        let ours = self.reserved.iter().map(|(vm, _)| vm);
        set_of(ours.chain(others.reserved.iter().map(|reserved| &reserved.vm)).map(VmName::as_str))
    }

    /// What is reserved on this host.
    fn taken(&self, others: &Others) -> VmSize {
        let ours = self.reserved.iter().filter_map(|(_, size)| *size);
        ours.chain(others.reserved.iter().filter_map(|reserved| reserved.size))
            .fold(VmSize::default(), VmSize::plus)
    }

    /// The same for others than `vm`.
    fn taken_without(&self, others: &Others, vm: &VmName) -> VmSize {
        let own = self.reserved.iter().find(|(reserved, _)| reserved == vm).and_then(|(_, size)| *size);
        self.taken(others).minus(own.unwrap_or_default())
    }

    fn tell_listeners(&mut self) {
        // A full channel means that its owner is still on the way because of an earlier end.
        self.listeners.retain(|listener| listener.try_send(()) != Err(TrySendError::Disconnected(())));
    }

    /// What VMs of others take, as far as that is known now.
    fn foreign_now(&self) -> VmSize {
        self.foreign
            .filter(|(seen_at, _)| seen_at.elapsed() < FOREIGN_LIFE)
            .map_or(VmSize::default(), |(_, size)| size)
    }
}

fn lock_state(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the processes of the host, whose folder this is, to look at the drain file at once. Lost words are covered by their own looks.
pub(crate) fn tell_of_drain(folder: &Path) {
    wake::tell_host(folder);
}

/// What a [`Reservation`] holds.
struct Held {
    shared: Arc<Shared>,
    vm: VmName,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.release(&self.vm);
    }
}

/// The lock over everything in the folder that processes share.
fn lock(folder: &Path) -> Result<FileLock, HostError> {
    let path = folder.join("ledger.lock");
    FileLock::take_alone(&path, LOCK_LIMIT).map_err(|source| HostError::Ledger {
        doing: "lock",
        path: path.display().to_string(),
        source,
    })
}

fn measured_cpu_count() -> u32 {
    let count = thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn measured_memory_bytes() -> u64 {
    let what = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    System::new_with_specifics(what).total_memory()
}

#[cfg(test)]
pub(crate) mod tests;
