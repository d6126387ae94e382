//! How long a body is, and putting it together from the bytes that arrive. Pure: no socket, no clock.

use std::mem::take;

use crate::refusal::Refusal;
use crate::request::Head;

/// Longest line between chunks: a size with its extension, or one trailer.
const N_LINE_BYTES: usize = 1024;
/// All trailer lines of one body together.
const N_TRAILER_BYTES: usize = 8 << 10;
/// The least that a growing body asks for, so that small bodies need one allocation.
const N_GROWTH_BYTES: usize = 16 << 10;

/// How the end of the body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
}

impl Framing {
    /// Reads the headers. Whatever two readers could understand differently is refused: it smuggles requests.
    pub(crate) fn of(head: &Head) -> Result<Framing, Refusal> {
        let mut lengths = head.values("content-length");
        let mut encodings = head.values("transfer-encoding");
        match (lengths.next(), encodings.next()) {
            (None, None) => Ok(Framing::Length(0)),
            (Some(_), Some(_)) => Err(Refusal::Broken("Content-Length beside Transfer-Encoding")),
            (Some(_), None) if lengths.next().is_some() => {
                Err(Refusal::Broken("more than one Content-Length"))
            }
            (Some(length), None) => parse_length(length),
            (None, Some(_)) if head.minor_version == 0 => {
                Err(Refusal::Broken("Transfer-Encoding in HTTP/1.0"))
            }
            (None, Some(encoding))
                if encodings.next().is_none() && encoding.eq_ignore_ascii_case("chunked") =>
            {
                Ok(Framing::Chunked)
            }
            (None, Some(_)) => Err(Refusal::Encoding),
        }
    }
}

fn parse_length(value: &str) -> Result<Framing, Refusal> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::Broken("Content-Length is not a number"));
    }
    // Digits that do not fit are a length too, a very large one.
    value.parse().map(Framing::Length).map_err(|_| Refusal::BodyTooLarge)
}

/// Takes a body apart from what follows it.
#[derive(Debug)]
pub(crate) struct Decoder {
    state: State,
    body: Vec<u8>,
    n_body_limit: usize,
    n_trailer_bytes: usize,
}

#[derive(Debug)]
enum State {
    Length { n_left: usize },
    Line { kind: LineKind, line: Vec<u8> },
    Chunk { n_left: usize },
    Done,
}

#[derive(Debug, Clone, Copy)]
enum LineKind {
    Size,
    AfterChunk,
    Trailer,
}

impl Decoder {
    /// A declared length over the limit is refused here, before any of it is read.
    pub(crate) fn new(framing: Framing, n_body_limit: usize) -> Result<Decoder, Refusal> {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(n_bytes) => match usize::try_from(n_bytes) {
                Ok(n_left) if n_left <= n_body_limit => State::Length { n_left },
                _ => return Err(Refusal::BodyTooLarge),
            },
            Framing::Chunked => State::line(LineKind::Size),
        };
        Ok(Decoder { state, body: Vec::new(), n_body_limit, n_trailer_bytes: 0 })
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Bytes of the body that have arrived.
    pub(crate) fn n_body_bytes(&self) -> usize {
        self.body.len()
    }

    /// The whole body, once `is_done`.
    pub(crate) fn into_body(self) -> Vec<u8> {
        self.body
    }

    /// How much more surely belongs to this body, if that is known.
    pub(crate) fn n_wanted(&self) -> Option<usize> {
        match self.state {
            State::Length { n_left } => Some(n_left),
            State::Line { .. } | State::Chunk { .. } => None,
            State::Done => Some(0),
        }
    }

    /// Takes what belongs to the body and returns how much of `input` that was; less than all only when done.
    pub(crate) fn push(&mut self, input: &[u8]) -> Result<usize, Refusal> {
        let mut n_taken = 0;
        while n_taken < input.len() {
            let rest = &input[n_taken..];
            n_taken += match &mut self.state {
                State::Done => break,
                State::Length { n_left } => {
                    let n_bytes = rest.len().min(*n_left);
                    *n_left -= n_bytes;
                    let n_expected = self.body.len() + n_bytes + *n_left;
                    if *n_left == 0 {
                        self.state = State::Done;
                    }
                    self.append(&rest[..n_bytes], n_expected);
                    n_bytes
                }
                State::Chunk { n_left } => {
                    let n_bytes = rest.len().min(*n_left);
                    *n_left -= n_bytes;
                    if *n_left == 0 {
                        self.state = State::line(LineKind::AfterChunk);
                    }
                    self.append(&rest[..n_bytes], self.n_body_limit);
                    n_bytes
                }
                State::Line { kind, line } => {
                    let n_bytes = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
                    if line.len() + n_bytes > N_LINE_BYTES {
                        return Err(Refusal::Broken("a line between chunks is too long"));
                    }
                    line.extend_from_slice(&rest[..n_bytes]);
                    if line.ends_with(b"\n") {
                        let (kind, line) = (*kind, take(line));
                        self.state = self.after_line(kind, &line)?;
                    }
                    n_bytes
                }
            };
        }
        Ok(n_taken)
    }

    fn after_line(&mut self, kind: LineKind, line: &[u8]) -> Result<State, Refusal> {
        let Some(line) = line.strip_suffix(b"\r\n") else {
            return Err(Refusal::Broken("a line between chunks does not end with CRLF"));
        };
        match kind {
            LineKind::Size => match parse_chunk_size(line)? {
                0 => Ok(State::line(LineKind::Trailer)),
                n_bytes => match usize::try_from(n_bytes) {
                    Ok(n_left) if n_left <= self.n_body_limit - self.body.len() => {
                        Ok(State::Chunk { n_left })
                    }
                    _ => Err(Refusal::BodyTooLarge),
                },
            },
            LineKind::AfterChunk if line.is_empty() => Ok(State::line(LineKind::Size)),
            LineKind::AfterChunk => Err(Refusal::Broken("a chunk is longer than its size")),
            LineKind::Trailer if line.is_empty() => Ok(State::Done),
            LineKind::Trailer => {
                self.n_trailer_bytes += line.len();
                if self.n_trailer_bytes > N_TRAILER_BYTES {
                    return Err(Refusal::HeadTooLarge);
                }
                Ok(State::line(LineKind::Trailer))
            }
        }
    }

    /// Grows by a quarter at most, with what arrived and not with what was promised: a client pays for memory with
    /// bytes. Doubling would let the bodies hold twice their limit.
    fn append(&mut self, bytes: &[u8], n_expected: usize) {
        let n_spare = self.body.capacity() - self.body.len();
        if n_spare < bytes.len() {
            let n_step = (self.body.len() / 4).max(N_GROWTH_BYTES);
            self.body.reserve_exact(n_step.min(n_expected - self.body.len()).max(bytes.len()));
        }
        self.body.extend_from_slice(bytes);
    }
}

impl State {
    fn line(kind: LineKind) -> State {
        State::Line { kind, line: Vec::new() }
    }
}

/// `SIZE [; extension]`, the size in hexadecimal digits.
fn parse_chunk_size(line: &[u8]) -> Result<u64, Refusal> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii_end();
    if size.is_empty() || !size.iter().all(u8::is_ascii_hexdigit) {
        return Err(Refusal::Broken("a chunk size is not a hexadecimal number"));
    }
    let digits = std::str::from_utf8(size).unwrap_or_default();
    u64::from_str_radix(digits, 16).map_err(|_| Refusal::BodyTooLarge)
}

#[cfg(test)]
#[path = "body_tests.rs"]
mod tests;
