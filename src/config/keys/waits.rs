//! The keys of `limits` and `anka_timeouts`: every built-in wait can be set, for tests and for odd fleets.

use std::time::Duration;

use super::{Key, Root, seconds};
use crate::config::kind::Kind;

/// The keys below `map`, with their meanings and their defaults.
pub(super) fn keys(
    map: &str,
    names: &[&str],
    meanings: &[(&str, &'static str)],
    default: impl Fn(&str) -> Option<Duration>,
) -> Vec<Key> {
    let one = |name: &&str| {
        let meaning =
            meanings.iter().find(|(of, _)| of == name).map_or("A built-in wait.", |(_, meaning)| meaning);
        let default = default(name).map_or(String::new(), seconds);
        Key::new(Root::Top, &format!("{map}.{name}"), Kind::seconds(0.001, 31_536_000.0), &default, meaning)
    };
    names.iter().map(one).collect()
}

/// What each of `limits` limits.
pub(super) const LIMITS: &[(&str, &str)] = &[
    ("idle_look", "An idle handler looks at the queue at least this often."),
    ("command_grace", "A command may take this long to end after TERM, before KILL."),
    ("command_report", "A command that runs long is mentioned in the log this often."),
    ("undo", "All undoing after a stop must be done in this time."),
    ("github_call", "One call of GitHub's API."),
    ("github_retry_first", "The first wait before a failed call of GitHub's API is repeated; it doubles."),
    ("github_retry_most", "The longest such wait."),
    ("github_retry_total", "All tries of one call of GitHub's API together."),
    ("limit_report", "While calls wait for GitHub's rate limit, that is said this often."),
    (
        "secondary_limit_first",
        "The wait after a secondary rate limit of which GitHub does not say how long it lasts; it doubles.",
    ),
    ("secondary_limit_most", "The longest such wait."),
    ("register_runner", "Registering the runner in the guest."),
    ("install_runner", "Installing the runner in the guest, with its download."),
    ("start_runner", "Starting the runner in the guest."),
    ("runner_list_lag", "A runner that GitHub does not list counts as gone this long after it registered."),
    ("fence_retry", "A runner that could not be removed is tried again after this."),
    ("fence_no_answer", "The same, when GitHub gave no answer."),
    ("fresh_job", "A job younger than this is started without asking GitHub about it."),
    ("host_avoid_first", "A host leaves a job alone this long after it failed there; it doubles."),
    ("host_avoid_most", "The longest such time."),
    ("job_hold_first", "No host takes a job this long after it failed; it doubles with each attempt."),
    ("job_hold_most", "The longest such time."),
    ("rest_first", "A handler rests this long after three failures in a row on different jobs; it grows."),
    ("rest_most", "The longest such rest."),
    ("no_slot", "No VM is started this long after Anka said that no more can run."),
    ("running_look", "The VM of a running job is looked at this often."),
    ("running_silence", "GitHub is asked about a running job after this long without news."),
    ("sweep_look", "Jobs of which nothing is heard are looked for this often."),
    ("sweep_first", "GitHub is asked about a job that waits after this long without news; it doubles."),
    ("sweep_most", "The longest time between two such questions."),
    (
        "go_program_look",
        "While the Go program works with the same Redis, it is looked this often whether it has ended.",
    ),
    ("delete_retry", "A VM that could not be deleted is tried again this often."),
    ("complaint", "A VM left by a handler whose scope is not in the config any more is told of this often."),
    ("forsaken_look", "VMs recorded for hosts that are gone are looked for this often."),
    (
        "host_gone",
        "A host of which no plugin was heard for this long is gone: the queue forgets its VMs, and each is told of.",
    ),
    (
        "refused_retry",
        "A refused cancellation, or a repository that cannot be seen, is asked about this often.",
    ),
    ("denied_retry", "A job that GitHub does not find is asked about again after this, three times."),
    ("cancel_silence", "After an accepted cancellation, GitHub is asked for the job's end if no news came."),
    ("waiting_retry", "A job that GitHub holds back is asked about again after this; it doubles."),
    (
        "idle_runner",
        "A runner that GitHub lists as online may wait this long before the timeout counts as a try.",
    ),
    ("redeliver_look", "A receiver looks this often in GitHub's log for webhooks that did not arrive."),
    ("redeliver_settle", "After the store came back, a receiver waits this long before it looks there."),
    ("redeliver_pace", "The time between two redeliveries."),
    ("request", "One whole request to the receiver."),
    ("connection_idle", "An idle connection to the receiver."),
    ("store_answer", "The receiver answers 503 when the queue has not taken a webhook in this time."),
    ("verdict_life", "Template sizes, and what did not fit on this host, are asked anew after this."),
    (
        "passed_over",
        "A job that fits the host but not the room left is passed over for this long; then it goes first.",
    ),
    (
        "disk_settle",
        "Disk space that a deleted template frees is looked at again after this, then after twice as long each time, five times.",
    ),
    ("diagnostics", "What a failed try left in a guest is read for at most this long before the VM goes."),
    ("state_line", "A log line that tells a lasting state is repeated this often at most."),
];

/// What each of `anka_timeouts` limits.
pub(super) const ANKA_TIMEOUTS: &[(&str, &str)] = &[
    ("version", "anka version and anka license show."),
    ("list", "anka list."),
    ("show", "anka show."),
    ("clone", "anka clone."),
    ("start", "anka start."),
    ("cp", "anka cp."),
    ("delete", "anka delete."),
    ("stop", "anka stop."),
    ("pull", "anka registry pull."),
    ("mount", "anka mount."),
    ("license", "anka license."),
    ("run", "anka run."),
    ("registry", "anka registry, for all but pulling."),
];

#[cfg(test)]
mod tests {
    use anklet_plugin_api::limits::Limits;

    use super::*;
    use crate::anka::timeouts::AnkaTimeouts;

    fn check(names: &[&str], meanings: &[(&str, &str)]) {
        for name in names {
            assert!(meanings.iter().any(|(of, _)| of == name), "say in waits.rs what {name} means");
        }
    }

    #[test]
    fn every_wait_is_explained() {
        check(Limits::NAMES, LIMITS);
        check(AnkaTimeouts::NAMES, ANKA_TIMEOUTS);
        for (name, _) in LIMITS {
            assert!(Limits::NAMES.contains(name), "{name} is no limit");
        }
    }
}
