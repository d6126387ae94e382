//! A world for one test: a home folder, a stand-in GitHub, a stand-in anka, and the real program between them.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so and ends")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use fake_anka::{FakeAnka, Template};
use fake_github::{FakeGitHub, HookId, JobSpec};
use serde_json::Value;

/// Generous: what a test waits for comes in a fraction of it, unless something is wrong.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The template that every world has on disk, and its tag.
pub(crate) const TEMPLATE: &str = "c0847bc9-5d2d-4dbc-ba6a-240f7ff08032";
pub(crate) const TAG: &str = "v1";
pub(crate) const REPO: &str = "acme/app";
pub(crate) const TOKEN: &str = "ghp_tokenOfTheTests0123456789";
pub(crate) const SECRET: &str = "webhook-secret-of-the-tests";
const RUNNER_VERSION: &str = "2.336.0";

/// Home folder and stand-ins of one test.
pub(crate) struct World {
    pub(crate) home: Home,
    pub(crate) github: FakeGitHub,
    pub(crate) anka: FakeAnka,
    pub(crate) port: u16,
    pub(crate) hook: HookId,
    /// The port of the Redis that the queue is in; none for the embedded one.
    redis: Option<u16>,
}

/// A folder that goes when the test ends.
pub(crate) struct Home(PathBuf);

impl Home {
    pub(crate) fn new() -> Self {
        static N_HOMES: AtomicUsize = AtomicUsize::new(0);
        let name = format!("anklet-it-{}-{}", std::process::id(), N_HOMES.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join(".config/anklet")).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.0.join(".config/anklet/config.yml")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for a look: {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

impl World {
    /// A repository with a hook, a credential, and a host with a template whose runner is current.
    pub(crate) fn new() -> Self {
        let home = Home::new();
        let github = FakeGitHub::start();
        let port = free_port();
        github.add_repo(REPO).add_pat(TOKEN, &["repo", "admin:org", "workflow"]);
        let hook = github.add_hook(REPO, &format!("http://127.0.0.1:{port}/jobs/v1/receiver"), SECRET);
        let (anka, archive) = new_anka(&home);
        let archive = fs::read(archive).unwrap();
        github.tune(|knobs| {
            RUNNER_VERSION.clone_into(&mut knobs.runner_version);
            knobs.runner_archive = archive;
        });
        Self { home, github, anka, port, hook, redis: None }
    }

    /// The same with its queue in the Redis on this port.
    pub(crate) fn on_redis(port: u16) -> Self {
        Self { redis: Some(port), ..Self::new() }
    }

    /// The config of one host: a receiver and this many handlers of the repository, with short waits.
    pub(crate) fn config(&self, n_handlers: usize) -> String {
        let mut text = format!(
            "github_url: {}\ngithub_api_url: {}\nglobal_token: {TOKEN}\nglobal_receiver_secret: {SECRET}\nwork_dir: {}\n\
             claim_seconds: 3\nhost: {{cpu_count: 12, memory_bytes: 34359738368}}\n\
             limits: {{fence_no_answer: 0.2, github_retry_first: 0.05, command_grace: 1, runner_list_lag: 1, register_runner: 5, job_hold_first: 0.1,\n\
             \x20 host_avoid_first: 0.1, delete_retry: 0.5}}\n{}\
             plugins:\n  - {{name: RECEIVER, plugin: github_receiver, owner: acme, repo: app, port: {}}}\n",
            self.github.url(),
            self.github.api_url(),
            self.home.path().display(),
            self.database(),
            self.port
        );
        for n_handler in 1..=n_handlers {
            text += &format!("  - {{name: HANDLER{n_handler}, plugin: github, owner: acme, repo: app}}\n");
        }
        text
    }

    fn database(&self) -> String {
        let keys = |port| format!("global_database_url: 127.0.0.1\nglobal_database_port: {port}\n");
        self.redis.map(keys).unwrap_or_default()
    }

    /// Starts the program with this config and waits until all its plugins are ready.
    pub(crate) fn start(&self, config: &str) -> Anklet {
        self.start_with(config, bare(env!("CARGO_BIN_EXE_anklet")))
    }

    /// Like `start`, by this command, to which the program's arguments and environment are added.
    pub(crate) fn start_with(&self, config: &str, command: Command) -> Anklet {
        let anklet = self.spawn_with(config, command);
        anklet.wait_message("receiver finished starting");
        let n_handlers = config.matches("plugin: github,").count();
        anklet.wait_lines("a line of each handler", |lines| {
            lines.iter().filter(|line| line.message() == "starting github plugin").count() == n_handlers
        });
        anklet
    }

    /// Starts the program and waits for nothing.
    pub(crate) fn spawn(&self, config: &str) -> Anklet {
        self.spawn_with(config, bare(env!("CARGO_BIN_EXE_anklet")))
    }

    /// Like `spawn`, by this command, to which the program's arguments and environment are added.
    pub(crate) fn spawn_with(&self, config: &str, command: Command) -> Anklet {
        spawn_at(&self.home, config, command)
    }

    /// A job for the template of this world.
    pub(crate) fn job(&self) -> JobSpec {
        JobSpec::new(REPO, &[&format!("anka-template:{TEMPLATE}"), &format!("anka-template-tag:{TAG}")])
    }

    /// A job for the template of this world, with a label that tells its registrations from others'.
    pub(crate) fn job_labelled(&self, label: &str) -> JobSpec {
        let [template, tag] = [format!("anka-template:{TEMPLATE}"), format!("anka-template-tag:{TAG}")];
        JobSpec::new(REPO, &[&template, &tag, label])
    }

    /// Asserts that no VM, no runner, no record and no job is left, and that GitHub was asked nothing wrong.
    pub(crate) fn assert_clean(&self, anklet: &Anklet) {
        anklet.wait_for("every VM gone", || self.vms_made_by_us().is_empty());
        anklet.wait_for("every runner gone", || self.github.runners(REPO).is_empty());
        assert_eq!(self.github.violations(), Vec::<String>::new());
        anklet.wait_for("an empty ledger", || !self.ledger().contains("anklet-vm-"));
    }

    /// Whether no job and no VM is recorded in the queue, as another process sees it.
    pub(crate) fn is_queue_empty(&self) -> bool {
        if let Some(port) = self.redis {
            return is_redis_empty(port);
        }
        let file = self.home.path().join(".config/anklet/anklet.db");
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let count = |connection: &rusqlite::Connection| {
            let sum = "SELECT (SELECT count(*) FROM jobs) + (SELECT count(*) FROM vms)";
            connection.query_row(sum, [], |row| row.get::<_, i64>(0))
        };
        let connection = rusqlite::Connection::open_with_flags(file, flags);
        connection.and_then(|connection| count(&connection)).is_ok_and(|n_rows| n_rows == 0)
    }

    /// Waits for something while no process runs whose log could be waited for.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn() -> bool) {
        assert!(self.anka.wait_for(LIMIT, |_| is_so()), "waited in vain for {what}");
    }

    /// The names of all VMs that are not templates.
    pub(crate) fn vms_made_by_us(&self) -> Vec<String> {
        let names = self.anka.vms().into_iter().map(|vm| vm.name);
        names.filter(|name| name.starts_with("anklet-vm-")).collect()
    }

    fn ledger(&self) -> String {
        fs::read_to_string(self.home.path().join(".config/anklet/ledger.json")).unwrap_or_default()
    }
}

/// An `anka` whose one template is on disk and in the registry, and the archive of the runner in it.
pub(crate) fn new_anka(home: &Home) -> (FakeAnka, PathBuf) {
    let anka = FakeAnka::new(home.path());
    anka.add(
        &Template::new(TEMPLATE, "sonoma", TAG)
            .on_disk()
            .in_registry()
            .cpu(4)
            .ram_gib(8)
            .runner(RUNNER_VERSION),
    );
    anka.install_wrapper(&home.path().join("bin"));
    let (archive, _) = anka.make_runner(RUNNER_VERSION);
    (anka, archive)
}

/// Starts the command as the program of the host with this home, and waits for nothing.
pub(crate) fn spawn_at(home: &Home, config: &str, mut command: Command) -> Anklet {
    fs::write(home.config(), config).unwrap();
    let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", home.path().join("bin").display());
    command.arg("-c").arg(home.config());
    command.env("HOME", home.path()).env("PATH", path).env("LOG_LEVEL", "DEBUG").env("LANG", "C");
    command.current_dir(home.path());
    Anklet::spawn(command)
}

/// Whether no queue of this Redis holds a job or the record of a VM; false while it does not answer.
fn is_redis_empty(port: u16) -> bool {
    let Ok(client) = redis::Client::open(("127.0.0.1", port)) else { return false };
    let Ok(mut connection) = client.get_connection_with_timeout(LIMIT) else { return false };
    let mut has_none = |pattern: &str| {
        let keys = redis::cmd("KEYS").arg(pattern).query::<Vec<String>>(&mut connection);
        keys.is_ok_and(|keys| keys.is_empty())
    };
    has_none("anklet:{*}:job:*") && has_none("anklet:{*}:vm:*")
}

/// A command without an environment, so that what the tests were started with does not matter.
pub(crate) fn bare(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command
}

/// A port below those that the system gives to connections, which come and go beside the tests; each is given out once a process.
pub(crate) fn free_port() -> u16 {
    static N_GIVEN: AtomicUsize = AtomicUsize::new(0);
    let is_free = |port: &u16| {
        TcpListener::bind(("::", *port)).or_else(|_| TcpListener::bind(("0.0.0.0", *port))).is_ok()
    };
    let begin = std::process::id() as usize * 64;
    let mut ports = std::iter::repeat_with(|| {
        12_000 + ((begin + N_GIVEN.fetch_add(1, Ordering::Relaxed)) % 20_000) as u16
    });
    ports.find(is_free).unwrap()
}

/// A line of the program's log.
#[derive(Clone, Debug)]
pub(crate) struct Line(pub(crate) Value);

impl Line {
    pub(crate) fn message(&self) -> &str {
        self.0["msg"].as_str().unwrap_or_default()
    }
}

/// The running program. Killed when it is dropped.
pub(crate) struct Anklet {
    child: Child,
    log: Arc<Log>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<Line>, bool)>,
    grown: Condvar,
}

impl Anklet {
    /// Starts the command and reads what it prints.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Log::default());
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let out = Arc::clone(&log);
        let out_reader = Builder::new().name("stdout".to_owned()).spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                out.push(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
            out.close();
        });
        let err = Arc::clone(&log);
        let err_reader = Builder::new().name("stderr".to_owned()).spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                err.push(Value::String(line));
            }
        });
        Self { child, log, readers: vec![out_reader.unwrap(), err_reader.unwrap()] }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the lines so far satisfy `is_so`.
    #[track_caller]
    pub(crate) fn wait_lines(&self, what: &str, is_so: impl Fn(&[Line]) -> bool) {
        let deadline = Instant::now() + LIMIT;
        let mut lines = self.log.lines.lock().unwrap();
        while !is_so(&lines.0) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.1 {
                let text: Vec<_> = lines.0.iter().map(|line| line.0.to_string()).collect();
                drop(lines);
                panic!("waited in vain for {what}; the log:\n{}", text.join("\n"));
            }
            lines = self.log.grown.wait_timeout(lines, left).unwrap().0;
        }
    }

    #[track_caller]
    pub(crate) fn wait_message(&self, message: &str) {
        self.wait_lines(message, |lines| lines.iter().any(|line| line.message() == message));
    }

    /// The first line of this message, once it is there: what the program has done may be seen elsewhere before what it says of it.
    #[track_caller]
    pub(crate) fn line(&self, message: &str) -> Line {
        self.wait_message(message);
        self.lines().into_iter().find(|line| line.message() == message).unwrap()
    }

    #[track_caller]
    pub(crate) fn wait_messages(&self, message: &str, n_wanted: usize) {
        self.wait_lines(message, |lines| {
            lines.iter().filter(|line| line.message() == message).count() >= n_wanted
        });
    }

    /// Waits for something outside the log, looked at whenever the log grows and a few times a second.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + LIMIT;
        let mut lines = self.log.lines.lock().unwrap();
        while !is_so() {
            if Instant::now() >= deadline {
                let text: Vec<_> = lines.0.iter().map(|line| line.0.to_string()).collect();
                drop(lines);
                panic!("waited in vain for {what}; the log:\n{}", text.join("\n"));
            }
            lines = self.log.grown.wait_timeout(lines, Duration::from_millis(20)).unwrap().0;
        }
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.log.lines.lock().unwrap().0.clone()
    }

    /// All lines so far, which are forgotten: for runs whose log does not fit into memory.
    pub(crate) fn take_lines(&self) -> Vec<Line> {
        std::mem::take(&mut self.log.lines.lock().unwrap().0)
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status =
            Command::new("kill").arg(format!("-{signal}")).arg(self.pid().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end by itself.
    #[track_caller]
    pub(crate) fn wait_end(mut self) -> ExitStatus {
        self.wait_end_and_lines().0
    }

    /// Waits for the end by itself; the exit status and all that was said.
    #[track_caller]
    pub(crate) fn wait_end_and_lines(&mut self) -> (ExitStatus, Vec<Line>) {
        self.wait_for_close();
        let status = self.child.wait().unwrap();
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        (status, self.lines())
    }

    #[track_caller]
    fn wait_for_close(&self) {
        let deadline = Instant::now() + LIMIT;
        let mut lines = self.log.lines.lock().unwrap();
        while !lines.1 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text: Vec<_> = lines.0.iter().map(|line| line.0.to_string()).collect();
                drop(lines);
                panic!("the program does not end; the log:\n{}", text.join("\n"));
            }
            lines = self.log.grown.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// SIGTERM, then waits for the end, which must be well.
    #[track_caller]
    pub(crate) fn stop(self) {
        self.signal("TERM");
        let status = self.wait_end();
        assert_eq!(status.code(), Some(0));
    }

    /// SIGKILL: what a crash is.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Anklet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            for line in self.lines() {
                eprintln!("{}", line.0);
            }
        }
    }
}

impl Log {
    fn push(&self, value: Value) {
        self.lines.lock().unwrap().0.push(Line(value));
        self.grown.notify_all();
    }

    fn close(&self) {
        self.lines.lock().unwrap().1 = true;
        self.grown.notify_all();
    }
}
