//! The image of a job: where it is, what a VM of it takes, and the pull of one that is not on disk.
//!
//! A pull that another handler of the host runs is waited for with the job paused, so that any other host may take it. After
//! that everything is looked at anew: the other pull may have brought this very image.

use std::time::Instant;

use crossbeam_channel::{Receiver, at, select};
use log::debug;

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::presence::Because;
use anklet_plugin_api::report::Status;
use anklet_plugin_api::store::{Claim, Counted};
use anklet_plugin_api::vm::{
    FoundImage, ImageSource, ReadyImage, RemoteImage, VmError, VmListed, VmRecord, VmSize, VmVerb,
};

use crate::facts::job_log;
use crate::outcome::{Blame, Failure, Setback};
use crate::sources::Asker;
use crate::worker::{InHand, Seen, Unanswered, Worker};

impl Worker {
    /// Takes a slot of the host, and room on it, for the job's VM; the image is on disk then.
    pub(crate) fn reserve_and_ready(
        &self,
        claim: &mut Claim,
        hand: &mut InHand,
    ) -> Result<ReadyImage, Setback> {
        loop {
            let listed = self.list(claim, hand)?;
            let found = self.find_image(claim, hand, &listed)?;
            let need = self.need(claim, &hand.record, &found)?;
            if hand.reservation.is_none() {
                hand.reservation = Some(self.admit(claim, &mut hand.record, need, &listed)?);
            }
            let remote = match found {
                FoundImage::OnDisk { image, .. } => return Ok(image),
                FoundImage::Remote(remote) => remote,
            };
            let Some(image) = self.pull(claim, hand, &remote)? else {
                self.wait_for_pull(claim, hand)?;
                continue;
            };
            if remote.size.is_none() {
                // Only now can it be known what the VM takes.
                let listed = self.list(claim, hand)?;
                let found = FoundImage::OnDisk { image: image.clone(), maybe_old: None };
                let need = self.need(claim, &hand.record, &found)?;
                hand.reservation = Some(self.admit(claim, &mut hand.record, need, &listed)?);
            }
            return Ok(image);
        }
    }

    fn list(&self, claim: &Claim, hand: &InHand) -> Result<Vec<VmListed>, Setback> {
        self.keep(claim, self.vms.limit(VmVerb::List) * 2);
        let listed = self.step(claim, hand, Counted::No, |ear| self.vms.list(ear))?;
        self.desk.sources.listed(&listed);
        Ok(listed)
    }

    fn source(&self) -> ImageSource {
        ImageSource {
            registry_url: self.section.registry_url.clone(),
            skip_pull: self.section.skip_pull,
            template_disk_buffer: self.section.template_disk_buffer,
        }
    }

    fn find_image(&self, claim: &Claim, hand: &InHand, listed: &[VmListed]) -> Result<FoundImage, Setback> {
        self.keep(claim, self.vms.limit(VmVerb::Find));
        let find = |ear: &Ear<'_>| self.vms.find_image(&claim.job.image, &self.source(), listed, ear);
        match self.try_step(claim, hand, find) {
            Ok(found) => {
                if let FoundImage::OnDisk { maybe_old: Some(why), .. } = &found {
                    job_log!(warn, claim; "the template is taken as it is on disk; the registry may have a newer one", reason = why.as_str());
                }
                Ok(found)
            }
            Err(error @ VmError::NoSuchImage { .. }) => Err(self.not_in_registry(claim, &error)),
            Err(error) => Err(self.image_setback(claim, &error)),
        }
    }

    /// The registry does not have it: nobody can run the job, unless somebody else of this queue may have it.
    fn not_in_registry(&self, claim: &Claim, error: &VmError) -> Setback {
        let process = self.process_key();
        let asker = Asker {
            process: &process,
            queue: &self.section.queue,
            registry: &self.section.registry_url,
            life: self.limits().verdict_life,
        };
        let group = claim.job.group();
        match self.desk.sources.is_nowhere(asker, &claim.job.image, &group, &*self.store) {
            Ok(true) => {
                job_log!(error, claim; "anka template or tag not found in registry; cancelling job", error:% = error);
                return Setback::Hopeless(error.to_string());
            }
            Ok(false) => {}
            Err(unheard) => debug!(error:% = unheard; "the store does not tell what other processes have"),
        }
        job_log!(warn, claim; "problem ensuring vm template exists on host", error:% = error);
        let what = format!("{error}; another host may have it");
        let failure = Failure::new(what, Counted::No, Blame::Nobody);
        Setback::Failed(failure.because(Because::Template))
    }

    /// This process, unlike any other of the queue.
    pub(crate) fn process_key(&self) -> String {
        format!("{} {}", self.lessee.host, self.lessee.process)
    }

    /// What a VM of the image takes; none if that is not known, or does not matter.
    fn need(&self, claim: &Claim, record: &VmRecord, found: &FoundImage) -> Result<Option<VmSize>, Setback> {
        if self.section.skip_cpu_and_memory_resource_checks {
            job_log!(warn, claim; "skipping VM CPU and memory resource checks; this plugin may overcommit host resources; use at your own risk");
            return Ok(None);
        }
        match found {
            FoundImage::Remote(remote) => Ok(remote.size),
            FoundImage::OnDisk { image, .. } => {
                let tag = image.tag.as_deref();
                let key = format!("{}:{}", image.template, tag.unwrap_or_default());
                let other_tag = tag.filter(|_| !image.is_current);
                self.size(claim, record, (&image.template, other_tag), key)
            }
        }
    }

    /// Pulls the image; none if another pull runs on this host.
    fn pull(
        &self,
        claim: &Claim,
        hand: &InHand,
        remote: &RemoteImage,
    ) -> Result<Option<ReadyImage>, Setback> {
        self.keep(claim, self.vms.limit(VmVerb::Pull));
        job_log!(info, claim; "pulling the template from the registry");
        self.status(Status::Pulling);
        let pulled = self.try_step(claim, hand, |ear| self.vms.pull_image(remote, &self.source(), ear));
        self.status(Status::Running);
        match pulled {
            Ok(image) => {
                job_log!(info, claim; "the template is pulled");
                Ok(Some(image))
            }
            Err(VmError::Busy) => Ok(None),
            Err(error @ VmError::NoSpace { .. }) => {
                job_log!(error, claim; "insufficient space on host", error:% = error);
                Err(self.vm_setback(&error, Counted::No))
            }
            Err(error) => Err(self.image_setback(claim, &error)),
        }
    }

    fn image_setback(&self, claim: &Claim, error: &VmError) -> Setback {
        if !matches!(error, VmError::Cut { .. }) {
            job_log!(warn, claim; "problem ensuring vm template exists on host", error:% = error);
        }
        self.vm_setback(error, Counted::No)
    }

    /// Holds the job ready until no pull runs on this host; any other host may take it meanwhile.
    pub(crate) fn wait_for_pull(&self, claim: &mut Claim, hand: &mut InHand) -> Result<(), Setback> {
        let ended = self.vms.pull_ended().map_err(|error| self.vm_setback(&error, Counted::No))?;
        self.pause(claim)?;
        job_log!(info, claim; "another pull runs on this host; waiting for its end");
        self.sign_hinders(&claim.job.group(), Because::Pull, "another pull runs on this host");
        while !self.turn_while_paused(claim, &mut hand.record, &ended)? {}
        self.resume(claim)
    }

    pub(crate) fn pause(&self, claim: &Claim) -> Result<(), Setback> {
        self.settled(self.patiently(&self.until_stop(), |store| store.pause(&claim.key)))?;
        job_log!(info, claim; "pushed job to paused queue");
        self.status(Status::Paused);
        Ok(())
    }

    pub(crate) fn resume(&self, claim: &Claim) -> Result<(), Setback> {
        self.settled(self.patiently(&self.until_stop(), |store| store.resume(&claim.key)))?;
        self.status(Status::Running);
        Ok(())
    }

    /// Waits until something happens; true if `wake` did. An error if the job is to be let go.
    pub(crate) fn turn_while_paused(
        &self,
        claim: &mut Claim,
        record: &mut VmRecord,
        wake: &Receiver<()>,
    ) -> Result<bool, Setback> {
        self.keep(claim, self.limits().idle_look + self.vms.limit(VmVerb::List) * 2);
        let mut is_woken = false;
        select! {
            recv(self.signals) -> _ => {}
            recv(wake) -> _ => is_woken = true,
            recv(self.drain.closed()) -> _ => return Err(Setback::Stopped),
            recv(self.interrupt.closed()) -> _ => return Err(Setback::Stopped),
            recv(at(Instant::now() + self.limits().idle_look)) -> _ => {}
        }
        match self.see(&self.until_stop(), claim, record) {
            Ok(Seen::Waits) => Ok(is_woken),
            Ok(Seen::Lost) => {
                job_log!(info, claim; "job was picked up by another host");
                Err(Setback::Useless)
            }
            Ok(Seen::RunsHere | Seen::RunsElsewhere | Seen::Over { .. }) => Err(Setback::Useless),
            Err(Unanswered) => Err(Setback::Stopped),
        }
    }
}
