//! `anklet status`: the hosts and plugins of each queue, what each holds and how far that is, and what waits, by template.

use std::collections::BTreeMap;

use anklet_plugin_api::presence::PauseReason;
use anklet_plugin_api::sorted::{sort_by, sort_by_key};
use anklet_plugin_api::store::{Entry, Place};
use anklet_plugin_api::time::Moment;
use serde::Serialize;

use super::facts::{Facts, Seen};
use super::paper::{Column, Paper};
use super::queues::{Queue, Queues};
use super::story::{lasting, parts, shown};
use super::{Done, ToolError};

/// A queue as `--json` shows it.
#[derive(Serialize)]
struct QueueStatus {
    queue: String,
    store: String,
    at: String,
    waiting: u64,
    held_back: u64,
    in_hand: u64,
    running_elsewhere: u64,
    plugins: Vec<PluginStatus>,
    templates: Vec<TemplateStatus>,
}

#[derive(Serialize)]
struct PluginStatus {
    plugin: String,
    host: String,
    host_name: String,
    /// The config's `plugin`.
    kind: &'static str,
    /// None if the plugin was not heard of, but holds a job.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    takes_nothing_because: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<HeldJob>,
}

#[derive(Serialize)]
struct HeldJob {
    job: String,
    repository: String,
    name: String,
    stage: String,
    seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    vm: Option<String>,
    /// Its handler was not heard of for longer than its claim lasts.
    claim_ran_out: bool,
}

#[derive(Serialize)]
struct TemplateStatus {
    template: String,
    tag: Option<String>,
    repositories: Vec<String>,
    jobs: u64,
    oldest_at: String,
    oldest_seconds: u64,
}

pub(super) fn run(queues: &Queues, json: bool, paper: &mut Paper<'_>) -> Result<Done, ToolError> {
    let statuses = queues.0.iter().map(|queue| Facts::gather(queue).map(|facts| status(queue, &facts)));
    let statuses = statuses.collect::<Result<Vec<_>, _>>()?;
    if json {
        paper.json(&statuses)?;
        return Ok(Done::Well);
    }
    for (n_queue, status) in statuses.iter().enumerate() {
        if n_queue > 0 {
            paper.line("")?;
        }
        write(status, paper)?;
    }
    Ok(Done::Well)
}

fn status(queue: &Queue, facts: &Facts) -> QueueStatus {
    let mut plugins: Vec<_> =
        facts.receivers.iter().map(|seen| shown_plugin(seen, "github_receiver", facts)).collect();
    plugins.extend(facts.handlers.iter().map(|seen| shown_plugin(seen, "github", facts)));
    // Who holds a job and says nothing is dead, or of a version that says nothing.
    for entry in &facts.claimed {
        let Place::Claimed { handler, host, .. } = &entry.place else { continue };
        if !facts.handlers.iter().any(|seen| seen.presence.plugin == *handler) {
            plugins.push(PluginStatus {
                plugin: handler.to_string(),
                host: host.to_string(),
                host_name: facts.host_name(host),
                kind: "github",
                status: None,
                since: None,
                takes_nothing_because: None,
                holds: Some(held(entry, facts.at)),
            });
        }
    }
    QueueStatus {
        queue: queue.name.clone(),
        store: queue.home.clone(),
        at: shown(facts.at),
        waiting: facts.survey.groups.values().map(|waiting| waiting.n_jobs).sum(),
        held_back: facts.survey.held,
        in_hand: facts.survey.claimed,
        running_elsewhere: facts.survey.running,
        plugins,
        templates: templates(facts),
    }
}

fn shown_plugin(seen: &Seen, kind: &'static str, facts: &Facts) -> PluginStatus {
    let presence = &seen.presence;
    let pause = seen.pause().map(|(why, until)| match (why, until) {
        (PauseReason::Drained, _) => "drained".to_owned(),
        (why, Some(until)) => format!("{why}, {} more", lasting(until.since(facts.at))),
        (why, None) => why.to_string(),
    });
    PluginStatus {
        plugin: presence.plugin.to_string(),
        host: presence.host.to_string(),
        host_name: presence.host_name.clone(),
        kind,
        status: Some(if seen.is_gone { "ended".to_owned() } else { presence.status.clone() }),
        since: Some(shown(seen.since)),
        takes_nothing_because: pause.filter(|_| !seen.is_gone),
        holds: facts.held_by(&presence.plugin).map(|entry| held(entry, facts.at)),
    }
}

fn held(entry: &Entry, at: Moment) -> HeldJob {
    let last = parts(&entry.history, at).pop();
    HeldJob {
        job: entry.job.id.to_string(),
        repository: format!("{}/{}", entry.job.owner, entry.job.repo),
        name: entry.job.name.clone(),
        stage: last.as_ref().map_or_else(|| "preparing".to_owned(), |part| part.stage.clone()),
        seconds: last.map_or(0, |part| part.seconds),
        vm: entry.vm.as_ref().map(ToString::to_string),
        claim_ran_out: entry.claimed_until.is_some_and(|until| until < at),
    }
}

/// Groups of the same template together, the longest queue first.
fn templates(facts: &Facts) -> Vec<TemplateStatus> {
    let mut templates: BTreeMap<_, (u64, Moment, Vec<String>)> = BTreeMap::new();
    for (group, waiting) in &facts.survey.groups {
        let key = (group.template.clone(), group.tag.clone());
        let (n_jobs, oldest_at, repositories) =
            templates.entry(key).or_insert((0, waiting.oldest_at, Vec::new()));
        *n_jobs += waiting.n_jobs;
        *oldest_at = waiting.oldest_at.min(*oldest_at);
        repositories.push(format!("{}/{}", group.owner, group.repo));
    }
    let shown = |((template, tag), (jobs, oldest_at, mut repositories)): (_, (u64, Moment, Vec<String>))| {
        sort_by(&mut repositories, String::cmp);
        repositories.dedup();
        let oldest_seconds = facts.at.since(oldest_at).as_secs();
        TemplateStatus { template, tag, repositories, jobs, oldest_at: shown(oldest_at), oldest_seconds }
    };
    let mut templates: Vec<_> = templates.into_iter().map(shown).collect();
    sort_by_key(&mut templates, |template| std::cmp::Reverse(template.jobs));
    templates
}

const PLUGINS: [Column; 6] = [
    Column::cut("HOST"),
    Column::cut("PLUGIN"),
    Column::left("STATUS"),
    Column::right("JOB"),
    Column::cut_to(9, "STAGE"),
    Column::right("FOR"),
];
const TEMPLATES: [Column; 5] = [
    // A UUID, whole; but a label may hold much more.
    Column::cut_to(36, "TEMPLATE"),
    Column::cut("TAG"),
    Column::cut("REPOSITORY"),
    Column::right("JOBS"),
    Column::right("OLDEST"),
];

fn write(status: &QueueStatus, paper: &mut Paper<'_>) -> Result<(), ToolError> {
    paper.heading(&format!("Queue {} ({})", status.queue, status.store))?;
    let mut counts =
        format!("{} waiting, {} held back, {} in hand", status.waiting, status.held_back, status.in_hand);
    if status.running_elsewhere > 0 {
        // No plugin of the table below has them.
        counts += &format!(", {} running in nobody's hands", status.running_elsewhere);
    }
    paper.wrapped("", &counts)?;
    paper.line("")?;
    if status.plugins.is_empty() {
        paper.line("No plugin of this queue has been heard of lately.")?;
    }
    let mut last_host = None;
    let rows = status.plugins.iter().map(|plugin| row(plugin, &mut last_host)).collect::<Vec<_>>();
    paper.table(&PLUGINS, &rows)?;
    for plugin in &status.plugins {
        if let Some(why) = &plugin.takes_nothing_because {
            paper.wrapped("  ", &format!("{} takes nothing: {why}", plugin.plugin))?;
        }
    }
    if !status.templates.is_empty() {
        paper.line("")?;
    }
    let rows = status.templates.iter().map(|template| {
        let more = template.repositories.len().saturating_sub(1);
        let repository = template.repositories.first().cloned().unwrap_or_default();
        vec![
            template.template.clone(),
            template.tag.clone().unwrap_or_else(|| "latest".to_owned()),
            if more == 0 { repository } else { format!("{repository} +{more}") },
            template.jobs.to_string(),
            lasting(std::time::Duration::from_secs(template.oldest_seconds)),
        ]
    });
    let rows: Vec<_> = rows.collect();
    paper.table(&TEMPLATES, &rows)?;
    Ok(())
}

fn row(plugin: &PluginStatus, last_host: &mut Option<String>) -> Vec<String> {
    let is_same = last_host.replace(plugin.host.clone()).as_ref() == Some(&plugin.host);
    let host = if is_same { String::new() } else { plugin.host_name.clone() };
    let status = plugin.status.clone().unwrap_or_else(|| "not heard".to_owned());
    let (job, stage, lasts) = match &plugin.holds {
        Some(held) => {
            let stage =
                if held.claim_ran_out { format!("{} (lost)", held.stage) } else { held.stage.clone() };
            (held.job.clone(), stage, lasting(std::time::Duration::from_secs(held.seconds)))
        }
        None => ("-".to_owned(), String::new(), String::new()),
    };
    vec![host, plugin.plugin.clone(), status, job, stage, lasts]
}
