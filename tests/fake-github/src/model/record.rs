//! What came in and what went out. It stands alone because tests read it and nothing depends on it.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::At;
use crate::http::Answer;
use crate::model::{HookId, JobId};
use crate::scope::Scope;

/// A request that came in.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// Counts all requests from 0.
    pub index: usize,
    /// When its last byte was read.
    pub at: At,
    /// `GET`, `POST`, …
    pub method: String,
    /// Path with query, without `/api/v3`.
    pub path: String,
    /// The token (or JWT) it bore.
    pub credential: Option<String>,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body as text.
    pub body: String,
    /// How it ended; `None` while under way.
    pub end: Option<RequestEnd>,
}

impl RequestRecord {
    /// The path without its query.
    pub fn path_only(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// The status it was answered with, if it was.
    pub fn status(&self) -> Option<u16> {
        match self.end {
            Some(RequestEnd::Answered(status)) => Some(status),
            _ => None,
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestEnd {
    /// With this status.
    Answered(u16),
    /// The connection was closed and nothing was done.
    Closed,
    /// It was done, its answer (this status) was lost.
    Lost(u16),
}

/// A request that GitHub would not understand, or that shows a mistake of the client.
#[derive(Clone, Debug)]
pub struct Violation {
    /// [`RequestRecord::index`] of the request.
    pub request: usize,
    /// Method, path and what is wrong.
    pub text: String,
}

/// What a hook belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookTarget {
    /// A repository, organization or enterprise.
    Scope(Scope),
    /// A GitHub App, by its id.
    App(u64),
}

/// One attempt to deliver a webhook, kept for the deliveries API.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Unique for each attempt.
    pub id: u64,
    /// The event's id; all hooks and redeliveries share it.
    pub guid: String,
    /// The hook.
    pub hook_id: HookId,
    /// When it was sent.
    pub delivered_at: At,
    /// How long the answer took.
    pub duration: Duration,
    /// Whether the API asked for it.
    pub redelivery: bool,
    /// `OK`, or what went wrong.
    pub status: String,
    /// The status of the answer, 0 if there was none.
    pub status_code: u16,
    /// `workflow_job`, `ping`.
    pub event: String,
    /// `queued`, …
    pub action: Option<String>,
    /// The job it is about.
    pub job_id: Option<JobId>,
    /// The repository it is about.
    pub repository_id: Option<u64>,
    /// The installation it went to.
    pub installation_id: Option<u64>,
    /// The headers sent.
    pub request_headers: Vec<(String, String)>,
    /// The JSON sent (inside the form, for a form hook).
    pub payload: Arc<Vec<u8>>,
    /// What came back.
    pub answer: Option<Answer>,
}

impl Delivery {
    /// Whether the receiver answered 2xx.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status_code)
    }
}
