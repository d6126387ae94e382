//! The heartbeat: renews claims and name leases for as long as their owners asked, from one thread of the process, and keeps up the
//! notices that plugins put up.
//!
//! A handler that works sets a deadline with each step. If it is overrun the step hangs in a way that its own limit did not catch; the
//! heartbeat then stops renewing and says so, and the process stops, so that another host can take the job.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, bounded, never, select};
use log::{debug, error, warn};

use crate::name::PluginName;
use crate::stop::Stop;
use crate::store::{ClaimKey, Lease, Leased, Store};

/// What is kept alive, and the means to change it from any thread.
#[derive(Clone)]
pub struct Heartbeats {
    kept: Arc<Mutex<Kept>>,
    changed: Sender<()>,
    changes: Receiver<()>,
}

#[derive(Default)]
struct Kept {
    claims: BTreeMap<PluginName, KeptClaim>,
    leases: BTreeMap<String, KeptLease>,
    notices: BTreeMap<String, KeptNotice>,
}

struct KeptNotice {
    store: Arc<dyn Store>,
    text: String,
    life: Duration,
    post_at: Instant,
    /// When it was last written down, and whether it says something else since.
    posted_at: Option<Instant>,
    is_new: bool,
}

struct KeptClaim {
    store: Arc<dyn Store>,
    key: ClaimKey,
    every: Duration,
    renew_at: Instant,
    until: Instant,
}

struct KeptLease {
    store: Arc<dyn Store>,
    lease: Lease,
    renew_at: Instant,
}

/// What is due within this part of its interval is renewed along, so that a quiet process wakes once for all its names.
const TOGETHER: u32 = 8;

impl KeptLease {
    /// Half as often as a claim: nobody waits for the name of a plugin, but an idle process is woken by each renewal.
    fn every(&self) -> Duration {
        self.lease.life / 3
    }
}

/// What changes within this time is put up once: a handler goes through its first steps in less.
const NOTICE_DELAY: Duration = Duration::from_millis(200);
/// A notice is written this often at most.
const NOTICE_EVERY: Duration = Duration::from_secs(1);

impl KeptNotice {
    fn every(&self) -> Duration {
        self.life * 2 / 5
    }
}

/// A step went over the deadline that its handler had set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overrun {
    /// Whose step.
    pub handler: PluginName,
}

impl Default for Heartbeats {
    fn default() -> Self {
        let (changed, changes) = bounded(1);
        Self { kept: Arc::default(), changed, changes }
    }
}

impl Heartbeats {
    /// Renews the claim until `until`; a later call for the same handler takes the place of an earlier one.
    pub fn keep(&self, store: &Arc<dyn Store>, key: &ClaimKey, life: Duration, until: Instant) {
        let every = life / 6;
        let mut kept = self.lock();
        let renew_at = match kept.claims.get(&key.handler) {
            Some(known) if known.key == *key => known.renew_at,
            _ => Instant::now() + every,
        };
        let claim = KeptClaim { store: Arc::clone(store), key: key.clone(), every, renew_at, until };
        if kept.claims.insert(key.handler.clone(), claim).is_none() {
            self.wake();
        }
    }

    /// The step that the handler has in hand waits for `by`, for good reason: its deadline moves by as much.
    pub fn defer(&self, handler: &PluginName, by: Duration) {
        if let Some(claim) = self.lock().claims.get_mut(handler) {
            claim.until += by;
        }
    }

    /// No longer renews the handler's claim.
    pub fn let_go(&self, handler: &PluginName) {
        self.lock().claims.remove(handler);
    }

    /// Renews the lease until it is let go.
    pub fn keep_lease(&self, store: &Arc<dyn Store>, lease: Lease) {
        let mut kept = KeptLease { store: Arc::clone(store), lease, renew_at: Instant::now() };
        kept.renew_at += kept.every();
        self.lock().leases.insert(kept.lease.name.clone(), kept);
        self.wake();
    }

    /// Gives the lease up, here and in the store.
    pub fn let_go_lease(&self, name: &str) {
        let kept = self.lock().leases.remove(name);
        if let Some(kept) = kept
            && let Err(error) = kept.store.release(&kept.lease)
        {
            debug!(lease = name, error:% = error; "lease not released; it runs out by itself");
        }
    }

    /// Puts a notice up a moment later, in place of the one with that key, and keeps it up until the process ends. Who counts on it may take
    /// the process for dead one and two thirds of `claim_life` after its last word.
    pub fn say(&self, store: &Arc<dyn Store>, key: &str, text: String, claim_life: Duration) {
        let now = Instant::now();
        let mut kept = self.lock();
        let posted_at = kept.notices.get(key).and_then(|known| known.posted_at);
        let soonest = posted_at.map_or(now, |posted_at| posted_at + NOTICE_EVERY);
        let notice = KeptNotice {
            store: Arc::clone(store),
            text,
            life: claim_life * 5 / 3,
            post_at: soonest.max(now + NOTICE_DELAY),
            posted_at,
            is_new: true,
        };
        kept.notices.insert(key.to_owned(), notice);
        drop(kept);
        self.wake();
    }

    /// Gives all leases up and takes all notices down, as the process ends.
    pub fn let_go_all(&self) {
        let notices = std::mem::take(&mut self.lock().notices);
        for (key, kept) in notices {
            if let Err(error) = kept.store.post(&key, "", Duration::ZERO) {
                debug!(notice = key, error:% = error; "notice not taken down; it runs out by itself");
            }
        }
        let names: Vec<_> = self.lock().leases.keys().cloned().collect();
        for name in names {
            self.let_go_lease(&name);
        }
    }

    /// The thread's loop: ends with `stop`, calls `on_overrun` once for each overrun step.
    pub fn run(&self, stop: &Stop, mut on_overrun: impl FnMut(Overrun)) {
        loop {
            let next = self.beat(&mut on_overrun);
            let limit = next.map_or_else(never, at);
            select! {
                recv(stop.closed()) -> _ => return,
                recv(self.changes) -> _ => {}
                recv(limit) -> _ => {}
            }
        }
    }

    /// Renews what is due; answers when the next is.
    fn beat(&self, on_overrun: &mut impl FnMut(Overrun)) -> Option<Instant> {
        let now = Instant::now();
        let (claims, leases) = self.take_due(now, on_overrun);
        for (store, keys) in by_store(claims) {
            match store.renew(&keys) {
                // The handler sees the loss at its next look; renewing a lost claim again would change nothing.
                Ok(lost) => lost.iter().for_each(|key| debug!(plugin:% = key.handler; "claim is lost")),
                Err(error) => debug!(claims = keys.len(), error:% = error; "claims not renewed"),
            }
        }
        for (store, leases) in by_store(leases) {
            match store.renew_leases(&leases) {
                Ok(leased) => leases.iter().zip(&leased).for_each(|(lease, leased)| {
                    if let Leased::Theirs { host, .. } = leased {
                        error!(lease = lease.name, host:% = host; "another process holds the name of this plugin");
                    }
                }),
                Err(error) => {
                    let names: Vec<_> = leases.iter().map(|lease| lease.name.as_str()).collect();
                    warn!(leases = names.join(" "), error:% = error; "leases not renewed");
                }
            }
        }
        self.post_due(now);
        let kept = self.lock();
        let claims = kept.claims.values().map(|claim| claim.renew_at.min(claim.until));
        let notices = kept.notices.values().map(|notice| notice.post_at);
        claims.chain(kept.leases.values().map(|lease| lease.renew_at)).chain(notices).min()
    }

    fn post_due(&self, now: Instant) {
        let mut due = Vec::new();
        let mut kept = self.lock();
        for (key, notice) in &mut kept.notices {
            let early = if notice.is_new { Duration::ZERO } else { notice.every() / TOGETHER };
            if notice.post_at <= now + early {
                (notice.post_at, notice.posted_at, notice.is_new) = (now + notice.every(), Some(now), false);
                due.push((Arc::clone(&notice.store), key.clone(), notice.text.clone(), notice.life));
            }
        }
        drop(kept);
        for (store, key, text, life) in due {
            if let Err(error) = store.post(&key, &text, life) {
                debug!(notice = key, error:% = error; "notice not put up");
            }
        }
    }

    #[allow(clippy::type_complexity, reason = "two lists that live for three lines")]
    fn take_due(
        &self,
        now: Instant,
        on_overrun: &mut impl FnMut(Overrun),
    ) -> (Vec<(Arc<dyn Store>, ClaimKey)>, Vec<(Arc<dyn Store>, Lease)>) {
        let mut kept = self.lock();
        let overrun: Vec<_> = kept
            .claims
            .iter()
            .filter(|(_, claim)| claim.until <= now)
            .map(|(handler, _)| handler.clone())
            .collect();
        for handler in overrun {
            kept.claims.remove(&handler);
            on_overrun(Overrun { handler });
        }
        let mut claims = Vec::new();
        for claim in kept.claims.values_mut().filter(|claim| claim.renew_at <= now + claim.every / TOGETHER) {
            claim.renew_at = now + claim.every;
            claims.push((Arc::clone(&claim.store), claim.key.clone()));
        }
        let mut leases = Vec::new();
        let is_due = |lease: &&mut KeptLease| lease.renew_at <= now + lease.every() / TOGETHER;
        for kept in kept.leases.values_mut().filter(is_due) {
            kept.renew_at = now + kept.every();
            leases.push((Arc::clone(&kept.store), kept.lease.clone()));
        }
        (claims, leases)
    }

    fn wake(&self) {
        // A full channel means that the thread is already on its way.
        let _ = self.changed.try_send(());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is due, store by store, so that each is asked once.
fn by_store<T>(due: Vec<(Arc<dyn Store>, T)>) -> Vec<(Arc<dyn Store>, Vec<T>)> {
    let mut stores: Vec<(Arc<dyn Store>, Vec<T>)> = Vec::new();
    for (store, what) in due {
        match stores.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &store)) {
            Some((_, all)) => all.push(what),
            None => stores.push((store, vec![what])),
        }
    }
    stores
}

#[cfg(all(test, feature = "fake"))]
mod tests {
    use super::*;
    use crate::fake::memory::{MemoryStore, Verb};
    use crate::name::HostId;

    #[test]
    fn names_that_are_due_at_about_the_same_time_are_renewed_together() {
        let heartbeats = Heartbeats::default();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        for name in ["a", "b", "c"] {
            let lease = Lease {
                name: name.to_owned(),
                host: HostId::new("host"),
                process: "1".to_owned(),
                predecessor_is_gone: |_| false,
                life: Duration::from_secs(600),
            };
            heartbeats.keep_lease(&store, lease);
        }
        let first = heartbeats.lock().leases.values().map(|lease| lease.renew_at).min().unwrap();
        let due_at = |now| heartbeats.take_due(now, &mut |_| {}).1.len();
        assert_eq!(due_at(first - Duration::from_secs(60)), 0);
        assert_eq!(due_at(first), 3);
        assert_eq!(due_at(first), 0, "they are due again after their interval");
    }

    #[test]
    fn a_notice_is_put_up_once_for_changes_that_follow_each_other() {
        let heartbeats = Heartbeats::default();
        let memory = Arc::new(MemoryStore::default());
        let store: Arc<dyn Store> = Arc::clone(&memory) as _;
        let n_posts = || memory.n_calls(Verb::Post);
        let texts = || memory.notices("").unwrap().into_iter().map(|notice| notice.text).collect::<Vec<_>>();
        for text in ["one", "two"] {
            heartbeats.say(&store, "handler/a", text.to_owned(), Duration::from_secs(90));
        }
        let now = Instant::now();
        heartbeats.post_due(now);
        assert_eq!(n_posts(), 0);
        heartbeats.post_due(now + NOTICE_DELAY);
        assert_eq!((n_posts(), texts()), (1, vec!["two".to_owned()]));
        heartbeats.say(&store, "handler/a", "three".to_owned(), Duration::from_secs(90));
        heartbeats.post_due(now + NOTICE_EVERY);
        assert_eq!(n_posts(), 1, "not so soon again");
        heartbeats.post_due(now + NOTICE_EVERY * 2);
        heartbeats.post_due(now + NOTICE_EVERY * 40);
        assert_eq!((n_posts(), texts()), (2, vec!["three".to_owned()]));
        heartbeats.post_due(now + NOTICE_EVERY * 62);
        assert_eq!(n_posts(), 3, "it is kept up");
        heartbeats.let_go_all();
        assert!(texts().is_empty());
    }
}
