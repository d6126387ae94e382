//! What happens to a request that a rule picked. It stands alone as the vocabulary between the rules and the server
//! that carries them out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::At;
use crate::http::Answer;
use crate::model::RequestRecord;
use crate::rules::LimitForm;

/// A test's own decision: an answer, or `None` to go on as usual.
type Decide = Arc<Mutex<dyn FnMut(&RequestRecord) -> Option<Answer> + Send>>;

/// What happens to a request that a rule picked.
#[derive(Clone)]
pub(crate) enum Action {
    /// Answer with this, do nothing.
    Answer(Answer),
    Limit(LimitForm),
    /// Wait, then go on as usual.
    Delay(Duration),
    /// Act, wait, then answer.
    DelayAnswer(Duration),
    /// Wait for the release, or so long, then go on as usual.
    Hang(Option<Duration>),
    /// Act, wait for the release, then answer.
    HangAnswer,
    Close,
    /// Act, then close without an answer.
    Lose,
    /// Act, then close in the middle of the answer.
    Truncate,
    KillBefore(u32),
    KillAfter(u32),
    CallBefore(Decide),
    CallAfter(Decide),
}

impl Action {
    /// The answer that this action gives instead of acting.
    pub(crate) fn instead(&self, record: &RequestRecord, now: At) -> Option<Answer> {
        match self {
            Action::Answer(answer) => Some(answer.clone()),
            Action::Limit(form) => Some(form.answer(now)),
            Action::CallBefore(decide) => decided(decide, record),
            _ => None,
        }
    }

    /// The answer that this action puts in the place of the real one, once it is done.
    pub(crate) fn afterwards(&self, record: &RequestRecord) -> Option<Answer> {
        match self {
            Action::CallAfter(decide) => decided(decide, record),
            _ => None,
        }
    }
}

fn decided(decide: &Decide, record: &RequestRecord) -> Option<Answer> {
    (decide.lock().unwrap_or_else(PoisonError::into_inner))(record)
}
