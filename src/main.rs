//! Anklet: runs GitHub Actions jobs in ephemeral macOS VMs on your own Macs.

mod adoption;
mod aggregator;
mod anka;
mod check;
mod cli;
mod config;
mod crew;
mod daemon;
mod host;
mod init;
mod logging;
mod metrics;
mod registry;
mod services;
mod signals;
mod similar;
mod startup;
mod store;
mod tools;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use log::{Level, error, info};

use crate::cli::{EXIT_FAILURE, EXIT_OK, EXIT_USAGE, Request};
use crate::config::env::Environment;
use crate::config::{Config, ConfigError};

fn main() -> ExitCode {
    let code = match cli::parse(std::env::args_os().skip(1)) {
        Ok(Request::Run { config }) => return run(config.as_deref()),
        Ok(Request::Check { config }) => {
            check::run(config.as_deref(), &Environment::of_this_process(), &mut io::stdout().lock())
        }
        Ok(Request::Init { wishes, config }) => {
            init::run(config.as_deref(), &wishes, &Environment::of_this_process(), &mut io::stdout().lock())
        }
        Ok(Request::Tool { tool, config }) => {
            tools::run(&tool, config.as_deref(), &Environment::of_this_process())
        }
        Ok(Request::Help) => written(cli::write_help(&mut io::stdout().lock())),
        Ok(Request::Version) => written(cli::write_version(&mut io::stdout().lock())),
        Err(error) => {
            // Nothing more can be done about a standard error that cannot be written.
            let _ = writeln!(io::stderr(), "anklet: {error}");
            EXIT_USAGE
        }
    };
    ExitCode::from(code)
}

fn run(file: Option<&Path>) -> ExitCode {
    let environment = Environment::of_this_process();
    logging::start(&environment);
    match config::load(file, &environment) {
        Ok(config) => {
            say_start(&config);
            if split_log(&config) { daemon::run(config, &environment) } else { ExitCode::from(EXIT_FAILURE) }
        }
        Err(ConfigError { problems, warnings }) => {
            warnings.iter().for_each(|warning| warning.log(Level::Warn));
            problems.iter().for_each(|problem| problem.log(Level::Error));
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

fn say_start(config: &Config) {
    config.secrets.iter().for_each(logging::hide);
    config.warnings.iter().for_each(|warning| warning.log(Level::Warn));
    if config.metrics.aggregator {
        info!(config:% = config.file.display(); "starting anklet-aggregator");
    } else {
        info!(config:% = config.file.display(), plugins = config.plugins.len(); "starting anklet");
    }
}

/// Gives each plugin a log file of its own, if that is asked for; false if one cannot be opened.
fn split_log(config: &Config) -> bool {
    let Some(folder) = config.log.file_dir.as_deref().filter(|_| config.log.split_by_plugin) else {
        return true;
    };
    match logging::split(folder, config.plugins.iter().map(|plugin| plugin.section.name.as_str())) {
        Ok(paths) => {
            paths.iter().for_each(|path| info!(file:% = path.display(); "writing plugin logs to a file"));
            true
        }
        Err((path, error)) => {
            error!(file:% = path.display(), error:% = error; "unable to update logger to file");
            false
        }
    }
}

fn written(result: io::Result<()>) -> u8 {
    match result {
        Ok(()) => EXIT_OK,
        // A reader that has seen enough (`anklet --help | head -1`) is well.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => EXIT_OK,
        Err(_) => EXIT_FAILURE,
    }
}
