//! What a test wants to go wrong with webhooks. It stands alone beside the queue because each treatment is decided
//! once, when the event is queued.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::model::{HookId, JobId};
use crate::rules::RuleId;
use crate::webhook::{Outgoing, Signature};

/// Changes the body of a webhook.
type Change = Box<dyn FnMut(&mut Value) + Send>;

enum Treatment {
    Delay(Duration),
    Drop,
    Fail(String),
    Duplicate(usize),
    Overtaken(usize),
    Hold,
    WrongSignature,
    NoSignature,
    Change(Change),
}

/// Picks webhooks and says what happens to them. Matches `workflow_job` events of every hook, once, first
/// deliveries only, unless told otherwise. A rule ends with one of the treatments.
pub struct WebhookRule {
    action: String,
    hook: Option<HookId>,
    job: Option<JobId>,
    times: usize,
    redeliveries: bool,
    treatment: Treatment,
}

impl WebhookRule {
    /// Matches events of this action: `queued`, `in_progress`, `completed`, `waiting`; `*` for all.
    pub fn on(action: &str) -> WebhookRule {
        WebhookRule {
            action: action.to_owned(),
            hook: None,
            job: None,
            times: 1,
            redeliveries: false,
            treatment: Treatment::Drop,
        }
    }

    /// Only those of this hook.
    #[must_use]
    pub fn hook(mut self, hook: HookId) -> WebhookRule {
        self.hook = Some(hook);
        self
    }

    /// Only those about this job.
    #[must_use]
    pub fn job(mut self, job: JobId) -> WebhookRule {
        self.job = Some(job);
        self
    }

    /// The first `times` that match.
    #[must_use]
    pub fn times(mut self, times: usize) -> WebhookRule {
        self.times = times;
        self
    }

    /// All that match.
    #[must_use]
    pub fn always(self) -> WebhookRule {
        self.times(usize::MAX)
    }

    /// Redeliveries too.
    #[must_use]
    pub fn with_redeliveries(mut self) -> WebhookRule {
        self.redeliveries = true;
        self
    }

    /// Sends it so much later; others go first meanwhile.
    pub fn delay(self, delay: Duration) -> WebhookRule {
        self.treated(Treatment::Delay(delay))
    }

    /// GitHub never sends it, and its log has nothing to redeliver.
    pub fn drop(self) -> WebhookRule {
        self.treated(Treatment::Drop)
    }

    /// The delivery fails with this text in the log and no status, without reaching the receiver.
    pub fn fail(self, status: &str) -> WebhookRule {
        self.treated(Treatment::Fail(status.to_owned()))
    }

    /// Sends it so many times more, each with the same id.
    pub fn duplicate(self, n_more: usize) -> WebhookRule {
        self.treated(Treatment::Duplicate(n_more))
    }

    /// Sends it only after the next `n` of its hook.
    pub fn overtaken_by(self, n: usize) -> WebhookRule {
        self.treated(Treatment::Overtaken(n))
    }

    /// Sends it when the rule is released.
    pub fn hold(self) -> WebhookRule {
        self.treated(Treatment::Hold)
    }

    /// Signs it with another secret.
    pub fn wrong_signature(self) -> WebhookRule {
        self.treated(Treatment::WrongSignature)
    }

    /// Sends it without a signature.
    pub fn no_signature(self) -> WebhookRule {
        self.treated(Treatment::NoSignature)
    }

    /// Changes its body before it is signed.
    pub fn change(self, change: impl FnMut(&mut Value) + Send + 'static) -> WebhookRule {
        self.treated(Treatment::Change(Box::new(change)))
    }

    fn treated(mut self, treatment: Treatment) -> WebhookRule {
        self.treatment = treatment;
        self
    }

    fn matches(&self, hook_id: HookId, item: &Outgoing) -> bool {
        item.event == "workflow_job"
            && self.times > 0
            && (self.action == "*" || item.action.as_ref() == Some(&self.action))
            && self.hook.is_none_or(|hook| hook == hook_id)
            && (self.job.is_none() || self.job == item.job_id)
            && (self.redeliveries || !item.redelivery)
    }
}

/// A rule in force.
pub(crate) struct ActiveWebhookRule {
    pub(crate) id: RuleId,
    pub(crate) rule: WebhookRule,
}

/// Applies every rule that matches, in the order they were made.
pub(super) fn treat(rules: &mut [ActiveWebhookRule], hook_id: HookId, item: Outgoing) -> Vec<Outgoing> {
    let mut items = vec![item];
    for ActiveWebhookRule { id, rule } in rules {
        if !items.first().is_some_and(|item| rule.matches(hook_id, item)) {
            continue;
        }
        rule.times = rule.times.saturating_sub(usize::from(rule.times != usize::MAX));
        match &mut rule.treatment {
            Treatment::Drop => items.clear(),
            Treatment::Duplicate(n_more) => {
                let more = vec![items[0].clone(); *n_more];
                items.extend(more);
            }
            treatment => {
                items = items.into_iter().map(|item| apply(treatment, *id, item)).collect();
            }
        }
    }
    items
}

fn apply(treatment: &mut Treatment, rule: RuleId, mut item: Outgoing) -> Outgoing {
    match treatment {
        Treatment::Delay(delay) => return item.delayed(*delay),
        Treatment::Fail(status) => item.failure = Some(status.clone()),
        Treatment::Overtaken(n) => item.n_first = *n,
        Treatment::Hold => item.held_by = Some(rule),
        Treatment::WrongSignature => item.signature = Signature::Wrong,
        Treatment::NoSignature => item.signature = Signature::Missing,
        Treatment::Change(change) => {
            let mut body = serde_json::from_slice(&item.payload).unwrap_or_default();
            change(&mut body);
            item.payload = Arc::new(body.to_string().into_bytes());
        }
        Treatment::Drop | Treatment::Duplicate(_) => {}
    }
    item
}
