//! Jobs, runs and check runs over REST. It stands alone as the calls by which a handler asks about its job and ends
//! a hopeless one.

use serde_json::{Value, json};

use crate::http::Answer;
use crate::jobs::CancelRefusal;
use crate::model::{Job, Run};
use crate::payload::{self, Audience};
use crate::rest::paging::linked;
use crate::rest::{Call, error, not_found};

/// GitHub shows no more of a filtered list.
const FILTERED_LIMIT: usize = 1000;

pub(super) fn job(call: &mut Call<'_>) -> Answer {
    let job = call.id(0).and_then(|id| call.state.jobs.get(&id));
    match job.filter(|job| Some(&job.repo) == call.scope.as_ref()) {
        Some(job) => Answer::json(200, &payload::job(call.state, job, Audience::Rest)),
        None => not_found(),
    }
}

fn asked_run<'a>(call: &'a Call<'_>) -> Option<&'a Run> {
    call.state.run_of(call.scope.as_ref()?, call.id(0)?)
}

pub(super) fn run(call: &mut Call<'_>) -> Answer {
    match asked_run(call) {
        Some(run) => Answer::json(200, &payload::run(call.state, run)),
        None => not_found(),
    }
}

/// Newest first, as GitHub lists them.
pub(super) fn runs(call: &mut Call<'_>) -> Answer {
    for key in ["actor", "check_suite_id"] {
        if call.param(key).is_some() {
            call.mistakes.push(format!("the stand-in cannot filter by `{key}`"));
        }
    }
    let scope = call.scope();
    let mut found: Vec<&Run> =
        call.state.runs.values().filter(|run| run.repo == scope && fits(call, run)).collect();
    found.sort_by_key(|run| std::cmp::Reverse(run.number));
    let total_count = found.len();
    let is_filtered = ["actor", "branch", "event", "status", "created", "head_sha"]
        .iter()
        .any(|key| call.param(key).is_some());
    if is_filtered {
        found.truncate(FILTERED_LIMIT);
    }
    let (page, link) = call.page(found);
    let runs: Vec<Value> = page.into_iter().map(|run| payload::run(call.state, run)).collect();
    linked(Answer::json(200, &json!({ "total_count": total_count, "workflow_runs": runs })), link)
}

fn fits(call: &Call<'_>, run: &Run) -> bool {
    let (status, conclusion) = call.state.run_status(run);
    let equals = |key: &str, value: &str| call.param(key).is_none_or(|wanted| wanted == value);
    call.param("status").is_none_or(|wanted| wanted == status.as_str() || conclusion == Some(wanted))
        && equals("branch", &run.head_branch)
        && equals("event", "push")
        && equals("head_sha", &run.head_sha)
        && call.param("created").is_none_or(|range| in_range(&run.created_at.rfc3339(), range))
}

/// `A..B`, `>=A`, `>A`, `<=B`, `<B`, or the beginning of a time; all times are in UTC, so their texts compare.
fn in_range(time: &str, range: &str) -> bool {
    if let Some((from, to)) = range.split_once("..") {
        return (from == "*" || time >= from) && (to == "*" || time <= to);
    }
    if let Some(from) = range.strip_prefix(">=") {
        time >= from
    } else if let Some(to) = range.strip_prefix("<=") {
        time <= to
    } else if let Some(from) = range.strip_prefix('>') {
        time > from
    } else if let Some(to) = range.strip_prefix('<') {
        time < to
    } else {
        time.starts_with(range)
    }
}

pub(super) fn jobs_of_run(call: &mut Call<'_>) -> Answer {
    let Some(run) = asked_run(call) else { return not_found() };
    let jobs: Vec<&Job> = match call.param("filter").unwrap_or("latest") {
        "latest" => call.state.latest_jobs(run).collect(),
        "all" => run.jobs.iter().filter_map(|id| call.state.jobs.get(id)).collect(),
        other => {
            let text = format!("filter `{other}`");
            call.mistakes.push(text.clone());
            return error(422, &text);
        }
    };
    answer_jobs(call, jobs)
}

pub(super) fn jobs_of_attempt(call: &mut Call<'_>) -> Answer {
    let Some(run) = asked_run(call) else { return not_found() };
    let attempt = call.id(1);
    let jobs = run.jobs.iter().filter_map(|id| call.state.jobs.get(id));
    let jobs: Vec<&Job> = jobs.filter(|job| Some(job.run_attempt) == attempt).collect();
    if jobs.is_empty() { not_found() } else { answer_jobs(call, jobs) }
}

fn answer_jobs(call: &Call<'_>, jobs: Vec<&Job>) -> Answer {
    let total_count = jobs.len();
    let (page, link) = call.page(jobs);
    let jobs: Vec<Value> =
        page.into_iter().map(|job| payload::job(call.state, job, Audience::Rest)).collect();
    linked(Answer::json(200, &json!({ "total_count": total_count, "jobs": jobs })), link)
}

pub(super) fn cancel(call: &mut Call<'_>) -> Answer {
    end_run(call, false)
}

pub(super) fn force_cancel(call: &mut Call<'_>) -> Answer {
    end_run(call, true)
}

fn end_run(call: &mut Call<'_>, force: bool) -> Answer {
    let Some(run_id) = asked_run(call).map(|run| run.id) else { return not_found() };
    match call.state.cancel_run(run_id, force) {
        Ok(()) => Answer::json(202, &json!({})),
        Err(CancelRefusal::Completed) => error(409, "Cannot cancel a workflow run that is completed."),
        Err(CancelRefusal::NotQueuedYet) => {
            error(409, "Cannot cancel a workflow run that has not been queued yet.")
        }
    }
}

pub(super) fn create_check_run(call: &mut Call<'_>) -> Answer {
    let mut body = call.body.clone();
    let has = |key: &str| body["output"][key].is_string();
    if body["output"].is_object() && (!has("title") || !has("summary")) {
        call.mistakes.push("output needs title and summary".to_owned());
        return error(422, "Invalid request.\n\n\"title\", \"summary\" weren't supplied.");
    }
    if body["status"] == "completed" && body["conclusion"].is_null() {
        call.mistakes.push("completed needs a conclusion".to_owned());
        return error(422, "Invalid request.\n\n\"conclusion\" wasn't supplied.");
    }
    let id = 50_000_000_000 + call.state.next();
    let repo = format!("{}/repos/{}", payload::api(call.state), call.state.full_name(&call.scope()));
    body["id"] = json!(id);
    body["node_id"] = json!(format!("CR_{id}"));
    body["url"] = json!(format!("{repo}/check-runs/{id}"));
    body["html_url"] = json!(format!("{repo}/runs/{id}"));
    call.state.check_runs.push(body.clone());
    Answer::json(201, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (range, fits) in [
            ("2026-01-02", true),
            (">=2026-01-02T03:04:05Z", true),
            (">2026-01-02T03:04:05Z", false),
            ("<2026-01-02T03:04:05Z", false),
            ("<=2026-01-03", true),
            ("2026-01-01..2026-01-02", false),
            ("2026-01-01..*", true),
        ] {
            assert_eq!(in_range("2026-01-02T03:04:05Z", range), fits, "{range}");
        }
    }
}
