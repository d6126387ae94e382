//! A stand-in for the `anka` command line, stateful on disk, with guests that really run and faults on demand.
//!
//! Tests hold a [`FakeAnka`] to arrange a host, to make it misbehave, and to look at what happened; the program of
//! this crate plays `anka` and everything inside its VMs on the same folder. It stands alone because every part of
//! this project is tested against it, and none of it is shipped. See `README.md` beside it.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "it plays command line tools: it prints, reads its environment and takes its time as they do"
)]

mod admin;
mod agent;
mod archive;
mod args;
mod cli;
mod clock;
mod curl;
mod fake;
mod guests;
mod http;
mod launchd;
mod listen;
mod plan;
mod reply;
mod run;
mod runner;
mod service;
mod state;
mod template;
mod tools;
mod trace;
mod verbs;
mod vm;
mod words;
mod world;

use std::env;
use std::path::Path;
use std::process::ExitCode;

pub use fake::FakeAnka;
pub use state::{License, Registry, RegistryTemplate, State, Tag};
pub use template::Template;
pub use trace::TraceLine;
pub use vm::{Mount, Role, Size, Status, Vm};

/// The whole program: which part it plays is told by the name it was called by, then by its first argument.
pub fn main() -> ExitCode {
    let mut argv = env::args_os().map(|word| word.to_string_lossy().into_owned());
    let called = argv.next().unwrap_or_default();
    let name = Path::new(&called).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let argv: Vec<String> = argv.collect();
    if name == "anka" {
        return ExitCode::from(cli::main(argv));
    }
    if tools::is_tool(&name) {
        return ExitCode::from(tools::main(&name, &argv));
    }
    let (part, rest) = argv.split_first().map_or(("", &[][..]), |(part, rest)| (part.as_str(), rest));
    ExitCode::from(match part {
        "__agent" => agent::main(rest),
        "__session" => agent::session(rest),
        "__config" => with_runner(rest, |dir, version, rest| {
            tools::with_plan("config.sh", rest, |rest| runner::config(dir, version, rest))
        }),
        "__listen" => with_runner(rest, |dir, version, rest| {
            tools::with_plan("run.sh", rest, |rest| listen::run(dir, version, rest))
        }),
        "__service" => with_runner(rest, |dir, _, rest| {
            tools::with_plan("svc.sh", rest, |rest| service::main(dir, rest))
        }),
        _ => admin::main(part, rest),
    })
}

/// A runner's script gives its folder and version before the caller's arguments.
fn with_runner(argv: &[String], part: impl FnOnce(&Path, &str, &[String]) -> u8) -> u8 {
    match argv {
        [dir, version, rest @ ..] => part(Path::new(dir), version, rest),
        _ => 64,
    }
}
