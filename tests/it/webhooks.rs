//! Webhooks in any order, doubled, late and lost: each job ends as GitHub says, and nothing is left.

use std::time::{Duration, Instant};

use fake_github::{JobId, JobStatus, WebhookRule};

use crate::support::{Anklet, LIMIT, World};
use crate::worlds::in_worlds;

/// What happens to the webhooks of one action.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mishap {
    None,
    Lost,
    Doubled,
    /// It comes after the next one of the job.
    Overtaken,
}

/// What happens to the job.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Life {
    Runs,
    CancelledWhileQueued,
    CancelledWhilePreparing,
    CancelledWhileRunning,
}

/// Short waits, so that what no webhook tells is asked for soon.
fn config(world: &World) -> String {
    let limits = "limits: {running_silence: 0.6, running_look: 0.4, cancel_silence: 0.5, ";
    let handler = "plugin: github, registration_timeout_seconds: 2,";
    world.config(1).replace("limits: {", limits).replace("plugin: github,", handler)
}

fn live(world: &World, anklet: &Anklet, life: Life, is_queued_lost: bool, arm: impl FnOnce()) -> JobId {
    let steps_ms = if life == Life::CancelledWhileRunning { 60_000 } else { 100 };
    match life {
        Life::CancelledWhileQueued => {
            let blocker = world.github.create_job(world.job_labelled("blocker").steps_ms(500));
            world.github.wait_in_progress(blocker, LIMIT);
            anklet.wait_message("job found registered runner and is now in progress");
            arm();
            let job = world.github.create_job(world.job());
            world.github.cancel_run_of(job);
            job
        }
        Life::CancelledWhilePreparing => {
            world.anka.set_delay("start", Duration::from_millis(700));
            arm();
            let job = world.github.create_job(world.job());
            if !is_queued_lost {
                anklet.wait_for("the start", || !world.anka.calls("start").is_empty());
            }
            world.github.cancel_run_of(job);
            job
        }
        Life::Runs | Life::CancelledWhileRunning => {
            arm();
            let job = world.github.create_job(world.job().steps_ms(steps_ms));
            if !is_queued_lost && life == Life::CancelledWhileRunning {
                world.github.wait_in_progress(job, LIMIT);
                world.github.cancel_run_of(job);
            }
            job
        }
    }
}

#[test]
fn webhooks_in_any_order_doubled_or_lost() {
    let mishaps = [Mishap::None, Mishap::Lost, Mishap::Doubled, Mishap::Overtaken];
    let lives =
        [Life::Runs, Life::CancelledWhileQueued, Life::CancelledWhilePreparing, Life::CancelledWhileRunning];
    let mut cases = Vec::new();
    for life in lives {
        for action in ["queued", "in_progress", "completed"] {
            for mishap in mishaps {
                let comes =
                    action != "in_progress" || matches!(life, Life::Runs | Life::CancelledWhileRunning);
                // Nothing comes after the last one, and the straight road is one case, not three.
                let is_case = comes
                    && (mishap != Mishap::Overtaken || action != "completed")
                    // What has not been announced does not begin, so that nothing can overtake it.
                    && (mishap != Mishap::Overtaken || action != "queued" || life == Life::CancelledWhileQueued)
                    && (mishap != Mishap::None || action == "queued");
                // Nobody tells us of a job that is cancelled in the queue and whose end is lost: the sweep does that.
                let is_for_the_sweep =
                    life == Life::CancelledWhileQueued && action == "completed" && mishap == Mishap::Lost;
                if is_case && !is_for_the_sweep {
                    cases.push((life, action, mishap));
                }
            }
        }
    }
    in_worlds(cases, |world, (life, action, mishap)| check(world, *life, &[(action, *mishap)]));
}

/// Two mishaps at once, in each order that can be.
#[test]
fn two_mishaps_at_once() {
    let (none_lost, all) = ([Mishap::Doubled].as_slice(), [Mishap::Lost, Mishap::Doubled, Mishap::Overtaken]);
    let ends = [Mishap::Lost, Mishap::Doubled];
    let mut cases = Vec::new();
    let mut pair = |life, one, two, ones: &[Mishap], twos: &[Mishap]| {
        for first in ones {
            // What is to be overtaken by a webhook that is lost would wait for ever.
            let comes = |second: &&Mishap| (*first, **second) != (Mishap::Overtaken, Mishap::Lost);
            cases.extend(twos.iter().filter(comes).map(|second| (life, [(one, *first), (two, *second)])));
        }
    };
    for life in [Life::Runs, Life::CancelledWhileRunning] {
        pair(life, "queued", "in_progress", none_lost, &all);
        pair(life, "queued", "completed", none_lost, &ends);
        pair(life, "in_progress", "completed", &all, &ends);
    }
    pair(Life::CancelledWhilePreparing, "queued", "completed", none_lost, &ends);
    pair(Life::CancelledWhileQueued, "queued", "completed", &[Mishap::Doubled, Mishap::Overtaken], none_lost);
    in_worlds(cases, |world, (life, mishaps)| check(world, *life, mishaps));
}

/// Lives a job's life with these mishaps: it starts once at most, ends as GitHub says, and nothing is left.
fn check(world: &World, life: Life, mishaps: &[(&str, Mishap)]) {
    let is_queued_lost = mishaps.contains(&("queued", Mishap::Lost));
    let anklet = world.start(&config(world));
    let job = live(world, &anklet, life, is_queued_lost, || {
        for (action, mishap) in mishaps {
            arm(world, action, *mishap);
        }
    });
    if is_queued_lost {
        // It starts nothing and breaks nothing.
        world.github.complete_job(job, "cancelled");
    }
    let ended = world.github.wait_completed(job, LIMIT);
    let n_starts = ended.history.iter().filter(|step| step.status == JobStatus::InProgress).count();
    assert!(n_starts <= 1, "{}", world.github.story());
    if life == Life::Runs && !is_queued_lost {
        assert_eq!(ended.conclusion.as_deref(), Some("success"), "{}", world.github.story());
    }
    assert!(world.github.wait_webhooks_sent(LIMIT));
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    world.assert_clean(&anklet);
    // A late one starts nothing.
    world.github.send_job_event(job, "queued");
    assert!(world.github.wait_webhooks_sent(LIMIT));
    assert!(world.is_queue_empty());
    anklet.stop();
}

fn arm(world: &World, action: &str, mishap: Mishap) {
    let rule = WebhookRule::on(action);
    match mishap {
        Mishap::None => return,
        Mishap::Lost => world.github.webhook_rule(rule.drop()),
        Mishap::Doubled => world.github.webhook_rule(rule.duplicate(2)),
        Mishap::Overtaken => world.github.webhook_rule(rule.overtaken_by(1)),
    };
}

/// The VM works although nobody said so: at the registration timeout it is kept, and watched to its end.
#[test]
fn a_lost_in_progress_does_not_cost_the_job_its_vm() {
    let world = World::new();
    let anklet = world.start(&config(&world));
    world.github.webhook_rule(WebhookRule::on("in_progress").always().drop());
    let job = world.github.create_job(world.job().steps_ms(3_500));
    anklet.wait_message("waiting for runner registration timed out, will retry");
    anklet.wait_message("job found registered runner and is now in progress");
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    world.assert_clean(&anklet);
    assert_eq!(world.github.registrations().len(), 1);
    anklet.stop();
}

/// A re-run is another job with another id; the first one's tombstone does not hide it.
#[test]
fn a_rerun_runs() {
    let world = World::new();
    let anklet = world.start(&config(&world));
    let first = world.github.create_job(world.job().conclusion("failure"));
    assert_eq!(world.github.wait_completed(first, LIMIT).conclusion.as_deref(), Some("failure"));
    let second = world.github.rerun_job(first);
    world.github.wait_completed(second, LIMIT);
    anklet.wait_messages("job completed", 2);
    world.assert_clean(&anklet);
    assert_eq!(world.github.registrations().len(), 2);
    anklet.stop();
}

/// The webhooks of the first try are lost, doubled or late, so that those of both tries mix: each job ends, and each has a VM of its own.
#[test]
fn a_rerun_runs_whatever_became_of_the_first_trys_webhooks() {
    let ways = ["in_progress", "completed"];
    let cases: Vec<_> = ways
        .into_iter()
        .flat_map(|action| [Mishap::Lost, Mishap::Doubled, Mishap::Overtaken].map(|mishap| (action, mishap)))
        .collect();
    in_worlds(cases, |world, (action, mishap)| {
        let anklet = world.start(&config(world));
        arm(world, action, *mishap);
        let first = world.github.create_job(world.job().conclusion("failure"));
        assert_eq!(world.github.wait_completed(first, LIMIT).conclusion.as_deref(), Some("failure"));
        let second = world.github.rerun_job(first);
        assert!(world.github.wait_completed(second, LIMIT).run_attempt == 2);
        assert!(world.github.wait_webhooks_sent(LIMIT));
        anklet.wait_for("an empty queue", || world.is_queue_empty());
        world.assert_clean(&anklet);
        assert_eq!(world.github.registrations().len(), 2, "{}", world.github.story());
        // The first try's end comes once more, long after: it ends nothing of the second's, which is over, and starts nothing.
        for late in ["queued", "in_progress", "completed"] {
            world.github.send_job_event(first, late);
        }
        assert!(world.github.wait_webhooks_sent(LIMIT));
        assert!(world.is_queue_empty());
        anklet.stop();
    });
}

/// Somebody cancels while `anka start` hangs: the command ends within a second of the news.
#[test]
fn a_cancel_stops_the_command_in_hand_within_a_second() {
    let world = World::new();
    world.anka.arm(&serde_json::json!({"match": {"verb": "start"}, "do": {"hang": true}}));
    let anklet = world.start(&config(&world));
    let job = world.github.create_job(world.job());
    anklet.wait_for("the start", || !world.anka.calls("start").is_empty());
    world.github.cancel_run_of(job);
    anklet.wait_message("job pushed to completed queue");
    let told_at = Instant::now();
    anklet.wait_message("job completed");
    // At once; the seconds are for a busy machine. Not cut, the command would hang for ten minutes.
    assert!(told_at.elapsed() < Duration::from_secs(8), "{:?}", told_at.elapsed());
    world.assert_clean(&anklet);
    anklet.stop();
}
