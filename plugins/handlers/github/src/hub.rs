//! GitHub as the handler uses it: each question once, in the handler's own words.

use std::sync::Arc;
use std::time::Instant;

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::job::{Job, Phase};
use anklet_plugin_api::name::VmName;
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::{Secret, Section};
use anklet_plugin_api::vm::VmRecord;

use anklet_github::address::Repository;
use anklet_github::checks::FailedCheck;
use anklet_github::client::Client;
use anklet_github::error::ClientError;
use anklet_github::jit::{DEFAULT_GROUP, JitAnswer, JitFailure};
use anklet_github::jobs::Cancellation;
use anklet_github::observer::CallObserver;
use anklet_github::runners::Fence;
use anklet_github::wire::JobState;

use crate::archives::KnownArchives;

/// GitHub, for one handler.
pub(crate) struct Hub {
    pub(crate) client: Client,
    pub(crate) scope: Scope,
    runner_group: Option<String>,
    web_url: String,
    pub(crate) archives: KnownArchives,
}

/// What GitHub says of a job.
#[derive(Debug)]
pub(crate) enum Asked {
    /// How far it is.
    Known(Phase),
    /// It is given to no runner for now; GitHub's word for it.
    HeldBack(String),
    /// GitHub does not find it, or hides it.
    Unknown,
}

/// What became of a request to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancelled {
    /// GitHub will end the run's jobs.
    Sent,
    /// The run had ended before.
    AlreadyOver,
}

/// Why GitHub did not do it.
#[derive(Debug)]
pub(crate) enum HubError {
    /// The call failed.
    Client(ClientError),
    /// GitHub will not.
    Refused(String),
}

impl HubError {
    /// GitHub has understood and will not: asking again soon is of no use.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Client(error) => {
                matches!(error, ClientError::Forbidden { .. } | ClientError::Unauthorized { .. })
            }
        }
    }

    /// GitHub allows no call now, which has been said.
    pub(crate) fn is_limit(&self) -> bool {
        matches!(self, Self::Client(ClientError::Limited { .. }))
    }

    /// The ear cut the call.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self, Self::Client(ClientError::Cut { .. }))
    }
}

impl std::fmt::Display for HubError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl From<ClientError> for HubError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl Hub {
    /// With somebody who is told of waits for rate limits; without, nothing waits for them.
    pub(crate) fn new(
        section: &Section,
        observer: Option<Arc<dyn CallObserver>>,
        archives: &KnownArchives,
    ) -> Result<Self, ClientError> {
        let client = Client::new(&section.github, &section.limits)?;
        Ok(Self {
            client: match observer {
                Some(observer) => client.observed_by(observer),
                None => client.never_waiting(),
            },
            scope: section.scope.clone(),
            runner_group: section.runner_group.clone(),
            web_url: section.github.web_url.clone(),
            archives: archives.clone(),
        })
    }

    /// What `config.sh --url` wants.
    pub(crate) fn registration_url(&self, scope: &Scope) -> String {
        format!("{}/{}", self.web_url, scope.url_path())
    }

    /// Until when GitHub is asked nothing, because of a rate limit.
    pub(crate) fn paused_until(&self) -> Option<Instant> {
        self.client.paused_until(&self.scope)
    }

    pub(crate) fn registration_token(&self, ear: &Ear<'_>) -> Result<Secret, HubError> {
        Ok(self.client.registration_token(&self.scope, ear)?.token)
    }

    /// The number of the group in which runners are made.
    pub(crate) fn group(&self, ear: &Ear<'_>) -> Result<u64, HubError> {
        let Some(name) = &self.runner_group else { return Ok(DEFAULT_GROUP) };
        let found = self.client.runner_group(&self.scope, name, ear)?;
        let why = || format!("there is no runner group {name:?} in {}", self.scope);
        found.ok_or_else(|| HubError::Refused(why()))
    }

    /// Makes the runner of this VM, for one job.
    pub(crate) fn jit_config(
        &self,
        record: &VmRecord,
        group: u64,
        ear: &Ear<'_>,
    ) -> Result<JitAnswer, JitFailure> {
        let made = self.client.jit_config(&record.scope, &record.runner_name(), group, &record.labels, ear);
        // A group that was made anew has another number.
        if matches!(&made, Err(JitFailure { error: ClientError::NotFound { .. }, .. })) {
            self.client.forget_runner_groups();
        }
        made
    }

    /// How far a job is.
    pub(crate) fn ask(&self, job: &Job, ear: &Ear<'_>) -> Result<Asked, HubError> {
        match self.client.job_state(repository(job), job.id, ear) {
            Ok(state) if state.status.is_held_back() => Ok(Asked::HeldBack(state.status.to_string())),
            Ok(state) => Ok(Asked::Known(state.phase)),
            Err(ClientError::NotFound { .. }) => Ok(Asked::Unknown),
            Err(error) => Err(error.into()),
        }
    }

    /// Why the job's repository cannot be seen with these credentials; none if it can. An error is no answer.
    pub(crate) fn why_hidden(&self, job: &Job, ear: &Ear<'_>) -> Result<Option<String>, HubError> {
        match self.client.see_repository(repository(job), ear) {
            Ok(()) => Ok(None),
            Err(
                error @ (ClientError::NotFound { .. }
                | ClientError::Forbidden { .. }
                | ClientError::Unauthorized { .. }),
            ) => Ok(Some(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// Names the credential that is shown for this job, for people.
    pub(crate) fn credential_name(&self, job: &Job) -> String {
        self.client.credential_name(repository(job))
    }

    /// How far all jobs of the job's run are.
    pub(crate) fn jobs_of_run(&self, job: &Job, ear: &Ear<'_>) -> Result<Vec<JobState>, HubError> {
        Ok(self.client.run_jobs(repository(job), job.run_id, ear)?)
    }

    /// How many calls an hour GitHub allows, as far as it has said it.
    pub(crate) fn calls_an_hour(&self) -> Option<u64> {
        self.client.hourly_limit(&self.scope)
    }

    /// The job of the same run that runs, or ran, on this VM.
    pub(crate) fn job_of_run_on(
        &self,
        job: &Job,
        vm: &VmName,
        ear: &Ear<'_>,
    ) -> Result<Option<(Job, Phase)>, HubError> {
        let states = self.client.run_jobs(repository(job), job.run_id, ear)?;
        let found = states.into_iter().find(|state| state.is_on(vm.as_str()));
        Ok(found.map(|state| (state.job, state.phase)))
    }

    /// Whether the job that the record names is over and ran on this VM: then the runner has had its one job.
    pub(crate) fn is_spent(&self, record: &VmRecord, ear: &Ear<'_>) -> Result<bool, HubError> {
        let (Some(id), Some((owner, repo))) = (record.job, record.repository.split_once('/')) else {
            return Ok(false);
        };
        let state = self.client.job_state(Repository { owner, repo }, id, ear)?;
        Ok(matches!(state.phase, Phase::Completed { .. }) && state.is_on(&record.runner_name()))
    }

    /// Makes sure that GitHub gives the runner nothing any more.
    pub(crate) fn fence(&self, record: &VmRecord, ear: &Ear<'_>) -> Result<Fence, HubError> {
        Ok(match record.jit.as_ref().and_then(|jit| jit.id) {
            Some(id) => self.client.fence_by_id(&record.scope, id, ear)?,
            None => self.client.fence(&record.scope, &record.runner_name(), ear)?,
        })
    }

    pub(crate) fn fence_by_name(&self, scope: &Scope, name: &str, ear: &Ear<'_>) -> Result<Fence, HubError> {
        Ok(self.client.fence(scope, name, ear)?)
    }

    /// Removes the runners of earlier names; whether all were there to be removed.
    pub(crate) fn remove_spares(&self, record: &VmRecord, ear: &Ear<'_>) -> Result<bool, HubError> {
        let mut are_all_gone = true;
        for name in record.jit.iter().flat_map(|jit| &jit.spare_names) {
            are_all_gone &= self.client.fence(&record.scope, name, ear)? == Fence::Removed;
        }
        Ok(are_all_gone)
    }

    /// Whether GitHub lists the runner as connected.
    pub(crate) fn is_online(&self, record: &VmRecord, ear: &Ear<'_>) -> Result<bool, HubError> {
        let runner = self.client.runner(&record.scope, &record.runner_name(), ear)?;
        Ok(runner.is_some_and(|runner| runner.is_online))
    }

    /// Cancels the job's whole run; by force where it goes on after its cancellation.
    pub(crate) fn cancel(&self, job: &Job, by_force: bool, ear: &Ear<'_>) -> Result<Cancelled, HubError> {
        let cancellation = if by_force {
            self.client.force_cancel_run(repository(job), job.run_id, ear)?
        } else {
            self.client.cancel_run(repository(job), job.run_id, ear)?
        };
        match cancellation {
            Cancellation::Accepted => Ok(Cancelled::Sent),
            Cancellation::AlreadyOver => Ok(Cancelled::AlreadyOver),
            Cancellation::Refused(refusal) => {
                let permission =
                    refusal.permission.map(|needed| format!(" (it needs the permission {needed})"));
                let why = format!("{} {}{}", refusal.status, refusal.message, permission.unwrap_or_default());
                Err(HubError::Refused(why))
            }
        }
    }

    /// Puts a failed check onto the job's commit.
    pub(crate) fn fail_check(&self, job: &Job, check: &FailedCheck, ear: &Ear<'_>) -> Result<(), HubError> {
        Ok(self.client.fail_check(repository(job), job.id, check, ear)?)
    }
}

fn repository(job: &Job) -> Repository<'_> {
    Repository { owner: &job.owner, repo: &job.repo }
}
