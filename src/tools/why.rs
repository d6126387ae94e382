//! `anklet why JOB`: where a job is, what it waits for, and what would end the wait.
//!
//! The answer is one sentence, then what it rests on: the handlers with what each found, and the job's story.

mod waiting;

use anklet_plugin_api::job::{Conclusion, JobId, Phase};
use anklet_plugin_api::name::{HostId, PluginName};
use anklet_plugin_api::presence::Because;
use anklet_plugin_api::store::{Dossier, Ended, Entry, Place};
use anklet_plugin_api::time::Moment;
use serde::Serialize;

use super::facts::{Facts, Seen};
use super::paper::Paper;
use super::queues::Queues;
use super::story::{self, Part, lasting, parts, shown};
use super::{Done, ToolError};
use waiting::HandlerView;

/// What is known, as `--json` shows it.
#[derive(Serialize)]
pub(super) struct Answer {
    job: String,
    queue: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// `waiting`, `held_back`, `held_ready`, `preparing`, `running`, `ending`, `over`.
    state: &'static str,
    /// The answer in a sentence.
    why: String,
    /// What ends the wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    ends: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    attempts: u32,
    give_backs: Vec<GiveBack>,
    handlers: Vec<HandlerView>,
    stages: Vec<Part>,
}

/// 1 is the next.
#[derive(Serialize)]
struct Position {
    of_its_template: u64,
    of_the_queue: u64,
}

#[derive(Serialize)]
struct GiveBack {
    at: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    handler: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
}

/// A state, why it is so, and what ends it.
struct Verdict {
    state: &'static str,
    why: String,
    ends: Option<String>,
}

impl Verdict {
    fn new(state: &'static str, why: impl Into<String>) -> Self {
        Self { state, why: why.into(), ends: None }
    }

    fn until(self, ends: impl Into<String>) -> Self {
        Self { ends: Some(ends.into()), ..self }
    }
}

pub(super) fn run(queues: &Queues, job: JobId, json: bool, paper: &mut Paper<'_>) -> Result<Done, ToolError> {
    let Some((queue, dossier)) = queues.find(job)? else {
        let what = format!(
            "Job {job} is unknown in {}: no webhook of it has come, or it ended too long ago to be remembered. \
             The job's id is the last number of its address at GitHub.",
            queues.names()
        );
        if json {
            paper.json(&serde_json::json!({ "job": job, "state": "unknown", "why": what }))?;
        } else {
            paper.wrapped("", &what)?;
        }
        return Ok(Done::Not);
    };
    let facts = Facts::gather(queue)?;
    let answer = answer(job, &queue.name, &dossier, &facts);
    if json {
        paper.json(&answer)?;
    } else {
        write(&answer, paper)?;
    }
    Ok(Done::Well)
}

fn answer(job: JobId, queue: &str, dossier: &Dossier, facts: &Facts) -> Answer {
    let at = dossier.at;
    let last = dossier.ended.as_ref().and_then(|ended| ended.last.as_ref());
    let (verdict, handlers) = match (&dossier.entry, &dossier.ended) {
        (Some(entry), _) => explain(entry, at, facts),
        (None, ended) => (explain_end(ended.as_ref()), Vec::new()),
    };
    let told = dossier.entry.as_ref().or(last);
    let history = told.map(|entry| &entry.history[..]).unwrap_or_default();
    let give_back = |(line, reason): (&anklet_plugin_api::store::Transition, &str)| GiveBack {
        at: shown(line.at),
        reason: reason.to_owned(),
        handler: line.by.as_ref().map(|(handler, _)| handler.to_string()),
        host: line.by.as_ref().map(|(_, host)| facts.host_name(host)),
    };
    Answer {
        job: job.to_string(),
        queue: queue.to_owned(),
        repository: told.map(|entry| format!("{}/{}", entry.job.owner, entry.job.repo)),
        name: told.map(|entry| entry.job.name.clone()),
        url: told.map(|entry| entry.job.html_url.clone()),
        state: verdict.state,
        why: verdict.why,
        ends: verdict.ends,
        position: dossier
            .ahead
            .map(|ahead| Position { of_its_template: ahead.in_group + 1, of_the_queue: ahead.in_queue + 1 }),
        attempts: told.map_or(0, |entry| entry.attempts),
        give_backs: story::reasons(history).map(give_back).collect(),
        handlers,
        stages: parts(history, at),
    }
}

fn explain(entry: &Entry, at: Moment, facts: &Facts) -> (Verdict, Vec<HandlerView>) {
    match &entry.place {
        Place::Queued => waiting::queued(entry, facts),
        Place::Held { until } => waiting::held(entry, *until, facts),
        Place::Claimed { paused: true, handler, host } => {
            let host_name = facts.host_name(host);
            let since = lasting(at.since(story::since(&entry.history).unwrap_or(at)));
            let pull = facts.verdict(host, &entry.job).filter(|(found, _)| found.because == Because::Pull);
            if let Some((pull, _)) = pull {
                let verdict = pull_in_the_way(&pull.what, (handler, host), &since, facts);
                return (verdict, waiting::views(entry, facts));
            }
            let why = format!(
                "is held ready by {handler} on {host_name} for {since}, until there is room for its VM"
            );
            let running =
                waiting::longest(facts.on_host(host).filter(|other| other.job.id != entry.job.id), at);
            let here = match running {
                Some(other) => format!("{other} on {host_name} ends"),
                None => format!("there is room on {host_name}"),
            };
            let verdict =
                Verdict::new("held_ready", why).until(format!("{here}, or another host has room for it"));
            (verdict, waiting::views(entry, facts))
        }
        Place::Claimed { handler, host, .. } => {
            (in_hand(entry, (handler.as_str(), host), at, facts), Vec::new())
        }
        Place::Running => {
            let runner = entry.phase.runner().unwrap_or("a runner that GitHub has not named");
            let since = lasting(at.since(story::since(&entry.history).unwrap_or(at)));
            let why = format!(
                "has been running on {runner} for {since}, in nobody's hands: the runner is not ours, or its host is away"
            );
            (Verdict::new("running", why).until("GitHub ends it"), Vec::new())
        }
    }
}

/// Paused until another pull of its host has ended.
fn pull_in_the_way(
    what: &str,
    (handler, host): (&PluginName, &HostId),
    since: &str,
    facts: &Facts,
) -> Verdict {
    let host_name = facts.host_name(host);
    let why = format!("is held by {handler} on {host_name} for {since}: {what}");
    let is_pulling = |seen: &&Seen| seen.presence.host == *host && seen.presence.status == "pulling";
    let puller = facts.handlers.iter().find(is_pulling).map(|seen| &seen.presence.plugin);
    let whose = puller.and_then(|plugin| Some((plugin, facts.held_by(plugin)?)));
    let ends = match whose {
        Some((plugin, held)) => format!("{plugin} has pulled the template for job {}", held.job.id),
        None => "that pull has ended".to_owned(),
    };
    Verdict::new("held_ready", why).until(format!("{ends}, or another host takes the job"))
}

fn in_hand(entry: &Entry, (handler, host): (&str, &HostId), at: Moment, facts: &Facts) -> Verdict {
    let host_name = facts.host_name(host);
    let whose = format!("{handler} on {host_name}");
    let last = parts(&entry.history, at).pop();
    let stage = last.as_ref().map_or("preparing", |part| part.stage.as_str());
    let lasts = lasting(at.since(last.as_ref().map_or(at, |part| part.began)));
    let seen = facts.handlers.iter().find(|seen| seen.presence.plugin.as_str() == handler);
    let verdict = match &entry.phase {
        Phase::InProgress { .. } => {
            let vm = entry.vm.as_ref().map_or("a VM", |vm| vm.as_str());
            let since = last.as_ref().map_or(at, |part| part.began);
            let why = format!("has been running on VM {vm} of {whose} since {} ({lasts})", shown(since));
            Verdict::new("running", why).until("GitHub ends it")
        }
        Phase::Completed { conclusion, .. } => {
            Verdict::new("ending", format!("is over ({conclusion}); {whose} is cleaning up after it"))
        }
        Phase::Queued => {
            let is_pulling = seen.is_some_and(|seen| seen.presence.status == "pulling");
            let doing = if is_pulling { "pulling its template" } else { stage };
            let why = match stage {
                "waiting" | "deleting" | "undoing" if entry.vm.is_some() => match stage {
                    "waiting" => {
                        format!("has a runner ready: {whose} waits for GitHub to give it the job ({lasts})")
                    }
                    _ => format!("is being undone by {whose}: {stage} for {lasts}"),
                },
                _ => format!("is being prepared by {whose}: {doing} for {lasts}"),
            };
            Verdict::new("preparing", why)
        }
    };
    let is_out = entry.claimed_until.is_some_and(|until| until < at);
    if is_out || seen.is_some_and(|seen| seen.is_gone) {
        let by = entry.claimed_until.map(|until| format!(" (its claim lasts until {})", shown(until)));
        let why = format!("{}. But {whose} is not heard any more{}", verdict.why, by.unwrap_or_default());
        let ends =
            "that process starts again, or another handler takes the job over once the claim has run out";
        return Verdict::new(verdict.state, why).until(ends);
    }
    verdict
}

fn explain_end(ended: Option<&Ended>) -> Verdict {
    let Some(last) = ended.and_then(|ended| ended.last.as_ref()) else {
        return Verdict::new("over", "has ended; it was never in this queue, or that is too long ago");
    };
    let end = last.history.last();
    let when = end.map_or_else(String::new, |line| format!(" at {}", shown(line.at)));
    if end.is_some_and(|line| line.what == "removed by hand") {
        return Verdict::new("over", format!("was removed from the queue by hand{when}"));
    }
    let Phase::Completed { conclusion, runner } = &last.phase else {
        return Verdict::new("over", format!("has left the queue{when}"));
    };
    if *conclusion != Conclusion::Success
        && let Some(why) = cancelled_by_us(last)
    {
        return Verdict::new("over", format!("{why}. It ended{when} ({conclusion})"));
    }
    let on = runner.as_ref().map(|runner| format!(" on {runner}")).unwrap_or_default();
    let ran = parts(&last.history, Moment(0)).into_iter().rev().find(|part| part.stage == "running");
    let lasted = ran.map(|part| {
        format!(", after it ran{on} for {}", lasting(std::time::Duration::from_secs(part.seconds)))
    });
    Verdict::new("over", format!("was completed{when} ({conclusion}){}", lasted.unwrap_or_default()))
}

/// Why we had its run cancelled, if we had.
fn cancelled_by_us(entry: &Entry) -> Option<String> {
    let by_hand = entry.history.iter().rev().find(|line| line.what.starts_with(story::CANCELLED_BY_HAND));
    if let Some(line) = by_hand {
        return Some(format!("was cancelled by hand at {}", shown(line.at)));
    }
    let (line, reason) = story::last_reason(&entry.history)?;
    let reason = reason.strip_prefix(story::CANCELLED)?;
    let who = line.by.as_ref().map(|(handler, _)| format!(" {handler}")).unwrap_or_default();
    Some(format!("was cancelled by Anklet's handler{who} at {}: {reason}", shown(line.at)))
}

fn write(answer: &Answer, paper: &mut Paper<'_>) -> Result<(), ToolError> {
    paper.wrapped("", &format!("Job {} {}.", answer.job, answer.why))?;
    if let Some(ends) = &answer.ends {
        paper.wrapped("", &format!("This ends when {ends}."))?;
    }
    if let Some(position) = &answer.position {
        let (own, all) = (position.of_its_template, position.of_the_queue);
        paper.wrapped(
            "",
            &format!("It is number {own} of its template and repository, and number {all} of the queue."),
        )?;
    }
    let repository = answer.repository.clone().unwrap_or_default();
    if !repository.is_empty() {
        let name = answer.name.clone().unwrap_or_default();
        paper.line("")?;
        paper.wrapped("", &format!("{repository}  {name}  {}", answer.url.clone().unwrap_or_default()))?;
    }
    if !answer.handlers.is_empty() {
        paper.line("")?;
        paper.heading("Handlers that take such jobs")?;
        for view in &answer.handlers {
            paper.wrapped("  ", &view.to_string())?;
        }
    }
    if !answer.stages.is_empty() {
        paper.line("")?;
        paper.heading("What happened to it")?;
    }
    for part in &answer.stages {
        let by = part.handler.as_ref().map(|handler| format!(" by {handler}")).unwrap_or_default();
        let after = part.after.as_ref().map(|after| format!(" ({after})")).unwrap_or_default();
        let lasts = lasting(std::time::Duration::from_secs(part.seconds));
        let lasts = if part.stage == "over" { String::new() } else { format!(" for {lasts}") };
        paper.wrapped("  ", &format!("{} {}{by}{lasts}{after}", part.began_at, part.stage))?;
    }
    Ok(())
}
