//! How claims of the memory store end by their handler's will.

use super::state::{HeldClaim, Spot, State};
use crate::job::{Conclusion, Phase};
use crate::store::{ClaimKey, Counted, GiveBack, StoreError};
use crate::time::Moment;

impl State {
    pub(super) fn give_back(
        &mut self,
        key: &ClaimKey,
        how: &GiveBack,
        now: Moment,
    ) -> Result<(), StoreError> {
        if self.has_given_up(key) {
            return Ok(());
        }
        self.note_by(key, format!("given back: {}", how.reason), now)?;
        let held = self.end(key)?;
        if self.jobs[&held.job].phase != Phase::Queued {
            self.let_go(held.job);
            return Ok(());
        }
        let stored = self.job(held.job);
        stored.add_reason(&how.reason);
        let on_host = stored.hosts.entry(held.host).or_default();
        on_host.n_failures = how.host_avoids.map_or(0, |_| on_host.n_failures + 1);
        on_host.avoids_until = how.host_avoids.map_or(Moment::default(), |avoids| now.after(avoids));
        let counts = match how.counted {
            Counted::Yes => true,
            Counted::No => false,
            Counted::OncePerHost => !std::mem::replace(&mut on_host.counted_once, true),
        };
        if !counts {
            stored.attempts -= 1;
        }
        let until = now.after(how.hold);
        if until > now {
            stored.spot = Spot::HeldUntil(until);
        } else {
            stored.spot = Spot::InGroup;
            self.tell_all();
        }
        Ok(())
    }

    pub(super) fn leave_running(&mut self, key: &ClaimKey, now: Moment) -> Result<(), StoreError> {
        if self.has_given_up(key) {
            return Ok(());
        }
        self.note_by(key, "left running", now)?;
        let held = self.end(key)?;
        self.let_go(held.job);
        Ok(())
    }

    pub(super) fn finish(
        &mut self,
        key: &ClaimKey,
        conclusion: &Conclusion,
        now: Moment,
    ) -> Result<(), StoreError> {
        if self.has_given_up(key) {
            return Ok(());
        }
        let id = self.held(key)?.job;
        let stored = self.job(id);
        if !matches!(stored.phase, Phase::Completed { .. }) {
            let runner = stored.phase.runner().map(str::to_owned);
            stored.phase = Phase::Completed { conclusion: conclusion.clone(), runner };
            stored.note(now, "completed", None);
        }
        let held = self.end(key)?;
        let stored = self.remove(held.job).expect("claims are on stored jobs");
        self.bury(&stored.job);
        Ok(())
    }

    fn has_given_up(&self, key: &ClaimKey) -> bool {
        self.given_up.get(&key.handler) == Some(&key.fence)
    }

    fn end(&mut self, key: &ClaimKey) -> Result<HeldClaim, StoreError> {
        self.held(key)?;
        self.given_up.insert(key.handler.clone(), key.fence);
        self.claims.remove(&key.handler).ok_or(StoreError::Lost)
    }
}
