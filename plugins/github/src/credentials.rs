//! Which credential goes with which call, and how the header that carries it is come by.

use std::sync::Arc;

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::{GithubAccess, Secret};
use anklet_plugin_api::time::Moment;

use crate::address::Repository;
use crate::client::{Call, Client};
use crate::error::ClientError;
use crate::installation::App;
use crate::ledger::Ledger;

/// What a call is about: it decides who may make it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// The runners of a scope.
    Runners(&'a Scope),
    /// The jobs and runs of a repository.
    Repository(Repository<'a>),
    /// The App itself.
    App,
}

/// What this client has to show.
pub(crate) struct Credentials {
    api_url: String,
    /// Differs where anything of the credentials differs.
    pub(crate) fingerprint: String,
    token: Option<Secret>,
    app: Option<Arc<App>>,
}

enum Credential<'a> {
    Token(&'a Secret),
    App(&'a App),
}

impl Credentials {
    /// The error says what is wrong with the App's key.
    pub(crate) fn new(access: &GithubAccess) -> Result<Self, String> {
        let app = access.app.as_ref().map(|app| App::shared(&access.api_url, app)).transpose()?;
        let (api_url, fingerprint) = (access.api_url.clone(), fingerprint(access));
        Ok(Self { api_url, fingerprint, token: access.token.clone(), app })
    }

    /// Where the calls about `subject` are counted: GitHub counts those of a token, of an App itself, and of each of its installations.
    pub(crate) fn ledger(&self, subject: Subject) -> Arc<Ledger> {
        let who = match self.credential(subject) {
            Some(Credential::Token(token)) => {
                // A fingerprint: the ledgers outlive the config and need not hold secrets.
                let digest = ring::digest::digest(&ring::digest::SHA256, token.reveal().as_bytes());
                format!("token {:x?}", digest.as_ref())
            }
            Some(Credential::App(app)) => match app.installation(subject) {
                Some(installation) => format!("app {} at {installation}", app.identity.id()),
                None => format!("app {}", app.identity.id()),
            },
            None => "nobody".to_owned(),
        };
        Ledger::of(&format!("{} {who}", self.api_url))
    }

    /// What calls about a repository's jobs show, for people; never the secret itself.
    pub(crate) fn shown_for(&self, repository: Repository<'_>) -> String {
        match self.credential(Subject::Repository(repository)) {
            Some(Credential::Token(_)) => "the personal access token".to_owned(),
            Some(Credential::App(app)) => format!("the GitHub App {}", app.identity.id()),
            None => "none".to_owned(),
        }
    }

    /// Where both are given, GitHub wants the token for an enterprise's runners, and the App is the better one for all else: it may do
    /// less and has more calls.
    fn credential(&self, subject: Subject) -> Option<Credential<'_>> {
        let token = self.token.as_ref().map(Credential::Token);
        let app = self.app.as_deref().map(Credential::App);
        match subject {
            Subject::Runners(Scope::Enterprise { .. }) => token.or(app),
            Subject::Runners(Scope::Repository { .. } | Scope::Organization { .. })
            | Subject::Repository(_) => app.or(token),
            Subject::App => app,
        }
    }
}

/// A sum over everything that a call could be refused for; what is kept of it need not hold secrets.
fn fingerprint(access: &GithubAccess) -> String {
    let token = access.token.as_ref().map(Secret::reveal);
    let app = access.app.as_ref().map(|app| (&app.id, app.installation_id, app.private_key.reveal()));
    let all = format!("{:?}", (&access.api_url, token, app));
    let digest = ring::digest::digest(&ring::digest::SHA256, all.as_bytes());
    format!("{:x?}", digest.as_ref())
}

impl Client {
    /// The `Authorization` header for a call, after a call for a token of its own where that is due.
    pub(crate) fn authorization(&self, call: &Call, ear: &Ear) -> Result<Secret, ClientError> {
        let bearer = |token: &Secret| Secret::new(format!("Bearer {}", token.reveal()));
        match (self.credentials.credential(call.subject), call.subject) {
            (Some(Credential::Token(token)), _) => Ok(bearer(token)),
            (Some(Credential::App(app)), Subject::App) => {
                let jwt = app.identity.jwt(Moment::now());
                let what = || format!("no token for the GitHub App {}: no randomness", app.identity.id());
                jwt.as_ref().map(bearer).ok_or_else(|| ClientError::Setup { what: what() })
            }
            (Some(Credential::App(app)), _) => Ok(bearer(&self.installation_token(app, call, ear)?)),
            (None, _) => Err(ClientError::Setup {
                what: format!("no credentials for {}: set `token` or `private_key` and `app_id`", call.name),
            }),
        }
    }

    /// Whether a call that GitHub did not accept `refused` for may succeed with a new token, which it will then get.
    pub(crate) fn renew(&self, call: &Call, refused: &Secret, ear: &Ear) -> bool {
        match (self.credentials.credential(call.subject), call.subject) {
            (Some(Credential::App(app)), Subject::Runners(_) | Subject::Repository(_)) => {
                let token = refused.reveal().trim_start_matches("Bearer ");
                app.forget(call.subject, token, ear);
                true
            }
            (_, Subject::App) | (Some(Credential::Token(_)) | None, _) => false,
        }
    }
}
