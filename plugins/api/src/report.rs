//! What plugins tell the metrics. A report costs next to nothing when nobody looks.

use std::fmt;

use crate::job::Conclusion;
use crate::name::PluginName;

/// Takes reports of what happens.
pub trait Report: Send + Sync {
    /// A plugin's status is now this.
    fn status(&self, plugin: &PluginName, status: Status);

    /// A plugin has made a VM.
    fn vm_started(&self, plugin: &PluginName);

    /// A job that a plugin ran is over.
    fn ended(&self, plugin: &PluginName, conclusion: &Conclusion, html_url: &str);
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
