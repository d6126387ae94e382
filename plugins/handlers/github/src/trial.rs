//! The start of a handler: GitHub is asked once whether it accepts the credentials, before anything is claimed with them.
//!
//! A credential that is wrong would fail every job from then on, so the handler does not start with it. Everything else that can go wrong here may be
//! over by the time there is a job, so it is said and the handler starts.

use std::sync::Arc;
use std::time::Duration;

use log::{debug, error, warn};

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::plugin::PluginError;
use anklet_plugin_api::scope::Scope;

use anklet_github::client::Client;
use anklet_github::error::ClientError;
use anklet_github::observer::CallObserver;
use anklet_github::refusal::what_to_mend;

use crate::worker::Worker;

impl Worker {
    /// Fails if GitHub says that the credentials are wrong; the error names plugin and key.
    ///
    /// It is asked once, without repeats and without a wait for rate limits, so that a GitHub that cannot be reached delays the start by one call
    /// (`limits.github_call`) at most, and that once for all handlers with the same credential: what an earlier start left behind
    /// does not wait for GitHub's return, and the next plugin, which may be the receiver, neither.
    pub(crate) fn try_credentials(&self) -> Result<(), PluginError> {
        let section = &self.section;
        let wrong = |what: String| PluginError::Setup(format!("plugin {}: {what}", section.name));
        let Err(error) = self.ask_first(&self.until_stop()) else { return Ok(()) };
        if let Some(what) = what_to_mend(&error, &section.github, &section.scope) {
            return Err(wrong(what));
        }
        match &error {
            ClientError::Cut { .. } => {}
            ClientError::Forbidden { .. } | ClientError::NotFound { .. } => {
                let scope = section.scope.to_string();
                error!(scope, error:% = error; "GitHub does not let this handler see the runners; its jobs cannot start until the credential may");
            }
            ClientError::Limited { .. } => {
                debug!("the credentials are tried when GitHub's rate limit is over")
            }
            ClientError::Unauthorized { .. }
            | ClientError::NoAnswer { .. }
            | ClientError::Conflict { .. }
            | ClientError::Unprocessable { .. }
            | ClientError::Server { .. }
            | ClientError::Nonsense { .. }
            | ClientError::Setup { .. } => {
                warn!(error:% = error; "GitHub cannot be asked now whether it accepts the credentials; starting all the same");
            }
        }
        Ok(())
    }

    fn ask_first(&self, ear: &Ear<'_>) -> Result<(), ClientError> {
        if !self.hub.is_first_trial() {
            return Ok(());
        }
        let section = &self.section;
        let limits = Limits { github_retry_total: Duration::ZERO, ..section.limits.clone() };
        let observer: Arc<dyn CallObserver> = Arc::clone(&self.shown) as _;
        let once = Client::new(&section.github, &limits)?.never_waiting().observed_by(observer);
        self.hub.ask_first(&once, ear)?;
        // An enterprise's runners are the token's affair; its App is not needed before a job is.
        let has_idle_app = matches!(section.scope, Scope::Enterprise { .. })
            && section.github.token.is_some()
            && section.github.app.is_some();
        if has_idle_app { once.see_app(ear) } else { Ok(()) }
    }
}
