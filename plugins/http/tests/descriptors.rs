//! Running out of descriptors. Alone in its program, since the limit is the process's.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anklet_http::{Limits, Response, Server};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn without_descriptors_the_listener_rests_and_comes_back() {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(address, Limits::default(), "test").unwrap();
    let limit = getrlimit(Resource::Nofile);
    assert!(limit.maximum.is_none_or(|maximum| limit.current >= Some(maximum.min(10_240))), "{limit:?}");
    let server = server.serve(Arc::new(|_| Response::text(200, "ok"))).unwrap();
    setrlimit(Resource::Nofile, Rlimit { current: Some(100), ..limit }).unwrap();

    let mut fillers = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        fillers.push(file);
    }
    fillers.pop();
    let n_before = server.stats().n_wake_ups;
    let mut client = TcpStream::connect(server.local_addr()).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    server.closed().recv_timeout(Duration::from_millis(2500)).unwrap_err();
    let n_wake_ups = server.stats().n_wake_ups - n_before;
    assert!((1..10).contains(&n_wake_ups), "{n_wake_ups} wake-ups without descriptors");

    fillers.clear();
    let begun_at = Instant::now();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    assert!(begun_at.elapsed() < Duration::from_secs(5));
}
