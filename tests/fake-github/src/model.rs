//! What GitHub knows, as plain data that tests read. It stands alone so that the rules that change it
//! (`jobs`, `runners`, `webhook`) and those that show it (`rest`, `payload`) share one vocabulary.

use crate::clock::At;
use crate::scope::Scope;

mod record;
mod spec;

pub use record::{Delivery, HookTarget, RequestEnd, RequestRecord, Violation};
pub use spec::{JobSpec, PayloadStyle};

/// `workflow_job.id`; every other one is over 2^53.
pub type JobId = u64;
/// `workflow_job.run_id`; every other one is over 2^53.
pub type RunId = u64;
/// The id of a webhook.
pub type HookId = u64;

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobStatus {
    /// Ready for a runner.
    Queued,
    /// On a runner.
    InProgress,
    /// Over.
    Completed,
    /// Waits for an approval or a deployment.
    Waiting,
    /// Waits for its concurrency group.
    Pending,
    /// Just asked for.
    Requested,
}

impl JobStatus {
    /// GitHub's word.
    pub fn as_str(self) -> &'static str {
        match self {
            JobStatus::Queued => "queued",
            JobStatus::InProgress => "in_progress",
            JobStatus::Completed => "completed",
            JobStatus::Waiting => "waiting",
            JobStatus::Pending => "pending",
            JobStatus::Requested => "requested",
        }
    }

    /// Reads GitHub's word.
    pub fn parse(text: &str) -> Option<JobStatus> {
        use JobStatus::{Completed, InProgress, Pending, Queued, Requested, Waiting};
        [Queued, InProgress, Completed, Waiting, Pending, Requested]
            .into_iter()
            .find(|status| status.as_str() == text)
    }
}

/// One step of a job's history.
#[derive(Clone, Debug)]
pub struct Transition {
    /// When.
    pub at: At,
    /// Into what.
    pub status: JobStatus,
    /// The runner it was on then.
    pub runner: Option<String>,
}

/// A workflow job.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Its run.
    pub run_id: RunId,
    /// 1, and one more with each re-run.
    pub run_attempt: u64,
    /// Its repository.
    pub repo: Scope,
    /// Its name in the workflow.
    pub name: String,
    /// Its `runs-on`.
    pub labels: Vec<String>,
    /// Where it is.
    pub status: JobStatus,
    /// How it ended.
    pub conclusion: Option<String>,
    /// The runner it is or was on.
    pub runner_id: Option<u64>,
    /// That runner's name.
    pub runner_name: Option<String>,
    /// `created_at`.
    pub created_at: At,
    /// When a runner took it.
    pub started_at: Option<At>,
    /// When it ended.
    pub completed_at: Option<At>,
    /// How long its runner is to work.
    pub steps_ms: u64,
    /// How its runner is to end it.
    pub planned_conclusion: String,
    /// Every status it had, oldest first.
    pub history: Vec<Transition>,
    pub(crate) runner_group_id: Option<u64>,
    pub(crate) style: PayloadStyle,
    pub(crate) order: u64,
}

impl Job {
    /// Whether it has ended.
    pub fn is_completed(&self) -> bool {
        self.status == JobStatus::Completed
    }

    /// When it first got `status`.
    pub fn reached_at(&self, status: JobStatus) -> Option<At> {
        self.history.iter().find(|step| step.status == status).map(|step| step.at)
    }
}

/// A workflow run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// `run_number`.
    pub number: u64,
    /// Its repository.
    pub repo: Scope,
    /// The workflow's name.
    pub name: String,
    /// The branch it runs for.
    pub head_branch: String,
    /// The commit it runs for.
    pub head_sha: String,
    /// All its jobs, those of earlier attempts included.
    pub jobs: Vec<JobId>,
    /// The latest attempt.
    pub attempt: u64,
    /// When it was created.
    pub created_at: At,
    /// Cancel and force-cancel answer 409 `has not been queued yet`.
    pub stuck: bool,
    /// Cancel answers 202 and does nothing; only force-cancel works.
    pub deaf: bool,
}

/// A registered runner.
#[derive(Clone, Debug)]
pub struct Runner {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where it is registered.
    pub scope: Scope,
    /// Its labels.
    pub labels: Vec<String>,
    /// `unknown` until a JIT runner connects.
    pub os: String,
    /// Its runner group.
    pub group_id: u64,
    /// Whether it is removed after one job.
    pub ephemeral: bool,
    /// The runner program's version, once known.
    pub version: Option<String>,
    /// Whether it is connected.
    pub online: bool,
    /// The job it works on.
    pub job: Option<JobId>,
    /// When it was registered.
    pub registered_at: At,
    pub(crate) session: Option<u64>,
    /// A JIT configuration that was not used by then is void.
    pub(crate) connect_by: Option<At>,
}

/// How a runner was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisteredBy {
    /// `config.sh` with a registration token.
    Token,
    /// `generate-jitconfig`.
    Jit,
    /// A test.
    Test,
}

/// Why a registration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationEnd {
    /// `DELETE …/actions/runners/{id}`.
    Deleted,
    /// Ephemeral, and its job is over.
    JobDone,
    /// `config.sh remove`.
    Unregistered,
}

/// A registration that happened, kept after the runner is gone.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The runner's id.
    pub runner_id: u64,
    /// The runner's name.
    pub runner_name: String,
    /// Where.
    pub scope: Scope,
    /// Its labels.
    pub labels: Vec<String>,
    /// Its group's name.
    pub group: String,
    /// By what.
    pub by: RegisteredBy,
    /// When.
    pub at: At,
    /// The jobs it got, in order.
    pub jobs: Vec<JobId>,
    /// When and why it ended.
    pub ended: Option<(At, RegistrationEnd)>,
}
