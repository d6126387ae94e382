//! What verbs are told: names and texts as JSON, every number as text. Absent is left out, since Lua's `null` is not nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use anklet_plugin_api::job::{Group, Job, News, Phase};
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::store::{ClaimKey, Counted, GiveBack, Lease, Silence, Source, Want};
use anklet_plugin_api::time::Moment;
use anklet_plugin_api::vm::VmRecord;
use serde::Serialize;
use serde_json::Value;

/// Lua's numbers are exact up to here; no duration of ours comes near.
const MOST: i64 = 1 << 52;

/// Silent jobs that one verb answers at most.
const N_SILENT: usize = 1_000;

/// Optional fields of a record that are left out of its JSON where they are none.
const OPTIONAL_OF_VM: [&str; 5] = ["run", "jit", "registering_at", "registered_at", "_job"];

#[derive(Serialize)]
pub(super) struct NewsArgs<'a> {
    id: String,
    att: String,
    phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    runner: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concl: Option<String>,
    for_us: bool,
    api: bool,
    job: String,
    own: String,
    repo: String,
    ent: String,
    base: String,
    labels: String,
    run: String,
    full: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<String>,
}

impl<'a> NewsArgs<'a> {
    pub(super) fn new(news: &'a News, source: Source) -> Self {
        let job = &news.job;
        let (phase, concl) = match &news.phase {
            Phase::Queued => ("0", None),
            Phase::InProgress { .. } => ("1", None),
            Phase::Completed { conclusion, .. } => ("2", Some(conclusion.to_string())),
        };
        Self {
            id: job.id.to_string(),
            att: job.run_attempt.to_string(),
            phase,
            runner: news.phase.runner(),
            concl,
            for_us: news.for_us,
            api: source == Source::Api,
            job: to_json(job),
            own: job.owner.to_ascii_lowercase(),
            repo: job.repo.to_ascii_lowercase(),
            ent: job.enterprise.as_deref().unwrap_or_default().to_ascii_lowercase(),
            base: base_of(&job.group()),
            labels: lower_case(&job.labels),
            run: job.run_id.to_string(),
            full: to_json(&full_name(job)),
            age: job.created_at.map(age),
        }
    }
}

/// News with the past that another program knew.
#[derive(Serialize)]
pub(super) struct ImportArgs<'a> {
    #[serde(flatten)]
    news: NewsArgs<'a>,
    tries: String,
}

impl<'a> ImportArgs<'a> {
    /// `begun_at` orders the queue where the job itself does not say when it was created.
    pub(super) fn new(news: &'a News, attempts: u32, begun_at: Option<Moment>) -> Self {
        let mut args = NewsArgs::new(news, Source::Webhook);
        args.age = args.age.or_else(|| begun_at.map(age));
        Self { news: args, tries: attempts.to_string() }
    }
}

fn age(Moment(at): Moment) -> String {
    at.clamp(-MOST, MOST).to_string()
}

#[derive(Serialize)]
pub(super) struct WantArgs<'a> {
    handler: &'a str,
    host: &'a str,
    scope: ScopeArgs,
    pass: Vec<String>,
    take_over: bool,
    life: String,
}

impl<'a> WantArgs<'a> {
    pub(super) fn new(want: &'a Want, take_over: bool) -> Self {
        Self {
            handler: want.handler.as_str(),
            host: want.host.as_str(),
            scope: ScopeArgs::from(&want.scope),
            pass: want.pass.iter().map(base_of).collect(),
            take_over,
            life: millis(want.claim_life),
        }
    }
}

#[derive(Serialize)]
pub(super) struct SilenceArgs {
    scope: ScopeArgs,
    first: String,
    most: String,
    limit: String,
}

impl From<&Silence> for SilenceArgs {
    fn from(silence: &Silence) -> Self {
        Self {
            scope: ScopeArgs::from(&silence.scope),
            first: millis(silence.first),
            most: millis(silence.most),
            limit: silence.limit.min(N_SILENT).to_string(),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "is")]
enum ScopeArgs {
    #[serde(rename = "r")]
    Repository { owner: String, repo: String },
    #[serde(rename = "o")]
    Organization { owner: String },
    #[serde(rename = "e")]
    Enterprise { slug: String },
}

impl From<&Scope> for ScopeArgs {
    fn from(scope: &Scope) -> Self {
        let lower = str::to_ascii_lowercase;
        match scope {
            Scope::Repository { owner, repo } => Self::Repository { owner: lower(owner), repo: lower(repo) },
            Scope::Organization { owner } => Self::Organization { owner: lower(owner) },
            Scope::Enterprise { slug } => Self::Enterprise { slug: lower(slug) },
        }
    }
}

#[derive(Serialize)]
pub(super) struct KeyArgs<'a> {
    handler: &'a str,
    fence: String,
}

impl<'a> From<&'a ClaimKey> for KeyArgs<'a> {
    fn from(key: &'a ClaimKey) -> Self {
        Self { handler: key.handler.as_str(), fence: key.fence.to_string() }
    }
}

#[derive(Serialize)]
pub(super) struct RenewArgs<'a> {
    pub(super) keys: Vec<KeyArgs<'a>>,
    /// Whether claims that were not renewed in time are marked.
    pub(super) mark: bool,
}

#[derive(Serialize)]
pub(super) struct PauseArgs<'a> {
    #[serde(flatten)]
    pub(super) key: KeyArgs<'a>,
    pub(super) paused: bool,
}

#[derive(Serialize)]
pub(super) struct FinishArgs<'a> {
    #[serde(flatten)]
    pub(super) key: KeyArgs<'a>,
    pub(super) concl: String,
}

#[derive(Serialize)]
pub(super) struct GiveBackArgs<'a> {
    #[serde(flatten)]
    key: KeyArgs<'a>,
    reason: &'a str,
    counted: &'static str,
    hold: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    avoids: Option<String>,
}

impl<'a> GiveBackArgs<'a> {
    pub(super) fn new(key: &'a ClaimKey, how: &'a GiveBack) -> Self {
        let counted = match how.counted {
            Counted::Yes => "yes",
            Counted::No => "no",
            Counted::OncePerHost => "once",
        };
        let (hold, avoids) = (millis(how.hold), how.host_avoids.map(millis));
        Self { key: key.into(), reason: &how.reason, counted, hold, avoids }
    }
}

/// A record field by field, each as JSON, so that fields that another version wrote stay; and once more, with `_`, for Lua.
#[derive(Serialize)]
pub(super) struct VmArgs<'a> {
    vm: &'a str,
    fields: BTreeMap<String, String>,
    none: Vec<&'static str>,
    stage: String,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    key: Option<KeyArgs<'a>>,
}

impl<'a> VmArgs<'a> {
    pub(super) fn new(key: Option<&'a ClaimKey>, record: &'a VmRecord) -> Self {
        let mut fields = BTreeMap::new();
        if let Ok(Value::Object(map)) = serde_json::to_value(record) {
            fields.extend(map.into_iter().map(|(name, value)| (name, value.to_string())));
        }
        let mut field = |name: &str, value: String| fields.insert(name.to_owned(), value);
        field("_plugin", record.plugin.to_string());
        field("_host", record.host.to_string());
        field("_scope", to_json(&ScopeArgs::from(&record.scope)));
        field("_labels", lower_case(&record.labels));
        field("_rank", (record.stage as u8).to_string());
        if let Some(job) = record.job {
            field("_job", job.to_string());
        }
        let none = OPTIONAL_OF_VM.into_iter().filter(|name| !fields.contains_key(*name)).collect();
        Self {
            vm: record.vm.as_str(),
            fields,
            none,
            stage: record.stage.to_string(),
            key: key.map(KeyArgs::from),
        }
    }
}

#[derive(Serialize)]
pub(super) struct LeasesArgs<'a> {
    pub(super) leases: Vec<LeaseArgs<'a>>,
    /// Whether claims that were not renewed in time are marked.
    pub(super) mark: bool,
}

#[derive(Serialize)]
pub(super) struct LeaseArgs<'a> {
    name: &'a str,
    host: &'a str,
    process: &'a str,
    life: String,
    /// The process of the same host that is known to have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    gone: Option<&'a str>,
}

impl<'a> LeaseArgs<'a> {
    pub(super) fn new(lease: &'a Lease, gone: Option<&'a str>) -> Self {
        let (name, host) = (lease.name.as_str(), lease.host.as_str());
        Self { name, host, process: &lease.process, life: millis(lease.life), gone }
    }
}

/// Where the heads of a scope's groups are, below the queue's prefix: the same as in `claim.lua`.
pub(super) fn heads(scope: &Scope) -> Vec<String> {
    match ScopeArgs::from(scope) {
        ScopeArgs::Repository { owner, repo } => vec![format!("heads:r:{owner}/{repo}")],
        ScopeArgs::Organization { owner } => vec![format!("heads:o:{owner}")],
        ScopeArgs::Enterprise { slug } => vec!["heads:e:".to_owned(), format!("heads:e:{slug}")],
    }
}

/// The group as the store names it.
pub(super) fn base_of(group: &Group) -> String {
    to_json(&(&group.owner, &group.repo, &group.template, &group.tag))
}

pub(super) fn millis(duration: Duration) -> String {
    i64::try_from(duration.as_millis()).unwrap_or(MOST).min(MOST).to_string()
}

pub(super) fn to_json(value: &impl Serialize) -> String {
    // Our own types have text keys and no way to fail.
    serde_json::to_string(value).unwrap_or_default()
}

fn full_name(job: &Job) -> String {
    format!("{}/{}", job.owner, job.repo)
}

fn lower_case(labels: &[String]) -> String {
    to_json(&labels.iter().map(|label| label.to_ascii_lowercase()).collect::<Vec<_>>())
}
