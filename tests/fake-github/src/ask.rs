//! What a test asks: the world as it is, as it was, and waiting for what is to come. It stands alone as the part of
//! the API that changes nothing. Every wait sleeps until the world changes; none polls.

use std::fmt::Write;
use std::time::Duration;

use crate::FakeGitHub;
use crate::model::{Delivery, Job, JobId, JobStatus, Registration, RequestRecord, Run, RunId, Runner};
use crate::rules::path_matches;
use crate::runners::labels_include;
use crate::scope::Scope;
use crate::state::State;

impl FakeGitHub {
    /// Reads anything. The world stands still meanwhile, so be quick.
    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.shared.look(look)
    }

    /// The job. Panics if there is none.
    #[track_caller]
    pub fn job(&self, id: JobId) -> Job {
        self.look(|state| state.jobs.get(&id).cloned()).unwrap_or_else(|| panic!("no job {id}"))
    }

    /// All jobs, oldest first.
    pub fn jobs(&self) -> Vec<Job> {
        let mut jobs: Vec<Job> = self.look(|state| state.jobs.values().cloned().collect());
        jobs.sort_by_key(|job| job.order);
        jobs
    }

    /// The run. Panics if there is none.
    #[track_caller]
    pub fn run(&self, id: RunId) -> Run {
        self.look(|state| state.runs.get(&id).cloned()).unwrap_or_else(|| panic!("no run {id}"))
    }

    /// The runners registered now in a scope, whatever the list's lag.
    pub fn runners(&self, scope: &str) -> Vec<Runner> {
        let scope = Scope::from(scope);
        self.look(|state| state.runners.values().filter(|runner| runner.scope == scope).cloned().collect())
    }

    /// Every registration there was, oldest first.
    pub fn registrations(&self) -> Vec<Registration> {
        self.look(|state| state.registrations.clone())
    }

    /// The registrations that could have run this job: scope and labels fit.
    #[track_caller]
    pub fn registrations_for(&self, id: JobId) -> Vec<Registration> {
        let job = self.job(id);
        self.look(|state| {
            let fits = |it: &&Registration| {
                labels_include(&it.labels, &job.labels) && state.contains(&it.scope, &job.repo)
            };
            state.registrations.iter().filter(fits).cloned().collect()
        })
    }

    /// All REST requests, oldest first.
    pub fn requests(&self) -> Vec<RequestRecord> {
        let is_rest = |request: &&RequestRecord| !request.path.starts_with("/_fake/");
        self.look(|state| state.requests.iter().filter(is_rest).cloned().collect())
    }

    /// The requests of this method (`*` for any) and path, in the patterns of [`Rule::on`](crate::Rule::on).
    pub fn requests_to(&self, method: &str, pattern: &str) -> Vec<RequestRecord> {
        let fits = |request: &&RequestRecord| {
            (method == "*" || request.method == method) && path_matches(pattern, request.path_only())
        };
        self.look(|state| state.requests.iter().filter(fits).cloned().collect())
    }

    /// What was wrong with requests, one line each.
    pub fn violations(&self) -> Vec<String> {
        self.look(|state| state.violations.iter().map(|violation| violation.text.clone()).collect())
    }

    /// Every attempt to deliver a webhook, oldest first.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.look(|state| state.deliveries.clone())
    }

    /// The attempts to deliver this job's webhooks of an action.
    pub fn deliveries_of(&self, job: JobId, action: &str) -> Vec<Delivery> {
        let fits = |it: &&Delivery| it.job_id == Some(job) && it.action.as_deref() == Some(action);
        self.look(|state| state.deliveries.iter().filter(fits).cloned().collect())
    }

    /// Waits until the world is so; false if it was not within `limit`.
    #[must_use]
    pub fn wait_for(&self, mut is_so: impl FnMut(&State) -> bool, limit: Duration) -> bool {
        self.wait_some(|state| is_so(state).then_some(()), limit).is_some()
    }

    /// Waits until something is found in the world; `None` if it was not within `limit`.
    #[must_use]
    pub fn wait_some<T>(&self, probe: impl FnMut(&State) -> Option<T>, limit: Duration) -> Option<T> {
        self.shared.wait(limit, probe)
    }

    /// Waits until the job is so and returns it. Panics, with what happened so far, if it was not within `limit`.
    #[track_caller]
    pub fn wait_job(&self, id: JobId, is_so: impl Fn(&Job) -> bool, limit: Duration) -> Job {
        let found = self.wait_some(|state| state.jobs.get(&id).filter(|job| is_so(job)).cloned(), limit);
        found.unwrap_or_else(|| panic!("job {id} did not come that far within {limit:?}\n{}", self.story()))
    }

    /// Waits until the job has ended and returns it.
    #[track_caller]
    pub fn wait_completed(&self, id: JobId, limit: Duration) -> Job {
        self.wait_job(id, Job::is_completed, limit)
    }

    /// Waits until the job is on a runner and returns it.
    #[track_caller]
    pub fn wait_in_progress(&self, id: JobId, limit: Duration) -> Job {
        self.wait_job(id, |job| job.status == JobStatus::InProgress, limit)
    }

    /// Waits until so many requests of this kind have come in; true if they did within `limit`.
    #[must_use]
    pub fn wait_requests(&self, method: &str, pattern: &str, n_wanted: usize, limit: Duration) -> bool {
        let fits = |request: &&RequestRecord| {
            (method == "*" || request.method == method) && path_matches(pattern, request.path_only())
        };
        self.wait_for(|state| state.requests.iter().filter(fits).count() >= n_wanted, limit)
    }

    /// Waits until no webhook is queued or on its way, held ones excepted; true if so within `limit`.
    #[must_use]
    pub fn wait_webhooks_sent(&self, limit: Duration) -> bool {
        let is_quiet = |state: &State| {
            state.hooks.values().all(|hook| {
                let is_held = |rule: &u64| !state.released.contains(rule);
                !hook.is_sending && hook.queue.iter().all(|item| item.held_by.as_ref().is_some_and(is_held))
            })
        };
        self.wait_for(is_quiet, limit)
    }

    /// Jobs, registrations, requests, deliveries and violations as text, for the message of a failed test.
    pub fn story(&self) -> String {
        self.look(|state| {
            let mut text = String::new();
            for job in state.jobs.values() {
                let steps: Vec<String> = job
                    .history
                    .iter()
                    .map(|step| {
                        let on = step.runner.as_deref().unwrap_or("-");
                        format!("{} {} on {on}", step.at.rfc3339_ms(), step.status.as_str())
                    })
                    .collect();
                let _ = writeln!(text, "job {} {:?}: {}", job.id, job.labels, steps.join("; "));
            }
            for it in &state.registrations {
                let end = it.ended.map(|(at, end)| format!("{end:?} {}", at.rfc3339_ms()));
                let _ = writeln!(
                    text,
                    "runner {} at {}: {:?}, {end:?}",
                    it.runner_name,
                    it.at.rfc3339_ms(),
                    it.jobs
                );
            }
            for request in state.requests.iter().rev().take(40).rev() {
                let at = request.at.rfc3339_ms();
                let _ = writeln!(text, "{at} {} {} {:?}", request.method, request.path, request.end);
            }
            for it in state.deliveries.iter().rev().take(20).rev() {
                let at = it.delivered_at.rfc3339_ms();
                let _ = writeln!(text, "{at} {} {:?} {:?} {}", it.event, it.action, it.job_id, it.status);
            }
            for violation in &state.violations {
                let _ = writeln!(text, "VIOLATION {}", violation.text);
            }
            text
        })
    }
}
