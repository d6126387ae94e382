//! A Redis that forgets what it had acknowledged: after a restart without its disk, or when a replica that lagged takes over.

use std::fs;

use redis::{Client, cmd};

use crate::redis_servers::server::TestServer;
use crate::support::{Anklet, LIMIT, TOKEN, World};

const LOOKED: &str = "looked for missed webhooks";

/// A world whose token may read the hook's log, and whose handler takes nothing until it is told to.
fn world() -> World {
    let world = World::new();
    world.github.add_pat(TOKEN, &["repo", "admin:org", "admin:org_hook", "workflow"]);
    fs::write(drain_file(&world), "").unwrap();
    world
}

fn drain_file(world: &World) -> std::path::PathBuf {
    world.home.path().join(".config/anklet/.drain")
}

/// Looks come when something has happened, and no earlier.
fn config(world: &World, port: u16) -> String {
    let looks =
        "limits: {redeliver_look: 400, redeliver_pace: 0.001, redeliver_settle: 0.2, idle_look: 0.1, ";
    let receiver = format!("plugin: github_receiver, hook_id: {},", world.hook);
    let config = world.config(1).replace("limits: {", looks).replace("plugin: github_receiver,", &receiver);
    config
        + &format!(
            "global_database_url: 127.0.0.1\nglobal_database_port: {port}\nglobal_database_retry_delay: 50\n"
        )
}

fn n_redeliveries(world: &World) -> usize {
    world.github.requests_to("POST", "/repos/*/*/hooks/*/deliveries/*/attempts").len()
}

fn create_stored(world: &World, anklet: &Anklet, label: &str) -> u64 {
    let job = world.github.create_job(world.job_labelled(label));
    anklet.wait_lines("the stored job", |lines| {
        let is_it = |line: &crate::support::Line| line.0["workflowJobID"] == job;
        lines.iter().any(|line| line.message() == "job pushed to queued queue" && is_it(line))
    });
    job
}

fn check_well(world: &World, anklet: &Anklet, job: u64) {
    fs::remove_file(drain_file(world)).unwrap();
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    world.assert_clean(anklet);
    assert_eq!(world.github.registrations().len(), 1);
}

/// An address that leads to one server now and to another later is, for the program, a server that comes back with other data.
#[test]
fn a_job_that_a_restart_lost_is_asked_for_again() {
    let world = world();
    let redis = TestServer::start(&[]);
    let port = redis.port;
    let anklet = world.start(&config(&world, port));
    anklet.wait_message(LOOKED);
    let over = create_stored(&world, &anklet, "over");
    let job = create_stored(&world, &anklet, "waits");
    assert!(world.github.cancel_run_of(over));
    anklet.wait_message("job pushed to completed queue");

    // A connection that is cut is no reason to ask for anything.
    let mut connection = Client::open(("127.0.0.1", port)).unwrap().get_connection().unwrap();
    cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub").exec(&mut connection).unwrap();
    anklet.wait_messages(LOOKED, 2);
    assert_eq!(n_redeliveries(&world), 0);

    let folder = redis.kill();
    fs::remove_dir_all(folder.join("appendonlydir")).unwrap();
    let _redis = TestServer::start_in(&folder, port, &[]).expect("its port is free again");
    anklet.wait_message("looked for jobs that the database has lost");
    anklet.wait_messages("job pushed to queued queue", 3);
    assert_eq!(n_redeliveries(&world), 1, "the job that is over is not asked for");
    check_well(&world, &anklet, job);
    anklet.stop();
}

/// Nobody watched while the replica took over: which server it was is noted in the store itself.
#[test]
fn a_job_that_a_failover_lost_is_asked_for_at_the_next_start() {
    let world = world();
    let master = TestServer::start(&[]);
    let replica = TestServer::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let mut connection = Client::open(("127.0.0.1", replica.port)).unwrap().get_connection().unwrap();
    let anklet = world.start(&config(&world, master.port));
    let known = create_stored(&world, &anklet, "known");
    anklet.wait_message(LOOKED);
    anklet.wait_for("the note and the job at the replica", || {
        let mut connection = Client::open(("127.0.0.1", replica.port)).unwrap().get_connection().unwrap();
        let has = |connection: &mut redis::Connection, key: &str| -> bool {
            cmd("EXISTS").arg(key).query(connection).unwrap()
        };
        has(&mut connection, "anklet:{acme}:notes")
            && has(&mut connection, &format!("anklet:{{acme}}:job:{known}"))
    });
    cmd("REPLICAOF").arg("NO").arg("ONE").exec(&mut connection).unwrap();
    let lost = create_stored(&world, &anklet, "lost");
    anklet.stop();
    drop(master);

    let second = world.start(&config(&world, replica.port));
    second.wait_message("looked for jobs that the database has lost");
    second.wait_message("job pushed to queued queue");
    assert_eq!(n_redeliveries(&world), 1, "the job that is known is not asked for");
    fs::remove_file(drain_file(&world)).unwrap();
    for job in [known, lost] {
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    }
    second.wait_messages("job completed", 2);
    world.assert_clean(&second);
    second.stop();
}
