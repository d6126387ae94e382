//! What the looks may cost: a tenth of the calls that GitHub allows in an hour, whatever there is to make up for, so that the jobs have the rest.
//!
//! After a long outage that makes the looks slower, not less thorough: each goes on where the last one ended, oldest first.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use anklet_github::deliveries::DeliveryPage;
use anklet_github::error::ClientError;
use anklet_github::wire::{JobState, Webhook};
use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::job::Job;
use anklet_plugin_api::time::Moment;

use crate::hook_log::Log;

const HOUR: Duration = Duration::from_secs(3_600);
/// What GitHub allows at least, and what is taken for granted until it has said more.
const CALLS_AN_HOUR: u64 = 5_000;

/// A log whose calls are counted.
pub(crate) struct Meter {
    log: Box<dyn Log>,
    /// When the calls of the last hour were made: each at the beginning of its look.
    calls: RefCell<VecDeque<Moment>>,
    now: Cell<Moment>,
}

impl Meter {
    pub(crate) fn new(log: Box<dyn Log>) -> Self {
        Self { log, calls: RefCell::default(), now: Cell::new(Moment(0)) }
    }

    /// A look begins.
    pub(crate) fn begin(&self, now: Moment) {
        self.now.set(now);
        let hour_ago = now.before(HOUR);
        // A clock that was set back must not keep anything waiting.
        self.calls.borrow_mut().retain(|at| *at > hour_ago && *at <= now);
    }

    /// Whether so many calls more would be too many for this hour.
    pub(crate) fn is_too_much(&self, n_more: usize) -> bool {
        let most = self.log.hourly_limit().unwrap_or(CALLS_AN_HOUR) / 10;
        self.calls.borrow().len() + n_more > usize::try_from(most).unwrap_or(usize::MAX)
    }

    fn counted(&self) -> &dyn Log {
        self.calls.borrow_mut().push_back(self.now.get());
        &*self.log
    }
}

impl Log for Meter {
    fn page(&self, at: Option<&str>, ear: &Ear) -> Result<DeliveryPage, ClientError> {
        self.counted().page(at, ear)
    }

    fn said(&self, id: u64, ear: &Ear) -> Result<Option<Webhook>, ClientError> {
        self.counted().said(id, ear)
    }

    fn send_again(&self, id: u64, ear: &Ear) -> Result<bool, ClientError> {
        self.counted().send_again(id, ear)
    }

    fn job_state(&self, job: &Job, ear: &Ear) -> Result<JobState, ClientError> {
        self.counted().job_state(job, ear)
    }

    fn what_to_mend(&self, error: &ClientError) -> Option<String> {
        self.log.what_to_mend(error)
    }

    fn hourly_limit(&self) -> Option<u64> {
        self.log.hourly_limit()
    }
}
