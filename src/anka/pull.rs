//! Pulls a template from the registry, and makes room for it: the least used templates go first, one by one.
//!
//! All of it happens under one hold of the lock, which each child gets as its standard input: what a killed daemon leaves
//! behind is waited for by the next one. Nothing is deleted if deleting everything would not do.

use std::time::{Duration, Instant};

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::name::VmName;
use anklet_plugin_api::sorted::sort_by;
use anklet_plugin_api::vm::{ImageSource, ReadyImage, RemoteImage, VmError, VmListed};
use log::{info, warn};

use crate::anka::Anka;
use crate::anka::call::{Call, Input, RegistryCommand};
use crate::anka::reply::{self, PullSize};
use crate::anka::templates::OUR_VMS;
use crate::anka::text::printable;
use crate::host::lock::FileLock;

/// Making room may take so long, beyond the command under way.
pub(super) const ROOM_LIMIT: Duration = Duration::from_secs(1_200);
/// How often the free space is looked at again while it does not grow by what was deleted; each time after twice as long. Nothing else is
/// deleted meanwhile: what was deleted may do.
const N_SETTLES: u32 = 5;

/// A template that may be deleted.
struct Deletable {
    uuid: String,
    n_clones: u64,
    used_at: String,
    n_bytes: u64,
}

impl Anka {
    /// See [`VmHost::pull_image`](anklet_plugin_api::vm::VmHost::pull_image).
    pub(super) fn pull(
        &self,
        image: &RemoteImage,
        source: &ImageSource,
        ear: &Ear<'_>,
    ) -> Result<ReadyImage, VmError> {
        let lock =
            self.pull_lock.alone_after_clones("registry pull", ear, Instant::now() + self.timeouts.clone)?;
        let answer = self
            .make_room(image, source, &lock, ear)
            .and_then(|()| self.pull_under(image, source, &lock, ear));
        if matches!(answer, Err(VmError::Cut { .. } | VmError::TooSlow { .. })) {
            // It was killed. If that did not help it still has the lock, and must keep it.
            lock.leave();
        }
        answer?;
        Ok(ReadyImage { template: image.template.clone(), tag: image.tag.clone(), is_current: true })
    }

    fn pull_under(
        &self,
        image: &RemoteImage,
        source: &ImageSource,
        lock: &FileLock,
        ear: &Ear<'_>,
    ) -> Result<(), VmError> {
        let remote = source.registry_url.as_deref();
        let mut call = Call::registry(RegistryCommand::Pull, remote, self.timeouts.pull)?;
        if let Some(tag) = &image.tag {
            call = call.word("-t").value(tag)?;
        }
        self.ask_under(call.value(&image.template)?, lock, ear).map(drop)
    }

    /// Runs a command that keeps the lock when we die.
    fn ask_under(&self, call: Call, lock: &FileLock, ear: &Ear<'_>) -> Result<serde_json::Value, VmError> {
        let held = lock.file().map_err(|source| VmError::NotStarted { verb: call.verb(), source })?;
        self.ask(call.input(Input::File(held)), ear)
    }

    /// Deletes what is least used until the pull fits.
    fn make_room(
        &self,
        image: &RemoteImage,
        source: &ImageSource,
        lock: &FileLock,
        ear: &Ear<'_>,
    ) -> Result<(), VmError> {
        let total = self.disk_bytes();
        // A share of a number of bytes need not be exact to the byte.
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let buffer_bytes = (total as f64 * (source.template_disk_buffer.clamp(0.0, 100.0) / 100.0)) as u64;
        let mut size = match self.pull_size(image, source, ear) {
            Ok(Some(size)) => size,
            Ok(None) => return Ok(()),
            // Without an answer the pull itself tells whether it can be done; a version that has no such question must be of use all the same.
            Err(error @ (VmError::Failed { .. } | VmError::Nonsense { .. })) => {
                warn!(template = printable(&image.template).as_str(), error:% = error; "what a pull would take is not known; it is tried without making room");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if fits(size, buffer_bytes) {
            return Ok(());
        }
        let gives_up_at = Instant::now() + ROOM_LIMIT;
        let deletable = self.deletable(image, ear)?;
        let deletable_bytes = deletable.iter().map(|one| one.n_bytes).fold(0, u64::saturating_add);
        let refused = |size: PullSize, deletable_bytes| VmError::NoSpace {
            needed_bytes: size.needed,
            buffer_bytes,
            free_bytes: size.free,
            deletable_bytes,
        };
        if !fits(PullSize { free: size.free.saturating_add(deletable_bytes), ..size }, buffer_bytes) {
            return Err(refused(size, deletable_bytes));
        }
        let mut left_bytes = deletable_bytes;
        for template in deletable {
            if Instant::now() >= gives_up_at {
                break;
            }
            info!(
                template = printable(&template.uuid).as_str(), bytes = template.n_bytes, clones = template.n_clones,
                neededBytes = size.needed, freeBytes = size.free, bufferBytes = buffer_bytes;
                "deleting the least used template to make room for a pull"
            );
            self.delete_template(&template.uuid, lock, ear)?;
            left_bytes = left_bytes.saturating_sub(template.n_bytes);
            match self.settled_size(image, source, (size, template.n_bytes, buffer_bytes), ear)? {
                None => return Ok(()),
                Some(now) => size = now,
            }
            if fits(size, buffer_bytes) {
                return Ok(());
            }
        }
        Err(refused(size, left_bytes))
    }

    /// What a pull would take. What the registry does not know is found out by the pull itself.
    fn pull_size(
        &self,
        image: &RemoteImage,
        source: &ImageSource,
        ear: &Ear<'_>,
    ) -> Result<Option<PullSize>, VmError> {
        // The registry is the last word here, not an option.
        let mut call =
            Call::new("pull", self.timeouts.show).value(&image.template)?.word("--check-download-size");
        if let Some(tag) = &image.tag {
            call = call.word("-t").value(tag)?;
        }
        if let Some(remote) = &source.registry_url {
            call = call.value(remote)?;
        }
        reply::pull_size("pull", &self.ask(call, ear)?)
    }

    /// The same after a deletion: newer versions give the room back some time later, and layers may be shared.
    fn settled_size(
        &self,
        image: &RemoteImage,
        source: &ImageSource,
        (before, n_bytes, buffer_bytes): (PullSize, u64, u64),
        ear: &Ear<'_>,
    ) -> Result<Option<PullSize>, VmError> {
        let mut n_looks = 0;
        loop {
            let size = self.pull_size(image, source, ear)?;
            n_looks += 1;
            let grown = size.map_or(u64::MAX, |size| size.free.saturating_sub(before.free));
            let will_do = size.is_none_or(|size| fits(size, buffer_bytes));
            if n_looks > N_SETTLES || grown >= n_bytes / 2 || will_do {
                return Ok(size);
            }
            if ear.rest_until(Instant::now() + self.disk_settle * (1 << (n_looks - 1))) {
                return Err(VmError::Cut { verb: "pull" });
            }
        }
    }

    /// The templates that may go, in the order in which they go: by uses on this host, then by last access.
    fn deletable(&self, image: &RemoteImage, ear: &Ear<'_>) -> Result<Vec<Deletable>, VmError> {
        let listed = self.listed(ear)?;
        let is_listed = |vm: &VmName| listed.iter().any(|row| row.name == vm.as_str());
        let mut deletable = Vec::new();
        for row in listed.iter().filter(|row| may_go(row, image)) {
            let known = self.uses.of(&row.uuid, is_listed);
            if !known.vms.is_empty() {
                continue;
            }
            let call = Call::new("show", self.timeouts.show).value(&row.uuid)?;
            match self.ask(call, ear) {
                Ok(body) => {
                    let (n_bytes, used_at) = reply::disk_use(&body);
                    let uuid = row.uuid.clone();
                    deletable.push(Deletable { uuid, n_clones: known.n_clones, used_at, n_bytes });
                }
                Err(error @ VmError::Cut { .. }) => return Err(error),
                Err(error) => {
                    warn!(template = printable(&row.uuid).as_str(), error:% = error; "a template cannot be looked at; it stays");
                }
            }
        }
        sort_by(&mut deletable, |one, other| {
            (one.n_clones, &one.used_at, &one.uuid).cmp(&(other.n_clones, &other.used_at, &other.uuid))
        });
        Ok(deletable)
    }

    fn delete_template(&self, uuid: &str, lock: &FileLock, ear: &Ear<'_>) -> Result<(), VmError> {
        let call = Call::new("delete", self.timeouts.delete).word("--yes").value(uuid)?;
        match self.ask_under(call, lock, ear) {
            Ok(_) | Err(VmError::NotFound { .. }) => {
                self.uses.forget(uuid);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Only what came from a registry can come back from there: VMs without a tag are people's own work. What runs is in use.
fn may_go(row: &VmListed, image: &RemoteImage) -> bool {
    row.tag.is_some()
        && !row.running
        && !row.name.starts_with(OUR_VMS)
        && !row.uuid.eq_ignore_ascii_case(&image.template)
}

fn fits(size: PullSize, buffer_bytes: u64) -> bool {
    size.free >= size.needed.saturating_add(buffer_bytes)
}
