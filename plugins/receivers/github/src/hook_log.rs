//! GitHub's log of what a webhook has sent, as the looks use it. It stands alone so that a month of looks can be tried in seconds.

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::job::Job;
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::GithubAccess;

use anklet_github::address::Repository;
use anklet_github::client::Client;
use anklet_github::deliveries::{DeliveryPage, Hook};
use anklet_github::error::ClientError;
use anklet_github::refusal::what_to_mend;
use anklet_github::wire::{JobState, Webhook};

/// What can be asked of it, and of the jobs that it tells of; each a call of GitHub's API.
pub(crate) trait Log: Send {
    /// The newest page, or the one that an earlier page named as its next.
    fn page(&self, at: Option<&str>, ear: &Ear) -> Result<DeliveryPage, ClientError>;

    /// What a delivery said; none if it cannot be known any more.
    fn said(&self, id: u64, ear: &Ear) -> Result<Option<Webhook>, ClientError>;

    /// Has a delivery sent again; false if GitHub will not.
    fn send_again(&self, id: u64, ear: &Ear) -> Result<bool, ClientError>;

    /// How far a job is now.
    fn job_state(&self, job: &Job, ear: &Ear) -> Result<JobState, ClientError>;

    /// Which key of the config this error says to be wrong, and what to do; none if it says nothing of that kind.
    fn what_to_mend(&self, error: &ClientError) -> Option<String>;

    /// How many calls an hour GitHub allows, as far as it has said it.
    fn hourly_limit(&self) -> Option<u64>;
}

/// The log of a hook, read with a client's credentials.
pub(crate) struct HookLog {
    pub(crate) client: Client,
    pub(crate) hook: Hook,
    /// Of the receiver, and so of its credentials.
    pub(crate) scope: Scope,
    pub(crate) access: GithubAccess,
}

impl Log for HookLog {
    fn page(&self, at: Option<&str>, ear: &Ear) -> Result<DeliveryPage, ClientError> {
        self.client.deliveries(&self.hook, at, ear)
    }

    fn said(&self, id: u64, ear: &Ear) -> Result<Option<Webhook>, ClientError> {
        self.client.delivered(&self.hook, id, ear)
    }

    fn send_again(&self, id: u64, ear: &Ear) -> Result<bool, ClientError> {
        self.client.redeliver(&self.hook, id, ear)
    }

    fn job_state(&self, job: &Job, ear: &Ear) -> Result<JobState, ClientError> {
        self.client.job_state(Repository::from(job), job.id, ear)
    }
    fn what_to_mend(&self, error: &ClientError) -> Option<String> {
        what_to_mend(error, &self.access, &self.scope)
    }

    fn hourly_limit(&self) -> Option<u64> {
        self.client.hourly_limit_of_hook(&self.hook)
    }
}
