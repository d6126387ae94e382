//! Where the demo plays: the stand-ins and the running program, and how all of it is taken away again.

use std::cell::RefCell;
use std::fs;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use rustix::process::{Pid, Signal, kill_process};

use crate::Cut;
use crate::support::{Anklet, Line, REPO, World};

/// How often the program's log, GitHub and anka are looked at. A log that grows wakes nobody.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(40);

/// How long the program may take to end after it was asked to. Then it is killed.
const END_LIMIT: Duration = Duration::from_secs(10);

/// The commands take about as long as a real Mac would make one wait, only shorter.
const DELAYS: [(&str, u64); 3] = [("clone", 250), ("start", 400), ("delete", 100)];

/// A world of stand-ins with the program in it.
pub(crate) struct Theatre {
    pub(crate) world: World,
    anklet: RefCell<Option<Anklet>>,
    last_lines: RefCell<Vec<Line>>,
    signals: Receiver<i32>,
}

impl Theatre {
    /// Sets everything up and starts the program with a receiver and one handler.
    pub(crate) fn open(signals: Receiver<i32>) -> Self {
        let world = World::new();
        for (verb, ms) in DELAYS {
            world.anka.set_delay(verb, Duration::from_millis(ms));
        }
        let anklet = RefCell::new(Some(start(&world)));
        Self { world, anklet, last_lines: RefCell::default(), signals }
    }

    /// All that the program has said so far.
    pub(crate) fn lines(&self) -> Vec<Line> {
        match &*self.anklet.borrow() {
            Some(anklet) => anklet.lines(),
            None => self.last_lines.borrow().clone(),
        }
    }

    /// Asks the program to end as an operator would, and checks that it does, leaving nothing.
    pub(crate) fn close(&self) -> Result<(), Cut> {
        if !self.is_ended_after_term() {
            return Err(Cut::Failed("anklet does not end after SIGTERM".to_owned()));
        }
        let Some(mut anklet) = self.anklet.take() else { return Ok(()) };
        let (status, lines) = anklet.wait_end_and_lines();
        self.last_lines.replace(lines);
        if !status.success() {
            return Err(Cut::Failed(format!("anklet ended with {status} after SIGTERM")));
        }
        match self.world.github.runners(REPO).len() + self.world.vms_made_by_us().len() {
            0 => Ok(()),
            _ => Err(Cut::Failed("a runner or a VM is left".to_owned())),
        }
    }

    fn is_ended_after_term(&self) -> bool {
        match &*self.anklet.borrow() {
            Some(anklet) => kill(anklet.pid(), Signal::TERM),
            None => return true,
        }
        let deadline = Instant::now() + END_LIMIT;
        while Instant::now() < deadline {
            if self.lines().iter().any(|line| line.message() == "anklet (and all plugins) shut down") {
                return true;
            }
            // A signal while we are ending anyway changes nothing.
            let _ = self.signals.recv_timeout(LOOK_AGAIN);
        }
        false
    }

    /// Commands of anka that the program has left behind.
    fn kill_commands(&self) {
        let trace = self.world.anka.trace();
        let has_ended = |pid| trace.iter().any(|line| line.pid == pid && line.event == "end");
        let begun = trace.iter().filter(|line| line.event == "start").map(|line| line.pid);
        for pid in begun.filter(|pid| !has_ended(*pid)) {
            kill(pid, Signal::KILL);
        }
    }
}

impl Drop for Theatre {
    fn drop(&mut self) {
        // A panic while another unwinds would end the process before everything is taken away.
        let _ = catch_unwind(AssertUnwindSafe(|| self.is_ended_after_term()));
        self.anklet.take();
        let _ = catch_unwind(AssertUnwindSafe(|| self.kill_commands()));
        let _ = catch_unwind(AssertUnwindSafe(|| self.world.anka.reboot()));
    }
}

fn kill(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // Gone already is as good.
        let _ = kill_process(pid, signal);
    }
}

/// As `World::start`, but in a process group of its own: Ctrl-C is for the demo, which ends the program in good order.
fn start(world: &World) -> Anklet {
    // The journal of the demo is for people, so the program says what it says by default.
    fs::write(world.home.config(), world.config(1)).expect("the config file");
    let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", world.home.path().join("bin").display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_anklet"));
    command.arg("-c").arg(world.home.config()).env_clear().process_group(0);
    command.env("HOME", world.home.path()).env("PATH", path).env("LANG", "C");
    command.current_dir(world.home.path());
    let anklet = Anklet::spawn(command);
    anklet.wait_message("receiver finished starting");
    anklet.wait_message("starting github plugin");
    anklet
}

/// Removes the folders of this process, whoever forgot them.
pub(crate) fn sweep() {
    let ours = format!("anklet-it-{}-", std::process::id());
    let entries = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&ours)) {
        // What cannot be removed has been told by whoever made it.
        let _ = fs::remove_dir_all(entry.path());
    }
}
