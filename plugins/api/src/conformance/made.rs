//! Jobs, wants, phases and records for the rules, in few words.

use std::time::Duration;

use crate::job::{Conclusion, Image, Job, JobId, Phase, RunId};
use crate::name::{HostId, PluginName, VmName};
use crate::scope::Scope;
use crate::store::{Counted, GiveBack, Want};
use crate::time::Moment;
use crate::vm::{Stage, VmRecord};

/// The life of claims in the rules.
pub(super) const LIFE: Duration = Duration::from_secs(90);

pub(super) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Job `n` of `Acme/app`, `n` seconds younger than job 0.
pub(super) fn job(n: u64) -> Job {
    Job {
        id: JobId(n),
        run_id: RunId(1_000 + n),
        run_attempt: 1,
        owner: "Acme".to_owned(),
        repo: "app".to_owned(),
        enterprise: None,
        labels: vec!["self-hosted".to_owned(), "anka-template:T1".to_owned()],
        image: Image { template: "T1".to_owned(), tag: None },
        name: "build".to_owned(),
        workflow: "ci".to_owned(),
        html_url: format!("https://github.example/Acme/app/jobs/{n}"),
        created_at: Some(Moment(1_600_000_000_000 + n as i64 * 1_000)),
    }
}

/// The same, asking for another template, and so of another group.
pub(super) fn job_of(n: u64, template: &str) -> Job {
    let mut job = job(n);
    job.labels[1] = format!("anka-template:{template}");
    job.image.template = template.to_owned();
    job
}

pub(super) fn handler(name: &str) -> PluginName {
    PluginName::new(name)
}

/// Handler `a1` runs on host `a`, `b2` on `b`.
pub(super) fn host_of(name: &str) -> HostId {
    HostId::new(&name[..1])
}

pub(super) fn want(name: &str) -> Want {
    Want {
        handler: handler(name),
        host: host_of(name),
        scope: Scope::Organization { owner: "acme".to_owned() },
        pass: Vec::new(),
        take_over: true,
        claim_life: LIFE,
    }
}

pub(super) fn repository(owner: &str, repo: &str) -> Scope {
    Scope::Repository { owner: owner.to_owned(), repo: repo.to_owned() }
}

pub(super) fn enterprise(slug: &str) -> Scope {
    Scope::Enterprise { slug: slug.to_owned() }
}

pub(super) fn in_progress(runner: Option<&str>) -> Phase {
    Phase::InProgress { runner: runner.map(str::to_owned) }
}

pub(super) fn completed(runner: Option<&str>) -> Phase {
    Phase::Completed { conclusion: Conclusion::Success, runner: runner.map(str::to_owned) }
}

/// Given back at once, uncounted, without a word against the host.
pub(super) fn back(reason: &str) -> GiveBack {
    GiveBack { reason: reason.to_owned(), counted: Counted::No, hold: Duration::ZERO, host_avoids: None }
}

/// Given back counted, without a hold.
pub(super) fn counted(reason: &str) -> GiveBack {
    GiveBack { counted: Counted::Yes, ..back(reason) }
}

/// Given back uncounted; the host leaves the job alone for a minute.
pub(super) fn avoided(reason: &str) -> GiveBack {
    GiveBack { host_avoids: Some(seconds(60)), ..back(reason) }
}

/// The same for the `n`th time.
pub(super) fn nth(n: u32, how: GiveBack) -> GiveBack {
    GiveBack { reason: format!("no. {n}"), ..how }
}

/// A record of a VM that handler `name` made for `job`, waiting for it.
pub(super) fn record(vm: &str, name: &str, job: &Job) -> VmRecord {
    VmRecord {
        vm: VmName::new(vm),
        host: host_of(name),
        plugin: handler(name),
        queue: "acme".to_owned(),
        scope: Scope::Organization { owner: "acme".to_owned() },
        job: Some(job.id),
        run: Some(job.run_id),
        repository: format!("{}/{}", job.owner, job.repo),
        labels: job.labels.clone(),
        stage: Stage::Waiting,
        jit: None,
        registering_at: None,
        registered_at: None,
        created_at: Moment(1),
        failed_deletions: 0,
    }
}
