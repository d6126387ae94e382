//! Calls about webhooks that GitHub has sent: its log of deliveries, what one of them held, and sending it again.

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::time::Moment;
use serde::Deserialize;

use crate::address::scope_path;
use crate::client::{Call, Client, Target};
use crate::credentials::Subject;
use crate::error::{CallName, ClientError};
use crate::field::Object;
use crate::paging::next_link;
use crate::wire::{Webhook, WrittenWebhook};

const LIST: CallName = CallName { method: "GET", path: "/{scope}/hooks/{id}/deliveries" };
const READ: CallName = CallName { method: "GET", path: "/{scope}/hooks/{id}/deliveries/{delivery}" };
const SEND_AGAIN: CallName =
    CallName { method: "POST", path: "/{scope}/hooks/{id}/deliveries/{delivery}/attempts" };

/// A webhook of a repository or an organization.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Whose it is. Enterprises have no such log.
    pub scope: Scope,
    /// Its number.
    pub id: u64,
}

/// One try to deliver an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The try.
    pub id: u64,
    /// The event: each try to deliver it has the same.
    pub guid: String,
    /// When it was sent, by GitHub's clock.
    pub delivered_at: Moment,
    /// Whether the receiver said that it is well.
    pub is_ok: bool,
    /// Whether it is about a job.
    pub is_job: bool,
    /// What happened to that job, in GitHub's word.
    pub action: String,
    /// Whether it was asked for, and not the first try.
    pub is_redelivery: bool,
}

/// A page of the log, newest first.
#[derive(Clone, Debug)]
pub struct DeliveryPage {
    /// What it lists.
    pub deliveries: Vec<Delivery>,
    /// Where the next, older page is.
    pub next: Option<String>,
}

impl Client {
    /// A page of the log: the newest, or the one that an earlier page named as its next.
    pub fn deliveries(
        &self,
        hook: &Hook,
        page: Option<&str>,
        ear: &Ear,
    ) -> Result<DeliveryPage, ClientError> {
        let mut call = hook_call(LIST, hook, "?per_page=100");
        // Older pages are read once.
        call.is_polled = page.is_none();
        if let Some(page) = page {
            let nonsense = |what| ClientError::Nonsense { call: LIST, what };
            call.target = Target::Url(self.base().follow(page).map_err(nonsense)?);
        }
        let answer = self.call(&call, ear)?;
        let written: Vec<WrittenDelivery> = answer.json()?;
        let deliveries = written.into_iter().filter_map(WrittenDelivery::checked).collect();
        Ok(DeliveryPage {
            deliveries,
            next: answer.header("link").and_then(next_link).map(ToOwned::to_owned),
        })
    }

    /// What a delivery said; none if it is not in the log any more, or cannot be read.
    pub fn delivered(&self, hook: &Hook, id: u64, ear: &Ear) -> Result<Option<Webhook>, ClientError> {
        let answer = match self.call(&hook_call(READ, hook, &format!("/{id}")), ear) {
            Err(ClientError::NotFound { .. }) => return Ok(None),
            answer => answer?,
        };
        let written: WrittenDetail = answer.json()?;
        Ok(written.request.payload.0.read().ok())
    }

    /// Asks GitHub to send a delivery again; false if it will not, for instance because the log has forgotten it.
    pub fn redeliver(&self, hook: &Hook, id: u64, ear: &Ear) -> Result<bool, ClientError> {
        match self.call(&hook_call(SEND_AGAIN, hook, &format!("/{id}/attempts")), ear) {
            Ok(_) => Ok(true),
            Err(
                ClientError::NotFound { .. }
                | ClientError::Unprocessable { .. }
                | ClientError::Nonsense { .. },
            ) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn hook_call<'a>(name: CallName, hook: &'a Hook, below: &str) -> Call<'a> {
    let target = Target::Path(format!("{}/hooks/{}/deliveries{below}", scope_path(&hook.scope), hook.id));
    Call {
        name,
        target,
        subject: Subject::Runners(&hook.scope),
        body: None,
        expected: &[],
        is_polled: false,
        is_dispensable: false,
    }
}

#[derive(Deserialize)]
struct WrittenDelivery {
    id: u64,
    guid: String,
    delivered_at: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    status_code: u16,
    #[serde(default)]
    event: String,
    action: Option<String>,
    #[serde(default)]
    redelivery: bool,
}

impl WrittenDelivery {
    fn checked(self) -> Option<Delivery> {
        Some(Delivery {
            id: self.id,
            delivered_at: Moment::parse_rfc3339(&self.delivered_at)?,
            guid: self.guid,
            // Failures without an answer have a text for a status, and any code.
            is_ok: self.status.eq_ignore_ascii_case("ok") || (200..300).contains(&self.status_code),
            is_job: self.event == "workflow_job",
            action: self.action.unwrap_or_default(),
            is_redelivery: self.redelivery,
        })
    }
}

#[derive(Deserialize)]
struct WrittenDetail {
    request: WrittenRequest,
}

#[derive(Deserialize)]
struct WrittenRequest {
    payload: Object<WrittenWebhook>,
}
