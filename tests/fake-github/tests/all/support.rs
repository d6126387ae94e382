//! A small client, a small receiver and a small runner. They stand alone because every test here needs them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use fake_github::FakeGitHub;
use serde_json::{Value, json};

/// Long enough for a loaded machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// The path (with query) of a link.
    pub(crate) fn link(&self, github: &FakeGitHub, rel: &str) -> Option<String> {
        let part = self.header("link")?.split(", ").find(|part| part.ends_with(&format!("rel=\"{rel}\"")))?;
        let url = part.split(['<', '>']).nth(1)?;
        Some(url.strip_prefix(&github.url())?.to_owned())
    }
}

/// Sends bytes on a fresh connection and reads to its end; `None` if nothing came back.
pub(crate) fn send(github: &FakeGitHub, bytes: &[u8]) -> Option<Reply> {
    let mut stream = connect(github);
    stream.write_all(bytes).unwrap();
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().unwrap();
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    Some(Reply {
        status,
        headers: lines.filter_map(header).collect(),
        body: serde_json::from_str(body).unwrap_or(Value::String(body.to_owned())),
    })
}

pub(crate) fn connect(github: &FakeGitHub) -> TcpStream {
    let stream = TcpStream::connect(github.url().trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream
}

pub(crate) const GOOD: [(&str, &str); 4] = [
    ("Authorization", "Bearer ghp_good"),
    ("Accept", "application/vnd.github+json"),
    ("X-GitHub-Api-Version", "2022-11-28"),
    ("User-Agent", "tests"),
];

/// The bytes of a request.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    if !body.is_empty() {
        text += "Content-Type: application/json\r\n";
    }
    if method != "GET" || !body.is_empty() {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    (text + "\r\n" + &body).into_bytes()
}

/// A proper call with a token.
pub(crate) fn call_as(
    github: &FakeGitHub,
    token: &str,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Reply {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), GOOD[1], GOOD[2], GOOD[3]];
    send(github, &request(method, path, &headers, body)).expect("an answer")
}

/// A proper call with the good token.
pub(crate) fn call(github: &FakeGitHub, method: &str, path: &str) -> Reply {
    call_as(github, "ghp_good", method, path, None)
}

/// A GitHub with a repository, an organization, and a token that may do everything.
pub(crate) fn github() -> FakeGitHub {
    let github = FakeGitHub::start();
    github
        .add_repo("acme/app")
        .add_pat("ghp_good", &["repo", "admin:org", "admin:org_hook", "manage_runners:enterprise"]);
    github
}

/// A request of the runner's side.
pub(crate) fn fake(github: &FakeGitHub, method: &str, path: &str, body: &Value) -> Reply {
    send(github, &request(method, path, &[], Some(body))).expect("an answer")
}

/// Registers an ephemeral runner at a scope with a fresh token and returns its id.
pub(crate) fn register(github: &FakeGitHub, scope: &str, name: &str, labels: &[&str]) -> u64 {
    let prefix = match scope.split_once('/') {
        Some(("enterprises", _)) => format!("/{scope}"),
        Some(_) => format!("/repos/{scope}"),
        None => format!("/orgs/{scope}"),
    };
    let token =
        call(github, "POST", &format!("{prefix}/actions/runners/registration-token")).body["token"].clone();
    let body = json!({
        "url": format!("{}/{scope}", github.url()), "token": token, "name": name, "labels": labels,
        "group": null, "ephemeral": true, "version": "2.336.0",
    });
    let reply = fake(github, "POST", "/_fake/runners", &body);
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.body["id"].as_u64().unwrap()
}

/// A runner's open connection.
pub(crate) struct Listener {
    pub(crate) stream: TcpStream,
    events: BufReader<TcpStream>,
}

impl Listener {
    pub(crate) fn new(github: &FakeGitHub, id: u64, name: &str) -> Listener {
        let mut stream = connect(github);
        let body = json!({ "name": name, "version": "2.336.0" });
        stream.write_all(&request("POST", &format!("/_fake/runners/{id}/listen"), &[], Some(&body))).unwrap();
        let mut events = BufReader::new(stream.try_clone().unwrap());
        let mut line = String::new();
        events.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), "HTTP/1.1 200 OK");
        while line.trim_end() != "" {
            line.clear();
            events.read_line(&mut line).unwrap();
        }
        Listener { stream, events }
    }

    /// The next event; null at the end of the stream.
    pub(crate) fn next(&mut self) -> Value {
        let mut line = String::new();
        self.events.read_line(&mut line).unwrap();
        let size = usize::from_str_radix(line.trim_end(), 16).unwrap_or(0);
        let mut chunk = vec![0; size + 2];
        let _ = self.events.read_exact(&mut chunk);
        serde_json::from_slice(&chunk[..size]).unwrap_or(Value::Null)
    }
}

/// A webhook that arrived.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Arrived {
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn action(&self) -> String {
        self.json()["action"].as_str().unwrap_or_default().to_owned()
    }
}

/// A receiver that answers each webhook with the next of `statuses`, then 200.
pub(crate) fn receiver(statuses: &[u16]) -> (String, Receiver<Arrived>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/jobs/v1/receiver", listener.local_addr().unwrap());
    let (arrived, arrivals) = channel();
    let mut statuses: Vec<u16> = statuses.iter().rev().copied().collect();
    let work = move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut headers = Vec::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if line.trim_end().is_empty() {
                    break;
                }
                if let Some((name, value)) = line.trim_end().split_once(": ") {
                    headers.push((name.to_owned(), value.to_owned()));
                }
            }
            let mut webhook = Arrived { headers, body: Vec::new() };
            webhook.body = vec![0; webhook.header("content-length").parse().unwrap()];
            reader.read_exact(&mut webhook.body).unwrap();
            if arrived.send(webhook).is_err() {
                return;
            }
            // Only now: once it is answered, a test may look for it.
            let status = statuses.pop().unwrap_or(200);
            let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nok");
        }
    };
    std::thread::Builder::new().name("receiver".to_owned()).spawn(work).unwrap();
    (url, arrivals)
}
