//! Several hosts on one Redis: each a real process with a home, a host id and an `anka` of its own, and one GitHub for all.

mod blame;
mod cuts;
mod deaths;
mod hosts;
mod idle;
mod images;
mod jobs;
mod names;
mod outages;
mod proxy;
mod rooms;
mod scopes;
mod scraped;
mod swaps;

use crate::support::{LIMIT, World};

use self::hosts::Fleet;

/// One host whose queue is in Redis, with this many handlers.
fn config(world: &World, fleet: &Fleet<'_>, n_handlers: usize) -> String {
    let port = fleet.redis.port;
    world.config(n_handlers) + &format!("global_database_url: 127.0.0.1\nglobal_database_port: {port}\n")
}

#[test]
fn jobs_run_through_redis() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let anklet = world.start(&config(&world, &fleet, 2));
    let jobs: Vec<_> = (0..4).map(|_| world.github.create_job(world.job())).collect();
    for job in jobs {
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    }
    anklet.wait_messages("job completed", 4);
    world.assert_clean(&anklet);
    assert_eq!(world.github.registrations().len(), 4);
    anklet.stop();
}

#[test]
fn killed_while_the_job_runs_and_watched_on_through_redis() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let config = config(&world, &fleet, 1);
    let first = world.start(&config);
    let job = world.github.create_job(world.job().steps_ms(1_500));
    first.wait_message("job found registered runner and is now in progress");
    first.kill();
    let second = world.start(&config);
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    second.wait_message("job completed");
    world.assert_clean(&second);
    assert_eq!(world.github.registrations().len(), 1, "the running VM was watched on");
    second.stop();
}
