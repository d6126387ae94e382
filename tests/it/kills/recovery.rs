//! Killed again while the second life deals with what the first left: a VM half made, a runner that waits, a job that runs or has ended.

use std::fs;

use fake_github::JobId;

use crate::kills::kill::{Kill, Steps};
use crate::kills::row::{Row, in_rows};
use crate::kills::{LONG_MS, Queue, assert_steps};
use crate::support::{Anklet, World};

/// Asked before anything is dealt with: are the credentials good?
const FIRST_QUESTION: (&str, &str) = ("GET", "/repos/acme/app/actions/runners/downloads");

/// Nobody can have registered, so that nothing else is asked.
pub(super) const HALF_MADE: Steps = Steps {
    commands: &[("version", 1), ("license show", 1), ("list", 2), ("delete", 1)],
    calls: &[FIRST_QUESTION],
};

pub(super) const WAITING: Steps = Steps {
    // What the runner wrote is fetched before its VM goes.
    commands: &[("version", 1), ("license show", 1), ("list", 3), ("run", 1), ("delete", 1)],
    calls: &[
        FIRST_QUESTION,
        ("GET", "/repos/acme/app/actions/jobs/*"),
        ("GET", "/repos/acme/app/actions/runners"),
        ("DELETE", "/repos/acme/app/actions/runners/*"),
    ],
};

pub(super) const RUNNING: Steps =
    Steps { commands: WAITING.commands, calls: &[FIRST_QUESTION, ("GET", "/repos/acme/app/actions/jobs/*")] };

pub(super) const ENDED: Steps = RUNNING;

/// What the first life left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    HalfMade,
    Waiting,
    Running,
    Ended,
}

const ALL: [Left; 4] = [Left::HalfMade, Left::Waiting, Left::Running, Left::Ended];

impl Left {
    fn steps(self) -> &'static Steps {
        match self {
            Self::HalfMade => &HALF_MADE,
            Self::Waiting => &WAITING,
            Self::Running => &RUNNING,
            Self::Ended => &ENDED,
        }
    }

    /// Lives a first life that leaves this.
    fn bring_about(self, row: &Row<'_>) -> JobId {
        let world = row.world;
        let first = world.start(&world.config(1));
        match self {
            Self::HalfMade => {
                Kill::Command { verb: "start", nth: 1, when: "during" }.arm(world, first.pid());
                let job = world.github.create_job(world.job());
                row.killed(first);
                job
            }
            Self::Waiting => {
                world.github.hold_assignment(true);
                let job = world.github.create_job(world.job());
                first.wait_message("job is waiting for registered runner");
                row.kill(first);
                job
            }
            Self::Running | Self::Ended => {
                let job = world.github.create_job(world.job().steps_ms(LONG_MS));
                first.wait_message("job found registered runner and is now in progress");
                row.kill(first);
                if self == Self::Ended {
                    world.github.complete_job(job, "success");
                }
                job
            }
        }
    }

    /// The job that runs ends, once the second life has found it.
    fn end_running(self, world: &World, second: &Anklet, job: JobId) {
        if self == Self::Running {
            second.wait_message("taking up the job of an earlier start");
            world.github.complete_job(job, "success");
        }
    }
}

/// With it a process deals with what is left and takes nothing new.
fn drain(world: &World, is_drained: bool) {
    let file = world.home.path().join(".config/anklet/.drain");
    if is_drained { fs::write(file, "").unwrap() } else { fs::remove_file(file).unwrap() }
}

fn names_every_step(queue: Queue) {
    in_rows("recovery", queue, ALL.to_vec(), |row, left| {
        let world = row.world;
        let job = left.bring_about(row);
        let since = (world.anka.trace().len(), world.github.requests().len());
        drain(world, true);
        let second = world.start(&world.config(1));
        left.end_running(world, &second, job);
        world.assert_clean(&second);
        second.stop();
        assert_steps(queue, world, left.steps(), since);
        drain(world, false);
        world.github.hold_assignment(false);
        row.ends_well(&world.config(1), &[job]);
    });
}

fn cases(steps: impl Fn(Left) -> Vec<Kill>) -> Vec<(Left, Kill)> {
    ALL.into_iter().flat_map(|left| steps(left).into_iter().map(move |kill| (left, kill))).collect()
}

/// Whether this comes only once the job is over.
fn is_after_the_job(kill: &Kill) -> bool {
    kill.is_at("run") || kill.is_at("delete")
}

pub(super) fn killed_again(queue: Queue, only: impl Fn(&Kill) -> bool) {
    let cases = cases(|left| left.steps().kills().into_iter().filter(&only).collect());
    in_rows("recovery", queue, cases, |row, (left, kill)| {
        let world = row.world;
        let job = left.bring_about(row);
        kill.arm_command(world);
        drain(world, true);
        let second = world.spawn(&world.config(1));
        kill.arm_call(world, second.pid());
        match left {
            Left::Running if is_after_the_job(kill) => left.end_running(world, &second, job),
            // With the queue in Redis there is one more, at a moment of its own.
            Left::Running if matches!(kill, Kill::Command { verb: "list", nth: 2.., .. }) => {
                world.github.complete_job(job, "success");
            }
            Left::Running => row.runs_until_the_next_start(job),
            Left::HalfMade | Left::Waiting | Left::Ended => {}
        }
        row.killed(second);
        drain(world, false);
        world.github.hold_assignment(false);
        row.ends_well(&world.config(1), &[job]);
    });
}

#[test]
fn the_matrix_names_every_command_and_call_of_a_recovery() {
    names_every_step(Queue::Embedded);
}

#[test]
fn killed_again_at_each_step_of_a_recovery() {
    killed_again(Queue::Embedded, |_| true);
}
