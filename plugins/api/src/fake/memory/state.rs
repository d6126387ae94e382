//! What the memory store holds, and the small changes that several verbs share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::leases::HeldLease;
use crate::job::{Job, JobId, Phase};
use crate::name::{HostId, PluginName, VmName};
use crate::store::{ClaimKey, Counts, Entry, JobSignal, Notice, Place, StoreError, Taken, Transition};
use crate::time::Moment;
use crate::vm::VmRecord;

const N_HISTORY: usize = 64;
const N_REASONS: usize = 16;

/// The whole store. Each claim is on a job whose spot names the claim's handler, and the other way round.
#[derive(Default)]
pub(super) struct State {
    pub(super) shown_at: Moment,
    pub(super) fence: u64,
    pub(super) n_arrivals: u64,
    pub(super) jobs: BTreeMap<JobId, StoredJob>,
    /// The highest `run_attempt` that has ended.
    pub(super) tombstones: BTreeMap<JobId, u32>,
    pub(super) claims: BTreeMap<PluginName, HeldClaim>,
    /// The last fence of each handler that it ended itself.
    pub(super) given_up: BTreeMap<PluginName, u64>,
    /// The life of each handler's last claim.
    pub(super) lives: BTreeMap<PluginName, Duration>,
    pub(super) vms: BTreeMap<VmName, VmRecord>,
    pub(super) leases: BTreeMap<String, HeldLease>,
    /// When each host last had a lease.
    pub(super) hosts: BTreeMap<HostId, Moment>,
    pub(super) notes: BTreeMap<String, String>,
    pub(super) notices: BTreeMap<String, Notice>,
    /// Ended jobs as they were when they went.
    pub(super) last: BTreeMap<JobId, Entry>,
    signals: Vec<(Option<PluginName>, JobSignal)>,
}

pub(super) struct StoredJob {
    pub(super) job: Job,
    pub(super) phase: Phase,
    pub(super) spot: Spot,
    /// Age in the queue: GitHub's date, else when it came; then the order of arrival.
    pub(super) age: (Moment, u64),
    /// Counted tries, with the one in work while it is claimed.
    pub(super) attempts: u32,
    pub(super) reasons: VecDeque<String>,
    pub(super) hosts: BTreeMap<HostId, JobOnHost>,
    pub(super) history: VecDeque<Transition>,
    pub(super) heard_at: Moment,
    /// When it was asked about last, and how long it had waited for that.
    pub(super) asked: Option<(Moment, Duration)>,
}

/// What one host has done with one job.
#[derive(Default)]
pub(super) struct JobOnHost {
    pub(super) avoids_until: Moment,
    pub(super) n_failures: u32,
    pub(super) counted_once: bool,
}

#[derive(Clone, PartialEq)]
pub(super) enum Spot {
    InGroup,
    HeldUntil(Moment),
    Claimed(PluginName),
    Running,
}

#[derive(Clone)]
pub(super) struct HeldClaim {
    pub(super) fence: u64,
    pub(super) host: HostId,
    pub(super) job: JobId,
    pub(super) vm: Option<VmName>,
    pub(super) paused: bool,
    pub(super) taken: Option<Taken>,
    pub(super) life: Duration,
    pub(super) expires_at: Moment,
    pub(super) marked_at: Option<Moment>,
}

impl HeldClaim {
    /// What every verb of the holder does besides its own work.
    pub(super) fn renew(&mut self, now: Moment) {
        self.expires_at = now.after(self.life);
        self.marked_at = None;
    }

    /// When it is marked if it was not renewed: a renewal's time before it runs out.
    pub(super) fn look_at(&self) -> Moment {
        self.expires_at.before(self.life / 6)
    }

    /// From when on a handler can take it that marked it, or found it marked, so long ago.
    pub(super) fn ripens_at(&self, marked_at: Moment, claim_life: Duration) -> Moment {
        marked_at.after(claim_life / 3).max(self.expires_at)
    }
}

impl StoredJob {
    pub(super) fn is_claimable(&self, now: Moment) -> bool {
        match self.spot {
            Spot::InGroup => true,
            Spot::HeldUntil(until) => until <= now,
            Spot::Claimed(_) | Spot::Running => false,
        }
    }

    pub(super) fn is_avoided_by(&self, host: &HostId, now: Moment) -> bool {
        self.hosts.get(host).is_some_and(|on_host| on_host.avoids_until > now)
    }

    pub(super) fn claimant(&self) -> Option<&PluginName> {
        match &self.spot {
            Spot::Claimed(handler) => Some(handler),
            Spot::InGroup | Spot::HeldUntil(_) | Spot::Running => None,
        }
    }

    pub(super) fn add_reason(&mut self, reason: &str) {
        self.reasons.push_back(reason.to_owned());
        if self.reasons.len() > N_REASONS {
            self.reasons.pop_front();
        }
    }

    pub(super) fn note(&mut self, at: Moment, what: impl Into<String>, by: Option<(PluginName, HostId)>) {
        self.history.push_back(Transition { at, what: what.into(), by });
        if self.history.len() > N_HISTORY {
            self.history.pop_front();
        }
    }
}

impl State {
    /// The store's time: the clock's, but never before what it was.
    pub(super) fn advance(&mut self, clock: Moment) -> Moment {
        self.shown_at = self.shown_at.max(clock);
        self.shown_at
    }

    pub(super) fn tell(&mut self, handler: &PluginName, signal: JobSignal) {
        self.signals.push((Some(handler.clone()), signal));
    }

    pub(super) fn tell_all(&mut self) {
        self.signals.push((None, JobSignal::Look));
    }

    pub(super) fn take_signals(&mut self) -> Vec<(Option<PluginName>, JobSignal)> {
        std::mem::take(&mut self.signals)
    }

    /// Stores a job that is not stored yet.
    pub(super) fn add_job(&mut self, job: &Job, phase: Phase, spot: Spot, now: Moment) -> &mut StoredJob {
        self.n_arrivals += 1;
        let stored = StoredJob {
            job: job.clone(),
            phase,
            spot,
            age: (job.created_at.unwrap_or(now), self.n_arrivals),
            attempts: 0,
            reasons: VecDeque::new(),
            hosts: BTreeMap::new(),
            history: VecDeque::new(),
            heard_at: now,
            asked: None,
        };
        self.jobs.entry(job.id).or_insert(stored)
    }

    /// The job of a claim or spot. That it exists is this store's own rule.
    pub(super) fn job(&mut self, id: JobId) -> &mut StoredJob {
        self.jobs.get_mut(&id).expect("claims are on stored jobs")
    }

    pub(super) fn held(&mut self, key: &ClaimKey) -> Result<&mut HeldClaim, StoreError> {
        match self.claims.get_mut(&key.handler) {
            Some(held) if held.fence == key.fence => Ok(held),
            _ => Err(StoreError::Lost),
        }
    }

    pub(super) fn holder_of_vm(&self, vm: &VmName) -> Option<PluginName> {
        let mut holders = self.claims.iter().filter(|(_, held)| held.vm.as_ref() == Some(vm));
        holders.next().map(|(handler, _)| handler.clone())
    }

    /// Takes a claim away from its handler. What becomes of the job and its attempt is the caller's affair.
    pub(super) fn lose(&mut self, handler: &PluginName) -> Option<HeldClaim> {
        self.tell(handler, JobSignal::Retry);
        self.claims.remove(handler)
    }

    /// Puts a job whose claim has ended, without fault of the job's, where its phase says; its attempt is taken back.
    pub(super) fn let_go(&mut self, id: JobId) {
        let stored = self.job(id);
        stored.attempts = stored.attempts.saturating_sub(1);
        match stored.phase {
            Phase::Queued => {
                stored.spot = Spot::InGroup;
                self.tell_all();
            }
            Phase::InProgress { .. } => stored.spot = Spot::Running,
            Phase::Completed { .. } => {
                self.remove(id);
            }
        }
    }

    /// Removes a job; one that is over is remembered beside its tombstone.
    pub(super) fn remove(&mut self, id: JobId) -> Option<StoredJob> {
        if matches!(self.jobs.get(&id)?.phase, Phase::Completed { .. }) {
            self.remember(id);
        }
        self.jobs.remove(&id)
    }

    pub(super) fn entry(&self, id: JobId, now: Moment) -> Option<Entry> {
        let stored = self.jobs.get(&id)?;
        let place = match &stored.spot {
            Spot::InGroup => Place::Queued,
            Spot::HeldUntil(until) if *until <= now => Place::Queued,
            Spot::HeldUntil(until) => Place::Held { until: *until },
            Spot::Claimed(handler) => {
                let held = self.claims.get(handler)?;
                Place::Claimed { handler: handler.clone(), host: held.host.clone(), paused: held.paused }
            }
            Spot::Running => Place::Running,
        };
        let held = stored.claimant().and_then(|handler| self.claims.get(handler));
        let avoids = |(host, on_host): (&HostId, &JobOnHost)| {
            (on_host.avoids_until > now).then(|| (host.clone(), on_host.avoids_until))
        };
        Some(Entry {
            job: stored.job.clone(),
            phase: stored.phase.clone(),
            place,
            attempts: stored.attempts,
            history: stored.history.iter().cloned().collect(),
            vm: held.and_then(|held| held.vm.clone()),
            claimed_until: held.map(|held| held.expires_at),
            avoided_by: stored.hosts.iter().filter_map(avoids).collect(),
        })
    }

    pub(super) fn counts(&self, now: Moment) -> Counts {
        let mut counts = Counts { vms: self.vms.len() as u64, ..Counts::default() };
        for stored in self.jobs.values() {
            match &stored.spot {
                Spot::HeldUntil(until) if *until > now => counts.held += 1,
                Spot::InGroup | Spot::HeldUntil(_) => {
                    counts.queued += 1;
                    *counts.groups.entry(stored.job.group()).or_default() += 1;
                }
                Spot::Claimed(_) => counts.claimed += 1,
                Spot::Running => counts.running += 1,
            }
        }
        counts
    }

    /// Fails if claims and spots do not name each other.
    pub(super) fn check(&self) {
        let claimed: BTreeSet<_> = self.claims.iter().map(|(handler, held)| (handler, held.job)).collect();
        let spots: BTreeSet<_> =
            self.jobs.iter().filter_map(|(id, stored)| Some((stored.claimant()?, *id))).collect();
        assert_eq!(claimed, spots, "claims and spots must name each other");
    }
}
