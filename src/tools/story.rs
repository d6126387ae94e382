//! A job's history as a story: which stages it went through, and how long each took.

use std::time::Duration;

use anklet_plugin_api::store::Transition;
use anklet_plugin_api::time::Moment;
use serde::Serialize;

/// What a give-back by us that asked for a cancellation begins with, as the handler writes it.
pub(super) const CANCELLED: &str = "cancelled: ";
/// A line that `anklet queue cancel` leaves.
pub(super) const CANCELLED_BY_HAND: &str = "cancel asked by hand";
const GIVEN_BACK: &str = "given back: ";

/// A part of a job's life.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Part {
    /// `waiting`, `preparing`, a stage, `running`, `over`.
    pub(super) stage: String,
    pub(super) began_at: String,
    #[serde(skip)]
    pub(super) began: Moment,
    pub(super) seconds: u64,
    /// Who had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) handler: Option<String>,
    /// What led to it, where that is more than the order of things.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<String>,
}

/// The parts of a history up to `now`, oldest first.
pub(super) fn parts(history: &[Transition], now: Moment) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for line in history {
        let Some(stage) = stage_after(line) else { continue };
        let after = line.what.strip_prefix(GIVEN_BACK).map(|reason| format!("given back: {reason}"));
        if let Some(last) = parts.last_mut() {
            last.seconds = line.at.since(last.began).as_secs();
            if last.stage == stage && after.is_none() && !is_told(&line.what) {
                continue;
            }
        }
        parts.push(Part {
            stage,
            began_at: shown(line.at),
            began: line.at,
            seconds: 0,
            handler: line.by.as_ref().map(|(handler, _)| handler.to_string()),
            after: after.or_else(|| is_told(&line.what).then(|| line.what.clone())),
        });
    }
    if let Some(last) = parts.last_mut().filter(|last| last.stage != OVER) {
        last.seconds = now.since(last.began).as_secs();
    }
    parts
}

const OVER: &str = "over";

fn is_told(what: &str) -> bool {
    matches!(what, "taken over" | "adopted" | "retried by hand" | "removed by hand")
        || what.starts_with(CANCELLED_BY_HAND)
}

/// The stage that begins with a line; none if it tells of something else.
fn stage_after(line: &Transition) -> Option<String> {
    let stage = match line.what.as_str() {
        "queued" | "retried by hand" => "waiting",
        "claimed" | "taken over" | "resumed" => "preparing",
        "adopted" | "in_progress" | "left running" | "stage running" => "running",
        "paused" => "held ready",
        "completed" | "removed by hand" => OVER,
        what if what.starts_with(GIVEN_BACK) => "waiting",
        what => return what.strip_prefix("stage ").map(str::to_owned),
    };
    Some(stage.to_owned())
}

/// The reason of the last give-back, with who gave it and when.
pub(super) fn last_reason(history: &[Transition]) -> Option<(&Transition, &str)> {
    let given_back = |line: &'_ Transition| line.what.starts_with(GIVEN_BACK);
    let line = history.iter().rev().find(|line| given_back(line))?;
    Some((line, line.what.strip_prefix(GIVEN_BACK)?))
}

/// All give-backs, oldest first.
pub(super) fn reasons(history: &[Transition]) -> impl Iterator<Item = (&Transition, &str)> {
    history.iter().filter_map(|line| Some((line, line.what.strip_prefix(GIVEN_BACK)?)))
}

/// When the stage that the job is in now began.
pub(super) fn since(history: &[Transition]) -> Option<Moment> {
    parts(history, Moment(0)).last().map(|part| part.began)
}

/// A duration in its two largest units.
pub(super) fn lasting(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A moment in UTC, to the second.
pub(super) fn shown(moment: Moment) -> String {
    let text = moment.to_string();
    format!("{}Z", text.split('.').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anklet_plugin_api::name::{HostId, PluginName};

    fn line(at: i64, what: &str) -> Transition {
        let by = what.starts_with("claimed").then(|| (PluginName::new("H"), HostId::new("h")));
        Transition { at: Moment(at * 1_000), what: what.to_owned(), by }
    }

    #[test]
    fn stages_follow_each_other_with_their_times() {
        let history = [
            line(0, "queued"),
            line(5, "claimed"),
            line(6, "given back: no disk"),
            line(10, "claimed"),
            line(11, "stage cloning"),
            line(13, "stage starting"),
            line(14, "paused"),
            line(20, "resumed"),
            line(21, "in_progress"),
            line(22, "stage running"),
            line(60, "completed"),
        ];
        let told: Vec<_> =
            parts(&history, Moment(99_000)).into_iter().map(|part| (part.stage, part.seconds)).collect();
        let expected = [
            ("waiting", 5),
            ("preparing", 1),
            ("waiting", 4),
            ("preparing", 1),
            ("cloning", 2),
            ("starting", 1),
            ("held ready", 6),
            ("preparing", 1),
            ("running", 39),
            ("over", 0),
        ];
        assert_eq!(told, expected.map(|(stage, seconds)| (stage.to_owned(), seconds)));
        assert_eq!(last_reason(&history).map(|(line, reason)| (line.at.0, reason)), Some((6_000, "no disk")));
        assert_eq!(parts(&history[..1], Moment(7_000))[0].seconds, 7);
        assert_eq!(since(&history[..6]), Some(Moment(13_000)));
    }

    #[test]
    fn durations_are_short() {
        for (seconds, expected) in
            [(0, "0s"), (59, "59s"), (61, "1m01s"), (3_700, "1h01m"), (90_000, "1d01h")]
        {
            assert_eq!(lasting(Duration::from_secs(seconds)), expected);
        }
    }
}
