//! One request to the receiver: what is refused from the head alone, what is checked once the body is there, what is stored.

use std::borrow::Cow;
use std::sync::Arc;

use log::{error, info, warn};

use anklet_github::wire::{self, Webhook, WireError};
use anklet_http::{Head, Request, Response};
use anklet_plugin_api::job::{News, Phase};
use anklet_plugin_api::log_context::Context;
use anklet_plugin_api::store::{Noted, Source, Store};

use crate::form;
use crate::signature::{Claimed, SigningKey};

const RECEIVER: &str = "/jobs/v1/receiver";
const SIGNATURE: &str = "X-Hub-Signature-256";
/// When GitHub, or whoever redelivers by hand, should try again.
const RETRY_AFTER_SECONDS: &str = "10";

/// Answers requests.
pub(crate) struct Desk {
    pub(crate) key: SigningKey,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) context: Context,
}

/// Refuses what needs no body to be refused, so that strangers cannot fill the memory with bodies.
pub(crate) fn admit(head: &Head) -> Result<(), Response> {
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
    if head.header(SIGNATURE).and_then(Claimed::read).is_none() {
        warn!(deliveryID = delivery(head); "webhook without a valid signature refused");
        return Err(unsigned());
    }
    if head.header("X-GitHub-Event").is_none() {
        return Err(Response::text(400, "the header X-GitHub-Event is missing\n"));
    }
    Ok(())
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

fn delivery(head: &Head) -> &str {
    head.header("X-GitHub-Delivery").unwrap_or_default()
}

fn unsigned() -> Response {
    Response::text(401, "the signature does not fit the body and the receiver's secret\n")
}

impl Desk {
    /// Answers a request that [`admit`] let pass.
    pub(crate) fn answer(&self, request: &Request) -> Response {
        if request.path() == "/healthcheck" {
            return Response::text(200, "ok");
        }
        // Workers belong to the server, so each request puts the plugin's name onto its lines.
        let _context = self.context.enter();
        let head = request.head();
        let claimed = head.header(SIGNATURE).and_then(Claimed::read);
        if !claimed.is_some_and(|claimed| self.key.is_valid(request.body(), &claimed)) {
            warn!(deliveryID = delivery(head); "webhook with a wrong signature refused");
            return unsigned();
        }
        let json = match content_type(head) {
            Some(ContentType::Form) => match form::payload(request.body()) {
                Some(payload) => Cow::Owned(payload.into_bytes()),
                None => return self.invalid(head, "the form has no field `payload`"),
            },
            _ => Cow::Borrowed(request.body()),
        };
        match head.header("X-GitHub-Event") {
            Some("workflow_job") => self.workflow_job(head, &json),
            Some("ping") => Response::text(200, "pong\n"),
            _ => Response::text(200, "ignored: not a workflow_job\n"),
        }
    }

    fn workflow_job(&self, head: &Head, json: &[u8]) -> Response {
        match wire::webhook(json) {
            Ok(Webhook::News(news)) => self.store(head, &news),
            Ok(Webhook::Ignored(why)) => Response::text(200, format!("ignored: {why}\n")),
            Err(error @ (WireError::Broken(_) | WireError::Missing(_) | WireError::Wrong(..))) => {
                self.invalid(head, &error.to_string())
            }
        }
    }

    #[allow(clippy::unused_self, reason = "reads as the other answers do")]
    fn invalid(&self, head: &Head, why: &str) -> Response {
        error!(deliveryID = delivery(head), error = why; "error validating payload");
        Response::text(400, format!("{why}\n"))
    }

    /// Stores first, answers then.
    fn store(&self, head: &Head, news: &News) -> Response {
        let say = |message: &str, noted: Noted| {
            info!(
                deliveryID = delivery(head),
                repository:% = format_args!("{}/{}", news.job.owner, news.job.repo),
                workflowJobID = news.job.id.0,
                workflowJobRunID = news.job.run_id.0,
                workflowName = news.job.workflow.as_str(),
                workflowJobURL = news.job.html_url.as_str(),
                labels:? = news.job.labels,
                noted:? = noted;
                "{message}"
            );
        };
        if news.for_us {
            say("received workflow job to consider", Noted::Known);
        }
        match self.store.news(news, Source::Webhook) {
            Ok(noted) => {
                if let Some(message) = message(&news.phase, noted) {
                    say(message, noted);
                }
                Response::text(200, format!("{}\n", word(noted)))
            }
            Err(error) => {
                error!(deliveryID = delivery(head), workflowJobID = news.job.id.0, error:% = error; "unable to access database");
                Response::text(503, "the queue cannot be reached; please deliver again\n")
                    .header("Retry-After", RETRY_AFTER_SECONDS)
            }
        }
    }
}

/// What operators' alarms know.
fn message(phase: &Phase, noted: Noted) -> Option<&'static str> {
    match (phase, noted) {
        (_, Noted::NotOurs) => None,
        (_, Noted::Enqueued) => Some("job pushed to queued queue"),
        (Phase::Queued, Noted::Moved | Noted::Known) => {
            Some("job already present in queued queue, skipping enqueue")
        }
        (Phase::InProgress { .. }, Noted::Moved) => Some("job pushed to in_progress queue"),
        (Phase::Completed { .. }, Noted::Moved) => Some("job pushed to completed queue"),
        (_, Noted::Known | Noted::Ended) => Some("job is known to be further already"),
    }
}

fn word(noted: Noted) -> &'static str {
    match noted {
        Noted::Enqueued => "queued",
        Noted::Moved => "noted",
        Noted::Known => "already known",
        Noted::Ended => "ignored: the job has ended",
        Noted::NotOurs => "ignored: not for Anklet",
    }
}
