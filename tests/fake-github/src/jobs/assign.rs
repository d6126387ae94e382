//! Which runner gets which job. It stands alone because the tests that matter most turn on it: the runner decides, and
//! only labels and scope bind it.

use crate::model::{JobId, JobStatus, Runner, Transition};
use crate::runners::labels_include;
use crate::state::State;

/// Who works on a job.
struct Worker {
    id: u64,
    name: String,
    group_id: u64,
}

impl State {
    /// Gives waiting jobs to idle runners: first the pinned pairs, then the oldest job that fits.
    pub(crate) fn assign(&mut self) {
        let is_idle = |runner: &&Runner| runner.online && runner.job.is_none();
        let mut pairs: Vec<(JobId, u64)> = Vec::new();
        for (job_id, name) in &self.pins {
            let waits = self.jobs.get(job_id).is_some_and(|job| job.status == JobStatus::Queued);
            let runner = self.runners.values().filter(is_idle).find(|runner| runner.name == *name);
            if let (true, Some(runner)) = (waits, runner) {
                pairs.push((*job_id, runner.id));
            }
        }
        if !self.knobs.hold_assignment {
            let is_reserved = |name: &String| self.pins.values().any(|pinned| pinned == name);
            let mut idle: Vec<_> =
                self.runners.values().filter(is_idle).filter(|runner| !is_reserved(&runner.name)).collect();
            for job_id in self.queued.values() {
                if idle.is_empty() {
                    break;
                }
                let job = &self.jobs[job_id];
                let fits = |runner: &&Runner| {
                    labels_include(&runner.labels, &job.labels) && self.contains(&runner.scope, &job.repo)
                };
                if let (false, Some(found)) = (self.pins.contains_key(job_id), idle.iter().position(fits)) {
                    pairs.push((*job_id, idle.remove(found).id));
                }
            }
        }
        for (job_id, runner_id) in pairs {
            self.pins.remove(&job_id);
            self.start_on_runner(job_id, runner_id);
        }
    }

    fn start_on_runner(&mut self, job_id: JobId, runner_id: u64) {
        let Some(runner) = self.runners.get_mut(&runner_id) else { return };
        runner.job = Some(job_id);
        let worker = Worker { id: runner_id, name: runner.name.clone(), group_id: runner.group_id };
        if let Some(registration) = self.registration_mut(runner_id) {
            registration.jobs.push(job_id);
        }
        self.start_job(job_id, worker);
    }

    /// Gives the job to a runner that is not registered here.
    pub(crate) fn start_elsewhere(&mut self, job_id: JobId, runner_name: &str) {
        let id = 7_000_000 + self.next();
        self.start_job(job_id, Worker { id, name: runner_name.to_owned(), group_id: 1 });
    }

    fn start_job(&mut self, job_id: JobId, worker: Worker) {
        let now = self.now();
        let Some(job) = self.jobs.get_mut(&job_id) else { return };
        self.queued.remove(&job.order);
        job.status = JobStatus::InProgress;
        job.started_at = Some(now);
        job.history.push(Transition {
            at: now,
            status: JobStatus::InProgress,
            runner: Some(worker.name.clone()),
        });
        job.runner_id = Some(worker.id);
        job.runner_name = Some(worker.name);
        job.runner_group_id = Some(worker.group_id);
        self.emit_job(job_id, "in_progress");
    }
}
