//! The config: found, read, merged with the environment and checked, with every problem reported at once.
//!
//! The steps stand apart: `file` gets the text, `yaml` makes a tree of it, `raw` takes from tree and environment what fits the
//! table in `keys`, and `build` makes of that the values the program works with, which cannot be wrong any more.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::section::{Secret, Section};

use self::env::Environment;
use self::finding::{At, Finding, Findings, Origin};
use self::keys::Root;
use self::raw::Raw;
use self::yaml::{Entry, Node, Value};
use crate::anka::timeouts::AnkaTimeouts;

mod build;
pub(crate) mod env;
mod file;
pub(crate) mod finding;
pub(crate) mod keys;
pub(crate) mod kind;
mod nearest;
mod paths;
mod raw;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod yaml;

/// A config without a fault.
#[derive(Debug)]
pub(crate) struct Config {
    /// The file it came from.
    pub(crate) file: PathBuf,
    /// `log`.
    pub(crate) log: LogSettings,
    /// `metrics`.
    pub(crate) metrics: MetricsSettings,
    /// `host`.
    pub(crate) host: HostSettings,
    /// `claim_seconds`.
    pub(crate) claim_life: Duration,
    /// `limits`.
    pub(crate) limits: Limits,
    /// `anka_timeouts`.
    pub(crate) anka_timeouts: AnkaTimeouts,
    /// `plugins`, in the order of the file. Empty for an aggregator.
    pub(crate) plugins: Vec<PluginConfig>,
    /// Everything that must not appear in a log.
    pub(crate) secrets: Vec<Secret>,
    /// What the operator should look at, though it works.
    pub(crate) warnings: Vec<Finding>,
}

/// `log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogSettings {
    /// `log.file_dir`, else `work_dir`; it exists.
    pub(crate) file_dir: Option<PathBuf>,
    /// `log.split_by_plugin`.
    pub(crate) split_by_plugin: bool,
}

/// `metrics`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MetricsSettings {
    /// `metrics.aggregator`. If it is set, so is the database.
    pub(crate) aggregator: bool,
    /// `metrics.port`; none means 8080 or the next free one.
    pub(crate) port: Option<u16>,
    /// `metrics.bind`; none means all interfaces.
    pub(crate) bind: Option<IpAddr>,
    /// `metrics.sleep_interval`.
    pub(crate) sleep_interval: Duration,
    /// `ca_file` of the top level, for the aggregator, which has no plugins.
    pub(crate) ca_file: Option<PathBuf>,
    /// `metrics.database`, its gaps filled from `global_database_*`.
    pub(crate) database: Option<RedisSettings>,
}

/// `host`; none means measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostSettings {
    /// `host.cpu_count`.
    pub(crate) cpu_count: Option<u32>,
    /// `host.memory_bytes`.
    pub(crate) memory_bytes: Option<u64>,
}

/// One item of `plugins`.
#[derive(Clone, Debug)]
pub(crate) struct PluginConfig {
    /// What the plugin itself gets.
    pub(crate) section: Section,
    /// Where its queue lives.
    pub(crate) database: DatabaseChoice,
}

/// Where a queue lives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DatabaseChoice {
    /// In a file of this host.
    Embedded(PathBuf),
    /// In Redis.
    Redis(RedisSettings),
}

/// How Redis is reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RedisSettings {
    /// `url`: a host name or an address; an IPv6 address without brackets.
    pub(crate) host: String,
    /// `port`.
    pub(crate) port: u16,
    /// `user`.
    pub(crate) user: Option<String>,
    /// `password`.
    pub(crate) password: Option<Secret>,
    /// `database`.
    pub(crate) database: u32,
    /// `max_retries`.
    pub(crate) max_retries: u32,
    /// `retry_delay`.
    pub(crate) retry_delay: Duration,
    /// `retry_backoff_factor`.
    pub(crate) retry_backoff_factor: f64,
    /// `cluster_mode`.
    pub(crate) cluster_mode: bool,
    /// `tls_enabled`.
    pub(crate) tls_enabled: bool,
    /// `tls_insecure`.
    pub(crate) tls_insecure: bool,
}

/// A config that cannot be used, with all that is wrong with it.
#[derive(Debug)]
pub(crate) struct ConfigError {
    /// At least one.
    pub(crate) problems: Vec<Finding>,
    /// What else there is to say.
    pub(crate) warnings: Vec<Finding>,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.problems.iter().map(Finding::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// The file that is read if no flag names one; none without a home.
pub(crate) fn usual_file(environment: &Environment) -> Option<PathBuf> {
    file::find(None, environment).ok()
}

/// The config in the file that `-c` names, or in the usual place.
pub(crate) fn load(given: Option<&Path>, environment: &Environment) -> Result<Config, ConfigError> {
    let (file, text) = match file::find(given, environment) {
        Ok(file) => {
            let text = file::read(&file);
            (file, text)
        }
        Err(error) => (PathBuf::from("config.yml"), Err(error)),
    };
    let mut findings = Findings::new(&file);
    match text {
        Ok(text) => from_text(&file, &text, environment, findings),
        Err(error) => {
            findings.problem_named(
                error.message,
                At { origin: error.line.into(), ..At::default() },
                error.what,
            );
            Err(ConfigError { problems: findings.problems, warnings: findings.warnings })
        }
    }
}

fn from_text(
    file: &Path,
    text: &str,
    environment: &Environment,
    mut findings: Findings,
) -> Result<Config, ConfigError> {
    let config = tree(text, &mut findings).and_then(|tree| {
        let entries = top_entries(&tree, &mut findings)?;
        let mut top = Raw::new(Root::Top, None, None);
        top.read(entries, &mut findings);
        top.read_environment(environment, "ANKLET", &mut findings);
        let plugins = entries.iter().find(|entry| entry.key == "plugins");
        build::config(file, &top, plugins, environment, &mut findings)
    });
    match config {
        Some(config) if findings.problems.is_empty() => Ok(Config { warnings: findings.warnings, ..config }),
        Some(_) | None => Err(ConfigError { problems: findings.problems, warnings: findings.warnings }),
    }
}

fn tree(text: &str, findings: &mut Findings) -> Option<Node> {
    let mut notes = Vec::new();
    let tree = yaml::parse(text, &mut notes);
    for note in notes {
        findings.warn(At { origin: note.line.into(), plugin: None, key: &note.key }, note.what);
    }
    match tree {
        Ok(Some(tree)) => Some(tree),
        Ok(None) => {
            findings.problem(At::default(), "the file is empty: write at least `plugins:`");
            None
        }
        Err(note) => {
            findings.problem(At { origin: note.line.into(), plugin: None, key: &note.key }, note.what);
            None
        }
    }
}

fn top_entries<'a>(tree: &'a Node, findings: &mut Findings) -> Option<&'a [Entry]> {
    match &tree.value {
        Value::Map(entries) => Some(entries),
        // A lone `---`: nothing is configured, as nothing is in `plugins:`.
        Value::Null => Some(&[]),
        Value::Text(_) | Value::List(_) => {
            let at = At { origin: Origin::from(tree.line), ..At::default() };
            findings.problem(at, "the file must hold keys, such as `plugins:`");
            None
        }
    }
}
