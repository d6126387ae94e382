//! A guest's `svc.sh`: keeps `run.sh` running apart from the command that started it.

use std::env;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::runner::say;

/// `svc.sh install|start|stop|status|uninstall` in the runner's folder `dir`.
pub(crate) fn main(dir: &Path, argv: &[String]) -> u8 {
    let result = match argv.first().map(String::as_str) {
        _ if env::var_os("FAKE_SUDO").is_some() => Err("Must not run with sudo".to_string()),
        Some("install") => install(dir),
        Some("start") => start(dir),
        Some("stop") => stop(dir),
        Some("status") => {
            match pid(dir) {
                Some(pid) => say(&format!("Started:\n{}", pid.as_raw_nonzero())),
                None => say("Stopped"),
            }
            Ok(())
        }
        Some("uninstall") => stop(dir).and_then(|()| text_error(fs::remove_file(dir.join(".service")))),
        _ => Err("Usage:\n./svc.sh [install, start, stop, status, uninstall]".into()),
    };
    match result {
        Ok(()) => 0,
        Err(text) => {
            eprintln!("Failed: {text}");
            1
        }
    }
}

fn text_error<T>(result: std::io::Result<T>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

fn install(dir: &Path) -> Result<(), String> {
    if dir.join(".service").exists() {
        return Err("error: exists actions.runner.plist".into());
    }
    if !dir.join(".runner").exists() {
        return Err("Must be configured first".into());
    }
    text_error(fs::write(dir.join(".service"), "actions.runner.plist\n"))?;
    say("Creating launch runner in actions.runner.plist\nsvc install complete");
    Ok(())
}

fn start(dir: &Path) -> Result<(), String> {
    if !dir.join(".service").exists() {
        return Err("not installed".into());
    }
    if pid(dir).is_some() {
        return Ok(());
    }
    let log = text_error(File::create(dir.join("_diag/service.log")))?;
    let exe = text_error(env::current_exe())?;
    let mut command = Command::new(exe);
    command.arg("__session").arg(dir.join("run.sh")).current_dir(dir).stdin(Stdio::null());
    command.stderr(text_error(log.try_clone())?).stdout(log).process_group(0);
    let child = text_error(command.spawn())?;
    text_error(fs::write(dir.join(".service-pid"), child.id().to_string()))?;
    say(&format!("starting actions.runner.plist\nStarted:\n{}", child.id()));
    Ok(())
}

fn stop(dir: &Path) -> Result<(), String> {
    if let Some(pid) = pid(dir) {
        let _ = kill_process(pid, Signal::TERM);
    }
    let _ = fs::remove_file(dir.join(".service-pid"));
    Ok(())
}

/// The service's process, while it lives.
fn pid(dir: &Path) -> Option<Pid> {
    let pid = Pid::from_raw(fs::read_to_string(dir.join(".service-pid")).ok()?.trim().parse().ok()?)?;
    test_kill_process(pid).is_ok().then_some(pid)
}
