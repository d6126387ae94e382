//! Templates: what is on disk, and the clone made of it. Also the lock between pulls and clones.
//!
//! A pull beside another pull or a clone corrupts data, on the whole host. So a pull needs `pull.lock` alone and clones
//! share it, and it is the *child* that holds it, as its standard input: it may outlive us.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anklet_plugin_api::ear::{Ear, Heard};
use anklet_plugin_api::job::Image;
use anklet_plugin_api::name::VmName;
use anklet_plugin_api::vm::{ReadyImage, VmError, VmListed};
use log::debug;

use crate::anka::Anka;
use crate::anka::call::{Call, Input};
use crate::anka::reply;
use crate::anka::text::{argument_fault, printable};
use crate::host::lock::{FileLock, Sharing};

/// Our VMs' names begin with this. A job must never be given another job's VM as its template.
const OUR_VMS: &str = "anklet-vm-";

/// The lock between pulls and clones of this host.
pub(crate) struct PullLock {
    path: PathBuf,
    /// A look whether the lock is free takes it for a moment; nobody else of this process must be turned away by that.
    gate: Mutex<()>,
}

impl PullLock {
    /// The lock file of the folder `~/.config/anklet`.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { path: folder.join("pull.lock"), gate: Mutex::new(()) }
    }

    /// Takes the lock as clones do; none while a pull holds it.
    pub(crate) fn shared(&self) -> io::Result<Option<FileLock>> {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        FileLock::try_take(&self.path, Sharing::Shared)
    }

    /// Takes the lock as a pull does; none while another pull or a clone holds it.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the pull, which this driver does not do yet"))]
    pub(crate) fn alone(&self) -> io::Result<Option<FileLock>> {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        FileLock::try_take(&self.path, Sharing::Alone)
    }

    /// Whether a clone holds the lock. While a pull does, none can.
    fn is_shared(&self) -> io::Result<bool> {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let free = FileLock::try_take(&self.path, Sharing::Alone)?.is_some();
        Ok(!free && FileLock::try_take(&self.path, Sharing::Shared)?.is_some())
    }

    /// Waits until no clone is under way; [`VmError::Busy`] when the limit passes.
    fn wait_for_clones(&self, verb: &'static str, ear: &Ear<'_>, deadline: Instant) -> Result<(), VmError> {
        let unlockable = |source| VmError::NotStarted { verb, source };
        if !self.is_shared().map_err(unlockable)? {
            return Ok(());
        }
        debug!(verb; "waiting for clones that are under way");
        let taken = FileLock::taking(&self.path, Sharing::Alone).map_err(unlockable)?;
        match ear.wait(&taken, deadline) {
            Heard::Done(taken) => taken.map(drop).map_err(unlockable),
            Heard::Cut => Err(VmError::Cut { verb }),
            Heard::TooSlow | Heard::Gone => Err(VmError::Busy),
        }
    }
}

impl Anka {
    /// See [`VmHost::ensure_image`](anklet_plugin_api::vm::VmHost::ensure_image).
    pub(super) fn find_image(
        &self,
        image: &Image,
        listed: &[VmListed],
        ear: &Ear<'_>,
    ) -> Result<ReadyImage, VmError> {
        let texts = [Some(image.template.as_str()), image.tag.as_deref()];
        if let Some(fault) = texts.into_iter().flatten().find_map(argument_fault) {
            return Err(not_on_disk(image, format!("it cannot be asked for: {fault}")));
        }
        let _lock = self.lock_for_clone("list")?;
        let Some(template) = find(listed, &image.template) else {
            return self.pull_missing(image, "no template of that name or id is on disk".to_string());
        };
        let ready = |tag: Option<&String>| ReadyImage { template: template.uuid.clone(), tag: tag.cloned() };
        // Without a tag the latest is meant; what is on disk is taken for it.
        let Some(wanted) = &image.tag else { return Ok(ready(None)) };
        if let Some(tag) = template.tag.as_ref().filter(|tag| tag.eq_ignore_ascii_case(wanted)) {
            return Ok(ready(Some(tag)));
        }
        match choose_tag(&self.tags(&template.uuid, ear)?, wanted) {
            Some(tag) => Ok(ready(Some(tag))),
            None => self.pull_missing(image, format!("tag {} is not on disk", printable(wanted))),
        }
    }

    /// See [`VmHost::clone_image`](anklet_plugin_api::vm::VmHost::clone_image). The tag is named in the clone itself, so
    /// that the look whether it is on disk and the clone are one act under one hold of the lock.
    pub(super) fn clone_template(
        &self,
        image: &ReadyImage,
        vm: &VmName,
        ear: &Ear<'_>,
    ) -> Result<(), VmError> {
        let verb = "clone";
        let lock = self.lock_for_clone(verb)?;
        let held = lock.file().map_err(|source| VmError::NotStarted { verb, source })?;
        let mut call = Call::new(verb, self.timeouts.clone);
        if let Some(tag) = &image.tag {
            call = call.word("-t").value(tag)?;
        }
        let call = call.value(&image.template)?.vm(vm)?.input(Input::File(held));
        let answer = self.ask(call, ear);
        if matches!(answer, Err(VmError::Cut { .. } | VmError::TooSlow { .. })) {
            // It was killed. If that did not help it still has the lock, and must keep it.
            lock.leave();
        }
        // Nothing of this clone is under way any more, so its deletion need not wait for other clones.
        self.cloned_here().insert(vm.clone());
        answer.map(drop)
    }

    /// Waits for a clone of `vm` that an earlier life of this daemon may have started and that goes on by itself.
    pub(super) fn wait_for_clone_of(
        &self,
        vm: &VmName,
        verb: &'static str,
        ear: &Ear<'_>,
    ) -> Result<(), VmError> {
        if self.cloned_here().contains(vm) {
            return Ok(());
        }
        self.pull_lock.wait_for_clones(verb, ear, Instant::now() + self.timeouts.clone)
    }

    /// The tags of a template. One that was never pushed has none and may answer with an error.
    fn tags(&self, template: &str, ear: &Ear<'_>) -> Result<Vec<String>, VmError> {
        let call = Call::new("show", self.timeouts.show).value(template)?.word("tag");
        match self.ask(call, ear) {
            Ok(body) => Ok(reply::tags(&body)),
            Err(VmError::Failed { .. } | VmError::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// What is not on disk has to be pulled; this driver does not pull.
    fn pull_missing(&self, image: &Image, why: String) -> Result<ReadyImage, VmError> {
        Err(not_on_disk(image, why))
    }

    fn lock_for_clone(&self, verb: &'static str) -> Result<FileLock, VmError> {
        let lock = self.pull_lock.shared().map_err(|source| VmError::NotStarted { verb, source })?;
        lock.ok_or(VmError::Busy)
    }
}

/// The template that a label means: by id, else by name. VMs of ours are no templates.
fn find<'a>(listed: &'a [VmListed], template: &str) -> Option<&'a VmListed> {
    let templates = || listed.iter().filter(|row| !row.name.starts_with(OUR_VMS));
    templates()
        .find(|row| row.uuid.eq_ignore_ascii_case(template))
        .or_else(|| templates().find(|row| row.name == template))
        .or_else(|| templates().find(|row| row.name.eq_ignore_ascii_case(template)))
}

/// The tag that a label means. Labels compare without case, so a tag that differs in it will do.
fn choose_tag<'a>(tags: &'a [String], wanted: &str) -> Option<&'a String> {
    let exact = tags.iter().find(|tag| *tag == wanted);
    exact.or_else(|| tags.iter().find(|tag| tag.eq_ignore_ascii_case(wanted)))
}

fn not_on_disk(image: &Image, why: String) -> VmError {
    VmError::NotOnDisk { template: printable(&image.template), why }
}

#[cfg(test)]
mod tests;
