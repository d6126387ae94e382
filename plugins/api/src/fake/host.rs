//! `FakeHost`: a machine with a number of VM slots, whose ledger lives in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::host::{Host, HostError, Reservation, RunningVm, WaitsForRoom};
use crate::name::{HostId, PluginName, VmName};
use crate::store::Lessee;
use crate::time::Moment;
use crate::vm::{VmRecord, VmSize};

/// A process of the host `host`, after which no other comes.
pub fn lessee() -> Lessee {
    Lessee { host: HostId::new("host"), process: "1".to_owned(), predecessor_is_gone: |_| false }
}

/// A host for tests; its clones are the same host.
#[derive(Clone)]
pub struct FakeHost {
    id: HostId,
    n_slots: usize,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    reserved: Vec<VmName>,
    waiters: Vec<Sender<()>>,
    waits: Option<WaitsForRoom>,
    records: BTreeMap<VmName, VmRecord>,
    is_drained: bool,
    n_ledger_failures: usize,
    /// Whether before or after, and what.
    beside_read: Option<(bool, Act)>,
}

/// What somebody else does.
type Act = Box<dyn FnOnce() + Send>;

impl FakeHost {
    /// A host with room for `n_slots` VMs and an empty ledger.
    pub fn new(id: &str, n_slots: usize) -> Self {
        Self { id: HostId::new(id), n_slots, inside: Arc::default() }
    }

    /// Writes or removes the drain file, as it were.
    pub fn set_drained(&self, is_drained: bool) {
        self.lock().is_drained = is_drained;
    }

    /// The next `n` uses of the ledger fail.
    pub fn fail_ledger(&self, n: usize) {
        self.lock().n_ledger_failures = n;
    }

    /// Somebody does this just before the ledger is read next, or just after.
    pub fn beside_next_read(&self, is_before: bool, act: impl FnOnce() + Send + 'static) {
        self.lock().beside_read = Some((is_before, Box::new(act)));
    }

    fn act_beside_read(&self, is_before: bool) {
        let act = self.lock().beside_read.take_if(|(when, _)| *when == is_before);
        if let Some((_, act)) = act {
            act();
        }
    }

    /// The VMs that hold a slot now.
    pub fn reserved(&self) -> Vec<VmName> {
        self.lock().reserved.clone()
    }

    fn ledger(&self, doing: &'static str) -> Result<MutexGuard<'_, Inside>, HostError> {
        let mut inside = self.lock();
        if inside.n_ledger_failures > 0 {
            inside.n_ledger_failures -= 1;
            let source = io::Error::other("as the test planned");
            return Err(HostError::Ledger { doing, path: "in memory".to_owned(), source });
        }
        Ok(inside)
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host for FakeHost {
    fn id(&self) -> &HostId {
        &self.id
    }

    fn n_slots(&self) -> usize {
        self.n_slots
    }

    fn n_taken_slots(&self) -> usize {
        self.lock().reserved.len()
    }

    fn is_drained(&self) -> bool {
        self.lock().is_drained
    }

    fn reserve(
        &self,
        vm: &VmName,
        need: Option<VmSize>,
        running: &[RunningVm],
    ) -> Result<Reservation, HostError> {
        let mut inside = self.lock();
        if let Some(need) = need.filter(|need| !need.fits(self.totals())) {
            return Err(HostError::TooLarge { need, total: self.totals() });
        }
        let reserved = inside.reserved.iter().map(VmName::as_str);
        let taken: BTreeSet<_> = reserved.chain(running.iter().map(|vm| vm.name.as_str())).collect();
        let n_running = taken.iter().filter(|name| **name != vm.as_str()).count();
        if n_running >= self.n_slots {
            return Err(HostError::NoSlot { n_running, n_slots: self.n_slots });
        }
        inside.reserved.push(vm.clone());
        Ok(Reservation::new(Box::new(Slot { host: self.clone(), vm: vm.clone() })))
    }

    fn has_slot(&self) -> bool {
        self.lock().reserved.len() < self.n_slots
    }

    fn has_room(&self, need: VmSize) -> bool {
        need.fits(self.totals())
    }

    fn is_reserved(&self, name: &str) -> bool {
        self.lock().reserved.iter().any(|vm| vm.as_str() == name)
    }

    fn totals(&self) -> VmSize {
        VmSize { cpu_cores: 8, memory_bytes: 16 << 30 }
    }

    fn freed(&self) -> Receiver<()> {
        let (sender, receiver) = bounded(1);
        self.lock().waiters.push(sender);
        receiver
    }

    fn begins_waiting(&self, handler: &PluginName, need: VmSize) -> Result<bool, HostError> {
        let mut inside = self.lock();
        let known = inside.waits.clone();
        if known.is_none() {
            let since = Moment::now();
            inside.waits = Some(WaitsForRoom { handler: handler.clone(), need, since });
        }
        Ok(known.is_none_or(|known| known.handler == *handler))
    }

    fn ends_waiting(&self, handler: &PluginName) {
        let mut inside = self.lock();
        if inside.waits.take_if(|waits| waits.handler == *handler).is_some() {
            inside.tell_waiters();
        }
    }

    fn waits_besides(&self, handler: &PluginName) -> Option<WaitsForRoom> {
        self.lock().waits.clone().filter(|waits| waits.handler != *handler)
    }

    fn record(&self, record: &VmRecord) -> Result<(), HostError> {
        self.ledger("write")?.records.insert(record.vm.clone(), record.clone());
        Ok(())
    }

    fn forget(&self, vm: &VmName) -> Result<(), HostError> {
        self.ledger("write")?.records.remove(vm);
        Ok(())
    }

    fn records(&self) -> Result<Vec<VmRecord>, HostError> {
        self.act_beside_read(true);
        let records = self.ledger("read")?.records.values().cloned().collect();
        self.act_beside_read(false);
        Ok(records)
    }
}

struct Slot {
    host: FakeHost,
    vm: VmName,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut inside = self.host.lock();
        if let Some(place) = inside.reserved.iter().position(|vm| *vm == self.vm) {
            inside.reserved.remove(place);
        }
        inside.tell_waiters();
    }
}

impl Inside {
    fn tell_waiters(&mut self) {
        // A full channel means that its owner has not heard the last one yet, which tells the same.
        self.waiters.retain(|waiter| !matches!(waiter.try_send(()), Err(TrySendError::Disconnected(()))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_taken_and_freed() {
        let host = FakeHost::new("host", 2);
        let freed = host.freed();
        let one = host.reserve(&VmName::new("one"), None, &[]).unwrap();
        let named = |name: &str| RunningVm { name: name.to_owned(), size: None };
        let running = [named("one"), named("foreign")];
        assert!(matches!(
            host.reserve(&VmName::new("two"), None, &running),
            Err(HostError::NoSlot { n_running: 2, n_slots: 2 })
        ));
        let _two = host.reserve(&VmName::new("two"), None, &["one", "two"].map(named)).unwrap();
        assert!(!host.has_slot() && freed.is_empty());
        drop(one);
        assert!(host.has_slot());
        assert_eq!(freed.len(), 1);
        assert_eq!(host.reserved(), [VmName::new("two")]);
    }
}
