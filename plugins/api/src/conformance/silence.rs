//! Rules: jobs of which nothing is heard, and notes.

use std::time::Duration;

use super::MakeStore;
use super::made::{back, handler, in_progress, job, repository, seconds, want};
use super::world::{World, world};
use crate::job::{JobId, News, Phase};
use crate::scope::Scope;
use crate::store::{ClaimAnswer, ClaimKey, Silence, Source};

const MINUTE: Duration = Duration::from_secs(60);

fn silence(scope: Scope) -> Silence {
    Silence { scope, first: MINUTE * 10, most: MINUTE * 120, limit: 100 }
}

impl World {
    #[track_caller]
    fn silent(&self, silence: &Silence) -> Vec<u64> {
        let jobs = self.store.silent(silence).expect("the store answers which jobs are silent");
        jobs.into_iter().map(|job| job.id.0).collect()
    }

    fn hear(&self, n: u64, phase: Phase) {
        let news = News { job: job(n), phase, for_us: true };
        self.store.news(&news, Source::Webhook).expect("the store takes news");
    }

    fn claim_any(&self, name: &str) -> ClaimKey {
        match self.store.claim(&want(name)).expect("the store answers a claim") {
            ClaimAnswer::Claimed(claim) => claim.key,
            ClaimAnswer::Nothing { .. } => panic!("there is a job to claim"),
        }
    }
}

fn acme() -> Silence {
    silence(Scope::Organization { owner: "ACME".to_owned() })
}

/// 10, 20, 40, 80, 120, 120 minutes after each other.
pub fn a_silent_job_comes_at_growing_intervals(make: MakeStore<'_>) {
    let world = world(make);
    world.hear(1, Phase::Queued);
    for minutes in [10, 20, 40, 80, 120, 120] {
        world.clock.advance(MINUTE * minutes - seconds(1));
        assert!(world.silent(&acme()).is_empty(), "{minutes} minutes have not passed");
        world.clock.advance(seconds(1));
        assert_eq!(world.silent(&acme()), [1], "{minutes} minutes have passed");
        assert!(world.silent(&acme()).is_empty(), "it counts as asked about");
    }
}

/// Doubled news moves nothing.
pub fn news_that_moves_a_job_ends_its_silence(make: MakeStore<'_>) {
    let world = world(make);
    world.hear(1, Phase::Queued);
    world.clock.advance(MINUTE * 10);
    assert_eq!(world.silent(&acme()), [1]);
    world.clock.advance(MINUTE * 19);
    world.hear(1, Phase::Queued);
    world.clock.advance(MINUTE);
    assert_eq!(world.silent(&acme()), [1]);
    world.hear(1, in_progress(None));
    world.clock.advance(MINUTE * 9);
    assert!(world.silent(&acme()).is_empty());
    world.clock.advance(MINUTE);
    assert_eq!(world.silent(&acme()), [1], "a job that runs in nobody's hands is asked about too");
}

/// Its handler asks.
pub fn a_claimed_job_is_not_silent(make: MakeStore<'_>) {
    let world = world(make);
    world.hear(1, Phase::Queued);
    let key = world.claim_any("a1");
    world.clock.advance(MINUTE * 10);
    assert!(world.silent(&acme()).is_empty());
    world.store.give_back(&key, &back("no room")).expect("the claim holds");
    assert_eq!(world.silent(&acme()), [1]);
    assert_eq!(key.handler, handler("a1"));
}

/// And the limit is kept, the longest silent first.
pub fn silent_jobs_come_by_scope_and_age(make: MakeStore<'_>) {
    let world = world(make);
    for n in [3, 1, 2] {
        world.hear(n, Phase::Queued);
        world.clock.advance(seconds(1));
    }
    let mut other = job(9);
    other.repo = "lib".to_owned();
    let news = News { job: other, phase: Phase::Queued, for_us: true };
    world.store.news(&news, Source::Webhook).expect("the store takes news");
    world.clock.advance(MINUTE * 10);
    assert_eq!(world.silent(&silence(repository("acme", "Lib"))), [9]);
    assert!(world.silent(&silence(repository("acme", "web"))).is_empty());
    assert_eq!(world.silent(&Silence { limit: 2, ..acme() }), [3, 1]);
    assert_eq!(world.silent(&acme()), [2]);
    assert!(world.store.entry(JobId(2)).expect("the store answers").is_some());
}

/// Whoever reads it, until it is written anew.
pub fn notes_are_kept(make: MakeStore<'_>) {
    let world = world(make);
    let note = |key| world.store.note(key).expect("the store reads a note");
    assert_eq!(note("hook/1"), None);
    for text in ["one", "two", ""] {
        for _ in 0..2 {
            world.store.put_note("hook/1", text).expect("the store writes a note");
        }
        assert_eq!(note("hook/1").as_deref(), Some(text));
    }
    assert_eq!(note("hook/2"), None);
}
