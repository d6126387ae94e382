//! Which credential goes with which call, and the header that carries it.

use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::{GithubAccess, Secret};

use crate::address::Repository;

/// What a call is about: it decides who may make it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Subject<'a> {
    /// The runners of a scope.
    Runners(&'a Scope),
    /// The jobs and runs of a repository.
    Repository(Repository<'a>),
}

/// What this client has to show.
pub(crate) struct Credentials {
    token: Option<Secret>,
}

impl Credentials {
    pub(crate) fn new(access: &GithubAccess) -> Self {
        Self { token: access.token.clone() }
    }

    /// The `Authorization` header for a call about `subject`; none if no credential fits.
    pub(crate) fn authorization(&self, subject: Subject) -> Option<Secret> {
        match subject {
            Subject::Runners(_) | Subject::Repository(_) => self.token.as_ref().map(bearer),
        }
    }
}

fn bearer(token: &Secret) -> Secret {
    Secret::new(format!("Bearer {}", token.reveal()))
}
