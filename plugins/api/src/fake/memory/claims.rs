//! How the memory store hands out claims and keeps them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::state::{HeldClaim, Spot, State, StoredJob};
use crate::job::{Group, JobId, Phase};
use crate::name::{HostId, PluginName, VmName};
use crate::store::{Claim, ClaimAnswer, ClaimKey, ClaimView, StoreError, Taken, Want};
use crate::time::Moment;

const N_STEPS: usize = 32;
const DEFAULT_LIFE: Duration = Duration::from_secs(90);

impl State {
    pub(super) fn claim(&mut self, want: &Want, now: Moment) -> ClaimAnswer {
        self.lives.insert(want.handler.clone(), want.claim_life);
        if let Some(held) = self.claims.get_mut(&want.handler) {
            held.host = want.host.clone();
            held.life = want.claim_life;
            held.paused = false;
            held.renew(now);
            return ClaimAnswer::Claimed(Box::new(self.show(&want.handler, true)));
        }
        if want.take_over
            && let Some(job) = self.look_twice(want, now)
        {
            return self.take_over(job, want, now);
        }
        if let Some(job) = self.oldest_paused(want, now) {
            return self.take_paused(job, want, now);
        }
        if let Some(job) = self.oldest_queued(want, now) {
            return self.grant(job, want, None, now);
        }
        ClaimAnswer::Nothing { next_due: self.next_due(want, now) }
    }

    /// Marks the claims that were not renewed in time; answers the oldest job whose mark is ripe.
    fn look_twice(&mut self, want: &Want, now: Moment) -> Option<JobId> {
        let mut ripe = Vec::new();
        for held in self.claims.values_mut() {
            let stored = &self.jobs[&held.job];
            if !want.scope.covers(&stored.job) || held.look_at() > now {
                continue;
            }
            match held.marked_at {
                Some(marked_at) if held.ripens_at(marked_at, want.claim_life) <= now => ripe.push(stored),
                Some(_) => {}
                None => held.marked_at = Some(now),
            }
        }
        oldest(ripe)
    }

    /// Marks all claims that were not renewed in time.
    pub(super) fn mark_late(&mut self, now: Moment) {
        for held in self.claims.values_mut().filter(|held| held.look_at() <= now) {
            held.marked_at.get_or_insert(now);
        }
    }

    /// The attempt of the old claim stays counted: its handler may have died of this job.
    fn take_over(&mut self, job: JobId, want: &Want, now: Moment) -> ClaimAnswer {
        let old = self.jobs[&job].claimant().cloned().expect("the job is claimed");
        let taken = self.lose(&old).map(|held| Taken { handler: old, host: held.host, vm: held.vm });
        self.grant(job, want, taken, now)
    }

    fn oldest_paused(&self, want: &Want, now: Moment) -> Option<JobId> {
        let paused = self.claims.values().filter(|held| held.paused && held.host != want.host);
        let jobs = paused.map(|held| &self.jobs[&held.job]).filter(|stored| {
            stored.phase == Phase::Queued
                && want.scope.covers(&stored.job)
                && !want.pass.contains(&stored.job.group())
                && !stored.is_avoided_by(&want.host, now)
        });
        oldest(jobs)
    }

    /// The old handler has only waited: its attempt is taken back.
    fn take_paused(&mut self, job: JobId, want: &Want, now: Moment) -> ClaimAnswer {
        let old = self.jobs[&job].claimant().cloned().expect("the job is claimed");
        self.lose(&old);
        self.job(job).attempts -= 1;
        self.grant(job, want, None, now)
    }

    fn oldest_queued(&self, want: &Want, now: Moment) -> Option<JobId> {
        let mut groups: BTreeMap<Group, Vec<&StoredJob>> = BTreeMap::new();
        for stored in self.jobs.values().filter(|stored| stored.is_claimable(now)) {
            groups.entry(stored.job.group()).or_default().push(stored);
        }
        let heads =
            groups.into_iter().filter(|(group, _)| !want.pass.contains(group)).filter_map(|(_, jobs)| {
                let mut jobs = jobs;
                jobs.sort_by_key(|stored| stored.age);
                let mut looked_at = jobs.into_iter().take(N_STEPS + 1);
                looked_at
                    .find(|stored| want.scope.covers(&stored.job) && !stored.is_avoided_by(&want.host, now))
            });
        oldest(heads)
    }

    fn next_due(&self, want: &Want, now: Moment) -> Option<Duration> {
        let held = self.jobs.values().filter_map(|stored| match stored.spot {
            Spot::HeldUntil(until) if until > now => Some(until),
            _ => None,
        });
        let claims = self
            .claims
            .values()
            .filter(|held| want.take_over && want.scope.covers(&self.jobs[&held.job].job));
        let claims_end = claims.map(|held| match held.marked_at {
            Some(marked_at) => held.ripens_at(marked_at, want.claim_life),
            None => held.look_at(),
        });
        held.chain(claims_end).min().map(|due| due.since(now))
    }

    fn grant(&mut self, job: JobId, want: &Want, taken: Option<Taken>, now: Moment) -> ClaimAnswer {
        let what = if taken.is_some() { "taken over" } else { "claimed" };
        self.add_claim(job, &want.handler, &want.host, want.claim_life, now, what).taken = taken;
        ClaimAnswer::Claimed(Box::new(self.show(&want.handler, false)))
    }

    /// For a handler without a claim.
    fn add_claim(
        &mut self,
        job: JobId,
        handler: &PluginName,
        host: &HostId,
        life: Duration,
        now: Moment,
        what: &str,
    ) -> &mut HeldClaim {
        let stored = self.job(job);
        stored.attempts += 1;
        stored.spot = Spot::Claimed(handler.clone());
        stored.note(now, what, Some((handler.clone(), host.clone())));
        self.fence += 1;
        let claim = HeldClaim {
            fence: self.fence,
            host: host.clone(),
            job,
            vm: None,
            paused: false,
            taken: None,
            life,
            expires_at: now.after(life),
            marked_at: None,
        };
        self.claims.entry(handler.clone()).or_insert(claim)
    }

    fn show(&self, handler: &PluginName, resumed: bool) -> Claim {
        let held = &self.claims[handler];
        let stored = &self.jobs[&held.job];
        Claim {
            key: ClaimKey { handler: handler.clone(), fence: held.fence },
            job: stored.job.clone(),
            phase: stored.phase.clone(),
            attempts: stored.attempts - 1,
            host_failures: stored.hosts.get(&held.host).map_or(0, |on_host| on_host.n_failures),
            reasons: stored.reasons.iter().cloned().collect(),
            resumed,
            taken: held.taken.clone(),
        }
    }

    pub(super) fn look(&mut self, key: &ClaimKey) -> ClaimView {
        let Ok(held) = self.held(key) else { return ClaimView::Lost };
        let job = held.job;
        let stored = self.job(job);
        ClaimView::Held { job: Box::new(stored.job.clone()), phase: stored.phase.clone() }
    }

    pub(super) fn renew(&mut self, key: &ClaimKey, now: Moment) -> Result<(), StoreError> {
        self.held(key).map(|held| held.renew(now))
    }

    pub(super) fn pause(&mut self, key: &ClaimKey, now: Moment) -> Result<(), StoreError> {
        let held = self.held(key)?;
        held.renew(now);
        if !std::mem::replace(&mut held.paused, true) {
            self.note_by(key, "paused", now)?;
            self.tell_all();
        }
        Ok(())
    }

    pub(super) fn resume(&mut self, key: &ClaimKey, now: Moment) -> Result<(), StoreError> {
        let held = self.held(key)?;
        held.renew(now);
        if std::mem::replace(&mut held.paused, false) {
            self.note_by(key, "resumed", now)?;
        }
        Ok(())
    }

    pub(super) fn adopt(&mut self, handler: &PluginName, vm: &VmName, now: Moment) -> Option<Claim> {
        let record = self.vms.get(vm)?;
        if let Some(held) = self.claims.get_mut(handler) {
            if held.vm.as_ref() != Some(vm) {
                return None;
            }
            held.renew(now);
            return Some(self.show(handler, true));
        }
        let (job, host) = (record.job?, record.host.clone());
        let stored = self.jobs.get(&job)?;
        let runs_elsewhere = stored.phase.runner().is_some_and(|runner| runner != vm.as_str());
        if stored.spot != Spot::Running || runs_elsewhere {
            return None;
        }
        let life = self.lives.get(handler).copied().unwrap_or(DEFAULT_LIFE);
        self.add_claim(job, handler, &host, life, now, "adopted").vm = Some(vm.clone());
        Some(self.show(handler, true))
    }

    pub(super) fn note_by(
        &mut self,
        key: &ClaimKey,
        what: impl Into<String>,
        now: Moment,
    ) -> Result<(), StoreError> {
        let held = self.held(key)?;
        let (job, by) = (held.job, (key.handler.clone(), held.host.clone()));
        self.job(job).note(now, what, Some(by));
        Ok(())
    }
}

fn oldest<'a>(jobs: impl IntoIterator<Item = &'a StoredJob>) -> Option<JobId> {
    jobs.into_iter().min_by_key(|stored| stored.age).map(|stored| stored.job.id)
}
