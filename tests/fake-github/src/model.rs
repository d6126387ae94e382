//! What GitHub knows, as plain data that tests read. It stands alone so that the rules that change it
//! (`jobs`, `runners`, `webhook`) and those that show it (`rest`, `payload`) share one vocabulary.

use std::time::Duration;

use crate::clock::At;
use crate::http::Answer;
use crate::scope::Scope;

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
    pub payload: std::sync::Arc<Vec<u8>>,
    /// What came back.
    pub answer: Option<Answer>,
}

impl Delivery {
    /// Whether the receiver answered 2xx.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status_code)
    }
}
