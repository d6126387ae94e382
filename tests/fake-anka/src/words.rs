//! The command line and the environment as the caller gave them: which verb it is, and what the trace tells of both.

use std::env;

use crate::args::{Args, Spec};
use crate::trace::TraceLine;

/// Machine form, verb, remote, and what follows.
pub(crate) type Parts = (bool, String, Option<String>, Vec<String>);

/// Takes the command line apart; the error is a usage text.
pub(crate) fn split(argv: &[String]) -> Result<Parts, String> {
    let mut machine = matches!(env::var("ANKA_MACHINE_READABLE").as_deref(), Ok("1" | "true"));
    let mut rest = argv;
    while let Some(word @ ("-j" | "--machine-readable" | "--debug")) = rest.first().map(String::as_str) {
        machine |= word != "--debug";
        rest = &rest[1..];
    }
    let Some((verb, rest)) = rest.split_first() else { return Ok((machine, "help".into(), None, vec![])) };
    match verb.as_str() {
        "--help" | "-h" => Ok((machine, "help".into(), None, vec![])),
        "--version" => Ok((machine, "version".into(), None, vec![])),
        word if word.starts_with('-') => Err(format!("unrecognized option '{word}'")),
        "registry" => {
            let spec =
                Spec { flags: &[], values: &[&["-r", "--remote", "-a", "--registry-path"]], command: true };
            let args = Args::parse(&spec, rest)?;
            let verb = format!("registry {}", args.need(0, "COMMAND")?);
            Ok((machine, verb, args.value("-r").map(String::from), args.positional[1..].to_vec()))
        }
        "license" if rest.first().is_some_and(|word| word == "show") => {
            Ok((machine, "license show".into(), None, rest[1..].to_vec()))
        }
        _ => Ok((machine, verb.clone(), None, rest.to_vec())),
    }
}

/// Names, not values, of the environment; apart those that a careful caller would not have passed on.
pub(crate) fn start_line(argv: &[String], verb: &str) -> TraceLine {
    let allowed = |name: &String| {
        matches!(name.as_str(), "HOME" | "PATH" | "USER" | "LOGNAME" | "TMPDIR" | "LANG")
            || name.starts_with("LC_")
            || name.starts_with("ANKA_")
            || name == "__CF_USER_TEXT_ENCODING"
    };
    let mut names: Vec<String> = env::vars_os().map(|(name, _)| name.to_string_lossy().into()).collect();
    names.sort();
    let outside: Vec<String> = names.iter().filter(|name| !allowed(name)).cloned().collect();
    let stdin = std::fs::read_link("/proc/self/fd/0").map(|path| path.to_string_lossy().into_owned());
    let line = TraceLine::new("start", verb)
        .with("env", names)
        .with("env_outside", outside)
        .with("stdin", stdin.unwrap_or_default());
    TraceLine { argv: argv.to_vec(), ..line }
}
