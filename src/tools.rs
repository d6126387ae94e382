//! The commands that look at the queue and change it by hand: `status`, `why`, `queue`, `drain`, `resume`.
//!
//! They read the store themselves, so they work on any host that has the config, and while the daemon is down.

mod facts;
mod hands;
mod listing;
mod paper;
mod queues;
mod status;
mod story;
mod why;

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use thiserror::Error;

use crate::cli::{EXIT_FAILURE, EXIT_OK, EXIT_USAGE, QueueAction, Tool};
use crate::config::env::Environment;
use crate::config::{self, Config};
use crate::tools::hands::Hand;
use crate::tools::paper::Paper;
use crate::tools::queues::Queues;

/// Why a command could not do its work. The text is all that the user sees.
#[derive(Debug, Error)]
enum ToolError {
    /// It says what is wrong.
    #[error("{0}")]
    Failed(String),
    /// Nobody was there to be asked.
    #[error("nobody can be asked here, so nothing was done; write --yes if you mean it")]
    NotAsked,
    /// The standard output is closed: the reader has seen enough.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

impl ToolError {
    fn store(error: &anklet_plugin_api::store::StoreError, queue: &str) -> Self {
        Self::Failed(format!("the store of queue {queue} does not answer: {error}"))
    }
}

/// How a command ended, when nothing went wrong.
enum Done {
    /// Well.
    Well,
    /// What was asked for is not there, or was not wanted after all; it has been said.
    Not,
}

/// Carries out a command; the exit code.
pub(crate) fn run(tool: &Tool, config: Option<&Path>, environment: &Environment) -> u8 {
    let stdout = io::stdout();
    let mut paper = Paper::new(Box::new(stdout.lock()), has_colours(stdout.is_terminal(), environment));
    match carry_out(tool, config, environment, &mut paper) {
        Ok(Done::Well) => EXIT_OK,
        Ok(Done::Not) => EXIT_FAILURE,
        Err(ToolError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => EXIT_OK,
        Err(error) => {
            drop(paper);
            let _ = writeln!(io::stderr(), "anklet: {error}");
            if matches!(error, ToolError::NotAsked) { EXIT_USAGE } else { EXIT_FAILURE }
        }
    }
}

/// See <https://no-color.org>.
fn has_colours(is_terminal: bool, environment: &Environment) -> bool {
    let is_dumb = environment.get("TERM").is_none_or(|term| term == "dumb");
    is_terminal && !is_dumb && environment.get("NO_COLOR").is_none()
}

fn carry_out(
    tool: &Tool,
    config: Option<&Path>,
    environment: &Environment,
    paper: &mut Paper<'_>,
) -> Result<Done, ToolError> {
    let open = || Queues::open(&load(config, environment)?, environment);
    match tool {
        Tool::Status { json } => status::run(&open()?, *json, paper),
        Tool::Why { job, json } => why::run(&open()?, *job, *json, paper),
        Tool::Queue { action, json, yes } => in_queue(&open()?, *action, (*json, *yes), paper),
        Tool::Drain { yes } => hands::drain(environment, *yes, paper),
        Tool::Resume { yes } => hands::resume(environment, *yes, paper),
    }
}

fn in_queue(
    queues: &Queues,
    action: QueueAction,
    (json, yes): (bool, bool),
    paper: &mut Paper<'_>,
) -> Result<Done, ToolError> {
    match action {
        QueueAction::List => listing::list(queues, json, paper),
        QueueAction::Show(job) => listing::show(queues, job, json, paper),
        QueueAction::Retry(job) => Hand { queues, job, yes, paper }.retry(),
        QueueAction::Remove(job) => Hand { queues, job, yes, paper }.remove(),
        QueueAction::Cancel(job) => Hand { queues, job, yes, paper }.cancel(),
    }
}

fn load(file: Option<&Path>, environment: &Environment) -> Result<Config, ToolError> {
    config::load(file, environment).map_err(|error| {
        let problems: Vec<_> = error.problems.iter().map(ToString::to_string).collect();
        ToolError::Failed(format!("unable to load the config: {}", problems.join("\nanklet: ")))
    })
}

/// Says what is about to happen and asks whether it shall; yes without a question with `--yes`.
fn may(paper: &mut Paper<'_>, what: &str, yes: bool) -> Result<bool, ToolError> {
    paper.wrapped("", what)?;
    if yes {
        return Ok(true);
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(ToolError::NotAsked);
    }
    paper.text("Go on? [y/N] ")?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    let is_yes = matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes");
    if !is_yes {
        paper.line("Nothing was done.")?;
    }
    Ok(is_yes)
}
