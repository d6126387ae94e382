//! The life of runs and jobs. It stands alone because these rules are GitHub's,
//! whoever asks: a webhook test, the REST API or a runner.

use crate::clock::At;
use crate::model::{Job, JobId, JobSpec, JobStatus, Run, RunId, Transition};
use crate::scope::Scope;
use crate::state::{State, Timed};

mod assign;

/// Why a cancel call is refused with 409.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CancelRefusal {
    Completed,
    NotQueuedYet,
}

impl State {
    /// Creates a job and sends its `queued` (or `waiting`) webhook.
    pub(crate) fn create_job(&mut self, spec: JobSpec) -> Result<JobId, String> {
        if !self.repos.contains_key(&spec.repo) {
            return Err(format!("no repository `{}`", spec.repo));
        }
        let id = spec.id.unwrap_or_else(|| self.next_large_id());
        let run_id = spec.run_id.unwrap_or_else(|| self.next_large_id());
        if self.jobs.contains_key(&id) {
            return Err(format!("job {id} exists"));
        }
        let now = self.now();
        let created_at = At { unix_ms: now.unix_ms - spec.age.as_millis() as i64, ..now };
        let number = self.runs.len() as u64 + 1;
        let run = self.runs.entry(run_id).or_insert_with(|| Run {
            id: run_id,
            number,
            repo: spec.repo.clone(),
            name: spec.workflow_name,
            head_branch: "main".to_owned(),
            head_sha: format!("{run_id:040x}"),
            jobs: Vec::new(),
            attempt: 1,
            created_at,
            stuck: false,
            deaf: false,
        });
        if run.repo != spec.repo {
            return Err(format!("run {run_id} belongs to `{}`", run.repo));
        }
        run.jobs.push(id);
        let run_attempt = run.attempt;
        let order = self.next();
        let job = Job {
            id,
            run_id,
            run_attempt,
            repo: spec.repo,
            name: spec.name,
            labels: spec.labels,
            status: spec.status,
            conclusion: None,
            runner_id: None,
            runner_name: None,
            created_at,
            started_at: None,
            completed_at: None,
            steps_ms: spec.steps_ms,
            planned_conclusion: spec.conclusion,
            history: vec![Transition { at: now, status: spec.status, runner: None }],
            runner_group_id: None,
            style: spec.style,
            order,
        };
        self.jobs.insert(id, job);
        if spec.status == JobStatus::Queued {
            self.queued.insert(order, id);
        }
        if !spec.silent && matches!(spec.status, JobStatus::Queued | JobStatus::Waiting) {
            self.emit_job(id, spec.status.as_str());
        }
        self.assign();
        Ok(id)
    }

    /// Runs an ended job once more: a new job of the same run, one attempt later.
    pub(crate) fn rerun_job(&mut self, id: JobId) -> Result<JobId, String> {
        let job =
            self.jobs.get(&id).filter(|job| job.is_completed()).ok_or(format!("job {id} has not ended"))?;
        let spec = JobSpec {
            steps_ms: job.steps_ms,
            conclusion: job.planned_conclusion.clone(),
            name: job.name.clone(),
            labels: job.labels.clone(),
            style: job.style,
            run_id: Some(job.run_id),
            ..JobSpec::new(&job.repo.to_string(), &[])
        };
        let attempt = job.run_attempt + 1;
        if let Some(run) = self.runs.get_mut(&job.run_id) {
            run.attempt = run.attempt.max(attempt);
        }
        self.create_job(spec)
    }

    /// Ends a job, frees its runner and sends `completed`; false if it had ended before.
    pub(crate) fn complete_job(&mut self, job_id: JobId, conclusion: &str) -> bool {
        let now = self.now();
        let Some(job) = self.jobs.get_mut(&job_id).filter(|job| !job.is_completed()) else { return false };
        self.queued.remove(&job.order);
        self.pins.remove(&job_id);
        job.status = JobStatus::Completed;
        job.conclusion = Some(conclusion.to_owned());
        job.completed_at = Some(now);
        let runner = job.runner_name.clone();
        job.history.push(Transition { at: now, status: JobStatus::Completed, runner });
        let runner_id = job.runner_id;
        self.free_runner(runner_id, job_id);
        self.emit_job(job_id, "completed");
        self.assign();
        true
    }

    /// Puts a job into a status without a runner, in silence, as GitHub does with a job no runner took up.
    pub(crate) fn set_job_status(&mut self, job_id: JobId, status: JobStatus) {
        let now = self.now();
        let Some(job) = self.jobs.get_mut(&job_id) else { return };
        let runner_id = job.runner_id.take();
        job.runner_name = None;
        job.runner_group_id = None;
        job.started_at = None;
        job.status = status;
        job.history.push(Transition { at: now, status, runner: None });
        self.queued.remove(&job.order);
        if status == JobStatus::Queued {
            self.queued.insert(job.order, job_id);
        }
        if let Some(runner) = runner_id.and_then(|id| self.runners.get_mut(&id)) {
            runner.job = None;
        }
    }

    /// Starts to cancel a run: what waits ends at once, what runs after `cancel_delay`.
    pub(crate) fn cancel_run(&mut self, run_id: RunId, force: bool) -> Result<(), CancelRefusal> {
        let Some(run) = self.runs.get(&run_id) else { return Err(CancelRefusal::Completed) };
        let open: Vec<_> = run.jobs.iter().copied().filter(|id| !self.jobs[id].is_completed()).collect();
        if run.stuck {
            return Err(CancelRefusal::NotQueuedYet);
        }
        if open.is_empty() {
            return Err(CancelRefusal::Completed);
        }
        if run.deaf && !force {
            return Ok(());
        }
        let (running, waiting): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|id| self.jobs[id].status == JobStatus::InProgress);
        for id in waiting {
            self.complete_job(id, "cancelled");
        }
        if !running.is_empty() {
            self.schedule(self.knobs.cancel_delay, Timed::EndCancelledJobs(run_id));
        }
        Ok(())
    }

    pub(crate) fn end_cancelled_jobs(&mut self, run_id: RunId) {
        for id in self.runs.get(&run_id).map(|run| run.jobs.clone()).unwrap_or_default() {
            self.complete_job(id, "cancelled");
        }
    }

    /// The jobs of a run's latest attempt: of each name the last.
    pub(crate) fn latest_jobs<'a>(&'a self, run: &'a Run) -> impl Iterator<Item = &'a Job> {
        let jobs = || run.jobs.iter().filter_map(|id| self.jobs.get(id));
        jobs().filter(move |job| {
            !jobs().any(|other| other.name == job.name && other.run_attempt > job.run_attempt)
        })
    }

    /// Status and conclusion of a run, from its latest jobs.
    pub(crate) fn run_status(&self, run: &Run) -> (JobStatus, Option<&'static str>) {
        let has = |status| self.latest_jobs(run).any(|job| job.status == status);
        let ended = |word: &str| self.latest_jobs(run).any(|job| job.conclusion.as_deref() == Some(word));
        use JobStatus::{InProgress, Pending, Queued, Requested, Waiting};
        if let Some(status) = [InProgress, Queued, Waiting, Pending, Requested].into_iter().find(|s| has(*s))
        {
            return (status, None);
        }
        let word =
            ["failure", "cancelled", "timed_out", "action_required"].into_iter().find(|word| ended(word));
        (JobStatus::Completed, Some(word.unwrap_or("success")))
    }

    /// The run, if it belongs to `repo`.
    pub(crate) fn run_of(&self, repo: &Scope, run_id: RunId) -> Option<&Run> {
        self.runs.get(&run_id).filter(|run| run.repo == *repo)
    }
}
