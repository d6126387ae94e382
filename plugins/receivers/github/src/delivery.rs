//! One delivery of news, and what the log says about it. Alarms are built on these lines: their texts stay as they are.

use log::info;

use anklet_http::Head;
use anklet_plugin_api::job::{News, Phase};
use anklet_plugin_api::store::{Noted, Place, Store};

/// The longest text of a stranger that one fact of a log line shows, in bytes.
const N_SHOWN_BYTES: usize = 300;
/// The most labels that a log line shows.
const N_SHOWN_LABELS: usize = 100;

/// News, and the delivery that brought it.
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) news: News,
}

impl Delivery {
    /// Jobs that are not for us by their labels may be ours by their runner; that is seen once the store has been asked.
    pub(crate) fn tell_received(&self) {
        if self.news.for_us {
            self.tell("received workflow job to consider");
        }
    }

    /// Says what the news came to.
    pub(crate) fn tell_stored(&self, noted: Noted, store: &dyn Store) {
        let message = match (&self.news.phase, noted) {
            (_, Noted::NotOurs) => return,
            (_, Noted::Enqueued) => "job pushed to queued queue",
            (Phase::Queued, Noted::Moved | Noted::Known) if self.is_in_work(store) => {
                "job already being processed by a handler, skipping enqueue"
            }
            (Phase::Queued, Noted::Moved | Noted::Known) => {
                "job already present in queued queue, skipping enqueue"
            }
            (Phase::InProgress { .. }, Noted::Moved) => "job pushed to in_progress queue",
            (Phase::Completed { .. }, Noted::Moved) => "job pushed to completed queue",
            (_, Noted::Known | Noted::Ended) => "job is known to be further already",
        };
        self.tell(message);
    }

    /// Asked for doubled deliveries only.
    fn is_in_work(&self, store: &dyn Store) -> bool {
        let entry = store.entry(self.news.job.id).ok().flatten();
        entry.is_some_and(|entry| match entry.place {
            Place::Claimed { .. } | Place::Running => true,
            Place::Queued | Place::Held { .. } => false,
        })
    }

    fn tell(&self, message: &str) {
        let job = &self.news.job;
        let labels: Vec<_> = job.labels.iter().take(N_SHOWN_LABELS).map(|label| shown(label)).collect();
        info!(
            deliveryID = self.id.as_str(),
            repository:% = format_args!("{}/{}", shown(&job.owner), shown(&job.repo)),
            workflowJobID = job.id.0,
            workflowJobRunID = job.run_id.0,
            workflowName = shown(&job.workflow),
            workflowJobURL = shown(&job.html_url),
            labels:? = labels;
            "{message}"
        );
    }
}

/// The delivery's GUID. It is a stranger's text until the signature is checked, so only what can be one is shown.
pub(crate) fn id(head: &Head) -> &str {
    let is_guid = |text: &str| {
        text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    match head.header("X-GitHub-Delivery") {
        None | Some("") => "missing",
        Some(text) if is_guid(text) => text,
        Some(_) => "not a GUID",
    }
}

/// The start of a stranger's text, as much as a line can bear.
pub(crate) fn shown(text: &str) -> &str {
    let mut n_bytes = text.len().min(N_SHOWN_BYTES);
    while !text.is_char_boundary(n_bytes) {
        n_bytes -= 1;
    }
    &text[..n_bytes]
}

/// What the answer's body says.
pub(crate) fn word(noted: Noted) -> &'static str {
    match noted {
        Noted::Enqueued => "queued",
        Noted::Moved => "noted",
        Noted::Known => "already known",
        Noted::Ended => "ignored: the job has ended",
        Noted::NotOurs => "ignored: not for Anklet",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shown("short"), "short");
        assert_eq!(shown(&"x".repeat(301)).len(), 300);
        assert_eq!(shown(&"€".repeat(200)).chars().count(), 100);
        assert_eq!(shown(&format!("x{}", "€".repeat(200))).len(), 298);
    }
}
