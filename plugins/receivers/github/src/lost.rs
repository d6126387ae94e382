//! Jobs that the store had acknowledged and lost all the same: another server took over that did not have its last writes, or it came back
//! from a disk that did not.
//!
//! GitHub believes those webhooks delivered, so they are told apart from failed ones: the newest are looked at once more whenever the store is not
//! the one that it was, and what it does not know any more is asked for again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use log::{debug, info, warn};

use anklet_github::deliveries::Delivery;
use anklet_github::error::ClientError;
use anklet_github::wire::Webhook;
use anklet_plugin_api::job::{News, Phase};
use anklet_plugin_api::sorted::sort_by_key;
use anklet_plugin_api::store::{Noted, Source, Store, StoreError};
use anklet_plugin_api::time::Moment;

use crate::hook_log::Log;
use crate::redeliver::{Asked, Cut, MOST_PAGES, Redeliverer};

/// What was acknowledged so long before the store was seen last may be lost with it.
const LOST_WINDOW: Duration = Duration::from_secs(600);

/// Which life of the store was seen, and when.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoreLife {
    incarnation: String,
    seen_at: Moment,
}

impl Redeliverer {
    /// Looks whether the store is the one that it was, and what it lost if it is not. `life` is what an earlier look of this process knew: the store's own note
    /// of that may be lost too.
    pub(crate) fn look_for_lost(&self, life: &mut Option<StoreLife>, now: Moment) -> Result<(), Cut> {
        let Some(now) = StoreLife::now(&*self.store, now)? else { return Ok(()) };
        let key = format!("store/{}", self.lease.name);
        let known = match life {
            Some(known) => Some(known.clone()),
            None => self.store.note(&key)?.as_deref().and_then(StoreLife::read),
        };
        if let Some(known) = known.filter(|known| known.incarnation != now.incarnation) {
            warn!(hook = self.hook.as_str(); "the database was restarted or replaced; jobs that it may have lost are looked for");
            let since = known.seen_at.before(LOST_WINDOW);
            // Until that is done, each look does it again.
            *life = Some(known);
            let n_asked = self.redeliver_lost(since.max(now.seen_at.before(self.window)))?;
            info!(hook = self.hook.as_str(), asked = n_asked; "looked for jobs that the database has lost");
        }
        self.store.put_note(&key, &now.written())?;
        *life = Some(now);
        Ok(())
    }

    /// Looks at each `queued` that arrived since then, oldest first; how many were asked for again.
    fn redeliver_lost(&self, since: Moment) -> Result<usize, Cut> {
        let mut n_asked = 0;
        for delivery in self.arrived(since)? {
            let Some(news) = self.said(&delivery)? else { continue };
            if !self.is_lost(&news)? {
                continue;
            }
            let asked = self.send_again(&delivery.guid, delivery.id, &news)?;
            n_asked += usize::from(asked == Asked::Sent);
            if self.ear().rest_until(Instant::now() + self.limits.redeliver_pace) {
                return Err(Cut::Stopped);
            }
        }
        Ok(n_asked)
    }

    fn arrived(&self, since: Moment) -> Result<Vec<Delivery>, Cut> {
        let (mut arrived, mut next) = (BTreeMap::new(), None);
        'pages: for _ in 0..MOST_PAGES {
            let page = self.log.page(next.as_deref(), &self.ear())?;
            for delivery in page.deliveries {
                if delivery.delivered_at < since {
                    break 'pages;
                }
                if delivery.is_ok && delivery.is_job && delivery.action == "queued" {
                    arrived.insert(delivery.guid.clone(), delivery);
                }
            }
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        let mut arrived: Vec<_> = arrived.into_values().collect();
        sort_by_key(&mut arrived, |delivery| (delivery.delivered_at, delivery.id));
        Ok(arrived)
    }

    /// What a delivery said of a job; none if it was about something else, is forgotten, or cannot be read.
    fn said(&self, delivery: &Delivery) -> Result<Option<News>, Cut> {
        match self.log.said(delivery.id, &self.ear()) {
            Ok(Some(Webhook::News(news))) => Ok(Some(*news)),
            Ok(Some(Webhook::Ignored(_)) | None) => Ok(None),
            Err(error @ ClientError::Nonsense { .. }) => {
                warn!(deliveryID = delivery.guid.as_str(), error:% = error; "GitHub's word on a webhook cannot be read");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the store does not know a job that waits for a runner. One that is further gets into the store by what GitHub says of it, or it would
    /// start a second time.
    fn is_lost(&self, news: &News) -> Result<bool, Cut> {
        if !news.for_us || self.noted(news)? != Noted::NotOurs {
            return Ok(false);
        }
        let job = &news.job;
        match self.log.job_state(job, &self.ear()).map_err(Cut::from) {
            Ok(state) if state.phase == Phase::Queued => Ok(true),
            Ok(state) => {
                self.store.news(&state.news(), Source::Api)?;
                Ok(false)
            }
            Err(Cut::GitHub(error)) => {
                debug!(workflowJobID = job.id.0, error:% = error; "GitHub does not say how far a lost job is");
                Ok(true)
            }
            Err(cut) => Err(cut),
        }
    }
}

impl StoreLife {
    /// None where there is nothing to lose.
    fn now(store: &dyn Store, seen_at: Moment) -> Result<Option<Self>, StoreError> {
        Ok(store.incarnation()?.map(|incarnation| Self { incarnation, seen_at }))
    }

    fn read(note: &str) -> Option<Self> {
        let (seen_at, incarnation) = note.split_once(' ')?;
        Some(Self { incarnation: incarnation.to_owned(), seen_at: Moment(seen_at.parse().ok()?) })
    }

    fn written(&self) -> String {
        format!("{} {}", self.seen_at.0, self.incarnation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_were_written() {
        let life = StoreLife { incarnation: "abc def".to_owned(), seen_at: Moment(7) };
        assert_eq!(StoreLife::read(&life.written()), Some(life));
        for nonsense in ["", "7", "x abc"] {
            assert_eq!(StoreLife::read(nonsense), None, "{nonsense}");
        }
    }
}
