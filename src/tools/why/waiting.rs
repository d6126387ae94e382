//! Why a job that nobody has in hand waits: what keeps each handler from taking it, and what that comes to.

use std::fmt;

use anklet_plugin_api::presence::{Because, PauseReason};
use anklet_plugin_api::store::Entry;
use anklet_plugin_api::time::Moment;
use serde::Serialize;

use super::super::facts::{Facts, Seen};
use super::super::story::{self, lasting, parts, shown};
use super::Verdict;

/// What keeps one handler from taking the job.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Hindrance {
    /// Its process has ended.
    Gone,
    Drained,
    TooLarge,
    NoTemplate,
    Budget,
    Busy,
    NoRoom,
    Pull,
    NoSlot,
    /// It leaves this job alone for a while, after it failed with it.
    Avoids,
    OtherGoesFirst,
    Rests,
    /// Nothing: it takes the job at its next look.
    Nothing,
}

/// A handler and what keeps it from the job.
#[derive(Clone, Debug, Serialize)]
pub(super) struct HandlerView {
    handler: String,
    host: String,
    hindrance: Hindrance,
    /// In words.
    what: String,
    /// When it looked at a job of this kind last.
    #[serde(skip_serializing_if = "Option::is_none")]
    looked_at: Option<String>,
    /// The same, so long ago.
    #[serde(skip)]
    looked: Option<String>,
}

impl fmt::Display for HandlerView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}: {}", self.handler, self.host, self.what)?;
        self.looked.as_ref().map_or(Ok(()), |looked| write!(f, " (looked {looked} ago)"))
    }
}

/// All handlers that take such jobs, with what keeps each from this one.
pub(super) fn views(entry: &Entry, facts: &Facts) -> Vec<HandlerView> {
    facts.eligible(&entry.job).map(|seen| view(entry, seen, facts)).collect()
}

fn view(entry: &Entry, seen: &Seen, facts: &Facts) -> HandlerView {
    let presence = &seen.presence;
    let verdict = facts.verdict(&presence.host, &entry.job);
    let (hindrance, what) = hindrance(entry, seen, facts);
    let is_verdict = verdict.is_some_and(|(verdict, _)| what.contains(&verdict.what));
    let looked_at = verdict.filter(|_| is_verdict).map(|(_, at)| at);
    HandlerView {
        handler: presence.plugin.to_string(),
        host: presence.host_name.clone(),
        hindrance,
        what,
        looked_at: looked_at.map(shown),
        looked: looked_at.map(|at| lasting(facts.at.since(at))),
    }
}

fn hindrance(entry: &Entry, seen: &Seen, facts: &Facts) -> (Hindrance, String) {
    let presence = &seen.presence;
    if seen.is_gone {
        return (Hindrance::Gone, "its process has ended".to_owned());
    }
    let pause = seen.pause();
    let until = |until: Option<Moment>| {
        until.map(|until| format!(" for {} more", lasting(until.since(facts.at)))).unwrap_or_default()
    };
    if presence.status == "draining" || matches!(pause, Some((PauseReason::Drained, _))) {
        return (Hindrance::Drained, "the host is drained".to_owned());
    }
    let verdict = facts.verdict(&presence.host, &entry.job).map(|(verdict, _)| verdict);
    let of =
        |because| verdict.filter(|verdict| verdict.because == because).map(|verdict| verdict.what.clone());
    if let Some(what) = of(Because::TooLarge) {
        return (Hindrance::TooLarge, what);
    }
    if let Some(what) = of(Because::Template) {
        return (Hindrance::NoTemplate, what);
    }
    match pause {
        Some((PauseReason::Budget, end)) => {
            return (Hindrance::Budget, format!("GitHub's rate limit is reached{}", until(end)));
        }
        _ if presence.status == "limit_paused" => {
            return (Hindrance::Budget, "GitHub's rate limit is reached".to_owned());
        }
        _ => {}
    }
    let held = facts.held_by(&presence.plugin);
    if let Some(what) = of(Because::NoRoom) {
        let own = held.map(|held| format!("; {}", doing(held, facts.at))).unwrap_or_default();
        return (Hindrance::NoRoom, format!("{what}{own}"));
    }
    if let Some(held) = held {
        return (Hindrance::Busy, format!("busy with {}", doing(held, facts.at)));
    }
    if let Some(until) = entry.avoided_by.get(&presence.host) {
        let last = story::reasons(&entry.history)
            .filter(|(line, _)| line.by.as_ref().is_some_and(|(_, host)| *host == presence.host))
            .last();
        let why = last.map(|(_, reason)| format!(", since it failed here: {reason}")).unwrap_or_default();
        let more = lasting(until.since(facts.at));
        let kind = if of(Because::Pull).is_some() { Hindrance::Pull } else { Hindrance::Avoids };
        return (kind, format!("leaves this job alone for {more} more{why}"));
    }
    if let Some(what) = of(Because::Pull) {
        return (Hindrance::Pull, what);
    }
    match pause {
        Some((PauseReason::OtherGoesFirst, _)) => {
            (Hindrance::OtherGoesFirst, PauseReason::OtherGoesFirst.to_string())
        }
        Some((PauseReason::Rests, end)) => {
            (Hindrance::Rests, format!("{}{}", PauseReason::Rests, until(end)))
        }
        Some((PauseReason::NoSlot, end)) => {
            (Hindrance::NoSlot, format!("{}{}", PauseReason::NoSlot, until(end)))
        }
        Some((other, end)) => (Hindrance::Rests, format!("{other}{}", until(end))),
        None => (Hindrance::Nothing, "free".to_owned()),
    }
}

/// A job in hand and how far it is.
fn doing(entry: &Entry, at: Moment) -> String {
    let last = parts(&entry.history, at).pop();
    let stage = last.as_ref().map_or("preparing", |part| part.stage.as_str());
    let lasts = lasting(at.since(last.as_ref().map_or(at, |part| part.began)));
    format!("job {} ({stage} for {lasts})", entry.job.id)
}

/// The job that is in its stage for the longest, running ones first: the likeliest to end next.
pub(super) fn longest<'a>(entries: impl Iterator<Item = &'a Entry>, at: Moment) -> Option<String> {
    let age = |entry: &&Entry| {
        let last = parts(&entry.history, at).pop();
        let is_running = last.as_ref().is_some_and(|part| part.stage == "running");
        (!is_running, last.map_or(at, |part| part.began))
    };
    entries.min_by_key(age).map(|entry| doing(entry, at))
}

/// A job in its group.
pub(super) fn queued(entry: &Entry, facts: &Facts) -> (Verdict, Vec<HandlerView>) {
    let views = views(entry, facts);
    let (why, ends) = sum(entry, &views, facts);
    let lasts = lasting(facts.at.since(story::since(&entry.history).unwrap_or(facts.at)));
    let why = format!("has been waiting for {lasts}: {why}");
    (Verdict { state: "waiting", why, ends }, views)
}

/// A job outside its group until it is due.
pub(super) fn held(entry: &Entry, until: Moment, facts: &Facts) -> (Verdict, Vec<HandlerView>) {
    let views = views(entry, facts);
    let left = lasting(until.since(facts.at));
    let last = story::last_reason(&entry.history);
    let reason = last.map_or("no reason is known", |(_, reason)| reason);
    if let Some(cancelled) = super::cancelled_by_us(entry) {
        let why = format!("{cancelled}; GitHub has not ended it yet");
        let ends = format!("GitHub says that it is over; it is asked in {left}");
        return (Verdict::new("held_back", why).until(ends), views);
    }
    let retry = format!("{left} have passed, or with `anklet queue retry {}`", entry.job.id);
    if let Some(why) = no_template(entry, &views) {
        return (Verdict::new("held_back", format!("is held back: {why}")).until(retry), views);
    }
    let by = last.and_then(|(line, _)| line.by.as_ref());
    let by = by.map(|(handler, host)| format!("{handler} on {} gave it back", facts.host_name(host)));
    let n_tries = entry.attempts;
    let tries = match n_tries {
        0 => String::new(),
        1 => "; 1 attempt was counted".to_owned(),
        n => format!("; {n} attempts were counted"),
    };
    let why =
        format!("is held back: {}: {reason}{tries}", by.unwrap_or_else(|| "it was given back".to_owned()));
    (Verdict::new("held_back", why).until(retry), views)
}

fn no_template(entry: &Entry, views: &[HandlerView]) -> Option<String> {
    let is_it = |view: &HandlerView| view.hindrance == Hindrance::NoTemplate;
    let counts = |view: &&HandlerView| view.hindrance != Hindrance::Gone;
    let first = views.iter().find(|view| is_it(view))?;
    views.iter().filter(counts).all(is_it).then(|| {
        let image = &entry.job.image;
        let tag = image.tag.as_ref().map(|tag| format!(" with the tag {tag}")).unwrap_or_default();
        format!("no host has the template {}{tag}: {}", image.template, first.what)
    })
}

/// What the handlers' hindrances come to, and what ends the wait.
fn sum(entry: &Entry, views: &[HandlerView], facts: &Facts) -> (String, Option<String>) {
    let job = &entry.job;
    let alive: Vec<_> = views.iter().filter(|view| view.hindrance != Hindrance::Gone).collect();
    if alive.is_empty() {
        let why =
            format!("no handler that takes jobs of {}/{} has been heard of lately", job.owner, job.repo);
        let ends = "a host with such a handler, and this queue, is started".to_owned();
        return (why, Some(ends));
    }
    let all = |hindrance: Hindrance| alive.iter().all(|view| view.hindrance == hindrance);
    if let Some(why) = no_template(entry, views) {
        return (why, Some("the template is there; each handler looks again after 10 minutes".to_owned()));
    }
    if all(Hindrance::Drained) {
        let why = "all hosts that could run it are drained".to_owned();
        return (why, Some("one of them takes jobs again: `anklet resume` there".to_owned()));
    }
    if all(Hindrance::TooLarge) {
        let why = format!("it is too large for every host: {}", alive[0].what);
        return (why, Some("a larger host joins, or the template gets smaller".to_owned()));
    }
    // Those that can never run it, or not without people, do not matter beside those that can.
    let is_able = |view: &&&HandlerView| {
        !matches!(view.hindrance, Hindrance::TooLarge | Hindrance::NoTemplate | Hindrance::Drained)
    };
    let able: Vec<_> = alive.iter().filter(is_able).collect();
    let every = |of: &[Hindrance]| !able.is_empty() && able.iter().all(|view| of.contains(&view.hindrance));
    if every(&[Hindrance::Budget]) {
        let why = format!("budget pause: {}", able[0].what);
        return (why, Some("GitHub allows calls again".to_owned()));
    }
    if every(&[Hindrance::Pull, Hindrance::Busy, Hindrance::NoSlot])
        && let Some(pull) = able.iter().find(|view| view.hindrance == Hindrance::Pull)
    {
        let why = format!("another pull is in the way on {}: {}", pull.host, pull.what);
        return (why, Some("that pull has ended".to_owned()));
    }
    if every(&[Hindrance::Busy, Hindrance::NoSlot, Hindrance::NoRoom, Hindrance::OtherGoesFirst]) {
        let names: Vec<_> = able.iter().map(|view| view.handler.as_str()).collect();
        let is_able = |entry: &&Entry| match &entry.place {
            anklet_plugin_api::store::Place::Claimed { handler, host, .. } => {
                names.contains(&handler.as_str())
                    || facts.eligible(job).any(|seen| seen.presence.host == *host)
            }
            _ => false,
        };
        let next = longest(facts.claimed.iter().filter(is_able), facts.at);
        let why = match able.iter().find(|view| view.hindrance == Hindrance::NoRoom) {
            Some(view) if every(&[Hindrance::NoRoom]) => {
                format!("its VM does not fit beside what runs: {}", view.what)
            }
            _ => "every handler that could run it is busy".to_owned(),
        };
        let ends = next.map_or_else(
            || "a VM of one of their hosts ends".to_owned(),
            |next| format!("a handler is free, and jobs before it are served; likeliest next: {next} ends"),
        );
        return (why, Some(ends));
    }
    if let Some(free) = able.iter().find(|view| view.hindrance == Hindrance::Nothing) {
        let why = format!(
            "{} on {} is free and takes it at its next look, if no older job comes first",
            free.handler, free.host
        );
        return (why, None);
    }
    let whats: Vec<_> = alive.iter().map(|view| format!("{}: {}", view.handler, view.what)).collect();
    (format!("no handler can take it now ({})", whats.join("; ")), None)
}
