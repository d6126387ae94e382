//! Webhooks: who gets which event, in which order, and what a test wants to go wrong with it. It stands alone
//! because a hook's queue outlives the change that filled it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::model::{Delivery, HookId, HookTarget, JobId};
use crate::payload;
use crate::rules::RuleId;
use crate::scope::Scope;
use crate::state::{State, random_hex};

pub(crate) mod send;
mod treat;

pub(crate) use treat::ActiveWebhookRule;
pub use treat::WebhookRule;

/// A webhook and what waits to be sent to it.
pub(crate) struct Hook {
    pub(crate) id: HookId,
    pub(crate) target: HookTarget,
    pub(crate) url: String,
    pub(crate) secret: Option<String>,
    pub(crate) is_form: bool,
    pub(crate) queue: VecDeque<Outgoing>,
    pub(crate) is_sending: bool,
}

/// How the body is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signature {
    Good,
    Wrong,
    Missing,
}

/// An event on its way to one hook.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) guid: String,
    pub(crate) event: &'static str,
    pub(crate) action: Option<String>,
    pub(crate) job_id: Option<JobId>,
    pub(crate) repository_id: Option<u64>,
    pub(crate) installation_id: Option<u64>,
    pub(crate) payload: Arc<Vec<u8>>,
    pub(crate) redelivery: bool,
    pub(crate) signature: Signature,
    /// Nothing is sent; the log says this failed.
    pub(crate) failure: Option<String>,
    pub(crate) not_before: Option<Instant>,
    /// How many others of this hook go first.
    pub(crate) n_first: usize,
    pub(crate) held_by: Option<RuleId>,
}

impl State {
    /// Queues a `workflow_job` event for every hook that sees the job's repository.
    pub(crate) fn emit_job(&mut self, job_id: JobId, action: &str) {
        let Some(job) = self.jobs.get(&job_id) else { return };
        let guid = new_guid();
        let repository_id = self.repo(&job.repo).map(|repo| repo.id);
        let mut outgoing = Vec::new();
        let mut plain = None;
        for hook in self.hooks.values() {
            let installation_id = match &hook.target {
                HookTarget::Scope(scope) if self.contains(scope, &job.repo) => None,
                HookTarget::App(app_id) => match self.credentials.installation_of(Some(*app_id), &job.repo) {
                    Some(installation) => Some(installation.id),
                    None => continue,
                },
                HookTarget::Scope(_) => continue,
            };
            let body = || {
                Arc::new(payload::workflow_job(self, job, action, installation_id).to_string().into_bytes())
            };
            let payload = match installation_id {
                None => plain.get_or_insert_with(body).clone(),
                Some(_) => body(),
            };
            let action = Some(action.to_owned());
            outgoing.push((
                hook.id,
                Outgoing {
                    job_id: Some(job_id),
                    repository_id,
                    installation_id,
                    action,
                    ..Outgoing::new(guid.clone(), "workflow_job", payload)
                },
            ));
        }
        for (hook_id, item) in outgoing {
            self.enqueue(hook_id, item);
        }
    }

    /// Queues the `ping` that GitHub sends when a hook is made.
    pub(crate) fn emit_ping(&mut self, hook_id: HookId) {
        let Some(hook) = self.hooks.get(&hook_id) else { return };
        let mut body = json!({
            "zen": "Queues are quiet when nobody waits.", "hook_id": hook_id, "hook": self.hook_json(hook),
            "sender": payload::account(self, "octo-dev"),
        });
        match &hook.target {
            HookTarget::Scope(scope @ Scope::Repository { .. }) => {
                body["repository"] = payload::repository(self, scope);
            }
            HookTarget::Scope(Scope::Organization { org }) => {
                body["organization"] = payload::organization(self, org).unwrap_or_default();
            }
            HookTarget::Scope(Scope::Enterprise { slug }) => {
                body["enterprise"] = payload::enterprise(self, slug)
            }
            HookTarget::App(_) => {}
        }
        self.enqueue(hook_id, Outgoing::new(new_guid(), "ping", Arc::new(body.to_string().into_bytes())));
    }

    /// A hook in the hooks API and in `ping`.
    pub(crate) fn hook_json(&self, hook: &Hook) -> Value {
        let (kind, path) = match &hook.target {
            HookTarget::Scope(scope @ Scope::Repository { .. }) => ("Repository", scope.rest_path()),
            HookTarget::Scope(scope) => ("Organization", scope.rest_path()),
            HookTarget::App(_) => ("App", "/app".to_owned()),
        };
        let url = format!("{}{path}/hooks/{}", payload::api(self), hook.id);
        let last = self.deliveries.iter().rev().find(|delivery| delivery.hook_id == hook.id);
        json!({
            "type": kind, "id": hook.id, "name": "web", "active": true, "events": ["workflow_job"], "url": url,
            "config": {
                "content_type": if hook.is_form { "form" } else { "json" }, "insecure_ssl": "0", "url": hook.url,
            },
            "created_at": "2025-01-02T03:04:05Z", "updated_at": "2025-01-02T03:04:05Z",
            "test_url": format!("{url}/test"), "ping_url": format!("{url}/pings"),
            "deliveries_url": format!("{url}/deliveries"),
            "last_response": {
                "code": last.map(|last| last.status_code), "message": last.map(|last| &last.status),
                "status": match last { None => "unused", Some(last) if last.is_ok() => "active", _ => "error" },
            },
        })
    }

    /// Queues a delivery again, as the attempts API does: same event, new entry in the log.
    pub(crate) fn redeliver(&mut self, delivery: &Delivery) {
        let event = if delivery.event == "ping" { "ping" } else { "workflow_job" };
        let item = Outgoing {
            action: delivery.action.clone(),
            job_id: delivery.job_id,
            repository_id: delivery.repository_id,
            installation_id: delivery.installation_id,
            redelivery: true,
            ..Outgoing::new(delivery.guid.clone(), event, delivery.payload.clone())
        };
        self.enqueue(delivery.hook_id, item);
    }

    fn enqueue(&mut self, hook_id: HookId, item: Outgoing) {
        let items = treat::treat(&mut self.webhook_rules, hook_id, item);
        if let Some(hook) = self.hooks.get_mut(&hook_id) {
            hook.queue.extend(items);
        }
    }

    /// Takes what the hook's sender should send now, or says when to look again.
    pub(crate) fn take_outgoing(&mut self, hook_id: HookId) -> Result<Outgoing, Option<Instant>> {
        if self.knobs.hold_webhooks {
            return Err(None);
        }
        let released = &self.released;
        let hook = self.hooks.get_mut(&hook_id).ok_or(None)?;
        let now = Instant::now();
        let is_ready = |item: &Outgoing| {
            item.n_first == 0
                && item.not_before.is_none_or(|at| at <= now)
                && item.held_by.is_none_or(|rule| released.contains(&rule))
        };
        let Some(index) = hook.queue.iter().position(is_ready) else {
            return Err(hook.queue.iter().filter_map(|item| item.not_before).filter(|at| *at > now).min());
        };
        let item = hook.queue.remove(index).ok_or(None)?;
        for other in hook.queue.iter_mut().take(index) {
            other.n_first = other.n_first.saturating_sub(1);
        }
        hook.is_sending = true;
        Ok(item)
    }
}

impl Outgoing {
    fn new(guid: String, event: &'static str, payload: Arc<Vec<u8>>) -> Outgoing {
        Outgoing {
            guid,
            event,
            action: None,
            job_id: None,
            repository_id: None,
            installation_id: None,
            payload,
            redelivery: false,
            signature: Signature::Good,
            failure: None,
            not_before: None,
            n_first: 0,
            held_by: None,
        }
    }

    fn delayed(mut self, delay: Duration) -> Outgoing {
        self.not_before = Some(Instant::now() + delay);
        self
    }
}

fn new_guid() -> String {
    let hex = random_hex(16);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
