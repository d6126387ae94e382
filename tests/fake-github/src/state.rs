//! Everything the stand-in remembers, under one lock. It stands alone so that REST, runners, webhooks and tests
//! all see one consistent world.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;

use crate::clock::{At, Clock};
use crate::credential::Credentials;
use crate::encode::hex;
use crate::model::{
    Delivery, HookId, Job, JobId, Registration, RequestRecord, Run, RunId, Runner, Violation,
};
use crate::rules::{ActiveRule, RuleId};
use crate::scope::Scope;
use crate::webhook::{ActiveWebhookRule, Hook};

/// The world as GitHub sees it. Tests get it in [`wait_for`](crate::FakeGitHub::wait_for) and
/// [`look`](crate::FakeGitHub::look).
#[derive(Default)]
pub struct State {
    /// `http://127.0.0.1:PORT`.
    pub origin: String,
    /// Organizations and users by login.
    pub(crate) owners: BTreeMap<String, Owner>,
    pub(crate) repos: BTreeMap<Scope, Repo>,
    pub(crate) enterprises: BTreeMap<String, u64>,
    pub(crate) credentials: Credentials,
    /// All runs.
    pub runs: BTreeMap<RunId, Run>,
    /// All jobs.
    pub jobs: BTreeMap<JobId, Job>,
    /// Jobs that wait for a runner, oldest first.
    pub(crate) queued: BTreeMap<u64, JobId>,
    /// Jobs that only the runner of that name may take.
    pub(crate) pins: BTreeMap<JobId, String>,
    /// Runners registered now.
    pub runners: BTreeMap<u64, Runner>,
    /// Every registration there ever was, oldest first.
    pub registrations: Vec<Registration>,
    pub(crate) runner_tokens: BTreeMap<String, RunnerToken>,
    pub(crate) groups: Vec<Group>,
    pub(crate) hooks: BTreeMap<HookId, Hook>,
    /// Every attempt to deliver a webhook, oldest first.
    pub deliveries: Vec<Delivery>,
    /// The bodies of all check runs created.
    pub check_runs: Vec<Value>,
    /// Every request, also the runners' (`/_fake/…`), oldest first.
    pub requests: Vec<RequestRecord>,
    /// Requests that GitHub would not understand.
    pub violations: Vec<Violation>,
    /// Settings.
    pub knobs: Knobs,
    pub(crate) rules: Vec<ActiveRule>,
    pub(crate) webhook_rules: Vec<ActiveWebhookRule>,
    pub(crate) released: Vec<RuleId>,
    pub(crate) timers: BTreeMap<(Instant, u64), Timed>,
    pub(crate) clock: Clock,
    pub(crate) n_busy_refusals: u64,
    pub(crate) stopping: bool,
    sequence: u64,
}

/// Settings that tests may change at any time.
pub struct Knobs {
    /// No job is given to a runner, except by [`assign`](crate::FakeGitHub::assign).
    pub hold_assignment: bool,
    /// Every other job and run has an id over 2^53. On.
    pub large_ids: bool,
    /// No webhook leaves.
    pub hold_webhooks: bool,
    /// From the answer to a cancel call to the end of running jobs. 20 ms.
    pub cancel_delay: Duration,
    /// From a runner's broken connection to the failure of its job. 200 ms.
    pub lost_runner_grace: Duration,
    /// How long a new runner is missing in the runner list. Zero.
    pub list_lag: Duration,
    /// How long a receiver may take to answer a webhook. 10 s.
    pub delivery_limit: Duration,
    /// Off as on a GitHub server of one's own: no headers, `/rate_limit` answers 404.
    pub rate_limits: bool,
    /// An exhausted budget answers 429 instead of 403.
    pub limit_as_429: bool,
    /// Life of registration and installation tokens. 1 h.
    pub token_life: Duration,
    /// How long a JIT configuration can be used. 5 min.
    pub jit_life: Duration,
    /// The version in the runner downloads list.
    pub runner_version: String,
    /// The bytes of each runner archive; their checksum is in the downloads list.
    pub runner_archive: Vec<u8>,
}

impl Default for Knobs {
    fn default() -> Knobs {
        Knobs {
            hold_assignment: false,
            large_ids: true,
            hold_webhooks: false,
            cancel_delay: Duration::from_millis(20),
            lost_runner_grace: Duration::from_millis(200),
            list_lag: Duration::ZERO,
            delivery_limit: Duration::from_secs(10),
            rate_limits: true,
            limit_as_429: false,
            token_life: Duration::from_secs(3600),
            jit_life: Duration::from_secs(300),
            runner_version: "2.336.0".to_owned(),
            runner_archive: b"stand-in for a runner archive\n".to_vec(),
        }
    }
}

/// An organization or a user.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    pub(crate) id: u64,
    pub(crate) login: String,
    pub(crate) is_user: bool,
    pub(crate) enterprise: Option<String>,
}

/// A repository, with its name as first written.
#[derive(Clone, Debug)]
pub(crate) struct Repo {
    pub(crate) id: u64,
    pub(crate) owner: String,
    pub(crate) name: String,
    pub(crate) private: bool,
}

/// A registration or remove token.
#[derive(Clone, Debug)]
pub(crate) struct RunnerToken {
    pub(crate) scope: Scope,
    pub(crate) expires_at: At,
    pub(crate) removes: bool,
}

/// A runner group beside the default one, which has id 1 and belongs to every scope.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) id: u64,
    pub(crate) scope: Scope,
    pub(crate) name: String,
}

/// What happens by itself after a while.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Timed {
    EndCancelledJobs(RunId),
    LoseRunner { runner_id: u64 },
}

impl State {
    pub(crate) fn new(origin: String) -> State {
        State { origin, ..State::default() }
    }

    /// GitHub's time.
    pub fn now(&self) -> At {
        self.clock.now()
    }

    /// The next of one rising sequence, for ids and order.
    pub(crate) fn next(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// An id over 2^53 and odd every other time, so that a number kept as a double shows.
    pub(crate) fn next_large_id(&mut self) -> u64 {
        let n = self.next();
        if n % 2 == 1 && self.knobs.large_ids { 9_007_199_254_740_993 + 2 * n } else { 31_000_000_000 + n }
    }

    pub(crate) fn schedule(&mut self, after: Duration, timed: Timed) {
        let key = (Instant::now() + after, self.next());
        self.timers.insert(key, timed);
    }

    /// Does what is due and says when something is due next.
    pub(crate) fn run_timers(&mut self) -> Option<Instant> {
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > Instant::now() {
                return Some(entry.key().0);
            }
            match entry.remove() {
                Timed::EndCancelledJobs(run_id) => self.end_cancelled_jobs(run_id),
                Timed::LoseRunner { runner_id } => self.fail_job_of_lost_runner(runner_id),
            }
        }
        None
    }

    pub(crate) fn repo(&self, scope: &Scope) -> Option<&Repo> {
        self.repos.get(scope)
    }

    pub(crate) fn full_name(&self, scope: &Scope) -> String {
        self.repo(scope).map_or_else(|| scope.to_string(), |repo| format!("{}/{}", repo.owner, repo.name))
    }

    pub(crate) fn scope_exists(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Repository { .. } => self.repos.contains_key(scope),
            Scope::Organization { org } => self.owners.get(org).is_some_and(|owner| !owner.is_user),
            Scope::Enterprise { slug } => self.enterprises.contains_key(slug),
        }
    }

    /// Whether runners and hooks of `scope` serve `repo`.
    pub(crate) fn contains(&self, scope: &Scope, repo: &Scope) -> bool {
        let Scope::Repository { owner, .. } = repo else { return false };
        match scope {
            Scope::Repository { .. } => scope == repo,
            Scope::Organization { org } => org == owner && self.scope_exists(scope),
            Scope::Enterprise { slug } => {
                self.owners.get(owner).is_some_and(|owner| owner.enterprise.as_ref() == Some(slug))
            }
        }
    }

    pub(crate) fn group_id(&self, scope: &Scope, name: &str) -> Option<u64> {
        if name.eq_ignore_ascii_case("default") {
            return Some(1);
        }
        let is_it = |group: &&Group| group.scope == *scope && group.name.eq_ignore_ascii_case(name);
        self.groups.iter().find(is_it).map(|group| group.id)
    }

    pub(crate) fn group_name(&self, id: u64) -> String {
        self.groups.iter().find(|group| group.id == id).map_or("Default", |group| &group.name).to_owned()
    }
}

/// Random text for tokens and delivery ids.
pub(crate) fn random_hex(n_bytes: usize) -> String {
    let mut bytes = vec![0; n_bytes];
    SystemRandom::new().fill(&mut bytes).expect("the system has random bytes");
    hex(&bytes)
}
