//! What a 404 about a job means. GitHub also answers it for what it has not got round to, and for what it hides, so that only a row of them,
//! while the repository can be seen, says that the job was deleted.

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::job::{Conclusion, Job};

use crate::hub::Hub;
use crate::question::{DENIAL, HIDDEN};

/// So many denials count for nothing: the fourth in a row may be believed.
const N_DENIALS: usize = 3;

/// The denials of one job in a row.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    n_in_row: usize,
    was_hidden: bool,
}

/// What the latest denial means.
#[derive(Debug)]
pub(crate) enum Denied {
    /// Nothing yet: ask again soon.
    NotYet,
    /// The repository cannot be seen, so that nothing is known of the job.
    Hidden(String),
    /// The job, with its run, was deleted.
    Gone,
}

impl Denials {
    /// The row that a job's give-backs tell of.
    pub(crate) fn told_by(reasons: &[String]) -> Self {
        Self {
            n_in_row: reasons.iter().rev().take_while(|reason| *reason == DENIAL).count(),
            was_hidden: reasons.last().is_some_and(|reason| reason.starts_with(HIDDEN)),
        }
    }

    /// Whether the job was not denied yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.n_in_row == 0 && !self.was_hidden
    }

    /// GitHub has denied the job once more.
    pub(crate) fn judge(&mut self, hub: &Hub, job: &Job, ear: &Ear<'_>) -> Denied {
        let is_believable = self.n_in_row >= N_DENIALS;
        self.n_in_row += 1;
        if !is_believable && !self.was_hidden {
            return Denied::NotYet;
        }
        match hub.why_hidden(job, ear) {
            Ok(Some(why)) => {
                (self.n_in_row, self.was_hidden) = (0, true);
                Denied::Hidden(why)
            }
            Ok(None) if self.was_hidden => {
                // It can be seen again, and perhaps the job with it.
                (self.n_in_row, self.was_hidden) = (1, false);
                Denied::NotYet
            }
            Ok(None) => Denied::Gone,
            // No answer about the repository is none about the job.
            Err(_) => Denied::NotYet,
        }
    }
}

/// How a deleted job ended.
pub(crate) fn deleted() -> Conclusion {
    Conclusion::Other("deleted".to_owned())
}
