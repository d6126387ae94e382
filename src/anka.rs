//! VMs of this host through the `anka` command line, one function a verb.
//!
//! This is where the arguments stand; how a command is run is in `command.rs`, what its answer means in `reply.rs`.
//! Text of strangers is never an option, and secrets reach a guest through standard input only.

pub(crate) mod call;
pub(crate) mod command;
pub(crate) mod lock;
pub(crate) mod output;
mod pull;
pub(crate) mod reply;
pub(crate) mod setup;
pub(crate) mod templates;
pub(crate) mod text;
pub(crate) mod timeouts;
pub(crate) mod uses;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::job::Image;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::name::VmName;
use anklet_plugin_api::section::{Mount, Secret};
use anklet_plugin_api::vm::{
    FoundImage, GuestOutput, GuestRun, ImageSource, ReadyImage, RemoteImage, VmError, VmHost, VmListed,
    VmSize, VmVerb,
};
use crossbeam_channel::Receiver;
use serde_json::Value;

use crate::anka::call::{Call, Input};
use crate::anka::command::Commands;
use crate::anka::lock::PullLock;
use crate::anka::timeouts::AnkaTimeouts;
use crate::anka::uses::Uses;

/// What the driver has to be told.
pub(crate) struct AnkaSettings {
    /// Our whole environment as it was captured at start; children get the few variables that they may see.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// A limit for each verb.
    pub(crate) timeouts: AnkaTimeouts,
    /// The grace and the report of a command.
    pub(crate) limits: Limits,
    /// `~/.config/anklet`, where the lock between pulls and clones lies.
    pub(crate) folder: PathBuf,
    /// What must not be seen in anything that a command printed.
    pub(crate) secrets: Vec<Secret>,
}

/// The driver. Any number of threads may use it at once.
pub(crate) struct Anka {
    commands: Commands,
    timeouts: AnkaTimeouts,
    secrets: Vec<Secret>,
    pull_lock: PullLock,
    uses: Uses,
    folder: PathBuf,
    disk_settle: Duration,
    /// VMs whose clone this process has seen end, until they are deleted.
    cloned: Mutex<BTreeSet<VmName>>,
}

impl Anka {
    /// Runs nothing yet.
    pub(crate) fn new(settings: AnkaSettings) -> Self {
        let limits = &settings.limits;
        Self {
            commands: Commands::new(&settings.environment, limits.command_grace, limits.command_report),
            timeouts: settings.timeouts,
            secrets: settings.secrets,
            pull_lock: PullLock::new(&settings.folder),
            uses: Uses::new(&settings.folder),
            disk_settle: limits.disk_settle,
            folder: settings.folder,
            cloned: Mutex::default(),
        }
    }

    /// Runs a command whose answer is an envelope; its body.
    fn ask(&self, call: Call, ear: &Ear<'_>) -> Result<Value, VmError> {
        let verb = call.verb();
        reply::body(verb, &self.commands.run(call, ear)?, &self.secrets)
    }

    fn listed(&self, ear: &Ear<'_>) -> Result<Vec<VmListed>, VmError> {
        let call = Call::new("list", self.timeouts.list);
        reply::vms("list", &self.ask(call, ear)?)
    }

    /// The size of the disk that VMs lie on: that of the home folder. 0, and so no buffer, if it does not tell.
    fn disk_bytes(&self) -> u64 {
        rustix::fs::statvfs(&self.folder).map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize))
    }

    fn cloned_here(&self) -> MutexGuard<'_, BTreeSet<VmName>> {
        self.cloned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl VmHost for Anka {
    fn list(&self, ear: &Ear<'_>) -> Result<Vec<VmListed>, VmError> {
        self.listed(ear)
    }

    fn find_image(
        &self,
        image: &Image,
        source: &ImageSource,
        listed: &[VmListed],
        ear: &Ear<'_>,
    ) -> Result<FoundImage, VmError> {
        self.find(image, source, listed, ear)
    }

    fn pull_image(
        &self,
        image: &RemoteImage,
        source: &ImageSource,
        ear: &Ear<'_>,
    ) -> Result<ReadyImage, VmError> {
        self.pull(image, source, ear)
    }

    fn pull_ended(&self) -> Result<Receiver<()>, VmError> {
        self.pull_lock.pull_ended().map_err(|source| VmError::NotStarted { verb: "registry pull", source })
    }

    fn size(&self, name: &str, tag: Option<&str>, ear: &Ear<'_>) -> Result<Option<VmSize>, VmError> {
        let mut call = Call::new("show", self.timeouts.show);
        if let Some(tag) = tag {
            call = call.word("-t").value(tag)?;
        }
        Ok(reply::size(&self.ask(call.value(name)?, ear)?))
    }

    fn clone_image(&self, image: &ReadyImage, vm: &VmName, ear: &Ear<'_>) -> Result<(), VmError> {
        self.clone_template(image, vm, ear)
    }

    fn start(&self, vm: &VmName, ear: &Ear<'_>) -> Result<(), VmError> {
        self.ask(Call::new("start", self.timeouts.start).vm(vm)?, ear).map(drop)
    }

    fn mount(&self, vm: &VmName, mount: &Mount, ear: &Ear<'_>) -> Result<(), VmError> {
        let mut folder = mount.host.clone().into_os_string();
        if let Some(name) = &mount.name {
            folder.push(":");
            folder.push(name);
        }
        let call = Call::new("mount", self.timeouts.mount).vm(vm)?.hidden(folder);
        self.ask(call, ear).map(drop)
    }

    /// Symbolic links are resolved here, since `anka cp` does not follow them; the guest sees the name of what a link
    /// points to.
    fn copy(&self, vm: &VmName, from: &Path, ear: &Ear<'_>) -> Result<(), VmError> {
        let verb = "cp";
        let from = from.canonicalize().map_err(|source| VmError::NotStarted { verb, source })?;
        let call = Call::new(verb, self.timeouts.cp).word("-a").hidden(from);
        self.ask(call.guest_home(vm)?, ear).map(drop)
    }

    /// `anka run` starts a VM that does not run: a stopped VM must not be asked this way whether it is well. When the
    /// command is cut short, what runs in the guest goes on until the VM is deleted.
    fn run(&self, vm: &VmName, run: &GuestRun<'_>, ear: &Ear<'_>) -> Result<GuestOutput, VmError> {
        // The guest gets the words without a shell in between: the line stays one word up to the guest's own bash.
        let mut call = Call::new("run", run.limit).vm(vm)?.word("bash").word("-c").hidden(run.line);
        let mut secrets = self.secrets.clone();
        if let Some(input) = run.input {
            call = call.input(Input::Bytes(input.reveal().as_bytes().to_vec()));
            secrets.push(input.clone());
        }
        reply::guest(run.name, &self.commands.run(call, ear)?, run.n_kept_bytes, &secrets)
    }

    fn stop_force(&self, vm: &VmName, ear: &Ear<'_>) -> Result<(), VmError> {
        self.ask(Call::new("stop", self.timeouts.stop).word("--force").vm(vm)?, ear).map(drop)
    }

    /// Well when `anka` says so or does not find the VM; that it is gone for good is seen in the next list.
    fn delete(&self, vm: &VmName, ear: &Ear<'_>) -> Result<(), VmError> {
        let verb = "delete";
        self.wait_for_clone_of(vm, verb, ear)?;
        match self.ask(Call::new(verb, self.timeouts.delete).word("--yes").vm(vm)?, ear) {
            Ok(_) | Err(VmError::NotFound { .. }) => {
                self.cloned_here().remove(vm);
                self.uses.end(vm);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn limit(&self, verb: VmVerb) -> Duration {
        let timeouts = &self.timeouts;
        let commands = match verb {
            VmVerb::List => timeouts.list + timeouts.show,
            // The list of the registry, the tags on disk, and two looks at the template there; each may have to be killed.
            VmVerb::Find => timeouts.list + timeouts.show * 3 + self.commands.longest_end() * 3,
            // Clones that are under way are waited for first, then room is made.
            VmVerb::Pull => {
                timeouts.clone + timeouts.show + pull::ROOM_LIMIT + timeouts.delete + timeouts.pull
            }
            VmVerb::Clone => timeouts.clone,
            VmVerb::Start => timeouts.start,
            VmVerb::Mount => timeouts.mount,
            VmVerb::Copy => timeouts.cp,
            // A clone that an earlier life left behind is waited for first.
            VmVerb::Delete => timeouts.clone + timeouts.delete.max(timeouts.stop),
        };
        commands + self.commands.longest_end()
    }
}

#[cfg(test)]
mod tests;
