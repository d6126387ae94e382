//! Jobs, wants and records for tests of stores, in few words: all of one group, one scope and one host.

use std::time::Duration;

use crate::job::{Image, Job, JobId, News, Phase, RunId};
use crate::name::{HostId, PluginName, VmName};
use crate::scope::Scope;
use crate::store::{Claim, ClaimAnswer, Store, StoreError, Want};
use crate::time::Moment;
use crate::vm::{Stage, VmRecord};

/// The host of [`want`] and [`record`].
pub const HOST: &str = "host-1";

/// Job `id` of `Acme/Rockets`; the greater its number, the younger it is.
pub fn job(id: u64) -> Job {
    Job {
        id: JobId(id),
        run_id: RunId(id / 10),
        run_attempt: 1,
        owner: "Acme".to_owned(),
        repo: "Rockets".to_owned(),
        enterprise: None,
        labels: vec!["self-hosted".to_owned(), "anka-template:t1".to_owned()],
        image: Image { template: "t1".to_owned(), tag: None },
        name: "build".to_owned(),
        workflow: "ci".to_owned(),
        html_url: String::new(),
        created_at: Some(Moment(id.cast_signed())),
    }
}

/// News that it is so far.
pub fn news(id: u64, phase: Phase) -> News {
    News { job: job(id), phase, for_us: true }
}

/// News that it waits.
pub fn queued(id: u64) -> News {
    news(id, Phase::Queued)
}

/// A handler that can have these jobs, and takes nothing over.
pub fn want(handler: &str) -> Want {
    Want {
        handler: PluginName::new(handler),
        host: HostId::new(HOST),
        scope: Scope::Organization { owner: "acme".to_owned() },
        pass: Vec::new(),
        take_over: false,
        claim_life: Duration::from_secs(90),
    }
}

/// The claim that the store gives, if there is a job to claim.
pub fn claim_for(store: &dyn Store, want: &Want) -> Result<Option<Claim>, StoreError> {
    Ok(match store.claim(want)? {
        ClaimAnswer::Claimed(claim) => Some(*claim),
        ClaimAnswer::Nothing { .. } => None,
    })
}

/// A record of a VM that is being cloned for a job.
pub fn record(vm: &str, job: u64) -> VmRecord {
    VmRecord {
        vm: VmName::new(vm),
        host: HostId::new(HOST),
        plugin: PluginName::new("h"),
        queue: "acme".to_owned(),
        scope: Scope::Organization { owner: "acme".to_owned() },
        job: Some(JobId(job)),
        run: None,
        repository: String::new(),
        labels: Vec::new(),
        stage: Stage::Cloning,
        jit: None,
        registering_at: None,
        registered_at: None,
        created_at: Moment(1),
        failed_deletions: 0,
    }
}
