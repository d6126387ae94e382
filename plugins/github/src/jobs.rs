//! Calls about jobs and runs: how far they are, cancelling them, and whether their repository can be seen at all.

use std::ops::ControlFlow;

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::job::{JobId, RunId};
use serde::Deserialize;

use crate::address::Repository;
use crate::client::{Call, Client};
use crate::credentials::Subject;
use crate::error::{CallName, ClientError};
use crate::wire::{JobState, WrittenJob};

const GET_JOB: CallName = CallName { method: "GET", path: "/repos/{owner}/{repo}/actions/jobs/{id}" };
const LIST_RUN_JOBS: CallName =
    CallName { method: "GET", path: "/repos/{owner}/{repo}/actions/runs/{id}/jobs" };
const CANCEL_RUN: CallName =
    CallName { method: "POST", path: "/repos/{owner}/{repo}/actions/runs/{id}/cancel" };
const FORCE_CANCEL_RUN: CallName =
    CallName { method: "POST", path: "/repos/{owner}/{repo}/actions/runs/{id}/force-cancel" };
const GET_REPOSITORY: CallName = CallName { method: "GET", path: "/repos/{owner}/{repo}" };

/// What became of a request to cancel a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancellation {
    /// GitHub will cancel it; its jobs end some seconds later.
    Accepted,
    /// The run is over already.
    AlreadyOver,
    /// GitHub will not, or not now.
    Refused(Refusal),
}

/// Why GitHub refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 403, 404 or 409.
    pub status: u16,
    /// GitHub's words.
    pub message: String,
    /// The permission that GitHub says is needed.
    pub permission: Option<String>,
}

impl Client {
    /// How far a job is, at this moment. [`ClientError::NotFound`] says that GitHub did not find it in three tries.
    pub fn job_state(&self, repository: Repository, id: JobId, ear: &Ear) -> Result<JobState, ClientError> {
        let call = repository_call(GET_JOB, repository, &format!("/actions/jobs/{id}")).polled();
        let answer = self.call(&call, ear)?;
        let written: WrittenJob = answer.json()?;
        let state = written.state(repository.owner, repository.repo);
        let state = state.map_err(|error| answer.nonsense(error.to_string()))?;
        if state.job.id != id {
            return Err(answer.nonsense(format!("it is about the job {} instead of {id}", state.job.id)));
        }
        Ok(state)
    }

    /// How far all jobs of a run's last attempt are.
    pub fn run_jobs(
        &self,
        repository: Repository,
        id: RunId,
        ear: &Ear,
    ) -> Result<Vec<JobState>, ClientError> {
        let below = format!("/actions/runs/{id}/jobs?filter=latest&per_page=100");
        let mut states = Vec::new();
        self.pages(repository_call(LIST_RUN_JOBS, repository, &below).polled(), ear, |page| {
            let written: WrittenJobs = page.json()?;
            for job in written.jobs {
                let state = job.state(repository.owner, repository.repo);
                states.push(state.map_err(|error| page.nonsense(error.to_string()))?);
            }
            Ok(ControlFlow::<()>::Continue(()))
        })?;
        Ok(states)
    }

    /// Cancels a run with all its jobs: GitHub knows nothing smaller.
    pub fn cancel_run(
        &self,
        repository: Repository,
        id: RunId,
        ear: &Ear,
    ) -> Result<Cancellation, ClientError> {
        self.end_run(CANCEL_RUN, repository, &format!("/actions/runs/{id}/cancel"), ear)
    }

    /// The same for a run that goes on after its cancellation: nothing in it is waited for, not even what should `always()` run.
    pub fn force_cancel_run(
        &self,
        repository: Repository,
        id: RunId,
        ear: &Ear,
    ) -> Result<Cancellation, ClientError> {
        self.end_run(FORCE_CANCEL_RUN, repository, &format!("/actions/runs/{id}/force-cancel"), ear)
    }

    fn end_run(
        &self,
        name: CallName,
        repository: Repository,
        below: &str,
        ear: &Ear,
    ) -> Result<Cancellation, ClientError> {
        let refusal =
            |status, message, permission| Ok(Cancellation::Refused(Refusal { status, message, permission }));
        match self.call(&repository_call(name, repository, below), ear) {
            Ok(_) => Ok(Cancellation::Accepted),
            // A run that hangs before its queue is a conflict too. Only these words tell them apart.
            Err(ClientError::Conflict { message, .. })
                if message.to_ascii_lowercase().contains("completed") =>
            {
                Ok(Cancellation::AlreadyOver)
            }
            Err(ClientError::Conflict { message, .. }) => refusal(409, message, None),
            Err(ClientError::Forbidden { message, permission, .. }) => refusal(403, message, permission),
            Err(ClientError::NotFound { message, permission, .. }) => refusal(404, message, permission),
            Err(error) => Err(error),
        }
    }

    /// Whether the credentials can see a repository at all: well if so, else the error that says why not.
    pub fn see_repository(&self, repository: Repository, ear: &Ear) -> Result<(), ClientError> {
        self.call(&repository_call(GET_REPOSITORY, repository, ""), ear).map(drop)
    }
}

pub(crate) fn repository_call<'a>(name: CallName, repository: Repository<'a>, below: &str) -> Call<'a> {
    Call::new(name, format!("{}{below}", repository.path()), Subject::Repository(repository))
}

#[derive(Deserialize)]
struct WrittenJobs {
    jobs: Vec<WrittenJob>,
}

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
