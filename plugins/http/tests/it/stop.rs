//! Binding, and that an end is an end: listener, requests and threads.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anklet_http::{Limits, Response, Server, ServerError};
use crossbeam_channel::RecvTimeoutError;

use crate::support::{Client, PATIENCE, loopback, start, wait_until};

#[test]
fn an_address_in_use_is_its_own_error() {
    let taken = TcpListener::bind(loopback()).unwrap();
    let address = taken.local_addr().unwrap();
    let Err(error) = Server::bind(address, Limits::default(), "test") else { panic!("bound twice") };
    assert!(matches!(error, ServerError::AddressInUse { address: named } if named == address), "{error:?}");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn an_address_that_is_not_ours_is_named() {
    let address = SocketAddr::from(([192, 0, 2, 1], 80));
    let Err(error) = Server::bind(address, Limits::default(), "test") else { panic!("bound") };
    assert!(matches!(error, ServerError::Bind { .. }), "{error:?}");
    assert!(error.to_string().contains("192.0.2.1:80"), "{error}");
}

#[test]
fn port_zero_takes_a_free_one_and_stop_frees_it() {
    let server = Server::bind(loopback(), Limits::default(), "test").unwrap();
    let address = server.local_addr();
    assert_ne!(address.port(), 0);
    let running = server.serve(Arc::new(|_| Response::new(204))).unwrap();
    assert_eq!(running.local_addr(), address);
    assert_eq!(Client::connect(&running).say("GET / HTTP/1.1\nHost: h\n\n").answer().status, 204);
    running.stop();
    assert!(TcpStream::connect(address).is_err());
    Server::bind(address, Limits::default(), "test").unwrap();
}

#[test]
fn stop_lets_requests_in_work_finish() {
    let (server, gate) = start(Limits { n_workers: 1, ..Limits::default() });
    let closed = server.closed().clone();
    let address = server.local_addr();
    let mut in_work = Client::connect(&server);
    in_work.say("GET /gate HTTP/1.1\nHost: h\n\n");
    gate.wait_for(1);
    // One for the channel, one that waits in its connection.
    let mut waiting: Vec<Client> = (0..2).map(|_| Client::connect(&server)).collect();
    for client in &mut waiting {
        client.say("POST /gate HTTP/1.1\nHost: h\nContent-Length: 2\n\nhi");
    }
    let mut idle = Client::connect(&server);
    let mut unfinished = Client::connect(&server);
    unfinished.say("POST /a HTTP/1.1\nHost: h\nContent-Length: 3\n\na");
    wait_until(&server, "all are there", |stats| stats.n_connections == 5 && stats.n_held_bytes == 5);
    std::thread::scope(|scope| {
        scope.spawn(|| server.stop());
        assert!(idle.is_at_end());
        assert!(unfinished.is_dropped());
        assert!(TcpStream::connect(address).is_err(), "the listener is closed first");
        gate.open(3);
        for client in waiting.iter_mut().chain([&mut in_work]) {
            let answer = client.answer();
            assert!(answer.text() == "through the gate" && answer.says("Connection: close"), "{answer:?}");
            assert!(client.is_at_end());
        }
        assert_eq!(closed.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    });
}

#[test]
fn stop_does_not_wait_for_ever() {
    let (server, gate) = start(Limits { stop_limit: Duration::from_millis(100), ..Limits::default() });
    let mut client = Client::connect(&server);
    client.say("GET /gate HTTP/1.1\nHost: h\n\n");
    gate.wait_for(1);
    let stopped_at = Instant::now();
    drop(server);
    assert!(stopped_at.elapsed() < PATIENCE / 2);
    assert!(client.is_dropped());
    gate.open(1);
}

#[test]
fn stop_is_quick_with_idle_and_lingering_clients() {
    let (server, _gate) = start(Limits::default());
    let mut idle = Client::connect(&server);
    assert_eq!(idle.say("GET /a HTTP/1.1\nHost: h\n\n").answer().status, 200);
    let mut refused = Client::connect(&server);
    assert_eq!(refused.say("nonsense\n\n").answer().status, 400);
    let stopped_at = Instant::now();
    server.stop();
    assert!(stopped_at.elapsed() < Duration::from_secs(3));
}
