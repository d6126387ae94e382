//! A Redis for one test's world, which can be killed and started again on the same data.

use std::sync::Mutex;

use crate::redis_servers::server::TestServer;
use crate::support::World;

/// A server that writes every change to its file before it answers.
pub(crate) struct Redis {
    port: u16,
    server: Mutex<Option<TestServer>>,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let server = TestServer::start(&[]);
        Self { port: server.port, server: Mutex::new(Some(server)) }
    }

    /// A world whose queue is here.
    pub(crate) fn world(&self) -> World {
        World::on_redis(self.port)
    }

    /// SIGKILL, then a new start on the same data.
    pub(crate) fn kill_and_start_again(&self) {
        let mut server = self.server.lock().unwrap();
        let folder = server.take().unwrap().kill();
        *server = Some(TestServer::start_in(&folder, self.port, &[]).expect("Redis starts again"));
    }

    /// What one command answers.
    pub(crate) fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let client = redis::Client::open(("127.0.0.1", self.port)).unwrap();
        let mut connection = client.get_connection().unwrap();
        redis::cmd(command[0]).arg(&command[1..]).query(&mut connection).unwrap()
    }
}
