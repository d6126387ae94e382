//! Every built-in wait, named, so that tests and odd fleets can set it (`limits.NAME` in the config, in seconds).

use std::time::Duration;

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $default:literal;)*) => {
        /// The waits. Defaults are those of the handbook; see each field.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Limits {
            $($(#[$doc])* pub $name: Duration,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: Duration::from_millis($default),)* }
            }
        }

        impl Limits {
            /// The names, as the config spells them.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)*];

            /// The wait of that name, to be read or set.
            pub fn by_name(&mut self, name: &str) -> Option<&mut Duration> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)*
                    _ => None,
                }
            }
        }
    };
}

// Defaults in milliseconds.
limits! {
    /// An idle handler looks at the queue at least this often (or each `sleep_interval`, if that is shorter), in case a message was lost.
    idle_look = 10_000;
    /// How long a command may take to end after TERM, before KILL.
    command_grace = 10_000;
    /// A long command is mentioned in the log this often.
    command_report = 10_000;
    /// All undoing after a stop must be done in this time; the next start does the rest.
    undo = 15_000;
    /// One call of GitHub's API. GitHub itself cuts requests at 10 s.
    github_call = 15_000;
    /// The first wait before a failed call of GitHub's API is repeated; it doubles, with jitter.
    github_retry_first = 1_000;
    /// The longest wait between two tries of one call.
    github_retry_most = 60_000;
    /// All tries of one call together.
    github_retry_total = 120_000;
    /// While calls wait for GitHub's rate limit, that is said this often.
    limit_report = 30_000;
    /// A secondary rate limit of which GitHub does not say how long it lasts; it doubles with each that follows.
    secondary_limit_first = 60_000;
    /// The longest such wait.
    secondary_limit_most = 900_000;
    /// Registering the runner in the guest. It hangs when the job was cancelled meanwhile.
    register_runner = 60_000;
    /// Installing the runner in the guest, with its download.
    install_runner = 600_000;
    /// Starting the runner in the guest.
    start_runner = 120_000;
    /// GitHub's runner list may lag: an unlisted runner counts as gone this long after its registration ended.
    runner_list_lag = 90_000;
    /// Asked again whether the runner of an unknown job can be removed.
    fence_retry = 300_000;
    /// Asked again after GitHub gave no answer to a removal.
    fence_no_answer = 5_000;
    /// A job younger than this, tried for the first time, is not asked about before it starts.
    fresh_job = 300_000;
    /// A host leaves a job alone for this long after a failure of its own; it doubles.
    host_avoid_first = 10_000;
    /// The longest such time.
    host_avoid_most = 600_000;
    /// Nobody claims a job for this long after a failure, times 2 for each attempt.
    job_hold_first = 2_000;
    /// The longest such time.
    job_hold_most = 300_000;
    /// A handler rests for this long after three failures in a row on different jobs; one more of it each time.
    rest_first = 60_000;
    /// The longest rest.
    rest_most = 600_000;
    /// No slot is tried for this long after the host said that it runs as many VMs as it can.
    no_slot = 30_000;
    /// The VM of a running job is looked at this often.
    running_look = 60_000;
    /// GitHub is asked about a running job after this long without news, and then as often.
    running_silence = 600_000;
    /// Jobs of which nothing is heard are looked for this often.
    sweep_look = 60_000;
    /// GitHub is asked about a job that nobody holds after this long without news; then it doubles.
    sweep_first = 600_000;
    /// The longest time between two such questions.
    sweep_most = 7_200_000;
    /// While the Go program works with the Redis of a queue, it is looked this often whether it has ended and left jobs.
    go_program_look = 60_000;
    /// A failed deletion is tried again this often.
    delete_retry = 60_000;
    /// A VM to whose runner no handler of this host has access is complained about this often.
    complaint = 3_600_000;
    /// VM records of hosts that are gone are looked for this often.
    forsaken_look = 3_600_000;
    /// A host of which no plugin had a lease for this long is gone: its VM records are dropped.
    host_gone = 604_800_000;
    /// A refused cancellation, and a repository that cannot be seen, are asked about again this often.
    refused_retry = 3_600_000;
    /// A job that GitHub does not find is asked about again after this; with the fourth such answer, within ten minutes, it may be gone.
    denied_retry = 150_000;
    /// After a cancellation was accepted, GitHub is asked for the end of the job if no news came.
    cancel_silence = 120_000;
    /// A job that GitHub holds back (`waiting`, `pending`) is asked about again after this; it doubles.
    waiting_retry = 60_000;
    /// A registration timeout counts for a runner that GitHub lists as online only after this.
    idle_runner = 1_800_000;
    /// A receiver looks this often in GitHub's log for webhooks that did not arrive.
    redeliver_look = 600_000;
    /// How long after the store came back a receiver looks there; GitHub's log may lag by as much.
    redeliver_settle = 5_000;
    /// The time between two redeliveries: GitHub asks for a second between writes.
    redeliver_pace = 1_000;
    /// One whole request to the receiver.
    request = 10_000;
    /// An idle connection to the receiver.
    connection_idle = 60_000;
    /// The receiver answers 503 when the store has not taken a webhook in this time.
    store_answer = 5_000;
    /// What is known of a template's size, and of groups that do not fit, is asked anew after this.
    verdict_life = 600_000;
    /// A job that fits the host but not the room left is passed over for this long; then it is held ready and goes first.
    passed_over = 300_000;
    /// Freed disk space may show some time after a template was deleted: it is looked at again after this, then after twice as long each time.
    disk_settle = 2_000;
    /// What is left in a guest after a failure is read from it for at most this long before the VM is deleted.
    diagnostics = 20_000;
    /// State lines (no capacity, drain) come this often at most.
    state_line = 60_000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_its_wait() {
        let mut limits = Limits::default();
        for name in Limits::NAMES {
            *limits.by_name(name).unwrap() = Duration::from_secs(1);
        }
        assert_eq!(limits.undo, Duration::from_secs(1));
        assert!(limits.by_name("nonsense").is_none());
    }
}
