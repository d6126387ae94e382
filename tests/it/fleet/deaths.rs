//! A host that dies and does not come back: its job goes on elsewhere, its VM and record are left to it.

use std::time::{Duration, Instant};

use fake_github::{JobId, WebhookRule};
use serde_json::{Value, json};

use crate::support::{Anklet, LIMIT, REPO, World};
use crate::worlds::in_worlds;

use super::hosts::{FLEET_LIMIT, Fleet, Host, handler, wait, wait_within};

/// The life of a claim in these tests. All waits of GitHub's are as long in proportion as they are by default.
const CLAIM_LIFE: Duration = Duration::from_secs(6);

fn short_lived(fleet: &Fleet<'_>, host: &Host, name: &str) -> String {
    fleet
        .config(&host.home, &[handler(name)])
        .replace("claim_seconds: 20", "claim_seconds: 6")
        .replace("runner_list_lag: 1, register_runner: 5", "runner_list_lag: 6, register_runner: 4")
}

/// Two hosts of one handler each, with a receiver. Either may take the job.
pub(super) struct Rivals {
    pub(super) hosts: [Host; 2],
    anklets: [Option<Anklet>; 2],
    receiver: Anklet,
}

impl Rivals {
    fn new(fleet: &Fleet<'_>, rule: Option<&Value>) -> Self {
        let hosts = [Host::new(), Host::new()];
        for (host, rule) in hosts.iter().zip(rule.into_iter().cycle()) {
            host.anka.arm(rule);
        }
        let start = |n: usize, name| Some(hosts[n].start(&short_lived(fleet, &hosts[n], name), 1));
        let anklets = [start(0, "A1"), start(1, "B1")];
        Self { receiver: fleet.start_receiver(), hosts, anklets }
    }

    /// Kills the host that has got so far with a job; the other, and which it was.
    fn kill_who(&mut self, has_got_there: impl Fn(&Host, &Anklet) -> bool) -> (usize, usize) {
        let got_there = |n: usize| has_got_there(&self.hosts[n], self.anklets[n].as_ref().unwrap());
        wait("a host at work", || got_there(0) || got_there(1));
        let dying = usize::from(!got_there(0));
        self.anklets[dying].take().unwrap().kill();
        (dying, 1 - dying)
    }

    fn stop(self) {
        self.anklets.into_iter().flatten().for_each(Anklet::stop);
        self.receiver.stop();
    }
}

fn says(anklet: &Anklet, message: &str) -> bool {
    anklet.lines().iter().any(|line| line.message() == message)
}

/// How far a host is with a job when it dies.
#[derive(Clone, Debug)]
enum Dies {
    /// In the middle of this command of anka.
    During { verb: &'static str, nth: u32 },
    /// With a runner that waits for the job.
    Waiting,
}

#[test]
fn hosts_that_die_while_preparing_never_come_back() {
    let commands = [("clone", 1), ("start", 1), ("cp", 2), ("run", 1), ("run", 2), ("run", 3)];
    let during = commands.map(|(verb, nth)| Dies::During { verb, nth });
    let cases = during.into_iter().chain([Dies::Waiting]).collect();
    in_worlds(cases, |world, dies| {
        let fleet = Fleet::new(world);
        let rule = match dies {
            Dies::During { verb, nth } => {
                Some(json!({"match": {"verb": verb, "nth": nth}, "do": {"hang": true, "ms": 40_000}}))
            }
            Dies::Waiting => None,
        };
        world.github.hold_assignment(true);
        let mut rivals = Rivals::new(&fleet, rule.as_ref());
        let job = world.github.create_job(world.job());
        let (dying, other) = rivals.kill_who(|host, anklet| match dies {
            Dies::During { .. } => host.anka.trace().iter().any(|line| line.event == "hang"),
            Dies::Waiting => says(anklet, "job is waiting for registered runner"),
        });
        let died_at = Instant::now();
        rivals.hosts[other].anka.plan(&json!([]));
        let taker = rivals.anklets[other].as_ref().unwrap();
        taker.wait_message("job given back");
        let took = died_at.elapsed();
        world.github.hold_assignment(false);
        fleet.all_ran_once(&[job]);
        assert!(rivals.hosts[other].has_had(&world.github.job(job).runner_name.unwrap()));
        taker.wait_message("job completed");
        assert_eq!(attempts_of(taker, job), [1, 1], "the try of the dead counts");
        wait("an empty queue", || fleet.stored().is_empty());
        if !matches!(dies, Dies::During { verb: "clone", .. }) {
            assert_eq!(rivals.hosts[dying].vms().len(), 1, "its VM is left to it");
        }
        // Only a registration that was cut off has to be given the time to show in GitHub's list.
        if !matches!(dies, Dies::During { verb: "run", nth: 2 }) {
            assert!(took < CLAIM_LIFE * 2, "{dies:?} took {took:?}");
        }
        println!(
            "{dies:?}: back in the queue after {:.2} lives of a claim",
            took.div_duration_f64(CLAIM_LIFE)
        );
        rivals.stop();
    });
}

/// What counted before each time the job was found.
fn attempts_of(anklet: &Anklet, job: JobId) -> Vec<u64> {
    let lines = anklet.lines();
    let found = lines.iter().filter(|line| line.message() == "queued job found");
    found
        .filter(|line| line.0["workflowJobID"] == json!(job))
        .map(|line| line.0["attempts"].as_u64().unwrap_or(u64::MAX))
        .collect()
}

/// A job that runs when its host dies runs on; nobody starts it again, and its end clears the queue.
#[test]
fn a_host_that_dies_while_a_job_runs_never_comes_back() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let mut rivals = Rivals::new(&fleet, None);
    let job = world.github.create_job(world.job().steps_ms(12_000));
    let (_, other) =
        rivals.kill_who(|_, anklet| says(anklet, "job found registered runner and is now in progress"));
    let taker = rivals.anklets[other].as_ref().unwrap();
    taker.wait_message("queued job found");
    // The taker is free: the job is left to its VM.
    let next = world.github.create_job(world.job_labelled("next"));
    fleet.all_ran_once(&[next]);
    assert!(!world.github.job(job).is_completed(), "it still runs");
    fleet.all_ran_once(&[job]);
    wait("an empty queue", || fleet.stored().is_empty());
    assert_eq!(rivals.hosts[other].n_clones(), 1, "only the other job's");
    rivals.stop();
}

/// The end of its job comes to nobody, since that webhook is lost: the taker asks GitHub and finishes it.
#[test]
fn a_host_dies_and_its_job_ends_unheard() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    world.github.webhook_rule(WebhookRule::on("completed").drop());
    let mut rivals = Rivals::new(&fleet, None);
    let job = world.github.create_job(world.job().steps_ms(600));
    let (_, other) =
        rivals.kill_who(|_, anklet| says(anklet, "job found registered runner and is now in progress"));
    world.github.wait_completed(job, LIMIT);
    rivals.anklets[other].as_ref().unwrap().wait_message("job completed");
    wait("an empty queue", || fleet.stored().is_empty());
    assert_eq!(rivals.hosts[other].n_clones(), 0);
    rivals.stop();
}

/// With default settings a dead host's job is back in the queue within two minutes.
#[test]
#[ignore = "long: see tests/long"]
fn a_dead_hosts_job_is_back_in_two_minutes() {
    let cases =
        vec![Dies::During { verb: "start", nth: 1 }, Dies::During { verb: "run", nth: 3 }, Dies::Waiting];
    in_worlds(cases, |world, dies| {
        let fleet = Fleet::new(world);
        let hosts = [Host::new(), Host::new()];
        if let Dies::During { verb, nth } = dies {
            let hang = json!({"match": {"verb": verb, "nth": nth}, "do": {"hang": true, "ms": 300_000}});
            hosts[0].anka.arm(&hang);
        }
        world.github.hold_assignment(true);
        let default_settings = |host: &Host, name: &str| {
            let config = fleet.config(&host.home, &[handler(name)]);
            let (before, limits) = config.split_once("claim_seconds").unwrap();
            format!(
                "{before}host: {{cpu_count: 12, memory_bytes: 34359738368}}\n{}",
                &limits[limits.find("plugins:").unwrap()..]
            )
        };
        let receiver = fleet.start_receiver();
        let dying = hosts[0].start(&default_settings(&hosts[0], "A1"), 1);
        let job = world.github.create_job(world.job());
        match dies {
            Dies::During { .. } => {
                wait("a command at work", || hosts[0].anka.trace().iter().any(|line| line.event == "hang"));
            }
            Dies::Waiting => dying.wait_message("job is waiting for registered runner"),
        }
        let taker = hosts[1].start(&default_settings(&hosts[1], "B1"), 1);
        dying.kill();
        let died_at = Instant::now();
        wait_within(FLEET_LIMIT * 4, "the job back in the queue", || says(&taker, "job given back"));
        let took = died_at.elapsed();
        // The claim may have been renewed in the very moment before.
        assert!(took < Duration::from_secs(120), "{took:?}");
        world.github.hold_assignment(false);
        fleet.all_ran_once(&[job]);
        assert!(hosts[1].has_had(&world.github.job(job).runner_name.unwrap()));
        assert!(world.github.runners(REPO).is_empty());
        println!("{dies:?}: back in the queue after {took:.1?}");
        taker.stop();
        receiver.stop();
    });
}
