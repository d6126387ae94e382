//! The commands that change something: each says what it is about to do, asks, and says what came of it.

use std::fs;
use std::io;
use std::path::PathBuf;

use anklet_github::address::Repository;
use anklet_github::client::Client;
use anklet_github::jobs::{Cancellation, Refusal};
use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::job::{Job, JobId};
use anklet_plugin_api::store::{ByHand, Entry, Place};

use super::listing::not_there;
use super::paper::Paper;
use super::queues::{Queue, Queues};
use super::story::CANCELLED_BY_HAND;
use super::{Done, ToolError, may};
use crate::config::env::Environment;
use crate::host::{self, DRAIN_FILE};

/// A change of one job.
pub(super) struct Hand<'a, 'b> {
    pub(super) queues: &'a Queues,
    pub(super) job: JobId,
    /// Nobody needs to be asked.
    pub(super) yes: bool,
    pub(super) paper: &'a mut Paper<'b>,
}

impl<'a> Hand<'a, '_> {
    /// Gives a held-back job back to the queue at once.
    pub(super) fn retry(mut self) -> Result<Done, ToolError> {
        let Some((queue, entry)) = self.stored()? else { return Ok(Done::Not) };
        let where_it_is = match &entry.place {
            Place::Queued | Place::Held { .. } => None,
            Place::Claimed { handler, .. } => Some(format!("in the hands of {handler}")),
            Place::Running => Some("running".to_owned()),
        };
        if let Some(place) = where_it_is {
            self.paper.wrapped("", &format!("Job {} is {place}; there is nothing to retry.", self.job))?;
            return Ok(Done::Not);
        }
        let name = full_name(&entry.job);
        let what = format!("Job {} ({name}) goes back to the queue at once, for every host.", self.job);
        self.settle(queue, &what, &ByHand::Retry, "It is queued.")
    }

    /// Takes a job out of the queue for good.
    pub(super) fn remove(mut self) -> Result<Done, ToolError> {
        let Some((queue, entry)) = self.stored()? else { return Ok(Done::Not) };
        let more = match &entry.place {
            Place::Claimed { handler, host, .. } => {
                format!(
                    " {handler} on host {host} stops preparing it; a VM on which it runs stays until the job ends."
                )
            }
            Place::Queued | Place::Held { .. } | Place::Running => String::new(),
        };
        let what = format!(
            "Job {} ({}) leaves the queue for good. At GitHub it goes on waiting until it is cancelled there.{more}",
            self.job,
            full_name(&entry.job)
        );
        self.settle(queue, &what, &ByHand::Remove, "It is removed.")
    }

    /// Cancels the job's run at GitHub, with the credentials of the config.
    pub(super) fn cancel(mut self) -> Result<Done, ToolError> {
        let Some((queue, entry)) = self.stored()? else { return Ok(Done::Not) };
        let job = &entry.job;
        let Some(section) = queue.handlers.iter().find(|section| section.scope.covers(job)) else {
            let why = format!(
                "no handler of this config has credentials for {}; run this on a host that has one",
                full_name(job)
            );
            return Err(ToolError::Failed(why));
        };
        let what = format!(
            "The whole run {} of {} is cancelled at GitHub, with every job in it: GitHub knows nothing smaller.",
            job.run_id,
            full_name(job)
        );
        if !may(self.paper, &what, self.yes)? {
            return Ok(Done::Not);
        }
        let client = Client::new(&section.github, &section.limits)
            .map_err(|error| ToolError::Failed(error.to_string()))?;
        // Before the call: whoever asks afterwards must find who it was, also if we are cut off now.
        let said = ByHand::Say(CANCELLED_BY_HAND.to_owned());
        queue.store.by_hand(self.job, &said).map_err(|error| ToolError::store(&error, &queue.name))?;
        let repository = Repository { owner: &job.owner, repo: &job.repo };
        let answer = client.cancel_run(repository, job.run_id, &Ear::deaf());
        match answer.map_err(|error| ToolError::Failed(format!("GitHub did not cancel the run: {error}")))? {
            Cancellation::Accepted => self
                .paper
                .line("GitHub cancels it; the job leaves the queue when GitHub says that it is over.")?,
            Cancellation::AlreadyOver => self.paper.line("GitHub says that the run is over already.")?,
            Cancellation::Refused(refusal) => return Err(refused(&refusal)),
        }
        Ok(Done::Well)
    }

    /// The job's entry, and the queue that has it; said where there is none.
    fn stored(&mut self) -> Result<Option<(&'a Queue, Entry)>, ToolError> {
        let Some((queue, dossier)) = self.queues.find(self.job)? else {
            not_there(self.queues, self.job, self.paper)?;
            return Ok(None);
        };
        if dossier.entry.is_none() {
            self.paper.line(&format!("Job {} has ended.", self.job))?;
        }
        Ok(dossier.entry.map(|entry| (queue, entry)))
    }

    /// Asks whether it shall be, then does it.
    fn settle(&mut self, queue: &Queue, what: &str, change: &ByHand, done: &str) -> Result<Done, ToolError> {
        if !may(self.paper, what, self.yes)? {
            return Ok(Done::Not);
        }
        if queue.store.by_hand(self.job, change).map_err(|error| ToolError::store(&error, &queue.name))? {
            self.paper.line(done)?;
            Ok(Done::Well)
        } else {
            self.paper.line("It has moved on meanwhile; nothing was done.")?;
            Ok(Done::Not)
        }
    }
}

fn refused(refusal: &Refusal) -> ToolError {
    let needed = refusal.permission.as_ref().map(|needed| format!(" (it needs the permission {needed})"));
    let (status, message) = (refusal.status, &refusal.message);
    ToolError::Failed(format!("GitHub refuses: {status} {message}{}", needed.unwrap_or_default()))
}

fn full_name(job: &Job) -> String {
    format!("{}/{} {}", job.owner, job.repo, job.name).trim_end().to_owned()
}

/// Makes the drain file.
pub(super) fn drain(environment: &Environment, yes: bool, paper: &mut Paper<'_>) -> Result<Done, ToolError> {
    let folder = host_folder(environment)?;
    let file = folder.join(DRAIN_FILE);
    if file.exists() {
        paper.line("This host is drained already; `anklet resume` ends that.")?;
        return Ok(Done::Well);
    }
    let what =
        "The handlers of this host will take no new jobs; jobs that run go on. `anklet resume` ends that.";
    if !may(paper, what, yes)? {
        return Ok(Done::Not);
    }
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&file, "made by anklet drain\n"))
        .map_err(|error| ToolError::Failed(format!("cannot make {}: {error}", file.display())))?;
    host::tell_of_drain(&folder);
    paper.line("It is drained.")?;
    Ok(Done::Well)
}

/// Removes the drain file.
pub(super) fn resume(environment: &Environment, yes: bool, paper: &mut Paper<'_>) -> Result<Done, ToolError> {
    let folder = host_folder(environment)?;
    let file = folder.join(DRAIN_FILE);
    if !file.exists() {
        paper.line("This host is not drained.")?;
        return Ok(Done::Well);
    }
    if !may(paper, "The handlers of this host will take jobs again.", yes)? {
        return Ok(Done::Not);
    }
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ToolError::Failed(format!("cannot remove {}: {error}", file.display())))
        }
        _ => {
            host::tell_of_drain(&folder);
            paper.line("It takes jobs again.")?;
            Ok(Done::Well)
        }
    }
}

fn host_folder(environment: &Environment) -> Result<PathBuf, ToolError> {
    environment.config_folder().ok_or_else(|| {
        ToolError::Failed(
            "the variable HOME is not set; set it to the home folder of Anklet's user".to_owned(),
        )
    })
}
