//! A running receiver, what it logged, and a client that signs as GitHub does.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use anklet_plugin_api::fake::host::{FakeHost, lessee};
use anklet_plugin_api::fake::memory::MemoryStore;
use anklet_plugin_api::fake::report::QuietReport;
use anklet_plugin_api::fake::vm_host::ScriptedVmHost;
use anklet_plugin_api::heartbeat::Heartbeats;
use anklet_plugin_api::job::JobId;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::log_context::{Attributes, Context};
use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::plugin::{Plugin, PluginError, Ready, Services};
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::{GithubAccess, RegistrationMode, Secret, Section};
use anklet_plugin_api::stop::{Stopper, stop};
use anklet_plugin_api::store::{Counts, Entry, Store};
use anklet_receiver_github::{GithubReceiver, KIND};
use crossbeam_channel::{Receiver, bounded};
use ring::hmac;

use crate::capture::{Line, Log, log};

/// Far over what anything here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const SECRET: &str = "It's a Secret to Everybody";
pub(crate) const GUID: &str = "72d3162e-cc78-11e3-81ab-4c9367dc0958";

pub(crate) fn section(name: &str) -> Section {
    Section {
        name: PluginName::new(name),
        kind: KIND.to_owned(),
        queue: "octo".to_owned(),
        scope: Scope::Organization { owner: "octo".to_owned() },
        github: GithubAccess {
            web_url: "https://github.com".to_owned(),
            api_url: "https://api.github.com".to_owned(),
            ca_file: None,
            token: None,
            token_key: "token",
            app: None,
        },
        registry_url: None,
        skip_pull: false,
        runner_group: None,
        sleep_interval: Duration::from_secs(10),
        registration_timeout: Duration::from_secs(80),
        template_disk_buffer: 10.0,
        job_retry_attempts: 5,
        skip_cpu_and_memory_resource_checks: false,
        mounts: Vec::new(),
        registration_mode: RegistrationMode::Token,
        explain_cancellations: false,
        port: Some(0),
        secret: Some(Secret::new(SECRET)),
        hook_id: None,
        skip_redeliver: false,
        redeliver_hours: 24,
        claim_life: Duration::from_secs(90),
        limits: Limits::default(),
        plugins_path: PathBuf::new(),
        work_dir: PathBuf::new(),
    }
}

/// A receiver on a thread of its own, stopped when it is dropped.
pub(crate) struct Bench {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) address: SocketAddr,
    pub(crate) log: Log,
    stopper: Option<Stopper>,
    thread: Option<JoinHandle<Result<(), PluginError>>>,
}

impl Bench {
    pub(crate) fn start() -> Bench {
        Bench::with(Arc::default(), |_| ())
    }

    pub(crate) fn with(store: Arc<MemoryStore>, change: impl FnOnce(&mut Section)) -> Bench {
        static N_BENCHES: AtomicUsize = AtomicUsize::new(1);
        let name = format!("bench-{}", N_BENCHES.fetch_add(1, Ordering::Relaxed));
        let mut section = section(&name);
        change(&mut section);
        let log = log(&name);
        let (stopper, ready, thread) = run(section, Arc::clone(&store) as Arc<dyn Store>);
        ready.recv_timeout(PATIENCE).expect("the receiver is ready");
        let port = log.wait_for("receiver finished starting").number("port");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(port).expect("a port")));
        Bench { store, address, log, stopper: Some(stopper), thread: Some(thread) }
    }

    /// Signed, with the headers that GitHub sends.
    pub(crate) fn deliver(&self, event: &str, body: &str) -> Answer {
        let body = body.as_bytes();
        self.post(&[("X-GitHub-Event", event), ("X-Hub-Signature-256", &sign(SECRET, body))], body)
    }

    pub(crate) fn deliver_job(&self, body: &serde_json::Value) -> Answer {
        self.deliver("workflow_job", &body.to_string())
    }

    /// As JSON to the receiver, unless the headers say otherwise.
    pub(crate) fn post(&self, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut all = vec![("X-GitHub-Delivery", GUID), ("User-Agent", "GitHub-Hookshot/1")];
        if !headers.iter().any(|(name, _)| *name == "Content-Type") {
            all.push(("Content-Type", "application/json"));
        }
        let length = body.len().to_string();
        all.push(("Content-Length", &length));
        all.extend(headers);
        self.ask("POST /jobs/v1/receiver", &all, body)
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = connect(self.address);
        let mut head = format!("{line} HTTP/1.1\r\nHost: anklet\r\nConnection: close\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(b"\r\n")).expect("a head is taken");
        // A refused body may be cut off; the answer counts.
        let _ = stream.write_all(body);
        read_answer(&mut stream)
    }

    pub(crate) fn entry(&self, id: u64) -> Option<Entry> {
        self.store.entry(JobId(id)).expect("the memory store is there")
    }

    pub(crate) fn counts(&self) -> Counts {
        self.store.counts().expect("the memory store is there")
    }

    #[track_caller]
    pub(crate) fn holds_nothing(&self) {
        assert_eq!(self.counts(), Counts::default());
    }

    /// The lines of these messages so far, after the one that says that the receiver started.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.log.lines().into_iter().filter(|line| line.message != "receiver finished starting").collect()
    }

    pub(crate) fn stop(mut self) -> Result<(), PluginError> {
        self.stopper.take();
        self.thread.take().expect("it runs").join().expect("no panic")
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stopper.take();
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, None | Some(Ok(Ok(())))), "{ended:?}");
        }
    }
}

/// Runs a receiver as the daemon does.
pub(crate) fn run(
    section: Section,
    store: Arc<dyn Store>,
) -> (Stopper, Receiver<()>, JoinHandle<Result<(), PluginError>>) {
    let (stopper, interrupt) = stop();
    let (ready_sender, ready) = bounded(1);
    let services = Services {
        drain: interrupt.clone(),
        interrupt,
        store,
        vms: Arc::new(ScriptedVmHost::default()),
        host: Arc::new(FakeHost::new("host", 2)),
        lessee: lessee(),
        heartbeats: Heartbeats::default(),
        report: Arc::new(QuietReport),
        ready: Ready::new(move || ready_sender.send(()).expect("a test that waits")),
    };
    let name = section.name.to_string();
    let context = Context::new(Attributes { name: name.clone(), ..Attributes::default() });
    let run = move || {
        let _context = context.enter();
        Box::new(GithubReceiver::new(section)).run(services)
    };
    (stopper, ready, Builder::new().name(name).spawn(run).expect("a thread"))
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
    stream.set_write_timeout(Some(PATIENCE)).expect("a limit");
    stream
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn is(&self, status: u16, text: &str) {
        assert!(self.status == status && self.text.contains(text), "{status} {text}: {self:?}");
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// To the end of the connection.
pub(crate) fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A reset after the answer is no harm.
    let _ = stream.read_to_end(&mut bytes);
    let all = String::from_utf8(bytes).expect("text");
    let (head, text) = all.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {all:?}"));
    let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), text: text.to_owned() }
}

pub(crate) fn sign(secret: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let sum = hmac::sign(&key, body);
    let digits: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

/// Looks again and again, with a limit.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end_at = Instant::now() + PATIENCE;
    let never = crossbeam_channel::never::<()>();
    while !is_so() {
        assert!(Instant::now() < end_at, "{what}");
        let _ = never.recv_timeout(Duration::from_millis(2));
    }
}
