//! The GitHub receiver: turns GitHub's webhooks into queued jobs.
//!
//! A webhook is stored first and answered then, so that GitHub never believes delivered what is not on disk. Anything that cannot be
//! stored gets an answer outside 2xx, which GitHub records as a failed delivery.

mod form;
mod signature;
mod webhook;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use log::{debug, info};

use anklet_http::{Limits as HttpLimits, Server};
use anklet_plugin_api::log_context;
use anklet_plugin_api::plugin::{Plugin, PluginError, Problem, Services};
use anklet_plugin_api::report::Status;
use anklet_plugin_api::section::Section;

use crate::signature::SigningKey;
use crate::webhook::Desk;

/// The kind that `plugin:` names in the config.
pub const KIND: &str = "github_receiver";

/// A receiver that has not been started.
pub struct GithubReceiver {
    section: Section,
}

impl GithubReceiver {
    /// A receiver of this section.
    pub fn new(section: Section) -> Self {
        Self { section }
    }
}

/// What is wrong with a receiver's section.
pub fn check(section: &Section) -> Vec<Problem> {
    let problem = |key, what: &str| Problem { plugin: section.name.clone(), key, what: what.to_owned() };
    let mut problems = Vec::new();
    if section.port.is_none() {
        problems
            .push(problem("port", "a receiver needs the port that GitHub's webhooks come in on: set `port`"));
    }
    if section.secret.as_ref().is_none_or(|secret| secret.reveal().is_empty()) {
        let what = "a receiver needs the webhook's secret: set `secret`, or `global_receiver_secret`";
        problems.push(problem("secret", what));
    }
    let redelivers = section.hook_id.is_some() && !section.skip_redeliver;
    if redelivers && section.github.token.is_none() && section.github.app.is_none() {
        let what = "redelivering the hook's failed webhooks needs credentials: set `token`, or `private_key` with `app_id`, or `skip_redeliver: true`";
        problems.push(problem("token", what));
    }
    problems
}

impl Plugin for GithubReceiver {
    fn run(self: Box<Self>, mut services: Services) -> Result<(), PluginError> {
        let name = &self.section.name;
        let setup = |what: String| PluginError::Setup(format!("plugin {name}: {what}"));
        let port = self.section.port.ok_or_else(|| setup("`port` is not set".to_owned()))?;
        let secret = self.section.secret.as_ref().ok_or_else(|| setup("`secret` is not set".to_owned()))?;
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let limits = HttpLimits {
            request_limit: self.section.limits.request,
            idle_limit: self.section.limits.connection_idle,
            ..HttpLimits::default()
        };
        let desk = Arc::new(Desk {
            key: SigningKey::new(secret),
            store: Arc::clone(&services.store),
            context: log_context::inherit(),
        });
        let handler = Arc::clone(&desk);
        let server = Server::bind(address, limits, &format!("receiver/{name}"))
            .map_err(|error| setup(format!("{error}; another process has it, or choose another `port`")))?
            .admit(Arc::new(webhook::admit))
            .serve(Arc::new(move |request| handler.answer(request)))
            .map_err(|error| setup(error.to_string()))?;
        info!(port = port; "receiver finished starting");
        services.report.status(name, Status::Idle);
        services.ready.tell();
        // Nothing is ever sent: this waits for the stop.
        let _ = services.interrupt.closed().recv();
        debug!("closing the receiver");
        server.stop();
        services.report.status(name, Status::Stopped);
        Ok(())
    }
}
