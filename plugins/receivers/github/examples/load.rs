//! Measures the receiver alone, on the loopback, with the memory store: signed webhooks of 10 KiB at a steady rate over 16
//! connections, three for each job (queued, in progress, completed).
//!
//! ```text
//! cargo run --release -p anklet-receiver-github --example load [WEBHOOKS PER SECOND] [SECONDS]
//! ```
//!
//! Prints the answer times at 50, 99 and 100 percent, counted from the moment at which each webhook was due, so that a receiver that
//! falls behind shows it. Clients and receiver share the machine's cores.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::scope;
use std::time::{Duration, Instant};

use anklet_plugin_api::fake::host::{FakeHost, lessee};
use anklet_plugin_api::fake::memory::MemoryStore;
use anklet_plugin_api::fake::report::QuietReport;
use anklet_plugin_api::fake::vm_host::ScriptedVmHost;
use anklet_plugin_api::heartbeat::Heartbeats;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::plugin::{Plugin, Ready, Services};
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::{GithubAccess, RegistrationMode, Secret, Section};
use anklet_plugin_api::stop::stop;
use anklet_plugin_api::store::Store;
use anklet_receiver_github::{GithubReceiver, KIND};
use crossbeam_channel::{bounded, never};
use ring::hmac;

const N_CLIENTS: u32 = 16;
const N_BODY_BYTES: usize = 10 << 10;
const SECRET: &str = "measured";

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1).map_while(|argument| argument.parse::<u32>().ok());
    let n_per_second = arguments.next().unwrap_or(500).max(1);
    let limit = Duration::from_secs(arguments.next().unwrap_or(10).into());
    // A free port, known before the receiver has it.
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let store = Arc::new(MemoryStore::default());
    let (stopper, interrupt) = stop();
    let (ready_sender, ready) = bounded(1);
    let services = Services {
        drain: interrupt.clone(),
        interrupt,
        store: Arc::clone(&store) as Arc<dyn Store>,
        vms: Arc::new(ScriptedVmHost::default()),
        host: Arc::new(FakeHost::new("host", 2)),
        lessee: lessee(),
        heartbeats: Heartbeats::default(),
        report: Arc::new(QuietReport),
        ready: Ready::new(move || {
            let _ = ready_sender.send(());
        }),
    };
    let receiver = Box::new(GithubReceiver::new(section(address.port())));
    scope(|scope| {
        let receiver = scope.spawn(move || receiver.run(services));
        if ready.recv().is_ok() {
            measure(address, n_per_second, limit)?;
        }
        drop(stopper);
        receiver.join().map_err(|_| io::Error::other("the receiver panicked"))?.map_err(io::Error::other)
    })
}

fn measure(address: SocketAddr, n_per_second: u32, limit: Duration) -> io::Result<()> {
    let (begun_at, step) = (Instant::now(), Duration::from_secs(1) / n_per_second);
    let n_steps = n_per_second * u32::try_from(limit.as_secs()).unwrap_or(1);
    let times = scope(|scope| {
        let clients: Vec<_> = (0..N_CLIENTS)
            .map(|n_client| {
                let steps = (n_client..n_steps).step_by(N_CLIENTS as usize);
                scope.spawn(move || deliver(address, steps.map(|n_step| (n_step, begun_at + step * n_step))))
            })
            .collect();
        let results = clients.into_iter().map(|client| client.join().unwrap_or_else(|_| Ok(Vec::new())));
        results.collect::<io::Result<Vec<_>>>()
    })?;
    let mut times = times.concat();
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
    writeln!(
        io::stdout(),
        "{} webhooks, {:.0}/s; {:?} at 50 %, {:?} at 99 %, {:?} at most",
        times.len(),
        times.len() as f64 / begun_at.elapsed().as_secs_f64(),
        at(50).copied().unwrap_or_default(),
        at(99).copied().unwrap_or_default(),
        at(100).copied().unwrap_or_default(),
    )
}

/// One client: sends each webhook when it is due, on one connection.
fn deliver(address: SocketAddr, dues: impl Iterator<Item = (u32, Instant)>) -> io::Result<Vec<Duration>> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    let mut times = Vec::new();
    for (n_step, due_at) in dues {
        let request = request(&key, n_step);
        let _ = never::<()>().recv_deadline(due_at);
        stream.write_all(&request)?;
        read_answer(&mut answers)?;
        times.push(due_at.elapsed());
    }
    Ok(times)
}

fn request(key: &hmac::Key, n_step: u32) -> Vec<u8> {
    // The three of a job are a second apart at the usual rate.
    let (job, action) = match n_step / 500 % 3 {
        0 => (n_step, "queued"),
        1 => (n_step - 500, "in_progress"),
        _ => (n_step - 1000, "completed"),
    };
    let mut body = format!(
        r#"{{"action": "{action}", "workflow_job": {{"id": {}, "run_id": 7, "run_attempt": 1, "status": "{action}", "conclusion": null,
        "labels": ["self-hosted", "anka-template:7e2b1fd2-4c11-4c4a-9d36-6c1f3b1d0a5e", "anka-template-tag:v1"],
        "created_at": "2026-03-04T05:06:07Z", "name": "build", "workflow_name": "CI", "html_url": "https://github.com/octo/app"}},
        "repository": {{"name": "app", "owner": {{"login": "octo"}}}}, "rest": ""#,
        u64::from(job) + 1
    );
    while body.len() < N_BODY_BYTES {
        body.push_str("https://api.github.com/repos/octo/app/actions ");
    }
    body.push_str("\"}");
    let sum: String =
        hmac::sign(key, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "POST /jobs/v1/receiver HTTP/1.1\r\nHost: load\r\nContent-Type: application/json\r\nX-GitHub-Event: workflow_job\r\n\
         X-GitHub-Delivery: {n_step}\r\nX-Hub-Signature-256: sha256={sum}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn read_answer(answers: &mut BufReader<TcpStream>) -> io::Result<()> {
    let (mut n_body, mut line) = (0, String::new());
    answers.read_line(&mut line)?;
    if !line.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(format!("answered {line:?}")));
    }
    while line != "\r\n" {
        line.clear();
        if answers.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(length) = line.trim_end().strip_prefix("Content-Length: ") {
            n_body = length.parse().map_err(io::Error::other)?;
        }
    }
    answers.read_exact(&mut vec![0; n_body])
}

fn section(port: u16) -> Section {
    Section {
        name: PluginName::new("load"),
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
        port: Some(port),
        secret: Some(Secret::new(SECRET)),
        hook_id: None,
        skip_redeliver: true,
        redeliver_hours: 24,
        claim_life: Duration::from_secs(90),
        limits: Limits::default(),
        plugins_path: PathBuf::new(),
        work_dir: PathBuf::new(),
    }
}
