//! One connection: reading, waiting for a worker, in work, answering, lingering. It never blocks and decides
//! nothing about others; the poll loop tells it what happened and does what it says.

use std::io::{ErrorKind, Read, Write};
use std::mem::replace;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustix::event::PollFlags;

use crate::intake::{Intake, Progress, Rules};
use crate::limits::Limits;
use crate::refusal::Refusal;
use crate::request::{Head, Request};
use crate::response::{AnswerPlan, Response};
use crate::server::Admit;

/// What the poll loop has to do next for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing but to wait for what `interest` and `deadline` say.
    Wait,
    /// A complete request waits for a worker.
    HandOver,
    /// It is over; drop it.
    Close,
}

/// How much would be lost by closing a connection to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Unfinished {
        since: Instant,
        n_bytes: usize,
    },
    Idle {
        since: Instant,
    },
    Lingering {
        since: Instant,
    },
    /// Complete, in work or being answered: never closed.
    Complete,
}

#[derive(Debug)]
enum Phase {
    /// Idle until the first byte comes.
    Reading,
    Waiting(Request),
    InWork {
        n_body_bytes: usize,
    },
    Answering {
        bytes: Vec<u8>,
        n_written: usize,
    },
    /// Answered for the last time: what still comes is thrown away, since closing over unread bytes would make
    /// the kernel throw away our answer.
    Lingering {
        n_left: usize,
    },
}

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    intake: Intake,
    phase: Phase,
    plan: AnswerPlan,
    /// First byte of the request, first byte of the answer, or the beginning of idleness.
    since: Instant,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr, now: Instant) -> Connection {
        Connection {
            stream,
            peer,
            intake: Intake::new(),
            phase: Phase::Reading,
            plan: AnswerPlan::CLOSE,
            since: now,
        }
    }

    /// What to poll for. `None` leaves the socket out: a hang-up is always reported and would spin the loop.
    pub(crate) fn interest(&self) -> Option<PollFlags> {
        match self.phase {
            Phase::Reading | Phase::Lingering { .. } => Some(PollFlags::IN),
            Phase::Answering { .. } => Some(PollFlags::OUT),
            Phase::Waiting(_) | Phase::InWork { .. } => None,
        }
    }

    pub(crate) fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let limit = match self.phase {
            Phase::Reading if self.intake.has_started() => limits.request_limit,
            Phase::Reading => limits.idle_limit,
            Phase::Waiting(_) => limits.request_limit,
            Phase::InWork { .. } => return None,
            Phase::Answering { .. } => limits.answer_limit,
            Phase::Lingering { .. } => limits.linger_limit,
        };
        Some(self.since + limit)
    }

    pub(crate) fn standing(&self) -> Standing {
        let since = self.since;
        match self.phase {
            Phase::Reading if self.intake.has_started() => {
                Standing::Unfinished { since, n_bytes: self.intake.n_bytes() }
            }
            Phase::Reading => Standing::Idle { since },
            Phase::Lingering { .. } => Standing::Lingering { since },
            Phase::Waiting(_) | Phase::InWork { .. } | Phase::Answering { .. } => Standing::Complete,
        }
    }

    /// Body bytes this connection holds, in our memory or in a worker's hands.
    pub(crate) fn n_held_bytes(&self) -> usize {
        match &self.phase {
            Phase::Reading => self.intake.n_body_bytes(),
            Phase::Waiting(request) => request.body.len(),
            Phase::InWork { n_body_bytes } => *n_body_bytes,
            Phase::Answering { .. } | Phase::Lingering { .. } => 0,
        }
    }

    /// Body bytes of a request that is still coming in.
    pub(crate) fn n_unfinished_bytes(&self) -> usize {
        if matches!(self.phase, Phase::Reading) { self.intake.n_body_bytes() } else { 0 }
    }

    /// The socket has news. Reads or writes once, so that no connection starves the others.
    pub(crate) fn on_ready(&mut self, scratch: &mut [u8], hooks: &Hooks, now: Instant) -> Next {
        match self.phase {
            Phase::Reading => self.read(scratch, hooks, now),
            Phase::Lingering { .. } => self.drain(scratch),
            Phase::Answering { .. } => self.write(hooks, now),
            Phase::Waiting(_) | Phase::InWork { .. } => Next::Wait,
        }
    }

    /// The deadline has passed.
    pub(crate) fn on_deadline(&mut self, hooks: &Hooks, now: Instant) -> Next {
        match self.phase {
            Phase::Reading if self.intake.has_started() => self.refuse(Refusal::TooSlow, hooks, now),
            Phase::Waiting(_) => self.refuse(Refusal::NoWorker, hooks, now),
            Phase::InWork { .. } => Next::Wait,
            Phase::Reading | Phase::Answering { .. } | Phase::Lingering { .. } => Next::Close,
        }
    }

    /// The waiting request, now in a worker's hands.
    pub(crate) fn take_waiting(&mut self) -> Option<Request> {
        match replace(&mut self.phase, Phase::InWork { n_body_bytes: 0 }) {
            Phase::Waiting(request) => {
                self.phase = Phase::InWork { n_body_bytes: request.body.len() };
                Some(request)
            }
            other => {
                self.phase = other;
                None
            }
        }
    }

    /// Sends the worker's answer.
    pub(crate) fn answer(&mut self, response: &Response, hooks: &Hooks, now: Instant) -> Next {
        if hooks.stopping {
            self.plan.keep_alive = false;
        }
        self.phase = Phase::Answering { bytes: response.to_bytes(&self.plan), n_written: 0 };
        self.since = now;
        self.write(hooks, now)
    }

    /// Answers for the server itself, frees what the request held, and ends the connection.
    pub(crate) fn refuse(&mut self, refusal: Refusal, hooks: &Hooks, now: Instant) -> Next {
        log::debug!(peer:% = self.peer, reason:% = refusal; "request refused");
        self.intake = Intake::new();
        self.plan = AnswerPlan::CLOSE;
        self.answer(&refusal.into_response(), hooks, now)
    }

    fn read(&mut self, scratch: &mut [u8], hooks: &Hooks, now: Instant) -> Next {
        let n_wanted = self.intake.n_wanted(&hooks.limits).min(scratch.len());
        match self.stream.read(&mut scratch[..n_wanted]) {
            Ok(0) => Next::Close,
            Ok(n_bytes) => self.advance(&scratch[..n_bytes], hooks, now),
            Err(error) if is_transient(error.kind()) => Next::Wait,
            Err(_) => Next::Close,
        }
    }

    fn advance(&mut self, bytes: &[u8], hooks: &Hooks, now: Instant) -> Next {
        let had_started = self.intake.has_started();
        let rules = Rules { limits: &hooks.limits, admit: &*hooks.admit, peer: self.peer, now };
        let progress = self.intake.advance(bytes, &rules);
        let is_still_idle = progress == Ok(Progress::More) && !self.intake.has_started();
        if !had_started && !is_still_idle {
            self.since = now;
        }
        match progress {
            Ok(Progress::More) => Next::Wait,
            Ok(Progress::MoreAfterContinue) => self.say_continue(),
            Ok(Progress::Whole(request)) => {
                self.plan = plan_of(request.head());
                self.phase = Phase::Waiting(request);
                Next::HandOver
            }
            Err(refusal) => self.refuse(refusal, hooks, now),
        }
    }

    /// A client that does not take these few bytes now sends its body without them, after a while.
    fn say_continue(&mut self) -> Next {
        let line = b"HTTP/1.1 100 Continue\r\n\r\n";
        match self.stream.write(line) {
            Ok(n_bytes) if n_bytes == line.len() => Next::Wait,
            Err(error) if is_transient(error.kind()) => Next::Wait,
            Ok(_) | Err(_) => Next::Close,
        }
    }

    fn write(&mut self, hooks: &Hooks, now: Instant) -> Next {
        let Phase::Answering { bytes, n_written } = &mut self.phase else { return Next::Wait };
        while *n_written < bytes.len() {
            match self.stream.write(&bytes[*n_written..]) {
                Ok(0) => return Next::Close,
                Ok(n_bytes) => *n_written += n_bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Next::Wait,
                Err(_) => return Next::Close,
            }
        }
        self.since = now;
        if !self.plan.keep_alive {
            self.phase = Phase::Lingering { n_left: hooks.limits.n_linger_bytes };
            return if self.stream.shutdown(Shutdown::Write).is_ok() { Next::Wait } else { Next::Close };
        }
        self.phase = Phase::Reading;
        // Requests that came behind this one may be complete already; no news would come of them.
        if self.intake.has_started() { self.advance(&[], hooks, now) } else { Next::Wait }
    }

    fn drain(&mut self, scratch: &mut [u8]) -> Next {
        let Phase::Lingering { n_left } = &mut self.phase else { return Next::Wait };
        match self.stream.read(scratch) {
            Ok(n_bytes) if n_bytes > 0 && n_bytes < *n_left => {
                *n_left -= n_bytes;
                Next::Wait
            }
            Err(error) if is_transient(error.kind()) => Next::Wait,
            Ok(_) | Err(_) => Next::Close,
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// What a connection asks of the server around it.
pub(crate) struct Hooks {
    pub(crate) limits: Limits,
    /// Does not panic.
    pub(crate) admit: Box<Admit>,
    pub(crate) stopping: bool,
}

fn plan_of(head: &Head) -> AnswerPlan {
    AnswerPlan {
        keep_alive: head.keep_alive,
        minor_version: head.minor_version,
        head_only: head.method() == "HEAD",
    }
}

fn is_transient(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
