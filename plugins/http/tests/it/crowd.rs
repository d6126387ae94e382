//! Very many slow and idle connections beside a good client.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::scope;
use std::time::{Duration, Instant};

use anklet_http::{Limits, Running};

use crate::support::{PATIENCE, pass, start};

const N_CROWD: usize = 1500;

/// Half of them say nothing; the other half one byte a second of a request that never ends. Whoever was pushed out
/// comes again.
fn crowd_in(server: &Running, n_rounds: usize) {
    let connect = |n_before: usize| {
        // A burst at a time: this is about many connections, not about how fast the loopback makes them.
        if n_before.is_multiple_of(50) {
            pass(server, Duration::from_millis(10));
        }
        let stream = TcpStream::connect_timeout(&server.local_addr(), PATIENCE).expect("a connection");
        stream.set_nonblocking(true).expect("no blocking");
        stream
    };
    let text = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n";
    let mut crowd: Vec<TcpStream> = (0..N_CROWD).map(connect).collect();
    for n_round in 0..n_rounds {
        for (n_stream, stream) in crowd.iter_mut().enumerate().step_by(2) {
            match stream.write(&text[n_round..=n_round]) {
                Err(error) if error.kind() != ErrorKind::WouldBlock => *stream = connect(n_stream),
                Ok(_) | Err(_) => {}
            }
        }
        pass(server, Duration::from_secs(1));
    }
}

/// A request in two parts, as over a long line. `None` if the connection was closed on us.
fn ask(server: &Running, body: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&server.local_addr(), PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let head = format!("POST /length HTTP/1.0\r\nContent-Length: {}\r\n\r\n", body.len());
    let (first, rest) = body.split_at(body.len() / 2);
    stream.write_all(&[head.as_bytes(), first].concat()).ok()?;
    pass(server, Duration::from_millis(20));
    stream.write_all(rest).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    (!answer.is_empty()).then_some(answer)
}

#[test]
fn a_good_request_is_answered_within_a_second_beside_1500_bad_ones() {
    let (server, _gate) = start(Limits::default());
    let body = vec![b'x'; 20 << 10];
    let mut slowest = Duration::ZERO;
    let (mut n_asked, mut n_answered) = (0, 0);
    scope(|scope| {
        let crowd = scope.spawn(|| crowd_in(&server, 4));
        while !crowd.is_finished() {
            let asked_at = Instant::now();
            n_asked += 1;
            if let Some(answer) = ask(&server, &body) {
                assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n20480"), "{answer}");
                slowest = slowest.max(asked_at.elapsed());
                n_answered += 1;
            }
            assert!(server.stats().n_connections <= 128);
        }
    });
    println!("{n_answered} of {n_asked} answered, the slowest in {slowest:?}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    // On a busy machine our own thread may rest between connecting and its first word, and count as idle.
    assert!(n_answered > 20 && n_answered * 20 >= n_asked * 19, "{n_answered} of {n_asked}");
}
