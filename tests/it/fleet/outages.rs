//! Redis is disturbed in the middle of a burst of webhooks: what got 2xx is in the queue exactly once, all else got 503, nobody exits.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fake_github::Delivery;
use redis::{Connection, cmd};
use rustix::process::Signal;

use crate::redis_servers::nodes::{Cluster, PASSWORD};
use crate::redis_servers::server::TestServer;
use crate::support::{Anklet, TOKEN, World, spawn_at};

use super::hosts::{FLEET_LIMIT, Fleet, Host, connect, handler, queued, receiver, stored, wait};

const N_JOBS: usize = 500;

/// Creates half of the jobs, disturbs Redis once a part of the webhooks is out, and the other half when it is back. Looks what became of them.
fn burst(world: &World, connect: impl Fn() -> Vec<Connection>, disturb: impl FnOnce()) {
    let half = || (0..N_JOBS / 2).map(|_| world.github.create_job(world.job())).collect::<Vec<_>>();
    let jobs = RefCell::new(half());
    wait("the first webhooks", || world.github.deliveries().len() > N_JOBS / 10);
    disturb();
    wait("a webhook that is stored", || {
        let probe = world.github.create_job(world.job());
        jobs.borrow_mut().push(probe);
        assert!(world.github.wait_webhooks_sent(FLEET_LIMIT));
        world.github.deliveries_of(probe, "queued").iter().all(Delivery::is_ok)
    });
    let mut jobs = jobs.into_inner();
    jobs.extend(half());
    assert!(world.github.wait_webhooks_sent(FLEET_LIMIT * 3));
    let mut answers = BTreeMap::new();
    for job in &jobs {
        for delivery in world.github.deliveries_of(*job, "queued") {
            answers.insert(*job, delivery.status_code);
        }
    }
    assert_eq!(answers.len(), jobs.len());
    assert!(answers.values().all(|status| [200, 503].contains(status)), "{answers:?}");
    let accepted: BTreeSet<_> =
        answers.iter().filter(|(_, status)| **status == 200).map(|(job, _)| *job).collect();
    let (mut kept, mut in_line) = (BTreeSet::new(), BTreeMap::new());
    for mut connection in connect() {
        kept.extend(stored(&mut connection));
        for (job, times) in queued(&mut connection) {
            *in_line.entry(job).or_insert(0) += times;
        }
    }
    // What was carried out may still have been answered with 503: more may be stored, never less.
    let lost: Vec<_> = accepted.difference(&kept).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
    assert_eq!(in_line, kept.iter().map(|job| (*job, 1)).collect(), "each is in line once");
    assert!(accepted.len() > N_JOBS / 2, "most were accepted: {}", accepted.len());
    println!("{} of {} webhooks got 200, {} are stored", accepted.len(), jobs.len(), kept.len());
}

/// A receiver, and a host that would like jobs but is drained, so that all stay in the queue.
fn start(fleet: &Fleet<'_>, mac: &Host) -> [Anklet; 2] {
    std::fs::write(mac.home.path().join(".config/anklet/.drain"), "").unwrap();
    [fleet.start_receiver(), fleet.start(mac, &["A1", "A2"])]
}

/// Nobody has ended, and jobs run again.
fn goes_on(fleet: &Fleet<'_>, mac: &Host, anklets: [Anklet; 2]) {
    let stored_before = fleet.stored();
    std::fs::remove_file(mac.home.path().join(".config/anklet/.drain")).unwrap();
    wait("jobs that run", || fleet.stored().len() + 2 <= stored_before.len());
    anklets.into_iter().for_each(Anklet::stop);
}

#[test]
fn a_restart_in_a_burst_loses_nothing() {
    let world = World::new();
    let (mut fleet, mac) = (Fleet::new(&world), Host::new());
    let anklets = start(&fleet, &mac);
    let port = fleet.redis.port;
    let server = RefCell::new(Some(std::mem::replace(&mut fleet.redis, TestServer::start(&[]))));
    burst(
        &world,
        || vec![connect(port)],
        || {
            let old = server.take().unwrap();
            old.signal(Signal::TERM);
            wait("the end of Redis", || std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
            let folder = old.kill();
            server.replace(Some(TestServer::start_in(&folder, port, &[]).expect("the port is still free")));
        },
    );
    fleet.redis = server.take().unwrap();
    goes_on(&fleet, &mac, anklets);
}

#[test]
fn cut_connections_in_a_burst_lose_nothing() {
    let world = World::new();
    let (fleet, mac) = (Fleet::new(&world), Host::new());
    let anklets = start(&fleet, &mac);
    burst(
        &world,
        || vec![fleet.raw()],
        || {
            let mut raw = fleet.raw();
            for _ in 0..10 {
                let n_sent = world.github.deliveries().len();
                for kind in ["normal", "pubsub"] {
                    cmd("CLIENT").arg(&["KILL", "TYPE", kind, "SKIPME", "yes"]).exec(&mut raw).unwrap();
                }
                wait("a few more webhooks", || world.github.deliveries().len() >= N_JOBS.min(n_sent + 5));
            }
        },
    );
    goes_on(&fleet, &mac, anklets);
}

#[test]
#[ignore = "long: see tests/long"]
fn a_frozen_server_in_a_burst_loses_nothing() {
    let world = World::new();
    let (fleet, mac) = (Fleet::new(&world), Host::new());
    let anklets = start(&fleet, &mac);
    burst(
        &world,
        || vec![fleet.raw()],
        || {
            fleet.redis.signal(Signal::STOP);
            let until = std::time::Instant::now() + Duration::from_secs(20);
            wait("the end of the frost", || std::time::Instant::now() >= until);
            fleet.redis.signal(Signal::CONT);
        },
    );
    goes_on(&fleet, &mac, anklets);
}

/// What was refused in an outage is asked for again, and all jobs run, each once.
#[test]
fn what_was_refused_comes_again() {
    let world = World::new();
    world.github.add_pat(TOKEN, &["repo", "admin:org", "admin:org_hook", "workflow"]);
    let (fleet, mac) = (Fleet::new(&world), Host::new());
    let of_hook = format!("hook_id: {}", world.hook);
    let plugin = receiver("RECEIVER", world.port).replace("skip_redeliver: true", &of_hook);
    let looks = "limits: {redeliver_look: 1, redeliver_pace: 0.001, redeliver_settle: 0.2, ";
    let config = fleet.config(&world.home, &[plugin]).replace("limits: {", looks);
    let hub = spawn_at(&world.home, &config, crate::support::bare(env!("CARGO_BIN_EXE_anklet")));
    hub.wait_message("receiver finished starting");
    let handlers = fleet.start(&mac, &["A1", "A2"]);
    let create =
        |n_jobs| (0..n_jobs).map(|_| world.github.create_job(world.job().steps_ms(50))).collect::<Vec<_>>();
    let mut jobs = create(4);
    fleet.redis.signal(Signal::STOP);
    jobs.extend(create(8));
    wait("webhooks that are refused", || {
        world.github.deliveries().iter().filter(|one| one.status_code == 503).count() >= 4
    });
    fleet.redis.signal(Signal::CONT);
    fleet.all_ran_once(&jobs);
    assert_eq!(mac.n_clones(), 12);
    fleet.is_clean(&[&mac]);
    handlers.stop();
    hub.stop();
}

/// The queue's master dies and its replica takes over.
#[test]
fn a_failover_in_a_burst_loses_nothing() {
    let world = World::new();
    let mut cluster = Cluster::start(&["--cluster-node-timeout", "1000"]);
    let (hub, mac) = (Host::new(), Host::new());
    let ca = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/redis/tests/certificates/ca.pem");
    let doubled = cluster.doubled();
    let queue = queue_on(&cluster, doubled);
    let fleet = Fleet::new(&world);
    let config = |host: &Host, port: u16, plugins: &[String]| {
        let plugins: Vec<_> = plugins
            .iter()
            .map(|plugin| plugin.replace("owner:", &format!("queue_name: {queue}, owner:")))
            .collect();
        fleet.config_by(port, &host.home, &plugins)
            + &format!(
                "global_database_cluster_mode: true\nglobal_database_tls_enabled: true\nca_file: {ca}\n\
                 global_database_password: {PASSWORD}\n"
            )
    };
    std::fs::write(mac.home.path().join(".config/anklet/.drain"), "").unwrap();
    let seed = cluster.nodes[0].port;
    let receiver = spawn_at(
        &hub.home,
        &config(&hub, seed, &[receiver("RECEIVER", world.port)]),
        crate::support::bare(env!("CARGO_BIN_EXE_anklet")),
    );
    receiver.wait_message("receiver finished starting");
    let handlers = mac.start(&config(&mac, seed, &[handler("A1"), handler("A2")]), 2);
    let dying = cluster.nodes.iter().position(|node| node.port == doubled).unwrap();
    let dying = RefCell::new(Some(cluster.nodes.remove(dying)));
    let cluster = cluster;
    let connect = || {
        cluster
            .nodes
            .iter()
            .filter(|node| is_master(&cluster, node))
            .map(|node| cluster.connect(node))
            .collect()
    };
    burst(&world, connect, || {
        let dying = dying.take().unwrap();
        let mut connection = cluster.connect(&dying);
        // What the replica has not got yet may be lost with the master: that is Redis, and not what is looked at here.
        cmd("CLIENT").arg(&["PAUSE", "10000", "WRITE"]).exec(&mut connection).unwrap();
        let n_replicas: u32 = cmd("WAIT").arg(1).arg(10_000).query(&mut connection).unwrap();
        assert_eq!(n_replicas, 1, "the replica has it all");
        drop(dying.kill());
        cluster.wait("the replica is a master", |cluster| is_master(cluster, cluster.nodes.last().unwrap()));
    });
    std::fs::remove_file(mac.home.path().join(".config/anklet/.drain")).unwrap();
    let any_ended = || world.github.jobs().iter().filter(|job| job.is_completed()).count() >= 2;
    wait("jobs that run", any_ended);
    for anklet in [receiver, handlers] {
        anklet.stop();
    }
}

fn is_master(cluster: &Cluster, node: &TestServer) -> bool {
    let role: Vec<redis::Value> = cmd("ROLE").query(&mut cluster.connect(node)).unwrap();
    redis::from_redis_value_ref::<String>(&role[0]).unwrap() == "master"
}

/// The name of a queue that lives on that node.
fn queue_on(cluster: &Cluster, port: u16) -> String {
    let mut connection = cluster.connect(&cluster.nodes[0]);
    let ranges: Vec<Vec<redis::Value>> = cmd("CLUSTER").arg("SLOTS").query(&mut connection).unwrap();
    let number = |value: &redis::Value| redis::from_redis_value_ref::<u32>(value).unwrap();
    let is_there = |slot: u32| {
        ranges.iter().any(|range| {
            let redis::Value::Array(node) = &range[2] else { return false };
            (number(&range[0])..=number(&range[1])).contains(&slot) && number(&node[1]) == u32::from(port)
        })
    };
    let mut names = (0..).map(|n| format!("queue-{n}"));
    let lives_there =
        |name: &String| is_there(cmd("CLUSTER").arg("KEYSLOT").arg(name).query(&mut connection).unwrap());
    names.by_ref().find(lives_there).unwrap()
}
