//! A fake host in a folder of its own, and commands on it. Apart, since every test begins here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fake_anka::{FakeAnka, Template, TraceLine};
use serde_json::Value;

/// UUID of the template that [`Host::new`] puts on disk and into the registry.
pub(crate) const TEMPLATE: &str = "84266873-da90-4e0d-903b-ed0233471f9f";
const LIMIT: Duration = Duration::from_secs(20);

/// A fake host that goes away with the value, guests included.
pub(crate) struct Host {
    home: PathBuf,
    pub(crate) fake: FakeAnka,
    anka: PathBuf,
}

/// What a command answered.
pub(crate) struct Answer {
    pub(crate) exit: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Host {
    /// With one template, `tmpl` in its tag `v1`, on disk and in the registry.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("fake-anka-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let home = std::env::temp_dir().join(name);
        fs::create_dir_all(&home).unwrap();
        let fake = FakeAnka::with_exe(&home, Path::new(env!("CARGO_BIN_EXE_fake-anka")));
        let anka = fake.install_wrapper(&home.join("bin"));
        fake.add(&Template::new(TEMPLATE, "tmpl", "v1").on_disk().in_registry());
        Self { home, fake, anka }
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    /// `anka` with these arguments in the bare environment that children get.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.program(&self.anka, args)
    }

    pub(crate) fn program(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).env_clear().env("HOME", &self.home);
        command.env("PATH", format!("{}:/usr/bin:/bin", self.home.join("bin").display()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Answer {
        Answer::of(self.command(args).output().unwrap())
    }

    /// `anka -j` that must succeed; the body comes back.
    pub(crate) fn body(&self, args: &[&str]) -> Value {
        let answer = self.machine(args);
        assert_eq!(answer.exit, 0, "{args:?}: {} {}", answer.out, answer.err);
        answer.envelope()["body"].clone()
    }

    /// `anka -j`.
    pub(crate) fn machine(&self, args: &[&str]) -> Answer {
        self.run(&[&["-j"], args].concat())
    }

    /// `anka -j` that must fail with that code and a message that contains `text`.
    pub(crate) fn fails(&self, args: &[&str], code: i32, text: &str) {
        let answer = self.machine(args);
        let envelope = answer.envelope();
        assert_eq!(envelope["status"], "ERROR", "{args:?}");
        assert_eq!((answer.exit, envelope["code"].as_i64()), (code, Some(code.into())), "{args:?}");
        let message = envelope["message"].as_str().unwrap();
        assert!(message.contains(text), "{args:?}: {message}");
    }

    /// Clones the template under that name and starts the clone.
    pub(crate) fn started(&self, name: &str) {
        self.body(&["clone", TEMPLATE, name]);
        self.body(&["start", name]);
    }

    /// A bash script in a VM.
    pub(crate) fn guest(&self, vm: &str, script: &str) -> Answer {
        self.machine(&["run", vm, "bash", "-c", script])
    }

    /// Waits for a line of the trace.
    pub(crate) fn wait_for_line(&self, event: &str, verb: &str) {
        let is_it = |line: &TraceLine| line.event == event && line.verb == verb;
        assert!(self.fake.wait_for(LIMIT, |lines| lines.iter().any(is_it)), "{event} {verb} did not come");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.fake.reboot();
        let _ = fs::remove_dir_all(&self.home);
    }
}

impl Answer {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { exit: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The last line, which must be JSON without a newline behind it.
    pub(crate) fn envelope(&self) -> Value {
        assert!(!self.out.ends_with('\n'), "a newline at the end of {:?}", self.out);
        let last = self.out.lines().last().unwrap_or("");
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {:?} {:?}", self.out, self.err))
    }
}

/// Looks again and again until it holds; processes of the fake give no other sign.
pub(crate) fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let ends_at = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < ends_at, "{what} did not come");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// Whether that process lives; a zombie does not.
pub(crate) fn lives(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

/// Kills and reaps the child when the test ends early.
pub(crate) struct Reaped(pub(crate) Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
