//! Runners made in one call, with a configuration that is good for one use: no token that could register more of them is needed. Here
//! too: the numbers of runner groups, since that call wants one where a person gives a name.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::PoisonError;

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::job::RunnerId;
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::Secret;
use serde::Deserialize;
use serde_json::json;

use crate::address::scope_path;
use crate::answer::Answer;
use crate::client::{Call, Client};
use crate::credentials::Subject;
use crate::error::{CallName, ClientError};
use crate::runners::runners_call;

const GENERATE: CallName = CallName { method: "POST", path: "/{scope}/actions/runners/generate-jitconfig" };
const LIST_GROUPS: CallName = CallName { method: "GET", path: "/{scope}/actions/runner-groups" };

/// The group that every scope has; a repository has no other.
pub const DEFAULT_GROUP: u64 = 1;

/// What GitHub allows for a runner made this way.
const MOST_NAME_CHARS: usize = 64;
const NOT_IN_NAMES: [char; 9] = ['"', '/', ':', '<', '>', '\\', '|', '*', '?'];
const MOST_LABELS: usize = 100;
const MOST_LABEL_CHARS: usize = 256;

/// GitHub's answer to the wish for a runner.
#[derive(Clone, Debug)]
pub enum JitAnswer {
    /// It is made. Its program has to use the configuration within some minutes.
    Made {
        /// The runner's number.
        id: RunnerId,
        /// What `run.sh` wants.
        config: Secret,
    },
    /// There is a runner of that name.
    NameTaken,
}

/// Why no runner was made, as far as is known.
#[derive(Debug)]
pub struct JitFailure {
    /// What GitHub said.
    pub error: ClientError,
    /// A runner may have been made all the same: an answer was lost.
    pub in_doubt: bool,
}

impl Client {
    /// Makes a runner of that name, for one job that asks for no other labels, in the group of that number. A wish that breaks GitHub's
    /// rules is [`ClientError::Unprocessable`], whoever finds out.
    pub fn jit_config(
        &self,
        scope: &Scope,
        name: &str,
        group: u64,
        labels: &[String],
        ear: &Ear,
    ) -> Result<JitAnswer, JitFailure> {
        let labels = distinct(labels);
        if let Some(message) = broken_rule(name, &labels) {
            let error = ClientError::Unprocessable { call: GENERATE, message };
            return Err(JitFailure { error, in_doubt: false });
        }
        let body = json!({ "name": name, "runner_group_id": group, "labels": labels });
        let call = runners_call(GENERATE, scope, "/generate-jitconfig").expecting(&[409]).with_body(&body);
        let mut in_doubt = false;
        let answer = self.call_in_doubt(&call, ear, &mut in_doubt);
        answer.and_then(|answer| read(&answer)).map_err(|error| {
            let in_doubt = in_doubt || error.is_unknown_outcome();
            JitFailure { error, in_doubt }
        })
    }

    /// The number of the runner group of that name; none if `scope` has none of it. GitHub is asked once.
    pub fn runner_group(&self, scope: &Scope, name: &str, ear: &Ear) -> Result<Option<u64>, ClientError> {
        if let Scope::Repository { .. } = scope {
            return Ok(Some(DEFAULT_GROUP));
        }
        let key = (scope_path(scope), name.to_owned());
        let known = || self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = known().get(&key) {
            return Ok(Some(*id));
        }
        let path = format!("{}/actions/runner-groups?per_page=100", scope_path(scope));
        let call = Call::new(LIST_GROUPS, path, Subject::Runners(scope));
        let found = self.pages(call, ear, |page| {
            let page: WrittenGroups = page.json()?;
            let group = page.runner_groups.into_iter().find(|group| group.name.eq_ignore_ascii_case(name));
            Ok(group.map_or(ControlFlow::Continue(()), |group| ControlFlow::Break(group.id)))
        })?;
        if let Some(id) = found {
            known().insert(key, id);
        }
        Ok(found)
    }

    /// Asks for the numbers of groups anew when they are wanted: one was not found any more.
    pub fn forget_runner_groups(&self) {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn read(answer: &Answer) -> Result<JitAnswer, ClientError> {
    if answer.status.as_u16() == 409 {
        return Ok(JitAnswer::NameTaken);
    }
    let written: WrittenJit = answer.json()?;
    if written.encoded_jit_config.is_empty() || written.encoded_jit_config.contains(char::is_whitespace) {
        return Err(answer.nonsense("it holds no configuration"));
    }
    Ok(JitAnswer::Made { id: RunnerId(written.runner.id), config: Secret::new(written.encoded_jit_config) })
}

/// The labels without those that differ from an earlier one in case alone, which to GitHub is the same.
fn distinct(labels: &[String]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    labels.iter().filter(|label| seen.insert(label.to_lowercase())).map(String::as_str).collect()
}

/// Which of GitHub's rules does not allow such a runner.
fn broken_rule(name: &str, labels: &[&str]) -> Option<String> {
    if name.is_empty() || name.chars().count() > MOST_NAME_CHARS || name.contains(NOT_IN_NAMES) {
        return Some(format!("no runner can be called {name:?}"));
    }
    if labels.is_empty() || labels.len() > MOST_LABELS {
        return Some(format!(
            "a runner has 1 to {MOST_LABELS} labels, and this job asks for {}",
            labels.len()
        ));
    }
    let is_odd = |label: &&&str| label.is_empty() || label.chars().count() > MOST_LABEL_CHARS;
    let label = labels.iter().find(is_odd)?;
    let n_chars = label.chars().count();
    Some(format!("a label has 1 to {MOST_LABEL_CHARS} characters, and one of this job has {n_chars}"))
}

#[derive(Deserialize)]
struct WrittenJit {
    runner: WrittenId,
    encoded_jit_config: String,
}

#[derive(Deserialize)]
struct WrittenId {
    id: u64,
}

#[derive(Deserialize)]
struct WrittenGroups {
    runner_groups: Vec<WrittenGroup>,
}

#[derive(Deserialize)]
struct WrittenGroup {
    id: u64,
    name: String,
}

#[cfg(test)]
#[path = "jit_tests.rs"]
mod tests;
