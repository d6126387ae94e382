//! The tools of a Mac that guest scripts call, as small doubles: links named after them, first in the guest's PATH.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::cli::hang;
use crate::curl;
use crate::guests::{CALLER, MARKER};
use crate::launchd;
use crate::plan::{self, Action, Moment};
use crate::trace::TraceLine;
use crate::world::World;

/// Every double. Those of Linux that a Mac lacks are here to be missed.
const NAMES: [&str; 10] =
    ["curl", "uname", "sw_vers", "shasum", "sudo", "launchctl", "whoami", "setsid", "timeout", "flock"];

/// Whether a program of that name is one of the doubles.
pub(crate) fn is_tool(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Makes the links, unless they lead to this program already.
pub(crate) fn install(world: &World) -> io::Result<()> {
    let bin = world.root.join("guest-bin");
    if NAMES.iter().all(|name| fs::read_link(bin.join(name)).is_ok_and(|target| target == world.exe)) {
        return Ok(());
    }
    let _lock = world.lock()?;
    fs::create_dir_all(&bin)?;
    for name in NAMES {
        let link = bin.join(format!(".{name}"));
        let _ = fs::remove_file(&link);
        symlink(&world.exe, &link)?;
        fs::rename(link, bin.join(name))?;
    }
    Ok(())
}

/// Runs the double `name`.
pub(crate) fn main(name: &str, argv: &[String]) -> u8 {
    match name {
        "curl" => with_plan("curl", argv, curl::main),
        "uname" => uname(argv),
        "sw_vers" => sw_vers(argv),
        "shasum" => shasum(argv),
        "sudo" => sudo(argv),
        "whoami" => say("anka"),
        "launchctl" => with_plan("launchctl", argv, launchd::main),
        missing => {
            eprintln!("{missing}: command not found (macOS has none)");
            127
        }
    }
}

fn say(text: &str) -> u8 {
    println!("{text}");
    0
}

fn uname(argv: &[String]) -> u8 {
    match argv.first().map(String::as_str) {
        None | Some("-s") => say("Darwin"),
        Some("-m" | "-p") => say("arm64"),
        Some("-r") => say("24.5.0"),
        Some("-sm") => say("Darwin arm64"),
        Some("-a") => say("Darwin anka.local 24.5.0 Darwin Kernel Version 24.5.0 arm64"),
        Some(other) => {
            eprintln!("uname: illegal option -- {other}");
            1
        }
    }
}

fn sw_vers(argv: &[String]) -> u8 {
    match argv.first().map(String::as_str) {
        Some("-productVersion" | "--productVersion") => say("15.5"),
        Some("-buildVersion" | "--buildVersion") => say("24F74"),
        Some("-productName" | "--productName") => say("macOS"),
        _ => say("ProductName:\t\tmacOS\nProductVersion:\t\t15.5\nBuildVersion:\t\t24F74"),
    }
}

/// Hands `-a 256` on to the tool that Linux has for it, or to a Mac's own.
fn shasum(argv: &[String]) -> u8 {
    let mut rest: Vec<&String> = argv.iter().collect();
    if let Some(at) = rest.iter().position(|word| *word == "-a") {
        let wanted: Vec<&String> = rest.drain(at..(at + 2).min(rest.len())).collect();
        if wanted.get(1).map(|word| word.as_str()) != Some("256") {
            eprintln!("shasum: this double knows -a 256 only");
            return 64;
        }
    } else {
        eprintln!("shasum: without -a 256 it would be SHA-1");
        return 64;
    }
    if Path::new("/usr/bin/sha256sum").exists() {
        return replace(Command::new("/usr/bin/sha256sum").args(rest));
    }
    replace(Command::new("/usr/bin/shasum").args(argv))
}

fn sudo(argv: &[String]) -> u8 {
    let rest: Vec<&String> = argv.iter().skip_while(|word| word.starts_with('-')).collect();
    match rest.split_first() {
        Some((program, rest)) => replace(Command::new(program).args(rest).env("FAKE_SUDO", "1")),
        None => 1,
    }
}

fn replace(command: &mut Command) -> u8 {
    eprintln!("fake-anka: {}", command.exec());
    127
}

/// The host that the guest process around us belongs to, and the UUID of its VM.
pub(crate) fn guest_world() -> io::Result<(World, String)> {
    let dir = PathBuf::from(env::var_os(MARKER).ok_or_else(|| io::Error::other("not in a VM"))?);
    let uuid = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let root = dir.ancestors().nth(2).unwrap_or(Path::new("/")).to_path_buf();
    Ok((World::open(root, env::current_exe()?)?, uuid))
}

/// Runs a guest program under the plan, where it is the verb `guest NAME`, and notes it in the trace. A token in its
/// arguments is masked there.
pub(crate) fn with_plan(name: &str, argv: &[String], work: impl FnOnce(&[String]) -> u8) -> u8 {
    let Ok((world, uuid)) = guest_world() else { return work(argv) };
    let verb = format!("guest {name}");
    world.trace(&TraceLine { argv: masked(argv), vm: uuid.clone(), ..TraceLine::new("guest", &verb) });
    let action = plan::take(&world, &verb, argv).unwrap_or_default();
    let exit = planned(&action, || work(argv));
    let end = TraceLine::new("guest end", &verb);
    world.trace(&TraceLine { vm: uuid, exit: Some(exit.into()), ..end });
    exit
}

fn planned(action: &Action, work: impl FnOnce() -> u8) -> u8 {
    kill_caller_at(action, Moment::Before);
    if action.hangs(Moment::Before) {
        hang(action);
    }
    std::thread::sleep(std::time::Duration::from_millis(action.delay_ms));
    if let Some(noise) = &action.stderr {
        eprintln!("{noise}");
    }
    for line in &action.prefix_lines {
        println!("{line}");
    }
    let lies = action.fail.is_some() || action.print.is_some();
    kill_caller_at(action, Moment::During);
    let mut exit = if lies && !action.effect { 0 } else { work() };
    if action.hangs(Moment::After) {
        hang(action);
    }
    if let Some(text) = &action.print {
        print!("{text}");
    }
    if let Some(fail) = &action.fail {
        eprintln!("{}", fail.message);
        exit = fail.exit.unwrap_or(fail.code) as u8;
    }
    kill_caller_at(action, Moment::After);
    action.exit.map_or(exit, |exit| exit as u8)
}

/// From inside the VM: the process that called `anka run`.
fn kill_caller_at(action: &Action, moment: Moment) {
    let caller = env::var(CALLER).ok().and_then(|text| Pid::from_raw(text.parse().ok()?));
    if let (true, Some(caller)) = (action.kill_caller == Some(moment), caller)
        && !caller.is_init()
    {
        let _ = kill_process(caller, Signal::KILL);
    }
}

fn masked(argv: &[String]) -> Vec<String> {
    let secret = |index: usize| index > 0 && matches!(argv[index - 1].as_str(), "--token" | "--jitconfig");
    let one = |(index, word): (usize, &String)| if secret(index) { "***".into() } else { word.clone() };
    argv.iter().enumerate().map(one).collect()
}
