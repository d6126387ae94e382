//! The queue, in its own verbs. Two homes implement it: an embedded file and Redis.
//!
//! What every implementation promises:
//! - A verb happens whole or not at all, whatever dies, and is on disk before it answers. A job is never in no place and never in two.
//! - Every verb may be repeated after a lost answer: the second call finds its work done and answers as the first did.
//! - The cost of a verb does not grow with the queue.
//! - Times are the store's own, and never run backwards.
//! - Whoever has to know is told by a [`JobSignal`] right after the verb. Signals can be lost with a connection and can come
//!   twice; the truth is what [`Store::look`] and [`Store::claim`] answer.
//!
//! A job is in exactly one place: *queued* in its group, *held* until a moment, *claimed* by one handler (also while *paused*: then
//! other hosts may take it), or *running* without a claim. An ended job leaves a tombstone so that late news starts nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crossbeam_channel::Receiver;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::job::{Conclusion, Group, Job, JobId, News, Phase};
use crate::name::{HostId, PluginName, VmName};
use crate::scope::Scope;
use crate::time::Moment;
use crate::vm::VmRecord;

/// The queue of jobs, the claims on them, and the records of VMs made for them.
pub trait Store: Send + Sync {
    /// Takes in what GitHub says of a job.
    ///
    /// From a webhook ([`Source::Webhook`]) a phase only moves forward; equal or lower phases change nothing, except that a runner
    /// that was not named before is filled in. The API's word ([`Source::Api`]) is the truth of its moment and may also move a job back.
    /// `run_attempt` above the stored one is a new job in the old one's place (a claim on the old one is lost). Up to that of the tombstone it is late.
    ///
    /// - *queued*: an unknown job that is `for_us` is stored in its group.
    /// - *in progress*: a known job, or one `for_us`, or one on a recorded VM ends up claimed by the handler whose VM runs it, or without
    ///   a claim where that runner is none of ours or nobody holds its VM. The VM's record then names this job. See [`Store::look`] for what the handlers concerned
    ///   see. When a runner of claim A reports job B: its claim moves to B. A goes to the handler that had claimed B, if that handler's VM exists, has all
    ///   of A's labels and A's scope, is not already running another job; else A goes back to its group, uncounted, and the claim that was on B is lost.
    /// - *completed*: as *in progress* first where a runner is named; then a tombstone is left; a claimed entry stays for its handler
    ///   to [`Store::finish`], an unclaimed one goes.
    fn news(&self, news: &News, source: Source) -> Result<Noted, StoreError>;

    /// The next job for a handler, with the right to work on it.
    ///
    /// A handler that already holds a claim gets that one, same fence, attempt not counted again, `resumed` set. Otherwise the
    /// oldest eligible job (by `created_at`, else arrival) among the heads of all groups of `want.scope`, held-back jobs only
    /// when due, stepping over at most 32 jobs a group that this host avoids. Claims that ran out are marked, and taken a third of
    /// `claim_life` after the mark if not renewed since, when `want.take_over` allows; `taken` then says from whom.
    fn claim(&self, want: &Want) -> Result<ClaimAnswer, StoreError>;

    /// What has become of a claim. Changes nothing.
    fn look(&self, key: &ClaimKey) -> Result<ClaimView, StoreError>;

    /// Prolongs claims to their life from now on; answers those that are lost.
    fn renew(&self, keys: &[ClaimKey]) -> Result<Vec<ClaimKey>, StoreError>;

    /// Ends a claim; the job goes back to its group, or is held until it is due. If GitHub has completed it meanwhile, it is
    /// finished instead; if it is in progress, it is left running, unclaimed.
    fn give_back(&self, key: &ClaimKey, how: &GiveBack) -> Result<(), StoreError>;

    /// Leaves the claimed job open to other hosts: any handler of another host (`want.host`) may claim it, and the claim is then lost.
    fn pause(&self, key: &ClaimKey) -> Result<(), StoreError>;

    /// Ends a pause. `Lost` if another host has taken the job.
    fn resume(&self, key: &ClaimKey) -> Result<(), StoreError>;

    /// Ends a claim on a job that is in progress: it stays *running*, unclaimed, until GitHub ends it or its VM's host adopts it.
    fn leave_running(&self, key: &ClaimKey) -> Result<(), StoreError>;

    /// Ends a claim on a job that GitHub has ended: the entry goes, the tombstone stays.
    fn finish(&self, key: &ClaimKey, conclusion: &Conclusion) -> Result<(), StoreError>;

    /// Writes a VM record, new or changed; it takes the place of the one with the same name. With a key, the claim must still hold
    /// (else `Lost`, and nothing is written) and from now on this is the claim's VM. Without one, it is its host's own business.
    fn put_vm(&self, key: Option<&ClaimKey>, record: &VmRecord) -> Result<(), StoreError>;

    /// Forgets a VM whose host has seen it and its runner gone. Forgetting an unknown one is well.
    fn remove_vm(&self, vm: &VmName) -> Result<(), StoreError>;

    /// All VM records of a host.
    fn vms(&self, host: &HostId) -> Result<Vec<VmRecord>, StoreError>;

    /// A claim for `handler` on the job that the record of `vm` names, so that it can watch on: the claim it still holds with that VM, or a new
    /// one if the job is *running* unclaimed, or ended news waits for it. None if the job is anybody else's, back in its group, or gone.
    fn adopt(&self, handler: &PluginName, vm: &VmName) -> Result<Option<Claim>, StoreError>;

    /// One entry with its history; none if unknown or gone.
    fn entry(&self, job: JobId) -> Result<Option<Entry>, StoreError>;

    /// How many jobs are where; for tests, health and metrics.
    fn counts(&self) -> Result<Counts, StoreError>;

    /// Takes or renews the lease on a name (a plugin's, a hook's) for `life`. A lease whose holder is another process of the same host that
    /// has ended (`lease.predecessor_is_gone`) is taken at once; any other is respected until it runs out.
    fn lease(&self, lease: &Lease) -> Result<Leased, StoreError>;

    /// Gives a lease up, if this holder has it.
    fn release(&self, lease: &Lease) -> Result<(), StoreError>;

    /// News for one handler: of its claim, and [`JobSignal::Look`] when a job became claimable or the store came back. Ends with the receiver.
    fn subscribe(&self, handler: &PluginName) -> Receiver<JobSignal>;
}

/// Who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A webhook: possibly late, doubled, out of order.
    Webhook,
    /// An answer of the API: the truth of this moment.
    Api,
}

/// What became of a piece of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// A new job is in the queue.
    Enqueued,
    /// A stored job has moved on (or back, by the API's word).
    Moved,
    /// Nothing new: already known, or later news has been.
    Known,
    /// The job has ended before; this is late.
    Ended,
    /// Neither the labels nor the job nor its runner are ours; nothing is stored.
    NotOurs,
}

/// What wakes a handler. The truth is in the store; a signal only says that looking pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobSignal {
    /// A job became claimable, or the store came back.
    Look,
    /// The claimed job runs on the claim's VM.
    Started(JobId),
    /// GitHub has ended the claimed job.
    Finish(JobId, Conclusion),
    /// The claim is on another job now, or lost: what is being prepared may be for nothing.
    Retry,
    /// The record of this VM, which no claim holds, now names a job.
    Vm(VmName),
}

/// The name of a claim. A handler holds one claim at most; the fence tells its claims apart and grows with each.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClaimKey {
    /// Who holds it.
    pub handler: PluginName,
    /// The fencing number.
    pub fence: u64,
}

/// What a handler asks for.
#[derive(Clone, Debug)]
pub struct Want {
    /// Who asks.
    pub handler: PluginName,
    /// On which host.
    pub host: HostId,
    /// Whose jobs it can run.
    pub scope: Scope,
    /// Groups that this host passes by for now.
    pub pass: Vec<Group>,
    /// Whether claims of others that ran out may be marked and taken.
    pub take_over: bool,
    /// How long a claim lives without renewal.
    pub claim_life: Duration,
}

/// The answer to a [`Want`].
#[derive(Clone, Debug)]
pub enum ClaimAnswer {
    /// Here it is.
    Claimed(Box<Claim>),
    /// Nothing now.
    Nothing {
        /// How long until a held job is due, a claim runs out or a mark ripens; none if nothing is in sight.
        next_due: Option<Duration>,
    },
}

/// The exclusive, expiring right of a handler to work on a job.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Its name.
    pub key: ClaimKey,
    /// The job.
    pub job: Job,
    /// What GitHub last said of it.
    pub phase: Phase,
    /// Earlier counted tries; 0 on the first claim.
    pub attempts: u32,
    /// Uncounted failures of this host with this job in a row.
    pub host_failures: u32,
    /// Why earlier tries ended, oldest first.
    pub reasons: Vec<String>,
    /// This handler held it already: something may be left of the earlier work.
    pub resumed: bool,
    /// Whom it was taken from, because their claim ran out. Ask GitHub before anything else.
    pub taken: Option<Taken>,
}

/// Whose claim ran out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The handler that held it.
    pub handler: PluginName,
    /// The host it ran on.
    pub host: HostId,
    /// The VM it may have made; its record stays with its host.
    pub vm: Option<VmName>,
}

/// What has become of a claim.
#[derive(Clone, Debug)]
pub enum ClaimView {
    /// It holds; the job, possibly another than before, its phase.
    Held {
        /// The job the claim is on now: GitHub decides which job a runner gets.
        job: Box<Job>,
        /// How far it is. `InProgress` and a runner that is the claim's VM means that the VM runs it.
        phase: Phase,
    },
    /// Another took it, or its job went elsewhere: what was made for it must be undone, nothing may be saved under it.
    Lost,
}

/// How a claim ends without an end of the job.
#[derive(Clone, Debug)]
pub struct GiveBack {
    /// Why, for people and for the history.
    pub reason: String,
    /// Whether the try counts against the job.
    pub counted: Counted,
    /// Nobody claims it before this has passed.
    pub hold: Duration,
    /// This host leaves the job alone for this long; counts as a failure of the host with the job.
    pub host_avoids: Option<Duration>,
}

/// Whether a try counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It counts.
    Yes,
    /// The attempt written with the claim is taken back.
    No,
    /// It counts if it is the first of its kind on this host.
    OncePerHost,
}

/// Where a job is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Place {
    /// In its group, for whoever comes.
    Queued,
    /// Outside its group until the moment.
    Held {
        /// When it is due.
        until: Moment,
    },
    /// In the hands of a handler.
    Claimed {
        /// Who.
        handler: PluginName,
        /// Where.
        host: HostId,
        /// Whether other hosts may take it.
        paused: bool,
    },
    /// In progress, in nobody's hands.
    Running,
}

/// A stored job as people and tests see it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The job.
    pub job: Job,
    /// What GitHub last said.
    pub phase: Phase,
    /// Where it is.
    pub place: Place,
    /// Counted tries, with the one in work.
    pub attempts: u32,
    /// What happened to it, oldest first; the newest 64.
    pub history: Vec<Transition>,
}

/// A line of a job's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// When, by the store's clock.
    pub at: Moment,
    /// What: `queued`, `claimed`, `stage …`, `in_progress`, `given back: …`.
    pub what: String,
    /// The handler and host concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<(PluginName, HostId)>,
}

/// How many entries are where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Queued in groups.
    pub queued: u64,
    /// Held until due.
    pub held: u64,
    /// Claimed, paused ones included.
    pub claimed: u64,
    /// Running without a claim.
    pub running: u64,
    /// Queued jobs by group.
    pub groups: BTreeMap<Group, u64>,
    /// VM records.
    pub vms: u64,
}

/// A lease on a name.
#[derive(Clone, Debug)]
pub struct Lease {
    /// What is leased: `plugin/NAME`, `hook/ID`.
    pub name: String,
    /// The host that asks.
    pub host: HostId,
    /// The process that asks: boot, pid and start time, so that it is never another's.
    pub process: String,
    /// Tells whether the process that holds the lease, of this same host, is gone.
    pub predecessor_is_gone: fn(process: &str) -> bool,
    /// How long it lasts without renewal.
    pub life: Duration,
}

/// The answer to a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leased {
    /// It is ours for its life.
    Ours,
    /// Somebody else has it.
    Theirs {
        /// The host that has it.
        host: HostId,
        /// The process that has it.
        process: String,
        /// When it runs out unless renewed.
        left: Duration,
    },
}

/// Why a verb did not happen.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The store cannot be reached or cannot write now. Whether the verb happened is not known; repeat it later.
    #[error("store: cannot {doing}: {source}")]
    Away {
        /// The verb.
        doing: &'static str,
        /// What the store's client said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The claim was taken by another or its job went elsewhere.
    #[error("store: the claim is lost")]
    Lost,
    /// A stored document cannot be read. It was set aside; the rest of the queue goes on.
    #[error("store: {what} cannot be read and was set aside: {why}")]
    Broken {
        /// Which document.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}
