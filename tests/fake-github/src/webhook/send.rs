//! Sends webhooks: one named thread a hook, in order, signed as GitHub does, each attempt logged. It stands alone
//! because it is the only place where the stand-in is a client.

use std::io::{self, BufReader, ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use ring::hmac;

use crate::encode::{hex, percent_encode};
use crate::http::{Answer, read_body, read_head};
use crate::model::{Delivery, HookId, HookTarget};
use crate::scope::Scope;
use crate::server::Shared;
use crate::state::State;
use crate::webhook::{Hook, Outgoing, Signature};

/// A body and its headers, ready to go.
struct Parcel {
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// The loop of a hook's thread; ends when the stand-in stops.
pub(crate) fn run(shared: &Shared, hook_id: HookId) {
    loop {
        let Some((item, parcel, limit)) = shared.next_parcel(hook_id) else { return };
        let at = shared.look(|state| state.now());
        let sent = match &item.failure {
            Some(failure) => Err(failure.clone()),
            None => post(shared, &parcel, limit),
        };
        let (status, status_code) = match &sent {
            Ok(answer) if (200..300).contains(&answer.status) => ("OK".to_owned(), answer.status),
            Ok(answer) => (format!("Invalid HTTP Response: {}", answer.status), answer.status),
            Err(failure) => (failure.clone(), 0),
        };
        shared.change(|state| {
            let id = 12_000_000_000 + state.next();
            if let Some(hook) = state.hooks.get_mut(&hook_id) {
                hook.is_sending = false;
            }
            state.deliveries.push(Delivery {
                id,
                guid: item.guid,
                hook_id,
                delivered_at: at,
                duration: at.instant.elapsed(),
                redelivery: item.redelivery,
                status,
                status_code,
                event: item.event.to_owned(),
                action: item.action,
                job_id: item.job_id,
                repository_id: item.repository_id,
                installation_id: item.installation_id,
                request_headers: parcel.headers,
                payload: item.payload,
                answer: sent.ok(),
            });
        });
    }
}

impl Shared {
    /// Waits for something to send; `None` when stopping.
    fn next_parcel(&self, hook_id: HookId) -> Option<(Outgoing, Parcel, Duration)> {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return None;
            }
            let next = match state.take_outgoing(hook_id) {
                Ok(item) => {
                    let parcel = pack(&state, state.hooks.get(&hook_id)?, &item);
                    return Some((item, parcel, state.knobs.delivery_limit));
                }
                Err(next) => next,
            };
            state = self.wait_until(state, next);
        }
    }
}

fn pack(state: &State, hook: &Hook, item: &Outgoing) -> Parcel {
    let body = if hook.is_form {
        format!("payload={}", percent_encode(&String::from_utf8_lossy(&item.payload))).into_bytes()
    } else {
        item.payload.to_vec()
    };
    let (kind, target_id) = match &hook.target {
        HookTarget::Scope(scope @ Scope::Repository { .. }) => {
            ("repository", state.repo(scope).map_or(0, |repo| repo.id))
        }
        HookTarget::Scope(Scope::Organization { org }) => {
            ("organization", state.owners.get(org).map_or(0, |owner| owner.id))
        }
        HookTarget::Scope(Scope::Enterprise { slug }) => {
            ("business", state.enterprises.get(slug).copied().unwrap_or_default())
        }
        HookTarget::App(id) => ("integration", *id),
    };
    let content_type = if hook.is_form { "application/x-www-form-urlencoded" } else { "application/json" };
    let mut headers: Vec<(String, String)> = [
        ("Accept", "*/*".to_owned()),
        ("Content-Type", content_type.to_owned()),
        ("User-Agent", "GitHub-Hookshot/5f4dcc3".to_owned()),
        ("X-GitHub-Delivery", item.guid.clone()),
        ("X-GitHub-Event", item.event.to_owned()),
        ("X-GitHub-Hook-ID", hook.id.to_string()),
        ("X-GitHub-Hook-Installation-Target-ID", target_id.to_string()),
        ("X-GitHub-Hook-Installation-Target-Type", kind.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    if let (Some(secret), false) = (&hook.secret, item.signature == Signature::Missing) {
        let secret =
            if item.signature == Signature::Wrong { format!("not {secret}") } else { secret.clone() };
        headers.push(("X-Hub-Signature".to_owned(), sign_sha1(&secret, &body)));
        headers.push(("X-Hub-Signature-256".to_owned(), sign(&secret, &body)));
    }
    Parcel { url: hook.url.clone(), headers, body }
}

/// The value of `X-Hub-Signature-256` for these exact bytes.
pub fn sign(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("sha256={}", hex(hmac::sign(&key, body).as_ref()))
}

fn sign_sha1(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    format!("sha1={}", hex(hmac::sign(&key, body).as_ref()))
}

fn post(shared: &Shared, parcel: &Parcel, limit: Duration) -> Result<Answer, String> {
    let deadline = Instant::now() + limit;
    let rest = parcel.url.strip_prefix("http://").ok_or("unsupported URL")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let with_port = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let address =
        with_port.to_socket_addrs().ok().and_then(|mut all| all.next()).ok_or("failed to connect")?;
    let stream = TcpStream::connect_timeout(&address, limit).map_err(|_| "failed to connect to host")?;
    let _registered = shared.register(&stream);
    talk(&stream, parcel, host, path, deadline).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "timed out".to_owned(),
        _ => "server closed the connection".to_owned(),
    })
}

fn talk(
    stream: &TcpStream,
    parcel: &Parcel,
    host: &str,
    path: &str,
    deadline: Instant,
) -> io::Result<Answer> {
    stream.set_nodelay(true)?;
    let mut head =
        format!("POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n", parcel.body.len());
    for (name, value) in &parcel.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut bytes = (head + "\r\n").into_bytes();
    bytes.extend_from_slice(&parcel.body);
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    stream.set_write_timeout(Some(left))?;
    stream.set_read_timeout(Some(left))?;
    let mut out = stream;
    let written = out.write_all(&bytes);
    // A receiver may answer (413, 401) before it has read the whole body; its answer counts.
    let mut reader = BufReader::new(stream);
    let (start, headers) = match read_head(&mut reader) {
        Ok(Some(head)) => head,
        Ok(None) => return Err(written.err().unwrap_or(ErrorKind::UnexpectedEof.into())),
        Err(error) => return Err(error),
    };
    let status = start.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or(ErrorKind::InvalidData)?;
    let body = read_body(&mut reader, &headers, true)?;
    Ok(Answer { status, headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_vector() {
        assert_eq!(
            sign("It's a Secret to Everybody", b"Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }
}
