//! The handbook's failure table, row by row: what GitHub saw, what `anka` saw, where the job is then, how its tries count, what the log says.
//!
//! Waits after a failure are long here, so that the first one is seen as it is.

mod image;
mod preparing;
mod running;

use fake_github::{JobId, JobSpec, JobStatus};
use serde_json::Value;

use crate::support::{Anklet, REPO, World};
use crate::worlds::in_worlds;

/// The call that cancels a run.
const CANCEL: (&str, &str) = ("POST", "/repos/acme/app/actions/runs/*/cancel");
/// The call that removes a runner.
const REMOVE: (&str, &str) = ("DELETE", "/repos/acme/app/actions/runners/*");
/// The call that asks about a job.
const ASK: (&str, &str) = ("GET", "/repos/acme/app/actions/jobs/*");

/// A row of the table, or one way to come there.
#[derive(Clone)]
struct Row {
    name: &'static str,
    /// Makes it go wrong, before the program starts.
    arm: fn(&World),
    /// Changes the config.
    config: fn(String) -> String,
    job: fn(&World) -> JobSpec,
    /// Once the job was taken, or not.
    then: fn(&World, &Anklet, JobId),
    /// The lines that tell it.
    says: &'static [&'static str],
    /// Where the job ends up: `queued`, `held`, `claimed`, `paused`, `running`, or `gone`.
    place: &'static str,
    /// Its counted tries then; those of a claim that is held include the one in work.
    attempts: u64,
    /// How GitHub has ended it, if it has.
    ended: Option<&'static str>,
    /// Calls of GitHub, and how often each came.
    github: &'static [((&'static str, &'static str), usize)],
    /// Commands, and how often each came.
    anka: &'static [(&'static str, usize)],
}

impl Row {
    /// One that needs no more than its name: the job is well.
    const fn named(name: &'static str) -> Self {
        Self {
            name,
            arm: |_| {},
            config: |config| config,
            job: World::job,
            then: |_, _, _| {},
            says: &[],
            place: "gone",
            attempts: 0,
            ended: Some("success"),
            github: &[(CANCEL, 0)],
            anka: &[],
        }
    }

    /// One whose job goes back to the queue and is left alone for a while, with so many tries.
    const fn held(name: &'static str, attempts: u64) -> Self {
        Self { place: "held", attempts, ended: None, says: &["job given back"], ..Self::named(name) }
    }

    /// One whose run is cancelled.
    const fn cancelled(name: &'static str) -> Self {
        Self { ended: Some("cancelled"), github: &[(CANCEL, 1)], ..Self::named(name) }
    }
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

fn check(rows: &[Row]) {
    in_worlds(rows.to_vec(), |world, row| {
        (row.arm)(world);
        let waits = "limits: {host_avoid_first: 600, host_avoid_most: 600, job_hold_first: 600, job_hold_most: 600, \
                     no_slot: 600, github_call: 1, github_retry_total: 2, refused_retry: 600, cancel_silence: 600, ";
        let config = world
            .config(1)
            .replace("job_hold_first: 0.1,", "")
            .replace("host_avoid_first: 0.1, ", "")
            .replace("limits: {", waits);
        let anklet = world.start(&(row.config)(config));
        let job = world.github.create_job((row.job)(world));
        (row.then)(world, &anklet, job);
        for message in row.says {
            anklet.wait_message(message);
        }
        if let Some(conclusion) = row.ended {
            let ended = world.github.wait_completed(job, crate::support::LIMIT);
            assert_eq!(ended.conclusion.as_deref(), Some(conclusion), "{}", world.github.story());
        }
        anklet.wait_for(&format!("{} with {} tries", row.place, row.attempts), || {
            let seen = place(world, job);
            seen.0 == row.place && (row.place == "gone" || seen.1 == row.attempts)
        });
        for ((method, path), n_wanted) in row.github {
            let n_seen = world.github.requests_to(method, path).len();
            assert_eq!(n_seen, *n_wanted, "{method} {path}");
        }
        for (verb, n_wanted) in row.anka {
            let n_seen = world.anka.calls(verb).len();
            // Where a runner may still be listed later, the janitor looks again, and deletes again.
            let is_repeated = *verb == "delete" && *n_wanted > 0 && n_seen > *n_wanted;
            assert!(n_seen == *n_wanted || is_repeated, "{verb}: {n_seen}, not {n_wanted}");
        }
        assert_eq!(world.github.violations(), Vec::<String>::new());
        anklet.stop();
    });
}

/// Where the job is, and its counted tries.
fn place(world: &World, job: JobId) -> (String, u64) {
    let file = world.home.path().join(".config/anklet/anklet.db");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let text: Option<String> = rusqlite::Connection::open_with_flags(file, flags)
        .and_then(|connection| {
            connection.query_row(
                "SELECT doc FROM jobs WHERE job = ?1",
                [i64::try_from(job).unwrap()],
                |row| row.get(0),
            )
        })
        .ok();
    let Some(text) = text else { return ("gone".to_owned(), 0) };
    let document: Value = serde_json::from_str(&text).unwrap();
    let spot = &document["spot"];
    let place = if spot["paused"] == true { "paused" } else { spot["is"].as_str().unwrap() };
    (place.to_owned(), document["attempts"].as_u64().unwrap())
}

fn job(labels: &[&str]) -> JobSpec {
    JobSpec::new(REPO, labels)
}

/// Waits until GitHub has given the job out.
fn runs(world: &World, job: JobId) {
    world.github.wait_in_progress(job, crate::support::LIMIT);
    assert_eq!(world.github.job(job).status, JobStatus::InProgress);
}
