//! How the memory store finds jobs of which nothing is heard.

use super::state::{Spot, State};
use crate::job::{Job, JobId};
use crate::store::Silence;
use crate::time::Moment;

impl State {
    pub(super) fn silent(&mut self, silence: &Silence, now: Moment) -> Vec<Job> {
        let due_at = |id: &JobId| {
            let stored = &self.jobs[id];
            match stored.asked {
                Some((asked_at, waited)) => asked_at.after((waited * 2).min(silence.most)),
                None => stored.heard_at.after(silence.first),
            }
        };
        let is_asked_for = |id: &JobId| {
            let stored = &self.jobs[id];
            !matches!(stored.spot, Spot::Claimed(_)) && silence.scope.covers(&stored.job) && due_at(id) <= now
        };
        let mut ids: Vec<_> = self.jobs.keys().copied().filter(is_asked_for).collect();
        ids.sort_by_key(|id| (due_at(id), self.jobs[id].age.1));
        ids.truncate(silence.limit);
        ids.into_iter().map(|id| self.ask(id, silence, now)).collect()
    }

    fn ask(&mut self, id: JobId, silence: &Silence, now: Moment) -> Job {
        let stored = self.job(id);
        let waited = stored.asked.map_or(silence.first, |(_, waited)| (waited * 2).min(silence.most));
        stored.asked = Some((now, waited));
        stored.job.clone()
    }

    /// News has moved the job: its silence begins anew.
    pub(super) fn hear(&mut self, id: JobId, now: Moment) {
        if let Some(stored) = self.jobs.get_mut(&id) {
            stored.heard_at = now;
            stored.asked = None;
        }
    }
}
