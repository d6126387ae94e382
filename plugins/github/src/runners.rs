//! Calls about runners: the right to register one, finding and removing them, and the programs that GitHub offers for them.

use std::ops::ControlFlow;

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::job::RunnerId;
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::Secret;
use anklet_plugin_api::time::Moment;
use serde::Deserialize;

use crate::address::{scope_path, segment};
use crate::answer::Answer;
use crate::client::{Call, Client};
use crate::credentials::Subject;
use crate::error::{CallName, ClientError};

const REGISTRATION_TOKEN: CallName =
    CallName { method: "POST", path: "/{scope}/actions/runners/registration-token" };
const LIST_RUNNERS: CallName = CallName { method: "GET", path: "/{scope}/actions/runners" };
const DELETE_RUNNER: CallName = CallName { method: "DELETE", path: "/{scope}/actions/runners/{id}" };
/// Names the call of [`Client::downloads`].
pub const LIST_DOWNLOADS: CallName = CallName { method: "GET", path: "/{scope}/actions/runners/downloads" };

/// The right to register runners, for an hour.
#[derive(Clone, Debug)]
pub struct RegistrationToken {
    /// What `config.sh` wants.
    pub token: Secret,
    /// When it ends, by GitHub's clock; none if GitHub does not say it in a known way.
    pub expires_at: Option<Moment>,
}

/// A registered runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runner {
    /// GitHub's id.
    pub id: u64,
    /// Its name, exactly.
    pub name: String,
    /// Whether it is connected.
    pub is_online: bool,
    /// Whether a job runs on it.
    pub is_busy: bool,
}

/// What became of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// It was gone already.
    AlreadyGone,
    /// It runs a job and stays.
    Busy,
}

/// What became of a fence: whether GitHub can still give a job to the runner of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// It cannot: GitHub confirmed the removal.
    Removed,
    /// The list does not name it. The list lags by up to a minute: this is no proof for a runner that may just have registered.
    NotListed,
    /// It runs a job.
    Busy,
}

/// A program that GitHub offers for runners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunnerDownload {
    /// `osx`, `linux`, `win`.
    pub os: String,
    /// `arm64`, `x64`, …
    pub architecture: String,
    /// Where it is fetched from.
    pub url: String,
    /// Its file's name.
    pub filename: String,
    /// The SHA-256 of the file in lower-case hex, where GitHub names it.
    pub sha256: Option<String>,
    /// Its version, as the file's name has it: `2.336.0`.
    pub version: String,
}

impl Client {
    /// A new right to register runners in `scope`.
    pub fn registration_token(&self, scope: &Scope, ear: &Ear) -> Result<RegistrationToken, ClientError> {
        let answer = self.call(&runners_call(REGISTRATION_TOKEN, scope, "/registration-token"), ear)?;
        let written: WrittenToken = answer.json()?;
        if written.token.is_empty() {
            return Err(answer.nonsense("it holds no token"));
        }
        let expires_at = Moment::parse_rfc3339(&written.expires_at);
        Ok(RegistrationToken { token: Secret::new(written.token), expires_at })
    }

    /// The runner of exactly that name, if the list names it; see [`Fence::NotListed`].
    pub fn runner(&self, scope: &Scope, name: &str, ear: &Ear) -> Result<Option<Runner>, ClientError> {
        // Servers that do not know the filter answer with all runners, so every page is looked at, whatever was asked for.
        let query = format!("?name={}&per_page=100", segment(name));
        self.pages(runners_call(LIST_RUNNERS, scope, &query), ear, |page| {
            let page: WrittenRunners = page.json()?;
            let found = page.runners.into_iter().find(|runner| runner.name == name);
            Ok(match found {
                Some(WrittenRunner { id, name, status, busy }) => {
                    ControlFlow::Break(Runner { id, name, is_online: status == "online", is_busy: busy })
                }
                None => ControlFlow::Continue(()),
            })
        })
    }

    /// Removes a runner by its id.
    pub fn remove_runner(&self, scope: &Scope, id: u64, ear: &Ear) -> Result<Removal, ClientError> {
        let answer =
            self.call(&runners_call(DELETE_RUNNER, scope, &format!("/{id}")).expecting(&[404, 422]), ear)?;
        // The status counts: GitHub's words for a busy runner differ.
        match answer.status.as_u16() {
            204 => Ok(Removal::Removed),
            404 => Ok(Removal::AlreadyGone),
            422 => Ok(Removal::Busy),
            // Some proxy's 200 is not GitHub's word that the runner is gone.
            status => Err(answer.nonsense(format!("a removal is answered 204, not {status}"))),
        }
    }

    /// Makes sure that GitHub gives no job to the runner of that name any more, or says why it cannot. Only an answer to the removal
    /// itself is proof, so any error means that the runner may still get a job.
    pub fn fence(&self, scope: &Scope, name: &str, ear: &Ear) -> Result<Fence, ClientError> {
        let Some(runner) = self.runner(scope, name, ear)? else { return Ok(Fence::NotListed) };
        Ok(match self.remove_runner(scope, runner.id, ear)? {
            Removal::Removed | Removal::AlreadyGone => Fence::Removed,
            Removal::Busy => Fence::Busy,
        })
    }

    /// The same for a runner whose number is known, in one call; in two where GitHub does not find it.
    pub fn fence_by_id(&self, scope: &Scope, id: RunnerId, ear: &Ear) -> Result<Fence, ClientError> {
        match self.remove_runner(scope, id.0, ear)? {
            Removal::Removed => Ok(Fence::Removed),
            Removal::Busy => Ok(Fence::Busy),
            Removal::AlreadyGone => {
                // Who may not see the scope's runners is answered the same.
                self.call(&runners_call(LIST_RUNNERS, scope, "?per_page=1"), ear)?;
                Ok(Fence::Removed)
            }
        }
    }

    /// The runner programs that GitHub offers to `scope`. Entries without address, file name or version are left out. It is asked for a few
    /// seconds only: runners can be made without.
    pub fn downloads(&self, scope: &Scope, ear: &Ear) -> Result<Vec<RunnerDownload>, ClientError> {
        let call = runners_call(LIST_DOWNLOADS, scope, "/downloads").polled().dispensable();
        let answer = self.call(&call, ear)?;
        Ok(downloads(&answer)?.into_iter().filter_map(WrittenDownload::checked).collect())
    }
}

pub(crate) fn runners_call<'a>(name: CallName, scope: &'a Scope, below: &str) -> Call<'a> {
    Call::new(name, format!("{}/actions/runners{below}", scope_path(scope)), Subject::Runners(scope))
}

fn downloads(answer: &Answer) -> Result<Vec<WrittenDownload>, ClientError> {
    answer.json()
}

#[derive(Deserialize)]
struct WrittenToken {
    token: String,
    #[serde(default)]
    expires_at: String,
}

#[derive(Deserialize)]
struct WrittenRunners {
    runners: Vec<WrittenRunner>,
}

#[derive(Deserialize)]
struct WrittenRunner {
    id: u64,
    name: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    busy: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenDownload {
    os: String,
    architecture: String,
    download_url: String,
    filename: String,
    sha256_checksum: Option<String>,
}

impl WrittenDownload {
    fn checked(self) -> Option<RunnerDownload> {
        let version = version_of(&self.filename)?.to_owned();
        let is_hex = |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let sha256 = self.sha256_checksum.filter(is_hex).map(|text| text.to_ascii_lowercase());
        (!self.download_url.is_empty()).then_some(RunnerDownload {
            os: self.os,
            architecture: self.architecture,
            url: self.download_url,
            filename: self.filename,
            sha256,
            version,
        })
    }
}

/// The version in `actions-runner-osx-arm64-2.336.0.tar.gz`.
fn version_of(filename: &str) -> Option<&str> {
    let stem = filename.strip_suffix(".tar.gz").or_else(|| filename.strip_suffix(".zip"))?;
    let (_, version) = stem.rsplit_once('-')?;
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (version.split('.').count() == 3 && version.split('.').all(is_number)).then_some(version)
}

#[cfg(test)]
#[path = "runners_tests.rs"]
mod tests;
