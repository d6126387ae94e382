//! From bytes to a checked `Head`. Pure: the same bytes give the same answer, however they were cut.

use std::net::SocketAddr;

use httparse::{EMPTY_HEADER, Error, Status};

use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::request::Head;

/// Where the empty line after the headers ends, looking only at what is new since `n_seen`.
pub(crate) fn find_end(input: &[u8], n_seen: usize) -> Option<usize> {
    let start = n_seen.saturating_sub(2);
    let mut line_ends = (start..input.len()).filter(|at| input[*at] == b'\n');
    line_ends.find_map(|at| match input[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// Parses a head; `None` if it is not complete but right so far. `input` must not begin with an empty line.
pub(crate) fn parse(input: &[u8], peer: SocketAddr, limits: &Limits) -> Result<Option<Head>, Refusal> {
    let mut headers = vec![EMPTY_HEADER; limits.n_headers];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(input) {
        Ok(Status::Partial) => return Ok(None),
        Ok(Status::Complete(_)) => {}
        Err(Error::TooManyHeaders) => return Err(Refusal::HeadTooLarge),
        Err(Error::Version) => return Err(wrong_version(input)),
        Err(Error::HeaderName | Error::HeaderValue) => return Err(Refusal::Broken("a header line")),
        Err(_) => return Err(Refusal::Broken("the request line")),
    }
    let (path, query) = split_target(parsed.path.unwrap_or_default())?;
    let mut head = Head {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: parsed
            .headers
            .iter()
            .map(|header| (header.name.to_owned(), value_text(header.value)))
            .collect(),
        peer,
        minor_version: parsed.version.unwrap_or(1),
        keep_alive: false,
    };
    head.keep_alive = wants_keep_alive(&head);
    check_host(&head)?;
    Ok(Some(head))
}

/// Whether the client waits for `100 Continue` before it sends the body.
pub(crate) fn expects_continue(head: &Head) -> Result<bool, Refusal> {
    match head.header("expect") {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case("100-continue") => Ok(head.minor_version == 1),
        Some(_) => Err(Refusal::Expectation),
    }
}

fn value_text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.trim_ascii()).into_owned()
}

/// Another version, or no version at all?
fn wrong_version(input: &[u8]) -> Refusal {
    let line = input.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match line.split(|byte| *byte == b' ').nth(2) {
        Some([b'H', b'T', b'T', b'P', b'/', digit, ..]) if digit.is_ascii_digit() => Refusal::Version,
        _ => Refusal::Broken("the request line"),
    }
}

/// Path and query of `/path?query`, of the proxy form `http://host/path`, or of `*`.
fn split_target(target: &str) -> Result<(&str, &str), Refusal> {
    let scheme_end = target.find("://").filter(|at| {
        let scheme = &target[..*at];
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    });
    let local = match scheme_end {
        Some(at) => {
            let rest = &target[at + 3..];
            rest.find(['/', '?']).map_or("/", |start| &rest[start..])
        }
        None => target,
    };
    let (path, query) = local.split_once('?').unwrap_or((local, ""));
    match path {
        "" if scheme_end.is_some() => Ok(("/", query)),
        "*" => Ok((path, query)),
        _ if path.starts_with('/') => Ok((path, query)),
        _ => Err(Refusal::Broken("the request target")),
    }
}

fn wants_keep_alive(head: &Head) -> bool {
    let has = |word: &str| {
        head.values("connection")
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    if head.minor_version == 0 { has("keep-alive") && !has("close") } else { !has("close") }
}

fn check_host(head: &Head) -> Result<(), Refusal> {
    match head.values("host").count() {
        1 => Ok(()),
        0 if head.minor_version == 0 => Ok(()),
        0 => Err(Refusal::Broken("the Host header is missing")),
        _ => Err(Refusal::Broken("more than one Host header")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Result<Option<Head>, Refusal> {
        parse(text.as_bytes(), SocketAddr::from(([127, 0, 0, 1], 1)), &Limits::default())
    }

    fn check(text: &str, expected: Result<(&str, &str, &str, bool), Refusal>) {
        let text = text.replace('\n', "\r\n");
        let head = parse_text(&text).map(|head| head.expect("a complete head"));
        let seen = head.as_ref().map(|head| (head.method(), head.path(), head.query(), head.keep_alive));
        assert_eq!(seen, expected.as_ref().map(|expected| *expected), "{text:?}");
    }

    #[test]
    fn heads_that_are_right() {
        for (text, expected) in [
            ("GET / HTTP/1.1\nHost: a\n\n", ("GET", "/", "", true)),
            ("GET /a?b=c?d HTTP/1.1\nhost:a\n\n", ("GET", "/a", "b=c?d", true)),
            ("POST /a HTTP/1.1\nHost: a\nConnection: Close\n\n", ("POST", "/a", "", false)),
            ("POST /a HTTP/1.1\nHost: a\nConnection: te, close\n\n", ("POST", "/a", "", false)),
            ("GET /a HTTP/1.0\n\n", ("GET", "/a", "", false)),
            ("GET /a HTTP/1.0\nConnection: Keep-Alive\n\n", ("GET", "/a", "", true)),
            ("GET http://h:80/a?b HTTP/1.1\nHost: h\n\n", ("GET", "/a", "b", true)),
            ("GET http://h HTTP/1.1\nHost: h\n\n", ("GET", "/", "", true)),
            ("GET http://h?q HTTP/1.1\nHost: h\n\n", ("GET", "/", "q", true)),
            ("OPTIONS * HTTP/1.1\nHost: h\n\n", ("OPTIONS", "*", "", true)),
        ] {
            check(text, Ok(expected));
        }
    }

    #[test]
    fn heads_that_are_refused() {
        let line = || Refusal::Broken("the request line");
        let header = || Refusal::Broken("a header line");
        let target = || Refusal::Broken("the request target");
        for (text, refusal) in [
            ("GARBAGE\n\n", line()),
            ("GET /\n\n", line()),
            ("GET  / HTTP/1.1\n\n", line()),
            ("GET / FTP/1.1\n\n", line()),
            ("GET / HTTP/1.1 \n\n", line()),
            ("G<T / HTTP/1.1\n\n", line()),
            ("\u{16}\u{3}\u{1}", line()),
            ("GET / HTTP/2.0\n\n", Refusal::Version),
            ("GET / HTTP/1.2\n\n", Refusal::Version),
            ("GET / HTTP/0.9\n\n", Refusal::Version),
            ("PRI * HTTP/2.0\n\nSM\n\n", Refusal::Version),
            ("GET / HTTP/1.1\nHost: a\nNo colon\n\n", header()),
            ("GET / HTTP/1.1\nHost: a\nName : x\n\n", header()),
            ("GET / HTTP/1.1\nHost: a\n folded\n\n", header()),
            ("GET / HTTP/1.1\nHost: a\nX: \u{1}\n\n", header()),
            ("GET / HTTP/1.1\n\n", Refusal::Broken("the Host header is missing")),
            ("GET / HTTP/1.1\nHost: a\nHost: a\n\n", Refusal::Broken("more than one Host header")),
            ("CONNECT a:443 HTTP/1.1\nHost: a\n\n", target()),
            ("GET a/b HTTP/1.1\nHost: a\n\n", target()),
            ("GET ftp://a/b HTTP/1.1\nHost: a\n\n", target()),
        ] {
            check(text, Err(refusal));
        }
    }

    #[test]
    fn the_number_of_headers_is_bounded() {
        let with = |n_headers: usize| format!("GET / HTTP/1.0\r\n{}\r\n", "A: b\r\n".repeat(n_headers));
        assert_eq!(parse_text(&with(100)).unwrap().unwrap().headers().count(), 100);
        assert_eq!(parse_text(&with(101)), Err(Refusal::HeadTooLarge));
    }

    #[test]
    fn headers_are_found_in_any_case() {
        let head = parse_text("GET /?format=json&x HTTP/1.1\r\nhOST: a\r\nX-A:  1 \r\nx-a: 2\r\n\r\n")
            .unwrap()
            .unwrap();
        assert_eq!(head.header("HOST"), Some("a"));
        assert_eq!(head.header("x-A"), Some("1"));
        assert_eq!(head.header("b"), None);
        assert_eq!(head.query_value("format"), Some("json"));
        assert_eq!(head.query_value("x"), Some(""));
        assert_eq!(head.query_value("y"), None);
    }

    #[test]
    fn the_end_is_found_wherever_the_last_look_stopped() {
        let text = b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest";
        for n_seen in 0..24 {
            assert_eq!(find_end(text, n_seen), Some(24), "{n_seen}");
        }
        assert_eq!(find_end(b"a\n\nb", 0), Some(3));
        assert_eq!(find_end(&text[..23], 0), None);
    }
}
