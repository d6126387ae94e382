//! Runs one `anka` command: an argument list without a shell, a bare environment, an own process group, a limit, and
//! an ear for whoever wants it to end.
//!
//! It knows processes only; what the words mean is said in `reply.rs`. A command that is cut short or too slow ends with
//! all of its process group. One that ends by itself leaves its group alone: a started VM may live there.

use std::ffi::OsString;
use std::io::{self, PipeWriter};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anklet_plugin_api::ear::{Ear, Heard};
use anklet_plugin_api::vm::VmError;
use crossbeam_channel::{Receiver, Sender, bounded};
use log::{debug, error, info};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::anka::call::{Call, Input};
use crate::anka::output::{Captured, Pipes};

/// What children see of our environment, besides `LC_*` and `ANKA_*`.
const PASSED_ON: &[&str] = &["HOME", "PATH", "USER", "LOGNAME", "TMPDIR", "LANG"];
/// How long a killed process may take to disappear; only one that hangs in the kernel does not do so at once.
const KILLED_LIMIT: Duration = Duration::from_secs(5);
const STACK_BYTES: usize = 128 << 10;

/// The means to run commands.
pub(crate) struct Commands {
    environment: Vec<(OsString, OsString)>,
    grace: Duration,
    report: Duration,
}

/// How a command ended by itself.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; none if a signal ended it.
    pub(crate) exit: Option<i32>,
    /// Standard output.
    pub(crate) output: Captured,
    /// Standard error.
    pub(crate) errors: Captured,
}

impl Commands {
    /// Children get those variables of `environment` that they may see. A command gets `grace` between TERM and KILL,
    /// and is mentioned in the log each `report`.
    pub(crate) fn new(environment: &[(OsString, OsString)], grace: Duration, report: Duration) -> Self {
        let environment = environment.iter().filter(|(name, _)| may_see(name)).cloned().collect();
        Self { environment, grace, report }
    }

    /// Runs a command to its end, which may also be an unhappy one.
    pub(crate) fn run(&self, call: Call, ear: &Ear<'_>) -> Result<Ended, VmError> {
        let (verb, limit) = (call.verb, call.limit);
        if ear.is_cut() {
            return Err(VmError::Cut { verb });
        }
        let started_at = Instant::now();
        debug!(command = call.shown; "anka command");
        let running = self.spawn(call).map_err(|source| VmError::NotStarted { verb, source })?;
        let deadline = started_at + limit;
        let mut report_at = started_at + self.report;
        loop {
            match ear.wait(&running.done, deadline.min(report_at)) {
                Heard::Done(captured) => {
                    let ended = running.reap(captured);
                    let exit = ended.as_ref().ok().and_then(|ended| ended.exit);
                    debug!(verb, exit, ms = milliseconds(started_at); "anka command ended");
                    return ended.map_err(|source| VmError::NotStarted { verb, source });
                }
                Heard::Cut => {
                    self.end(running, verb, ear);
                    return Err(VmError::Cut { verb });
                }
                Heard::Gone => {
                    self.end(running, verb, ear);
                    let source = io::Error::other("the thread that waits for it has ended");
                    return Err(VmError::NotStarted { verb, source });
                }
                Heard::TooSlow if Instant::now() < deadline => {
                    info!(verb, ms = milliseconds(started_at); "execution of command {verb} is still in progress...");
                    report_at += self.report;
                }
                Heard::TooSlow => {
                    self.end(running, verb, ear);
                    return Err(VmError::TooSlow { verb, limit });
                }
            }
        }
    }

    fn spawn(&self, call: Call) -> io::Result<Running> {
        let (stdin, bytes) = match call.input {
            Input::Empty => (Stdio::null(), Vec::new()),
            Input::Bytes(bytes) => (Stdio::piped(), bytes),
            Input::File(file) => (Stdio::from(file), Vec::new()),
        };
        let (ended, ends) = io::pipe()?;
        let mut child = Command::new(self.program()?)
            .args(call.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .process_group(0)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pid = Pid::from_child(&child);
        let threads = Pipes::of(&mut child, bytes, ended).and_then(|pipes| watch(pid, pipes, ends));
        match threads {
            Ok((waiter, done)) => Ok(Running { child, pid, waiter, done }),
            Err(error) => {
                let _ = kill_process_group(pid, Signal::KILL);
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// Where `anka` is now: it may be installed, moved or upgraded while we run.
    fn program(&self) -> io::Result<PathBuf> {
        let path = self.environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path);
        let folders = path.map(std::env::split_paths).into_iter().flatten();
        folders.map(|folder| folder.join("anka")).find(|file| is_program(file)).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "there is no program `anka` in any folder of PATH")
        })
    }

    /// How long it takes at most to end a command that does not want to end.
    pub(crate) fn longest_end(&self) -> Duration {
        self.grace + KILLED_LIMIT
    }

    /// Ends the whole group: TERM, and after the grace KILL. What it printed is of no use any more.
    fn end(&self, running: Running, verb: &'static str, ear: &Ear<'_>) {
        let _ = kill_process_group(running.pid, Signal::TERM);
        let ended = running.done.recv_timeout(ear.grace(self.grace));
        // Before the child is reaped, while its id cannot be another's: what stayed behind in its group ends too.
        let _ = kill_process_group(running.pid, Signal::KILL);
        match ended.or_else(|_| running.done.recv_timeout(KILLED_LIMIT)) {
            Ok(captured) => drop(running.reap(captured)),
            // Its waiter sees that nobody listens any more, and reaps it if it ever ends.
            Err(_) => {
                error!(verb, pid = running.pid.as_raw_nonzero().get(); "anka command does not end even when killed")
            }
        }
    }
}

/// What the pipes of a child carried: standard output and standard error.
type Served = io::Result<(Captured, Captured)>;

/// A command that has been started and not yet been reaped.
struct Running {
    child: Child,
    pid: Pid,
    waiter: JoinHandle<()>,
    done: Receiver<Served>,
}

impl Running {
    /// Takes the exit status of a child that has ended.
    fn reap(mut self, captured: Served) -> io::Result<Ended> {
        let status: ExitStatus = self.child.wait()?;
        // It has sent its last word and ends right after.
        let _ = self.waiter.join();
        let (output, errors) = captured?;
        debug_assert!(status.code().is_some() || status.signal().is_some());
        Ok(Ended { exit: status.code(), output, errors })
    }
}

/// Starts the two threads of a child: one serves its pipes, one waits for its end, which closes `ends`, and sends
/// what the pipes carried. The child is left to be reaped.
fn watch(pid: Pid, pipes: Pipes, ends: PipeWriter) -> io::Result<(JoinHandle<()>, Receiver<Served>)> {
    let (done, captured) = bounded(1);
    let server = thread::Builder::new()
        .name("anka output".to_string())
        .stack_size(STACK_BYTES)
        .spawn(move || pipes.serve())?;
    let waiter = thread::Builder::new()
        .name("anka end".to_string())
        .stack_size(STACK_BYTES)
        .spawn(move || wait(pid, ends, server, &done))?;
    Ok((waiter, captured))
}

fn wait(pid: Pid, ends: PipeWriter, server: JoinHandle<Served>, done: &Sender<Served>) {
    let ended =
        rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT));
    drop(ends);
    let served =
        server.join().unwrap_or_else(|_| Err(io::Error::other("the thread that reads its output panicked")));
    let captured = ended.map_err(io::Error::from).and(served);
    if done.send(captured).is_err() {
        // It did not end when it was killed, and its owner gave up on it.
        let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
    }
}

fn may_see(name: &OsString) -> bool {
    name.to_str()
        .is_some_and(|name| PASSED_ON.contains(&name) || name.starts_with("LC_") || name.starts_with("ANKA_"))
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
