//! One `anka` command from its arguments to its exit code: the planned misbehaviour around the verb's own work.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, getppid, kill_process};

use crate::args::{Args, Spec};
use crate::plan::{self, Action, Moment};
use crate::reply::{self, Failure, Reply};
use crate::trace::TraceLine;
use crate::verbs;
use crate::words::{split, start_line};
use crate::world::World;

/// The pause on both sides of `kill_caller: during` where the rule names none.
const MIDWAY: u64 = 40;
/// A hang ends some day, so that a forgotten one leaves no process for ever.
const HANG_LIMIT_MS: u64 = 600_000;

/// A command under way.
pub(crate) struct Call {
    pub(crate) world: World,
    pub(crate) machine: bool,
    /// `clone`, or two words as in `registry pull`.
    pub(crate) verb: String,
    /// Everything behind the verb.
    pub(crate) raw: Vec<String>,
    /// `--remote` of `registry`.
    pub(crate) remote: Option<String>,
    pub(crate) action: Action,
    pub(crate) caller: Option<Pid>,
    vm: RefCell<String>,
    /// Bytes that went from standard input to the guest.
    pub(crate) n_stdin_bytes: Cell<u64>,
}

/// What to print, and the exit code.
enum Outcome {
    Answer(Result<Reply, Failure>),
    Text(String, i32),
}

/// Plays `anka` with these arguments.
pub(crate) fn main(argv: Vec<String>) -> u8 {
    let caller = getppid();
    let world = match World::of_environment() {
        Ok(world) => world,
        Err(error) => return broken(&error.to_string()),
    };
    let (machine, verb, remote, raw) = match split(&argv) {
        Ok(parts) => parts,
        Err(usage) => {
            world.trace(&start_line(&argv, "usage"));
            world.trace(&TraceLine {
                exit: Some(2),
                ..TraceLine::new("end", "usage").with("message", &*usage)
            });
            eprintln!("anka: {usage}");
            return 2;
        }
    };
    world.trace(&start_line(&argv, &verb));
    let action = match plan::take(&world, &verb, &argv) {
        Ok(action) => action,
        Err(error) => return broken(&format!("plan.json: {error}")),
    };
    let vm = RefCell::default();
    let call = Call { world, machine, verb, raw, remote, action, caller, vm, n_stdin_bytes: Cell::default() };
    let (exit, message) = print(&call, perform(&call));
    let end = TraceLine::new("end", &call.verb)
        .with("message", message)
        .with("stdin_bytes", call.n_stdin_bytes.get());
    call.world.trace(&TraceLine { vm: call.vm.take(), exit: Some(exit), ..end });
    exit as u8
}

fn broken(text: &str) -> u8 {
    eprintln!("fake-anka: {text}");
    70
}

/// The verb's work, with the delays, kills, hangs and lies of the plan around it.
fn perform(call: &Call) -> Outcome {
    let action = &call.action;
    let own_delay = call.world.load().ok().and_then(|state| state.delays.get(&call.verb).copied());
    let delay = own_delay.unwrap_or(0) + action.delay_ms;
    let held = match call.verb.as_str() {
        "registry pull" | "pull" => call.world.hold_library(&call.verb, true).ok(),
        "clone" => call.world.hold_library(&call.verb, false).ok(),
        _ => None,
    };
    call.kill_caller_at(Moment::Before);
    if action.hangs(Moment::Before) {
        call.world.trace(&TraceLine::new("hang", &call.verb));
        hang(action);
    }
    pause(call, delay / 2);
    if call.verb != "run" {
        call.kill_caller_at(Moment::During);
    }
    let failed = action.fail.clone().map(|fail| {
        Err(Failure::Anka { code: fail.code, message: fail.message, exit: fail.exit.or(action.exit) })
    });
    let lies = failed.is_some() || action.print.is_some();
    let done = if lies && !action.effect { None } else { Some(verbs::dispatch(call)) };
    pause(call, delay - delay / 2);
    drop(held);
    if let Some(ms) = action.vm_dies_after_ms {
        let _ = later(call, ms);
    }
    if action.hangs(Moment::After) {
        call.world.trace(&TraceLine::new("hang", &call.verb));
        hang(action);
    }
    call.kill_caller_at(Moment::After);
    if let Some(text) = &action.print {
        return Outcome::Text(text.clone(), action.exit.unwrap_or(0));
    }
    match failed.or(done) {
        Some(answer) => Outcome::Answer(answer),
        None => Outcome::Answer(Ok(Reply::nothing())),
    }
}

/// Half of a slow command; never nothing where the caller is to die in the middle.
fn pause(call: &Call, ms: u64) {
    let killed_midway = call.action.kill_caller == Some(Moment::During) && call.verb != "run";
    let ms = if killed_midway { ms.max(call.midway_ms()) } else { ms };
    if ms > 0 {
        thread::sleep(Duration::from_millis(ms));
    }
}

/// Waits to be killed. Ignoring TERM is left to a shell, which can say so without unsafe code.
pub(crate) fn hang(action: &Action) {
    let ms = action.ms.unwrap_or(HANG_LIMIT_MS);
    if action.ignore_term {
        let script = format!("trap '' TERM INT HUP; sleep {}.{:03}; exit 1", ms / 1000, ms % 1000);
        let error = Command::new("/bin/sh").args(["-c", &script]).exec();
        eprintln!("fake-anka: {error}");
    }
    thread::sleep(Duration::from_millis(ms));
}

/// Starts the process that ends this call's VM after `ms`.
fn later(call: &Call, ms: u64) -> io::Result<()> {
    let mut command = Command::new(&call.world.exe);
    command.env("ANKA_FAKE_DIR", &call.world.root).args(["__vm-dies", &call.vm.borrow(), &ms.to_string()]);
    command.args(call.action.gone.then_some("--gone"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(drop)
}

/// Prints; the exit code and the message for the trace come back. Nobody may be left to read, which changes nothing.
fn print(call: &Call, outcome: Outcome) -> (i32, String) {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    if let Some(noise) = &call.action.stderr {
        let _ = writeln!(err, "{noise}");
    }
    for line in &call.action.prefix_lines {
        let _ = writeln!(out, "{line}");
    }
    let state = call.world.load().unwrap_or_default();
    let forced = call.action.exit;
    let (exit, message) = match outcome {
        Outcome::Text(text, exit) => {
            let _ = out.write_all(text.as_bytes());
            (exit, String::new())
        }
        Outcome::Answer(Ok(Reply::Raw(exit))) => (forced.unwrap_or(exit), String::new()),
        Outcome::Answer(Ok(Reply::Done { body, message, plain })) => {
            let _ = match call.machine {
                true => out.write_all(reply::success(&state.shape, &call.verb, &body, &message).as_bytes()),
                false if plain.is_empty() => Ok(()),
                false => writeln!(out, "{plain}"),
            };
            (forced.unwrap_or(0), message)
        }
        Outcome::Answer(Err(Failure::Usage(text))) => {
            let _ = writeln!(err, "anka: {}: {text}", call.verb);
            (2, text)
        }
        Outcome::Answer(Err(Failure::Anka { code, mut message, exit })) => {
            if state.log_hint {
                message.push_str(" (see `anka log` for details)");
            }
            let _ = match call.machine {
                true => out.write_all(reply::error(code, &message).as_bytes()),
                false => writeln!(err, "anka: {message}"),
            };
            let by_code = if (1..256).contains(&code) { code } else { 1 };
            (exit.unwrap_or(by_code), message)
        }
    };
    let _ = out.flush();
    (exit, message)
}

impl Call {
    /// The verb's arguments, read as `spec` says.
    pub(crate) fn args(&self, spec: &Spec) -> Result<Args, Failure> {
        Ok(Args::parse(spec, &self.raw)?)
    }

    /// Remembers which VM this is about, for the trace and the plan.
    pub(crate) fn about(&self, uuid: &str) {
        self.vm.replace(uuid.into());
    }

    /// Kills the caller if this is the planned moment. Never process 1.
    pub(crate) fn kill_caller_at(&self, moment: Moment) {
        if let (true, Some(caller)) = (self.action.kill_caller == Some(moment), self.caller)
            && !caller.is_init()
        {
            let _ = kill_process(caller, Signal::KILL);
        }
    }

    /// How long a command runs on both sides of its caller's death.
    pub(crate) fn midway_ms(&self) -> u64 {
        self.action.ms.unwrap_or(MIDWAY)
    }
}
