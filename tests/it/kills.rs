//! The kill matrix: SIGKILL before, during and after each anka command and each GitHub call of a job's life, also with another handler at
//! work, and again during recovery. After a new start the jobs end, each ran once, and nothing is left.
//!
//! Straight runs tell which commands and calls there are; one that no table names fails the test. Each group of rows tells its counts.

mod beside;
mod comeback;
mod kill;
mod late;
mod on_redis;
mod recovery;
mod row;
mod variants;

use std::collections::BTreeSet;

use fake_github::{Delivery, JobId};

use crate::kills::kill::{Kill, LIFE, Steps, commands_since, shape};
use crate::kills::row::{Row, in_rows};
use crate::redis_server::Redis;
use crate::support::{LIMIT, World};

/// All tables.
static KNOWN: [&Steps; 17] = [
    &LIFE,
    &recovery::HALF_MADE,
    &recovery::WAITING,
    &recovery::RUNNING,
    &recovery::ENDED,
    &beside::CANCEL,
    &beside::TIMED_OUT,
    &beside::WORKS_ON_ANOTHER,
    &beside::DELETION_FAILS,
    &beside::SILENT_RUN,
    &beside::SILENT_QUEUE,
    &beside::DENIED,
    &beside::REDELIVERY,
    &beside::TAKEN_OVER,
    &variants::PULLED,
    &variants::MOUNTED,
    &variants::JIT,
];

/// A job that is to run until a test ends it.
const LONG_MS: u64 = 600_000;

/// How long a command takes whose caller dies at its beginning.
const LATE_MS: u64 = 3_000;

/// Where the queue of a world is.
#[derive(Clone, Copy, Debug)]
enum Queue {
    Embedded,
    Redis,
}

/// Where the rows are played.
struct Place {
    world: World,
    redis: Option<Redis>,
}

impl Queue {
    fn place(self) -> Place {
        match self {
            Self::Embedded => Place { world: World::new(), redis: None },
            Self::Redis => {
                let redis = Redis::start();
                Place { world: redis.world(), redis: Some(redis) }
            }
        }
    }
}

/// Asserts that this happened since then: these commands, as often, and these calls.
#[track_caller]
fn assert_steps(queue: Queue, world: &World, steps: &Steps, (from_line, from_call): (usize, usize)) {
    let mut seen = commands_since(world, from_line);
    if let Queue::Redis = queue {
        // A process tells a shared queue what is on its disk, at a moment of its own.
        seen.remove(seen.iter().position(|verb| verb == "list").unwrap());
    }
    for (verb, n) in steps.commands {
        assert_eq!(seen.iter().filter(|seen| seen == verb).count(), *n, "{verb} in {seen:?}");
    }
    assert_eq!(seen.len(), steps.commands.iter().map(|(_, n)| n).sum::<usize>(), "{seen:?}");
    let calls: BTreeSet<_> = world.github.requests().iter().skip(from_call).map(shape).collect();
    let known = steps.calls.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned()));
    assert_eq!(calls, known.collect::<BTreeSet<_>>());
}

fn names_every_step_of_a_life(queue: Queue) {
    let place = queue.place();
    let world = &place.world;
    let anklet = world.start(&world.config(1));
    let job = world.github.create_job(world.job().steps_ms(400));
    world.github.wait_completed(job, LIMIT);
    anklet.wait_message("job completed");
    anklet.stop();
    assert_steps(queue, world, &LIFE, (0, 0));
}

/// Whether the webhook that announces this job was taken.
fn was_heard(world: &World, job: JobId) -> bool {
    world.github.deliveries_of(job, "queued").iter().any(Delivery::is_ok)
}

/// Killed in the first life of one job, or of two at once.
fn killed_in_a_life(row: &Row<'_>, kill: &Kill, n_handlers: usize) {
    let (world, config) = (row.world, row.world.config(n_handlers));
    kill.arm_command(world);
    let first = world.spawn(&config);
    kill.arm_call(world, first.pid());
    let jobs: Vec<_> = (0..n_handlers).map(|_| world.github.create_job(world.job().silent())).collect();
    let announce = || jobs.iter().for_each(|job| world.github.send_job_event(*job, "queued"));
    // Where the process dies before it has heard of the jobs, their webhooks come later, as GitHub's users have them sent again.
    if !kill.is_at_the_start() {
        first.wait_message("receiver finished starting");
        announce();
    }
    row.killed(first);
    assert!(world.github.wait_webhooks_sent(LIMIT));
    let second = world.start(&config);
    if !jobs.iter().all(|job| was_heard(world, *job)) {
        announce();
    }
    row.sees_through(second, &jobs, "success");
}

/// Killed while another handler's job runs: its VM is watched on.
fn killed_beside_a_running_job(row: &Row<'_>, kill: &Kill) {
    let (world, config) = (row.world, row.world.config(2));
    let first = world.start(&config);
    let running = world.github.create_job(world.job().steps_ms(LONG_MS));
    first.wait_message("job found registered runner and is now in progress");
    row.runs_until_the_next_start(running);
    kill.arm(world, first.pid());
    let job = world.github.create_job(world.job());
    row.killed(first);
    row.ends_well(&config, &[running, job]);
}

fn with_one_handler(queue: Queue, kills: Vec<Kill>) {
    in_rows("a life", queue, kills, |row, kill| killed_in_a_life(row, kill, 1));
}

fn with_two_handlers(queue: Queue, kills: Vec<Kill>) {
    in_rows("two lives", queue, kills, |row, kill| {
        // What all handlers share is asked for once: with two jobs at once both wait for it.
        let is_shared =
            kill.is_at("show") || matches!(kill, Kill::Call { method: "GET", .. }) || kill.is_at_the_start();
        if is_shared {
            killed_in_a_life(row, kill, 2);
        } else {
            killed_beside_a_running_job(row, kill);
        }
    });
}

#[test]
fn the_matrix_names_every_command_and_call_of_a_life() {
    names_every_step_of_a_life(Queue::Embedded);
}

#[test]
fn killed_at_each_step_of_a_life() {
    with_one_handler(Queue::Embedded, LIFE.kills());
}

#[test]
fn killed_at_each_step_while_two_handlers_are_busy() {
    with_two_handlers(Queue::Embedded, LIFE.kills());
}
