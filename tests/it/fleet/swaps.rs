//! The runner of one host takes the job that another host prepares, or one that nobody prepares, or loses its own to a foreign runner.

use fake_github::JobId;
use serde_json::json;

use crate::support::{Anklet, REPO, World};

use super::hosts::{Fleet, Host, wait};

const WAITS: &str = "job is waiting for registered runner";

/// The runner of the VM that was made for this job.
fn runner_of(anklet: &Anklet, job: JobId) -> String {
    let lines = anklet.lines();
    let prepared = lines.iter().rfind(|line| {
        line.message() == "finished preparing anka VM with actions runner"
            && line.0["workflowJobID"] == json!(job)
    });
    prepared.unwrap().0["vmName"].as_str().unwrap().to_owned()
}

/// Two hosts of one handler each, with a receiver.
struct Pair {
    hosts: [Host; 2],
    receiver: Anklet,
    first: Anklet,
    second: Option<Anklet>,
}

impl Pair {
    /// Starts the first of the two; nothing is given to a runner until the test says so.
    fn new(fleet: &Fleet<'_>) -> Self {
        fleet.world.github.hold_assignment(true);
        let hosts = [Host::new(), Host::new()];
        let receiver = fleet.start_receiver();
        let first = fleet.start(&hosts[0], &["A1"]);
        Self { hosts, receiver, first, second: None }
    }

    fn start_second(&mut self, fleet: &Fleet<'_>) -> &Anklet {
        self.second.insert(fleet.start(&self.hosts[1], &["B1"]))
    }

    fn ends(self, fleet: &Fleet<'_>) {
        fleet.is_clean(&self.hosts.each_ref());
        wait("every runner gone", || fleet.world.github.runners(REPO).is_empty());
        self.first.stop();
        self.receiver.stop();
        self.second.into_iter().for_each(Anklet::stop);
    }
}

/// A's runner takes B, and B's can do A: each host watches the other's job, and no VM is made anew.
#[test]
fn two_hosts_swap_their_jobs() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let mut pair = Pair::new(&fleet);
    let a = world.github.create_job(world.job().steps_ms(300));
    pair.first.wait_message(WAITS);
    let b = world.github.create_job(world.job().steps_ms(300));
    pair.start_second(&fleet).wait_message(WAITS);
    let [first, second] = [runner_of(&pair.first, a), runner_of(pair.second.as_ref().unwrap(), b)];
    world.github.assign(b, &first);
    world.github.wait_in_progress(b, crate::support::LIMIT);
    world.github.hold_assignment(false);
    fleet.all_ran_once(&[a, b]);
    assert_eq!(world.github.job(a).runner_name, Some(second));
    assert_eq!((pair.hosts[0].n_clones(), pair.hosts[1].n_clones()), (1, 1));
    pair.ends(&fleet);
}

/// A's runner takes B, and B's lacks a label of A: A goes back to the front, uncounted, and B's VM is undone.
#[test]
fn a_host_whose_runner_cannot_do_the_other_job_undoes_its_vm() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let mut pair = Pair::new(&fleet);
    let wide = world.github.create_job(world.job_labelled("wide").steps_ms(300));
    pair.first.wait_message(WAITS);
    let narrow = world.github.create_job(world.job().steps_ms(300));
    pair.start_second(&fleet).wait_message(WAITS);
    world.github.assign(narrow, &runner_of(&pair.first, wide));
    world.github.wait_in_progress(narrow, crate::support::LIMIT);
    world.github.hold_assignment(false);
    fleet.all_ran_once(&[wide, narrow]);
    assert_eq!(pair.hosts[0].n_clones() + pair.hosts[1].n_clones(), 3);
    let lines = [pair.first.lines(), pair.second.as_ref().unwrap().lines()].concat();
    let again = lines
        .iter()
        .rfind(|line| line.message() == "queued job found" && line.0["workflowJobID"] == json!(wide));
    assert_eq!(again.unwrap().0["attempts"], json!(0), "what GitHub decides is no try of the job");
    pair.ends(&fleet);
}

/// A's runner takes B while nobody has claimed B: the host of A watches B, and the other host takes A.
#[test]
fn the_claimed_job_goes_to_another_host() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let mut pair = Pair::new(&fleet);
    let a = world.github.create_job(world.job().steps_ms(300));
    pair.first.wait_message(WAITS);
    let b = world.github.create_job(world.job().steps_ms(4_000));
    wait("the second job in the queue", || fleet.stored().contains(&b));
    let first = runner_of(&pair.first, a);
    world.github.assign(b, &first);
    world.github.wait_in_progress(b, crate::support::LIMIT);
    world.github.hold_assignment(false);
    pair.start_second(&fleet);
    fleet.all_ran_once(&[a, b]);
    assert_eq!(world.github.job(b).runner_name, Some(first));
    assert!(pair.hosts[1].has_had(&world.github.job(a).runner_name.unwrap()));
    assert_eq!((pair.hosts[0].n_clones(), pair.hosts[1].n_clones()), (1, 1));
    pair.ends(&fleet);
}

/// A runs on a runner that is none of ours: our attempt is undone, and the entry ends with `completed`.
#[test]
fn a_foreign_runner_takes_the_job() {
    let world = World::new();
    let fleet = Fleet::new(&world);
    let mut pair = Pair::new(&fleet);
    let job = world.github.create_job(world.job());
    pair.first.wait_message(WAITS);
    pair.start_second(&fleet);
    world.github.start_elsewhere(job, "somebody-elses-mac");
    wait("our VM gone", || pair.hosts[0].vms().is_empty());
    assert!(fleet.stored().contains(&job), "the entry stays until GitHub ends the job");
    world.github.complete_job(job, "success");
    fleet.all_ran_once(&[job]);
    assert_eq!((pair.hosts[0].n_clones(), pair.hosts[1].n_clones()), (1, 0));
    wait("our runner gone", || {
        !world.github.runners(REPO).iter().any(|runner| runner.name.starts_with("anklet-vm"))
    });
    fleet.is_clean(&pair.hosts.each_ref());
    pair.first.stop();
    pair.receiver.stop();
    pair.second.into_iter().for_each(Anklet::stop);
}
