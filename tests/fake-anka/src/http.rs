//! One HTTP/1.1 request over plain TCP, and its body as a stream. Guest programs need no more.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// An answer: its head, and a body to read.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) body: Body,
}

/// The body, in whichever of the three ways its end is told.
pub(crate) struct Body {
    from: BufReader<TcpStream>,
    chunked: bool,
    /// Bytes left of the chunk or of the whole; none when the connection's end is the end.
    left: Option<u64>,
}

/// `http://AUTHORITY` and the rest of the address; other schemes are refused.
pub(crate) fn split(url: &str) -> io::Result<(&str, &str)> {
    let rest =
        url.strip_prefix("http://").ok_or_else(|| io::Error::other(format!("no plain HTTP: {url}")))?;
    let end = rest.find('/').unwrap_or(rest.len());
    Ok((&rest[..end], &rest[end..]))
}

/// Sends a request with a JSON body, if any, and reads the head of the answer.
pub(crate) fn request(method: &str, url: &str, body: Option<&str>) -> io::Result<Answer> {
    let (authority, path) = split(url)?;
    let path = if path.is_empty() { "/" } else { path };
    let address = if authority.contains(':') { authority.to_string() } else { format!("{authority}:80") };
    let mut stream = TcpStream::connect(address)?;
    let body = body.unwrap_or("");
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: fake-anka\r\nAccept: */*\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    answer(BufReader::new(stream))
}

fn answer(mut from: BufReader<TcpStream>) -> io::Result<Answer> {
    let status = line(&mut from)?;
    let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| io::Error::other("no HTTP answer"))?;
    let (mut location, mut chunked, mut left) = (None, false, None);
    loop {
        let header = line(&mut from)?;
        if header.is_empty() {
            break;
        }
        let Some((name, value)) = header.split_once(':') else { continue };
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("location", value) => location = Some(value.to_string()),
            ("transfer-encoding", value) => chunked = value.eq_ignore_ascii_case("chunked"),
            ("content-length", value) => left = value.parse().ok(),
            _ => {}
        }
    }
    let left = match status {
        204 | 304 => Some(0),
        _ if chunked => Some(0),
        _ => left,
    };
    Ok(Answer { status, location, body: Body { from, chunked, left } })
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if from.read_line(&mut text)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end().to_string())
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunked && self.left == Some(0) {
            let mut size = line(&mut self.from)?;
            if size.is_empty() {
                size = line(&mut self.from)?;
            }
            let size =
                u64::from_str_radix(size.split(';').next().unwrap_or(""), 16).map_err(io::Error::other)?;
            self.left = Some(size);
            self.chunked = size > 0;
        }
        let Some(left) = self.left else { return self.from.read(buffer) };
        let room = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let n_bytes = self.from.read(&mut buffer[..room])?;
        if n_bytes == 0 && room > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = Some(left - n_bytes as u64);
        Ok(n_bytes)
    }
}
