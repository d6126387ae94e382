//! Hooks, their log and redelivery over REST. It stands alone because the same three calls serve repositories,
//! organizations and Apps.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::credential::Caller;
use crate::http::Answer;
use crate::model::{Delivery, HookId, HookTarget};
use crate::rest::paging::linked;
use crate::rest::{Call, error, not_found};

fn hooks_of_scope<'a>(call: &'a Call<'_>) -> impl Iterator<Item = &'a crate::webhook::Hook> {
    let target = call.scope.clone().map(HookTarget::Scope);
    call.state.hooks.values().filter(move |hook| Some(&hook.target) == target.as_ref())
}

pub(super) fn list(call: &mut Call<'_>) -> Answer {
    let all: Vec<Value> = hooks_of_scope(call).map(|hook| call.state.hook_json(hook)).collect();
    let (page, link) = call.page(all);
    linked(Answer::json(200, &json!(page)), link)
}

pub(super) fn one(call: &mut Call<'_>) -> Answer {
    match hooks_of_scope(call).find(|hook| Some(hook.id) == call.id(0)) {
        Some(hook) => Answer::json(200, &call.state.hook_json(hook)),
        None => not_found(),
    }
}

/// The hook in the path, or the App's own; and at which `:` the delivery is.
fn asked_hook(call: &Call<'_>) -> Option<(HookId, usize)> {
    match (&call.scope, &call.caller) {
        (Some(_), _) => Some((hooks_of_scope(call).find(|hook| Some(hook.id) == call.id(0))?.id, 1)),
        (None, Caller::App(app_id)) => {
            let target = HookTarget::App(*app_id);
            Some((call.state.hooks.values().find(|hook| hook.target == target)?.id, 0))
        }
        (None, _) => None,
    }
}

/// Newest first.
pub(super) fn deliveries(call: &mut Call<'_>) -> Answer {
    let Some((hook_id, _)) = asked_hook(call) else { return not_found() };
    let range = match call.param("status") {
        None => 0..=u16::MAX,
        Some("success") => 200..=399,
        Some("failure") => 400..=599,
        Some(other) => {
            let text = format!("status `{other}`");
            call.mistakes.push(text.clone());
            return error(422, &text);
        }
    };
    let of_hook = call.state.deliveries.iter().rev().filter(|delivery| delivery.hook_id == hook_id);
    let all: Vec<&Delivery> = of_hook.filter(|delivery| range.contains(&delivery.status_code)).collect();
    let (page, link) = call.page_by_cursor(all, |delivery| delivery.id);
    let items: Vec<Value> = page.into_iter().map(item).collect();
    linked(Answer::json(200, &json!(items)), link)
}

fn item(delivery: &Delivery) -> Value {
    json!({
        "id": delivery.id, "guid": delivery.guid, "delivered_at": delivery.delivered_at.rfc3339(),
        "redelivery": delivery.redelivery, "duration": delivery.duration.as_millis() as f64 / 1000.0,
        "status": delivery.status, "status_code": delivery.status_code, "event": delivery.event,
        "action": delivery.action, "installation_id": delivery.installation_id,
        "repository_id": delivery.repository_id, "throttled_at": null,
    })
}

fn asked_delivery<'a>(call: &'a Call<'_>) -> Option<&'a Delivery> {
    let (hook_id, position) = asked_hook(call)?;
    let id = call.id(position)?;
    call.state.deliveries.iter().rev().find(|delivery| delivery.id == id && delivery.hook_id == hook_id)
}

pub(super) fn delivery(call: &mut Call<'_>) -> Answer {
    let Some(delivery) = asked_delivery(call) else { return not_found() };
    let payload: Value = serde_json::from_slice(&delivery.payload).unwrap_or_default();
    let mut body = item(delivery);
    body["url"] = json!(call.state.hooks.get(&delivery.hook_id).map(|hook| &hook.url));
    body["request"] = json!({ "headers": map(&delivery.request_headers), "payload": payload });
    body["response"] = match &delivery.answer {
        Some(answer) => json!({
            "headers": map(&answer.headers), "payload": String::from_utf8_lossy(&answer.body),
        }),
        None => json!({ "headers": {}, "payload": null }),
    };
    Answer::json(200, &body)
}

fn map(headers: &[(String, String)]) -> BTreeMap<&str, &str> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

pub(super) fn redeliver(call: &mut Call<'_>) -> Answer {
    let Some(delivery) = asked_delivery(call).cloned() else { return not_found() };
    call.state.redeliver(&delivery);
    Answer::json(202, &json!({}))
}
