//! HTTP/1.1 as far as the stand-in needs it: read one request, write one answer. It stands alone because the
//! server and its tests share it, and because a broken request must be told from a closed connection.

use std::io::{self, BufRead, Read, Write};

use serde_json::Value;

use crate::encode::percent_decode;

/// Heads are cut off here.
const HEAD_LIMIT: u64 = 64 * 1024;

/// Names and values in the order sent.
pub(crate) type Headers = Vec<(String, String)>;

/// A whole request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// As sent, with the query.
    pub(crate) target: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The target without its query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn query(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(key, value)| (percent_decode(key, true), percent_decode(value, true)))
            .collect()
    }
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// All headers but `Content-Length`, which the server counts itself.
    pub headers: Vec<(String, String)>,
    /// The body's bytes.
    pub body: Vec<u8>,
}

impl Answer {
    /// An answer with a JSON body.
    pub fn json(status: u16, body: &Value) -> Answer {
        let headers = vec![("Content-Type".to_owned(), "application/json; charset=utf-8".to_owned())];
        Answer { status, headers, body: body.to_string().into_bytes() }
    }

    /// An answer without a body.
    pub fn empty(status: u16) -> Answer {
        Answer { status, headers: Vec::new(), body: Vec::new() }
    }

    /// The same answer with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl ToString) -> Answer {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

/// Reads the next request of a connection; `None` when the caller has closed it.
pub(crate) fn read_request(stream: &mut impl BufRead, out: &mut impl Write) -> io::Result<Option<Request>> {
    let Some((start, headers)) = read_head(stream)? else { return Ok(None) };
    let mut words = start.split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1")) = (words.next(), words.next(), words.next()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP/1.1 request: {start:?}")));
    };
    let mut request =
        Request { method: method.to_owned(), target: target.to_owned(), headers, body: Vec::new() };
    if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    request.body = read_body(stream, &request.headers, false)?;
    Ok(Some(request))
}

/// Reads a first line and headers; `None` at the end of the stream.
pub(crate) fn read_head(stream: &mut impl BufRead) -> io::Result<Option<(String, Headers)>> {
    let mut lines = Vec::new();
    let mut head = stream.take(HEAD_LIMIT);
    loop {
        let mut line = Vec::new();
        if head.read_until(b'\n', &mut line)? == 0 {
            return if lines.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let line = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let mut lines = lines.into_iter();
    let start = lines.next().unwrap_or_default();
    let headers = lines
        .filter_map(|line| {
            line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        })
        .collect();
    Ok(Some((start, headers)))
}

/// Reads the body that `headers` announce; without an announcement nothing, or with `to_the_end` all.
pub(crate) fn read_body(
    stream: &mut impl BufRead,
    headers: &[(String, String)],
    to_the_end: bool,
) -> io::Result<Vec<u8>> {
    let header =
        |name: &str| headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| v);
    let mut body = Vec::new();
    if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
            stream.take(size).read_to_end(&mut body)?;
            stream.read_line(&mut String::new())?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
    match header("content-length").map(|length| length.parse::<u64>()) {
        Some(Ok(length)) => {
            stream.take(length).read_to_end(&mut body)?;
            if (body.len() as u64) < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Some(Err(_)) => return Err(io::ErrorKind::InvalidData.into()),
        None if to_the_end => drop(stream.read_to_end(&mut body)?),
        None => {}
    }
    Ok(body)
}

/// Writes a whole answer in one piece.
pub(crate) fn write_answer(out: &mut impl Write, answer: &Answer) -> io::Result<()> {
    let mut bytes = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status)).into_bytes();
    for (name, value) in &answer.headers {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if ![204, 304].contains(&answer.status) {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n", answer.body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&answer.body);
    out.write_all(&bytes)?;
    out.flush()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        410 => "Gone",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &str, expected: Option<(&str, &str, &str)>) {
        let request = read_request(&mut bytes.as_bytes(), &mut Vec::new()).ok().flatten();
        let seen = request.map(|request| {
            (
                request.method.clone(),
                request.path().to_owned(),
                String::from_utf8_lossy(&request.body).into_owned(),
            )
        });
        let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(seen, expected, "{bytes:?}");
    }

    #[test]
    fn requests() {
        check("GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n", Some(("GET", "/a", "")));
        check("POST /a HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}rest", Some(("POST", "/a", "{}")));
        check(
            "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n",
            Some(("POST", "/a", "abcde")),
        );
        check("POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nab", None);
        check("GET /a HTTP/1.0\r\n\r\n", None);
        check("", None);
    }

    #[test]
    fn queries() {
        let request = Request { target: "/a?name=a%20b+c&per_page=5&x".to_owned(), ..Request::default() };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(request.query(), [pair("name", "a b c"), pair("per_page", "5"), pair("x", "")]);
    }
}
