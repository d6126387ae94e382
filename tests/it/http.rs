//! Requests to the receiver as a stranger sends them: raw bytes over a socket, right or wrong.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use fake_github::sign;
use serde_json::{Value, json};

use crate::support::{LIMIT, SECRET, TEMPLATE};

/// The status and the body of the answer to these bytes; 0 if there was none.
pub(crate) fn send(port: u16, bytes: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    // A refused request need not be read to its end.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer)
}

/// A webhook as GitHub sends it, with these headers in addition.
pub(crate) fn webhook(event: &str, body: &[u8], signature: Option<&str>, delivery: &str) -> Vec<u8> {
    let signature = signature.map_or(String::new(), |text| format!("X-Hub-Signature-256: {text}\r\n"));
    let head = format!(
        "POST /jobs/v1/receiver HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\n\
         X-GitHub-Event: {event}\r\nX-GitHub-Delivery: {delivery}\r\n{signature}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Delivers a signed `workflow_job` and answers with the status.
pub(crate) fn deliver(port: u16, payload: &Value) -> (u16, String) {
    let body = payload.to_string();
    let signature = sign(SECRET, body.as_bytes());
    send(
        port,
        &webhook("workflow_job", body.as_bytes(), Some(&signature), "00000000-0000-4000-8000-000000000001"),
    )
}

/// A `queued` webhook of a job that GitHub's stand-in does not know.
pub(crate) fn queued(id: u64, repo: &str) -> Value {
    json!({
        "action": "queued",
        "workflow_job": {
            "id": id, "run_id": id, "run_attempt": 1, "name": "build", "workflow_name": "ci", "status": "queued",
            "labels": [format!("anka-template:{TEMPLATE}")], "html_url": "https://github.example/x",
        },
        "repository": {"name": repo, "full_name": format!("acme/{repo}"), "owner": {"login": "acme"}},
    })
}

/// A number of the kernel's about a process, such as `VmRSS` in KiB or `Threads`.
pub(crate) fn of_process(pid: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Waits for nothing but time, for tests of slowness.
pub(crate) fn rest(time: Duration) {
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    let _ = receiver.recv_timeout(time);
}
