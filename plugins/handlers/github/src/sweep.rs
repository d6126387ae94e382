//! The sweep: asks GitHub about jobs that nobody holds and of which nothing was heard, so that a webhook that never came costs time and
//! no job. One process sweeps each scope of a queue, with one call for a run, whatever the number of its jobs.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use log::{debug, error, info, warn};

use anklet_plugin_api::job::{Job, JobId, News, Phase};
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::sorted::set_of;
use anklet_plugin_api::store::{Leased, Place, Silence, Source};

use anklet_github::error::ClientError;

use crate::denial::{Denials, Denied, deleted};
use crate::hub::{Asked, HubError};
use crate::worker::{Gone, Unanswered, Worker};

/// What GitHub allows an hour where it has not said it.
const UNTOLD_LIMIT: u64 = 5_000;
/// The sweep takes no more than this part of what GitHub allows. With looks at a busy hook's log beside it, that stays below a tenth.
const SHARE: u64 = 12;
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);
/// Jobs that one look takes up at most.
const MOST_JOBS: u64 = 100;

/// The sweep of one scope of a queue.
pub(crate) struct Sweep {
    /// Which of the janitor's workers asks.
    pub(crate) i_site: usize,
    spent: Spent,
    /// Jobs that GitHub denied, and when each is asked about again.
    denied: BTreeMap<JobId, (Job, Denials, Instant)>,
    /// Repositories that cannot be seen, and when that was said.
    hidden: BTreeMap<String, Instant>,
}

/// The calls of the last hour.
#[derive(Default)]
struct Spent {
    looks: VecDeque<(Instant, u64)>,
}

impl Spent {
    /// How many are left of this share of `limit`.
    fn left(&mut self, limit: Option<u64>, now: Instant) -> u64 {
        while self.looks.front().is_some_and(|(at, _)| now.duration_since(*at) >= HOUR) {
            self.looks.pop_front();
        }
        let n_calls = self.looks.iter().map(|(_, n_calls)| n_calls).sum();
        (limit.unwrap_or(UNTOLD_LIMIT) / SHARE).saturating_sub(n_calls)
    }

    /// A call is made.
    fn call(&mut self, now: Instant) {
        match self.looks.back_mut() {
            // A minute is exact enough, and the hour is a short list.
            Some((at, n_calls)) if now.duration_since(*at) < MINUTE => *n_calls += 1,
            _ => self.looks.push_back((now, 1)),
        }
    }
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
            sweeps.push(Sweep { i_site, spent: Spent::default(), denied, hidden });
        }
    }
    sweeps
}

impl Sweep {
    /// Looks once, if this process is the one that looks.
    pub(crate) fn look(&mut self, site: &Worker) {
        let allowance = self.spent.left(site.hub.calls_an_hour(), Instant::now());
        // While GitHub allows nothing, VMs still have to be cleaned up: the janitor does not wait here.
        if allowance == 0 || site.hub.paused_until().is_some() || !is_ours(site) {
            return;
        }
        let silence = silence(site.section.scope.clone(), site.limits(), allowance);
        let Ok(Ok(mut jobs)) = site.patiently(&site.until_stop(), |store| store.silent(&silence)) else {
            return;
        };
        jobs.retain(|job| !self.denied.contains_key(&job.id));
        if self.ask_denied(site, silence.limit).is_err() {
            return;
        }
        for jobs in by_run(&jobs) {
            if self.ask(site, &jobs).is_err() {
                return;
            }
        }
    }

    /// Asks about a run and tells the store; an error means that there is no use in going on now.
    fn ask(&mut self, site: &Worker, jobs: &[&Job]) -> Result<(), Unanswered> {
        let Some(job) = jobs.first() else { return Ok(()) };
        let run = job.run_id;
        let ear = site.until_stop();
        self.spent.call(Instant::now());
        let states = match site.hub.jobs_of_run(job, &ear) {
            Ok(states) => states,
            Err(HubError::Client(ClientError::NotFound { .. })) => Vec::new(),
            Err(error) if error.is_refusal() => {
                // That one repository cannot be seen is no reason to leave out the others.
                self.say_hidden(site, job, &error.to_string());
                return Ok(());
            }
            Err(error) => {
                if !error.is_cut() && !error.is_limit() {
                    warn!(workflowJobRunID = run.0, error:% = error; "cannot ask GitHub about jobs of which nothing is heard");
                }
                return Err(Unanswered);
            }
        };
        debug!(workflowJobRunID = run.0, jobs = jobs.len(); "asked GitHub about a run of which nothing is heard");
        let listed = set_of(states.iter().map(|state| state.job.id));
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

    /// Asks again about jobs that GitHub denied, about so many at most.
    fn ask_denied(&mut self, site: &Worker, most: usize) -> Result<(), Unanswered> {
        let now = Instant::now();
        let due = self.denied.iter().filter(|(_, (_, _, ask_at))| *ask_at <= now).map(|(id, _)| *id);
        let due: Vec<_> = due.take(most).collect();
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
        self.spent.call(Instant::now());
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

/// Which jobs a look takes up, at most as many as calls are left.
fn silence(scope: Scope, limits: &Limits, allowance: u64) -> Silence {
    Silence {
        scope,
        first: limits.sweep_first,
        most: limits.sweep_most,
        limit: usize::try_from(allowance.min(MOST_JOBS)).unwrap_or(usize::MAX),
    }
}

/// The jobs of each run, in the order of the first of each.
fn by_run(jobs: &[Job]) -> Vec<Vec<&Job>> {
    let mut places = BTreeMap::new();
    let mut runs: Vec<Vec<&Job>> = Vec::new();
    for job in jobs {
        let run = (job.owner.to_lowercase(), job.repo.to_lowercase(), job.run_id);
        let place = *places.entry(run).or_insert(runs.len());
        match runs.get_mut(place) {
            Some(run) => run.push(job),
            None => runs.push(vec![job]),
        }
    }
    runs
}

/// Whether this process is the one that sweeps.
fn is_ours(site: &Worker) -> bool {
    let life = site.limits().sweep_look * 3;
    let lease = site.lessee.lease(format!("sweep/{}", site.section.scope), life);
    matches!(site.store.lease(&lease), Ok(Leased::Ours))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    use anklet_plugin_api::fake::memory::MemoryStore;
    use anklet_plugin_api::job::{Image, RunId};
    use anklet_plugin_api::store::Store;
    use anklet_plugin_api::time::Moment;

    use super::*;

    fn job(id: u64, run: u64, repo: &str) -> Job {
        Job {
            id: JobId(id),
            run_id: RunId(run),
            run_attempt: 1,
            owner: "Acme".to_owned(),
            repo: repo.to_owned(),
            enterprise: None,
            labels: vec!["anka-template:U".to_owned()],
            image: Image { template: "U".to_owned(), tag: None },
            name: String::new(),
            workflow: String::new(),
            html_url: String::new(),
            created_at: None,
        }
    }

    #[test]
    fn a_run_is_one_question() {
        let jobs = [job(1, 7, "a"), job(2, 8, "a"), job(3, 7, "A"), job(4, 7, "b"), job(5, 8, "a")];
        let runs: Vec<Vec<u64>> =
            by_run(&jobs).iter().map(|run| run.iter().map(|job| job.id.0).collect()).collect();
        assert_eq!(runs, [vec![1, 3], vec![2, 5], vec![4]]);
    }

    /// A thousand jobs, each of a run of its own, wait for days and nothing is heard of them. The most calls in any hour.
    fn most_calls_an_hour(n_days: u64, limits: &Limits) -> u64 {
        let clock = Arc::new(Mutex::new(Moment(1_800_000_000_000)));
        let at = Arc::clone(&clock);
        let store = MemoryStore::with_clock(Arc::new(move || *at.lock().unwrap()));
        for id in 1..=1_000 {
            let news = News { job: job(id, id, "a"), phase: Phase::Queued, for_us: true };
            store.news(&news, Source::Webhook).unwrap();
        }
        let scope = Scope::Organization { owner: "acme".to_owned() };
        let began_at = Instant::now();
        let mut spent = Spent::default();
        let mut calls_by_minute = Vec::new();
        let mut asked = BTreeSet::new();
        for n_minute in 0..n_days * 24 * 60 {
            *clock.lock().unwrap() =
                Moment(1_800_000_000_000).after(MINUTE * u32::try_from(n_minute).unwrap());
            let now = began_at + MINUTE * u32::try_from(n_minute).unwrap();
            let allowance = spent.left(Some(5_000), now);
            let jobs = match allowance {
                0 => Vec::new(),
                _ => store.silent(&silence(scope.clone(), limits, allowance)).unwrap(),
            };
            let runs = by_run(&jobs);
            runs.iter().for_each(|_| spent.call(now));
            calls_by_minute.push(runs.len());
            asked.extend(jobs.iter().map(|job| job.id));
        }
        assert_eq!(asked.len(), 1_000, "every job is asked about");
        u64::try_from(calls_by_minute.windows(60).map(|hour| hour.iter().sum::<usize>()).max().unwrap())
            .unwrap()
    }

    #[test]
    fn a_thousand_silent_jobs_cost_less_than_a_tenth() {
        let most = most_calls_an_hour(1, &Limits::default());
        assert!(most > 300 && most <= 5_000 / SHARE, "{most} calls in an hour");
        // Looks at the log of 100,000 deliveries a day cost below 90 an hour: see the receiver's `redeliver`.
        assert!(most + 75 < 500, "{most}");
    }

    #[test]
    #[ignore = "long: see tests/long"]
    fn a_month_of_a_thousand_silent_jobs() {
        let most = most_calls_an_hour(30, &Limits::default());
        println!("at most {most} calls an hour");
        assert!(most <= 5_000 / SHARE);
    }

    #[test]
    fn a_share_is_that_of_any_hour() {
        let began_at = Instant::now();
        let mut spent = Spent::default();
        assert_eq!((spent.left(None, began_at), spent.left(Some(15_000), began_at)), (416, 1_250));
        (0..400).for_each(|_| spent.call(began_at + MINUTE * 50));
        (0..10).for_each(|_| spent.call(began_at + MINUTE * 59));
        assert_eq!(spent.left(None, began_at + MINUTE * 61), 6);
        assert_eq!(spent.left(None, began_at + MINUTE * 110), 406);
        assert_eq!(spent.left(None, began_at + MINUTE * 119), 416);
        assert_eq!(spent.left(Some(60), began_at + MINUTE * 119), 5);
    }
}
