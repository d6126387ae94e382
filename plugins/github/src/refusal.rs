//! What an operator has to mend when GitHub does not accept what the config says of us: which key, and how.
//!
//! It stands alone because handlers and receivers tell it in the same words when they start.

use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::{AppCredentials, GithubAccess};

use crate::answer::CLOCK_IS_OFF;
use crate::error::{CallName, ClientError};
use crate::installation::{FIND_INSTALLATION, INSTALLATION_TOKEN, LIST_INSTALLATIONS, SEE_APP};

/// What GitHub says to a key of an App that it does not know.
const NO_SUCH_APP: &str = "Integration not found";

/// The key that is wrong and what to do about it, for a call about `scope`; none if the error says nothing of that kind. A permission that is
/// missing is no such error: it can be given while we run.
pub fn what_to_mend(error: &ClientError, access: &GithubAccess, scope: &Scope) -> Option<String> {
    let own_app = |call: &CallName| access.app.as_ref().filter(|_| is_apps_own(call));
    match error {
        ClientError::Unauthorized { call, message } => Some(match (own_app(call), scope, &access.token) {
            (Some(app), ..) => wrong_key(app, message),
            (None, Scope::Enterprise { .. }, Some(_)) => wrong_token(access, message),
            (None, ..) => match &access.app {
                Some(app) => wrong_key(app, message),
                None => wrong_token(access, message),
            },
        }),
        ClientError::NotFound { call, message, .. } => {
            let app = access.app.as_ref()?;
            match app.installation_id {
                Some(id) if *call == INSTALLATION_TOKEN => Some(format!(
                    "`installation_id`: GitHub knows no installation {id} of the GitHub App {} ({message}): leave it out to have it looked up, \
                     or copy the number at the end of the address of the installation's page",
                    app.id
                )),
                // A server that lacks the call says only that there is no such thing.
                _ if !message.contains(NO_SUCH_APP) => None,
                _ => [SEE_APP, LIST_INSTALLATIONS].contains(call).then(|| {
                    format!(
                        "`app_id`: GitHub knows no GitHub App {} ({message}): copy its id from the App's settings",
                        app.id
                    )
                }),
            }
        }
        ClientError::Setup { what } => Some(what.clone()),
        ClientError::Cut { .. }
        | ClientError::NoAnswer { .. }
        | ClientError::Forbidden { .. }
        | ClientError::Limited { .. }
        | ClientError::Conflict { .. }
        | ClientError::Unprocessable { .. }
        | ClientError::Server { .. }
        | ClientError::Nonsense { .. } => None,
    }
}

/// Whether a call shows the App itself, and none of its installations' tokens.
fn is_apps_own(call: &CallName) -> bool {
    *call == FIND_INSTALLATION || call.path.starts_with("/app")
}

fn wrong_token(access: &GithubAccess, message: &str) -> String {
    let key = access.token_key;
    format!(
        "`{key}`: GitHub does not accept it ({message}): it is mistyped, has expired or was revoked; make a new one at GitHub and set it"
    )
}

fn wrong_key(app: &AppCredentials, message: &str) -> String {
    let AppCredentials { id, private_key_key: key, .. } = app;
    let refused = format!("`{key}`: GitHub does not accept it for the GitHub App {id} ({message})");
    // What is signed holds for minutes only, so the clock is the likelier reason.
    if message.contains(CLOCK_IS_OFF) {
        return refused;
    }
    format!("{refused}: see that `app_id` is right, or make a new key in the App's settings")
}
