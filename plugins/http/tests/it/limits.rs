//! What the limits of connections, time and bytes do, with small numbers.

use std::io::Write;
use std::time::{Duration, Instant};

use anklet_http::Limits;

use crate::support::{Client, PATIENCE, pass, start, wait_until};

const GATE: &str = "GET /gate HTTP/1.1\nHost: h\n\n";
const GOOD: &str = "GET /a HTTP/1.1\nHost: h\n\n";

fn millis(n_millis: u64) -> Duration {
    Duration::from_millis(n_millis)
}

#[test]
fn new_connections_push_out_unfinished_and_idle_ones_but_no_complete_request() {
    let (server, gate) = start(Limits { n_connections: 4, n_workers: 1, ..Limits::default() });
    let mut in_work = Client::connect(&server);
    in_work.say(GATE);
    gate.wait_for(1);
    // One in the workers' channel, so that the next one waits in its connection.
    let mut queued = Client::connect(&server);
    queued.say(GATE);
    let mut unfinished = Client::connect(&server);
    unfinished.say("POST /a HTTP/1.1\nHost: h\nContent-Length: 9\n\nabc");
    wait_until(&server, "three are open", |stats| stats.n_connections == 3 && stats.n_held_bytes == 3);
    let mut idle = Client::connect(&server);
    wait_until(&server, "four are open", |stats| stats.n_connections == 4);

    let mut first = Client::connect(&server);
    first.say(GATE);
    let mut second = Client::connect(&server);
    // Which of them went first depends on the machine: after a second the unfinished one counts as slow.
    assert!(idle.is_dropped());
    assert!(unfinished.is_dropped());
    second.say(GATE);
    // All four are complete now: the next one has to wait, and is answered when there is room.
    let n_before = server.stats().n_wake_ups;
    let mut third = Client::connect(&server);
    third.say(GOOD);
    pass(&server, millis(200));
    assert!(server.stats().n_wake_ups - n_before < 20, "a listener without room must not spin");
    gate.open(4);
    for client in [&mut in_work, &mut queued, &mut first, &mut second] {
        assert_eq!(client.answer().text(), "through the gate");
    }
    assert_eq!(third.answer().status, 200);
}

#[test]
fn a_slow_request_is_answered_408() {
    let (server, _gate) = start(Limits { request_limit: millis(300), ..Limits::default() });
    for start_text in ["POST /a HTT", "POST /a HTTP/1.1\nHost: h\nContent-Length: 100000\n\n"] {
        // Before the server can have begun to count.
        let started_at = Instant::now();
        let mut client = Client::connect(&server);
        client.say(start_text);
        // A byte now and then does not move the deadline.
        while started_at.elapsed() < PATIENCE && server.stats().n_connections > 0 {
            let has_answer = client.stream.peek_within(&mut [0; 1], millis(20));
            if has_answer || client.stream.write_all(b"x").is_err() {
                break;
            }
        }
        assert_eq!(client.answer().status, 408, "{start_text}");
        assert!(client.is_at_end());
        assert!(started_at.elapsed() >= millis(250));
    }
}

#[test]
fn idle_connections_end() {
    let (server, _gate) = start(Limits { idle_limit: millis(150), ..Limits::default() });
    let mut fresh = Client::connect(&server);
    let mut used = Client::connect(&server);
    assert_eq!(used.say(GOOD).answer().status, 200);
    // Empty lines are no request, and keep nothing open.
    let begun_at = Instant::now();
    while !used.stream.peek_within(&mut [0; 1], millis(20)) && begun_at.elapsed() < PATIENCE {
        let _ = used.stream.write_all(b"\r\n");
    }
    assert!(used.is_dropped());
    assert!(fresh.is_at_end());
    wait_until(&server, "none is open", |stats| stats.n_connections == 0);
}

#[test]
fn an_answer_that_nobody_takes_ends() {
    let (server, _gate) = start(Limits { answer_limit: millis(200), ..Limits::default() });
    let mut client = Client::connect(&server);
    client.say("GET /large HTTP/1.1\nHost: h\n\n");
    wait_until(&server, "the request came", |stats| stats.n_connections == 1);
    wait_until(&server, "none is open", |stats| stats.n_connections == 0);
}

#[test]
fn lingering_ends() {
    let (server, _gate) = start(Limits { linger_limit: millis(200), ..Limits::default() });
    let mut client = Client::connect(&server);
    assert_eq!(client.say("nonsense\n\n").answer().status, 400);
    // The client keeps its side open.
    wait_until(&server, "none is open", |stats| stats.n_connections == 0);
}

#[test]
fn requests_that_no_worker_takes_in_time_are_answered_503() {
    let limits = Limits { n_workers: 1, request_limit: millis(300), ..Limits::default() };
    let (server, gate) = start(limits);
    let mut clients: Vec<Client> = Vec::new();
    for n_client in 0..5 {
        let mut client = Client::connect(&server);
        client.say(GATE);
        if n_client == 0 {
            gate.wait_for(1);
        }
        clients.push(client);
    }
    // One in the handler and one in the channel have a worker; three do not.
    for client in &mut clients[2..] {
        let answer = client.answer();
        assert!(answer.status == 503 && answer.says("Retry-After: 5"), "{answer:?}");
        assert!(client.is_at_end());
    }
    gate.open(2);
    for client in &mut clients[..2] {
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn waiting_requests_are_taken_when_workers_are_free() {
    let (server, gate) = start(Limits { n_workers: 2, ..Limits::default() });
    let mut clients: Vec<Client> = (0..20).map(|_| Client::connect(&server)).collect();
    for client in &mut clients {
        client.say(GATE);
    }
    gate.wait_for(2);
    gate.open(20);
    for client in &mut clients {
        assert_eq!(client.answer().text(), "through the gate");
    }
}

#[test]
fn bodies_together_have_a_limit() {
    let limits =
        Limits { n_connections: 10, n_held_bytes: 1_000_000, n_body_bytes: 800_000, ..Limits::default() };
    let (server, gate) = start(limits);
    let post = |path: &str, n_bytes: usize| {
        format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {n_bytes}\r\n\r\n").into_bytes()
    };
    let mut large = Client::connect(&server);
    large.send(&post("/length", 800_000)).send(&vec![0; 700_000]);
    wait_until(&server, "the first is held", |stats| stats.n_held_bytes == 700_000);
    // A large newcomer is refused; the one that was there goes on.
    let mut newcomer = Client::connect(&server);
    newcomer.send(&post("/length", 500_000)).send(&vec![0; 500_000]);
    let answer = newcomer.answer();
    assert!(answer.status == 503 && answer.says("Retry-After: 5"), "{answer:?}");
    assert!(newcomer.is_at_end());
    large.send(&vec![0; 100_000]);
    assert_eq!(large.answer().text(), "800000");

    // What a handler holds counts too.
    large.send(&post("/gate", 800_000)).send(&vec![0; 800_000]);
    gate.wait_for(1);
    let mut newcomer = Client::connect(&server);
    newcomer.send(&post("/length", 300_000)).send(&vec![0; 300_000]);
    assert_eq!(newcomer.answer().status, 503);
    gate.open(1);
    assert_eq!(large.answer().status, 200);
    wait_until(&server, "nothing is held", |stats| stats.n_held_bytes == 0);
}

#[test]
fn a_small_request_does_not_pay_for_a_large_unfinished_one() {
    let limits = Limits { n_connections: 10, n_held_bytes: 1_000_000, ..Limits::default() };
    let (server, _gate) = start(limits);
    let mut large = Client::connect(&server);
    large.say("POST /length HTTP/1.1\nHost: h\nContent-Length: 2000000\n\n").send(&vec![0; 990_000]);
    wait_until(&server, "the first is held", |stats| stats.n_held_bytes == 990_000);
    let mut small = Client::connect(&server);
    small.say("POST /length HTTP/1.1\nHost: h\nContent-Length: 20000\n\n").send(&vec![0; 20_000]);
    assert_eq!(small.answer().text(), "20000");
    assert_eq!(large.answer().status, 503);
}

#[test]
fn nothing_wakes_an_idle_server() {
    let (server, gate) = start(Limits::default());
    wait_until(&server, "the loop runs", |_| true);
    pass(&server, millis(100));
    let n_before = server.stats().n_wake_ups;
    pass(&server, millis(700));
    assert_eq!(server.stats().n_wake_ups, n_before, "without connections");

    let mut idle = Client::connect(&server);
    assert_eq!(idle.say(GOOD).answer().status, 200);
    let mut gone = Client::connect(&server);
    gone.say(GATE);
    gate.wait_for(1);
    // Gone while its request is in work: the hang-up must not spin the loop.
    drop(gone);
    pass(&server, millis(100));
    let n_before = server.stats().n_wake_ups;
    pass(&server, millis(700));
    assert_eq!(server.stats().n_wake_ups, n_before, "with an idle and a lost connection");
    gate.open(1);
    wait_until(&server, "the lost one is gone", |stats| stats.n_connections == 1);
}

/// Waits for a byte to be readable, for a limited time.
trait PeekWithin {
    fn peek_within(&self, bytes: &mut [u8], limit: Duration) -> bool;
}

impl PeekWithin for std::net::TcpStream {
    fn peek_within(&self, bytes: &mut [u8], limit: Duration) -> bool {
        self.set_read_timeout(Some(limit)).expect("a limit");
        let has_any = self.peek(bytes).is_ok();
        self.set_read_timeout(Some(PATIENCE)).expect("a limit");
        has_any
    }
}
