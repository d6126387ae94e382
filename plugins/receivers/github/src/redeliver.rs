//! Looks in GitHub's log for webhooks that did not arrive, and asks for them again: at the start, once in a while, and when the store
//! came back after it had to refuse some.
//!
//! GitHub does not repeat a delivery by itself. One process looks after each hook: it holds a lease in the store. The moment up to which all has
//! arrived is noted there too, so that a look goes no further back, whichever process makes it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, at, select};
use log::{debug, error, info, warn};

use anklet_github::client::Client;
use anklet_github::deliveries::{Delivery, Hook};
use anklet_github::error::ClientError;
use anklet_github::wire::Webhook;
use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::heartbeat::Heartbeats;
use anklet_plugin_api::job::{News, Phase};
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::log_context::Context;
use anklet_plugin_api::stop::Stop;
use anklet_plugin_api::store::{Lease, Leased, Noted, Source, Store, StoreError};
use anklet_plugin_api::time::Moment;

use crate::lost::StoreLife;
use crate::progress::Progress;

/// Pages of a hundred deliveries that one look reads at most.
pub(crate) const MOST_PAGES: usize = 80;
/// Deliveries that one look asks for again at most: GitHub allows 500 an hour of what makes something.
const MOST_REDELIVERIES: usize = 80;

/// Looks after one hook.
pub(crate) struct Redeliverer {
    pub(crate) client: Client,
    pub(crate) hook: Hook,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) lease: Lease,
    pub(crate) limits: Limits,
    /// How far back a look goes at most.
    pub(crate) window: Duration,
    pub(crate) stop: Stop,
    /// Becomes ready when a webhook had to be refused because the store was away.
    pub(crate) refusals: Receiver<()>,
    /// Becomes ready when the store may have lost what it had acknowledged.
    pub(crate) interruptions: Receiver<()>,
}

/// Why a look did not come to its end.
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

/// What one look found, by event, oldest first.
#[derive(Default)]
struct Found {
    delivered: BTreeSet<String>,
    failed: BTreeMap<String, Delivery>,
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
        // Events that are not worth a redelivery, with the moments at which they leave the window.
        let mut needless = BTreeMap::new();
        let mut life = None;
        loop {
            let wait = match self.look(&mut needless, &mut life) {
                Ok(()) => self.limits.redeliver_look,
                Err(Cut::Stopped) => break,
                Err(Cut::Store(error)) => {
                    debug!(error:% = error; "the store is away; missed webhooks are looked for when it is back");
                    self.limits.redeliver_settle
                }
                Err(Cut::GitHub(error)) => {
                    warn!(hook = self.hook.id, error:% = error; "cannot look for missed webhooks; it is tried again later");
                    self.limits.redeliver_look
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

    /// Waits until the log may know of everything; true if a stop came first.
    fn settle(&self) -> bool {
        self.ear().rest_until(Instant::now() + self.limits.redeliver_settle)
    }

    pub(crate) fn ear(&self) -> Ear<'_> {
        Ear::to_stop(&self.stop)
    }

    fn look(&self, needless: &mut BTreeMap<String, Moment>, life: &mut Option<StoreLife>) -> Result<(), Cut> {
        match self.store.lease(&self.lease)? {
            Leased::Ours => self.heartbeats.keep_lease(&self.store, self.lease.clone()),
            Leased::Theirs { .. } => return Ok(()),
        }
        self.look_for_lost(life)?;
        let key = format!("redeliver/{}", self.lease.name);
        let window_begins = Moment::now().before(self.window);
        let mut progress = Progress::read(self.store.note(&key)?.as_deref(), window_begins);
        let mut found = Found::default();
        self.read_log(&mut progress, &mut found)?;
        needless.retain(|_, delivered_at| *delivered_at >= window_begins);
        found.failed.retain(|guid, _| !found.delivered.contains(guid));
        let mut failed: Vec<_> = found.failed.into_values().collect();
        failed.sort_by_key(|delivery| (delivery.delivered_at, delivery.id));
        let mut n_asked = 0;
        for delivery in &failed {
            if needless.contains_key(&delivery.guid) {
                continue;
            }
            progress.still_failing(delivery.delivered_at);
            if n_asked >= MOST_REDELIVERIES {
                break;
            }
            n_asked += 1;
            if !self.redeliver(delivery)? {
                needless.insert(delivery.guid.clone(), delivery.delivered_at);
            }
            if self.ear().rest_until(Instant::now() + self.limits.redeliver_pace) {
                return Err(Cut::Stopped);
            }
        }
        self.store.put_note(&key, &progress.written())?;
        debug!(hook = self.hook.id, failed = failed.len(), asked = n_asked; "looked for missed webhooks");
        Ok(())
    }

    /// Reads the log from its newest page, or from where the last look ended early, down to what is known to be delivered.
    fn read_log(&self, progress: &mut Progress, found: &mut Found) -> Result<(), Cut> {
        let mut next = progress.page.take();
        for _ in 0..MOST_PAGES {
            let page = match self.client.deliveries(&self.hook, next.as_deref(), &self.ear()) {
                // A saved address may have outlived what it pointed to.
                Err(
                    ClientError::NotFound { .. }
                    | ClientError::Unprocessable { .. }
                    | ClientError::Nonsense { .. },
                ) if next.is_some() => self.client.deliveries(&self.hook, None, &self.ear())?,
                page => page?,
            };
            for delivery in page.deliveries {
                if delivery.delivered_at < progress.floor() {
                    return Ok(());
                }
                progress.saw(delivery.delivered_at);
                if delivery.is_ok {
                    found.delivered.insert(delivery.guid);
                } else if delivery.is_job {
                    // The last try of an event is the first in the log.
                    found.failed.entry(delivery.guid.clone()).or_insert(delivery);
                }
            }
            next = page.next;
            if next.is_none() {
                return Ok(());
            }
        }
        progress.page = next;
        Ok(())
    }

    /// Asks for one delivery again, if that can still be of use; false if it cannot.
    fn redeliver(&self, delivery: &Delivery) -> Result<bool, Cut> {
        let Some(news) = self.delivered(delivery)? else { return Ok(false) };
        let is_needless = match self.noted(&news)? {
            Noted::Ended => true,
            // Of a job that is unknown because its `queued` was lost too, the end is of no use, but a tombstone keeps that from starting it late.
            Noted::NotOurs => !news.for_us && news.phase.runner().is_none(),
            Noted::Enqueued | Noted::Moved | Noted::Known => false,
        };
        if is_needless { Ok(false) } else { self.ask_again(delivery, &news) }
    }

    /// What a delivery said of a job; none if it was about something else, or is forgotten.
    pub(crate) fn delivered(&self, delivery: &Delivery) -> Result<Option<News>, Cut> {
        Ok(match self.client.delivered(&self.hook, delivery.id, &self.ear())? {
            Some(Webhook::News(news)) => Some(*news),
            Some(Webhook::Ignored(_)) | None => None,
        })
    }

    /// Asks GitHub to send this again; false if it will not.
    pub(crate) fn ask_again(&self, delivery: &Delivery, news: &News) -> Result<bool, Cut> {
        info!(
            deliveryID = delivery.guid.as_str(),
            action = delivery.action.as_str(),
            workflowJobID = news.job.id.0;
            "redelivering hook"
        );
        let is_sent = self.client.redeliver(&self.hook, delivery.id, &self.ear())?;
        if !is_sent {
            error!(deliveryID = delivery.guid.as_str(), workflowJobID = news.job.id.0; "GitHub will not deliver this webhook again");
        }
        Ok(is_sent)
    }

    /// What the store knows of a job. One that nobody has is told of as if it were not for us: that stores nothing, and says whether it has ended.
    pub(crate) fn noted(&self, news: &News) -> Result<Noted, StoreError> {
        let probe = News { job: news.job.clone(), phase: Phase::Queued, for_us: false };
        self.store.news(&probe, Source::Webhook)
    }
}
