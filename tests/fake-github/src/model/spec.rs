//! What a test says about a job it creates. It stands alone because it is a builder and nothing else.

use std::time::Duration;

use crate::model::{JobId, JobStatus, RunId};
use crate::scope::Scope;

/// Which fields a job's webhooks have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadStyle {
    /// All of today's.
    #[default]
    Modern,
    /// Without `run_attempt`, `workflow_name`, `created_at`, `head_branch`, and no runner until one is assigned.
    Year2021,
}

/// A job to create. Start from [`JobSpec::new`].
#[derive(Clone, Debug)]
pub struct JobSpec {
    pub(crate) repo: Scope,
    pub(crate) labels: Vec<String>,
    pub(crate) name: String,
    pub(crate) workflow_name: String,
    pub(crate) id: Option<JobId>,
    pub(crate) run_id: Option<RunId>,
    pub(crate) steps_ms: u64,
    pub(crate) conclusion: String,
    pub(crate) status: JobStatus,
    pub(crate) style: PayloadStyle,
    pub(crate) age: Duration,
    pub(crate) silent: bool,
}

impl JobSpec {
    /// A queued job of repository `acme/app` in a run of its own, which will take 50 ms and succeed.
    pub fn new(repo: &str, labels: &[&str]) -> JobSpec {
        JobSpec {
            repo: Scope::from(repo),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            name: "build".to_owned(),
            workflow_name: "Build".to_owned(),
            id: None,
            run_id: None,
            steps_ms: 50,
            conclusion: "success".to_owned(),
            status: JobStatus::Queued,
            style: PayloadStyle::Modern,
            age: Duration::ZERO,
            silent: false,
        }
    }

    /// The job's name in the workflow file.
    #[must_use]
    pub fn name(mut self, name: &str) -> JobSpec {
        name.clone_into(&mut self.name);
        self
    }

    /// A fixed id, instead of the next one.
    #[must_use]
    pub fn id(mut self, id: JobId) -> JobSpec {
        self.id = Some(id);
        self
    }

    /// Puts the job into a run, which is created if it is new.
    #[must_use]
    pub fn run(mut self, run_id: RunId) -> JobSpec {
        self.run_id = Some(run_id);
        self
    }

    /// How long the runner works on it, in milliseconds.
    #[must_use]
    pub fn steps_ms(mut self, steps_ms: u64) -> JobSpec {
        self.steps_ms = steps_ms;
        self
    }

    /// How the runner will end it.
    #[must_use]
    pub fn conclusion(mut self, conclusion: &str) -> JobSpec {
        conclusion.clone_into(&mut self.conclusion);
        self
    }

    /// Another first status than `queued`.
    #[must_use]
    pub fn status(mut self, status: JobStatus) -> JobSpec {
        self.status = status;
        self
    }

    /// The fields of its webhooks.
    #[must_use]
    pub fn style(mut self, style: PayloadStyle) -> JobSpec {
        self.style = style;
        self
    }

    /// Sets `created_at` this far back.
    #[must_use]
    pub fn created_ago(mut self, age: Duration) -> JobSpec {
        self.age = age;
        self
    }

    /// Sends no webhook for its creation.
    #[must_use]
    pub fn silent(mut self) -> JobSpec {
        self.silent = true;
        self
    }
}
