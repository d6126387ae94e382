//! What lies in Redis beside the queues: the document that tells the fleet of a process.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redis::{Client, Commands, Connection};
use serde_json::{Value, json};

use crate::support::{LIMIT, World, free_port};

/// A Redis of one test, on loopback; killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    port: u16,
}

impl Server {
    pub(crate) fn start(world: &World) -> Self {
        let (port, folder) = (free_port(), world.home.path().join("redis"));
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--appendonly", "yes", "--save", ""]);
        command.arg("--port").arg(port.to_string()).arg("--dir").arg(folder).stdout(Stdio::null());
        let server = Self { child: command.spawn().expect("redis-server is installed by tests/run"), port };
        let deadline = Instant::now() + LIMIT;
        while server.client().get_connection_with_timeout(Duration::from_millis(100)).is_err() {
            assert!(Instant::now() < deadline, "Redis does not answer");
            std::thread::yield_now();
        }
        server
    }

    fn client(&self) -> Client {
        Client::open(("127.0.0.1", self.port)).unwrap()
    }

    pub(crate) fn connect(&self) -> Connection {
        self.client().get_connection().unwrap()
    }

    /// The world's config on this Redis.
    pub(crate) fn config(&self, world: &World, n_handlers: usize) -> String {
        world.config(n_handlers) + &self.database("global_database_")
    }

    fn database(&self, prefix: &str) -> String {
        format!("{prefix}url: 127.0.0.1\n{prefix}port: {}\n", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_process_tells_of_itself_under_the_key_of_the_go_program() {
    const KEY: &str = "anklet/metrics/acme/RECEIVER";
    let world = World::new();
    let redis = Server::start(&world);
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
    let other = World::new();
    let [queues, metrics] = [Server::start(&world), Server::start(&other)];
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
    let redis = Server::start(&world);
    let config = world.config(1) + "metrics:\n  database:\n" + &redis.database("    ");
    let anklet = world.start(&config);
    anklet.wait_for("the document of a queue in a file", || {
        redis.connect().exists("anklet/metrics/acme/RECEIVER").unwrap()
    });
    anklet.kill();
    assert!(redis.connect().exists::<_, bool>("anklet/metrics/acme/RECEIVER").unwrap());
}
