//! What lies in Redis beside the queues: the document that tells the fleet of a process.

use redis::{Client, Commands, Connection};
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
