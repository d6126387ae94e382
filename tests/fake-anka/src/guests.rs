//! The processes of a VM: how they are marked, and how all of them end when the VM does.
//!
//! Every guest process inherits `FAKE_VM`, the VM's folder, so that one which left its session is found as well.
//! Where there is no `/proc` (macOS) the sessions that were noted are killed instead.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::world::World;

/// Variable that marks a process as a guest of the VM whose folder it names.
pub(crate) const MARKER: &str = "FAKE_VM";
/// Variable that tells a guest tool which process called `anka`, for plans that kill it.
pub(crate) const CALLER: &str = "FAKE_CALLER";
/// A guest that multiplies faster than it is killed is given up after so many rounds.
const ROUNDS: usize = 200;

/// The environment of a guest command: the user `anka`, whose home is the VM's folder, and nothing of the host.
pub(crate) fn environment(world: &World, uuid: &str, caller: Option<Pid>) -> Vec<(String, String)> {
    let dir = world.vm_dir(uuid);
    let text = |path: PathBuf| path.display().to_string();
    let path = format!("{}:/usr/bin:/bin", world.root.join("guest-bin").display());
    let caller = caller.map_or(0, |caller| caller.as_raw_nonzero().get());
    let pairs = [
        ("HOME", text(dir.join("home"))),
        ("USER", "anka".into()),
        ("LOGNAME", "anka".into()),
        ("SHELL", "/bin/bash".into()),
        ("PATH", path),
        ("TMPDIR", text(dir.join("tmp"))),
        (MARKER, text(dir)),
        (CALLER, caller.to_string()),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

/// Notes the session that this process leads.
pub(crate) fn note_session(vm_dir: &Path) {
    let file = OpenOptions::new().append(true).create(true).open(vm_dir.join("sessions"));
    if let Ok(mut file) = file {
        let _ = file.write_all(format!("{}\n", std::process::id()).as_bytes());
    }
}

/// Kills every process of the VM and returns when none is left.
pub(crate) fn kill_all(vm_dir: &Path) {
    if !Path::new("/proc/self/environ").exists() {
        return kill_sessions(vm_dir);
    }
    let mark = format!("{MARKER}={}", vm_dir.display()).into_bytes();
    for _ in 0..ROUNDS {
        let pids = marked(&mark);
        if pids.is_empty() {
            return;
        }
        for pid in pids {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::yield_now();
    }
}

/// Living processes whose environment holds `mark`; a zombie's environment is empty.
fn marked(mark: &[u8]) -> Vec<Pid> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let guests = pids.filter(|pid| *pid != own).filter(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|pair| pair == mark)
    });
    guests.filter_map(|pid| Pid::from_raw(pid as i32)).collect()
}

fn kill_sessions(vm_dir: &Path) {
    let text = fs::read_to_string(vm_dir.join("sessions")).unwrap_or_default();
    for pid in text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
}
