//! One plugin's part of the config, merged with the global keys and checked; and `Secret`, which cannot be printed.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::limits::Limits;
use crate::name::PluginName;
use crate::scope::Scope;

/// Text that must not be seen: it prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one call that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a plugin may know of the config. A key that its kind does not use has its default.
#[derive(Clone, Debug)]
pub struct Section {
    /// `name`.
    pub name: PluginName,
    /// `plugin`: the kind.
    pub kind: String,
    /// The namespace of jobs: `queue_name`, else `enterprise`, else `owner`.
    pub queue: String,
    /// `enterprise`, `owner`, `repo`.
    pub scope: Scope,
    /// How GitHub is reached and convinced.
    pub github: GithubAccess,
    /// `registry_url`; none means anka's own default.
    pub registry_url: Option<String>,
    /// `skip_pull`: only templates on disk are used.
    pub skip_pull: bool,
    /// `runner_group`.
    pub runner_group: Option<String>,
    /// `sleep_interval`: the longest an idle handler waits before it looks by itself.
    pub sleep_interval: Duration,
    /// `registration_timeout_seconds`: how long a started runner may wait for its job.
    pub registration_timeout: Duration,
    /// `template_disk_buffer`: percent of the disk that stay free.
    pub template_disk_buffer: f64,
    /// `job_retry_attempts`.
    pub job_retry_attempts: u32,
    /// `skip_cpu_and_memory_resource_checks`.
    pub skip_cpu_and_memory_resource_checks: bool,
    /// `host_to_guest_folder_mounts`, the global ones first.
    pub mounts: Vec<Mount>,
    /// `registration_mode`.
    pub registration_mode: RegistrationMode,
    /// `explain_cancellations`.
    pub explain_cancellations: bool,
    /// `port`; none means the receiver's default.
    pub port: Option<u16>,
    /// `secret` of the webhook.
    pub secret: Option<Secret>,
    /// `hook_id`.
    pub hook_id: Option<u64>,
    /// `skip_redeliver`.
    pub skip_redeliver: bool,
    /// `redeliver_hours`.
    pub redeliver_hours: u32,
    /// `claim_seconds`: the life of a claim without renewal.
    pub claim_life: Duration,
    /// `limits.*`.
    pub limits: Limits,
    /// `plugins_path`: where scripts of the operator's own may lie.
    pub plugins_path: PathBuf,
    /// `work_dir`.
    pub work_dir: PathBuf,
}

/// How a plugin reaches GitHub.
#[derive(Clone, Debug, PartialEq)]
pub struct GithubAccess {
    /// `github_url`, without a slash at its end.
    pub web_url: String,
    /// `github_api_url`, without a slash at its end.
    pub api_url: String,
    /// `ca_file`: PEM certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// `token`: a personal access token.
    pub token: Option<Secret>,
    /// Where that was read from: `token` or `global_token`. For words to the operator.
    pub token_key: &'static str,
    /// The GitHub App.
    pub app: Option<AppCredentials>,
}

/// A GitHub App's identity.
#[derive(Clone, Debug, PartialEq)]
pub struct AppCredentials {
    /// `app_id`: the number, or the client id.
    pub id: String,
    /// `installation_id`; looked up if it is not given.
    pub installation_id: Option<u64>,
    /// The PEM text of `private_key`.
    pub private_key: Secret,
    /// Where that was read from: `private_key` or `global_private_key`. For words to the operator.
    pub private_key_key: &'static str,
}

/// `registration_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegistrationMode {
    /// A registration token and `config.sh`.
    #[default]
    Token,
    /// One call makes runner and single-use configuration.
    Jit,
}

/// A folder of the host shared with the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The folder on the host, symbolic links resolved.
    pub host: PathBuf,
    /// The name in the guest; none means the folder's own.
    pub name: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::new("ghp_x");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.reveal(), "ghp_x");
    }
}
