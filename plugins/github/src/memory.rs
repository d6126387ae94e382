//! Answers to what is asked again and again, with the tags that GitHub gave them: an answer that is still the same costs nothing of the rate limit.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use ureq::http::header::{ETAG, LINK};
use ureq::http::{HeaderValue, StatusCode};

use crate::answer::Answer;

/// What a few handlers' jobs and a hook's log need. An idle process must stay small.
const MOST_ANSWERS: usize = 8;
const MOST_BODY_BYTES: usize = 64 * 1024;

/// The last answers of one client, oldest first.
#[derive(Default)]
pub(crate) struct Memory(Mutex<VecDeque<Known>>);

/// An answer that is remembered.
pub(crate) struct Known {
    url: String,
    pub(crate) tag: HeaderValue,
    link: Option<HeaderValue>,
    body: Vec<u8>,
}

impl Memory {
    /// Takes out what is remembered of that URL, for one question; [`Memory::put`] brings it back.
    pub(crate) fn take(&self, url: &str) -> Option<Known> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = all.iter().position(|known| known.url == url);
        place.and_then(|place| all.remove(place))
    }

    pub(crate) fn put(&self, known: Option<Known>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(known);
        while all.len() > MOST_ANSWERS {
            all.pop_front();
        }
    }
}

impl Known {
    /// The whole answer to a question that bore the tag of what was known: that, where GitHub says that nothing has changed. And what is known now.
    pub(crate) fn complete(known: Option<Self>, url: &str, mut answer: Answer) -> (Answer, Option<Self>) {
        match (answer.status, known) {
            (StatusCode::NOT_MODIFIED, Some(known)) => {
                answer.status = StatusCode::OK;
                answer.body.clone_from(&known.body);
                if let Some(link) = &known.link {
                    answer.headers.insert(LINK, link.clone());
                }
                (answer, Some(known))
            }
            (StatusCode::OK, _) => {
                let known = Self::of(url, &answer);
                (answer, known)
            }
            // Trouble on the way says nothing of what was known; anything else does.
            (status, known) => (answer, known.filter(|_| status.is_server_error())),
        }
    }

    fn of(url: &str, answer: &Answer) -> Option<Self> {
        let tag = answer.headers.get(ETAG)?.clone();
        let link = answer.headers.get(LINK).cloned();
        let is_small = answer.body.len() <= MOST_BODY_BYTES;
        is_small.then(|| Self { url: url.to_owned(), tag, link, body: answer.body.clone() })
    }
}
