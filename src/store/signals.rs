//! Who listens for what: the channels of handlers, told when a verb is done.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::store::JobSignal;
use crossbeam_channel::{Receiver, Sender, unbounded};

/// A signal on its way.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Signal {
    pub(super) to: To,
    pub(super) signal: JobSignal,
}

/// Whom a signal is for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum To {
    /// One handler of the queue.
    Handler(PluginName),
    /// Every handler of the queue: there is something to claim.
    All,
}

impl Signal {
    pub(super) fn look() -> Self {
        Self { to: To::All, signal: JobSignal::Look }
    }

    pub(super) fn to(handler: &PluginName, signal: JobSignal) -> Self {
        Self { to: To::Handler(handler.clone()), signal }
    }
}

/// The listeners of all queues of a store, by what the store knows a queue by.
pub(super) struct Listeners<K>(Mutex<HashMap<K, Vec<Listener>>>);

impl<K> Default for Listeners<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

struct Listener {
    handler: PluginName,
    sender: Sender<JobSignal>,
    last_was_look: bool,
}

impl Listener {
    /// False when nobody listens any more.
    fn hear(&mut self, signal: &Signal) -> bool {
        if matches!(&signal.to, To::Handler(to) if *to != self.handler) {
            return true;
        }
        let is_look = signal.signal == JobSignal::Look;
        // What was sent last is what waits last: one look more would say nothing new.
        if is_look && self.last_was_look && !self.sender.is_empty() {
            return true;
        }
        self.last_was_look = is_look;
        self.sender.send(signal.signal.clone()).is_ok()
    }
}

impl<K: Clone + Eq + Hash> Listeners<K> {
    pub(super) fn add(&self, queue: K, handler: &PluginName) -> Receiver<JobSignal> {
        let (sender, receiver) = unbounded();
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.entry(queue).or_default().push(Listener {
            handler: handler.clone(),
            sender,
            last_was_look: false,
        });
        receiver
    }

    /// Hands a signal on; listeners that have gone are forgotten.
    pub(super) fn tell(&self, queue: &K, signal: &Signal) {
        let mut listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listeners) = listeners.get_mut(queue) {
            listeners.retain_mut(|listener| listener.hear(signal));
        }
    }

    /// Tells everybody to look: the store came back.
    pub(super) fn tell_all(&self) {
        let queues: Vec<K> = {
            let listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            listeners.keys().cloned().collect()
        };
        for queue in queues {
            self.tell(&queue, &Signal::look());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_do_not_pile_up_and_others_all_arrive() {
        let listeners = Listeners::<i64>::default();
        let (mine, other) = (PluginName::new("mine"), PluginName::new("other"));
        let signals = listeners.add(1, &mine);
        let others = listeners.add(1, &other);
        let elsewhere = listeners.add(2, &mine);
        listeners.tell(&1, &Signal::look());
        listeners.tell(&1, &Signal::look());
        listeners.tell(&1, &Signal::to(&mine, JobSignal::Retry));
        listeners.tell(&1, &Signal::to(&mine, JobSignal::Retry));
        let heard: Vec<_> = signals.try_iter().collect();
        assert_eq!(heard, [JobSignal::Look, JobSignal::Retry, JobSignal::Retry]);
        assert_eq!(others.try_iter().collect::<Vec<_>>(), [JobSignal::Look]);
        assert_eq!(elsewhere.try_iter().count(), 0);
        drop(signals);
        listeners.tell_all();
        assert_eq!(elsewhere.try_iter().collect::<Vec<_>>(), [JobSignal::Look]);
        assert_eq!(listeners.0.lock().unwrap()[&1].len(), 1);
    }
}
