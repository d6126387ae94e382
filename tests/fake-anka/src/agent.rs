//! `anka run`, the guest's side: a process in a session of its own that runs the command and relays its output.
//!
//! It ends with the command, also when processes that the command left behind still hold the output, as the real
//! tool's connection does; those are hung up on. It outlives the host's side, whose death is no news to a guest.

use std::env;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process_group, setsid};

use crate::guests::{MARKER, note_session};

/// What a daemon left behind may still print is read for so many rounds.
const LAST_ROUNDS: usize = 1000;

/// Runs the command; its exit code comes back.
pub(crate) fn main(command: &[String]) -> u8 {
    lead_session();
    match run(command) {
        Ok(status) => status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)) as u8,
        Err(error) => {
            let reason = match error.kind() {
                io::ErrorKind::NotFound => "No such file or directory".into(),
                io::ErrorKind::PermissionDenied => "Permission denied".into(),
                _ => error.to_string(),
            };
            eprintln!("{}: {reason}", command.first().map_or("", String::as_str));
            127
        }
    }
}

/// `__session`: becomes `command` in a session of its own, as a service is.
pub(crate) fn session(command: &[String]) -> u8 {
    lead_session();
    let error = command.split_first().map(|(program, rest)| Command::new(program).args(rest).exec());
    eprintln!("fake-anka: {error:?}");
    127
}

fn lead_session() {
    let _ = setsid();
    if let Some(dir) = env::var_os(MARKER) {
        note_session(Path::new(&PathBuf::from(dir)));
    }
}

fn run(command: &[String]) -> io::Result<ExitStatus> {
    let (program, rest) = command.split_first().ok_or_else(|| io::Error::other("no command"))?;
    let mut child = Command::new(program)
        .args(rest)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let group = Pid::from_child(&child);
    if let Some(mut stdin) = child.stdin.take() {
        let feed = move || io::copy(&mut io::stdin(), &mut stdin).map(drop).unwrap_or(());
        thread::Builder::new().name("stdin".into()).spawn(feed)?;
    }
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (ended, status) = wait_aside(child)?;
    relay(stdout, stderr, &ended)?;
    // What the command left behind must have said that it stays: it ignores the hangup, or is in a group of its own.
    let _ = kill_process_group(group, Signal::HUP);
    status.recv().map_err(io::Error::other)?
}

/// Waits in a thread; the pipe's end tells a `poll` that the child has ended.
fn wait_aside(mut child: Child) -> io::Result<(PipeReader, Receiver<io::Result<ExitStatus>>)> {
    let (reader, writer) = io::pipe()?;
    let (sender, receiver) = channel();
    thread::Builder::new().name("wait".into()).spawn(move || {
        let _ = sender.send(child.wait());
        drop(writer);
    })?;
    Ok((reader, receiver))
}

fn relay(
    mut stdout: Option<ChildStdout>,
    mut stderr: Option<ChildStderr>,
    ended: &PipeReader,
) -> io::Result<()> {
    let mut n_last_rounds = 0;
    loop {
        let (has_ended, out_ready, err_ready) = ready(stdout.as_ref(), stderr.as_ref(), ended)?;
        if out_ready {
            forward(&mut stdout, &mut io::stdout());
        }
        if err_ready {
            forward(&mut stderr, &mut io::stderr());
        }
        if has_ended {
            n_last_rounds += 1;
            if !out_ready && !err_ready || n_last_rounds > LAST_ROUNDS {
                return Ok(());
            }
        }
    }
}

/// Waits for the first of: the child's end, bytes on either output.
fn ready(
    stdout: Option<&ChildStdout>,
    stderr: Option<&ChildStderr>,
    ended: &PipeReader,
) -> io::Result<(bool, bool, bool)> {
    let mut waits = vec![PollFd::new(ended, PollFlags::IN)];
    waits.extend(stdout.map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
    waits.extend(stderr.map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)));
    while let Err(error) = poll(&mut waits, None) {
        if error != rustix::io::Errno::INTR {
            return Err(error.into());
        }
    }
    let mut events = waits.iter().map(|wait| !wait.revents().is_empty());
    let has_ended = events.next() == Some(true);
    let out_ready = stdout.is_some() && events.next() == Some(true);
    Ok((has_ended, out_ready, events.next() == Some(true)))
}

/// Passes one read on; a pipe at its end is closed. Nobody listening is no reason to stop reading.
fn forward(from: &mut Option<impl Read>, to: &mut impl Write) {
    let mut buffer = [0; 65_536];
    match from.as_mut().map(|pipe| pipe.read(&mut buffer)) {
        Some(Ok(n_bytes @ 1..)) => {
            let _ = to.write_all(&buffer[..n_bytes]).and_then(|()| to.flush());
        }
        Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
        _ => *from = None,
    }
}
