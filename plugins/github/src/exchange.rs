//! One exchange with GitHub: a request goes out, its whole answer comes back, within a limit and under the caller's ear.
//!
//! The blocking client runs on a thread of its own, so that a caller who is called away does not wait for a silent server.

use std::io::{self, ErrorKind};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anklet_plugin_api::ear::{Ear, Heard};
use anklet_plugin_api::section::Secret;
use crossbeam_channel::bounded;
use ureq::Agent;
use ureq::http::header::{AUTHORIZATION, CONTENT_TYPE, IF_NONE_MATCH, LOCATION};
use ureq::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use crate::address::Base;
use crate::agent::AgentMaker;
use crate::answer::Answer;
use crate::error::{CallName, ClientError, Silence};

/// The largest answers are pages of a hundred jobs with their steps.
const MOST_BODY_BYTES: u64 = 10 * 1024 * 1024;
const MOST_REDIRECTS: usize = 3;
/// The agent keeps the limit itself and knows why; this much later it is no longer waited for.
const GRACE: Duration = Duration::from_millis(500);

/// A request, ready to go.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) call: CallName,
    pub(crate) url: String,
    pub(crate) authorization: Secret,
    /// The tag of the answer that is known already.
    pub(crate) known_tag: Option<HeaderValue>,
    pub(crate) body: Option<Vec<u8>>,
}

/// Makes exchanges, over connections that are kept for a while.
pub(crate) struct Exchanger {
    pub(crate) base: Base,
    maker: AgentMaker,
    agent: Mutex<Agent>,
    limit: Duration,
}

impl Exchanger {
    pub(crate) fn new(base: Base, maker: AgentMaker, limit: Duration) -> Self {
        let agent = Mutex::new(maker.make());
        Self { base, maker, agent, limit }
    }

    /// The answer, whatever its status.
    pub(crate) fn exchange(&self, outgoing: Outgoing, ear: &Ear) -> Result<Answer, ClientError> {
        let call = outgoing.call;
        let agent = self.agent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let base = self.base.clone();
        let (sender, done) = bounded(1);
        let work = move || {
            // Nobody listens any more if the call was cut.
            let _ = sender.send(run(&agent, &base, &outgoing));
        };
        let spawned = thread::Builder::new().name("github-call".to_owned()).spawn(work);
        let thread = spawned.map_err(|error| ClientError::NoAnswer {
            call,
            silence: Silence::Unreachable,
            why: format!("no thread could be started: {error}"),
        })?;
        match ear.wait(&done, Instant::now() + self.limit + GRACE) {
            Heard::Done(result) => {
                // It has sent its last word and is about to end.
                let _ = thread.join();
                result
            }
            Heard::Cut => {
                self.abandon();
                Err(ClientError::Cut { call })
            }
            Heard::TooSlow => {
                self.abandon();
                let why = format!("no answer within {:?}", self.limit);
                Err(ClientError::NoAnswer { call, silence: Silence::TooSlow, why })
            }
            Heard::Gone => {
                let why = "the thread of the call ended without a word".to_owned();
                Err(ClientError::NoAnswer { call, silence: Silence::Dropped, why })
            }
        }
    }

    /// Closes every connection, so that the thread of a call that nobody waits for ends now. A call that another thread makes in this
    /// moment finds its connection dropped and is repeated at once. Only a name lookup cannot be ended; it ends by its own limit.
    fn abandon(&self) {
        let mut agent = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *agent, self.maker.make()).shutdown();
    }
}

/// Sends the request, again to where its answer points if that is the same server, and reads the answer to its end: only then the
/// connection can be used again.
fn run(agent: &Agent, base: &Base, outgoing: &Outgoing) -> Result<Answer, ClientError> {
    let call = outgoing.call;
    let nonsense = |what: String| ClientError::Nonsense { call, what };
    let mut url = outgoing.url.clone();
    for _ in 0..=MOST_REDIRECTS {
        let (status, headers, body) = send(agent, outgoing, &url)?;
        if !matches!(status.as_u16(), 301 | 302 | 307 | 308) {
            return Ok(Answer { call, status, headers, body });
        }
        // A renamed repository: GitHub asks for the same request, whatever its method, at the new address.
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let location = location.ok_or_else(|| nonsense("a redirect without an address".to_owned()))?;
        url = base
            .follow(location)
            .map_err(|what| nonsense(format!("a redirect cannot be followed: {what}")))?;
    }
    Err(nonsense(format!("over {MOST_REDIRECTS} redirects")))
}

fn send(
    agent: &Agent,
    outgoing: &Outgoing,
    url: &str,
) -> Result<(StatusCode, HeaderMap, Vec<u8>), ClientError> {
    let call = outgoing.call;
    let setup = |what: &str| ClientError::Setup { what: format!("{call} cannot be sent: {what}") };
    let mut authorization = HeaderValue::from_str(outgoing.authorization.reveal())
        .map_err(|_| setup("the token holds characters that no token has"))?;
    authorization.set_sensitive(true);
    let method = Method::from_bytes(call.method.as_bytes()).map_err(|_| setup("its method is unknown"))?;
    let mut request = Request::builder()
        .method(method)
        .uri(url)
        .header(AUTHORIZATION, authorization)
        .header("X-GitHub-Api-Version", "2022-11-28");
    if let Some(tag) = &outgoing.known_tag {
        request = request.header(IF_NONE_MATCH, tag);
    }
    let sent = match (&outgoing.body, call.method) {
        (Some(body), _) => request
            .header(CONTENT_TYPE, "application/json")
            .body(body.as_slice())
            .map_err(ureq::Error::from)
            .and_then(|request| agent.run(request)),
        (None, "POST") => {
            request.body(&[][..]).map_err(ureq::Error::from).and_then(|request| agent.run(request))
        }
        (None, _) => request.body(()).map_err(ureq::Error::from).and_then(|request| agent.run(request)),
    };
    sent.and_then(read).map_err(|error| judge(call, error))
}

fn read(response: Response<ureq::Body>) -> Result<(StatusCode, HeaderMap, Vec<u8>), ureq::Error> {
    let (head, mut body) = response.into_parts();
    let body = body.with_config().limit(MOST_BODY_BYTES).read_to_vec()?;
    Ok((head.status, head.headers, body))
}

/// What a failure of the client below means.
fn judge(call: CallName, error: ureq::Error) -> ClientError {
    let why = error.to_string();
    let no_answer = |silence| ClientError::NoAnswer { call, silence, why: why.clone() };
    match &error {
        ureq::Error::Io(io) if is_distrust(io) => ClientError::Setup {
            what: format!("{call}: GitHub's certificate is not trusted: {why}; {}", advice(&why)),
        },
        ureq::Error::Io(io) => match io.kind() {
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::NotConnected => no_answer(Silence::Dropped),
            ErrorKind::TimedOut => no_answer(Silence::TooSlow),
            _ => no_answer(Silence::Unreachable),
        },
        ureq::Error::Timeout(_) => no_answer(Silence::TooSlow),
        ureq::Error::HostNotFound | ureq::Error::ConnectionFailed | ureq::Error::ConnectProxyFailed(_) => {
            no_answer(Silence::Unreachable)
        }
        ureq::Error::BadUri(_) | ureq::Error::InvalidProxyUrl | ureq::Error::Http(_) => {
            ClientError::Setup { what: format!("{call} cannot be sent: {why}") }
        }
        _ => ClientError::Nonsense { call, what: why },
    }
}

/// What to do about a certificate that is not trusted.
fn advice(why: &str) -> &'static str {
    if why.contains("CaUsedAsEndEntity") {
        // What `openssl req -x509` makes unless it is told otherwise.
        "it is the certificate of an authority (CA:TRUE), which cannot stand for a server: give the server one that the authority signed, or \
         one of its own made with `basicConstraints=critical,CA:FALSE`, and name that in `ca_file`"
    } else {
        "if a company's own authority signs it, name that in `ca_file`"
    }
}

/// Whether TLS ended the connection over the certificate.
fn is_distrust(error: &io::Error) -> bool {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|error| matches!(error, rustls::Error::InvalidCertificate(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: CallName = CallName { method: "GET", path: "/" };

    #[test]
    fn an_authority_that_stands_for_a_server_is_told_from_a_stranger() {
        let judged = |name: &'static str| {
            let reason = rustls::OtherError(std::sync::Arc::new(io::Error::other(name)));
            let why = rustls::Error::InvalidCertificate(rustls::CertificateError::Other(reason));
            judge(CALL, ureq::Error::Io(io::Error::other(why))).to_string()
        };
        assert!(judged("CaUsedAsEndEntity").contains("CA:FALSE"), "{}", judged("CaUsedAsEndEntity"));
        assert!(judged("UnknownIssuer").contains("own authority signs it"), "{}", judged("UnknownIssuer"));
    }
}
