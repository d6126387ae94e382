//! What a test calls during the action: jobs come, are given out and end; things go wrong. It stands alone as the
//! part of the API that changes the world.

use crate::FakeGitHub;
use crate::model::{HookId, JobId, JobSpec, JobStatus, RegisteredBy, RunId};
use crate::rules::{ActiveRule, Rule, RuleId};
use crate::runners::NewRunner;
use crate::scope::Scope;
use crate::webhook::{ActiveWebhookRule, WebhookRule};

impl FakeGitHub {
    /// Creates a job, which is queued with its webhook unless the spec says otherwise. Panics if its repository is
    /// unknown or its id is taken.
    #[track_caller]
    pub fn create_job(&self, spec: JobSpec) -> JobId {
        self.shared.change(|state| state.create_job(spec)).unwrap()
    }

    /// Re-runs an ended job: a new job of the same run with `run_attempt + 1`.
    #[track_caller]
    pub fn rerun_job(&self, job: JobId) -> JobId {
        self.shared.change(|state| state.rerun_job(job)).unwrap()
    }

    /// Cancels a run as its user does: waiting jobs end at once, running ones after `cancel_delay`. False if it had
    /// ended or is stuck.
    pub fn cancel_run(&self, run: RunId) -> bool {
        self.shared.change(|state| state.cancel_run(run, true)).is_ok()
    }

    /// Cancels the run of a job.
    #[track_caller]
    pub fn cancel_run_of(&self, job: JobId) -> bool {
        let run = self.job(job).run_id;
        self.cancel_run(run)
    }

    /// Ends a job with its webhook, whoever works on it. False if it had ended.
    pub fn complete_job(&self, job: JobId, conclusion: &str) -> bool {
        self.shared.change(|state| state.complete_job(job, conclusion))
    }

    /// Puts a job into a status, without runner and without webhook: `Queued` for one that was never taken up.
    pub fn set_job_status(&self, job: JobId, status: JobStatus) {
        self.shared.change(|state| {
            state.set_job_status(job, status);
            state.assign();
        });
    }

    /// Sends the job's current state once more under this action, as GitHub does late or twice.
    pub fn send_job_event(&self, job: JobId, action: &str) {
        self.shared.change(|state| state.emit_job(job, action));
    }

    /// Forgets a job: the API answers 404 from now on.
    pub fn forget_job(&self, job: JobId) {
        self.shared.change(|state| {
            if let Some(job) = state.jobs.remove(&job) {
                state.queued.remove(&job.order);
                state.pins.remove(&job.id);
                if let Some(run) = state.runs.get_mut(&job.run_id) {
                    run.jobs.retain(|id| *id != job.id);
                }
            }
        });
    }

    /// Makes cancel and force-cancel of a run answer 409 `has not been queued yet`.
    pub fn set_run_stuck(&self, run: RunId, stuck: bool) {
        self.shared.change(|state| {
            if let Some(run) = state.runs.get_mut(&run) {
                run.stuck = stuck;
            }
        });
    }

    /// Makes cancel of a run answer 202 and do nothing, so that only force-cancel works.
    pub fn set_run_deaf(&self, run: RunId, deaf: bool) {
        self.shared.change(|state| {
            if let Some(run) = state.runs.get_mut(&run) {
                run.deaf = deaf;
            }
        });
    }

    /// Stops giving jobs to runners, or goes on. [`assign`](Self::assign) works meanwhile.
    pub fn hold_assignment(&self, hold: bool) {
        self.shared.change(|state| {
            state.knobs.hold_assignment = hold;
            state.assign();
        });
    }

    /// Gives the job to the runner of that name, whatever its labels: now, or as soon as it is there and idle.
    /// Neither job nor runner is paired otherwise until then.
    pub fn assign(&self, job: JobId, runner_name: &str) {
        self.shared.change(|state| {
            state.pins.insert(job, runner_name.to_owned());
            state.assign();
        });
    }

    /// Starts the job on a runner that is not registered here; end it with [`complete_job`](Self::complete_job).
    pub fn start_elsewhere(&self, job: JobId, runner_name: &str) {
        self.shared.change(|state| state.start_elsewhere(job, runner_name));
    }

    /// Registers a runner by hand and returns its id. It is offline: nothing listens for it. Panics if the name is
    /// taken.
    #[track_caller]
    pub fn add_runner(&self, scope: &str, name: &str, labels: &[&str]) -> u64 {
        let new = NewRunner {
            scope: Scope::from(scope),
            name: name.to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            group_id: 1,
            ephemeral: true,
            version: None,
            by: RegisteredBy::Test,
        };
        self.shared.change(|state| state.register(new)).expect("the name is free")
    }

    /// Makes a runner that nothing listens for look online, or offline again.
    pub fn set_runner_online(&self, runner_id: u64, online: bool) {
        self.shared.change(|state| {
            if let Some(runner) = state.runners.get_mut(&runner_id) {
                runner.online = online;
            }
            state.assign();
        });
    }

    /// Puts a rule for requests in force. The oldest rule that matches wins.
    pub fn rule(&self, rule: Rule) -> RuleId {
        self.shared.change(|state| {
            let id = state.next();
            state.rules.push(ActiveRule { id, rule, n_hits: 0 });
            id
        })
    }

    /// How many requests the rule has picked.
    pub fn rule_hits(&self, rule: RuleId) -> usize {
        let hits =
            |state: &crate::State| state.rules.iter().find(|it| it.id == rule).map_or(0, |it| it.n_hits);
        self.shared.look(hits)
    }

    /// Lets go what a hanging request rule or a holding webhook rule holds, also in the future.
    pub fn release(&self, rule: RuleId) {
        self.shared.change(|state| state.released.push(rule));
    }

    /// Takes a request rule or webhook rule out of force. What it holds stays held until released.
    pub fn remove_rule(&self, rule: RuleId) {
        self.shared.change(|state| {
            state.rules.retain(|active| active.id != rule);
            state.webhook_rules.retain(|active| active.id != rule);
        });
    }

    /// Puts a rule for webhooks in force. All that match apply, oldest first.
    pub fn webhook_rule(&self, rule: WebhookRule) -> RuleId {
        self.shared.change(|state| {
            let id = state.next();
            state.webhook_rules.push(ActiveWebhookRule { id, rule });
            id
        })
    }

    /// Keeps all webhooks back, in order, or lets them go.
    pub fn hold_webhooks(&self, hold: bool) {
        self.shared.change(|state| state.knobs.hold_webhooks = hold);
    }

    /// Sends `ping` to a hook, as GitHub does when it is made.
    pub fn ping(&self, hook: HookId) {
        self.shared.change(|state| state.emit_ping(hook));
    }

    /// Queues a logged delivery again, as the attempts API does. False if there is none of that id.
    pub fn redeliver(&self, delivery_id: u64) -> bool {
        self.shared.change(|state| {
            let found = state.deliveries.iter().find(|delivery| delivery.id == delivery_id).cloned();
            found.is_some_and(|delivery| {
                state.redeliver(&delivery);
                true
            })
        })
    }
}
