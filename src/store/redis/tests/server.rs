//! Servers for the tests: a process each, in a folder of its own, gone with the test program however that ends. The tests of the whole program
//! start theirs with this file too.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

/// Runs the server until its own standard input ends, as it does with this process. Standard output is the server's alone, so that it ends
/// with it.
const WATCH: &str = r#""$@" & echo "$!"; exec > /dev/null; cat > /dev/null; kill -KILL "$!"; wait"#;

/// A running server.
pub(crate) struct TestServer {
    shell: Child,
    pid: Pid,
    folder: PathBuf,
    pub(crate) port: u16,
}

impl TestServer {
    /// The one with an append-only file that most tests share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<TestServer> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// A server with these options besides.
    pub(crate) fn start(options: &[&str]) -> Self {
        let folder = new_folder();
        let ports = std::iter::repeat_with(free_port);
        let start = |port: u16| Self::start_in(&folder, port, options);
        ports.take(20).find_map(start).expect("a Redis server starts; is `redis-server` installed?")
    }

    /// A server that speaks TLS only, on the port that the options name.
    pub(crate) fn start_tls(options: &[&str], port: u16) -> Self {
        let mut server = Self::start_in(&new_folder(), 0, options).expect("a Redis server starts with TLS");
        server.port = port;
        server
    }

    /// None if the port was taken meanwhile.
    pub(crate) fn start_in(folder: &Path, port: u16, options: &[&str]) -> Option<Self> {
        let (port_text, folder_text) = (port.to_string(), folder.to_str().expect("a plain path"));
        let mut command = Command::new("sh");
        command.args(["-c", WATCH, "sh", "redis-server", "--bind", "127.0.0.1", "--port", &port_text]);
        command.args(["--dir", folder_text, "--appendonly", "yes", "--save", "", "--daemonize", "no"]);
        command.args(options).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = command.spawn().expect("a shell starts");
        let mut log = BufReader::new(shell.stdout.take().expect("its output is ours"));
        let mut line = String::new();
        // The shell says the number of the server, before or after the server's first words.
        let (mut pid, mut is_ready) = (None, false);
        while pid.is_none() || !is_ready {
            line.clear();
            if log.read_line(&mut line).expect("the server's log is read") == 0 || line.contains("exit") {
                let _ = shell.kill();
                let _ = shell.wait();
                return None;
            }
            pid = pid.or_else(|| Pid::from_raw(line.trim().parse().ok()?));
            is_ready |= line.contains("Ready to accept connections");
        }
        let pid = pid.expect("a number");
        let drain = std::thread::Builder::new().name("redis log".to_owned());
        drain.spawn(move || log.read_to_end(&mut Vec::new())).expect("a thread starts");
        Some(Self { shell, pid, folder: folder.to_owned(), port })
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("the server runs");
    }

    /// Kills the server; the folder stays, for the next.
    pub(crate) fn kill(mut self) -> PathBuf {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
        std::mem::take(&mut self.folder)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
        if self.folder.is_absolute() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

pub(crate) fn new_folder() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("anklet-redis-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let folder = std::env::temp_dir().join(name);
    fs::create_dir(&folder).expect("a folder of the test's own");
    folder
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has an address").port()
}
