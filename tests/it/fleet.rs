//! The queue on Redis, which any number of hosts share: the main job, and a process that dies.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{LIMIT, World, free_port};

/// A Redis of one test, on loopback; killed when it is dropped.
struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    fn start(world: &World) -> Self {
        let port = free_port();
        let folder = world.home.path().join("redis");
        std::fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new("redis-server");
        command.args([
            "--bind",
            "127.0.0.1",
            "--appendonly",
            "yes",
            "--save",
            "",
            "--port",
            &port.to_string(),
            "--dir",
        ]);
        let child = command
            .arg(&folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed by tests/run");
        let deadline = Instant::now() + LIMIT;
        while TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_millis(50)).is_err() {
            assert!(Instant::now() < deadline, "Redis does not listen");
            std::thread::yield_now();
        }
        Self { child, port }
    }

    fn config(&self, world: &World, n_handlers: usize) -> String {
        world.config(n_handlers)
            + &format!("global_database_url: 127.0.0.1\nglobal_database_port: {}\n", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn jobs_run_through_redis() {
    let world = World::new();
    let redis = Redis::start(&world);
    let anklet = world.start(&redis.config(&world, 2));
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
    let redis = Redis::start(&world);
    let config = redis.config(&world, 1);
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
