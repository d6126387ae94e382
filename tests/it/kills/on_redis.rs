//! The matrix with the queue in Redis, and what only Redis adds: a claim that stays there when its process dies, and a server that dies too.
//!
//! The whole of it takes minutes; a part that has each kind of row is played always.

use crate::kills::kill::{Kill, LIFE};
use crate::kills::row::in_rows;
use crate::kills::{
    LONG_MS, Queue, beside, comeback, late, names_every_step_of_a_life, recovery, variants, with_one_handler,
    with_two_handlers,
};
use crate::redis_server::Redis;

/// Moments of a life at which what the store knows differs.
const MOMENTS: [Kill; 5] = [
    Kill::Command { verb: "show", nth: 1, when: "during" },
    Kill::Command { verb: "clone", nth: 1, when: "after" },
    Kill::Command { verb: "run", nth: 2, when: "after" },
    Kill::Command { verb: "run", nth: 3, when: "after" },
    Kill::Command { verb: "delete", nth: 1, when: "during" },
];

/// How long the process is away.
#[derive(Clone, Copy, Debug)]
enum Away {
    /// Its claim and the lease on its name are still good.
    Shortly,
    /// Both have run out.
    ForLong,
}

/// The claim stays in Redis; the process comes back before and after it has run out.
fn back_sooner_and_later(kills: &[Kill]) {
    let cases = kills.iter().flat_map(|kill| [Away::Shortly, Away::ForLong].map(|away| (kill.clone(), away)));
    in_rows("claim left", Queue::Redis, cases.collect(), |row, (kill, away)| {
        let world = row.world;
        let redis = row.redis.unwrap();
        let first = world.start(&world.config(1));
        kill.arm(world, first.pid());
        let job = world.github.create_job(world.job());
        row.killed(first);
        assert!(!world.is_queue_empty(), "the claim was left");
        if matches!(away, Away::ForLong) {
            world.wait_until("the end of claim and lease", || have_run_out(redis));
        }
        row.ends_well(&world.config(1), &[job]);
    });
}

/// Whether the claim on the only job and the lease on its handler's name have run out, by the server's clock.
fn have_run_out(redis: &Redis) -> bool {
    let lease = redis.ask::<u64>(&["HGET", "anklet:{acme}:lease:plugin/HANDLER1", "until"]);
    let claims =
        redis.ask::<Vec<(String, u64)>>(&["ZRANGE", "anklet:{acme}:claims", "0", "-1", "WITHSCORES"]);
    let [(_, claim)] = claims.try_into().unwrap();
    let (seconds, micros) = redis.ask::<(u64, u64)>(&["TIME"]);
    lease.max(claim) < seconds * 1_000 + micros / 1_000
}

/// Redis is killed with us, and both start again at once.
fn killed_with_the_server(kills: &[Kill]) {
    in_rows("server killed too", Queue::Redis, kills.to_vec(), |row, kill| {
        let world = row.world;
        let first = world.start(&world.config(1));
        kill.arm(world, first.pid());
        let job = world.github.create_job(world.job());
        row.killed(first);
        row.redis.unwrap().kill_and_start_again();
        row.ends_well(&world.config(1), &[job]);
    });
}

/// The server dies under a running job and its handler, and comes back before the handler's next life.
fn killed_with_the_server_while_a_job_runs() {
    in_rows("server killed too", Queue::Redis, vec!["while a job runs"], |row, _| {
        let world = row.world;
        let first = world.start(&world.config(2));
        let job = world.github.create_job(world.job().steps_ms(LONG_MS));
        first.wait_message("job found registered runner and is now in progress");
        row.redis.unwrap().kill_and_start_again();
        row.kill(first);
        row.runs_until_the_next_start(job);
        row.ends_well(&world.config(2), &[job]);
    });
}

#[test]
fn a_part_of_the_matrix_passes_on_redis() {
    names_every_step_of_a_life(Queue::Redis);
    with_one_handler(Queue::Redis, MOMENTS.to_vec());
    with_two_handlers(Queue::Redis, vec![Kill::Command { verb: "start", nth: 1, when: "during" }]);
    recovery::killed_again(Queue::Redis, |kill| {
        matches!(
            kill,
            Kill::Command { verb: "delete", when: "during", .. } | Kill::Call { is_before: false, .. }
        )
    });
    comeback::on_redis(false);
}

#[test]
fn killed_with_a_claim_left_in_redis() {
    back_sooner_and_later(&MOMENTS[2..4]);
    killed_with_the_server(&MOMENTS[1..4]);
    killed_with_the_server_while_a_job_runs();
}

#[test]
#[ignore = "long: see tests/long"]
fn the_whole_matrix_passes_on_redis() {
    with_one_handler(Queue::Redis, LIFE.kills());
    with_two_handlers(Queue::Redis, LIFE.kills());
    recovery::killed_again(Queue::Redis, |_| true);
    comeback::on_redis(true);
    late::on_redis();
    beside::on_redis();
    variants::killed(Queue::Redis);
    back_sooner_and_later(&MOMENTS);
    // A process of a shared queue looks what is on its disk as soon as it can, before it hears of any job.
    let mut kills = LIFE.kills();
    kills.retain(|kill| {
        !kill.is_at_the_start() && !matches!(kill, Kill::Command { verb: "list", nth: 1, .. })
    });
    killed_with_the_server(&kills);
}
