//! `anklet check`: looks at everything a start would need, says what is wrong with it, and changes nothing.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use anklet_github::client::Client;
use anklet_github::error::ClientError;
use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::section::Section;
use anklet_plugin_api::store::Store;

use crate::anka::{Anka, AnkaSettings};
use crate::cli::{EXIT_FAILURE, EXIT_OK};
use crate::config::env::Environment;
use crate::config::{self, Config, DatabaseChoice, PluginConfig, RedisSettings};
use crate::registry::{self, Role};
use crate::store;
use crate::store::embedded::{EmbeddedStore, OpenError, Options};
use crate::store::redis::RedisServer;

/// Checks the config and what it names; the exit code.
pub(crate) fn run(file: Option<&Path>, environment: &Environment, out: &mut dyn Write) -> u8 {
    let config = match config::load(file, environment) {
        Ok(config) => config,
        Err(error) => {
            for warning in &error.warnings {
                let _ = writeln!(out, "warning: {warning}");
            }
            for problem in &error.problems {
                let _ = writeln!(out, "error: {problem}");
            }
            return EXIT_FAILURE;
        }
    };
    let mut report = Report { out, n_errors: 0 };
    for warning in &config.warnings {
        report.say("warning", &warning.to_string());
    }
    let n_plugins = match config.plugins.len() {
        1 => "1 plugin".to_owned(),
        n => format!("{n} plugins"),
    };
    report.say("ok", &format!("config {}: {n_plugins}", config.file.display()));
    if config.plugins.is_empty() && !config.metrics.aggregator {
        report.say(
            "warning",
            "a start would end at once, since there is nothing to do; `anklet init` writes a config with plugins",
        );
    }
    check_anka(&config, environment, &mut report);
    check_stores(&config, &mut report);
    check_credentials(&config, Trial::Look, &mut report);
    check_hooks(&config, &mut report);
    if report.n_errors == 0 { EXIT_OK } else { EXIT_FAILURE }
}

/// The part of `run` that tries the credentials of this config at GitHub; the exit code.
pub(crate) fn credentials_of(file: &Path, environment: &Environment, out: &mut dyn Write) -> u8 {
    let mut report = Report { out, n_errors: 0 };
    match config::load(Some(file), environment) {
        Ok(config) => check_credentials(&config, Trial::Register, &mut report),
        Err(error) => report.error(&error.to_string()),
    }
    if report.n_errors == 0 { EXIT_OK } else { EXIT_FAILURE }
}

struct Report<'a> {
    out: &'a mut dyn Write,
    n_errors: usize,
}

impl Report<'_> {
    fn say(&mut self, kind: &str, what: &str) {
        // A reader that has seen enough does not change what is checked.
        let _ = writeln!(self.out, "{kind}: {what}");
    }

    fn error(&mut self, what: &str) {
        self.n_errors += 1;
        self.say("error", what);
    }

    /// What came of trying what GitHub `may` let a plugin do.
    fn trial(&mut self, section: &Section, tried: Result<(), ClientError>, may: &str) {
        let name = &section.name;
        match tried {
            Ok(()) => self.say("ok", &format!("GitHub lets plugin {name} {may}")),
            // Whoever looks for the cause needs to know whom.
            Err(error @ ClientError::NoAnswer { .. }) => {
                self.error(&format!("plugin {name}: {error} ({})", section.github.api_url));
            }
            Err(error) => self.error(&format!("plugin {name}: {error}")),
        }
    }
}

fn is_handler(section: &Section) -> bool {
    registry::role(&section.kind) == Some(Role::Handler)
}

fn check_anka(config: &Config, environment: &Environment, report: &mut Report<'_>) {
    if !config.plugins.iter().any(|plugin| is_handler(&plugin.section)) {
        return;
    }
    let Some(folder) = environment.config_folder() else {
        report
            .error("the variable HOME is not set; set it to the home folder of the user whose VMs are used");
        return;
    };
    let variables =
        environment.for_children().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let anka = Anka::new(AnkaSettings {
        environment: variables.collect(),
        timeouts: config.anka_timeouts.clone(),
        limits: config.limits.clone(),
        folder,
        secrets: config.secrets.clone(),
    });
    match anka.check(&Ear::deaf()) {
        Ok(facts) => {
            report.say("ok", &format!("anka {} with the license {}", facts.version, facts.license));
            say_whose_vms(environment, report);
            if config.plugins.iter().any(|plugin| !plugin.section.mounts.is_empty())
                && let Err(error) = anka.check_mounts(&facts, &Ear::deaf())
            {
                report.error(&error.to_string());
            }
        }
        Err(error) => report.error(&error.to_string()),
    }
}

/// Anka keeps a library of VMs for each user; a service must run as the one whose VMs are meant.
fn say_whose_vms(environment: &Environment, report: &mut Report<'_>) {
    let user =
        ["USER", "LOGNAME"].iter().find_map(|name| environment.get(name)?.to_str()).unwrap_or("this user");
    let home = environment.home().map_or(String::new(), |home| format!(" (home {})", home.display()));
    report.say("ok", &format!("the VMs are those of {user}{home}; a service must run as the same user"));
}

fn check_stores(config: &Config, report: &mut Report<'_>) {
    let mut files = BTreeSet::new();
    let mut servers = Vec::new();
    for plugin in &config.plugins {
        match &plugin.database {
            DatabaseChoice::Embedded(path) if files.insert(path.clone()) => check_file(path, report),
            DatabaseChoice::Embedded(_) => {}
            DatabaseChoice::Redis(settings) if servers.contains(&settings) => {}
            DatabaseChoice::Redis(settings) => {
                servers.push(settings);
                check_redis(settings, plugin, config, report);
            }
        }
    }
}

fn check_redis(settings: &RedisSettings, plugin: &PluginConfig, config: &Config, report: &mut Report<'_>) {
    let options = store::redis_options(settings, plugin, config, "check");
    match options.and_then(|options| RedisServer::check(&options).map_err(|error| error.to_string())) {
        Ok(()) => report.say("ok", &format!("Redis at {}:{}", settings.host, settings.port)),
        Err(error) => report.error(&error),
    }
}

fn check_file(path: &Path, report: &mut Report<'_>) {
    match EmbeddedStore::open_beside(path, &Options::default()) {
        Ok(store) => match store.counts() {
            Ok(counts) => {
                report.say("ok", &format!("queue file {}: {} VM records", path.display(), counts.vms))
            }
            Err(error) => report.error(&format!("queue file {}: {error}", path.display())),
        },
        Err(OpenError::Missing { .. }) => {
            report.say("ok", &format!("queue file {}: made at the first start", path.display()));
        }
        Err(error) => report.error(&error.to_string()),
    }
}

/// How far a credential is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trial {
    /// One call that changes nothing: may it see the runners of its scope?
    Look,
    /// May it register runners too? GitHub makes a token for that, which nobody uses and which ends within the hour.
    Register,
}

fn check_credentials(config: &Config, trial: Trial, report: &mut Report<'_>) {
    let mut seen: Vec<&Section> = Vec::new();
    for section in config.plugins.iter().map(|plugin| &plugin.section).filter(|section| is_handler(section)) {
        if seen.iter().any(|other| other.github == section.github && other.scope == section.scope) {
            continue;
        }
        seen.push(section);
        let (tried, may) = match trial {
            Trial::Look => (see_runners(section), "see the runners"),
            Trial::Register => {
                (see_runners(section).and_then(|()| register_runners(section)), "register runners")
            }
        };
        report.trial(section, tried, &format!("{may} of {}", section.scope));
    }
}

/// Receivers ask GitHub for what they missed.
fn check_hooks(config: &Config, report: &mut Report<'_>) {
    for section in config.plugins.iter().map(|plugin| &plugin.section) {
        let Some(tried) = registry::try_log(section) else { continue };
        let hook = section.hook_id.map_or("the App's webhook".to_owned(), |id| format!("webhook {id}"));
        if matches!(tried, Err(ClientError::NotFound { .. } | ClientError::Forbidden { .. })) {
            let what = "see that `hook_id` is right and the credential may read that webhook, or set `skip_redeliver: true`";
            report.say("warning", &format!("plugin {}: {what}", section.name));
        }
        report.trial(section, tried, &format!("see what {hook} did not deliver"));
    }
}

fn see_runners(section: &Section) -> Result<(), ClientError> {
    let client = Client::new(&section.github, &section.limits)?;
    client.runner(&section.scope, "anklet-check", &Ear::deaf()).map(drop)
}

fn register_runners(section: &Section) -> Result<(), ClientError> {
    let client = Client::new(&section.github, &section.limits)?;
    client.registration_token(&section.scope, &Ear::deaf()).map(drop)
}
