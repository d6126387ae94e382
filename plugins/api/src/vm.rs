//! VMs as the handler needs them: the verbs of a VM host, and the record that says who cleans up.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crossbeam_channel::Receiver;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ear::Ear;
use crate::job::{Image, JobId, RunId, RunnerId};
use crate::name::{HostId, PluginName, VmName};
use crate::scope::Scope;
use crate::section::{Mount, Secret};
use crate::time::Moment;

/// Makes, drives and removes VMs of this host. Each call has a limit of its own and ends early when its [`Ear`] says so
/// ([`VmError::Cut`]); the VM is then in an unknown state and must be deleted.
pub trait VmHost: Send + Sync {
    /// Every VM and template on disk, running or not.
    fn list(&self, ear: &Ear<'_>) -> Result<Vec<VmListed>, VmError>;

    /// Where the image can be had; `listed` is what [`VmHost::list`] answered just now. An image that is on disk with the tag asked for costs
    /// no word to the registry. [`VmError::NoSuchImage`] only when the registry answered well, without it.
    fn find_image(
        &self,
        image: &Image,
        source: &ImageSource,
        listed: &[VmListed],
        ear: &Ear<'_>,
    ) -> Result<FoundImage, VmError>;

    /// Pulls an image, after making room for it if the disk is too full. Never waits for another's pull: [`VmError::Busy`].
    fn pull_image(
        &self,
        image: &RemoteImage,
        source: &ImageSource,
        ear: &Ear<'_>,
    ) -> Result<ReadyImage, VmError>;

    /// Becomes ready once, when no pull is under way on this host.
    fn pull_ended(&self) -> Result<Receiver<()>, VmError>;

    /// How large a template or VM on disk is, by name or id, in this tag or the current one; none if the VM host does not say.
    fn size(&self, name: &str, tag: Option<&str>, ear: &Ear<'_>) -> Result<Option<VmSize>, VmError>;

    /// Makes `vm` from the image. Never waits for a pull: [`VmError::Busy`].
    fn clone_image(&self, image: &ReadyImage, vm: &VmName, ear: &Ear<'_>) -> Result<(), VmError>;

    /// Starts it.
    fn start(&self, vm: &VmName, ear: &Ear<'_>) -> Result<(), VmError>;

    /// Shares a folder of the host with a running VM.
    fn mount(&self, vm: &VmName, mount: &Mount, ear: &Ear<'_>) -> Result<(), VmError>;

    /// Copies a file or folder into the guest's home.
    fn copy(&self, vm: &VmName, from: &Path, ear: &Ear<'_>) -> Result<(), VmError>;

    /// Runs a line of bash in the guest's home; an exit code other than 0 is [`VmError::Guest`].
    fn run(&self, vm: &VmName, run: &GuestRun<'_>, ear: &Ear<'_>) -> Result<GuestOutput, VmError>;

    /// Stops it the hard way.
    fn stop_force(&self, vm: &VmName, ear: &Ear<'_>) -> Result<(), VmError>;

    /// Removes it, running or not. A VM that is not found is well, and no proof: a VM is gone when [`VmHost::list`] no longer names it.
    fn delete(&self, vm: &VmName, ear: &Ear<'_>) -> Result<(), VmError>;

    /// The limit after which a command of this kind is killed; callers set their own deadlines beyond it.
    fn limit(&self, verb: VmVerb) -> Duration {
        match verb {
            VmVerb::Pull => Duration::from_secs(6 * 3_600),
            VmVerb::Copy => Duration::from_secs(600),
            VmVerb::Find | VmVerb::Clone | VmVerb::Start => Duration::from_secs(300),
            VmVerb::List | VmVerb::Mount | VmVerb::Delete => Duration::from_secs(120),
        }
    }
}

/// What [`VmHost::limit`] is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmVerb {
    /// [`VmHost::list`] and other questions.
    List,
    /// [`VmHost::find_image`].
    Find,
    /// [`VmHost::pull_image`].
    Pull,
    /// [`VmHost::clone_image`].
    Clone,
    /// [`VmHost::start`].
    Start,
    /// [`VmHost::mount`].
    Mount,
    /// [`VmHost::copy`].
    Copy,
    /// [`VmHost::delete`] and [`VmHost::stop_force`].
    Delete,
}

/// A line of the VM host's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmListed {
    /// Its name.
    pub name: String,
    /// Its id.
    pub uuid: String,
    /// The tag of a template; clones have none.
    pub tag: Option<String>,
    /// Whether it runs, and so takes one of the host's slots.
    pub running: bool,
}

/// What a VM takes of its host while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmSize {
    /// Processors.
    pub cpu_cores: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

impl VmSize {
    /// Whether this fits into `room`.
    pub fn fits(self, room: Self) -> bool {
        self.cpu_cores <= room.cpu_cores && self.memory_bytes <= room.memory_bytes
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            cpu_cores: self.cpu_cores.saturating_add(other.cpu_cores),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
        }
    }

    /// What is left of this without `other`.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            cpu_cores: self.cpu_cores.saturating_sub(other.cpu_cores),
            memory_bytes: self.memory_bytes.saturating_sub(other.memory_bytes),
        }
    }
}

impl fmt::Display for VmSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} CPUs and {} of memory", self.cpu_cores, memory_text(self.memory_bytes))
    }
}

/// As people say it, and never so rounded that what does not fit seems to.
fn memory_text(bytes: u64) -> String {
    const GIB: u64 = 1 << 30;
    match (bytes / GIB, bytes % GIB) {
        (whole, 0) => format!("{whole} GiB"),
        (_, rest) if rest.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ => format!("{bytes} bytes"),
    }
}

/// Where a handler gets images from that are not on disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageSource {
    /// The registry; none means the VM host's own default.
    pub registry_url: Option<String>,
    /// Nothing is pulled: what is on disk has to do.
    pub skip_pull: bool,
    /// Percent of the disk that stay free beside what is pulled.
    pub template_disk_buffer: f64,
}

/// Where an image was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundImage {
    /// On disk.
    OnDisk {
        /// What to clone.
        image: ReadyImage,
        /// Why it may be older than what was asked for: a warning.
        maybe_old: Option<String>,
    },
    /// In the registry only.
    Remote(RemoteImage),
}

/// Proof that an image is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyImage {
    /// The template's id.
    pub template: String,
    /// The tag to clone, where one has to be named.
    pub tag: Option<String>,
    /// Whether that tag is the template's current one.
    pub is_current: bool,
}

/// An image that has to be pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteImage {
    /// The template's id.
    pub template: String,
    /// The tag; none means the latest.
    pub tag: Option<String>,
    /// What a VM of it takes, if the registry tells.
    pub size: Option<VmSize>,
}

/// Something to run in a guest.
#[derive(Debug)]
pub struct GuestRun<'a> {
    /// For logs and errors: what it does, in a word.
    pub name: &'static str,
    /// The line for the guest's bash. Strangers' text in it is quoted by the caller. Never a secret.
    pub line: &'a str,
    /// Standard input, which may hold a secret.
    pub input: Option<&'a Secret>,
    /// Killed after this.
    pub limit: Duration,
    /// How much of what it prints is handed on: the end. What a VM host keeps at most may be less.
    pub n_kept_bytes: usize,
}

/// What a guest command printed, both streams, bounded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuestOutput(pub String);

/// Why a VM command did not do what was asked. Texts name the verb only, since arguments can hold strangers' text.
#[derive(Debug, Error)]
pub enum VmError {
    /// The program could not be started.
    #[error("`anka {verb}` could not be started: {source}")]
    NotStarted {
        /// The verb.
        verb: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// It ran over its limit and was killed.
    #[error("`anka {verb}` was killed after {limit:?}")]
    TooSlow {
        /// The verb.
        verb: &'static str,
        /// Its limit.
        limit: Duration,
    },
    /// The ear heard that there is no use in going on.
    #[error("`anka {verb}` was cut short")]
    Cut {
        /// The verb.
        verb: &'static str,
    },
    /// It said that it failed.
    #[error("`anka {verb}` failed with code {code}: {message}")]
    Failed {
        /// The verb.
        verb: &'static str,
        /// The envelope's code, or the exit code where there was no envelope.
        code: i64,
        /// Its message.
        message: String,
    },
    /// There is no such VM or template.
    #[error("`anka {verb}` does not find it: {message}")]
    NotFound {
        /// The verb.
        verb: &'static str,
        /// Its message.
        message: String,
    },
    /// The host runs as many VMs as it can.
    #[error("`anka {verb}` says that no more VMs can run: {message}")]
    AtLimit {
        /// The verb.
        verb: &'static str,
        /// Its message.
        message: String,
    },
    /// The template has to be pulled, and cannot be now.
    #[error("template {template} is not on disk and cannot be pulled: {why}")]
    NotOnDisk {
        /// The template.
        template: String,
        /// Why not.
        why: String,
    },
    /// The registry has no such template, or not with that tag, and nor has this host.
    #[error("{what} is not in the registry; {}", closest_text(.closest))]
    NoSuchImage {
        /// The template, or the tag and the template.
        what: String,
        /// What is there under a similar name, the most similar first.
        closest: Vec<String>,
    },
    /// The disk is too full for a pull, whatever may be deleted.
    #[error(
        "the pull needs {needed_bytes} bytes and {buffer_bytes} bytes are to stay free, but {free_bytes} bytes are free, and deleting \
         templates that are not in use gives at most {deletable_bytes} bytes"
    )]
    NoSpace {
        /// What has to be loaded.
        needed_bytes: u64,
        /// `template_disk_buffer` of the disk.
        buffer_bytes: u64,
        /// Free now.
        free_bytes: u64,
        /// What templates take that could be deleted.
        deletable_bytes: u64,
    },
    /// Another pull is in the way.
    #[error("another pull runs on this host")]
    Busy,
    /// The guest's command ended with another exit code than 0.
    #[error("{name} ended with exit code {exit} in the guest: {}", end_of(.output))]
    Guest {
        /// What ran.
        name: &'static str,
        /// How it ended.
        exit: i32,
        /// What it printed, masked and bounded; the text of the error shows the end.
        output: String,
    },
    /// The answer makes no sense.
    #[error("`anka {verb}` answered what cannot be read: {answer}")]
    Nonsense {
        /// The verb.
        verb: &'static str,
        /// The start of what it printed, masked.
        answer: String,
    },
}

/// How much of a guest's output an error shows.
const SHOWN_CHARS: usize = 400;

/// The end of a guest's output, on one line, without control characters.
fn end_of(output: &str) -> String {
    let output = output.trim();
    let from = output.char_indices().rev().nth(SHOWN_CHARS - 1).map_or(0, |(at, _)| at);
    let cut = if from > 0 { "…" } else { "" };
    let mut shown = cut.to_owned();
    for character in output.get(from..).unwrap_or_default().chars().filter(|character| *character != '\r') {
        if character == '\n' {
            // Lines stay apart, an empty one is nothing.
            if !shown.ends_with(" | ") {
                shown.push_str(" | ");
            }
        } else if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

fn closest_text(closest: &[String]) -> String {
    if closest.is_empty() {
        return "nothing there has a similar name".to_owned();
    }
    format!("the closest there: {}", closest.join(", "))
}

/// How far a VM is. Saved *before* the step it names begins, so that after a crash the step may or may not have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// `clone`.
    Cloning,
    /// `start` and mounts.
    Starting,
    /// The scripts are copied in.
    Copying,
    /// The runner is installed.
    Installing,
    /// The runner is registered: from here on every undo begins with the fence.
    Registering,
    /// The runner is started.
    StartingRunner,
    /// It waits for its job.
    Waiting,
    /// GitHub says that a job runs on it.
    Running,
    /// It is of no use any more: fence, then delete.
    Undoing,
    /// The runner is known to be gone; the VM is being deleted.
    Deleting,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cloning => "cloning",
            Self::Starting => "starting",
            Self::Copying => "copying",
            Self::Installing => "installing",
            Self::Registering => "registering",
            Self::StartingRunner => "starting runner",
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Undoing => "undoing",
            Self::Deleting => "deleting",
        })
    }
}

/// A VM, and perhaps a runner, exists or is about to. Its host owns it until both are confirmed gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VmRecord {
    /// The VM and the runner in it.
    pub vm: VmName,
    /// Who removes it.
    pub host: HostId,
    /// Which plugin of that host made it.
    pub plugin: PluginName,
    /// The queue of that plugin, in whose store the record is: a host's ledger holds those of all queues. Older ones do not say.
    #[serde(default)]
    pub queue: String,
    /// Where its runner is, or would be, registered.
    pub scope: Scope,
    /// The job it is for or, once GitHub has decided, the one it runs; none while it runs a job that nobody has named yet.
    pub job: Option<JobId>,
    /// The run of that job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The repository of that job, `owner/name`.
    #[serde(default)]
    pub repository: String,
    /// The labels that the runner has.
    pub labels: Vec<String>,
    /// How far it is.
    pub stage: Stage,
    /// The runner that one call made, or may have made, together with its configuration; none where the guest registers itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jit: Option<JitRunner>,
    /// When registration began, by the host's clock; none before. The runner may exist from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registering_at: Option<Moment>,
    /// When registration ended. GitHub's list may lag behind it by up to 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<Moment>,
    /// When the record was made, by the host's clock.
    pub created_at: Moment,
    /// Failed deletions so far.
    #[serde(default)]
    pub failed_deletions: u32,
}

impl VmRecord {
    /// What GitHub calls the runner in this VM: the VM's name, or one derived from it.
    pub fn runner_name(&self) -> String {
        self.vm.runner_name(self.jit.as_ref().map_or(1, |jit| jit.n_names))
    }
}

/// A runner that GitHub makes in one call, before its program is started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JitRunner {
    /// GitHub's number of it; none until the answer has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<RunnerId>,
    /// How many names were asked for so far. The runner bears the last one, see [`VmName::runner_name`].
    pub n_names: u32,
    /// Earlier names that are taken at GitHub, by runners of ours of which no answer came and whose removal is not confirmed. Nothing can run
    /// on those, since nobody has their configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spare_names: Vec<String>,
}

impl Default for JitRunner {
    fn default() -> Self {
        Self { id: None, n_names: 1, spare_names: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_as_people_say_them() {
        for (memory_bytes, said) in [
            (24 << 30, "24 GiB"),
            (1536 << 20, "1536 MiB"),
            ((16 << 30) + 1, "17179869185 bytes"),
            (0, "0 GiB"),
        ] {
            let size = VmSize { cpu_cores: 4, memory_bytes };
            assert_eq!(size.to_string(), format!("4 CPUs and {said} of memory"));
        }
    }

    #[test]
    fn the_end_of_a_guests_output_is_one_line() {
        for (output, shown) in [
            ("", ""),
            ("tar: cut\n", "tar: cut"),
            ("gzip: no\r\n\ntar: cut\n", "gzip: no | tar: cut"),
            ("a\u{1b}[31mb\tc", "a\\u{1b}[31mb\\tc"),
        ] {
            assert_eq!(end_of(output), shown, "{output:?}");
        }
        assert_eq!(end_of(&"ä".repeat(1000)), format!("…{}", "ä".repeat(SHOWN_CHARS)));
    }
}
