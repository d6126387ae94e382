//! What a queue with nothing in it costs the server.

use redis::{Client, Connection, cmd};

use super::server::TestServer;
use super::{claim, queue_on, settings};

/// All commands that the server has run, those inside scripts too.
fn n_commands(connection: &mut Connection) -> u64 {
    let stats: String = cmd("INFO").arg("stats").query(connection).unwrap();
    let count = stats.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
    count.unwrap().trim().parse().unwrap()
}

#[test]
fn a_claim_of_an_idle_queue_is_one_command() {
    let server = TestServer::start(&[]);
    let store = queue_on(&settings(server.port), None, None);
    let mut connection =
        Client::open(format!("redis://127.0.0.1:{}", server.port)).unwrap().get_connection().unwrap();
    assert!(claim(&*store, "h").is_none());
    let before = n_commands(&mut connection);
    for _ in 0..100 {
        assert!(claim(&*store, "h").is_none());
    }
    let spent = n_commands(&mut connection) - before;
    // The question itself is one; and the subscription may be asked whether it is still there.
    assert!((100..120).contains(&spent), "{spent} commands for a hundred claims");
}
