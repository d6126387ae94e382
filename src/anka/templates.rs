//! Templates: where the one that a label means can be had, and the clone made of it.
//!
//! What is on disk with the tag that was asked for costs no word to the registry. "Certainly not there" is said only
//! after the registry has answered well; everything else is "could not ask", and the job waits.

use std::time::Instant;

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::job::Image;
use anklet_plugin_api::name::VmName;
use anklet_plugin_api::vm::{FoundImage, ImageSource, ReadyImage, RemoteImage, VmError, VmListed, VmSize};

use crate::anka::Anka;
use crate::anka::call::{Call, Input, RegistryCommand};
use crate::anka::reply::{self, RegistryTemplate};
use crate::anka::text::{argument_fault, printable};
use crate::host::lock::FileLock;
use crate::similar::most_similar;

/// Our VMs' names begin with this. A job must never be given another job's VM as its template.
pub(super) const OUR_VMS: &str = "anklet-vm-";
/// How many similar names an error offers.
const N_CLOSEST: usize = 3;

impl Anka {
    /// See [`VmHost::find_image`](anklet_plugin_api::vm::VmHost::find_image).
    pub(super) fn find(
        &self,
        image: &Image,
        source: &ImageSource,
        listed: &[VmListed],
        ear: &Ear<'_>,
    ) -> Result<FoundImage, VmError> {
        let texts = [Some(image.template.as_str()), image.tag.as_deref()];
        if let Some(fault) = texts.into_iter().flatten().find_map(argument_fault) {
            return Err(not_to_be_had(image, format!("it cannot be asked for: {fault}")));
        }
        let local = find(listed, &image.template);
        match &image.tag {
            Some(tag) => self.find_tag(image, tag, source, (local, listed), ear),
            None => self.find_latest(image, source, (local, listed), ear),
        }
    }

    fn find_tag(
        &self,
        image: &Image,
        tag: &str,
        source: &ImageSource,
        (local, listed): (Option<&VmListed>, &[VmListed]),
        ear: &Ear<'_>,
    ) -> Result<FoundImage, VmError> {
        if let Some(ready) = self.find_tag_on_disk(local, tag, ear)? {
            return Ok(on_disk(ready));
        }
        let why = match local {
            Some(_) => format!("tag {} is not on disk", printable(tag)),
            None => "no template of that name or id is on disk".to_owned(),
        };
        if source.skip_pull {
            return Err(not_to_be_had(image, format!("{why}, and skip_pull is set")));
        }
        let asked = self.registry_row(image, source, (local, listed), ear);
        let row = asked.map_err(|error| could_not_ask(image, &why, error))?;
        // As the registry spells it.
        let tag = row.latest.as_deref().filter(|latest| latest.eq_ignore_ascii_case(tag)).unwrap_or(tag);
        let size = match self.registry_show(&row.uuid, Some(tag), source, ear) {
            Ok(size) => size,
            Err(VmError::NotFound { .. }) => {
                // Only a registry that shows the template without the tag can be believed that the tag is missing.
                match self.registry_show(&row.uuid, None, source, ear) {
                    Ok(_) => return Err(no_tag(image, tag, &row, &self.tags_of(local, ear)?)),
                    Err(error) => cut_or(error, None)?,
                }
            }
            // Templates that Anka 2 pushed cannot be shown; the pull tells whether the tag is there.
            Err(error) => cut_or(error, None)?,
        };
        Ok(FoundImage::Remote(RemoteImage { template: row.uuid.clone(), tag: Some(tag.to_owned()), size }))
    }

    /// Without a tag the registry's latest is meant.
    fn find_latest(
        &self,
        image: &Image,
        source: &ImageSource,
        (local, listed): (Option<&VmListed>, &[VmListed]),
        ear: &Ear<'_>,
    ) -> Result<FoundImage, VmError> {
        let as_it_is = |local: &VmListed, why: &str| FoundImage::OnDisk {
            image: ReadyImage { template: local.uuid.clone(), tag: local.tag.clone(), is_current: true },
            maybe_old: Some(why.to_owned()),
        };
        if source.skip_pull {
            return match local {
                Some(local) => Ok(as_it_is(local, "skip_pull is set")),
                None => Err(not_to_be_had(image, "it is not on disk, and skip_pull is set".to_owned())),
            };
        }
        let row = match (self.registry_row(image, source, (local, listed), ear), local) {
            (Ok(row), _) => row,
            (Err(error @ VmError::Cut { .. }), _) => return Err(error),
            (Err(VmError::NoSuchImage { .. }), Some(local)) => {
                return Ok(as_it_is(local, "the registry does not have this template"));
            }
            (Err(error), Some(local)) => return Ok(as_it_is(local, &error.to_string())),
            (Err(error), None) => return Err(could_not_ask(image, "it is not on disk", error)),
        };
        if let Some(latest) = &row.latest
            && let Some(ready) = self.find_tag_on_disk(local, latest, ear)?
        {
            return Ok(on_disk(ready));
        }
        let shown = self.registry_show(&row.uuid, row.latest.as_deref(), source, ear);
        let size = shown.or_else(|error| cut_or(error, None))?;
        Ok(FoundImage::Remote(RemoteImage { template: row.uuid.clone(), tag: row.latest.clone(), size }))
    }

    fn find_tag_on_disk(
        &self,
        local: Option<&VmListed>,
        wanted: &str,
        ear: &Ear<'_>,
    ) -> Result<Option<ReadyImage>, VmError> {
        let Some(local) = local else { return Ok(None) };
        let ready = |tag: &String, is_current| ReadyImage {
            template: local.uuid.clone(),
            tag: Some(tag.clone()),
            is_current,
        };
        if let Some(tag) = local.tag.as_ref().filter(|tag| tag.eq_ignore_ascii_case(wanted)) {
            return Ok(Some(ready(tag, true)));
        }
        let tags = self.tags(&local.uuid, ear)?;
        Ok(choose_tag(&tags, wanted).map(|tag| ready(tag, false)))
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
        // Before the lock: while this waits for a pull, that pull must not delete the template.
        self.uses.begin(&image.template, vm);
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

    fn tags_of(&self, local: Option<&VmListed>, ear: &Ear<'_>) -> Result<Vec<String>, VmError> {
        local.map_or_else(|| Ok(Vec::new()), |local| self.tags(&local.uuid, ear))
    }

    /// The template in the registry. What is not in the list, or in a list of an unknown shape, may still be shown: only a registry whose
    /// list is without the template, and that does not show it either, is believed that it has none.
    fn registry_row(
        &self,
        image: &Image,
        source: &ImageSource,
        (local, listed): (Option<&VmListed>, &[VmListed]),
        ear: &Ear<'_>,
    ) -> Result<RegistryTemplate, VmError> {
        let rows = match self.registry_list(source, ear) {
            Err(error) if !matches!(error, VmError::Nonsense { .. }) => return Err(error),
            rows => rows,
        };
        if let Some(row) = rows.as_ref().ok().and_then(|rows| find_row(rows, image, local)) {
            return Ok(row.clone());
        }
        let uuid = local.map_or(&image.template, |local| &local.uuid);
        match (self.registry_show(uuid, None, source, ear), rows) {
            (Ok(_), _) => Ok(RegistryTemplate { uuid: uuid.clone(), name: String::new(), latest: None }),
            (
                Err(error @ (VmError::Cut { .. } | VmError::TooSlow { .. } | VmError::NotStarted { .. })),
                _,
            ) => Err(error),
            (Err(_), Ok(rows)) => Err(no_template(image, &rows, listed)),
            (Err(_), Err(unreadable)) => Err(unreadable),
        }
    }

    fn registry_list(&self, source: &ImageSource, ear: &Ear<'_>) -> Result<Vec<RegistryTemplate>, VmError> {
        let call = Call::registry(RegistryCommand::List, source.registry_url.as_deref(), self.timeouts.list)?;
        reply::registry_templates(call.verb(), &self.ask(call, ear)?)
    }

    fn registry_show(
        &self,
        template: &str,
        tag: Option<&str>,
        source: &ImageSource,
        ear: &Ear<'_>,
    ) -> Result<Option<VmSize>, VmError> {
        let mut call =
            Call::registry(RegistryCommand::Show, source.registry_url.as_deref(), self.timeouts.show)?;
        if let Some(tag) = tag {
            call = call.word("-t").value(tag)?;
        }
        Ok(reply::size(&self.ask(call.value(template)?, ear)?))
    }

    fn lock_for_clone(&self, verb: &'static str) -> Result<FileLock, VmError> {
        let lock = self.pull_lock.shared().map_err(|source| VmError::NotStarted { verb, source })?;
        lock.ok_or(VmError::Busy)
    }
}

/// What stands in for an answer that did not come, unless the question was cut short.
fn cut_or<T>(error: VmError, instead: T) -> Result<T, VmError> {
    match error {
        VmError::Cut { .. } => Err(error),
        _ => Ok(instead),
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

/// The same in the registry; what is on disk under a name is the same template there.
fn find_row<'a>(
    rows: &'a [RegistryTemplate],
    image: &Image,
    local: Option<&VmListed>,
) -> Option<&'a RegistryTemplate> {
    let of_local = local.and_then(|local| rows.iter().find(|row| row.uuid.eq_ignore_ascii_case(&local.uuid)));
    let template = &image.template;
    of_local
        .or_else(|| rows.iter().find(|row| row.uuid.eq_ignore_ascii_case(template)))
        .or_else(|| rows.iter().find(|row| row.name == *template))
        .or_else(|| rows.iter().find(|row| row.name.eq_ignore_ascii_case(template)))
}

/// The tag that a label means. Labels compare without case, so a tag that differs in it will do.
fn choose_tag<'a>(tags: &'a [String], wanted: &str) -> Option<&'a String> {
    let exact = tags.iter().find(|tag| *tag == wanted);
    exact.or_else(|| tags.iter().find(|tag| tag.eq_ignore_ascii_case(wanted)))
}

fn on_disk(image: ReadyImage) -> FoundImage {
    FoundImage::OnDisk { image, maybe_old: None }
}

fn not_to_be_had(image: &Image, why: String) -> VmError {
    VmError::NotOnDisk { template: printable(&image.template), why }
}

fn could_not_ask(image: &Image, why: &str, error: VmError) -> VmError {
    match error {
        VmError::Cut { .. } | VmError::NoSuchImage { .. } => error,
        error => not_to_be_had(image, format!("{why}, and the registry cannot be asked: {error}")),
    }
}

fn no_template(image: &Image, rows: &[RegistryTemplate], listed: &[VmListed]) -> VmError {
    let there = rows.iter().map(|row| (row.name.as_str(), row.uuid.as_str()));
    let here =
        listed.iter().filter(|row| row.tag.is_some()).map(|row| (row.name.as_str(), row.uuid.as_str()));
    let both: Vec<_> = there.chain(here).collect();
    let shown = |(name, uuid): &(&str, &str)| format!("{} ({})", printable(name), printable(uuid));
    let nearest = most_similar(&image.template, &both, |(name, uuid)| [*name, *uuid], N_CLOSEST);
    VmError::NoSuchImage {
        what: format!("template {}", printable(&image.template)),
        closest: nearest.into_iter().map(shown).collect(),
    }
}

/// The registry lists only the latest tag of each template; more of them may be on disk.
fn no_tag(image: &Image, tag: &str, row: &RegistryTemplate, on_disk: &[String]) -> VmError {
    let tags: Vec<_> = row.latest.iter().chain(on_disk).map(String::as_str).collect();
    let nearest = most_similar(tag, &tags, |tag| [*tag, *tag], N_CLOSEST);
    VmError::NoSuchImage {
        what: format!("tag {} of template {}", printable(tag), printable(&image.template)),
        closest: nearest.into_iter().map(|tag| printable(tag)).collect(),
    }
}

#[cfg(test)]
mod tests;
