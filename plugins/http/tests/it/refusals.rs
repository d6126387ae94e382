//! What the server itself answers, and that the client can read it whatever it is still sending.

use std::io::Write;

use anklet_http::Limits;

use crate::support::{Client, start, wait_until};

#[test]
fn every_refusal_is_answered_and_ends_the_connection() {
    let (server, _gate) = start(Limits::default());
    let post = |lines: &str| format!("POST /a HTTP/1.1\nHost: h\n{lines}\n\n");
    for (text, status) in [
        ("nonsense\n\n".to_owned(), 400),
        ("\u{16}\u{3}\u{1} a TLS hello".to_owned(), 400),
        ("GET /a HTTP/1.1\n\n".to_owned(), 400),
        (post("Content-Length: 3\nContent-Length: 3"), 400),
        (post("Content-Length: 3\nContent-Length: 4"), 400),
        (post("Content-Length: 3\nTransfer-Encoding: chunked"), 400),
        (post("Content-Length: three"), 400),
        (post("Transfer-Encoding: chunked") + "xyz\n", 400),
        (post("Transfer-Encoding: gzip"), 501),
        (post("Expect: miracles"), 417),
        (post("Content-Length: 26214401"), 413),
        (post("Transfer-Encoding: chunked") + "1900001\n", 413),
        (post(&format!("X: {}", "x".repeat(33 << 10))), 431),
        (post(&"X: x\n".repeat(101)), 431),
        (format!("GET /{} HTTP/1.1\n\n", "x".repeat(33 << 10)), 431),
        ("GET /a HTTP/2.0\n\n".to_owned(), 505),
        (post("Content-Length: 3").replace("/a", "/nobody"), 401),
        ("GET /admit-panic HTTP/1.1\nHost: h\n\n".to_owned(), 500),
    ] {
        let mut client = Client::connect(&server);
        client.say(&text).say("and more\n\n");
        let answer = client.answer();
        let start = text.chars().take(60).collect::<String>();
        assert_eq!(answer.status, status, "{start}: {answer:?}");
        assert!(answer.says("Connection: close"), "{start}: {answer:?}");
        assert!(client.is_at_end(), "{start}");
    }
    wait_until(&server, "connections are gone", |stats| stats.n_connections == 0);
}

#[test]
fn a_refused_body_is_drained_so_that_the_answer_can_be_read() {
    let (server, _gate) = start(Limits::default());
    let body = vec![b'x'; 26 << 20];
    for (path, lines, status) in [
        ("/a", format!("Content-Length: {}", body.len()), 413),
        ("/nobody", format!("Content-Length: {}", body.len()), 413),
        ("/nobody", format!("Content-Length: {}", 25 << 20), 401),
        ("/nobody", format!("Transfer-Encoding: chunked\r\n\r\n{:x}", body.len()), 401),
        ("/a", format!("Transfer-Encoding: chunked\r\n\r\n{:x}", body.len()), 413),
        ("/a", "Transfer-Encoding: chunked\r\n\r\n1800000".to_owned(), 413),
    ] {
        let mut client = Client::connect(&server);
        let end = if lines.contains("chunked") { "\r\n" } else { "\r\n\r\n" };
        client.send(format!("POST {path} HTTP/1.1\r\nHost: h\r\n{lines}{end}").as_bytes());
        if lines.contains("1800000") {
            client.send(&body[..0x1800000]).send(b"\r\n1000001\r\n");
        }
        // All of it, before a single byte of the answer is read.
        client.send(&body);
        let answer = client.answer();
        assert_eq!(answer.status, status, "{path} {lines}");
        assert!(client.is_at_end(), "{path} {lines}");
    }
    assert_eq!(server.stats().n_held_bytes, 0);
}

#[test]
fn the_largest_body_is_taken_and_its_memory_given_back() {
    let (server, _gate) = start(Limits::default());
    let mut client = Client::connect(&server);
    let body = vec![b'x'; 25 << 20];
    for lines in ["Content-Length: 26214400\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n1900000\r\n"] {
        client.send(format!("POST /length HTTP/1.1\r\nHost: h\r\n{lines}").as_bytes()).send(&body);
        if lines.contains("chunked") {
            client.send(b"\r\n0\r\n\r\n");
        }
        assert_eq!(client.answer().text(), "26214400");
    }
    wait_until(&server, "no body is held", |stats| stats.n_held_bytes == 0);
}

#[test]
fn draining_is_bounded_in_bytes() {
    let limits = Limits { n_linger_bytes: 1 << 20, ..Limits::default() };
    let (server, _gate) = start(limits);
    let mut client = Client::connect(&server);
    client.say("POST /nobody HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n");
    let piece = vec![0; 1 << 20];
    let is_cut_off = (0..100).any(|_| client.stream.write_all(&piece).is_err());
    assert!(is_cut_off, "100 MiB were read and thrown away");
}
