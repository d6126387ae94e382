//! A host is blamed before a job: failures in a row make the handler rest instead of burning through everybody's jobs.

use std::time::{Duration, Instant};

use anklet_plugin_api::job::JobId;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::presence::PauseReason;

/// Three failures on different jobs are not the jobs' fault.
const N_FAILURES_BEFORE_REST: usize = 3;

/// What recent failures tell a handler about its host.
#[derive(Default)]
pub(crate) struct Mood {
    failed: Vec<JobId>,
    n_rests: u32,
    rests_until: Option<Instant>,
    no_slot_until: Option<Instant>,
}

impl Mood {
    /// A VM got as far as a working runner: the host is well.
    pub(crate) fn on_success(&mut self) {
        *self = Self::default();
    }

    /// The host failed with a job. Answers how long the handler rests now, if this was one failure too many.
    pub(crate) fn on_failure(&mut self, job: JobId, now: Instant, limits: &Limits) -> Option<Duration> {
        if !self.failed.contains(&job) {
            self.failed.push(job);
        }
        // After a rest one job is tried; its failure alone leads to the next rest.
        if self.failed.len() < N_FAILURES_BEFORE_REST && self.n_rests == 0 {
            return None;
        }
        self.failed.clear();
        self.n_rests += 1;
        let rest = (limits.rest_first * self.n_rests).min(limits.rest_most);
        self.rests_until = Some(now + rest);
        Some(rest)
    }

    /// The host has no slot that could be had.
    pub(crate) fn on_no_slot(&mut self, now: Instant, limits: &Limits) {
        self.no_slot_until = Some(now + limits.no_slot);
    }

    /// A slot of the host became free.
    pub(crate) fn on_freed_slot(&mut self) {
        self.no_slot_until = None;
    }

    /// Why nothing should be claimed, if so.
    pub(crate) fn reason(&self, now: Instant) -> PauseReason {
        match self.rests_until {
            Some(until) if until > now => PauseReason::Rests,
            _ => PauseReason::NoSlot,
        }
    }

    /// Until when nothing should be claimed, if so.
    pub(crate) fn waits_until(&self, now: Instant) -> Option<Instant> {
        [self.rests_until, self.no_slot_until].into_iter().flatten().filter(|until| *until > now).max()
    }
}

/// `first`, doubled `n` times, at most `most`.
pub(crate) fn doubled(first: Duration, n: u32, most: Duration) -> Duration {
    first.saturating_mul(2u32.saturating_pow(n)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_jobs_in_a_row_mean_a_rest_and_each_further_one_a_longer_rest() {
        let (mut mood, now, limits) = (Mood::default(), Instant::now(), Limits::default());
        assert_eq!(mood.on_failure(JobId(1), now, &limits), None);
        assert_eq!(
            mood.on_failure(JobId(1), now, &limits),
            None,
            "one job that fails thrice may be its own fault"
        );
        assert_eq!(mood.on_failure(JobId(2), now, &limits), None);
        assert_eq!(mood.on_failure(JobId(3), now, &limits), Some(Duration::from_secs(60)));
        assert_eq!(mood.waits_until(now), Some(now + Duration::from_secs(60)));
        assert_eq!(mood.on_failure(JobId(3), now, &limits), Some(Duration::from_secs(120)));
        for _ in 0..20 {
            mood.on_failure(JobId(4), now, &limits);
        }
        assert_eq!(mood.on_failure(JobId(4), now, &limits), Some(Duration::from_secs(600)));
        mood.on_success();
        assert_eq!(mood.waits_until(now), None);
        assert_eq!(mood.on_failure(JobId(5), now, &limits), None);
    }

    #[test]
    fn no_slot_is_forgotten_when_one_is_freed() {
        let (mut mood, now, limits) = (Mood::default(), Instant::now(), Limits::default());
        mood.on_no_slot(now, &limits);
        assert!(mood.waits_until(now).is_some());
        mood.on_freed_slot();
        assert!(mood.waits_until(now).is_none());
    }

    #[test]
    fn doubling_has_an_end() {
        let (first, most) = (Duration::from_secs(2), Duration::from_secs(300));
        assert_eq!(doubled(first, 0, most), Duration::from_secs(2));
        assert_eq!(doubled(first, 3, most), Duration::from_secs(16));
        assert_eq!(doubled(first, 400, most), most);
    }
}
