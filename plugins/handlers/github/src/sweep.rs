//! The sweep: asks GitHub about jobs that nobody holds and of which nothing was heard, so that a webhook that never came costs time and
//! no job. One process sweeps each scope of a queue, with one call for a run, whatever the number of its jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use log::{debug, error, info, warn};

use anklet_plugin_api::job::{Job, JobId, News, Phase, RunId};
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::store::{Leased, Place, Silence, Source};

use anklet_github::error::ClientError;

use crate::denial::{Denials, Denied, deleted};
use crate::hub::{Asked, HubError};
use crate::worker::{Gone, Unanswered, Worker};

/// Of a budget that is not known, this much an hour is a tenth.
const UNTOLD_TENTH: u64 = 500;
const HOUR: Duration = Duration::from_secs(3_600);
/// Jobs that one look takes up at most.
const MOST_JOBS: u64 = 100;

/// The sweep of one scope of a queue.
pub(crate) struct Sweep {
    /// Which of the janitor's workers asks.
    pub(crate) i_site: usize,
    /// When the hour began in which calls are counted.
    began_at: Instant,
    n_calls: u64,
    /// Jobs that GitHub denied, and when each is asked about again.
    denied: BTreeMap<JobId, (Job, Denials, Instant)>,
    /// Repositories that cannot be seen, and when that was said.
    hidden: BTreeMap<String, Instant>,
}

/// One sweep for each queue and scope that the workers have.
pub(crate) fn sweeps(sites: &[Worker]) -> Vec<Sweep> {
    let mut seen: Vec<(&str, &Scope)> = Vec::new();
    let mut sweeps = Vec::new();
    for (i_site, site) in sites.iter().enumerate() {
        let key = (site.section.queue.as_str(), &site.section.scope);
        if !seen.contains(&key) {
            seen.push(key);
            let (denied, hidden) = (BTreeMap::new(), BTreeMap::new());
            sweeps.push(Sweep { i_site, began_at: Instant::now(), n_calls: 0, denied, hidden });
        }
    }
    sweeps
}

impl Sweep {
    /// Looks once, if this process is the one that looks.
    pub(crate) fn look(&mut self, site: &Worker) {
        let allowance = self.allowance(site);
        // While GitHub allows nothing, VMs still have to be cleaned up: the janitor does not wait here.
        if allowance == 0 || site.hub.paused_until().is_some() || !is_ours(site) {
            return;
        }
        let silence = Silence {
            scope: site.section.scope.clone(),
            first: site.limits().sweep_first,
            most: site.limits().sweep_most,
            limit: usize::try_from(allowance.min(MOST_JOBS)).unwrap_or(usize::MAX),
        };
        let Ok(Ok(mut jobs)) = site.patiently(&site.until_stop(), |store| store.silent(&silence)) else {
            return;
        };
        jobs.retain(|job| !self.denied.contains_key(&job.id));
        if self.ask_denied(site).is_err() {
            return;
        }
        let mut runs = BTreeSet::new();
        for job in &jobs {
            if !runs.insert((job.owner.to_lowercase(), job.repo.to_lowercase(), job.run_id)) {
                continue;
            }
            let of_run: Vec<_> = jobs.iter().filter(|other| is_of_run(other, job)).collect();
            if self.ask(site, job.run_id, &of_run).is_err() {
                return;
            }
        }
    }

    /// How many calls are left to the sweep in this hour: a tenth of what GitHub allows.
    fn allowance(&mut self, site: &Worker) -> u64 {
        if self.began_at.elapsed() >= HOUR {
            (self.began_at, self.n_calls) = (Instant::now(), 0);
        }
        site.hub.calls_an_hour().map_or(UNTOLD_TENTH, |limit| limit / 10).saturating_sub(self.n_calls)
    }

    /// Asks about a run and tells the store; an error means that there is no use in going on now.
    fn ask(&mut self, site: &Worker, run: RunId, jobs: &[&Job]) -> Result<(), Unanswered> {
        let Some(job) = jobs.first() else { return Ok(()) };
        let ear = site.until_stop();
        self.n_calls += 1;
        let states = match site.hub.jobs_of_run(job, &ear) {
            Ok(states) => states,
            Err(HubError::Client(ClientError::NotFound { .. })) => Vec::new(),
            Err(error) if error.is_refusal() => {
                // That one repository cannot be seen is no reason to leave out the others.
                self.say_hidden(site, job, &error.to_string());
                return Ok(());
            }
            Err(error) => {
                if !error.is_cut() {
                    warn!(workflowJobRunID = run.0, error:% = error; "cannot ask GitHub about jobs of which nothing is heard");
                }
                return Err(Unanswered);
            }
        };
        debug!(workflowJobRunID = run.0, jobs = jobs.len(); "asked GitHub about a run of which nothing is heard");
        let listed: BTreeSet<JobId> = states.iter().map(|state| state.job.id).collect();
        for state in states {
            if !state.status.is_held_back() {
                let mut news = state.news();
                // Only webhooks name the enterprise, and it is the same for all of a repository.
                news.job.enterprise.clone_from(&job.enterprise);
                tell(site, &news)?;
            }
        }
        // Jobs of an earlier attempt are not in the list.
        for job in jobs.iter().filter(|job| !listed.contains(&job.id)) {
            self.ask_about(site, job, Denials::default())?;
        }
        Ok(())
    }

    /// Asks again about jobs that GitHub denied.
    fn ask_denied(&mut self, site: &Worker) -> Result<(), Unanswered> {
        let now = Instant::now();
        let due = self.denied.iter().filter(|(_, (_, _, ask_at))| *ask_at <= now).map(|(id, _)| *id);
        let due: Vec<_> = due.collect();
        for (job, denials, _) in due.iter().filter_map(|id| self.denied.remove(id)).collect::<Vec<_>>() {
            let known = site.patiently(&site.until_stop(), |store| store.entry(job.id))?;
            let place = known.ok().flatten().map(|entry| entry.place);
            if place.is_some_and(|place| !matches!(place, Place::Claimed { .. })) {
                self.ask_about(site, &job, denials)?;
            }
        }
        Ok(())
    }

    /// Asks about one job, which GitHub has denied so often before.
    fn ask_about(&mut self, site: &Worker, job: &Job, mut denials: Denials) -> Result<(), Unanswered> {
        let ear = site.until_stop();
        self.n_calls += 1;
        match site.hub.ask(job, &ear) {
            Ok(Asked::Known(phase)) => tell(site, &News { job: job.clone(), phase, for_us: true }),
            Ok(Asked::HeldBack(_)) => Ok(()),
            Ok(Asked::Unknown) => match denials.judge(&site.hub, job, &ear) {
                Denied::NotYet => {
                    self.ask_later(job, denials, site.limits().denied_retry);
                    Ok(())
                }
                Denied::Hidden(why) => {
                    self.say_hidden(site, job, &why);
                    self.ask_later(job, denials, site.limits().refused_retry);
                    Ok(())
                }
                Denied::Gone => {
                    warn!(workflowJobID = job.id.0, workflowJobURL = job.html_url.as_str(); "GitHub has deleted the job");
                    let phase = Phase::Completed { conclusion: deleted(), runner: None };
                    tell(site, &News { job: job.clone(), phase, for_us: true })
                }
            },
            Err(error) if error.is_refusal() => {
                self.say_hidden(site, job, &error.to_string());
                Ok(())
            }
            Err(error) if error.is_cut() => Err(Unanswered),
            // It comes again by itself; a row of denials goes on then.
            Err(_) => {
                if !denials.is_empty() {
                    self.ask_later(job, denials, site.limits().denied_retry);
                }
                Ok(())
            }
        }
    }

    fn ask_later(&mut self, job: &Job, denials: Denials, wait: Duration) {
        self.denied.insert(job.id, (job.clone(), denials, Instant::now() + wait));
    }

    /// Says once in a while that a repository cannot be seen.
    fn say_hidden(&mut self, site: &Worker, job: &Job, why: &str) {
        let now = Instant::now();
        let every = site.limits().refused_retry;
        self.hidden.retain(|_, said_at| now < *said_at + every);
        let repository = format!("{}/{}", job.owner, job.repo);
        if self.hidden.contains_key(&repository) {
            return;
        }
        error!(
            repository = repository.as_str(), credential = site.hub.credential_name(job).as_str(), error = why;
            "GitHub does not let this credential see a repository; nothing is known of its jobs"
        );
        self.hidden.insert(repository, now);
    }
}

/// Whether this process is the one that sweeps.
fn is_ours(site: &Worker) -> bool {
    let life = site.limits().sweep_look * 3;
    let lease = site.lessee.lease(format!("sweep/{}", site.section.scope), life);
    matches!(site.store.lease(&lease), Ok(Leased::Ours))
}

fn is_of_run(one: &Job, other: &Job) -> bool {
    one.run_id == other.run_id
        && one.owner.eq_ignore_ascii_case(&other.owner)
        && one.repo.eq_ignore_ascii_case(&other.repo)
}

/// Tells the store what GitHub says, where that is more than it knows.
fn tell(site: &Worker, news: &News) -> Result<(), Unanswered> {
    let ear = site.until_stop();
    let Ok(known) = site.patiently(&ear, |store| store.entry(news.job.id))? else { return Ok(()) };
    let is_news = match &known {
        None => news.for_us,
        // Its handler hears of it by itself, and knows better what it does.
        Some(known) if matches!(known.place, Place::Claimed { .. }) => {
            matches!(news.phase, Phase::Completed { .. })
        }
        Some(known) => known.phase != news.phase,
    };
    if is_news {
        info!(
            workflowJobID = news.job.id.0,
            workflowJobURL = news.job.html_url.as_str(),
            phase:? = news.phase;
            "GitHub tells of a job of which no webhook came"
        );
        let _: Result<_, Gone> = site.patiently(&ear, |store| store.news(news, Source::Api))?;
    }
    Ok(())
}
