//! One row of the matrix: what is killed and what must hold afterwards, and the counts of all rows of a group.

use std::cell::Cell;
use std::fmt::Debug;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use fake_github::{JobId, JobStatus};

use crate::kills::kill::{commands_since, shape};
use crate::kills::{KNOWN, Queue};
use crate::redis_server::Redis;
use crate::support::{Anklet, LIMIT, World};
use crate::worlds::in_worlds_of;

/// All kills of this test program so far.
static N_KILLS: AtomicUsize = AtomicUsize::new(0);

/// What is being looked at, and so what a failure now would mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Whether the row comes about as it should.
    Made,
    /// Whether the job ends.
    Lost,
    /// Whether it ran once.
    Doubled,
    /// Whether something remains.
    LeftOver,
}

/// One row, in a world of its own.
pub(crate) struct Row<'a> {
    pub(crate) world: &'a World,
    pub(crate) redis: Option<&'a Redis>,
    tally: &'a Mutex<Tally>,
    asked: Cell<Asked>,
    n_kills: Cell<usize>,
    running: Cell<Option<JobId>>,
}

/// The counts of a group of rows.
#[derive(Default)]
struct Tally {
    n_rows: usize,
    n_kills: usize,
    failed: Vec<Asked>,
}

/// Plays all rows of a group, a few at a time, and tells what came of them whether or not all went well.
pub(crate) fn in_rows<C: Clone + Debug + Send + Sync>(
    name: &str,
    queue: Queue,
    cases: Vec<C>,
    play: impl Fn(&Row<'_>, &C) + Sync,
) {
    struct Told<'a>(&'a str, Queue, Mutex<Tally>);
    impl Drop for Told<'_> {
        fn drop(&mut self) {
            let tally = self.2.get_mut().unwrap();
            let n_failed = |asked| tally.failed.iter().filter(|failed| **failed == asked).count();
            let n_so_far = N_KILLS.load(Ordering::Relaxed);
            let text = format!(
                "kill matrix, {} ({:?}): {} rows, {} kills; lost {}, doubled {}, left over {}, not made {}; {n_so_far} kills so far\n",
                self.0,
                self.1,
                tally.n_rows,
                tally.n_kills,
                n_failed(Asked::Lost),
                n_failed(Asked::Doubled),
                n_failed(Asked::LeftOver),
                n_failed(Asked::Made),
            );
            // Seen also when the test passes, whose output is kept back otherwise.
            let _ = std::io::stdout().write_all(text.as_bytes());
        }
    }
    let told = Told(name, queue, Mutex::default());
    in_worlds_of(
        || queue.place(),
        cases,
        |place, case| {
            let row = Row {
                world: &place.world,
                redis: place.redis.as_ref(),
                tally: &told.2,
                asked: Cell::new(Asked::Made),
                n_kills: Cell::new(0),
                running: Cell::new(None),
            };
            play(&row, case);
            println!("{name}, {queue:?}, {case:?}: well, {} kills", row.n_kills.get());
        },
    );
}

impl Row<'_> {
    /// Waits until the process has been killed by a stand-in.
    #[track_caller]
    pub(crate) fn killed(&self, mut anklet: Anklet) {
        let (status, _) = anklet.wait_end_and_lines();
        assert_eq!(status.signal(), Some(9), "it was killed");
        self.count_kill();
    }

    /// Kills the process.
    pub(crate) fn kill(&self, anklet: Anklet) {
        anklet.kill();
        self.count_kill();
    }

    fn count_kill(&self) {
        self.n_kills.set(self.n_kills.get() + 1);
        N_KILLS.fetch_add(1, Ordering::Relaxed);
    }

    /// This job runs until the next start, and ends then.
    pub(crate) fn runs_until_the_next_start(&self, job: JobId) {
        self.running.set(Some(job));
    }

    /// Lives on with this config until the jobs have ended well, once, and nothing is left.
    #[track_caller]
    pub(crate) fn ends_well(&self, config: &str, jobs: &[JobId]) {
        self.ends_with(config, jobs, "success");
    }

    /// The same for jobs that end in another way.
    #[track_caller]
    pub(crate) fn ends_with(&self, config: &str, jobs: &[JobId], conclusion: &str) {
        let anklet = self.world.start(config);
        self.sees_through(anklet, jobs, conclusion);
    }

    /// This process lives on until the jobs have ended like this, once, and nothing is left.
    #[track_caller]
    pub(crate) fn sees_through(&self, anklet: Anklet, jobs: &[JobId], conclusion: &str) {
        if let Some(job) = self.running.take() {
            self.world.github.complete_job(job, "success");
        }
        self.jobs_end(jobs, conclusion);
        self.asked.set(Asked::LeftOver);
        anklet.wait_for("an empty queue", || self.world.is_queue_empty());
        self.world.assert_clean(&anklet);
        assert!(self.world.anka.corruptions().is_empty(), "no pull beside another pull or a clone");
        anklet.stop();
        self.asked.set(Asked::Made);
        self.assert_has_rows();
    }

    /// The jobs end like this, each after one run in one VM.
    #[track_caller]
    pub(crate) fn jobs_end(&self, jobs: &[JobId], conclusion: &str) {
        let github = &self.world.github;
        for job in jobs {
            self.asked.set(Asked::Lost);
            let ended = github.wait_completed(*job, LIMIT);
            assert_eq!(ended.conclusion.as_deref(), Some(conclusion), "{}", github.story());
            self.asked.set(Asked::Doubled);
            let n_starts = ended.history.iter().filter(|step| step.status == JobStatus::InProgress).count();
            let n_wanted = usize::from(conclusion == "success");
            assert_eq!(n_starts, n_wanted, "it ran once: {}", github.story());
        }
        assert_eq!(self.world.anka.jobs_in_two_vms(), Vec::<u64>::new(), "{}", github.story());
        self.asked.set(Asked::Made);
    }

    /// Fails if a command or a call came that no table names.
    #[track_caller]
    fn assert_has_rows(&self) {
        for verb in commands_since(self.world, 0) {
            let is_known = KNOWN.iter().any(|steps| steps.commands.iter().any(|(known, _)| *known == verb));
            assert!(is_known, "`anka {verb}` has no row in the kill matrix");
        }
        for call in self.world.github.requests() {
            let (method, path) = shape(&call);
            // A handler of another scope asks its first question there.
            let is_first_question = path.ends_with("/actions/runners/downloads");
            let is_known =
                is_first_question || KNOWN.iter().any(|steps| steps.calls.contains(&(&method, &path)));
            assert!(is_known, "`{method} {path}` has no row in the kill matrix");
        }
    }
}

impl Drop for Row<'_> {
    fn drop(&mut self) {
        let mut tally = self.tally.lock().unwrap();
        tally.n_rows += 1;
        tally.n_kills += self.n_kills.get();
        if std::thread::panicking() {
            tally.failed.push(self.asked.get());
        }
    }
}
