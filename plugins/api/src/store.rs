//! The queue, in its own verbs. Two homes implement it: an embedded file and Redis.
//!
//! What every implementation promises:
//! - A verb happens whole or not at all, whatever dies, and is on disk before it answers. A job is never in no place and never in two.
//! - Every verb may be repeated after a lost answer: the second call finds its work done and answers as the first did.
//! - The cost of a verb does not grow with the queue.
//! - Times are the store's own, and never run backwards.
//! - A claim is lost only when another took it: until then a late holder's verb succeeds, and renews it.
//! - Whoever has to know is told by a [`JobSignal`] right after the verb. Signals can be lost with a connection and can come
//!   twice; the truth is what [`Store::look`] and [`Store::claim`] answer.
//!
//! A job is in exactly one place: *queued* in its group, *held* until a moment, *claimed* by one handler (also while *paused*: then
//! other hosts may take it), or *running* without a claim. An ended job leaves a tombstone so that late news starts nothing.
//! A held job whose moment has come is queued, in every answer, from that moment on.
//!
//! A claimed job counts one try more than an unclaimed one: the try is written with the claim. It stays when the claim ends in a
//! counted give-back or is taken over because it ran out. However else a claim ends, the try is taken back: other give-backs,
//! [`Store::leave_running`], another host taking a paused job, and claims lost by news.

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
    /// that was not named before is filled in. The API's word ([`Source::Api`]) is the truth of its moment and may also name another runner, or move a
    /// job back to queued: an unclaimed one then lies in its group, a claimed one stays claimed ([`JobSignal::Retry`]). A runner once named is not
    /// forgotten when later news of the same or a higher phase names none.
    /// `run_attempt` above the stored one is a new job in the old one's place (a claim on the old one is lost); below it, news is late ([`Noted::Known`]).
    /// Up to that of the tombstone it is late, whoever says it ([`Noted::Ended`]).
    ///
    /// News of an unknown job that is not `for_us` and names no recorded VM is [`Noted::NotOurs`].
    ///
    /// - *queued*: an unknown job that is `for_us` is stored in its group ([`Noted::Enqueued`]).
    /// - *in progress*: a known job, or one `for_us`, or one on a recorded VM ends up claimed by the handler whose VM runs it, or *running* without
    ///   a claim where that runner is none of ours or nobody holds its VM: a claim on it is then lost. Where no runner is named a claim on it stays. The VM's
    ///   record then names this job (job, run, repository). See [`Store::look`] for what the handlers concerned see.
    ///   When a runner of claim A reports job B: its claim moves to B, same fence. A goes to the handler that had claimed B, if A is
    ///   queued by GitHub and that handler's VM has a record with a job and a stage before [`Stage::Running`](crate::vm::Stage::Running), was not
    ///   known to run B, and has all of A's labels and A's scope; that record then names A. Else A goes back to its group, uncounted, without a hold (or where its
    ///   phase says, as in [`Store::give_back`]), and the claim that was on B is lost.
    /// - *completed*: as *in progress* first where another runner is named than is known; then a tombstone is left, for unknown jobs too, and written at
    ///   once; a claimed entry stays for its handler to [`Store::finish`], an unclaimed one goes.
    ///
    /// Signals: [`JobSignal::Look`] when a job became claimable; [`JobSignal::Started`] when the claimed job runs on the claim's VM, also after a move;
    /// [`JobSignal::Finish`] when the claimed job is over; [`JobSignal::Retry`] to a handler whose claim is lost or on another job,
    /// or whose job moved back, or is in progress on a runner that is not named; [`JobSignal::Vm`] to the plugin of a record that no claim holds.
    fn news(&self, news: &News, source: Source) -> Result<Noted, StoreError>;

    /// The next job for a handler, with the right to work on it.
    ///
    /// 1. A handler that already holds a claim gets that one, same fence, attempt not counted again, `resumed` set, renewed with
    ///    `want.claim_life`, from now on on `want.host`, and no longer paused.
    /// 2. With `want.take_over`: each claim within `want.scope` that has but a sixth of its life left is marked; it is taken when it has run out and the
    ///    mark is a third of `want.claim_life` old, if not renewed since, whatever its job's phase; `taken` then says from whom. Groups passed by and jobs avoided are taken too: the taker only asks GitHub.
    /// 3. A paused job of another host, if GitHub has not started it.
    /// 4. The oldest eligible job among the heads of all groups, held-back ones only when due, stepping over at most 32 jobs a group that
    ///    this host avoids or that are of another enterprise.
    ///
    /// Each time the oldest first: by `created_at`, else arrival; then by arrival. 3 and 4 only within `want.scope`, not in `want.pass`, and
    /// not while this host avoids the job. Fences count 1, 2, 3 … in each store, one for each new claim.
    fn claim(&self, want: &Want) -> Result<ClaimAnswer, StoreError>;

    /// What has become of a claim. Changes nothing.
    fn look(&self, key: &ClaimKey) -> Result<ClaimView, StoreError>;

    /// Prolongs claims to their life from now on; answers those that do not hold any more.
    ///
    /// Whoever holds claims or a lease also marks the late claims of all scopes as [`Store::claim`] does, but takes none: so the marks are old when a
    /// busy handler becomes free. A store does not let it while its own connection has not been back for the life of a claim.
    fn renew(&self, keys: &[ClaimKey]) -> Result<Vec<ClaimKey>, StoreError>;

    /// Ends a claim; the job goes back to its group, or is held until it is due. If GitHub has completed it meanwhile, it is
    /// finished instead; if it is in progress, it is left running, unclaimed; either way nothing of `how` counts.
    ///
    /// This verb, [`Store::leave_running`] and [`Store::finish`] answer `Lost` if the claim was lost, and do nothing, successfully, if it was the last that
    /// its handler ended with one of the three.
    fn give_back(&self, key: &ClaimKey, how: &GiveBack) -> Result<(), StoreError>;

    /// Leaves the claimed job open to other hosts: any handler of another host (`want.host`) may claim it, and the claim is then lost.
    /// Not while it is in progress or completed.
    fn pause(&self, key: &ClaimKey) -> Result<(), StoreError>;

    /// Ends a pause. `Lost` if another host has taken the job.
    fn resume(&self, key: &ClaimKey) -> Result<(), StoreError>;

    /// Ends a claim on a job that is in progress: it stays *running*, unclaimed, until GitHub ends it or its VM's host adopts it.
    /// In another phase it goes back to its group, or is finished.
    fn leave_running(&self, key: &ClaimKey) -> Result<(), StoreError>;

    /// Ends a claim on a job that GitHub has ended, whether news of that came or the handler found out: the entry goes, a tombstone stays.
    fn finish(&self, key: &ClaimKey, conclusion: &Conclusion) -> Result<(), StoreError>;

    /// Writes a VM record, new or changed; it takes the place of the one with the same name. With a key, the claim must still hold
    /// (else `Lost`, and nothing is written) and from now on this is the claim's VM; a stage other than the record's before is a line of the job's
    /// history. A record that names another job than the claim's is written with the claim's: the claim has moved since its handler looked. Without a key,
    /// it is its host's own business.
    fn put_vm(&self, key: Option<&ClaimKey>, record: &VmRecord) -> Result<(), StoreError>;

    /// Forgets a VM whose host has seen it and its runner gone: no claim holds it any more. Forgetting an unknown one is well.
    fn remove_vm(&self, vm: &VmName) -> Result<(), StoreError>;

    /// All VM records of a host, by name.
    fn vms(&self, host: &HostId) -> Result<Vec<VmRecord>, StoreError>;

    /// At most 100 VM records of hosts of which no process has taken or renewed a lease for `silence`; none of a host that never had one is among them
    /// before `silence` has passed since the first such question. Those in `told` are no longer there: they are forgotten in the same act as by
    /// [`Store::remove_vm`], unless their host has come back. So whoever asks tells of each record before it goes, even if an answer is lost.
    fn forsaken(&self, silence: Duration, told: &[VmName]) -> Result<Vec<VmRecord>, StoreError>;

    /// A claim for `handler` on the job that the record of `vm` names, so that it can watch on: the claim it still holds with that VM,
    /// renewed, also when GitHub has ended the job; or a new one, on the record's host, with the VM, if the job is *running* unclaimed and its runner is
    /// this VM or not named. `resumed` is set. None if the job is anybody else's, back in its group, or gone, or if the handler holds another claim.
    ///
    /// A new claim lives as long as the handler's last one, else 90 s.
    fn adopt(&self, handler: &PluginName, vm: &VmName) -> Result<Option<Claim>, StoreError>;

    /// One entry with its history; none if unknown or gone.
    fn entry(&self, job: JobId) -> Result<Option<Entry>, StoreError>;

    /// How many jobs are where; for tests, health and metrics.
    fn counts(&self) -> Result<Counts, StoreError>;

    /// What waits, by group, with the oldest of each: its cost grows with the groups and not with the jobs.
    fn survey(&self) -> Result<Survey, StoreError>;

    /// At most `limit` jobs that are in such a place: queued ones the oldest first, held ones the next due first, the others in any order.
    fn list(&self, spot: Spot, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// All that is known of one job, also when it has ended.
    fn examine(&self, job: JobId) -> Result<Dossier, StoreError>;

    /// Does what a person at the command line asks for; false if the job is unknown or not where that makes sense.
    fn by_hand(&self, job: JobId, what: &ByHand) -> Result<bool, StoreError>;

    /// Puts a notice up under a key for `life`, in place of what was there; a `life` of zero takes it down. The same text again only prolongs it:
    /// the moment since when it says so stays.
    fn post(&self, key: &str, text: &str, life: Duration) -> Result<(), StoreError>;

    /// All notices that are up and whose key begins so, by key.
    fn notices(&self, prefix: &str) -> Result<Vec<Notice>, StoreError>;

    /// Takes or renews the lease on a name (a plugin's, a hook's) for `life`. A lease whose holder is another process of the same host that
    /// has ended (`lease.predecessor_is_gone`) is taken at once; any other is respected until it runs out.
    /// A lease that is taken or renewed marks late claims as [`Store::renew`] does.
    fn lease(&self, lease: &Lease) -> Result<Leased, StoreError>;

    /// [`Store::lease`] for several leases of one process, answered in their order.
    fn renew_leases(&self, leases: &[Lease]) -> Result<Vec<Leased>, StoreError> {
        leases.iter().map(|lease| self.lease(lease)).collect()
    }

    /// Gives a lease up, if this holder has it.
    fn release(&self, lease: &Lease) -> Result<(), StoreError>;

    /// Jobs that nobody holds and of which nothing was heard for `silence.first`, the longest silent first. A job that is answered counts as asked
    /// about: it comes again after twice the time that it took this time, after `silence.most` at the latest, unless news moves it meanwhile; its silence then
    /// begins anew. A look steps over at most 1,000 jobs outside the scope.
    fn silent(&self, silence: &Silence) -> Result<Vec<Job>, StoreError>;

    /// What was noted under a key; none if nothing was.
    fn note(&self, key: &str) -> Result<Option<String>, StoreError>;

    /// Notes a short text under a key, in place of what was there: what a plugin has to remember beyond a restart, whichever process does its work then.
    fn put_note(&self, key: &str, text: &str) -> Result<(), StoreError>;

    /// Which life of the store this is, in a word of its own: another one than before means that it was restarted, or another server took over, and
    /// that what it had acknowledged just before may be lost. None if that cannot happen, or cannot be known.
    fn incarnation(&self) -> Result<Option<String>, StoreError>;

    /// Becomes ready when the store was away for a while, or is elsewhere now: then [`Store::incarnation`] may be another. Each caller has a channel of
    /// its own; in a store that is never away it stays silent.
    fn interruptions(&self) -> Receiver<()>;

    /// Whether processes of other hosts may use this queue.
    fn is_shared(&self) -> bool;

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
    /// A job has moved on (or back, by the API's word), or is in progress or over already at the first word of it.
    Moved,
    /// Nothing new: already known, or later news has been. Nothing is changed.
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
    /// The claim is on another job now, or lost, or its job is not where it was: what is being prepared may be for nothing.
    Retry,
    /// The record of this VM, which no claim holds, now names a job, or its job is over.
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
        /// How long until a held job (of any group) is due or, with `take_over`, a claim within the scope is to be marked or can be taken; none if
        /// nothing is in sight. Never zero.
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
    /// Give-backs of this job by this host in a row that set `host_avoids`.
    pub host_failures: u32,
    /// The reasons of earlier give-backs, oldest first; the newest 16.
    pub reasons: Vec<String>,
    /// This handler held it already: something may be left of the earlier work.
    pub resumed: bool,
    /// Whom it was taken from, because their claim ran out; none again once the claim is on another job. Ask GitHub before anything else.
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
    /// This host leaves the job alone for this long; counts as a failure of the host with the job. None ends such a row of failures.
    pub host_avoids: Option<Duration>,
}

/// Whether a try counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It counts.
    Yes,
    /// The attempt written with the claim is taken back.
    No,
    /// It counts if it is the first give-back of this job by this host that says so.
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

/// The kinds of [`Place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// See [`Place::Queued`].
    Queued,
    /// See [`Place::Held`].
    Held,
    /// See [`Place::Claimed`].
    Claimed,
    /// See [`Place::Running`].
    Running,
}

/// A stored job as people and tests see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// The VM of the claim on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmName>,
    /// When the claim on it runs out unless it is renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_until: Option<Moment>,
    /// The hosts that leave the job alone, each until its moment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub avoided_by: BTreeMap<HostId, Moment>,
}

/// What is known of a job.
#[derive(Clone, Debug)]
pub struct Dossier {
    /// Now, by the store's clock.
    pub at: Moment,
    /// The job, as long as it is stored.
    pub entry: Option<Entry>,
    /// How many jobs come before it, while it is queued in its group.
    pub ahead: Option<Ahead>,
    /// How it ended, for as long as its tombstone stands.
    pub ended: Option<Ended>,
}

/// Jobs that come before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// In the same group.
    pub in_group: u64,
    /// In all groups of the queue.
    pub in_queue: u64,
}

/// What a tombstone tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// The highest `run_attempt` that has ended.
    pub run_attempt: u32,
    /// The job as it was when it went; none if it was never stored. Only its job, phase, attempts and history tell something.
    pub last: Option<Entry>,
}

/// What a person at the command line can do to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ByHand {
    /// A held job is queued at once, and no host avoids the job any more; for queued and held ones.
    Retry,
    /// The job goes and a tombstone stays, wherever it was; a claim on it is lost.
    Remove,
    /// A line in the job's history.
    Say(String),
}

/// A notice that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its key.
    pub key: String,
    /// What it says.
    pub text: String,
    /// Since when it says so, by the store's clock.
    pub since: Moment,
    /// When it comes down unless it is prolonged.
    pub until: Moment,
}

/// What waits in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Now, by the store's clock.
    pub at: Moment,
    /// Held until due.
    pub held: u64,
    /// Claimed, paused ones included.
    pub claimed: u64,
    /// Running without a claim.
    pub running: u64,
    /// VM records.
    pub vms: u64,
    /// Groups with queued jobs.
    pub groups: BTreeMap<Group, Waiting>,
}

/// The queued jobs of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub n_jobs: u64,
    /// The age of the oldest: GitHub's date of it, else when it came.
    pub oldest_at: Moment,
}

/// A line of a job's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// When, by the store's clock.
    pub at: Moment,
    /// What: `queued`, `claimed`, `taken over`, `adopted`, `adopted from the Go program`, `paused`, `resumed`, `stage …`, `in_progress`, `completed`, `given back: …`,
    /// `left running`, `retried by hand`, `removed by hand`, and what [`ByHand::Say`] says.
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

/// Which silent jobs are asked for, and when they come again.
#[derive(Clone, Debug)]
pub struct Silence {
    /// Whose jobs.
    pub scope: Scope,
    /// How long nothing was heard of a job when it comes for the first time.
    pub first: Duration,
    /// The longest time until a job comes again.
    pub most: Duration,
    /// How many jobs at most.
    pub limit: usize,
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

/// Who asks for leases: one process of a host.
#[derive(Clone, Debug)]
pub struct Lessee {
    /// The host.
    pub host: HostId,
    /// The process; see [`Lease::process`].
    pub process: String,
    /// See [`Lease::predecessor_is_gone`].
    pub predecessor_is_gone: fn(process: &str) -> bool,
}

impl Lessee {
    /// A lease on that name for this process.
    pub fn lease(&self, name: String, life: Duration) -> Lease {
        Lease {
            name,
            host: self.host.clone(),
            process: self.process.clone(),
            predecessor_is_gone: self.predecessor_is_gone,
            life,
        }
    }
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
    /// A stored document cannot be read: asking again is of no use. It was set aside or, if it is of a newer version, stays for a newer
    /// host; the rest of the queue goes on.
    #[error("store: {what} cannot be read: {why}")]
    Broken {
        /// Which document.
        what: String,
        /// What is wrong with it.
        why: String,
    },
}
