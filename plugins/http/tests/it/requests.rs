//! Right requests and what HTTP promises about them.

use anklet_http::Limits;

use crate::support::{Client, start};

/// Cuts that look random and are the same in every run.
fn pieces(bytes: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut state = seed;
    let mut rest = bytes;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let n_bytes = (state >> 33) as usize % 40 + 1;
        let (piece, left) = rest.split_at(n_bytes.min(rest.len()));
        pieces.push(piece);
        rest = left;
    }
    pieces
}

#[test]
fn keep_alive_follows_version_and_header() {
    let (server, _gate) = start(Limits::default());
    for (version, header, expected, stays_open) in [
        ("1.1", "", None, true),
        ("1.1", "Connection: close\n", Some("Connection: close"), false),
        ("1.0", "", Some("Connection: close"), false),
        ("1.0", "Connection: keep-alive\n", Some("Connection: keep-alive"), true),
    ] {
        let mut client = Client::connect(&server);
        for n_request in 0..3 {
            client.say(&format!("POST /a HTTP/{version}\nHost: h\n{header}Content-Length: 2\n\nhi"));
            let answer = client.answer();
            assert_eq!((answer.status, answer.text()), (200, "hi"), "{version} {header} {n_request}");
            assert!(answer.says("X-Path: /a") && answer.says("Content-Length: 2"), "{answer:?}");
            assert_eq!(answer.head.contains("Connection"), expected.is_some(), "{answer:?}");
            assert!(expected.is_none_or(|line| answer.says(line)), "{answer:?}");
            if !stays_open {
                assert!(client.is_at_end(), "{version} {header}");
                break;
            }
        }
    }
}

#[test]
fn a_request_byte_by_byte_is_the_same_request() {
    let (server, _gate) = start(Limits::default());
    let body = "x".repeat(300);
    let lengthy = format!("POST /a?q=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 300\r\n\r\n{body}");
    let chunked = format!(
        "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{}\r\nC8;e=1\r\n{}\r\n0\r\nT: 1\r\n\r\n",
        &body[..100],
        &body[100..]
    );
    let mut client = Client::connect(&server);
    for wire in [lengthy.as_bytes(), chunked.as_bytes()] {
        for cut in [wire.chunks(1).collect(), pieces(wire, 1), pieces(wire, 2), vec![wire]] {
            for piece in cut {
                client.send(piece);
            }
            let answer = client.answer();
            assert_eq!((answer.status, answer.text()), (200, body.as_str()));
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (server, _gate) = start(Limits::default());
    let mut wire = String::new();
    for n_request in 0..200 {
        let body = format!("request {n_request}");
        wire +=
            &format!("POST /{n_request} HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    }
    wire += "GET /end HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut client = Client::connect(&server);
    for piece in pieces(wire.as_bytes(), 3).chunks(20) {
        client.send(&piece.concat());
    }
    for n_request in 0..200 {
        assert_eq!(client.answer().text(), format!("request {n_request}"));
    }
    assert!(client.answer().says("X-Path: /end"));
    assert!(client.is_at_end());
}

#[test]
fn a_head_request_gets_no_body() {
    let (server, _gate) = start(Limits::default());
    let mut client = Client::connect(&server);
    client.say("HEAD /a HTTP/1.1\nHost: h\nContent-Length: 5\nConnection: close\n\nhello");
    let mut wire = String::new();
    std::io::Read::read_to_string(&mut client.stream, &mut wire).unwrap();
    assert!(wire.contains("Content-Length: 5\r\n") && wire.ends_with("\r\n\r\n"), "{wire}");
}

#[test]
fn a_client_that_ends_sending_gets_its_answer() {
    let (server, gate) = start(Limits::default());
    let mut client = Client::connect(&server);
    client.say("GET /gate HTTP/1.1\nHost: h\n\n").end_sending();
    gate.wait_for(1);
    gate.open(1);
    assert_eq!(client.answer().text(), "through the gate");
    assert!(client.is_at_end());
}

#[test]
fn continue_comes_before_the_body() {
    let (server, _gate) = start(Limits::default());
    let mut client = Client::connect(&server);
    let head = "POST /a HTTP/1.1\nHost: h\nExpect: 100-continue\nContent-Length: 2\n\n";
    for _ in 0..2 {
        assert_eq!(client.say(head).answer().status, 100);
        assert_eq!(client.say("hi").answer().text(), "hi");
    }
    for (path, status) in [("/nobody", 401), ("/admit-panic", 500)] {
        let mut client = Client::connect(&server);
        assert_eq!(client.say(&head.replace("/a", path)).answer().status, status);
        assert!(client.is_at_end());
    }
}

#[test]
fn a_large_answer_arrives_whole() {
    let (server, _gate) = start(Limits::default());
    let mut client = Client::connect(&server);
    client.say("GET /large HTTP/1.1\nHost: h\n\n");
    assert_eq!(client.answer().body.len(), 32 << 20);
    assert_eq!(client.say("GET /a HTTP/1.1\nHost: h\n\n").answer().status, 200);
}

#[test]
fn a_panic_costs_one_answer() {
    let (server, _gate) = start(Limits { n_workers: 1, ..Limits::default() });
    let mut client = Client::connect(&server);
    for _ in 0..3 {
        assert_eq!(client.say("GET /panic HTTP/1.1\nHost: h\n\n").answer().status, 500);
        assert_eq!(client.say("GET /a HTTP/1.1\nHost: h\n\n").answer().status, 200);
    }
}
