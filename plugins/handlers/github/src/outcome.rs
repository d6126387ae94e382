//! How a try at a job can end, and what went wrong on the way.

use std::time::Duration;

use anklet_plugin_api::job::Conclusion;
use anklet_plugin_api::presence::Because;
use anklet_plugin_api::store::Counted;
use anklet_plugin_api::vm::VmError;

/// How a try ended. VM and runner have been dealt with by then.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// GitHub has ended the job.
    Finished(Conclusion),
    /// The job goes back to the queue.
    GiveBack(Failure),
    /// The run has to be cancelled: nobody can run this job.
    Cancel(String),
    /// The job waits for something that only people or GitHub can change.
    SetAside {
        /// What it waits for.
        reason: String,
        /// When it is asked about again.
        retry: Duration,
    },
    /// The job runs without us: on its VM after a stop, or on a runner that is none of ours.
    LeftRunning,
    /// The claim is no longer ours.
    TakenOver,
    /// The claim has been settled already.
    Settled,
    /// A stop came before the runner was known to be gone: claim and record stay for the next start.
    Kept,
}

/// Why a step did not get on.
#[derive(Debug)]
pub(crate) enum Setback {
    /// The process stops.
    Stopped,
    /// The job is over, runs elsewhere or is no longer ours: the store knows which.
    Useless,
    /// It went wrong.
    Failed(Failure),
    /// Nobody can run the job: why.
    Hopeless(String),
}

/// A failure and whom it speaks against.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What happened, for people.
    pub(crate) what: String,
    /// Whether the try counts against the job.
    pub(crate) counted: Counted,
    /// Whom it speaks against.
    pub(crate) blame: Blame,
    /// What hinders, for those who ask why a job waits.
    pub(crate) because: Because,
}

/// Whom a failure speaks against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// This host, and perhaps the job: both are left alone for a while.
    Host,
    /// This host has no room: it takes nothing for a while.
    NoSlot,
    /// Nobody: a stop, or GitHub's own decision.
    Nobody,
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>, counted: Counted, blame: Blame) -> Self {
        Self { what: what.into(), counted, blame, because: Because::Other }
    }

    /// With the kind of hindrance.
    pub(crate) fn because(self, because: Because) -> Self {
        Self { because, ..self }
    }

    /// The process stops; nothing is wrong with anybody.
    pub(crate) fn stopped() -> Self {
        Self::new("stopped", Counted::No, Blame::Nobody)
    }
}

/// Reads a VM error: `counted` is for failures that are not about room, pulls or stops.
pub(crate) fn vm_setback(error: &VmError, counted: Counted, is_stopping: bool) -> Setback {
    let because = match error {
        VmError::AtLimit { .. } => Because::NoSlot,
        VmError::NotOnDisk { .. } | VmError::NoSuchImage { .. } => Because::Template,
        VmError::Busy => Because::Pull,
        _ => Because::Other,
    };
    let (counted, blame) = match error {
        VmError::Cut { .. } if is_stopping => return Setback::Stopped,
        VmError::Cut { .. } => return Setback::Useless,
        VmError::AtLimit { .. } => (Counted::No, Blame::NoSlot),
        VmError::NotOnDisk { .. } | VmError::NoSpace { .. } | VmError::NoSuchImage { .. } | VmError::Busy => {
            (Counted::No, Blame::Host)
        }
        VmError::NotStarted { .. }
        | VmError::TooSlow { .. }
        | VmError::Failed { .. }
        | VmError::NotFound { .. }
        | VmError::Guest { .. }
        | VmError::Nonsense { .. } => (counted, Blame::Host),
    };
    Setback::Failed(Failure::new(error.to_string(), counted, blame).because(because))
}
