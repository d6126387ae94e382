//! The demo: three jobs through the real program, told as they happen. `tests/demo` builds and starts it.
//!
//! It stands alone because it is a show and not a test: it runs once, prints for people, listens to Ctrl-C, and whatever
//! happens it takes its processes and folders away. What it shows it also checks; the exit code tells.

mod events;
mod page;
mod scene;
#[path = "../it/support.rs"]
#[allow(dead_code, reason = "the tests use all of it")]
mod support;
mod theatre;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::thread::Builder;

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::page::Page;
use crate::scene::Scene;
use crate::theatre::Theatre;

/// Why the show ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    #[error("stopped by a signal")]
    Signal(i32),
    #[error("the page cannot be written: {0}")]
    Page(#[from] io::Error),
    #[error("{0}")]
    Failed(String),
}

fn main() -> ExitCode {
    let signals = match listen() {
        Ok(signals) => signals,
        Err(error) => return told(&Cut::Page(error)),
    };
    let played = catch_unwind(AssertUnwindSafe(|| play(&signals)));
    theatre::sweep();
    match played {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(cut)) => told(&cut),
        // The panic has told its reason itself.
        Err(_) => ExitCode::FAILURE,
    }
}

fn play(signals: &Receiver<i32>) -> Result<(), Cut> {
    let mut page = Page::new();
    page.prologue()?;
    let theatre = Theatre::open(signals.clone());
    let played = Scene::new(&theatre, &mut page).play(signals);
    let played = played.and_then(|()| theatre.close()).and_then(|()| page.end());
    if let Err(Cut::Failed(_)) = &played {
        page.failure(&theatre)?;
    }
    played
}

/// Prints why it was cut, and says it to the shell.
#[allow(clippy::print_stderr, reason = "this is a program for the terminal")]
fn told(cut: &Cut) -> ExitCode {
    match cut {
        Cut::Signal(signal) => {
            eprintln!("\nStopped. Everything the demo had started or made is gone.");
            ExitCode::from(128 + u8::try_from(*signal).unwrap_or(0))
        }
        cut => {
            eprintln!("\nThe demo FAILED: {cut}");
            ExitCode::FAILURE
        }
    }
}

fn listen() -> io::Result<Receiver<i32>> {
    let (sender, receiver) = bounded(8);
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT])?;
    Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            // Eight unheard ones are enough.
            let _ = sender.try_send(signal);
        }
    })?;
    Ok(receiver)
}
