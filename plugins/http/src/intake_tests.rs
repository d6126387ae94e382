//! Whole requests through every kind of cut: the pure half of the server's tests.

use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

use super::*;

fn peer() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

fn small_limits() -> Limits {
    Limits { n_head_bytes: 200, n_body_bytes: 50, ..Limits::default() }
}

/// Feeds `input` in the pieces that `cuts` says (repeating), and collects what comes out of it.
fn run(input: &[u8], cuts: &[usize], limits: &Limits) -> (Vec<Request>, Option<Refusal>) {
    let admit = |head: &Head| if head.path() == "/no" { Err(Response::new(404)) } else { Ok(()) };
    let rules = Rules { limits, admit: &admit, peer: peer(), now: Instant::now() };
    let mut intake = Intake::new();
    let mut requests = Vec::new();
    let mut rest = input;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let n_bytes = cuts.next().map_or(1, |n| *n).clamp(1, rest.len());
        let mut piece = &rest[..n_bytes];
        rest = &rest[n_bytes..];
        loop {
            match intake.advance(piece, &rules) {
                Ok(Progress::Whole(request)) => requests.push(request),
                Ok(Progress::More | Progress::MoreAfterContinue) => break,
                Err(refusal) => return (requests, Some(refusal)),
            }
            piece = &[];
        }
    }
    (requests, None)
}

fn check(input: &str, expected: &[(&str, &str)], refusal: Option<Refusal>) {
    let input = input.replace('\n', "\r\n");
    for n_step in [1, 2, 3, 5, 8, 13, 10_000] {
        let (requests, refused) = run(input.as_bytes(), &[n_step], &small_limits());
        let seen: Vec<_> =
            requests.iter().map(|r| (r.path(), std::str::from_utf8(r.body()).unwrap())).collect();
        assert_eq!(seen, expected, "{input:?} by {n_step}");
        assert_eq!(refused, refusal, "{input:?} by {n_step}");
    }
}

#[test]
fn requests_come_out_whole_and_in_order() {
    check("GET /a HTTP/1.1\nHost: h\n\n", &[("/a", "")], None);
    check("POST /a HTTP/1.1\nHost: h\nContent-Length: 3\n\nabc", &[("/a", "abc")], None);
    check("POST /a HTTP/1.1\nHost: h\nContent-Length: 3\n\nab", &[], None);
    check("POST /a HTTP/1.1\nHost: h\nTransfer-Encoding: Chunked\n\n3\nabc\n0\n\n", &[("/a", "abc")], None);
    check(
        "POST /a HTTP/1.1\nHost: h\nContent-Length: 3\n\nabc\n\nGET /b HTTP/1.1\nHost: h\n\nPOST /c HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n1\nx\n0\n\nGET /d HTTP/1.0\n\n",
        &[("/a", "abc"), ("/b", ""), ("/c", "x"), ("/d", "")],
        None,
    );
    check("\n\n\n", &[], None);
}

#[test]
fn what_is_refused_before_the_body() {
    let with = |lines: &str| format!("POST /a HTTP/1.1\nHost: h\n{lines}\n\n");
    let broken = |text| Some(Refusal::Broken(text));
    for (lines, refusal) in [
        ("Content-Length: 3\nContent-Length: 3", broken("more than one Content-Length")),
        ("Content-Length: 3\nContent-Length: 4", broken("more than one Content-Length")),
        ("Content-Length: 3, 3", broken("Content-Length is not a number")),
        ("Content-Length: +3", broken("Content-Length is not a number")),
        ("Content-Length: -3", broken("Content-Length is not a number")),
        ("Content-Length:", broken("Content-Length is not a number")),
        ("Content-Length: 0x3", broken("Content-Length is not a number")),
        ("Content-Length: 51", Some(Refusal::BodyTooLarge)),
        ("Content-Length: 99999999999999999999999999", Some(Refusal::BodyTooLarge)),
        ("Content-Length: 3\nTransfer-Encoding: chunked", broken("Content-Length beside Transfer-Encoding")),
        ("Transfer-Encoding: gzip", Some(Refusal::Encoding)),
        ("Transfer-Encoding: gzip, chunked", Some(Refusal::Encoding)),
        ("Transfer-Encoding: chunked\nTransfer-Encoding: chunked", Some(Refusal::Encoding)),
        ("Transfer-Encoding: identity", Some(Refusal::Encoding)),
        ("Expect: 200-ok", Some(Refusal::Expectation)),
    ] {
        check(&with(lines), &[], refusal);
    }
    check("POST /a HTTP/1.0\nTransfer-Encoding: chunked\n\n", &[], broken("Transfer-Encoding in HTTP/1.0"));
    check("GET /a HTTP/1.1\nHost: h\n\nGET / HTTP/9.9\n\n", &[("/a", "")], Some(Refusal::Version));
    check("GET /no HTTP/1.1\nHost: h\n\n", &[], Some(Refusal::NotAdmitted(Response::new(404))));
    check(
        "POST /no HTTP/1.1\nContent-Length: 50\nHost: h\n\n",
        &[],
        Some(Refusal::NotAdmitted(Response::new(404))),
    );
    // The declared size is judged before the owner is asked.
    check("POST /no HTTP/1.1\nContent-Length: 51\nHost: h\n\n", &[], Some(Refusal::BodyTooLarge));
    check(&format!("GET /{} HTTP/1.1\nHost: h\n\n", "x".repeat(200)), &[], Some(Refusal::HeadTooLarge));
    check(&with(&format!("X: {}", "y".repeat(200))), &[], Some(Refusal::HeadTooLarge));
    check(&with("Transfer-Encoding: chunked").replace("\n\n", "\n\n33\n"), &[], Some(Refusal::BodyTooLarge));
}

#[test]
fn continue_is_sent_only_to_who_waits() {
    let admit = |_: &Head| Ok(());
    let limits = Limits::default();
    let rules = Rules { limits: &limits, admit: &admit, peer: peer(), now: Instant::now() };
    let head = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
    for (input, expected) in [
        (head.to_owned(), Progress::MoreAfterContinue),
        (format!("{head}a"), Progress::More),
        (head.replace("1.1", "1.0"), Progress::More),
        (head.replace("Expect", "X-Expect"), Progress::More),
    ] {
        assert_eq!(Intake::new().advance(input.as_bytes(), &rules), Ok(expected), "{input:?}");
    }
    let whole = Intake::new().advance(head.replace(": 2", ": 0").as_bytes(), &rules);
    assert!(matches!(whole, Ok(Progress::Whole(_))), "{whole:?}");
}

#[test]
fn a_request_is_complete_when_its_last_byte_comes() {
    let (admit, limits, begun_at) = (|_: &Head| Ok(()), Limits::default(), Instant::now());
    let after = |n_secs| Rules {
        limits: &limits,
        admit: &admit,
        peer: peer(),
        now: begun_at + std::time::Duration::from_secs(n_secs),
    };
    let mut intake = Intake::new();
    let head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na";
    assert_eq!(intake.advance(head, &after(1)), Ok(Progress::More));
    let Ok(Progress::Whole(request)) = intake.advance(b"b", &after(3)) else { panic!("not whole") };
    assert_eq!(request.complete_at(), after(3).now);
}

proptest! {
    #[test]
    fn any_bytes_never_panic(input: Vec<u8>, cuts in proptest::collection::vec(1_usize..50, 1..5)) {
        run(&input, &cuts, &small_limits());
    }

    #[test]
    fn nearly_right_bytes_never_panic(text in "(GET|POST|\r\n| )(/[a-z]{0,3})? HTTP/1\\.[01]\r\n(Host: h\r\n|Content-Length: [0-9x]{0,3}\r\n|Transfer-Encoding: chunked\r\n){0,3}\r?\n([0-9a-f\r\n;]{0,20})", n_step in 1_usize..30) {
        run(text.as_bytes(), &[n_step], &small_limits());
    }

    #[test]
    fn cuts_change_nothing(bodies in proptest::collection::vec("[a-z\r\n]{0,50}", 1..6), chunked: bool, cuts in proptest::collection::vec(1_usize..90, 1..9)) {
        let mut wire = String::new();
        for body in &bodies {
            wire += "POST /p HTTP/1.1\r\nHost: h\r\n";
            wire += &match chunked {
                true if body.is_empty() => "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
                true => format!("Transfer-Encoding: chunked\r\n\r\n{:X}\r\n{body}\r\n0\r\n\r\n", body.len()),
                false => format!("Content-Length: {}\r\n\r\n{body}", body.len()),
            };
        }
        let (requests, refusal) = run(wire.as_bytes(), &cuts, &small_limits());
        prop_assert!(refusal.is_none());
        let seen: Vec<_> = requests.iter().map(|r| String::from_utf8_lossy(r.body()).into_owned()).collect();
        prop_assert_eq!(seen, bodies);
    }
}
