//! What lies in Redis beside the queues: the document that tells the fleet of a process.

use std::time::{Duration, Instant};

use redis::{Client, Commands, Connection};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::redis_servers::server::TestServer;
use crate::support::World;

/// A Redis of one test.
pub(crate) struct Server(TestServer);

impl Server {
    pub(crate) fn start() -> Self {
        Self(TestServer::start(&[]))
    }

    pub(crate) fn connect(&self) -> Connection {
        Client::open(("127.0.0.1", self.0.port)).unwrap().get_connection().unwrap()
    }

    /// The world's config on this Redis.
    pub(crate) fn config(&self, world: &World, n_handlers: usize) -> String {
        world.config(n_handlers) + &self.database("global_database_")
    }

    fn database(&self, prefix: &str) -> String {
        format!("{prefix}url: 127.0.0.1\n{prefix}port: {}\n", self.0.port)
    }
}

#[test]
fn a_process_tells_of_itself_under_the_key_of_the_go_program() {
    const KEY: &str = "anklet/metrics/acme/RECEIVER";
    let world = World::new();
    let redis = Server::start();
    let anklet = world.start(&redis.config(&world, 2));
    anklet.wait_for("the document", || redis.connect().exists(KEY).unwrap());
    let mut connection = redis.connect();
    let document: Value = serde_json::from_str(&connection.get::<_, String>(KEY).unwrap()).unwrap();
    assert_eq!(document["implementation"], "rust");
    let names: Vec<_> =
        document["plugins"].as_array().unwrap().iter().map(|plugin| &plugin["Name"]).collect();
    assert_eq!(json!(names), json!(["RECEIVER", "HANDLER1", "HANDLER2"]));
    let week: i64 = 7 * 24 * 3_600;
    let left: i64 = connection.ttl(KEY).unwrap();
    assert!((week - 60..=week).contains(&left), "{left}");
    anklet.stop();
    assert_eq!(connection.keys::<_, Vec<String>>("anklet/metrics/*").unwrap(), Vec::<String>::new());
}

/// One document of the Go program that nobody renews, one that cannot be read, and one of a process of ours.
#[test]
fn the_aggregator_shows_the_plugins_of_the_whole_fleet() {
    let (world, own) = (World::new(), World::new());
    let redis = Server::start();
    let mut connection = redis.connect();
    let of_go = json!({
        "last_update": "2026-01-02T03:04:05.5Z", "host_cpu_count": 10, "total_running_vms": 1,
        "plugins": [{"Name": "OLD1", "PluginName": "github", "OwnerName": "acme", "Status": "in_progress", "TotalRanVMs": 7}],
    });
    for (key, text) in [("acme/OLD1", of_go.to_string()), ("acme/BROKEN", "{".to_owned())] {
        let _: () = connection.set_ex(format!("anklet/metrics/{key}"), text, 6 * 24 * 3_600).unwrap();
    }
    let anklet = world.start(&redis.config(&world, 1));
    anklet.wait_for("the document", || redis.connect().exists("anklet/metrics/acme/RECEIVER").unwrap());
    let port = crate::support::free_port();
    let config = world.config(1)
        + &format!("metrics:\n  aggregator: true\n  port: {port}\n  sleep_interval: 1\n  database:\n")
        + &redis.database("    ");
    let aggregator = own.spawn(&config);
    aggregator.wait_message("starting anklet-aggregator");
    aggregator.wait_message("metrics aggregator started");
    let get = |path: &str| crate::metrics::get(port.into(), path);
    assert_eq!(get("/healthcheck"), (200, "ok".to_owned()));
    for path in ["/metrics/v1", "/metrics/v2?format=xml"] {
        assert_eq!(get(path).0, 400, "{path}");
    }
    let of = |path: &str| serde_json::from_str::<Value>(&get(path).1).unwrap();
    let named = of("/metrics/v1?format=json");
    let names: Vec<_> = named.as_object().unwrap().keys().collect();
    assert_eq!(names, ["HANDLER1", "OLD1", "RECEIVER"]);
    let old = &named["OLD1"];
    assert_eq!(
        (&old["stale"], &old["plugin_total_ran_vms"], &old["host_cpu_count"]),
        (&json!(true), &json!(7), &json!(10))
    );
    assert_eq!(named["HANDLER1"]["stale"], false);
    assert_eq!(of("/metrics/v2?format=json").as_array().map(Vec::len), Some(3));
    let (status, text) = get("/metrics/v1?format=prometheus");
    assert_eq!(status, 200);
    assert_eq!(get("/metrics/v2?format=prometheus").1, text);
    for line in [
        "plugin_status{name=OLD1,owner=acme} in_progress",
        "last_update_stale{name=OLD1,owner=acme} true",
        "plugin_status{name=RECEIVER,owner=acme,repo=app} idle",
        "last_update_stale{name=RECEIVER,owner=acme} false",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    let said = aggregator.lines();
    let unread = said.iter().filter(|line| line.message().starts_with("a metrics document cannot be read"));
    assert_eq!(unread.count(), 1);
    assert!(!said.iter().any(|line| line.message() == "starting plugin"), "plugins are ignored");
    drop(redis);
    aggregator.wait_for("503 while the database is away", || get("/metrics/v1?format=json").0 == 503);
    assert_eq!(get("/healthcheck").0, 200);
    aggregator.stop();
}

#[test]
fn the_metrics_may_have_a_database_of_their_own() {
    let world = World::new();
    let [queues, metrics] = [Server::start(), Server::start()];
    let config = queues.config(&world, 1) + "metrics:\n  database:\n" + &metrics.database("    ");
    let anklet = world.start(&config);
    anklet.wait_for("the document", || metrics.connect().exists("anklet/metrics/acme/RECEIVER").unwrap());
    assert!(!queues.connect().exists::<_, bool>("anklet/metrics/acme/RECEIVER").unwrap());
    anklet.stop();
    assert!(!metrics.connect().exists::<_, bool>("anklet/metrics/acme/RECEIVER").unwrap());
}

#[test]
fn a_queue_in_a_file_may_tell_of_itself_too_and_what_dies_leaves_its_document() {
    let world = World::new();
    let redis = Server::start();
    let config = world.config(1) + "metrics:\n  database:\n" + &redis.database("    ");
    let anklet = world.start(&config);
    anklet.wait_for("the document of a queue in a file", || {
        redis.connect().exists("anklet/metrics/acme/RECEIVER").unwrap()
    });
    anklet.kill();
    assert!(redis.connect().exists::<_, bool>("anklet/metrics/acme/RECEIVER").unwrap());
}

/// Prometheus waits for ten seconds; that the store is away has to be on the page by then.
#[test]
fn a_scrape_is_answered_while_the_store_is_away() {
    let world = World::new();
    let redis = Server::start();
    let anklet = world.start(&redis.config(&world, 1));
    let port = crate::metrics::port_of(&anklet);
    let scrape = || {
        let began_at = Instant::now();
        let page = crate::metrics::get(port, "/metrics").1;
        (page, began_at.elapsed())
    };
    assert!(scrape().0.contains("anklet_store_up{queue=\"acme\"} 1"));
    for how in [Signal::STOP, Signal::KILL] {
        redis.0.signal(how);
        anklet.wait_for("the store away on the page", || {
            let (page, took) = scrape();
            assert!(took < Duration::from_secs(10), "{how:?}: {took:?}");
            page.contains("anklet_store_up{queue=\"acme\"} 0")
        });
    }
    anklet.kill();
}
