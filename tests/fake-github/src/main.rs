//! `fake-github [PORT [SETUP]]`: the stand-in as a process, for the demo. SETUP is JSON, or `-` to read it from
//! standard input. Prints its URL and runs until it is killed.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its caller")]

use std::io::Read;
use std::process::ExitCode;

use fake_github::{FakeGitHub, set_up};

fn main() -> ExitCode {
    match start(std::env::args().skip(1).collect()) {
        Ok(github) => {
            println!("{}", github.url());
            loop {
                std::thread::park();
            }
        }
        Err(message) => {
            eprintln!("fake-github: {message}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Vec<String>) -> Result<FakeGitHub, String> {
    let port = arguments.first().map_or("0", String::as_str);
    let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
    let mut setup = arguments.get(1).cloned().unwrap_or_else(|| "{}".to_owned());
    if setup == "-" {
        setup.clear();
        std::io::stdin()
            .read_to_string(&mut setup)
            .map_err(|error| format!("cannot read standard input: {error}"))?;
    }
    let setup = serde_json::from_str(&setup).map_err(|error| format!("the set-up is no JSON: {error}"))?;
    let github =
        FakeGitHub::start_on(port).map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    set_up(&github, &setup)?;
    Ok(github)
}
