//! What plugins tell the metrics. A report costs next to nothing when nobody looks.

use std::fmt;
use std::time::Duration;

use crate::job::Conclusion;
use crate::name::PluginName;
use crate::presence::Because;

/// Takes reports of what happens.
pub trait Report: Send + Sync {
    /// A plugin's status is now this.
    fn status(&self, plugin: &PluginName, status: Status);

    /// A plugin has made a VM.
    fn vm_started(&self, plugin: &PluginName);

    /// A job that a plugin ran is over.
    fn ended(&self, plugin: &PluginName, conclusion: &Conclusion, html_url: &str);

    /// Something else to be counted.
    fn count(&self, plugin: &PluginName, fact: &Fact<'_>) {
        let _ = (plugin, fact);
    }
}

/// What is counted of plugins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fact<'a> {
    /// A stage of a job is over; its image was found, so that the template is one that exists.
    Stage {
        /// The template, in lower case.
        template: &'a str,
        /// `until_cloned` (from its creation on), `image`, or a [`Stage`](crate::vm::Stage).
        stage: &'static str,
        /// How long it took.
        took: Duration,
    },
    /// A job went back to the queue.
    GivenBack(Because),
    /// A run was cancelled: `labels`, `attempts` or `template`.
    Cancelled(&'static str),
    /// What GitHub says of the calls that are left to the plugin's credential.
    Budget {
        /// Which calls: `core` for nearly all.
        resource: &'a str,
        /// Calls an hour.
        limit: u64,
        /// Calls left.
        remaining: u64,
    },
    /// A call of GitHub's API was answered, or not.
    GithubCall(Option<u16>),
}

/// What a plugin is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Waits for work.
    Idle,
    /// Works on a job.
    Running,
    /// A job runs on its VM.
    InProgress,
    /// Holds a job ready until there is room.
    Paused,
    /// Pulls a template.
    Pulling,
    /// Waits for GitHub's rate limit.
    LimitPaused,
    /// Takes nothing new.
    Draining,
    /// Has ended.
    Stopped,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "idle",
            Self::Running => "running",
            Self::InProgress => "in_progress",
            Self::Paused => "paused",
            Self::Pulling => "pulling",
            Self::LimitPaused => "limit_paused",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        })
    }
}
