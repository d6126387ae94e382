//! Rules: what people ask of the queue, what they do to it by hand, and notices.

use std::time::Duration;

use super::MakeStore;
use super::made::{
    LIFE, avoided, back, completed, counted, handler, host_of, in_progress, job, job_of, record, seconds,
    want,
};
use super::world::{World, world};
use crate::job::{Conclusion, Job, JobId, Phase};
use crate::store::{Ahead, ByHand, Dossier, GiveBack, JobSignal, Noted, Notice, Place, Spot, Waiting};

impl World {
    #[track_caller]
    fn examine(&self, job: &Job) -> Dossier {
        self.store.examine(job.id).expect("a job is examined")
    }

    #[track_caller]
    fn ids(&self, spot: Spot, limit: usize) -> Vec<u64> {
        let entries = self.store.list(spot, limit).expect("jobs are listed");
        entries.into_iter().map(|entry| entry.job.id.0).collect()
    }

    #[track_caller]
    fn by_hand(&self, job: &Job, what: &ByHand) -> bool {
        self.store.by_hand(job.id, what).expect("the store does what it is told")
    }

    #[track_caller]
    fn notices(&self, prefix: &str) -> Vec<Notice> {
        self.store.notices(prefix).expect("notices are read")
    }

    #[track_caller]
    fn post(&self, key: &str, text: &str, life: Duration) {
        self.store.post(key, text, life).expect("a notice is put up");
    }
}

fn held_for(n: u64) -> GiveBack {
    GiveBack { hold: seconds(n), ..counted("no disk") }
}

/// By group, with the oldest of each; a job that is due counts as queued.
pub fn a_survey_tells_what_waits(make: MakeStore<'_>) {
    let world = world(make);
    for job in [job(3), job(1), job(2), job_of(4, "T2"), job(5)] {
        world.queue(&job);
    }
    world.webhook(&job(6), in_progress(Some("elsewhere")));
    let claim = world.claim_of("a1", &job(1));
    world.put(&claim.key, &record("vm-1", "a1", &job(1)));
    world.give_back(&world.claim_of("a2", &job(2)), &held_for(10));
    let survey = world.store.survey().expect("the queue is surveyed");
    assert_eq!((survey.held, survey.claimed, survey.running, survey.vms), (1, 1, 1, 1));
    assert_eq!(survey.at, world.clock.now());
    let waiting =
        |n_jobs, oldest: Job| Waiting { n_jobs, oldest_at: oldest.created_at.expect("it is dated") };
    assert_eq!(survey.groups.get(&job(1).group()), Some(&waiting(2, job(3))));
    assert_eq!(survey.groups.get(&job_of(4, "T2").group()), Some(&waiting(1, job(4))));
    world.clock.advance(seconds(10));
    let survey = world.store.survey().expect("the queue is surveyed");
    assert_eq!((survey.held, survey.groups.len()), (0, 2));
    assert_eq!(survey.groups.get(&job(1).group()), Some(&waiting(3, job(2))));
}

/// Queued ones by age over all groups, held ones by when they are due.
pub fn lists_come_by_place_and_age(make: MakeStore<'_>) {
    let world = world(make);
    for job in [job(5), job_of(3, "T2"), job(4), job_of(1, "T3"), job(2), job(6), job(7)] {
        world.queue(&job);
    }
    world.webhook(&job(9), in_progress(Some("elsewhere")));
    assert_eq!(world.ids(Spot::Queued, 3), [1, 2, 3]);
    world.give_back(&world.claim("a1"), &held_for(20));
    world.give_back(&world.claim("a2"), &held_for(10));
    let claim = world.claim("b1");
    world.put(&claim.key, &record("vm-1", "b1", &job_of(3, "T2")));
    assert_eq!(world.ids(Spot::Queued, 9), [4, 5, 6, 7]);
    assert_eq!(world.ids(Spot::Held, 9), [2, 1]);
    assert_eq!(world.ids(Spot::Held, 1), [2]);
    assert_eq!((world.ids(Spot::Claimed, 9), world.ids(Spot::Running, 9)), (vec![3], vec![9]));
    world.clock.advance(seconds(10));
    assert_eq!(world.ids(Spot::Queued, 2), [2, 4], "what is due is queued");
    assert_eq!(world.ids(Spot::Held, 9), [1]);
    let claimed = world.store.list(Spot::Claimed, 1).expect("jobs are listed").remove(0);
    assert_eq!(claimed.place, Place::Claimed { handler: handler("b1"), host: host_of("b1"), paused: false });
    assert_eq!(claimed.vm.as_ref().map(|vm| vm.as_str()), Some("vm-1"));
    assert_eq!(claimed.claimed_until, Some(world.clock.now().before(seconds(10)).after(LIFE)));
    assert!(world.ids(Spot::Queued, 0).is_empty());
}

/// In its group and in the whole queue; jobs of one age by arrival.
pub fn a_queued_job_has_its_position(make: MakeStore<'_>) {
    let world = world(make);
    let mut twin = job(8);
    twin.created_at = job(2).created_at;
    for job in [&job(3), &job_of(1, "T2"), &job(2), &twin, &job_of(4, "T3")] {
        world.queue(job);
    }
    let ahead = |job: &Job| world.examine(job).ahead;
    assert_eq!(ahead(&job_of(1, "T2")), Some(Ahead { in_group: 0, in_queue: 0 }));
    assert_eq!(ahead(&job(2)), Some(Ahead { in_group: 0, in_queue: 1 }));
    assert_eq!(ahead(&twin), Some(Ahead { in_group: 1, in_queue: 2 }));
    assert_eq!(ahead(&job(3)), Some(Ahead { in_group: 2, in_queue: 3 }));
    assert_eq!(ahead(&job_of(4, "T3")), Some(Ahead { in_group: 0, in_queue: 4 }));
    let claim = world.claim_of("a1", &job_of(1, "T2"));
    assert_eq!((ahead(&job_of(1, "T2")), ahead(&job(3))), (None, Some(Ahead { in_group: 2, in_queue: 2 })));
    world.give_back(&claim, &held_for(10));
    assert_eq!(ahead(&job_of(1, "T2")), None);
    world.clock.advance(seconds(10));
    assert_eq!(ahead(&job(3)), Some(Ahead { in_group: 2, in_queue: 3 }), "what is due is queued");
    assert_eq!(ahead(&job_of(1, "T2")), Some(Ahead { in_group: 0, in_queue: 0 }));
    assert_eq!(world.examine(&job(99)).ahead, None);
}

/// A matrix comes all at once: jobs of one age in two groups, in the order of their arrival.
pub fn jobs_of_one_age_have_their_positions(make: MakeStore<'_>) {
    let world = world(make);
    let jobs: Vec<_> = (0..9)
        .map(|n| Job {
            created_at: job(1).created_at,
            ..job_of(90 - n, if n % 3 == 0 { "T2" } else { "T1" })
        })
        .collect();
    jobs.iter().for_each(|job| world.queue(job));
    for (n_before, job) in jobs.iter().enumerate() {
        let of_its_group = jobs[..n_before].iter().filter(|other| other.image == job.image).count();
        let expected = Ahead { in_group: of_its_group as u64, in_queue: n_before as u64 };
        assert_eq!(world.examine(job).ahead, Some(expected), "{}", job.id);
    }
}

/// However it went, with its history; a job that was never stored leaves only the fact.
pub fn an_ended_job_is_remembered(make: MakeStore<'_>) {
    let world = world(make);
    let claim = world.prepare("a1", &job(1), "vm-1");
    world.webhook(&job(1), in_progress(Some("vm-1")));
    world.webhook(&job(1), completed(Some("vm-1")));
    assert!(world.examine(&job(1)).entry.is_some(), "its handler still holds it");
    world.store.finish(&claim.key, &Conclusion::Success).expect("the claim holds");
    world.queue(&job(2));
    world.webhook(&job(2), completed(None));
    world.webhook(&job(3), completed(None));
    let found_out = world.prepare("a1", &job(4), "vm-4");
    world.store.finish(&found_out.key, &Conclusion::Cancelled).expect("the claim holds");
    let ended = |job: &Job| world.examine(job).ended.expect("it has ended");
    let last = ended(&job(1)).last.expect("it was stored");
    assert_eq!((last.job, last.phase), (job(1), completed(Some("vm-1"))));
    let told: Vec<_> = last.history.iter().map(|line| line.what.as_str()).collect();
    assert_eq!((told[0], told[1]), ("queued", "claimed"));
    assert!(told.contains(&"in_progress") && told.last() == Some(&"completed"), "{told:?}");
    assert_eq!(ended(&job(2)).last.expect("it was stored").phase, completed(None));
    assert_eq!((ended(&job(3)).run_attempt, ended(&job(3)).last), (1, None));
    let last = ended(&job(4)).last.expect("it was stored");
    assert_eq!(last.phase, Phase::Completed { conclusion: Conclusion::Cancelled, runner: None });
    assert_eq!(last.history.last().map(|line| line.what.as_str()), Some("completed"));
    assert!(world.examine(&job(5)).ended.is_none() && world.examine(&job(1)).entry.is_none());
}

/// What is held is queued at once, and hosts that avoid the job come back to it.
pub fn a_job_is_retried_by_hand(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    world.give_back(&world.claim("a1"), &GiveBack { hold: seconds(300), ..avoided("no disk") });
    assert_eq!(world.nothing("a1"), Some(seconds(300)));
    let listener = world.listen("a1");
    assert!(world.by_hand(&job(1), &ByHand::Retry));
    listener.hears_among_others(&JobSignal::Look);
    assert!(world.examine(&job(1)).entry.is_some_and(|entry| entry.avoided_by.is_empty()));
    let claim = world.claim_of("a1", &job(1));
    assert!(!world.by_hand(&job(1), &ByHand::Retry), "it is in hand");
    assert!(!world.by_hand(&job(2), &ByHand::Retry), "it is unknown");
    world.holds(&claim, &job(1), &Phase::Queued);
}

/// Wherever it is; late news of it starts nothing.
pub fn a_job_is_removed_by_hand(make: MakeStore<'_>) {
    let world = world(make);
    for n in [1, 2] {
        world.queue(&job(n));
    }
    let claim = world.claim_of("a1", &job(1));
    let listener = world.listen("a1");
    for n in [1, 2] {
        assert!(world.by_hand(&job(n), &ByHand::Remove));
        assert!(!world.by_hand(&job(n), &ByHand::Remove), "it is gone");
        assert_eq!(world.webhook(&job(n), Phase::Queued), Noted::Ended);
        let last = world.examine(&job(n)).ended.and_then(|ended| ended.last).expect("it is remembered");
        assert_eq!(last.history.last().map(|line| line.what.as_str()), Some("removed by hand"));
        assert_eq!(last.phase, Phase::Queued);
    }
    listener.hears(&JobSignal::Retry);
    world.is_lost(&claim);
    assert_eq!(world.nothing("a1"), None);
}

/// Only the history tells of it.
pub fn a_line_is_added_by_hand(make: MakeStore<'_>) {
    let world = world(make);
    world.queue(&job(1));
    let claim = world.claim_of("a1", &job(1));
    assert!(world.by_hand(&job(1), &ByHand::Say("cancel asked by \"ann\" \u{e4}".to_owned())));
    assert!(!world.by_hand(&job(2), &ByHand::Say("nothing".to_owned())));
    let entry = world.examine(&job(1)).entry.expect("it is stored");
    assert_eq!(entry.history.last().map(|line| line.what.as_str()), Some("cancel asked by \"ann\" \u{e4}"));
    world.holds(&claim, &job(1), &Phase::Queued);
    world.give_back(&claim, &back("stopped"));
    assert!(world.ask(&want("a1")).is_ok_and(|claim| claim.job.id == JobId(1)));
}

/// The same text prolongs; another begins anew; a life of zero takes it down.
pub fn notices_are_up_for_their_life(make: MakeStore<'_>) {
    let world = world(make);
    assert!(world.notices("").is_empty());
    let begin = world.clock.now();
    for key in ["handler/b%_", "handler/a", "other"] {
        world.post(key, "idle", seconds(30));
    }
    let notice = |key: &str, text: &str, since, until| Notice {
        key: key.to_owned(),
        text: text.to_owned(),
        since,
        until,
    };
    let both = || {
        [
            notice("handler/a", "idle", begin, begin.after(seconds(30))),
            notice("handler/b%_", "idle", begin, begin.after(seconds(30))),
        ]
    };
    assert_eq!(world.notices("handler/"), both());
    world.clock.advance(seconds(20));
    for _ in 0..2 {
        world.post("handler/a", "idle", seconds(30));
        world.post("handler/b%_", "{\"busy\":\"with '1'\"}", seconds(5));
    }
    let changed = begin.after(seconds(20));
    let expected = [
        notice("handler/a", "idle", begin, begin.after(seconds(50))),
        notice("handler/b%_", "{\"busy\":\"with '1'\"}", changed, changed.after(seconds(5))),
    ];
    assert_eq!(world.notices("handler/"), expected);
    world.clock.advance(seconds(5));
    assert_eq!(world.notices("handler/"), expected[..1]);
    assert_eq!(world.notices("").len(), 2);
    world.clock.advance(seconds(5));
    assert_eq!(world.notices("").len(), 1, "the other has run out");
    for _ in 0..2 {
        world.post("handler/a", "", Duration::ZERO);
        assert!(world.notices("").is_empty());
    }
    world.post("handler/a", "idle", seconds(30));
    assert_eq!(world.notices("handler/a")[0].since, begin.after(seconds(30)));
}
