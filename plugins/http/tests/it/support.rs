//! A server that echoes, a raw client that sends what it is told, and waiting with a limit.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anklet_http::{Limits, Request, Response, Running, Server, Stats};
use crossbeam_channel::{Receiver, Sender, unbounded};

/// Far over what anything here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Holds the requests to `/gate`: each takes one word, then one permit.
pub(crate) struct Gate {
    pub(crate) entered: Receiver<()>,
    pub(crate) permits: Sender<()>,
}

impl Gate {
    /// Waits until so many requests are in the handler.
    pub(crate) fn wait_for(&self, n_requests: usize) {
        for _ in 0..n_requests {
            self.entered.recv_timeout(PATIENCE).expect("a request in the handler");
        }
    }

    pub(crate) fn open(&self, n_requests: usize) {
        for _ in 0..n_requests {
            self.permits.send(()).expect("a handler");
        }
    }
}

pub(crate) fn start(limits: Limits) -> (Running, Gate) {
    let (enter, entered) = unbounded();
    let (permits, permit) = unbounded();
    let handler = move |request: &Request| match request.path() {
        "/gate" => {
            let _ = enter.send(());
            let _ = permit.recv_timeout(PATIENCE);
            Response::text(200, "through the gate")
        }
        "/panic" => panic!("as asked"),
        "/large" => Response::new(200).body("application/octet-stream", vec![b'x'; 32 << 20]),
        "/length" => Response::text(200, request.body().len().to_string()),
        _ => Response::new(200)
            .body("application/octet-stream", request.body())
            .header("X-Path", request.path()),
    };
    let admit = |head: &anklet_http::Head| match head.path() {
        "/nobody" => Err(Response::text(401, "who are you").header("X-Why", "no signature")),
        "/admit-panic" => panic!("as asked, before the body"),
        _ => Ok(()),
    };
    let server = Server::bind(loopback(), limits, "test").expect("a free port").admit(Arc::new(admit));
    (server.serve(Arc::new(handler)).expect("threads"), Gate { entered, permits })
}

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Looks again and again until the figures are as wanted.
pub(crate) fn wait_until(server: &Running, what: &str, is_so: impl Fn(Stats) -> bool) {
    let end_at = Instant::now() + PATIENCE;
    while !is_so(server.stats()) {
        assert!(Instant::now() < end_at, "{what}: {:?}", server.stats());
        pass(server, Duration::from_millis(2));
    }
}

/// Lets time pass, unless the server ends.
pub(crate) fn pass(server: &Running, limit: Duration) {
    server.closed().recv_timeout(limit).expect_err("nothing is ever sent");
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    pub(crate) fn says(&self, line: &str) -> bool {
        self.head.lines().any(|seen| seen.eq_ignore_ascii_case(line))
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    arrived: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(server: &Running) -> Client {
        let stream = TcpStream::connect(server.local_addr()).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream.set_write_timeout(Some(PATIENCE)).expect("a limit");
        Client { stream, arrived: Vec::new() }
    }

    /// For text with plain line ends.
    pub(crate) fn say(&mut self, text: &str) -> &mut Client {
        self.send(text.replace('\n', "\r\n").as_bytes())
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> &mut Client {
        self.stream.write_all(bytes).expect("a server that reads");
        self
    }

    pub(crate) fn end_sending(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("an open connection");
    }

    /// One answer with its body, as `Content-Length` says.
    pub(crate) fn answer(&mut self) -> Answer {
        let n_head = loop {
            match self.arrived.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.more().expect("an answer"),
            }
        };
        let head = String::from_utf8(self.arrived.drain(..n_head).collect()).expect("text");
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let n_body = length.map_or(0, |length| length.parse().expect("a number"));
        while self.arrived.len() < n_body {
            self.more().expect("a body");
        }
        let status = head[9..12].parse().expect("a status");
        Answer { status, head, body: self.arrived.drain(..n_body).collect() }
    }

    /// Whether the connection was closed properly, with nothing more said.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.arrived.is_empty()
            && matches!(self.more(), Err(error) if error.kind() == ErrorKind::UnexpectedEof)
    }

    /// Whether it was closed in any way.
    pub(crate) fn is_dropped(&mut self) -> bool {
        let kinds = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
        matches!(self.more(), Err(error) if kinds.contains(&error.kind()))
    }

    fn more(&mut self) -> io::Result<()> {
        let mut bytes = vec![0; 64 << 10];
        let n_bytes = self.stream.read(&mut bytes)?;
        if n_bytes == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.arrived.extend_from_slice(&bytes[..n_bytes]);
        Ok(())
    }
}
