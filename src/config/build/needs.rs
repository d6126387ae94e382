//! What each kind of plugin cannot do without.

use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::Secret;

use super::credentials::Credentials;
use crate::config::finding::Findings;
use crate::config::raw::Raw;

/// What the plugin is; a lack of it is reported.
pub(super) fn kind(raw: &Raw, findings: &mut Findings) -> Option<String> {
    let kind = raw.text("plugin").map(str::to_owned);
    // A wrong kind was reported when it was read.
    if kind.is_none() && !findings.has_problem(raw.plugin.as_deref(), "plugin") {
        findings.problem(raw.at("plugin"), "is missing: write `plugin: github` or `plugin: github_receiver`");
    }
    kind
}

/// A handler speaks to GitHub on each job.
pub(super) fn check_handler(
    raw: &Raw,
    scope: Option<&Scope>,
    credentials: &Credentials,
    findings: &mut Findings,
) {
    if let Some(Scope::Enterprise { .. }) = scope {
        check_enterprise(raw, credentials, findings);
    } else if credentials.token.is_none() && credentials.app.is_none() && !is_told(raw, findings) {
        let what =
            "is missing: set `token` (or `global_token`), or `private_key` and `app_id` of a GitHub App";
        findings.problem(raw.at("token"), what);
    }
}

/// Whether what is wrong with a credential that was given has been reported: then it is not missing.
fn is_told(raw: &Raw, findings: &Findings) -> bool {
    let of_plugin = |key: &&str| findings.has_problem(raw.plugin.as_deref(), key);
    ["token", "private_key", "app_id"].iter().any(of_plugin)
        || ["global_token", "global_private_key"].iter().any(|key| findings.has_problem(None, key))
}

fn check_enterprise(raw: &Raw, credentials: &Credentials, findings: &mut Findings) {
    match &credentials.token {
        None => findings.problem(
            raw.at("token"),
            "is missing: an enterprise needs a classic personal access token with manage_runners:enterprise",
        ),
        Some(token) if token.reveal().starts_with("github_pat_") => findings.problem(
            raw.at("token"),
            "is a fine-grained token, which GitHub does not take for an enterprise: make a classic one (ghp_…)",
        ),
        Some(_) => {}
    }
    if credentials.app.is_none() && !is_told(raw, findings) {
        let what = "is missing: an enterprise needs a GitHub App too, to look at jobs and cancel them; \
                    set `app_id` and `private_key` (or `global_private_key`)";
        findings.problem(raw.at("app_id"), what);
    }
}

/// A receiver must know who sends, and may ask GitHub for what was missed.
pub(super) fn check_receiver(
    raw: &Raw,
    scope: Option<&Scope>,
    credentials: &Credentials,
    secret: Option<&Secret>,
    findings: &mut Findings,
) {
    if secret.is_none() {
        let what = "is missing: set the secret of the webhook (or `global_receiver_secret`)";
        findings.problem(raw.at("secret"), what);
    }
    let can_redeliver = !matches!(scope, Some(Scope::Enterprise { .. }));
    if !can_redeliver || raw.flag("skip_redeliver") == Some(true) {
        return;
    }
    if raw.whole("hook_id").unwrap_or(0) == 0 {
        if credentials.app.is_some() {
            // The App's own webhook is meant, which needs no number.
            return;
        }
        let what = "is missing, so deliveries that fail while Anklet is away are lost: set the webhook's number, which the \
                    address of its page at GitHub ends with, or `skip_redeliver: true` if that is meant";
        findings.warn(raw.at("hook_id"), what);
    } else if credentials.token.is_none() && credentials.app.is_none() {
        let what = "is missing: asking GitHub for missed deliveries needs `token` (or `global_token`), or `private_key` \
                    and `app_id`; or set `skip_redeliver: true`";
        findings.problem(raw.at("token"), what);
    }
}
