//! `anka run`, the host's side: start the VM if need be, hand the command to the VM's agent, pass bytes both ways.
//!
//! The guest's work does not depend on this process: killed on the host, the command in the VM goes on.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::args::{Args, Spec};
use crate::cli::Call;
use crate::guests;
use crate::plan::Moment;
use crate::reply::{Failure, Reply};
use crate::tools;
use crate::verbs::start_vm;
use crate::vm::Status;

const RUN: Spec = Spec {
    flags: &[&["-E", "--env"], &["-q", "--quiet"], &["-b", "--block"]],
    values: &[&["-w", "--workdir"], &["-e"], &["-f", "--env-file"]],
    command: true,
};
/// `anka run` ends with this when the guest went away under it.
const LINK_LOST: i32 = 125;

/// `run [-w DIR] [-E] [-e K=V] [-f FILE] [-q] [-b] VM CMD ARGS…`.
pub(crate) fn run(call: &Call) -> Result<Reply, Failure> {
    let args = call.args(&RUN)?;
    let (id, _) = (args.need(0, "VM")?, args.need(1, "COMMAND")?);
    let uuid = start_vm(call, id)?;
    tools::install(&call.world)?;
    if !call.world.load()?.vm(&uuid).is_some_and(|vm| vm.guests) {
        call.world.update(|state| state.vm_mut(&uuid).map(|vm| vm.guests = true))?;
    }
    let home = call.world.vm_dir(&uuid).join("home");
    fs::create_dir_all(call.world.vm_dir(&uuid).join("tmp"))?;
    fs::create_dir_all(&home)?;
    let workdir = args.value("-w").map_or(home.clone(), |dir| home.join(dir));
    let mut agent = agent(call, &args, &uuid, workdir)?;
    let n_stdin_bytes = Arc::new(AtomicU64::new(0));
    let pumps = pumps(&mut agent, &n_stdin_bytes)?;
    if call.action.kill_caller == Some(Moment::During) {
        thread::sleep(Duration::from_millis(call.midway_ms()));
        call.kill_caller_at(Moment::During);
    }
    let status = agent.wait()?;
    for pump in pumps {
        let _ = pump.join();
    }
    call.n_stdin_bytes.set(n_stdin_bytes.load(Ordering::Relaxed));
    Ok(Reply::Raw(exit_code(call, &uuid, status)?))
}

/// The guest's own code, unless the VM is not there any more to have one.
fn exit_code(call: &Call, uuid: &str, status: ExitStatus) -> io::Result<i32> {
    let alive = call.world.load()?.vm(uuid).is_some_and(|vm| vm.status == Status::Running);
    Ok(if alive { status.code().unwrap_or(LINK_LOST) } else { LINK_LOST })
}

fn agent(call: &Call, args: &Args, uuid: &str, workdir: PathBuf) -> Result<Child, Failure> {
    let mut command = Command::new(&call.world.exe);
    command.env_clear();
    if args.has("-E") {
        command.envs(env::vars_os());
    }
    command.envs(guests::environment(&call.world, uuid, call.caller));
    if let Some(file) = args.value("-f") {
        let text = fs::read_to_string(file).map_err(|error| Failure::new(2, format!("{file}: {error}")))?;
        // Quotes stay as they are, as in the real tool.
        command
            .envs(text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')));
    }
    for pair in args.all("-e") {
        match pair.split_once('=') {
            Some((name, value)) => command.env(name, value),
            None => command.env(pair, env::var_os(pair).unwrap_or_default()),
        };
    }
    command.arg("__agent").args(&args.positional[1..]).current_dir(workdir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command.spawn()?)
}

/// Moves bytes until the agent's pipes end. The one for standard input is not waited for: the caller's may never end.
fn pumps(agent: &mut Child, n_stdin_bytes: &Arc<AtomicU64>) -> io::Result<Vec<JoinHandle<()>>> {
    let counter = Arc::clone(n_stdin_bytes);
    if let Some(stdin) = agent.stdin.take() {
        thread::Builder::new()
            .name("stdin".into())
            .spawn(move || copy(io::stdin(), stdin, Some(&counter)))?;
    }
    let mut waited_for = Vec::new();
    if let Some(stdout) = agent.stdout.take() {
        waited_for
            .push(thread::Builder::new().name("stdout".into()).spawn(|| copy(stdout, io::stdout(), None))?);
    }
    if let Some(stderr) = agent.stderr.take() {
        waited_for
            .push(thread::Builder::new().name("stderr".into()).spawn(|| copy(stderr, io::stderr(), None))?);
    }
    Ok(waited_for)
}

/// Goes on reading when nobody takes what it writes: a dead caller must not stop the guest.
fn copy(mut from: impl Read, mut to: impl Write, counter: Option<&AtomicU64>) {
    let mut buffer = [0; 65_536];
    let mut taken = true;
    while let Ok(n_bytes @ 1..) = from.read(&mut buffer) {
        if let Some(counter) = counter {
            counter.fetch_add(n_bytes as u64, Ordering::Relaxed);
        }
        taken = taken && to.write_all(&buffer[..n_bytes]).and_then(|()| to.flush()).is_ok();
    }
}
