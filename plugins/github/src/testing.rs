//! A server that answers by a script, one step a request, and remembers what it was asked: for tests of single calls, where GitHub must
//! fail in exactly one way.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::section::{AppCredentials, GithubAccess, Secret};
use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::client::Client;

/// Long enough for a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What the server does with one request.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Answers with status, headers and body, and keeps the connection.
    Answer(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Closes the connection without an answer.
    Drop,
    /// Sends the beginning of an answer and closes.
    Half(&'static str),
    /// Never answers, and keeps the connection open.
    Hang,
}

/// Half an answer.
pub(crate) const HALF_AN_ANSWER: Step = Step::Half("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"tok");

/// An answer without headers of its own.
pub(crate) fn answer(status: u16, body: impl ToString) -> Step {
    Step::Answer(status, Vec::new(), body.to_string().into())
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// Which connection, counted from 0.
    pub(crate) n_connection: usize,
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

pub(crate) struct Server {
    pub(crate) port: u16,
    asked: Receiver<Asked>,
    left: Receiver<()>,
    closed: Arc<Mutex<Option<Vec<TcpStream>>>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn new(script: impl IntoIterator<Item = Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>()));
        let (sender, asked) = unbounded();
        let (leave, left) = unbounded();
        let closed = Arc::new(Mutex::new(Some(Vec::new())));
        let open = Arc::clone(&closed);
        let accept = move || {
            let mut connections = Vec::new();
            for (n_connection, stream) in listener.incoming().enumerate() {
                let stream = stream.unwrap();
                match open.lock().unwrap().as_mut() {
                    Some(streams) => streams.push(stream.try_clone().unwrap()),
                    None => break,
                }
                let (script, sender, leave) = (Arc::clone(&script), sender.clone(), leave.clone());
                let serve = move || serve(n_connection, &stream, &script, &sender, &leave);
                connections.push(thread::Builder::new().name("scripted".into()).spawn(serve).unwrap());
            }
            connections.into_iter().for_each(|connection| connection.join().unwrap());
        };
        let thread = Some(thread::Builder::new().name("accept".into()).spawn(accept).unwrap());
        Self { port, asked, left, closed, thread }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next request, once it has come.
    #[track_caller]
    pub(crate) fn asked(&self) -> Asked {
        self.asked.recv_timeout(PATIENCE).expect("no request came")
    }

    /// Waits until a client has closed a connection that hangs.
    #[track_caller]
    pub(crate) fn left(&self) {
        self.left.recv_timeout(PATIENCE / 2).expect("the client still waits");
    }

    /// The first lines of all requests so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked.try_iter().map(|asked| asked.line).collect()
    }

    /// A client of this server, with short waits between tries.
    pub(crate) fn client(&self) -> Client {
        Client::new(&access(&self.url()), &quick_limits()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let streams = self.closed.lock().unwrap().take().unwrap();
        for stream in streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the accept loop, which then sees that it is over.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.thread.take().unwrap().join().unwrap();
    }
}

pub(crate) fn access(api_url: &str) -> GithubAccess {
    GithubAccess {
        web_url: "https://github.com".into(),
        api_url: api_url.into(),
        ca_file: None,
        token: Some(Secret::new("ghp_secret")),
        token_key: "token",
        app: None,
    }
}

pub(crate) fn app(private_key: &str, installation_id: Option<u64>) -> AppCredentials {
    let private_key = Secret::new(private_key);
    AppCredentials { id: "Iv1.abc".into(), installation_id, private_key, private_key_key: "private_key" }
}

pub(crate) fn quick_limits() -> Limits {
    Limits {
        github_call: PATIENCE,
        github_retry_first: Duration::from_millis(2),
        github_retry_most: Duration::from_millis(10),
        github_retry_total: PATIENCE,
        ..Limits::default()
    }
}

fn serve(
    n: usize,
    stream: &TcpStream,
    script: &Mutex<VecDeque<Step>>,
    sender: &Sender<Asked>,
    leave: &Sender<()>,
) {
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read_request(n, &mut reader) {
        let _ = sender.send(asked);
        let step = script.lock().unwrap().pop_front();
        let mut writer = stream;
        match step {
            Some(Step::Answer(status, headers, body)) => {
                let mut head = format!("HTTP/1.1 {status} Whatever\r\nContent-Length: {}\r\n", body.len());
                for (name, value) in headers {
                    head += &format!("{name}: {value}\r\n");
                }
                let _ = writer.write_all(&[format!("{head}\r\n").as_bytes(), &body].concat());
            }
            Some(Step::Half(answer)) => {
                let _ = writer.write_all(answer.as_bytes());
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            // Beyond the script nobody should ask: closing makes such a test fail instead of wait.
            Some(Step::Drop) | None => {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            // The other side closes, or the server is dropped.
            Some(Step::Hang) => {
                let _ = reader.read(&mut [0]);
                let _ = leave.send(());
                return;
            }
        }
    }
}

fn read_request(n_connection: usize, reader: &mut BufReader<&TcpStream>) -> Option<Asked> {
    let mut next_line = || {
        let mut line = String::new();
        let n_read = reader.read_line(&mut line).unwrap_or(0);
        (n_read > 0).then(|| line.trim_end().to_owned())
    };
    let line = next_line()?;
    let mut headers = BTreeMap::new();
    loop {
        let header = next_line()?;
        let Some((name, value)) = header.split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { n_connection, line, headers, body: String::from_utf8(body).unwrap() })
}
