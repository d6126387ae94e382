//! Who may call what: classic scopes, and the permissions of fine-grained tokens and Apps. It stands alone because
//! each refusal has its own status and words.

use crate::credential::{Caller, Permissions, covers};
use crate::http::Answer;
use crate::rest::{Call, error, not_found};
use crate::scope::Scope;

/// What an operation asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody.
    Open,
    /// A user's token.
    User,
    /// An App's JWT.
    App,
    /// Read access to the repository.
    Metadata,
    Runners,
    Groups,
    Actions,
    Hooks,
    /// An App's installation that may write checks.
    Checks,
}

/// Lets the caller through or gives GitHub's refusal.
pub(super) fn check(call: &Call<'_>, access: Access, method: &str) -> Result<(), Answer> {
    match (access, &call.caller) {
        (Access::Open, _) | (Access::App, Caller::App(_)) | (Access::User, Caller::Pat(_)) => Ok(()),
        (Access::App, _) => Err(error(401, "A JSON web token could not be decoded")),
        (_, Caller::App(_)) => Err(error(403, "Resource not accessible by integration")),
        (Access::User, Caller::Installation(_)) => Err(error(403, "Resource not accessible by integration")),
        (_, Caller::Anonymous) => Err(error(401, "Requires authentication")),
        (_, Caller::Pat(token)) => {
            let Some(pat) = call.state.credentials.pats.get(token) else { return Err(not_found()) };
            match &pat.fine_grained {
                None => check_scopes(call, access, &pat.scopes),
                Some(permissions) => {
                    check_permission(call, access, method, permissions, "personal access token")
                }
            }
        }
        (_, Caller::Installation(token)) => {
            let credentials = &call.state.credentials;
            let Some(token) = credentials.tokens.get(token) else { return Err(not_found()) };
            let account = credentials.installations.get(&token.installation_id).map(|it| &it.account);
            let is_covered =
                account.is_some_and(|account| covers(account, token.repos.as_deref(), &call.scope()));
            if !is_covered {
                return Err(not_found());
            }
            check_permission(call, access, method, &token.permissions, "integration")
        }
    }
}

/// Classic scopes: a private repository is hidden from who may not see it.
fn check_scopes(call: &Call<'_>, access: Access, scopes: &[String]) -> Result<(), Answer> {
    let scope = call.scope();
    let accepted: &[&str] = match (access, &scope) {
        (Access::Checks, _) => return Err(error(403, "You must authenticate via a GitHub App.")),
        (Access::Metadata, _) if !call.state.repo(&scope).is_some_and(|repo| repo.private) => return Ok(()),
        (Access::Hooks, Scope::Repository { .. }) => &["repo", "admin:repo_hook", "write:repo_hook"],
        (Access::Hooks, _) => &["admin:org_hook"],
        (_, Scope::Repository { .. }) => &["repo"],
        (_, Scope::Organization { .. }) => &["admin:org"],
        (_, Scope::Enterprise { .. }) => &["manage_runners:enterprise", "admin:enterprise"],
    };
    if scopes.iter().any(|scope| accepted.contains(&scope.as_str())) {
        return Ok(());
    }
    let refusal = match &scope {
        Scope::Repository { .. } if call.state.repo(&scope).is_none_or(|repo| repo.private) => not_found(),
        Scope::Repository { .. } => error(403, "Must have admin rights to Repository."),
        Scope::Organization { .. } => {
            error(403, "You must be an org owner or have the actions runners scope.")
        }
        Scope::Enterprise { .. } => not_found(),
    };
    Err(refusal.with_header("X-Accepted-OAuth-Scopes", accepted.join(", ")))
}

fn check_permission(
    call: &Call<'_>,
    access: Access,
    method: &str,
    permissions: &Permissions,
    who: &str,
) -> Result<(), Answer> {
    let is_repository = matches!(call.scope, Some(Scope::Repository { .. }));
    let name = match access {
        Access::Metadata | Access::Open | Access::User | Access::App => return Ok(()),
        Access::Runners | Access::Groups if matches!(call.scope, Some(Scope::Enterprise { .. })) => {
            return Err(error(403, &format!("Resource not accessible by {who}")));
        }
        Access::Runners | Access::Groups if is_repository => "administration",
        Access::Runners | Access::Groups => "organization_self_hosted_runners",
        Access::Actions => "actions",
        Access::Hooks if is_repository => "repository_hooks",
        Access::Hooks => "organization_hooks",
        Access::Checks if who != "integration" => {
            return Err(error(403, "You must authenticate via a GitHub App."));
        }
        Access::Checks => "checks",
    };
    let level = if method == "GET" { "read" } else { "write" };
    let given = permissions.get(name).map_or("none", String::as_str);
    if given == "write" || given == level {
        return Ok(());
    }
    let refusal = error(403, &format!("Resource not accessible by {who}"));
    Err(refusal.with_header("X-Accepted-GitHub-Permissions", format!("{name}={level}")))
}
