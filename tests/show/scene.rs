//! The plot: which jobs come when, what goes wrong, and what must be true in the end.

use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use fake_github::{Job, JobId, JobStatus};
use serde_json::json;

use crate::Cut;
use crate::events::{Event, Step, Witnesses};
use crate::page::Page;
use crate::support::REPO;
use crate::theatre::{LOOK_AGAIN, Theatre};
use anklet_plugin_api::time::Moment;

/// The jobs' names: one succeeds, one is cancelled while it waits, one needs a second VM.
pub(crate) const NAMES: [&str; 3] = ["build", "docs", "test"];
pub(crate) const GOOD: usize = 0;
pub(crate) const CANCELLED: usize = 1;
pub(crate) const RETRIED: usize = 2;

/// How long each would run.
const STEPS_MS: [u64; 3] = [1500, 500, 500];

/// All of it takes some five seconds.
const LIMIT: Duration = Duration::from_secs(45);

/// Witnesses speak a little late; what they say is told in the order of its times after this long.
const SETTLE: Duration = Duration::from_millis(200);

/// Where the plot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    GoodRuns,
    CancelledWaits,
    RetriedWaits,
    AllEnd,
}

pub(crate) struct Scene<'a> {
    theatre: &'a Theatre,
    page: &'a mut Page,
    witnesses: Witnesses,
    jobs: Vec<JobId>,
    created_at: Vec<Moment>,
    untold: Vec<Event>,
    events: Vec<Event>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(theatre: &'a Theatre, page: &'a mut Page) -> Self {
        let witnesses = Witnesses::default();
        Self {
            theatre,
            page,
            witnesses,
            jobs: Vec::new(),
            created_at: Vec::new(),
            untold: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Plays to the end and checks it.
    pub(crate) fn play(mut self, signals: &Receiver<i32>) -> Result<(), Cut> {
        let deadline = Instant::now() + LIMIT;
        self.create(GOOD);
        let mut act = Act::GoodRuns;
        loop {
            self.look();
            if act == Act::AllEnd && self.is_over() {
                break;
            }
            act = self.next_act(act);
            self.tell(SETTLE)?;
            if let Ok(signal) = signals.recv_timeout(LOOK_AGAIN) {
                return Err(Cut::Signal(signal));
            }
            if Instant::now() > deadline {
                return Err(Cut::Failed(format!("it is not over after {LIMIT:?}")));
            }
        }
        self.tell(Duration::ZERO)?;
        self.page.table(&self.events, &self.created_at)?;
        self.check()
    }

    fn create(&mut self, job: usize) {
        let spec = self.theatre.world.job_labelled(NAMES[job]).name(NAMES[job]).steps_ms(STEPS_MS[job]);
        self.created_at.push(Moment::now());
        self.jobs.push(self.theatre.world.github.create_job(spec));
    }

    fn next_act(&mut self, act: Act) -> Act {
        match act {
            Act::GoodRuns if self.job(GOOD).status == JobStatus::InProgress => {
                self.create(CANCELLED);
                Act::CancelledWaits
            }
            Act::CancelledWaits if self.has(CANCELLED, Step::Stored) => {
                self.note(
                    CANCELLED,
                    Step::Waits,
                    "The host's one VM slot is taken by `build`, so it has to wait.",
                );
                let fault =
                    json!({"match": {"verb": "start"}, "do": {"fail": {"code": 1, "message": "no luck"}}});
                self.theatre.world.anka.arm(&fault);
                self.create(RETRIED);
                Act::RetriedWaits
            }
            Act::RetriedWaits if self.has(RETRIED, Step::Stored) => {
                self.note(RETRIED, Step::Waits, "It waits too, behind `docs`: the oldest job comes first.");
                self.note(CANCELLED, Step::Cancelled, "Its author cancels the workflow run on GitHub.");
                self.theatre.world.github.cancel_run_of(self.jobs[CANCELLED]);
                Act::AllEnd
            }
            act => act,
        }
    }

    fn is_over(&self) -> bool {
        (0..NAMES.len()).all(|job| self.has(job, Step::Over))
            && self.theatre.world.vms_made_by_us().is_empty()
    }

    fn job(&self, job: usize) -> Job {
        self.theatre.world.github.job(self.jobs[job])
    }

    fn has(&self, job: usize, step: Step) -> bool {
        self.count(job, step) > 0
    }

    fn count(&self, job: usize, step: Step) -> usize {
        let all = self.events.iter().chain(&self.untold);
        all.filter(|event| event.job == job && event.step == step).count()
    }

    fn note(&mut self, job: usize, step: Step, text: &str) {
        self.untold.push(Event { at: Moment::now(), job, step, text: text.to_owned() });
    }

    fn look(&mut self) {
        let news = self.witnesses.look(self.theatre, &self.jobs);
        self.untold.extend(news);
    }

    /// Tells what is older than `settle`, in the order of its times.
    fn tell(&mut self, settle: Duration) -> Result<(), Cut> {
        self.untold.sort_by_key(|event| event.at);
        let now = Moment::now();
        let n_ripe = self.untold.iter().take_while(|event| event.at.after(settle) <= now).count();
        for event in self.untold.drain(..n_ripe) {
            self.page.event(&event, self.created_at[GOOD])?;
            self.events.push(event);
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), Cut> {
        let github = &self.theatre.world.github;
        let ended = |job: usize| self.job(job).conclusion.unwrap_or_default();
        let n_runners = |job: usize| github.registrations_for(self.jobs[job]).len();
        let told = |job, steps: &[Step]| steps.iter().all(|step| self.has(job, *step));
        let way = [Step::Received, Step::Stored, Step::Claimed, Step::Cloned, Step::Started];
        let rest = [Step::Registered, Step::InProgress, Step::Completed, Step::Cleaned];
        let whole_way = |job| told(job, &way) && told(job, &rest);
        let (good, cancelled, retried) = (ended(GOOD), ended(CANCELLED), ended(RETRIED));
        let checks = [
            ("build ended with success, in one VM, with one runner", {
                good == "success"
                    && self.count(GOOD, Step::Cloned) == 1
                    && n_runners(GOOD) == 1
                    && whole_way(GOOD)
            }),
            ("docs was cancelled; no VM and no runner were made for it", {
                let n_vms = self.count(CANCELLED, Step::Cloned);
                cancelled == "cancelled"
                    && n_vms == 0
                    && n_runners(CANCELLED) == 0
                    && told(CANCELLED, &way[..2])
            }),
            ("test ended with success, in its second VM, with one runner", {
                let n_tries = (self.count(RETRIED, Step::Cloned), self.count(RETRIED, Step::GivenBack));
                retried == "success" && n_tries == (2, 1) && n_runners(RETRIED) == 1 && whole_way(RETRIED)
            }),
            ("no VM is left", self.theatre.world.vms_made_by_us().is_empty()),
            ("no runner is left on GitHub", github.runners(REPO).is_empty()),
            ("GitHub got no request that it does not know", github.violations().is_empty()),
        ];
        self.page.checks(&checks)?;
        match checks.iter().find(|(_, holds)| !holds) {
            None => Ok(()),
            Some((what, _)) => Err(Cut::Failed(format!("it is not so that {what}"))),
        }
    }
}
