//! A GitHub workflow job as the queue keeps it, and what GitHub says about it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Moment;

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Stored as text: 64-bit numbers do not survive Lua and JavaScript.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map(Self).map_err(serde::de::Error::custom)
            }
        }
    };
}

number_id! {
    /// `workflow_job.id`: a re-run is another job.
    JobId
}
number_id! {
    /// `run_id`: the workflow run, the smallest thing GitHub can cancel.
    RunId
}
number_id! {
    /// GitHub's number of a registered runner.
    RunnerId
}

/// The facts of a job that do not change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// GitHub's id of the job.
    pub id: JobId,
    /// The run it belongs to.
    pub run_id: RunId,
    /// 1 for the first try of the run, growing with each re-run.
    pub run_attempt: u32,
    /// User or organization, as GitHub spells it.
    pub owner: String,
    /// The repository without its owner, as GitHub spells it.
    pub repo: String,
    /// The enterprise, where the webhook named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enterprise: Option<String>,
    /// What `runs-on` asks for: strangers' text.
    pub labels: Vec<String>,
    /// The template and tag among the labels.
    pub image: Image,
    /// The job's name in the workflow.
    #[serde(default)]
    pub name: String,
    /// The workflow's name.
    #[serde(default)]
    pub workflow: String,
    /// Where a person looks at it.
    #[serde(default)]
    pub html_url: String,
    /// When GitHub created it, by GitHub's clock; old webhooks do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Moment>,
}

impl Job {
    /// Decides who can run it: jobs of one group differ only in age.
    pub fn group(&self) -> Group {
        Group {
            owner: self.owner.to_ascii_lowercase(),
            repo: self.repo.to_ascii_lowercase(),
            template: self.image.template.to_ascii_lowercase(),
            tag: self.image.tag.as_ref().map(|tag| tag.to_ascii_lowercase()),
        }
    }
}

/// The VM image a job asks for. An empty template means that the labels name none; a handler then cancels the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Image {
    /// From the label `anka-template:`, as it was written.
    pub template: String,
    /// From the label `anka-template-tag:`; none means the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

/// What decides who can run a job, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Group {
    /// User or organization.
    pub owner: String,
    /// Repository without its owner.
    pub repo: String,
    /// VM template.
    pub template: String,
    /// Tag of the template.
    pub tag: Option<String>,
}

/// How far GitHub has come with a job. Webhooks only move it forward.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Phase {
    /// Waits for a runner.
    Queued,
    /// Runs on the named runner; GitHub does not always name it.
    InProgress {
        /// The runner, which need not be ours.
        runner: Option<String>,
    },
    /// Over for good.
    Completed {
        /// How it ended.
        conclusion: Conclusion,
        /// The runner it ran on, if it ran.
        runner: Option<String>,
    },
}

impl Phase {
    /// Order of the phases: news of a lower rank than what is known is late and changes nothing.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::InProgress { .. } => 1,
            Self::Completed { .. } => 2,
        }
    }

    /// The runner that GitHub named.
    pub fn runner(&self) -> Option<&str> {
        match self {
            Self::Queued => None,
            Self::InProgress { runner } | Self::Completed { runner, .. } => runner.as_deref(),
        }
    }
}

/// How a job ended, as GitHub says it; words of the future are kept as they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Conclusion {
    /// All steps passed.
    Success,
    /// A step failed.
    Failure,
    /// Somebody, GitHub or Anklet cancelled the run.
    Cancelled,
    /// Any other word of GitHub's (`skipped`, `timed_out`, `neutral`, …).
    Other(String),
}

impl From<String> for Conclusion {
    fn from(text: String) -> Self {
        match text.as_str() {
            "success" => Self::Success,
            "failure" => Self::Failure,
            "cancelled" => Self::Cancelled,
            _ => Self::Other(text),
        }
    }
}

impl From<Conclusion> for String {
    fn from(conclusion: Conclusion) -> Self {
        conclusion.to_string()
    }
}

impl fmt::Display for Conclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::Other(text) => text,
        })
    }
}

/// One piece of news about a job, from a webhook or an answer of the API.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// The job as this news describes it.
    pub job: Job,
    /// How far it is.
    pub phase: Phase,
    /// Whether the labels ask for one of our VMs. News that is not is used only if the job or its runner is ours.
    pub for_us: bool,
}
