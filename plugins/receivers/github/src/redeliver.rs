//! Looks in GitHub's log for webhooks that did not arrive, and asks for them again: at the start, once in a while, and when the store
//! came back after it had to refuse some.
//!
//! GitHub does not repeat a delivery by itself. One process looks after each hook: it holds a lease in the store. What has been read of the log and
//! what has not arrived is noted there too, so that a look reads only what is new, whichever process makes it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, at, select};
use log::{debug, error, info, warn};

use anklet_github::deliveries::Delivery;
use anklet_github::error::ClientError;
use anklet_github::wire::Webhook;
use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::heartbeat::Heartbeats;
use anklet_plugin_api::job::{News, Phase};
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::log_context::Context;
use anklet_plugin_api::sorted::sort_by_key;
use anklet_plugin_api::stop::Stop;
use anklet_plugin_api::store::{Lease, Leased, Noted, Source, Store, StoreError};
use anklet_plugin_api::time::Moment;

use crate::hook_log::Log;
use crate::lost::StoreLife;
use crate::meter::Meter;
use crate::progress::{Failed, Progress};

/// Pages of a hundred deliveries that one look reads at most.
pub(crate) const MOST_PAGES: usize = 80;
/// Deliveries that one look asks for again at most: GitHub allows 500 an hour of what makes something.
const MOST_REDELIVERIES: usize = 80;
/// One to read what it said, one to have it sent.
const CALLS_A_REDELIVERY: usize = 2;

/// Looks after one hook.
pub(crate) struct Redeliverer {
    pub(crate) log: Meter,
    /// Its number, or whose it is; for people.
    pub(crate) hook: String,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) lease: Lease,
    pub(crate) limits: Limits,
    /// How far back a look goes at most.
    pub(crate) window: Duration,
    pub(crate) stop: Stop,
    /// Is told what the operator has to mend, if GitHub says at the start that the credentials are wrong. That is the end of the looks.
    pub(crate) wrong: Sender<String>,
    /// Becomes ready when a webhook had to be refused because the store was away.
    pub(crate) refusals: Receiver<()>,
    /// Becomes ready when the store may have lost what it had acknowledged.
    pub(crate) interruptions: Receiver<()>,
}

/// Why a look did not come to its end.
#[derive(Debug)]
pub(crate) enum Cut {
    Stopped,
    Store(StoreError),
    GitHub(ClientError),
}

impl From<StoreError> for Cut {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ClientError> for Cut {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Cut { .. } => Self::Stopped,
            error => Self::GitHub(error),
        }
    }
}

/// What a process remembers from look to look. After a restart it is found out again.
#[derive(Default)]
pub(crate) struct Known {
    /// Events that are not worth a redelivery, with the moments at which they were sent.
    needless: BTreeMap<String, Moment>,
    /// What the events said that have not arrived.
    news: BTreeMap<String, News>,
    /// What the last look noted, and all that it could not note.
    progress: Option<(String, Progress)>,
    /// Which life of the store was seen last.
    life: Option<StoreLife>,
}

impl Known {
    /// How far the looks have come: what is remembered, if nobody else has looked since, else what is noted.
    fn take_up(&mut self, note: Option<String>, window_begins: Moment) -> Progress {
        match self.progress.take() {
            Some((written, mut progress)) if Some(&written) == note.as_ref() => {
                progress.move_window(window_begins);
                progress
            }
            Some(_) | None => Progress::read(note.as_deref(), window_begins),
        }
    }
}

/// What became of asking for one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Sent,
    /// It can be of no use, or GitHub will not.
    Needless,
    /// GitHub's answer could not be used; another look may have more luck.
    Unread,
}

impl Redeliverer {
    /// Starts its thread, which ends with the stop.
    pub(crate) fn start(self, name: &str, context: Context) -> io::Result<JoinHandle<()>> {
        Builder::new().name(format!("{name}/redeliver")).spawn(move || {
            let _context = context.enter();
            self.run();
        })
    }

    fn run(self) {
        let mut known = Known::default();
        // Until a look has ended without the store's fault.
        let mut is_start = true;
        loop {
            let wait = match self.look(&mut known, Moment::now()) {
                Ok(()) => {
                    is_start = false;
                    self.limits.redeliver_look
                }
                Err(Cut::Stopped) => break,
                Err(Cut::Store(error)) => {
                    debug!(error:% = error; "the store is away; missed webhooks are looked for when it is back");
                    self.limits.redeliver_settle
                }
                Err(Cut::GitHub(error)) => {
                    if is_start && let Some(what) = self.log.what_to_mend(&error) {
                        // The receiver listens until this thread has ended.
                        let _ = self.wrong.send(what);
                        break;
                    }
                    is_start = false;
                    self.say_failed(&error)
                }
            };
            select! {
                recv(self.stop.closed()) -> _ => break,
                // The log may know of the refusal a moment later than we do, and what was acknowledged last too.
                recv(self.refusals) -> _ => if self.settle() { break },
                recv(self.interruptions) -> _ => if self.settle() { break },
                recv(at(Instant::now() + wait)) -> _ => {}
            }
        }
        self.heartbeats.let_go_lease(&self.lease.name);
    }

    /// What only an operator can change is an error; the webhooks that come are taken all the same. Answers when to look again.
    fn say_failed(&self, error: &ClientError) -> Duration {
        match error {
            ClientError::Unauthorized { .. }
            | ClientError::Forbidden { .. }
            | ClientError::NotFound { .. }
            | ClientError::Setup { .. } => {
                error!(hook = self.hook.as_str(), error:% = error; "GitHub does not let this receiver look for missed webhooks: see that `hook_id` is right and the credential may read that webhook, or set `skip_redeliver: true`");
                self.limits.refused_retry
            }
            ClientError::Cut { .. }
            | ClientError::NoAnswer { .. }
            | ClientError::Limited { .. }
            | ClientError::Conflict { .. }
            | ClientError::Unprocessable { .. }
            | ClientError::Server { .. }
            | ClientError::Nonsense { .. } => {
                warn!(hook = self.hook.as_str(), error:% = error; "cannot look for missed webhooks; it is tried again later");
                self.limits.redeliver_look
            }
        }
    }

    /// Waits until the log may know of everything; true if a stop came first.
    fn settle(&self) -> bool {
        self.ear().rest_until(Instant::now() + self.limits.redeliver_settle)
    }

    pub(crate) fn ear(&self) -> Ear<'_> {
        Ear::to_stop(&self.stop)
    }

    pub(crate) fn look(&self, known: &mut Known, now: Moment) -> Result<(), Cut> {
        self.log.begin(now);
        match self.store.lease(&self.lease)? {
            Leased::Ours => self.heartbeats.keep_lease(&self.store, self.lease.clone()),
            Leased::Theirs { .. } => return Ok(()),
        }
        self.look_for_lost(&mut known.life, now)?;
        let key = format!("redeliver/{}", self.lease.name);
        let mut progress = known.take_up(self.store.note(&key)?, now.before(self.window));
        self.read_log(&mut progress, &known.needless)?;
        // Also where GitHub does not answer to the end, what was read need not be read again.
        let asked = self.ask_for_failed(&mut progress, known);
        known.needless.retain(|_, sent_at| *sent_at >= progress.floor());
        known.news.retain(|guid, _| progress.failed.contains_key(guid));
        let (note, n_failed) = (progress.written(), progress.failed.len());
        self.store.put_note(&key, &note)?;
        known.progress = Some((note, progress));
        let n_asked = asked?;
        debug!(hook = self.hook.as_str(), failed = n_failed, asked = n_asked; "looked for missed webhooks");
        Ok(())
    }

    /// Reads the log from its newest page, or from where the last look ended early, down to what has been read before.
    fn read_log(&self, progress: &mut Progress, needless: &BTreeMap<String, Moment>) -> Result<(), Cut> {
        let mut seen = Seen::default();
        let mut next = progress.page.take();
        for _ in 0..MOST_PAGES {
            if self.log.is_too_much(1) {
                break;
            }
            let page = match self.log.page(next.as_deref(), &self.ear()) {
                // A saved address may have outlived what it pointed to.
                Err(
                    ClientError::NotFound { .. }
                    | ClientError::Unprocessable { .. }
                    | ClientError::Nonsense { .. },
                ) if next.is_some() => self.log.page(None, &self.ear())?,
                page => page?,
            };
            for delivery in page.deliveries {
                if delivery.delivered_at < progress.floor() {
                    progress.came_down();
                    return Ok(());
                }
                progress.saw(delivery.delivered_at);
                if !needless.contains_key(&delivery.guid) {
                    seen.take_in(delivery, progress);
                }
            }
            next = page.next;
            if next.is_none() {
                progress.came_down();
                return Ok(());
            }
        }
        progress.page = next;
        Ok(())
    }

    /// Asks for what has not arrived, oldest first; how many that were. Where it is too much for one look, what was asked for less often comes first.
    fn ask_for_failed(&self, progress: &mut Progress, known: &mut Known) -> Result<usize, Cut> {
        let mut all: Vec<_> = progress.failed.iter().collect();
        sort_by_key(&mut all, |(_, failed)| (failed.n_asked, failed.since, failed.id));
        all.truncate(MOST_REDELIVERIES);
        let mut due: Vec<_> = all.into_iter().map(|(guid, failed)| (guid.clone(), failed.clone())).collect();
        sort_by_key(&mut due, |(_, failed)| (failed.since, failed.id));
        let mut n_asked = 0;
        for (guid, failed) in due {
            if self.log.is_too_much(CALLS_A_REDELIVERY) {
                debug!(hook = self.hook.as_str(); "a tenth of what GitHub allows in an hour is used up; the next looks go on");
                break;
            }
            match self.ask_for(&guid, &failed, known)? {
                Asked::Needless => {
                    progress.failed.remove(&guid);
                    known.needless.insert(guid, failed.since);
                    continue;
                }
                Asked::Sent => n_asked += 1,
                Asked::Unread => {}
            }
            if let Some(failed) = progress.failed.get_mut(&guid) {
                failed.n_asked = failed.n_asked.saturating_add(1);
            }
            if self.ear().rest_until(Instant::now() + self.limits.redeliver_pace) {
                return Err(Cut::Stopped);
            }
        }
        Ok(n_asked)
    }

    /// Asks for one delivery again, if that can still be of use.
    fn ask_for(&self, guid: &str, failed: &Failed, known: &mut Known) -> Result<Asked, Cut> {
        if !known.news.contains_key(guid) {
            match self.log.said(failed.id, &self.ear()) {
                Ok(Some(Webhook::News(news))) => drop(known.news.insert(guid.to_owned(), *news)),
                Ok(Some(Webhook::Ignored(_)) | None) => return Ok(Asked::Needless),
                // One delivery that cannot be read must not keep the others from being asked for.
                Err(error @ ClientError::Nonsense { .. }) => {
                    warn!(deliveryID = guid, error:% = error; "GitHub's word on a missed webhook cannot be read");
                    return Ok(Asked::Unread);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let Some(news) = known.news.get(guid) else { return Ok(Asked::Unread) };
        if self.is_over(news)? {
            return Ok(Asked::Needless);
        }
        self.send_again(guid, failed.id, news)
    }

    /// Has GitHub send this again.
    pub(crate) fn send_again(&self, guid: &str, id: u64, news: &News) -> Result<Asked, Cut> {
        let action = match &news.phase {
            Phase::Queued => "queued",
            Phase::InProgress { .. } => "in_progress",
            Phase::Completed { .. } => "completed",
        };
        let job = news.job.id.0;
        info!(deliveryID = guid, action, workflowJobID = job; "redelivering hook");
        match self.log.send_again(id, &self.ear()) {
            Ok(true) => Ok(Asked::Sent),
            Ok(false) => {
                error!(deliveryID = guid, workflowJobID = job; "GitHub will not deliver this webhook again");
                Ok(Asked::Needless)
            }
            Err(error @ ClientError::Nonsense { .. }) => {
                warn!(deliveryID = guid, workflowJobID = job, error:% = error; "GitHub's answer to the wish for a redelivery cannot be read");
                Ok(Asked::Unread)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the store knows that the job has ended, or has nothing to do with it.
    fn is_over(&self, news: &News) -> Result<bool, StoreError> {
        Ok(match self.noted(news)? {
            Noted::Ended => true,
            // Of a job that is unknown because its `queued` was lost too, the end is of no use, but a tombstone keeps that from starting it late.
            Noted::NotOurs => !news.for_us && news.phase.runner().is_none(),
            Noted::Enqueued | Noted::Moved | Noted::Known => false,
        })
    }

    /// What the store knows of a job. One that nobody has is told of as if it were not for us: that stores nothing, and says whether it has ended.
    pub(crate) fn noted(&self, news: &News) -> Result<Noted, StoreError> {
        let probe = News { job: news.job.clone(), phase: Phase::Queued, for_us: false };
        self.store.news(&probe, Source::Webhook)
    }
}

/// What was seen of the log in this look, which goes from the newest delivery to the oldest.
#[derive(Default)]
struct Seen {
    /// Events that arrived when they were sent again, so that their older tries are of no interest. Those that arrived at once are not kept: they are
    /// nearly all, and have no older try.
    delivered: BTreeSet<String>,
    /// The last try of each event that failed.
    last_tries: BTreeMap<String, u64>,
}

impl Seen {
    fn take_in(&mut self, delivery: Delivery, progress: &mut Progress) {
        let Delivery { id, guid, delivered_at, is_ok, is_job, is_redelivery, .. } = delivery;
        if is_ok {
            progress.failed.remove(&guid);
            if is_redelivery {
                self.delivered.insert(guid);
            }
            return;
        }
        if !is_job || self.delivered.contains(&guid) {
            return;
        }
        let id = *self.last_tries.entry(guid.clone()).or_insert(id);
        match progress.failed.get_mut(&guid) {
            Some(failed) => failed.id = id,
            // An event whose first try is not in the window has left it, however often it was tried again.
            None if is_redelivery => {}
            None => drop(progress.failed.insert(guid, Failed { id, since: delivered_at, n_asked: 0 })),
        }
    }
}

#[cfg(test)]
#[path = "redeliver_tests.rs"]
mod tests;
