//! From the bytes of one connection to complete requests. Pure, so that every cut of every input can be tried
//! without a socket; the admission hook is called between head and body.

use std::mem::take;
use std::net::SocketAddr;
use std::time::Instant;

use crate::body::{Decoder, Framing};
use crate::head;
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::request::{Head, Request};
use crate::response::Response;

/// What a connection's bytes are judged by.
pub(crate) struct Rules<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) admit: &'a dyn Fn(&Head) -> Result<(), Response>,
    pub(crate) peer: SocketAddr,
    /// When the bytes came.
    pub(crate) now: Instant,
}

/// What the bytes so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    More,
    /// More, and the client waits for `100 Continue` before it sends that.
    MoreAfterContinue,
    Whole(Request),
}

#[derive(Debug)]
pub(crate) struct Intake {
    /// Arrived, but not yet understood: a part of a head, or requests behind the one that is in work.
    input: Vec<u8>,
    /// How much of `input` was searched for the end of the head.
    n_seen: usize,
    /// Length of `input` at which an unfinished head is looked at again; doubles, so that a head that comes byte
    /// by byte does not cost the square of its length.
    n_next_look: usize,
    /// The request whose body is coming in; `None` while the next head is.
    unfinished: Option<(Head, Decoder)>,
}

impl Intake {
    pub(crate) fn new() -> Intake {
        Intake { input: Vec::new(), n_seen: 0, n_next_look: 1, unfinished: None }
    }

    /// Whether any byte of a request has arrived.
    pub(crate) fn has_started(&self) -> bool {
        self.unfinished.is_some() || !self.input.is_empty()
    }

    /// Bytes kept of an unfinished request.
    pub(crate) fn n_bytes(&self) -> usize {
        self.input.len() + self.n_body_bytes()
    }

    /// Bytes of an unfinished body.
    pub(crate) fn n_body_bytes(&self) -> usize {
        self.unfinished.as_ref().map_or(0, |(_, decoder)| decoder.n_body_bytes())
    }

    /// How many bytes are worth reading now. What lies behind the request waits in the kernel, at its cost.
    pub(crate) fn n_wanted(&self, limits: &Limits) -> usize {
        let n_bytes = match &self.unfinished {
            None => (limits.n_head_bytes + 1).saturating_sub(self.input.len()),
            Some((_, decoder)) => decoder.n_wanted().unwrap_or(usize::MAX),
        };
        n_bytes.max(1)
    }

    /// Takes what arrived; with no bytes, looks at what was left behind the last request. After a refusal the
    /// connection must end.
    pub(crate) fn advance(&mut self, bytes: &[u8], rules: &Rules<'_>) -> Result<Progress, Refusal> {
        let Some((_, decoder)) = &mut self.unfinished else {
            self.input.extend_from_slice(bytes);
            return self.advance_head(rules);
        };
        let n_taken = decoder.push(bytes)?;
        self.input.extend_from_slice(&bytes[n_taken..]);
        Ok(self.take_whole(rules.now).map_or(Progress::More, Progress::Whole))
    }

    fn advance_head(&mut self, rules: &Rules<'_>) -> Result<Progress, Refusal> {
        self.drop_empty_lines();
        if self.input.is_empty() {
            return Ok(Progress::More);
        }
        let n_limit = rules.limits.n_head_bytes;
        let Some(n_head) = head::find_end(&self.input, self.n_seen) else {
            self.n_seen = self.input.len();
            if self.input.len() > n_limit {
                return Err(Refusal::HeadTooLarge);
            }
            if self.input.len() >= self.n_next_look {
                self.n_next_look = self.input.len() * 2;
                head::parse(&self.input, rules.peer, rules.limits)?;
            }
            return Ok(Progress::More);
        };
        if n_head > n_limit {
            return Err(Refusal::HeadTooLarge);
        }
        let head = head::parse(&self.input[..n_head], rules.peer, rules.limits)?
            .ok_or(Refusal::Broken("the request line"))?;
        self.begin_body(head, n_head, rules)
    }

    /// The order of checks: broken framing, then the declared size, then what the owner says. Size comes first so that
    /// whoever sends too much learns that, and not what else the owner would have minded.
    fn begin_body(&mut self, head: Head, n_head: usize, rules: &Rules<'_>) -> Result<Progress, Refusal> {
        let framing = Framing::of(&head)?;
        let expects_continue = head::expects_continue(&head)?;
        let mut decoder = Decoder::new(framing, rules.limits.n_body_bytes)?;
        (rules.admit)(&head).map_err(Refusal::NotAdmitted)?;

        let arrived = take(&mut self.input);
        let n_taken = decoder.push(&arrived[n_head..])?;
        self.input = arrived[n_head + n_taken..].to_vec();
        (self.n_seen, self.n_next_look) = (0, 1);
        let has_none_of_it = arrived.len() == n_head;
        self.unfinished = Some((head, decoder));
        Ok(match self.take_whole(rules.now) {
            Some(request) => Progress::Whole(request),
            None if expects_continue && has_none_of_it => Progress::MoreAfterContinue,
            None => Progress::More,
        })
    }

    fn take_whole(&mut self, now: Instant) -> Option<Request> {
        let (head, decoder) = self.unfinished.take_if(|(_, decoder)| decoder.is_done())?;
        Some(Request { head, body: decoder.into_body(), complete_at: now })
    }

    /// Old clients send an empty line after a body; it is not the beginning of a request.
    fn drop_empty_lines(&mut self) {
        let mut n_bytes = 0;
        while let Some(n_line) = match self.input[n_bytes..] {
            [b'\n', ..] => Some(1),
            [b'\r', b'\n', ..] => Some(2),
            _ => None,
        } {
            n_bytes += n_line;
        }
        if n_bytes > 0 {
            self.input.drain(..n_bytes);
            self.n_seen = 0;
        }
    }
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
