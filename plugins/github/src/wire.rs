//! Jobs as GitHub writes them, in `workflow_job` webhooks and in answers of the API, read into the queue's own types.
//!
//! Fields come and go with GitHub's age and mood, so nothing is required but what the queue cannot do without, and a field that is
//! only for people may have any shape.

use std::fmt;

use anklet_plugin_api::job::{Conclusion, Job, JobId, News, Phase, RunId};
use anklet_plugin_api::name::VmName;
use anklet_plugin_api::time::Moment;
use serde::Deserialize;
use thiserror::Error;

use crate::field::{Field, Object, Texts};
use crate::labels::wanted;

/// What a `workflow_job` webhook says.
#[derive(Clone, Debug, PartialEq)]
pub enum Webhook {
    /// News of a job, ours or not.
    News(Box<News>),
    /// Nothing that moves a job: a word why.
    Ignored(&'static str),
}

/// Why a webhook cannot be read.
#[derive(Debug, Error)]
pub enum WireError {
    /// The body is no JSON, or not of the shape of a webhook.
    #[error("the body is not a workflow_job in JSON: {0}")]
    Broken(serde_json::Error),
    /// A required field is not there or empty.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A required field holds something else than it should.
    #[error("`{0}` is not {1}")]
    Wrong(&'static str, &'static str),
}

/// The state of a job, as the API answers it: the truth of its moment.
#[derive(Clone, Debug, PartialEq)]
pub struct JobState {
    /// The job's facts. The API never names the enterprise.
    pub job: Job,
    /// How far it is; a job that is held back counts as queued.
    pub phase: Phase,
    /// GitHub's own word for it.
    pub status: JobStatus,
    /// Whether the labels ask for one of our VMs.
    pub for_us: bool,
}

impl JobState {
    /// The same as a piece of news for the store.
    pub fn news(&self) -> News {
        News { job: self.job.clone(), phase: self.phase.clone(), for_us: self.for_us }
    }

    /// Whether it runs or ran on the runner of that name.
    pub fn is_on(&self, runner: &str) -> bool {
        self.phase.runner() == Some(runner)
    }
}

/// GitHub's word for how far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobStatus {
    /// Waits for a runner.
    Queued,
    /// Runs.
    InProgress,
    /// Over.
    Completed,
    /// Held back by a rule of its environment, until somebody approves.
    Waiting,
    /// Held back by a concurrency group.
    Pending,
    /// Held back at the run's beginning.
    Requested,
    /// A word that came up later.
    Other(String),
}

impl JobStatus {
    /// Whether GitHub gives the job to no runner for now.
    pub fn is_held_back(&self) -> bool {
        match self {
            Self::Queued | Self::InProgress | Self::Completed => false,
            Self::Waiting | Self::Pending | Self::Requested | Self::Other(_) => true,
        }
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Waiting => "waiting",
            Self::Pending => "pending",
            Self::Requested => "requested",
            Self::Other(text) => text,
        })
    }
}

/// Reads the JSON of a `workflow_job` webhook. The action counts, not the job's status: GitHub sends `queued` with other statuses.
///
/// Takes little more memory than what is kept of it, whatever the body holds.
pub fn webhook(body: &[u8]) -> Result<Webhook, WireError> {
    serde_json::from_slice::<WrittenWebhook>(body).map_err(WireError::Broken)?.read()
}

/// A webhook as GitHub writes it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct WrittenWebhook {
    action: Field,
    workflow_job: Option<WrittenJob>,
    repository: Option<WrittenRepository>,
    enterprise: Object<WrittenEnterprise>,
}

impl WrittenWebhook {
    pub(crate) fn read(self) -> Result<Webhook, WireError> {
        let action = required_text(&self.action, "action")?;
        if !matches!(action.as_str(), "queued" | "in_progress" | "completed") {
            return Ok(Webhook::Ignored("an action that moves no job"));
        }
        let repository = self.repository.ok_or(WireError::Missing("repository"))?;
        let owner = required_text(&repository.owner.0.login, "repository.owner.login")?;
        let repo = required_text(&repository.name, "repository.name")?;
        let written = self.workflow_job.ok_or(WireError::Missing("workflow_job"))?;
        let enterprise = self.enterprise.0.slug.text().map(ToOwned::to_owned);
        let (job, for_us) = written.job(&owner, &repo, enterprise)?;
        let runner = written.runner();
        let phase = match action.as_str() {
            "queued" => Phase::Queued,
            "in_progress" if written.conclusion.text() == Some("cancelled") => {
                return Ok(Webhook::Ignored("in progress, but cancelled: it ends with the next webhook"));
            }
            "in_progress" => Phase::InProgress { runner },
            _ => Phase::Completed { conclusion: written.conclusion(), runner },
        };
        Ok(Webhook::News(Box::new(News { job, phase, for_us })))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenRepository {
    name: Field,
    owner: Object<WrittenOwner>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenOwner {
    login: Field,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenEnterprise {
    slug: Field,
}

/// A job as GitHub writes it, in webhooks and answers alike.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct WrittenJob {
    id: Field,
    run_id: Field,
    run_attempt: Field,
    status: Field,
    conclusion: Field,
    labels: Texts,
    name: Field,
    workflow_name: Field,
    html_url: Field,
    created_at: Field,
    runner_name: Field,
}

impl WrittenJob {
    /// The state of a job in an answer of the API about that repository.
    pub(crate) fn state(&self, owner: &str, repo: &str) -> Result<JobState, WireError> {
        let (job, for_us) = self.job(owner, repo, None)?;
        let runner = self.runner();
        let status = match required_text(&self.status, "status")?.as_str() {
            "queued" => JobStatus::Queued,
            "in_progress" => JobStatus::InProgress,
            "completed" => JobStatus::Completed,
            "waiting" => JobStatus::Waiting,
            "pending" => JobStatus::Pending,
            "requested" => JobStatus::Requested,
            other => JobStatus::Other(other.to_owned()),
        };
        let phase = match status {
            JobStatus::Completed => Phase::Completed { conclusion: self.conclusion(), runner },
            // Cancelled before any runner took it up: none will.
            JobStatus::InProgress if runner.is_none() && self.conclusion.text() == Some("cancelled") => {
                Phase::Completed { conclusion: Conclusion::Cancelled, runner }
            }
            JobStatus::InProgress => Phase::InProgress { runner },
            JobStatus::Queued
            | JobStatus::Waiting
            | JobStatus::Pending
            | JobStatus::Requested
            | JobStatus::Other(_) => Phase::Queued,
        };
        Ok(JobState { job, phase, status, for_us })
    }

    fn job(&self, owner: &str, repo: &str, enterprise: Option<String>) -> Result<(Job, bool), WireError> {
        let id = required_number(&self.id, "workflow_job.id")?;
        let run_id = required_number(&self.run_id, "workflow_job.run_id")?;
        let labels = labels(&self.labels)?;
        let wanted = wanted(&labels);
        let for_us = wanted.is_for_us();
        let job = Job {
            id: JobId(id),
            run_id: RunId(run_id),
            // Webhooks of 2021 do not count attempts.
            run_attempt: self.run_attempt.number().and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1),
            owner: owner.to_owned(),
            repo: repo.to_owned(),
            enterprise,
            labels,
            image: wanted.image(),
            name: text(&self.name),
            workflow: text(&self.workflow_name),
            html_url: text(&self.html_url),
            created_at: self.created_at.text().and_then(Moment::parse_rfc3339),
        };
        Ok((job, for_us))
    }

    /// Null, absent and empty all mean that GitHub names none. A runner of ours is known by the name of its VM, whichever of its names it has.
    fn runner(&self) -> Option<String> {
        let name = text(&self.runner_name);
        Some(VmName::of_runner(&name).to_owned()).filter(|name| !name.is_empty())
    }

    fn conclusion(&self) -> Conclusion {
        match self.conclusion.text() {
            Some(word) if !word.is_empty() => Conclusion::from(word.to_owned()),
            _ => Conclusion::Other("unknown".to_owned()),
        }
    }
}

fn text(field: &Field) -> String {
    field.text().unwrap_or_default().to_owned()
}

fn required_text(value: &Field, field: &'static str) -> Result<String, WireError> {
    match value {
        Field::Text(text) if !text.is_empty() => Ok(text.clone()),
        Field::Absent | Field::Text(_) => Err(WireError::Missing(field)),
        Field::Number(_) | Field::Other => Err(WireError::Wrong(field, "a text")),
    }
}

fn required_number(value: &Field, field: &'static str) -> Result<u64, WireError> {
    match value {
        Field::Absent => Err(WireError::Missing(field)),
        Field::Number(number) => Ok(*number),
        Field::Text(_) | Field::Other => Err(WireError::Wrong(field, "a whole number of 64 bits")),
    }
}

fn labels(written: &Texts) -> Result<Vec<String>, WireError> {
    const FIELD: &str = "workflow_job.labels";
    match written {
        Texts::Absent => Err(WireError::Missing(FIELD)),
        Texts::List(labels) => Ok(labels.clone()),
        Texts::Other => Err(WireError::Wrong(FIELD, "a list of texts, or far too long a one")),
    }
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
