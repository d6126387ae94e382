//! The GitHub handler: takes a job from the queue, makes a VM with a runner for it, watches the job to its end, and cleans up.
//!
//! A job's way through the files: `turn` claims it, `question` asks whether it can run at all, `image` and `admit` see that there is an image
//! and room for it, `prepare` makes the VM, `watch` sees it
//! through, `cleanup` undoes what was made, `recover` takes up what an earlier start left, and the `janitor` sees to the rest.

mod admit;
mod archives;
mod cancel;
mod cleanup;
mod denial;
mod desk;
mod diagnostics;
mod facts;
mod fence;
mod hub;
mod image;
mod janitor;
mod jit;
mod mood;
mod outcome;
mod overdue;
mod prepare;
mod question;
mod recover;
mod scripts;
mod shell;
mod sign;
mod sources;
mod stopwatch;
mod sweep;
mod taken;
mod trial;
mod turn;
mod unknown;
mod verdicts;
mod watch;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;

use anklet_plugin_api::host::Host;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::plugin::{Plugin, PluginError, Services};
use anklet_plugin_api::report::{Report, Status};
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::{RegistrationMode, Section};
use log::{info, warn};

use anklet_github::shown::ShownStatus;

pub use crate::desk::Desk;
pub use crate::janitor::{IsLeased, Janitor};

use crate::hub::Hub;
use crate::scripts::Scripts;
use crate::sign::{Sign, SignedReport};
use crate::worker::Worker;

/// The kind that `plugin:` names in the config.
pub const KIND: &str = "github";

/// A handler that has not been started.
pub struct GithubHandler {
    section: Section,
    desk: Desk,
}

impl GithubHandler {
    /// A handler of this section; all handlers of a process share the desk.
    pub fn new(section: Section, desk: Desk) -> Self {
        Self { section, desk }
    }
}

impl Plugin for GithubHandler {
    fn run(self: Box<Self>, mut services: Services) -> Result<(), PluginError> {
        let mut worker = worker(self.section, self.desk, &services, true)?.listening();
        worker.try_credentials()?;
        info!("starting github plugin");
        say_what_has_no_effect(&worker.section);
        worker.status(Status::Idle);
        let Ok(held) = worker.read_held() else { return Ok(()) };
        services.ready.tell();
        worker.recover(held);
        worker.turns();
        worker.status(Status::Stopped);
        Ok(())
    }
}

/// Keys that are understood but not acted on must not be missed in silence.
fn say_what_has_no_effect(section: &Section) {
    let is_repository = matches!(section.scope, Scope::Repository { .. });
    if section.registration_mode == RegistrationMode::Jit && is_repository && section.runner_group.is_some() {
        warn!(
            "`runner_group` has no effect with `registration_mode: jit` in a repository, which has one group only"
        );
    }
    if section.explain_cancellations && section.github.app.is_none() {
        warn!(
            "`explain_cancellations` needs a GitHub App (`private_key` and `app_id`): GitHub takes no checks from a token"
        );
    }
}

/// The janitor for these handlers' sections and services; without any it only says what is left on the host. `is_leased` tells whether a plugin of another name lives in another process.
pub fn janitor(
    handlers: Vec<(Section, Services)>,
    (host, limits): (Arc<dyn Host>, Limits),
    desk: Desk,
    is_leased: IsLeased,
) -> Result<Janitor, PluginError> {
    let sites = handlers
        .into_iter()
        .map(|(section, services)| Ok(worker(section, desk.clone(), &services, false)?.impatient()));
    let sites = sites.collect::<Result<Vec<_>, PluginError>>()?;
    let sweeps = sweep::sweeps(&sites);
    Ok(Janitor {
        host,
        limits,
        sites,
        sweeps,
        desk,
        is_leased,
        complaints: BTreeMap::new(),
        forsaken: BTreeMap::new(),
    })
}

fn worker(
    section: Section,
    desk: Desk,
    services: &Services,
    is_handler: bool,
) -> Result<Worker, PluginError> {
    let name = section.name.clone();
    if is_handler {
        desk.sources.add(&section.queue, (!section.skip_pull).then(|| section.registry_url.clone()));
    }
    let setup = |what: String| PluginError::Setup(format!("plugin {name}: {what}"));
    let sign = is_handler.then(|| Arc::new(Sign::new(&section, services)));
    let report: Arc<dyn Report> = match &sign {
        Some(sign) => Arc::new(SignedReport { report: Arc::clone(&services.report), sign: Arc::clone(sign) }),
        None => Arc::clone(&services.report),
    };
    let shown = Arc::new(ShownStatus::new(&section.name, &report, &services.heartbeats));
    // While only the janitor waits for GitHub's limit, the handler of that section does not.
    let observer = is_handler.then(|| Arc::clone(&shown) as _);
    let hub = Hub::new(&section, observer, &desk.archives).map_err(|error| setup(error.to_string()))?;
    let scripts = Scripts::find(&section.plugins_path, &section.work_dir, section.registration_mode)
        .map_err(|error| setup(format!("guest scripts: {error}")))?;
    Ok(Worker::new(section, (hub, shown, sign), scripts, desk, services))
}
