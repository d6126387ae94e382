//! The document of a stored job, and how a single one changes. No SQL here: the tables keep it as JSON beside the few columns that
//! queries need.

use std::collections::BTreeMap;
use std::time::Duration;

use anklet_plugin_api::job::{Job, Phase};
use anklet_plugin_api::name::{HostId, PluginName, VmName};
use anklet_plugin_api::sorted::map_of;
use anklet_plugin_api::store::{Claim, ClaimKey, Entry, Place, Taken, Transition};
use anklet_plugin_api::time::Moment;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The newest version of documents that this program understands.
pub(super) const VERSION: u32 = 1;

/// Lines of history and reasons kept of a job.
const N_HISTORY: usize = 64;
const N_REASONS: usize = 16;

/// Everything known of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredJob {
    pub(super) version: u32,
    pub(super) job: Job,
    pub(super) phase: Phase,
    pub(super) spot: Spot,
    pub(super) arrived_at: Moment,
    /// Counted tries, with the one in work.
    #[serde(default)]
    pub(super) attempts: u32,
    #[serde(default)]
    pub(super) reasons: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) hosts: BTreeMap<HostId, HostView>,
    #[serde(default)]
    pub(super) history: Vec<Transition>,
    /// Since when nothing was heard of it. Later than that if it was asked about: by as much that it is asked about again at the right time.
    #[serde(default)]
    pub(super) quiet_since: Moment,
    /// How long it had waited when it was asked about last; none if news came since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) asked_after_ms: Option<u64>,
    /// What a later version wrote and we do not know.
    #[serde(flatten)]
    pub(super) extra: Map<String, Value>,
    /// Where the document lies in the tables.
    #[serde(skip)]
    pub(super) row: Option<Row>,
}

/// The row that a document was read from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Row {
    /// Its number, which grows with arrival.
    pub(super) seq: i64,
    /// The group it is queued in.
    pub(super) group: Option<i64>,
}

/// The one place where a job is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub(super) enum Spot {
    Queued,
    Held { until: Moment },
    Claimed(Hold),
    Running,
}

/// A claim, as the job it is on knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Hold {
    pub(super) handler: PluginName,
    pub(super) host: HostId,
    pub(super) fence: u64,
    pub(super) life_ms: u64,
    pub(super) expires_at: Moment,
    /// When somebody first saw that it was not renewed in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) marked_at: Option<Moment>,
    #[serde(default)]
    pub(super) paused: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) vm: Option<VmName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) taken: Option<Taken>,
}

/// What a job knows of a host that failed with it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct HostView {
    /// Failures in a row.
    #[serde(default)]
    pub(super) failures: u32,
    /// The host leaves the job alone until then.
    #[serde(default)]
    pub(super) avoid_until: Moment,
    /// A failure of the kind that counts once a host has been counted.
    #[serde(default)]
    pub(super) counted_once: bool,
}

impl Hold {
    pub(super) fn new(handler: &PluginName, host: &HostId, fence: u64, life: Duration, now: Moment) -> Self {
        Self {
            handler: handler.clone(),
            host: host.clone(),
            fence,
            life_ms: u64::try_from(life.as_millis()).unwrap_or(u64::MAX),
            expires_at: now.after(life),
            marked_at: None,
            paused: false,
            vm: None,
            taken: None,
        }
    }

    pub(super) fn key(&self) -> ClaimKey {
        ClaimKey { handler: self.handler.clone(), fence: self.fence }
    }

    pub(super) fn life(&self) -> Duration {
        Duration::from_millis(self.life_ms)
    }

    /// Its life begins anew, whoever had marked it.
    pub(super) fn renew(&mut self, now: Moment) {
        self.expires_at = now.after(self.life());
        self.marked_at = None;
    }

    /// When it is marked if it was not renewed: a renewal's time before it runs out.
    pub(super) fn look_at(&self) -> Moment {
        self.expires_at.before(self.life() / 6)
    }

    fn by(&self) -> (PluginName, HostId) {
        (self.handler.clone(), self.host.clone())
    }
}

impl StoredJob {
    pub(super) fn new(job: &Job, phase: Phase, spot: Spot, now: Moment) -> Self {
        Self {
            version: VERSION,
            job: job.clone(),
            phase,
            spot,
            arrived_at: now,
            attempts: 0,
            reasons: Vec::new(),
            hosts: BTreeMap::new(),
            history: Vec::new(),
            quiet_since: now,
            asked_after_ms: None,
            extra: Map::new(),
            row: None,
        }
    }

    /// The oldest is served first.
    pub(super) fn age(&self) -> Moment {
        self.job.created_at.unwrap_or(self.arrived_at)
    }

    pub(super) fn hold(&self) -> Option<&Hold> {
        match &self.spot {
            Spot::Claimed(hold) => Some(hold),
            Spot::Queued | Spot::Held { .. } | Spot::Running => None,
        }
    }

    pub(super) fn hold_mut(&mut self) -> Option<&mut Hold> {
        match &mut self.spot {
            Spot::Claimed(hold) => Some(hold),
            Spot::Queued | Spot::Held { .. } | Spot::Running => None,
        }
    }

    /// Puts a new claim on the job; the try counts from now on, so that a crash counts too.
    pub(super) fn begin(&mut self, hold: Hold, what: &str, now: Moment) {
        self.attempts = self.attempts.saturating_add(1);
        self.place(hold, what, now);
    }

    /// Puts a claim on the job that was on another.
    pub(super) fn place(&mut self, hold: Hold, what: &str, now: Moment) {
        self.note(now, what, Some(hold.by()));
        self.spot = Spot::Claimed(hold);
    }

    /// The claim, taken off. Where the job goes is for the caller to say.
    pub(super) fn take_hold(&mut self) -> Option<Hold> {
        match std::mem::replace(&mut self.spot, Spot::Queued) {
            Spot::Claimed(hold) => Some(hold),
            other @ (Spot::Queued | Spot::Held { .. } | Spot::Running) => {
                self.spot = other;
                None
            }
        }
    }

    /// The try in work does not count.
    pub(super) fn uncount(&mut self) {
        self.attempts = self.attempts.saturating_sub(1);
    }

    pub(super) fn add_reason(&mut self, reason: &str) {
        self.reasons.push(reason.to_owned());
        keep_newest(&mut self.reasons, N_REASONS);
    }

    /// News has moved it: its silence begins anew.
    pub(super) fn hear(&mut self, now: Moment) {
        self.quiet_since = now;
        self.asked_after_ms = None;
    }

    /// Somebody asks about it: it comes again after twice the time.
    pub(super) fn ask(&mut self, first: Duration, most: Duration, now: Moment) {
        let next = |waited_ms: u64| Duration::from_millis(waited_ms.saturating_mul(2)).min(most);
        let waited = self.asked_after_ms.map_or(first, next);
        let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        self.asked_after_ms = Some(waited_ms);
        self.quiet_since = now.after(next(waited_ms)).before(first);
    }

    /// Writes a line of history.
    pub(super) fn note(&mut self, at: Moment, what: impl Into<String>, by: Option<(PluginName, HostId)>) {
        self.history.push(Transition { at, what: what.into(), by });
        keep_newest(&mut self.history, N_HISTORY);
    }

    /// Writes a line of history about the claim.
    pub(super) fn note_of_hold(&mut self, at: Moment, what: impl Into<String>) {
        let by = self.hold().map(Hold::by);
        self.note(at, what, by);
    }

    /// The claim as its handler gets it.
    pub(super) fn claim(&self, resumed: bool) -> Option<Claim> {
        let hold = self.hold()?;
        Some(Claim {
            key: hold.key(),
            job: self.job.clone(),
            phase: self.phase.clone(),
            attempts: self.attempts.saturating_sub(1),
            host_failures: self.hosts.get(&hold.host).map_or(0, |host| host.failures),
            reasons: self.reasons.clone(),
            resumed,
            taken: hold.taken.clone(),
        })
    }

    /// As people see it: a job that is due is queued, though nobody has moved it yet.
    pub(super) fn into_entry(self, now: Moment) -> Entry {
        let place = match &self.spot {
            Spot::Queued => Place::Queued,
            Spot::Held { until } if *until <= now => Place::Queued,
            Spot::Held { until } => Place::Held { until: *until },
            Spot::Claimed(hold) => {
                Place::Claimed { handler: hold.handler.clone(), host: hold.host.clone(), paused: hold.paused }
            }
            Spot::Running => Place::Running,
        };
        let hold = self.hold().cloned();
        let avoids = self.hosts.into_iter().filter(|(_, view)| view.avoid_until > now);
        Entry {
            job: self.job,
            phase: self.phase,
            place,
            attempts: self.attempts,
            history: self.history,
            claimed_until: hold.as_ref().map(|hold| hold.expires_at),
            vm: hold.and_then(|hold| hold.vm),
            avoided_by: map_of(avoids.map(|(host, view)| (host, view.avoid_until))),
        }
    }

    /// What is kept of a job that goes.
    pub(super) fn to_last(&self) -> Entry {
        Entry {
            job: self.job.clone(),
            phase: self.phase.clone(),
            place: Place::Running,
            attempts: self.attempts,
            history: self.history.clone(),
            vm: None,
            claimed_until: None,
            avoided_by: BTreeMap::new(),
        }
    }
}

fn keep_newest<T>(list: &mut Vec<T>, n_most: usize) {
    let n_over = list.len().saturating_sub(n_most);
    list.drain(..n_over);
}
