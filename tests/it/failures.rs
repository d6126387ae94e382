//! Each anka command and each GitHub call fails, hangs and answers nonsense once: the job ends well all the same, its tries are counted as
//! the handbook says, and nothing is left.

use fake_github::Rule;
use serde_json::{Value, json};

use crate::support::{Anklet, LIMIT, World};
use crate::worlds::in_worlds;

/// What goes wrong, and the attempts that the next claim of the job then counts; none if it is not claimed again.
#[derive(Clone, Debug)]
struct Case {
    what: Fault,
    attempts: Option<u64>,
}

#[derive(Clone, Debug)]
enum Fault {
    Anka {
        verb: &'static str,
        nth: usize,
        how: Value,
    },
    /// So many answers in a row; a call is repeated before it counts as failed.
    GitHub {
        method: &'static str,
        path: &'static str,
        how: How,
        times: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum How {
    Status(u16),
    Hang,
    Nonsense,
    Close,
    LoseAnswer,
}

impl Fault {
    fn arm(&self, world: &World) {
        match self {
            Fault::Anka { verb, nth, how } => {
                world.anka.arm(&json!({"match": {"verb": verb, "nth": nth}, "do": how}));
            }
            Fault::GitHub { method, path, how, times } => {
                let rule = Rule::on(method, path).times(*times);
                world.github.rule(match how {
                    How::Status(status) => rule.status(*status, "as the test planned"),
                    How::Hang => rule.hang(),
                    How::Nonsense => rule.nonsense(b"{\"half\":"),
                    How::Close => rule.close(),
                    How::LoseAnswer => rule.lose_answer(),
                });
            }
        }
    }
}

/// Short limits, so that what hangs is given up soon.
fn config(world: &World) -> String {
    let limits = "limits: {github_call: 0.5, github_retry_total: 2, install_runner: 1.5, start_runner: 1.5, \
                  host_avoid_most: 0.2, job_hold_most: 0.2, ";
    let config = world
        .config(1)
        .replace("register_runner: 5", "register_runner: 1.5")
        .replace("limits: {", limits)
        .replace("plugin: github,", "plugin: github, registration_timeout_seconds: 2,");
    config + "anka_timeouts: {list: 1, show: 1, clone: 1, start: 1, cp: 1, delete: 1, stop: 1}\n"
}

/// The attempts of each claim, in order.
fn claims(anklet: &Anklet) -> Vec<u64> {
    let lines = anklet.lines();
    let found = lines.iter().filter(|line| line.message() == "queued job found");
    found.map(|line| line.0["attempts"].as_u64().unwrap()).collect()
}

fn check(world: &World, case: &Case) {
    case.what.arm(world);
    let anklet = world.start(&config(world));
    let job = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    world.assert_clean(&anklet);
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    let expected: Vec<_> = std::iter::once(0).chain(case.attempts).collect();
    assert_eq!(claims(&anklet), expected);
    anklet.stop();
}

#[test]
fn each_anka_command_fails_hangs_and_answers_nonsense() {
    let verbs: [(&str, usize, Option<u64>); 11] = [
        ("list", 1, Some(0)),
        ("show", 1, Some(0)),
        ("clone", 1, Some(1)),
        ("start", 1, Some(1)),
        ("cp", 1, Some(1)),
        ("cp", 2, Some(1)),
        ("cp", 3, Some(1)),
        ("run", 1, Some(1)),
        ("run", 2, Some(1)),
        ("run", 3, Some(1)),
        ("delete", 1, None),
    ];
    let hows = [
        json!({"fail": {"code": 1, "message": "as the test planned"}}),
        json!({"hang": true}),
        json!({"hang": true, "ignore_term": true}),
        json!({"print": "", "exit": 0}),
        json!({"print": "{\"status\":\"OK\",\"bo", "exit": 0}),
        json!({"print": "Segmentation fault", "exit": 139}),
        // It has been done, but the answer makes no sense.
        json!({"print": "[]", "exit": 0, "effect": true}),
    ];
    let mut cases = Vec::new();
    for (verb, nth, attempts) in verbs {
        for how in &hows {
            // What `run` prints is the guest's own affair; its exit code counts.
            let is_guest_success = verb == "run" && how["exit"] == 0;
            let attempts = match (verb, nth) {
                // The template's runner is current, so that an installation that did nothing is no loss.
                ("run", 1) if is_guest_success => None,
                ("run", _) if is_guest_success && how["effect"] == true => None,
                _ => attempts,
            };
            cases.push(Case { what: Fault::Anka { verb, nth, how: how.clone() }, attempts });
        }
    }
    in_worlds(cases, check);
}

#[test]
fn each_github_call_fails_hangs_and_answers_nonsense() {
    let token = ("POST", "/repos/acme/app/actions/runners/registration-token");
    let downloads = ("GET", "/repos/acme/app/actions/runners/downloads");
    let hows = [
        How::Status(500),
        How::Status(502),
        How::Status(403),
        How::Hang,
        How::Nonsense,
        How::Close,
        How::LoseAnswer,
    ];
    let mut cases = Vec::new();
    for how in hows {
        let fault = |(method, path), times| Fault::GitHub { method, path, how, times };
        // Once is repeated in the call itself, unless GitHub has understood and refuses, or answers what cannot be read.
        let is_final = matches!(how, How::Status(403) | How::Nonsense);
        cases.push(Case { what: fault(token, 1), attempts: is_final.then_some(0) });
        // More often than a call is repeated, it is the host's bad luck, and no try of the job.
        if !is_final {
            cases.push(Case { what: fault(token, 8), attempts: None });
        }
        // Without a word from GitHub the template's runner is used.
        cases.push(Case { what: fault(downloads, 1), attempts: None });
    }
    in_worlds(cases, |world, case| {
        let Fault::GitHub { times: 8, .. } = case.what else { return check(world, case) };
        // How often the job is claimed until GitHub answers depends on the waits, but no try counts.
        case.what.arm(world);
        let anklet = world.start(&config(world));
        let job = world.github.create_job(world.job());
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
        anklet.wait_message("job completed");
        world.assert_clean(&anklet);
        assert!(claims(&anklet).iter().all(|attempts| *attempts == 0), "{:?}", claims(&anklet));
        anklet.stop();
    });
}

/// The fence of a VM whose runner waits in vain: until GitHub answers, the VM stays.
#[test]
fn a_fence_that_fails_is_asked_again() {
    let paths = [("GET", "/repos/acme/app/actions/runners"), ("DELETE", "/repos/acme/app/actions/runners/*")];
    let hows = [How::Status(500), How::Status(403), How::Hang, How::Nonsense, How::Close, How::LoseAnswer];
    let cases: Vec<_> = paths.into_iter().flat_map(|path| hows.map(|how| (path, how))).collect();
    in_worlds(cases, |world, ((method, path), how)| {
        Fault::GitHub { method, path, how: *how, times: 1 }.arm(world);
        world.github.hold_assignment(true);
        let anklet = world.start(&config(world));
        let job = world.github.create_job(world.job());
        anklet.wait_message("waiting for runner registration timed out, will retry");
        world.github.hold_assignment(false);
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
        anklet.wait_message("job completed");
        world.assert_clean(&anklet);
        anklet.stop();
    });
}

/// Nothing is wrong with the jobs, so none is cancelled; the host rests, longer each time.
#[test]
fn a_host_whose_every_start_fails_rests_and_cancels_nothing() {
    let world = World::new();
    world
        .anka
        .arm(&json!({"match": {"verb": "start"}, "times": -1, "do": {"fail": {"code": 1, "message": "no"}}}));
    // However slow the machine is, a job that failed twice is left alone for longer than two others take, so that a third is tried.
    let config = config(&world).replace("host_avoid_most: 0.2", "rest_first: 0.3, host_avoid_most: 60");
    let anklet = world.start(&config);
    let jobs: Vec<_> = (0..6).map(|_| world.github.create_job(world.job())).collect();
    anklet.wait_messages("jobs keep failing on this host; it rests before it tries another", 3);
    for job in jobs {
        assert!(!world.github.job(job).is_completed());
    }
    assert!(world.github.requests_to("POST", "/repos/acme/app/actions/runs/*/cancel").is_empty());
    anklet.stop();
    assert!(world.vms_made_by_us().is_empty());
}

/// Every try ends in a crash of the process: after `job_retry_attempts` the run is cancelled.
#[test]
fn a_job_that_brings_the_process_down_is_cancelled_in_the_end() {
    let world = World::new();
    world.anka.arm(&json!({"match": {"verb": "start"}, "times": 3, "do": {"kill_caller": "during"}}));
    let config = config(&world).replace("plugin: github,", "plugin: github, job_retry_attempts: 2,");
    let mut job = None;
    for n_life in 1..=3 {
        let mut anklet = world.start(&config);
        job = job.or_else(|| Some(world.github.create_job(world.job())));
        let (status, _) = anklet.wait_end_and_lines();
        assert_eq!(status.code(), None, "life {n_life} was killed");
    }
    let anklet = world.start(&config);
    let ended = world.github.wait_completed(job.unwrap(), LIMIT);
    assert_eq!(ended.conclusion.as_deref(), Some("cancelled"));
    anklet.wait_message("job has attempts > max attempts, cancelling it");
    world.assert_clean(&anklet);
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    anklet.stop();
}

/// "Not found" is a word like any other: while the list names the VM it is there, and is deleted again.
#[test]
fn a_vm_that_is_not_found_is_looked_for() {
    let world = World::new();
    let not_found = json!({"fail": {"code": 3, "message": "VM not found"}});
    world.anka.arm(&json!({"match": {"verb": "delete"}, "times": 2, "do": not_found}));
    let anklet = world.start(&config(&world));
    let job = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    world.assert_clean(&anklet);
    assert_eq!(world.anka.calls("delete").len(), 3);
    anklet.stop();
}

/// A deletion fails, and so does the `stop --force` that follows it, in every way.
#[test]
fn a_vm_that_cannot_be_stopped_is_deleted_all_the_same() {
    let hows = [
        json!({"fail": {"code": 1, "message": "as the test planned"}}),
        json!({"hang": true}),
        json!({"hang": true, "ignore_term": true}),
        json!({"print": "{\"status\":\"OK\",\"bo", "exit": 0}),
        json!({"print": "Segmentation fault", "exit": 139}),
    ];
    in_worlds(hows.to_vec(), |world, how| {
        world.anka.arm(&json!({"match": {"verb": "delete"}, "do": {"fail": {"code": 1, "message": "busy"}}}));
        world.anka.arm(&json!({"match": {"verb": "stop"}, "do": how}));
        let anklet = world.start(&config(world));
        let job = world.github.create_job(world.job());
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
        anklet.wait_message("job completed");
        world.assert_clean(&anklet);
        let stops = world.anka.calls("stop");
        assert_eq!(stops.len(), 1);
        assert!(stops[0].argv.iter().any(|word| word == "--force"), "{stops:?}");
        assert_eq!(world.anka.calls("delete").len(), 2);
        assert_eq!(claims(&anklet), [0]);
        anklet.stop();
    });
}
