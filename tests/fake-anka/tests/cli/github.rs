//! The smallest GitHub that a fake runner can talk to: answers as told, and says what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);

/// What was asked. A held connection that ends is told as the method `CLOSED`.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// How to answer.
pub(crate) enum Reply {
    Json(u16, Value),
    /// Text with further head lines.
    Text(u16, &'static str, &'static str),
    /// These lines, chunked or up to the end, and the connection held open after them.
    Events {
        lines: Vec<Value>,
        chunked: bool,
    },
}

pub(crate) struct GitHub {
    pub(crate) origin: String,
    requests: Receiver<Request>,
}

impl GitHub {
    /// Answers every request by `reply`, until the test's process ends.
    pub(crate) fn start(reply: impl Fn(&Request) -> Reply + Send + Clone + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        let accept = move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (sender, reply) = (sender.clone(), reply.clone());
                thread::Builder::new().spawn(move || serve(stream, &sender, &reply)).unwrap();
            }
        };
        thread::Builder::new().spawn(accept).unwrap();
        Self { origin, requests }
    }

    /// The next request, which must be that one.
    pub(crate) fn expect(&self, method: &str, path: &str) -> Value {
        let request = self.requests.recv_timeout(LIMIT).expect("a request");
        assert_eq!((request.method.as_str(), request.path.as_str()), (method, path), "{request:?}");
        request.body
    }
}

fn serve(stream: TcpStream, sender: &Sender<Request>, reply: &impl Fn(&Request) -> Reply) {
    let mut from = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
            break;
        }
        head.push(line.trim().to_string());
    }
    let mut first = head[0].split(' ').map(String::from);
    let (method, path) = (first.next().unwrap(), first.next().unwrap());
    let n_bytes = head.iter().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; n_bytes.unwrap().parse().unwrap()];
    from.read_exact(&mut body).unwrap();
    let request =
        Request { method, path: path.clone(), body: serde_json::from_slice(&body).unwrap_or_default() };
    let answer = reply(&request);
    sender.send(request).unwrap();
    let to = from.get_mut();
    match answer {
        Reply::Json(status, body) => write_whole(to, status, "", &body.to_string()),
        Reply::Text(status, head, body) => write_whole(to, status, head, body),
        Reply::Events { lines, chunked } => {
            let framing = if chunked { "Transfer-Encoding: chunked\r\n" } else { "" };
            write!(to, "HTTP/1.1 200 OK\r\n{framing}\r\n").unwrap();
            for line in lines {
                let line = format!("{line}\n");
                match chunked {
                    true => write!(to, "{:x}\r\n{line}\r\n", line.len()).unwrap(),
                    false => to.write_all(line.as_bytes()).unwrap(),
                }
            }
            let _ = from.read(&mut [0]);
            let _ = sender.send(Request { method: "CLOSED".into(), path, body: Value::Null });
        }
    }
}

fn write_whole(to: &mut TcpStream, status: u16, head: &str, body: &str) {
    write!(to, "HTTP/1.1 {status} X\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
}
