//! One request to the receiver: what is refused from the head alone, what is checked once the body is there, what is stored.

use std::borrow::Cow;
use std::time::Duration;

use crossbeam_channel::Sender;
use log::error;

use anklet_github::wire::{self, Webhook};
use anklet_http::{Head, Request, Response};
use anklet_plugin_api::job::News;
use anklet_plugin_api::log_context::Context;
use anklet_plugin_api::store::StoreError;

use crate::delivery::{self, Delivery, shown, word};
use crate::form;
use crate::signature::{Claimed, SigningKey};
use crate::store_threads::{Counter, NotStored};
use crate::unsigned::Unsigned;

const RECEIVER: &str = "/jobs/v1/receiver";
const SIGNATURE: &str = "X-Hub-Signature-256";
const EVENT: &str = "X-GitHub-Event";
/// When GitHub, or whoever redelivers by hand, should try again.
const RETRY_AFTER_SECONDS: &str = "10";

/// Answers requests.
pub(crate) struct Desk {
    pub(crate) key: SigningKey,
    pub(crate) store: Counter,
    /// Told when a webhook was refused because the store was away.
    pub(crate) refused: Sender<()>,
    /// How long after the request was complete its answer leaves at the latest.
    pub(crate) store_limit: Duration,
    pub(crate) unsigned: Unsigned,
    /// Threads belong to the server, so each request puts the plugin's name onto its lines.
    pub(crate) context: Context,
}

impl Desk {
    /// Refuses what needs no body to be refused, so that strangers cannot fill the memory with bodies.
    pub(crate) fn admit(&self, head: &Head) -> Result<(), Response> {
        match (head.path(), head.method()) {
            (RECEIVER, "POST") => {}
            (RECEIVER, _) => return Err(Response::text(405, "only POST\n").header("Allow", "POST")),
            ("/healthcheck", "GET" | "HEAD") => return Ok(()),
            ("/healthcheck", _) => return Err(Response::text(405, "only GET\n").header("Allow", "GET, HEAD")),
            ("/jobs", _) => return Err(Response::text(501, format!("please use {RECEIVER}\n"))),
            _ => return Err(Response::text(404, format!("webhooks go to {RECEIVER}\n"))),
        }
        if content_type(head).is_none() {
            let text = "the content type must be application/json or application/x-www-form-urlencoded\n";
            return Err(Response::text(415, text));
        }
        let why = match head.header(SIGNATURE) {
            None => {
                "the header X-Hub-Signature-256 is missing: the webhook has no secret, or this is not GitHub"
            }
            Some(text) if Claimed::read(text).is_none() => "X-Hub-Signature-256 is not as GitHub writes it",
            Some(_) => return Ok(()),
        };
        let _context = self.context.enter();
        Err(self.unsigned.refuse(head, why))
    }

    /// Answers a request that was admitted.
    pub(crate) fn answer(&self, request: &Request) -> Response {
        if request.path() == "/healthcheck" {
            return Response::text(200, "ok");
        }
        let _context = self.context.enter();
        let head = request.head();
        let claimed = head.header(SIGNATURE).and_then(Claimed::read);
        if !claimed.is_some_and(|claimed| self.key.is_valid(request.body(), &claimed)) {
            return self
                .unsigned
                .refuse(head, "the signature does not fit the body: is `secret` that of the webhook?");
        }
        match head.header(EVENT) {
            Some("workflow_job") => self.workflow_job(request),
            Some("ping") => Response::text(200, "pong\n"),
            Some(_) => Response::text(200, "ignored: not a workflow_job\n"),
            None => invalid(head, "the header `X-GitHub-Event` is missing"),
        }
    }

    fn workflow_job(&self, request: &Request) -> Response {
        let json = match content_type(request.head()) {
            Some(ContentType::Form) => match form::payload(request.body()) {
                Some(payload) => Cow::Owned(payload),
                None => return invalid(request.head(), "the form has no field `payload`"),
            },
            Some(ContentType::Json) | None => Cow::Borrowed(request.body()),
        };
        let read = wire::webhook(&json);
        // Waiting for the store is no time to hold a second copy of the body.
        drop(json);
        match read {
            Ok(Webhook::News(news)) => self.store(request, *news),
            Ok(Webhook::Ignored(why)) => Response::text(200, format!("ignored: {why}\n")),
            Err(error) => invalid(request.head(), &error.to_string()),
        }
    }

    /// Stores first, answers then.
    fn store(&self, request: &Request, news: News) -> Response {
        let (head, job) = (request.head(), news.job.id);
        let delivery = Delivery { id: delivery::id(head).to_owned(), news };
        delivery.tell_received();
        let not_stored = match self.store.take_in(delivery, request.complete_at() + self.store_limit) {
            Ok(noted) => return Response::text(200, format!("{}\n", word(noted))),
            Err(not_stored) => not_stored,
        };
        // A full channel says it already.
        let _ = self.refused.try_send(());
        let message = match &not_stored {
            NotStored::Refused(StoreError::Away { .. }) | NotStored::TooSlow => "unable to access database",
            NotStored::Refused(StoreError::Lost | StoreError::Broken { .. }) | NotStored::Panicked => {
                "webhook not stored"
            }
        };
        error!(deliveryID = delivery::id(head), workflowJobID = job.0, error:% = not_stored; "{message}");
        Response::text(503, "the job could not be stored now; please deliver again\n")
            .header("Retry-After", RETRY_AFTER_SECONDS)
    }
}

enum ContentType {
    Json,
    Form,
}

fn content_type(head: &Head) -> Option<ContentType> {
    let full = head.header("Content-Type")?;
    let kind = full.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        Some(ContentType::Json)
    } else if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Some(ContentType::Form)
    } else {
        None
    }
}

/// The text may quote the body, so it is cut.
fn invalid(head: &Head, why: &str) -> Response {
    let why = shown(why);
    error!(deliveryID = delivery::id(head), error = why; "error validating payload");
    Response::text(400, format!("{why}\n"))
}
