//! `anklet queue list` and `anklet queue show`.

use anklet_plugin_api::job::JobId;
use anklet_plugin_api::store::{Entry, Place, Spot};
use anklet_plugin_api::time::Moment;
use serde_json::json;

use super::facts::Facts;
use super::paper::{Column, Paper};
use super::queues::{Queue, Queues};
use super::story::{lasting, shown, since};
use super::{Done, ToolError};

/// Of each kind of place so many jobs are listed.
const N_LISTED: usize = 50;

const COLUMNS: [Column; 5] = [
    Column::right("JOB"),
    Column::cut("REPOSITORY"),
    Column::cut("TEMPLATE"),
    Column::cut("WHERE"),
    Column::right("FOR"),
];

pub(super) fn list(queues: &Queues, json: bool, paper: &mut Paper<'_>) -> Result<Done, ToolError> {
    let mut shown_queues = Vec::new();
    for queue in &queues.0 {
        let facts = Facts::gather(queue)?;
        let entries = entries(queue)?;
        if json {
            let jobs: Vec<_> = entries.iter().map(|entry| job(entry, &facts)).collect();
            shown_queues.push(json!({ "queue": queue.name, "store": queue.home, "jobs": jobs }));
            continue;
        }
        paper.heading(&format!("Queue {} ({})", queue.name, queue.home))?;
        let rows: Vec<_> = entries.iter().map(|entry| row(entry, &facts)).collect();
        paper.table(&COLUMNS, &rows)?;
        let n_waiting: u64 = facts.survey.groups.values().map(|waiting| waiting.n_jobs).sum();
        let n_jobs = n_waiting + facts.survey.held + facts.survey.claimed + facts.survey.running;
        let n_more = n_jobs.saturating_sub(entries.len() as u64);
        if n_more > 0 {
            paper.line(&format!("and {n_more} more"))?;
        } else if entries.is_empty() {
            paper.line("It is empty.")?;
        }
    }
    if json {
        paper.json(&shown_queues)?;
    }
    Ok(Done::Well)
}

fn entries(queue: &Queue) -> Result<Vec<Entry>, ToolError> {
    let mut entries = Vec::new();
    for spot in [Spot::Claimed, Spot::Running, Spot::Held, Spot::Queued] {
        entries
            .extend(queue.store.list(spot, N_LISTED).map_err(|error| ToolError::store(&error, &queue.name))?);
    }
    Ok(entries)
}

fn row(entry: &Entry, facts: &Facts) -> Vec<String> {
    vec![
        entry.job.id.to_string(),
        format!("{}/{}", entry.job.owner, entry.job.repo),
        entry.job.image.template.clone(),
        place(entry, facts),
        lasting(facts.at.since(since(&entry.history).unwrap_or(facts.at))),
    ]
}

fn place(entry: &Entry, facts: &Facts) -> String {
    match &entry.place {
        Place::Queued => "waiting".to_owned(),
        Place::Held { until } => format!("held {} more", lasting(until.since(facts.at))),
        Place::Claimed { handler, paused: true, .. } => format!("ready at {handler}"),
        Place::Claimed { handler, .. } => format!("at {handler}"),
        Place::Running => "running elsewhere".to_owned(),
    }
}

fn job(entry: &Entry, facts: &Facts) -> serde_json::Value {
    json!({
        "job": entry.job.id.to_string(),
        "repository": format!("{}/{}", entry.job.owner, entry.job.repo),
        "name": entry.job.name,
        "url": entry.job.html_url,
        "template": entry.job.image.template,
        "tag": entry.job.image.tag,
        "place": entry.place,
        "attempts": entry.attempts,
        "since": shown(since(&entry.history).unwrap_or(Moment(0))),
        "where": place(entry, facts),
    })
}

pub(super) fn show(
    queues: &Queues,
    job: JobId,
    json: bool,
    paper: &mut Paper<'_>,
) -> Result<Done, ToolError> {
    let Some((queue, dossier)) = queues.find(job)? else { return not_there(queues, job, paper) };
    let last = dossier.ended.and_then(|ended| ended.last);
    let is_ended = dossier.entry.is_none();
    let Some(entry) = dossier.entry.or(last) else {
        paper.line(&format!("Job {job} has ended; nothing more is known of it."))?;
        return Ok(Done::Well);
    };
    if json {
        paper.json(&json!({ "queue": queue.name, "is_ended": is_ended, "entry": entry }))?;
        return Ok(Done::Well);
    }
    let facts = Facts::gather(queue)?;
    let place = if is_ended { "gone".to_owned() } else { place(&entry, &facts) };
    let tag = entry.job.image.tag.clone().unwrap_or_else(|| "latest".to_owned());
    let lines = [
        ("job", format!("{job} of run {}, attempt {} of the run", entry.job.run_id, entry.job.run_attempt)),
        ("repository", format!("{}/{}", entry.job.owner, entry.job.repo)),
        ("name", format!("{} / {}", entry.job.workflow, entry.job.name)),
        ("url", entry.job.html_url.clone()),
        ("labels", entry.job.labels.join(", ")),
        ("template", format!("{} ({tag})", entry.job.image.template)),
        ("queue", format!("{} ({})", queue.name, queue.home)),
        ("where", place),
        ("attempts", format!("{} counted", entry.attempts)),
    ];
    for (name, value) in lines {
        paper.wrapped("", &format!("{name}: {value}"))?;
    }
    paper.line("")?;
    paper.heading("History")?;
    for line in &entry.history {
        let by = line.by.as_ref();
        let by = by.map(|(handler, host)| format!(" [{handler} on {}]", facts.host_name(host)));
        paper.wrapped("  ", &format!("{} {}{}", shown(line.at), line.what, by.unwrap_or_default()))?;
    }
    Ok(Done::Well)
}

pub(super) fn not_there(queues: &Queues, job: JobId, paper: &mut Paper<'_>) -> Result<Done, ToolError> {
    paper.wrapped("", &format!("Job {job} is unknown in {}.", queues.names()))?;
    Ok(Done::Not)
}
