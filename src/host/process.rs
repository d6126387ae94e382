//! Which process is meant, for good: a process id alone is soon another's.
//!
//! A process is named `BOOT/PID/START`. Linux counts starts from the boot, so the boot is named too; macOS keeps the
//! wall time of the start, and needs no boot. Both are told apart by what the system offers while we run.

use std::fs;

use rustix::process::{Pid, getpid, test_kill_process};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

/// The name of this process.
pub(crate) fn process_id_text() -> String {
    let pid = getpid().as_raw_nonzero().get();
    match started(pid) {
        Started::At(started) => format!("{}/{pid}/{started}", boot()),
        Started::Unknown | Started::Ended => format!("{}/{pid}/", boot()),
    }
}

/// Whether the process that [`process_id_text`] named, on this same host, has ended. A text that makes no sense, or a
/// process that cannot be looked at, counts as alive: whoever asks wants to take something away from it.
pub(crate) fn process_is_gone(text: &str) -> bool {
    let mut parts = text.split('/');
    let (Some(boot_text), Some(pid), Some(start), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let Some(pid) = pid.parse().ok().filter(|pid| *pid > 0) else { return false };
    if boot_text != boot() {
        return true;
    }
    match started(pid) {
        Started::Ended => true,
        Started::At(now) => !start.is_empty() && now != start,
        Started::Unknown => false,
    }
}

/// Whether no process has this number. One that cannot be looked at counts as alive.
pub(crate) fn pid_is_gone(pid: i32) -> bool {
    matches!(started(pid), Started::Ended)
}

enum Started {
    At(String),
    Ended,
    Unknown,
}

fn started(pid: i32) -> Started {
    let Some(id) = Pid::from_raw(pid) else { return Started::Ended };
    if test_kill_process(id) == Err(rustix::io::Errno::SRCH) {
        return Started::Ended;
    }
    if let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) {
        return start_of_stat(&stat);
    }
    let Ok(id) = u32::try_from(pid).map(sysinfo::Pid::from_u32) else { return Started::Ended };
    let mut system = System::new();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[id]), false, ProcessRefreshKind::nothing());
    system.process(id).map_or(Started::Unknown, |process| Started::At(process.start_time().to_string()))
}

/// The name in parentheses may hold anything, so fields are counted from its end: the state first, the start 20th.
fn start_of_stat(stat: &str) -> Started {
    let Some((_, fields)) = stat.rsplit_once(')') else { return Started::Unknown };
    let mut fields = fields.split_ascii_whitespace();
    // A zombie has ended; only its parent has not looked yet.
    if matches!(fields.next(), Some("Z" | "X")) {
        return Started::Ended;
    }
    fields.nth(18).map_or(Started::Unknown, |started| Started::At(started.to_string()))
}

fn boot() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    boot.trim().to_string()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn this_process_lives() {
        let text = process_id_text();
        assert_eq!(text, process_id_text());
        assert!(!process_is_gone(&text), "{text}");
        assert!(!text.ends_with('/'), "the start of {text} is known");
    }

    #[test]
    fn an_ended_child_is_gone_before_and_after_it_is_reaped() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let Started::At(started) = started(pid) else { panic!("it runs") };
        let text = format!("{}/{pid}/{started}", boot());
        assert!(!process_is_gone(&text));
        assert!(process_is_gone(&format!("{}/{pid}/{started}0", boot())), "another start is another process");
        assert!(process_is_gone(&format!("x{}/{pid}/{started}", boot())), "another boot is another process");
        child.kill().unwrap();
        let id = Pid::from_child(&child);
        rustix::process::waitid(
            rustix::process::WaitId::Pid(id),
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
        )
        .unwrap();
        assert!(process_is_gone(&text), "as a zombie");
        child.wait().unwrap();
        assert!(process_is_gone(&text), "reaped");
    }

    #[test]
    fn nonsense_counts_as_alive() {
        for text in ["", "x", "a/b/c", "/0/1", "/-1/1", "/1/2/3"] {
            assert!(!process_is_gone(text), "{text}");
        }
    }

    #[test]
    fn the_name_of_a_process_does_not_confuse() {
        let stat = "7 (a) Z (b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4711 1 2";
        assert!(matches!(start_of_stat(stat), Started::At(started) if started == "4711"));
        assert!(matches!(start_of_stat("7 (a) Z 1"), Started::Ended));
        assert!(matches!(start_of_stat("7 (a) S 1"), Started::Unknown));
        assert!(matches!(start_of_stat(""), Started::Unknown));
    }
}
