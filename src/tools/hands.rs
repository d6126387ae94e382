//! The commands that change something: each says what it is about to do, asks, and says what came of it.

use std::fs;
use std::io;
use std::path::PathBuf;

use anklet_github::address::Repository;
use anklet_github::client::Client;
use anklet_github::jobs::Cancellation;
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

/// Gives a held-back job back to the queue at once.
pub(super) fn retry(
    queues: &Queues,
    job: JobId,
    yes: bool,
    paper: &mut Paper<'_>,
) -> Result<Done, ToolError> {
    let Some((queue, entry)) = stored(queues, job, paper)? else { return Ok(Done::Not) };
    match &entry.place {
        Place::Queued | Place::Held { .. } => {}
        Place::Claimed { handler, .. } => {
            paper.wrapped(
                "",
                &format!("Job {job} is in the hands of {handler}; there is nothing to retry."),
            )?;
            return Ok(Done::Not);
        }
        Place::Running => {
            paper.wrapped("", &format!("Job {job} is running; there is nothing to retry."))?;
            return Ok(Done::Not);
        }
    }
    let what =
        format!("Job {job} ({}) goes back to the queue at once, for every host.", full_name(&entry.job));
    if !may(paper, &what, yes)? {
        return Ok(Done::Not);
    }
    settle(queue, job, &ByHand::Retry, "It is queued.", paper)
}

/// Takes a job out of the queue for good.
pub(super) fn remove(
    queues: &Queues,
    job: JobId,
    yes: bool,
    paper: &mut Paper<'_>,
) -> Result<Done, ToolError> {
    let Some((queue, entry)) = stored(queues, job, paper)? else { return Ok(Done::Not) };
    let more = match &entry.place {
        Place::Claimed { handler, host, .. } => {
            format!(
                " {handler} on host {host} stops preparing it; a VM on which it runs stays until the job ends."
            )
        }
        Place::Queued | Place::Held { .. } | Place::Running => String::new(),
    };
    let what = format!(
        "Job {job} ({}) leaves the queue for good. At GitHub it goes on waiting until it is cancelled there.{more}",
        full_name(&entry.job)
    );
    if !may(paper, &what, yes)? {
        return Ok(Done::Not);
    }
    settle(queue, job, &ByHand::Remove, "It is removed.", paper)
}

/// Cancels the job's run at GitHub, with the credentials of the config.
pub(super) fn cancel(
    queues: &Queues,
    job: JobId,
    yes: bool,
    paper: &mut Paper<'_>,
) -> Result<Done, ToolError> {
    let Some((queue, entry)) = stored(queues, job, paper)? else { return Ok(Done::Not) };
    let job_facts = &entry.job;
    let Some(section) = queue.handlers.iter().find(|section| section.scope.covers(job_facts)) else {
        let why = format!(
            "no handler of this config has credentials for {}; run this on a host that has one",
            full_name(job_facts)
        );
        return Err(ToolError::Failed(why));
    };
    let what = format!(
        "The whole run {} of {} is cancelled at GitHub, with every job in it: GitHub knows nothing smaller.",
        job_facts.run_id,
        full_name(job_facts)
    );
    if !may(paper, &what, yes)? {
        return Ok(Done::Not);
    }
    let client = Client::new(&section.github, &section.limits)
        .map_err(|error| ToolError::Failed(error.to_string()))?;
    // Before the call: whoever asks afterwards must find who it was, also if we are cut off now.
    let said = ByHand::Say(CANCELLED_BY_HAND.to_owned());
    queue.store.by_hand(job, &said).map_err(|error| ToolError::store(&error, &queue.name))?;
    let repository = Repository { owner: &job_facts.owner, repo: &job_facts.repo };
    let answer = client.cancel_run(repository, job_facts.run_id, &Ear::deaf());
    match answer.map_err(|error| ToolError::Failed(format!("GitHub did not cancel the run: {error}")))? {
        Cancellation::Accepted => {
            paper.line("GitHub cancels it; the job leaves the queue when GitHub says that it is over.")?;
            Ok(Done::Well)
        }
        Cancellation::AlreadyOver => {
            paper.line("GitHub says that the run is over already.")?;
            Ok(Done::Well)
        }
        Cancellation::Refused(refusal) => {
            let needed = refusal.permission.map(|needed| format!(" (it needs the permission {needed})"));
            Err(ToolError::Failed(format!(
                "GitHub refuses: {} {}{}",
                refusal.status,
                refusal.message,
                needed.unwrap_or_default()
            )))
        }
    }
}

fn stored<'a>(
    queues: &'a Queues,
    job: JobId,
    paper: &mut Paper<'_>,
) -> Result<Option<(&'a Queue, Entry)>, ToolError> {
    match queues.find(job)? {
        Some((queue, dossier)) => match dossier.entry {
            Some(entry) => Ok(Some((queue, entry))),
            None => {
                paper.line(&format!("Job {job} has ended."))?;
                Ok(None)
            }
        },
        None => {
            not_there(queues, job, paper)?;
            Ok(None)
        }
    }
}

fn settle(
    queue: &Queue,
    job: JobId,
    what: &ByHand,
    done: &str,
    paper: &mut Paper<'_>,
) -> Result<Done, ToolError> {
    match queue.store.by_hand(job, what).map_err(|error| ToolError::store(&error, &queue.name))? {
        true => {
            paper.line(done)?;
            Ok(Done::Well)
        }
        false => {
            paper.line("It has moved on meanwhile; nothing was done.")?;
            Ok(Done::Not)
        }
    }
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
    let what = "The handlers of this host take no new jobs; jobs that run go on. `anklet resume` ends that.";
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
    if !may(paper, "The handlers of this host take jobs again.", yes)? {
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
