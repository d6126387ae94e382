//! The names of the Go program's lists in Redis, and in which order they are adopted.

use anklet_plugin_api::name::PluginName;

/// What every name of the Go program begins with. Our queues' keys begin with `anklet:`.
pub(super) const ALL: &str = "anklet/*";
const METRICS: &str = "anklet/metrics/";
const LISTS: &str = "anklet/jobs/github/";

/// A list, in the order of adoption: what has ended first, so that it does not start again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Webhooks of ended jobs.
    Completed,
    /// What one handler works on, or is cleaning up: a job, and behind it its VM.
    Handler {
        /// Whose it is.
        name: PluginName,
        /// What it was about to remove.
        is_cleaning: bool,
    },
    /// Waiting jobs.
    Queued,
    /// Jobs for which a handler had no room.
    Paused,
    /// Webhooks of started jobs.
    InProgress,
}

/// A list of one of our queues.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct List {
    pub(super) kind: Kind,
    pub(super) key: String,
    /// As we name it: in lower case.
    pub(super) queue: String,
}

impl Kind {
    /// How far the jobs of such a list are.
    pub(super) fn state(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::InProgress => "in_progress",
            Self::Handler { .. } | Self::Queued | Self::Paused => "queued",
        }
    }
}

/// Whether this is a document in which a process tells what it does.
pub(super) fn is_metrics(key: &str) -> bool {
    key.starts_with(METRICS)
}

/// The list that a key names; none if it is none, or of a queue that is none of these.
pub(super) fn list(key: &str, is_ours: impl Fn(&str) -> bool) -> Option<List> {
    let (kind, rest) = key.strip_prefix(LISTS)?.split_once('/')?;
    let (kind, queue) = match kind {
        "queued" => match rest.rsplit_once("/{") {
            Some((queue, below)) => (handler(below)?, queue),
            None => (Kind::Queued, rest),
        },
        "paused" => (Kind::Paused, rest),
        "in_progress" => (Kind::InProgress, rest),
        // Of the queue, or of one handler of it.
        "completed" if is_ours(&rest.to_lowercase()) => (Kind::Completed, rest),
        "completed" => (Kind::Completed, rest.rsplit_once('/')?.0),
        _ => return None,
    };
    let queue = queue.to_lowercase();
    is_ours(&queue).then(|| List { kind, key: key.to_owned(), queue })
}

/// The list in which a handler keeps what it works on.
pub(super) fn of_handler(queue: &str, name: &PluginName) -> List {
    let key = format!("{LISTS}queued/{queue}/{{{name}}}");
    List { kind: Kind::Handler { name: name.clone(), is_cleaning: false }, key, queue: queue.to_lowercase() }
}

fn handler(below: &str) -> Option<Kind> {
    let (name, is_cleaning) = match below.strip_suffix("}/cleaning") {
        Some(name) => (name, true),
        None => (below.strip_suffix('}')?, false),
    };
    Some(Kind::Handler { name: PluginName::new(name), is_cleaning })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, expected: Option<Kind>) {
        let list = list(key, |queue| queue == "acme");
        assert_eq!(list.as_ref().map(|list| &list.kind), expected.as_ref(), "{key}");
        assert!(list.is_none_or(|list| list.queue == "acme" && list.key == key));
    }

    fn of(name: &str, is_cleaning: bool) -> Option<Kind> {
        Some(Kind::Handler { name: PluginName::new(name), is_cleaning })
    }

    #[test]
    fn lists_are_known_by_their_names() {
        check("anklet/jobs/github/queued/Acme", Some(Kind::Queued));
        check("anklet/jobs/github/queued/acme/{H1}", of("H1", false));
        check("anklet/jobs/github/queued/acme/{H1}/cleaning", of("H1", true));
        check("anklet/jobs/github/paused/acme", Some(Kind::Paused));
        check("anklet/jobs/github/in_progress/acme", Some(Kind::InProgress));
        check("anklet/jobs/github/completed/acme", Some(Kind::Completed));
        check("anklet/jobs/github/completed/acme/H1", Some(Kind::Completed));
        for other in [
            "anklet/jobs/github/queued/other",
            "anklet/jobs/github/queued/other/{H1}",
            "anklet/jobs/github/queued/acme/{H1}/more",
            "anklet/jobs/github/waiting/acme",
            "anklet/jobs/buildkite/queued/acme",
            "anklet/metrics/acme/H1",
        ] {
            check(other, None);
        }
    }

    #[test]
    fn what_has_ended_comes_first_and_handlers_before_the_queue() {
        let own = of_handler("Acme", &PluginName::new("H1"));
        assert_eq!(own.key, "anklet/jobs/github/queued/Acme/{H1}");
        assert!(Kind::Completed < own.kind && own.kind < Kind::Queued && Kind::Queued < Kind::InProgress);
    }
}
