//! The commands on a terminal: questions, colours, and width.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::Builder;

use fake_github::JobSpec;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::{LIMIT, REPO, World};
use crate::tools::command;

/// Where a command's standard streams lead.
#[derive(Clone, Copy, PartialEq)]
enum Streams {
    AllTerminal,
    /// As with `| less`.
    OutputElsewhere,
}

/// The command on a terminal into which this was typed before; its exit code and what it wrote.
fn on_terminal(world: &World, arguments: &[&str], typed: &str, variables: &[(&str, &str)]) -> (i32, String) {
    run(world, arguments, typed, variables, Streams::AllTerminal)
}

fn run(
    world: &World,
    arguments: &[&str],
    typed: &str,
    variables: &[(&str, &str)],
    streams: Streams,
) -> (i32, String) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = || {
        let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
        Stdio::from(File::options().read(true).write(true).open(path).unwrap())
    };
    let mut ours = File::from(ours);
    let mut command = command(world, arguments);
    command.env("TERM", "xterm").envs(variables.iter().copied());
    command.stdin(theirs()).stderr(theirs());
    if streams == Streams::AllTerminal {
        command.stdout(theirs());
    } else {
        command.stdout(Stdio::piped());
    }
    let mut child = command.spawn().unwrap();
    // Ours of their ends, after whose close the terminal has no other.
    drop(command);
    ours.write_all(typed.as_bytes()).unwrap();
    let reader = Builder::new().name("terminal".to_owned()).spawn(move || read_to_end(&mut ours)).unwrap();
    let piped = child.stdout.take().map(|mut stdout| {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        text
    });
    let code = ended(&mut child);
    let shown = reader.join().unwrap();
    (code, piped.unwrap_or(shown))
}

fn ended(child: &mut Child) -> i32 {
    child.wait().unwrap().code().unwrap()
}

/// The end of a terminal is an error on Linux.
fn read_to_end(terminal: &mut File) -> String {
    let mut bytes = Vec::new();
    let _ = terminal.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap().replace("\r\n", "\n")
}

/// A world with a config, of which nothing runs.
fn idle_world() -> World {
    let world = World::new();
    std::fs::write(world.home.config(), world.config(1)).unwrap();
    world
}

#[test]
fn a_command_asks_and_does_nothing_without_a_yes() {
    let world = idle_world();
    let is_drained = || world.home.path().join(".config/anklet/.drain").exists();
    // The last is the end of input, before and after a beginning.
    for typed in ["n\n", "\n", "yellow\n", "\x04", "y e s\n"] {
        let (code, shown) = on_terminal(&world, &["drain"], typed, &[]);
        assert!(code == 1 && !is_drained(), "{typed:?}: {shown}");
        let question = shown.find("take no new jobs").zip(shown.find("Go on? [y/N]"));
        assert!(question.is_some_and(|(what, asked)| what < asked), "{shown}");
        assert!(shown.contains("Nothing was done."), "{shown}");
    }
    let (code, shown) = on_terminal(&world, &["drain"], "y\n", &[]);
    assert!(code == 0 && is_drained() && shown.contains("It is drained."), "{shown}");
    for (typed, code_wanted) in [("no\n", 1), ("YES\n", 0)] {
        let (code, shown) = on_terminal(&world, &["resume"], typed, &[]);
        assert_eq!((code, is_drained()), (code_wanted, code_wanted == 1), "{shown}");
    }
}

#[test]
fn with_yes_nothing_is_asked() {
    let world = idle_world();
    let (code, shown) = on_terminal(&world, &["drain", "--yes"], "", &[]);
    assert!(code == 0 && !shown.contains("Go on?"), "{shown}");
    let (code, shown) = run(&world, &["resume", "--yes"], "", &[], Streams::OutputElsewhere);
    assert!(code == 0 && shown.contains("takes jobs again"), "{shown}");
}

#[test]
fn colours_come_on_a_terminal_only_and_never_with_no_color() {
    let world = World::new();
    let anklet = world.start(&world.config(1));
    let colours = |variables: &[(&str, &str)], streams| {
        let (code, shown) = run(&world, &["status"], "", variables, streams);
        assert!(code == 0 && shown.contains("Queue acme"), "{shown}");
        shown.contains('\x1b')
    };
    assert!(colours(&[], Streams::AllTerminal));
    assert!(colours(&[("NO_COLOR", "")], Streams::AllTerminal), "an empty one says nothing");
    assert!(!colours(&[("NO_COLOR", "1")], Streams::AllTerminal));
    assert!(!colours(&[("TERM", "dumb")], Streams::AllTerminal));
    assert!(!colours(&[], Streams::OutputElsewhere));
    anklet.stop();
}

/// Names as long as they may be, and text that would steer a terminal.
#[test]
fn whatever_is_shown_fits_80_columns() {
    let world = World::new();
    let long = "x".repeat(200);
    let config = world.config(1).replace("HANDLER1", &format!("HANDLER{}", &long[..60]));
    let anklet = world.start(&config.replace("job_hold_first: 0.1", "job_hold_first: 100"));
    let running = world.github.create_job(world.job().steps_ms(600_000));
    world.github.wait_in_progress(running, LIMIT);
    let labels =
        [format!("anka-template:{long}"), format!("anka-template-tag:{long}"), "\x1b[31mred".to_owned()];
    let waits = world.github.create_job(JobSpec::new(REPO, &labels.each_ref().map(String::as_str)));
    anklet.wait_messages("job pushed to queued queue", 2);
    let id = waits.to_string();
    for arguments in [&["status"][..], &["queue", "list"], &["queue", "show", &id], &["why", &id]] {
        let (_, shown) = on_terminal(&world, arguments, "", &[]);
        let plain = shown.replace("\x1b[1m", "").replace("\x1b[0m", "");
        assert!(plain.lines().all(|line| line.chars().count() <= 80), "{arguments:?}: {plain}");
        assert!(!plain.contains('\x1b'), "{plain:?}");
        assert!(plain.contains("xxxxxx"), "{plain}");
    }
    let (_, shown) = on_terminal(&world, &["queue", "list"], "", &[]);
    assert!(shown.contains(&running.to_string()) && shown.contains(&id), "ids are whole: {shown}");
    for job in [waits, running] {
        world.github.cancel_run_of(job);
        world.github.wait_completed(job, LIMIT);
    }
    world.assert_clean(&anklet);
    anklet.stop();
}
