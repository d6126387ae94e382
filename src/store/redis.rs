//! The queue in Redis, where any number of hosts share it.
//!
//! One Lua script a verb (`redis/lua`), all keys of a queue in one hash slot (`anklet:{QUEUE}:…`):
//!
//! | key | holds |
//! |---|---|
//! | `meta` | the clock, the last fence, the last number of arrival |
//! | `job:ID`, with `:history`, `:reasons` | a job: what GitHub said, its spot, the claim on it |
//! | `group:GROUP` | its queued jobs by age; `groups` and `heads:…` know the oldest of each |
//! | `held`, `claims`, `paused`, `running`, `quiet` | jobs by what is asked of them: when due, when their claim runs out, since when silent |
//! | `handler:NAME`, `holders` | which job a handler holds, which job's claim has a VM |
//! | `vm:NAME`, `vms`, `vms:HOST` | VM records |
//! | `hosts` | when each host last had a lease |
//! | `notes` | what plugins remember |
//! | `notice:KEY`, `notices` | what processes say of themselves, and until when it is up |
//! | `ended:ID`, `last:ID`, `lease:NAME`, `broken:…` | tombstones, what ended jobs were, leases, documents set aside; these expire |
//!
//! A cluster needs no more than that a redirection is followed (`link`), since a verb touches one slot.

mod args;
mod authorities;
mod breaker;
mod keys;
mod link;
mod news;
mod reply;
mod scripts;
mod server;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anklet_plugin_api::job::{Conclusion, Job, JobId, News as JobNews};
use anklet_plugin_api::name::{HostId, PluginName, VmName};
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::store::{
    ByHand, Claim, ClaimAnswer, ClaimKey, ClaimView, Counts, Dossier, Entry, GiveBack, JobSignal, Lease,
    Leased, Noted, Notice, Silence, Source, Spot, Store, StoreError, Survey, Want,
};
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::VmRecord;
use crossbeam_channel::Receiver;
use log::{error, warn};
use redis::{ErrorKind, Value, cmd};
use serde::Serialize;
use serde_json::json;
use thiserror::Error;

pub(crate) use self::keys::Keys;
pub(crate) use self::link::LinkError;

use self::breaker::Backoff;
use self::link::Link;
use self::news::News;
use self::reply::{Fields, Reply, Unreadable};
use self::scripts::Verb;
use self::server::Server;
use crate::config::RedisSettings;

/// Broken documents that one verb sets aside before it gives up.
const N_BROKEN: usize = 16;

/// Jobs that one verb lists at most.
const N_LISTED: usize = 1_000;
/// How long a start waits for the subscription, so that no news of the first moment is missed.
const NEWS_LIMIT: Duration = Duration::from_secs(1);

/// After so long a silence the server is asked whether the subscription is still there, and after as long again it is taken to be gone.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(10);

/// What this program knows of documents.
const VERSION: u32 = 1;

/// Tells the time instead of the server, for tests.
pub(crate) type ClockSource = Arc<dyn Fn() -> Moment + Send + Sync>;

/// How a server is used.
#[derive(Clone)]
pub(crate) struct Options {
    /// How it is reached.
    pub(crate) settings: RedisSettings,
    /// PEM certificates to trust instead of the system's.
    pub(crate) ca: Option<Vec<u8>>,
    /// Only for tests.
    pub(crate) clock: Option<ClockSource>,
    /// How long an ended job is remembered.
    pub(crate) tombstone_life: Duration,
    /// The life of a claim by [`Store::adopt`] of a handler that has never asked for one.
    pub(crate) claim_life: Duration,
    /// Tells this process from others.
    pub(crate) process: String,
    /// [`SILENCE_LIMIT`], unless a test has less time.
    pub(crate) silence_limit: Duration,
}

/// Why a server cannot be used, now or ever.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    /// It answers, and refuses: the config is wrong.
    #[error("Redis at {node} refuses: {source}")]
    Refused {
        /// The server.
        node: String,
        /// Its words.
        source: redis::RedisError,
    },
    /// It does not answer; it may later.
    #[error("{0}")]
    Away(String),
    /// No thread for the subscription.
    #[error("cannot start a thread: {0}")]
    NoThread(std::io::Error),
}

/// A server, or a cluster, with the queues that this process uses there.
pub(crate) struct RedisServer {
    link: Arc<Link>,
    queues: BTreeSet<String>,
    /// None for a tool.
    news: Option<News>,
    options: Options,
    has_warned: Warned,
}

/// What is said once only.
#[derive(Default)]
struct Warned {
    of_newer: AtomicBool,
    of_info: AtomicBool,
}

/// One queue.
pub(crate) struct RedisStore {
    server: Arc<RedisServer>,
    /// What all its keys begin with.
    prefix: String,
    channel: String,
    /// The handlers whose last claim found nothing, not even something to wait for.
    idle: Mutex<BTreeSet<PluginName>>,
}

impl RedisServer {
    /// Begins to use a server. It need not answer yet, but must not refuse; `queues` are all that [`RedisServer::queue`] will be asked for.
    pub(crate) fn open(options: Options, queues: &BTreeSet<String>) -> Result<Arc<Self>, OpenError> {
        let link = Arc::new(new_link(&options));
        let answers = match try_out(&link) {
            Ok(()) => true,
            Err(OpenError::Away(error)) => {
                warn!(error; "unable to access database");
                false
            }
            Err(error) => return Err(error),
        };
        let channels: HashMap<_, _> = queues
            .iter()
            .map(|queue| {
                let prefix = prefix_of(queue);
                (channel_of(&prefix, &link), prefix)
            })
            .collect();
        let news = News::start(Arc::clone(&link), channels, options.process.clone(), options.silence_limit)
            .map_err(OpenError::NoThread)?;
        if answers {
            news.wait(NEWS_LIMIT);
        }
        let (queues, news) = (queues.clone(), Some(news));
        Ok(Arc::new(Self { link, queues, news, options, has_warned: Warned::default() }))
    }

    /// Begins to use a server as a tool that asks a few questions: nobody tells it of news.
    pub(crate) fn open_beside(options: Options) -> Arc<Self> {
        let (link, queues) = (Arc::new(new_link(&options)), BTreeSet::new());
        Arc::new(Self { link, queues, news: None, options, has_warned: Warned::default() })
    }

    /// Looks whether the server lets this user run what the queues need, and changes nothing.
    pub(crate) fn check(options: &Options) -> Result<(), OpenError> {
        let link = new_link(options);
        try_out(&link)?;
        let prefix = prefix_of("anklet-check");
        let channel = channel_of(&prefix, &link);
        match link.run(&scripts::COUNTS, &prefix, &["", &channel, "0", "{}"]) {
            Ok(_) => Ok(()),
            Err(LinkError::Failed { node, source }) if is_refusal(&source) => {
                Err(OpenError::Refused { node: node.to_string(), source })
            }
            Err(error) => Err(OpenError::Away(error.to_string())),
        }
    }

    /// What lies beside the queues.
    pub(crate) fn keys(&self) -> Keys {
        Keys::on(&self.link)
    }

    /// The names of the queues that this process uses here.
    pub(crate) fn queues(&self) -> &BTreeSet<String> {
        &self.queues
    }

    /// A queue.
    pub(crate) fn queue(self: &Arc<Self>, name: &str) -> Arc<RedisStore> {
        let prefix = prefix_of(name);
        let channel = channel_of(&prefix, &self.link);
        Arc::new(RedisStore { server: Arc::clone(self), prefix, channel, idle: Mutex::default() })
    }
}

fn new_link(options: &Options) -> Link {
    let settings = &options.settings;
    let backoff = Backoff {
        delay: settings.retry_delay,
        factor: settings.retry_backoff_factor,
        n_growing: settings.max_retries,
    };
    Link::new(Server::new(settings.clone(), options.ca.clone()), backoff)
}

fn try_out(link: &Link) -> Result<(), OpenError> {
    let tried = link.connect_any().and_then(|mut connection| {
        let node = link.server().seed();
        redis::cmd("PING").exec(&mut connection).map_err(|source| LinkError::Failed { node, source })
    });
    match tried {
        Ok(()) => Ok(()),
        Err(LinkError::Failed { node, source }) if is_refusal(&source) => {
            Err(OpenError::Refused { node: node.to_string(), source })
        }
        Err(error) => Err(OpenError::Away(error.to_string())),
    }
}

/// Whether asking again would be of no use.
fn is_refusal(error: &redis::RedisError) -> bool {
    let is_login = matches!(error.code(), Some("NOAUTH" | "WRONGPASS"));
    is_login
        || matches!(
            error.kind(),
            ErrorKind::AuthenticationFailed
                | ErrorKind::InvalidClientConfig
                | ErrorKind::Server(redis::ServerErrorKind::NoPerm | redis::ServerErrorKind::ResponseError)
        )
}

/// The braces are what a cluster picks the slot by, so they must not come from the name.
fn prefix_of(queue: &str) -> String {
    let mut name = String::new();
    for character in queue.chars() {
        match character {
            '{' | '}' | '%' => name.push_str(&format!("%{:02X}", u32::from(character))),
            other => name.push(other),
        }
    }
    format!("anklet:{{{name}}}:")
}

/// Channels are common to all databases of a server.
fn channel_of(prefix: &str, link: &Link) -> String {
    format!("{prefix}news:{}", link.server().database())
}

impl RedisStore {
    /// Runs a verb; documents that cannot be read are set aside on the way.
    fn run<T>(
        &self,
        verb: &'static Verb,
        args: &impl Serialize,
        read: impl Fn(Value) -> Result<T, Unreadable>,
    ) -> Result<T, StoreError> {
        let mut answer = None;
        self.run_verb(verb, &args::to_json(args), &mut |value| {
            answer = Some(read(value)?);
            Ok(())
        })?;
        Ok(answer.expect("a reply that was read is an answer"))
    }

    /// The part of a verb that is the same for all, whatever they answer.
    fn run_verb(
        &self,
        verb: &'static Verb,
        args: &str,
        read: &mut dyn FnMut(Value) -> Result<(), Unreadable>,
    ) -> Result<(), StoreError> {
        let mut last = (String::new(), String::new());
        for _ in 0..N_BROKEN {
            let (reply, newer) = self.send(verb, args)?;
            if newer > VERSION {
                self.warn_of_newer(newer);
            }
            last = match reply {
                Reply::Done(value) => match read(value) {
                    Ok(()) => return Ok(()),
                    Err(unreadable) => self.set_aside(verb, unreadable)?,
                },
                Reply::Lost => return Err(StoreError::Lost),
                Reply::Broken { what, why } => {
                    tell_broken(&what, &why);
                    (what, why)
                }
                Reply::Newer { what, version } => return Err(too_new(verb, &what, version)),
            };
        }
        Err(StoreError::Broken { what: last.0, why: last.1 })
    }

    fn send(&self, verb: &'static Verb, args: &str) -> Result<(Reply, u32), StoreError> {
        let options = &self.server.options;
        let now = options.clock.as_ref().map_or_else(String::new, |clock| clock().0.to_string());
        let tombstone_life = args::millis(options.tombstone_life);
        let args = [now.as_str(), &self.channel, &tombstone_life, args];
        let value = self
            .server
            .link
            .run(verb, &self.prefix, &args)
            .map_err(|error| StoreError::Away { doing: verb.doing, source: Box::new(error) })?;
        #[cfg(test)]
        self.settle(verb);
        Reply::read(value).map_err(|unreadable| nonsense(verb, unreadable))
    }

    /// Sets aside a document that Lua could read and we cannot.
    fn set_aside(&self, verb: &'static Verb, unreadable: Unreadable) -> Result<(String, String), StoreError> {
        let Some((kind, id)) = unreadable.document.clone() else { return Err(nonsense(verb, unreadable)) };
        let what = format!("{kind} {id}");
        if unreadable.version > VERSION {
            return Err(too_new(verb, &what, unreadable.version));
        }
        self.send(&scripts::SET_ASIDE, &args::to_json(&json!({ "kind": kind, "id": id })))?;
        tell_broken(&what, &unreadable.why);
        Ok((what, unreadable.why))
    }

    /// Takes in a job that another program had in its queue, with the tries behind it. One that is known, or has ended, stays as it is.
    pub(crate) fn import(
        &self,
        news: &JobNews,
        attempts: u32,
        begun_at: Option<Moment>,
    ) -> Result<(), StoreError> {
        self.run(&scripts::IMPORT, &args::ImportArgs::new(news, attempts, begun_at), done)
    }

    /// Keeps an item of another program's list that cannot be read, so that people can look at it.
    pub(crate) fn keep_broken(&self, list: &str, item: &[u8]) -> Result<(), StoreError> {
        let item = String::from_utf8_lossy(item);
        self.run(&scripts::KEEP_BROKEN, &json!({ "list": list, "item": item }), done)
    }

    /// The VM records of an answer, without those that are for a newer anklet to clean up.
    fn readable(&self, records: Value) -> Result<Vec<VmRecord>, Unreadable> {
        let mut all = Vec::new();
        for record in reply::records(records)?.into_values() {
            match record {
                Err(unreadable) if unreadable.version > VERSION => self.warn_of_newer(unreadable.version),
                record => all.push(record?),
            }
        }
        Ok(all)
    }

    fn warn_of_newer(&self, version: u32) {
        if !self.server.has_warned.of_newer.swap(true, Ordering::Relaxed) {
            warn!(version, known = VERSION; "the queue holds documents of a newer anklet; they are left to it");
        }
    }

    /// Whether nothing is where a claim would look: one plain command in place of a script's ten, for the claims of an idle fleet. A server that
    /// does not answer has said nothing.
    fn is_empty_for(&self, scope: &Scope) -> bool {
        let mut exists = cmd("EXISTS");
        for place in ["claims", "paused", "held"].map(str::to_owned).into_iter().chain(args::heads(scope)) {
            exists.arg(format!("{}{place}", self.prefix));
        }
        matches!(self.server.link.command(&self.prefix, &exists), Ok(Value::Int(0)))
    }

    /// Nobody's claim is taken while its holder may not have had the time to come back from an outage that both were in.
    fn may_take_over(&self, claim_life: Duration) -> bool {
        self.server.link.breaker().back_since().is_none_or(|since| since >= claim_life)
    }

    fn send_leases(&self, leases: Vec<args::LeaseArgs<'_>>) -> Result<Vec<Leased>, StoreError> {
        let mark = self.may_take_over(self.server.options.claim_life);
        self.run(&scripts::LEASE, &args::LeasesArgs { leases, mark }, |value| reply::leased(&value))
    }
}

fn tell_broken(what: &str, why: &str) {
    error!(document = what, error = why; "a stored document cannot be read and was set aside");
}

fn too_new(verb: &Verb, what: &str, version: u32) -> StoreError {
    let source = format!("{what} was written by a newer anklet (version {version} of its document)");
    StoreError::Away { doing: verb.doing, source: source.into() }
}

fn nonsense(verb: &Verb, unreadable: Unreadable) -> StoreError {
    let source = format!("Redis answered what cannot be read: {}", unreadable.why);
    StoreError::Away { doing: verb.doing, source: source.into() }
}

fn maybe_claim(value: Value) -> Result<Option<Claim>, Unreadable> {
    Fields::read(value)?.map(|fields| fields.claim()).transpose()
}

impl Store for RedisStore {
    fn news(&self, news: &JobNews, source: Source) -> Result<Noted, StoreError> {
        self.run(&scripts::NEWS, &args::NewsArgs::new(news, source), |value| reply::noted(&value))
    }

    fn claim(&self, want: &Want) -> Result<ClaimAnswer, StoreError> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle().remove(&want.handler) && self.is_empty_for(&want.scope) {
            idle().insert(want.handler.clone());
            return Ok(ClaimAnswer::Nothing { next_due: None });
        }
        let args = args::WantArgs::new(want, want.take_over && self.may_take_over(want.claim_life));
        let answer = self.run(&scripts::CLAIM, &args, |value| match value {
            Value::Array(_) => {
                let claim = maybe_claim(value)?;
                Ok(claim.map_or(ClaimAnswer::Nothing { next_due: None }, |claim| {
                    ClaimAnswer::Claimed(Box::new(claim))
                }))
            }
            due => Ok(ClaimAnswer::Nothing { next_due: reply::maybe_millis(&due)? }),
        })?;
        if let ClaimAnswer::Nothing { next_due: None } = answer {
            idle().insert(want.handler.clone());
        }
        Ok(answer)
    }

    fn look(&self, key: &ClaimKey) -> Result<ClaimView, StoreError> {
        let looked = self.run(&scripts::LOOK, &args::KeyArgs::from(key), |value| {
            Fields::read(value)?.map(|fields| fields.job_and_phase()).transpose()
        });
        match looked {
            Ok(Some((job, phase))) => Ok(ClaimView::Held { job: Box::new(job), phase }),
            Ok(None) | Err(StoreError::Lost) => Ok(ClaimView::Lost),
            Err(error) => Err(error),
        }
    }

    fn renew(&self, keys: &[ClaimKey]) -> Result<Vec<ClaimKey>, StoreError> {
        let mark = self.may_take_over(self.server.options.claim_life);
        let args = args::RenewArgs { keys: keys.iter().map(args::KeyArgs::from).collect(), mark };
        let lost = self.run(&scripts::RENEW, &args, |value| reply::places(&value))?;
        Ok(lost.into_iter().filter_map(|place| keys.get(place).cloned()).collect())
    }

    fn give_back(&self, key: &ClaimKey, how: &GiveBack) -> Result<(), StoreError> {
        self.run(&scripts::GIVE_BACK, &args::GiveBackArgs::new(key, how), done)
    }

    fn pause(&self, key: &ClaimKey) -> Result<(), StoreError> {
        self.run(&scripts::PAUSE, &args::PauseArgs { key: key.into(), paused: true }, done)
    }

    fn resume(&self, key: &ClaimKey) -> Result<(), StoreError> {
        self.run(&scripts::PAUSE, &args::PauseArgs { key: key.into(), paused: false }, done)
    }

    fn leave_running(&self, key: &ClaimKey) -> Result<(), StoreError> {
        self.run(&scripts::LEAVE_RUNNING, &args::KeyArgs::from(key), done)
    }

    fn finish(&self, key: &ClaimKey, conclusion: &Conclusion) -> Result<(), StoreError> {
        let args = args::FinishArgs { key: key.into(), concl: conclusion.to_string() };
        self.run(&scripts::FINISH, &args, done)
    }

    fn put_vm(&self, key: Option<&ClaimKey>, record: &VmRecord) -> Result<(), StoreError> {
        self.run(&scripts::PUT_VM, &args::VmArgs::new(key, record), done)
    }

    fn remove_vm(&self, vm: &VmName) -> Result<(), StoreError> {
        self.run(&scripts::REMOVE_VM, &json!({ "vm": vm }), done)
    }

    fn vms(&self, host: &HostId) -> Result<Vec<VmRecord>, StoreError> {
        self.run(&scripts::VMS, &json!({ "host": host }), |value| self.readable(value))
    }

    fn forsaken(&self, silence: Duration, told: &[VmName]) -> Result<Vec<VmRecord>, StoreError> {
        let args = json!({ "silence": args::millis(silence), "told": told });
        self.run(&scripts::FORSAKEN, &args, |value| self.readable(value))
    }

    fn adopt(&self, handler: &PluginName, vm: &VmName) -> Result<Option<Claim>, StoreError> {
        let life = args::millis(self.server.options.claim_life);
        self.run(&scripts::ADOPT, &json!({ "handler": handler, "vm": vm, "life": life }), maybe_claim)
    }

    fn entry(&self, job: JobId) -> Result<Option<Entry>, StoreError> {
        self.run(&scripts::ENTRY, &json!({ "id": job }), |value| {
            Fields::read(value)?.map(|fields| fields.entry()).transpose()
        })
    }

    fn counts(&self) -> Result<Counts, StoreError> {
        self.run(&scripts::COUNTS, &json!({}), |value| {
            Fields::read(value)?.map_or_else(|| Ok(Counts::default()), |fields| fields.counts())
        })
    }

    fn survey(&self) -> Result<Survey, StoreError> {
        self.run(&scripts::SURVEY, &json!({}), |value| whole(value)?.survey())
    }

    fn list(&self, spot: Spot, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let spot = match spot {
            Spot::Queued => "q",
            Spot::Held => "h",
            Spot::Claimed => "c",
            Spot::Running => "r",
        };
        if limit == 0 {
            return Ok(Vec::new());
        }
        let limit = limit.min(N_LISTED).to_string();
        self.run(&scripts::LIST, &json!({ "spot": spot, "limit": limit }), reply::entries)
    }

    fn examine(&self, job: JobId) -> Result<Dossier, StoreError> {
        self.run(&scripts::EXAMINE, &json!({ "id": job }), |value| whole(value)?.dossier())
    }

    fn by_hand(&self, job: JobId, what: &ByHand) -> Result<bool, StoreError> {
        let args = match what {
            ByHand::Retry => json!({ "id": job, "what": "retry" }),
            ByHand::Remove => json!({ "id": job, "what": "remove" }),
            ByHand::Say(text) => json!({ "id": job, "what": "say", "text": text }),
        };
        self.run(&scripts::BY_HAND, &args, |value| Ok(reply::text(&value)? == "1"))
    }

    fn post(&self, key: &str, text: &str, life: Duration) -> Result<(), StoreError> {
        let args = json!({ "key": key, "text": text, "life": args::millis(life) });
        self.run(&scripts::POST, &args, done)
    }

    fn notices(&self, prefix: &str) -> Result<Vec<Notice>, StoreError> {
        self.run(&scripts::NOTICES, &json!({ "prefix": prefix }), |value| reply::notices(&value))
    }

    fn lease(&self, lease: &Lease) -> Result<Leased, StoreError> {
        let leased = self.renew_leases(std::slice::from_ref(lease))?;
        leased.into_iter().next().ok_or(StoreError::Lost)
    }

    fn renew_leases(&self, leases: &[Lease]) -> Result<Vec<Leased>, StoreError> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let mut all =
            self.send_leases(leases.iter().map(|lease| args::LeaseArgs::new(lease, None)).collect())?;
        for (lease, leased) in leases.iter().zip(&mut all) {
            if let Leased::Theirs { host, process, .. } = leased
                && *host == lease.host
                && (lease.predecessor_is_gone)(process)
            {
                let again = self.send_leases(vec![args::LeaseArgs::new(lease, Some(process))])?;
                *leased = again.into_iter().next().ok_or(StoreError::Lost)?;
            }
        }
        Ok(all)
    }

    fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        self.run(&scripts::RELEASE, &args::LeaseArgs::new(lease, None), done)
    }

    fn silent(&self, silence: &Silence) -> Result<Vec<Job>, StoreError> {
        self.run(&scripts::SILENT, &args::SilenceArgs::from(silence), reply::jobs)
    }

    fn note(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.run(&scripts::NOTE, &json!({ "key": key }), |value| reply::maybe_text(&value))
    }

    fn put_note(&self, key: &str, text: &str) -> Result<(), StoreError> {
        self.run(&scripts::PUT_NOTE, &json!({ "key": key, "text": text }), done)
    }

    fn incarnation(&self) -> Result<Option<String>, StoreError> {
        let words = self.run(&scripts::INCARNATION, &json!({}), |value| match value {
            Value::Array(words) => {
                words.iter().map(reply::text).collect::<Result<Vec<_>, _>>().map(|words| Ok(words.join(" ")))
            }
            refusal => reply::text(&refusal).map(Err),
        })?;
        if let Err(refusal) = &words
            && !self.server.has_warned.of_info.swap(true, Ordering::Relaxed)
        {
            warn!(error = refusal.as_str(); "webhooks that a failover of the database loses will not be noticed: may the user run INFO?");
        }
        Ok(words.ok())
    }

    fn interruptions(&self) -> Receiver<()> {
        self.server.link.interruptions()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn subscribe(&self, handler: &PluginName) -> Receiver<JobSignal> {
        match &self.server.news {
            Some(news) => news.subscribe(&self.prefix, handler),
            None => crossbeam_channel::never(),
        }
    }
}

fn whole(value: Value) -> Result<Fields, Unreadable> {
    Fields::read(value)?.ok_or_else(|| Unreadable { document: None, version: 0, why: "no fields".to_owned() })
}

#[allow(clippy::unnecessary_wraps, reason = "it stands beside readers that can fail")]
fn done(_: Value) -> Result<(), Unreadable> {
    Ok(())
}
