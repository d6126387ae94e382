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

/// A webhook whose deliveries GitHub keeps in a log.
#[derive(Clone, Debug)]
pub enum Hook {
    /// One of a repository or an organization. Those of enterprises have no such log.
    OfScope {
        /// Whose it is.
        scope: Scope,
        /// Its number.
        id: u64,
    },
    /// The GitHub App's own, which gets the events of all accounts that it is installed on.
    OfApp,
}

/// What the calls about one kind of hook are called.
struct Names {
    list: CallName,
    read: CallName,
    send_again: CallName,
}

const OF_SCOPE: Names = Names {
    list: CallName { method: "GET", path: "/{scope}/hooks/{id}/deliveries" },
    read: CallName { method: "GET", path: "/{scope}/hooks/{id}/deliveries/{delivery}" },
    send_again: CallName { method: "POST", path: "/{scope}/hooks/{id}/deliveries/{delivery}/attempts" },
};

const OF_APP: Names = Names {
    list: CallName { method: "GET", path: "/app/hook/deliveries" },
    read: CallName { method: "GET", path: "/app/hook/deliveries/{delivery}" },
    send_again: CallName { method: "POST", path: "/app/hook/deliveries/{delivery}/attempts" },
};

impl Hook {
    fn names(&self) -> &'static Names {
        match self {
            Self::OfScope { .. } => &OF_SCOPE,
            Self::OfApp => &OF_APP,
        }
    }

    fn subject(&self) -> Subject<'_> {
        match self {
            Self::OfScope { scope, .. } => Subject::Runners(scope),
            Self::OfApp => Subject::App,
        }
    }

    fn call(&self, name: CallName, below: &str) -> Call<'_> {
        let hook = match self {
            Self::OfScope { scope, id } => format!("{}/hooks/{id}", scope_path(scope)),
            Self::OfApp => "/app/hook".to_owned(),
        };
        Call::new(name, format!("{hook}/deliveries{below}"), self.subject())
    }
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
    /// How many calls an hour GitHub allows about this hook, as far as it has said it.
    pub fn hourly_limit_of_hook(&self, hook: &Hook) -> Option<u64> {
        self.credentials.ledger(hook.subject()).standing("core").map(|standing| standing.limit)
    }

    /// A page of the log: the newest, or the one that an earlier page named as its next.
    pub fn deliveries(
        &self,
        hook: &Hook,
        page: Option<&str>,
        ear: &Ear,
    ) -> Result<DeliveryPage, ClientError> {
        let mut call = hook.call(hook.names().list, "?per_page=100");
        // Older pages are read once.
        call.is_polled = page.is_none();
        if let Some(page) = page {
            let nonsense = |what| ClientError::Nonsense { call: hook.names().list, what };
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
        let answer = match self.call(&hook.call(hook.names().read, &format!("/{id}")), ear) {
            Err(ClientError::NotFound { .. }) => return Ok(None),
            answer => answer?,
        };
        let written: WrittenDetail = answer.json()?;
        Ok(written.request.payload.0.read().ok())
    }

    /// Asks GitHub to send a delivery again; false if it will not, for instance because the log has forgotten it.
    pub fn redeliver(&self, hook: &Hook, id: u64, ear: &Ear) -> Result<bool, ClientError> {
        let call = hook.call(hook.names().send_again, &format!("/{id}/attempts")).expecting(&[400]);
        match self.call(&call, ear) {
            Ok(answer) => Ok(answer.status.is_success()),
            Err(ClientError::NotFound { .. } | ClientError::Unprocessable { .. }) => Ok(false),
            // What makes no sense is no refusal: something on the way to GitHub may have answered.
            Err(error) => Err(error),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, Step, answer};

    #[test]
    fn only_github_refuses_a_redelivery() {
        let hook = Hook::OfScope { scope: Scope::Organization { owner: "o".into() }, id: 1 };
        let elsewhere = vec![("Location", "https://login.example/".to_owned())];
        let odd = [answer(418, "{}"), Step::Answer(302, elsewhere, Vec::new())];
        let server =
            Server::new([answer(202, "{}"), answer(400, "{}"), answer(422, "{}")].into_iter().chain(odd));
        let client = server.client();
        let ask = || client.redeliver(&hook, 7, &Ear::deaf());
        assert_eq!([ask(), ask(), ask()], [Ok(true), Ok(false), Ok(false)]);
        for _ in 0..2 {
            let answer = ask();
            assert!(matches!(answer, Err(ClientError::Nonsense { .. })), "{answer:?}");
        }
        assert_eq!(server.asked().line, "POST /orgs/o/hooks/1/deliveries/7/attempts HTTP/1.1");
    }
}
