//! What people ask the memory store, and what they do to it by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use super::state::{Spot as Stands, State};
use crate::job::JobId;
use crate::store::{Ahead, ByHand, Dossier, Ended, Entry, Notice, Place, Spot, Survey, Waiting};
use crate::time::Moment;

impl State {
    pub(super) fn survey(&self, now: Moment) -> Survey {
        let counts = self.counts(now);
        let mut survey = Survey {
            at: now,
            held: counts.held,
            claimed: counts.claimed,
            running: counts.running,
            vms: counts.vms,
            groups: BTreeMap::new(),
        };
        for stored in self.jobs.values().filter(|stored| stored.is_claimable(now)) {
            let age = stored.age.0;
            let first = Waiting { n_jobs: 0, oldest_at: age };
            let group = survey.groups.entry(stored.job.group()).or_insert(first);
            group.n_jobs += 1;
            group.oldest_at = group.oldest_at.min(age);
        }
        survey
    }

    pub(super) fn list(&self, spot: Spot, limit: usize, now: Moment) -> Vec<Entry> {
        let entries = self.jobs.keys().filter_map(|id| self.entry(*id, now));
        let mut entries: Vec<_> = entries.filter(|entry| is_at(&entry.place, spot)).collect();
        entries.sort_by_key(|entry| match entry.place {
            Place::Held { until } => (until, 0),
            _ => self.jobs[&entry.job.id].age,
        });
        entries.truncate(limit);
        entries
    }

    pub(super) fn examine(&self, id: JobId, now: Moment) -> Dossier {
        let ahead = self.jobs.get(&id).filter(|stored| stored.is_claimable(now)).map(|own| {
            let older = || self.jobs.values().filter(|other| other.is_claimable(now) && other.age < own.age);
            let in_group = older().filter(|other| other.job.group() == own.job.group()).count() as u64;
            Ahead { in_group, in_queue: older().count() as u64 }
        });
        let ended = self
            .tombstones
            .get(&id)
            .map(|run_attempt| Ended { run_attempt: *run_attempt, last: self.last.get(&id).cloned() });
        Dossier { at: now, entry: self.entry(id, now), ahead, ended }
    }

    pub(super) fn by_hand(&mut self, id: JobId, what: &ByHand, now: Moment) -> bool {
        let Some(stored) = self.jobs.get_mut(&id) else { return false };
        match what {
            ByHand::Say(text) => stored.note(now, text.as_str(), None),
            ByHand::Retry => {
                if !matches!(stored.spot, Stands::InGroup | Stands::HeldUntil(_)) {
                    return false;
                }
                stored.spot = Stands::InGroup;
                stored.hosts.values_mut().for_each(|on_host| on_host.avoids_until = Moment::default());
                stored.note(now, "retried by hand", None);
                self.tell_all();
            }
            ByHand::Remove => {
                stored.note(now, "removed by hand", None);
                let (job, holder) = (stored.job.clone(), stored.claimant().cloned());
                self.remember(id);
                if let Some(holder) = holder {
                    self.lose(&holder);
                }
                self.jobs.remove(&id);
                self.bury(&job);
            }
        }
        true
    }

    /// Keeps the job as it is now beside its tombstone.
    pub(super) fn remember(&mut self, id: JobId) {
        if let Some(stored) = self.jobs.get(&id) {
            let last = Entry {
                job: stored.job.clone(),
                phase: stored.phase.clone(),
                place: Place::Running,
                attempts: stored.attempts,
                history: stored.history.iter().cloned().collect(),
                vm: None,
                claimed_until: None,
                avoided_by: BTreeMap::new(),
            };
            self.last.insert(id, last);
        }
    }

    pub(super) fn post(&mut self, key: &str, text: &str, life: Duration, now: Moment) {
        let known = self.notices.remove(key).filter(|known| known.until > now && known.text == text);
        if life.is_zero() {
            return;
        }
        let (key, text) = (key.to_owned(), text.to_owned());
        let since = known.map_or(now, |known| known.since);
        self.notices.insert(key.clone(), Notice { key, text, since, until: now.after(life) });
    }

    pub(super) fn notices(&self, prefix: &str, now: Moment) -> Vec<Notice> {
        let begin_so = self.notices.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        begin_so.map(|(_, notice)| notice.clone()).filter(|notice| notice.until > now).collect()
    }
}

fn is_at(place: &Place, spot: Spot) -> bool {
    match place {
        Place::Queued => spot == Spot::Queued,
        Place::Held { .. } => spot == Spot::Held,
        Place::Claimed { .. } => spot == Spot::Claimed,
        Place::Running => spot == Spot::Running,
    }
}
