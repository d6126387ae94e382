//! `registration_mode: jit`: one call makes the runner and its single-use configuration; what is lost on the way is found again.

use std::os::unix::fs::PermissionsExt;

use fake_github::{JobSpec, JobStatus, RegisteredBy, RegistrationEnd, Rule, keys};
use serde_json::json;

use crate::support::{Anklet, LIMIT, REPO, TAG, TEMPLATE, TOKEN, World, bare};
use crate::worlds::in_worlds;

const CALL: &str = "@/actions/runners/generate-jitconfig";

/// The config of `World` with handlers in JIT mode and limits so short that what is lost is noticed soon.
pub(crate) fn config(world: &World, n_handlers: usize) -> String {
    let config =
        world.config(n_handlers).replace("plugin: github,", "plugin: github, registration_mode: jit,");
    config.replace("limits: {", "limits: {github_retry_total: 3, ")
}

/// What was asked of GitHub, the runner program's version apart, without the answers' numbers.
fn asked(world: &World, n_earlier: usize) -> Vec<String> {
    let requests = world.github.requests().into_iter().skip(n_earlier);
    let counted = requests.filter(|request| !request.path.ends_with("/actions/runners/downloads"));
    counted.map(|request| format!("{} {}", request.method, request.path)).collect()
}

fn count(anklet: &Anklet, message: &str) -> usize {
    anklet.lines().iter().filter(|line| line.message() == message).count()
}

/// Runs a job to its end; nothing is left.
fn runs_well(world: &World, anklet: &Anklet, job: u64) {
    let ended = world.github.wait_completed(job, LIMIT);
    assert_eq!(ended.conclusion.as_deref(), Some("success"), "{}", world.github.story());
    anklet.wait_for("an empty queue", || world.is_queue_empty());
    world.assert_clean(anklet);
}

#[test]
fn a_job_costs_one_call_and_no_registration_in_the_guest() {
    let world = World::new();
    let anklet = world.start(&config(&world, 1));
    for _ in 0..2 {
        let n_earlier = world.github.requests().len();
        let job = world.github.create_job(world.job());
        runs_well(&world, &anklet, job);
        assert_eq!(asked(&world, n_earlier), ["POST /repos/acme/app/actions/runners/generate-jitconfig"]);
    }
    for registration in world.github.registrations() {
        assert_eq!((registration.by, registration.group.as_str()), (RegisteredBy::Jit, "Default"));
        assert!(matches!(registration.ended, Some((_, RegistrationEnd::JobDone))));
    }
    assert!(world.anka.calls("guest config.sh").is_empty());
    let scripts: Vec<_> = world.anka.calls("cp").into_iter().map(|call| call.argv.join(" ")).collect();
    assert!(!scripts.iter().any(|argv| argv.contains("register-runner")), "{scripts:?}");
    let started: Vec<_> = world.anka.calls("run").into_iter().map(|call| call.argv.join(" ")).collect();
    assert!(!started.iter().any(|argv| argv.contains("register-runner")), "{started:?}");
    assert_eq!(started.iter().filter(|argv| argv.contains("start-runner")).count(), 2);
    anklet.stop();
}

/// The group's number is asked for once, by its name.
#[test]
fn an_organizations_group_is_looked_up_once() {
    let world = World::new();
    world.github.add_runner_group("acme", "Our Macs");
    let config =
        config(&world, 1).replace("jit, owner: acme, repo: app", "jit, owner: acme, runner_group: our macs");
    let anklet = world.start(&config);
    let post = "POST /orgs/acme/actions/runners/generate-jitconfig".to_owned();
    let look_up = "GET /orgs/acme/actions/runner-groups?per_page=100".to_owned();
    for expected in [&[look_up, post.clone()][..], std::slice::from_ref(&post)] {
        let n_earlier = world.github.requests().len();
        let job = world.github.create_job(world.job());
        runs_well(&world, &anklet, job);
        assert_eq!(asked(&world, n_earlier), expected);
    }
    assert!(world.github.registrations().iter().all(|registration| registration.group == "Our Macs"));
    anklet.stop();
}

/// GitHub's answer has told the runner's number, so that no list is needed.
#[test]
fn a_runner_is_undone_with_one_call() {
    let world = World::new();
    world.github.hold_assignment(true);
    let anklet = world.start(&config(&world, 1));
    world.github.create_job(world.job());
    anklet.wait_message("job is waiting for registered runner");
    let n_earlier = world.github.requests().len();
    anklet.stop();
    let runner = world.github.registrations().remove(0).runner_id;
    assert_eq!(asked(&world, n_earlier), [format!("DELETE /repos/acme/app/actions/runners/{runner}")]);
    assert!(world.vms_made_by_us().is_empty() && world.github.runners(REPO).is_empty());
}

/// GitHub makes an enterprise's runners for a classic token only, and tells of its jobs to an App.
#[test]
fn an_enterprise_makes_its_runners_too() {
    let world = World::new();
    world.github.add_enterprise("big", &["acme"]).add_runner_group("enterprises/big", "Macs");
    world
        .github
        .revoke(TOKEN)
        .add_pat("ghp_ofTheEnterprise", &["manage_runners:enterprise"])
        .add_app(77, "Iv23client", keys::APP_KEY, &["actions=write"])
        .add_installation(501, 77, "acme");
    let of_enterprise = "jit, enterprise: big, runner_group: Macs, token: ghp_ofTheEnterprise, app_id: 77";
    let config = config(&world, 1)
        .replace("jit, owner: acme, repo: app", of_enterprise)
        .replace("github_receiver, owner: acme, repo: app", "github_receiver, enterprise: big");
    let mut command = bare(env!("CARGO_BIN_EXE_anklet"));
    command.env("ANKLET_GLOBAL_PRIVATE_KEY", keys::APP_KEY);
    let anklet = world.start_with(&config, command);
    let job = world.github.create_job(world.job());
    runs_well(&world, &anklet, job);
    anklet.wait_for("no runner of the enterprise", || world.github.runners("enterprises/big").is_empty());
    let registration = world.github.registrations().remove(0);
    assert_eq!((registration.by, registration.group.as_str()), (RegisteredBy::Jit, "Macs"));
    anklet.stop();
}

#[test]
fn a_group_that_is_not_there_is_no_try_of_the_job() {
    let world = World::new();
    let config = config(&world, 1)
        .replace("jit, owner: acme, repo: app", "jit, owner: acme, runner_group: Later")
        .replace("limits: {", "limits: {host_avoid_most: 0.2, job_hold_most: 0.2, ");
    let anklet = world.start(&config);
    let job = world.github.create_job(world.job());
    let given_back = anklet.line("job given back");
    assert!(
        given_back.0["error"].as_str().unwrap().contains("no runner group \"Later\" in acme"),
        "{given_back:?}"
    );
    world.github.add_runner_group("acme", "Later");
    runs_well(&world, &anklet, job);
    let attempts = anklet.lines().into_iter().filter(|line| line.message() == "queued job found");
    assert!(attempts.map(|line| line.0["attempts"].clone()).all(|attempts| attempts == json!(0)));
    anklet.stop();
}

/// GitHub makes the runner, but its answer is lost: the repeated wish is a conflict. The list shows the runner at once, or later than
/// the job ends; either way nothing of it is left, and the job runs on a runner of the next name.
#[test]
fn a_lost_answer_costs_a_name() {
    in_worlds(vec![0, 2], |world, list_lag| {
        world.github.set_list_lag(std::time::Duration::from_secs(*list_lag));
        world.github.rule(Rule::on("POST", CALL).lose_answer());
        let config = config(world, 1).replace("runner_list_lag: 1", "runner_list_lag: 3");
        let anklet = world.start(&config);
        let job = world.github.create_job(world.job());
        runs_well(world, &anklet, job);
        let names: Vec<_> = world.github.registrations().into_iter().map(|it| it.runner_name).collect();
        assert_eq!(names.len(), 2);
        assert_eq!(names[1], format!("{}-2", names[0]));
        assert_eq!(world.anka.calls("clone").len(), 1);
        assert_eq!(count(&anklet, "job given back"), 0);
        anklet.stop();
    });
}

/// The job runs on a runner of the second name while anklet is killed: the next start knows it by its webhook and its record.
#[test]
fn a_second_name_is_known_to_the_next_start() {
    for is_queue_lost in [false, true] {
        let world = World::new();
        world.github.rule(Rule::on("POST", CALL).lose_answer());
        world.github.hold_assignment(true);
        let first = world.start(&config(&world, 1));
        let job = world.github.create_job(world.job());
        first.wait_message("job is waiting for registered runner");
        first.kill();
        if is_queue_lost {
            for end in ["", "-wal", "-shm"] {
                let _ =
                    std::fs::remove_file(world.home.path().join(format!(".config/anklet/anklet.db{end}")));
            }
        }
        let second = world.start(&config(&world, 1));
        second.wait_for("the runner of the second name gone", || world.github.runners(REPO).is_empty());
        world.assert_clean(&second);
        world.github.hold_assignment(false);
        if is_queue_lost {
            world.github.send_job_event(job, "queued");
        }
        runs_well(&world, &second, job);
        second.stop();
    }
}

/// Where a process is killed in this mode alone; the rest is in the kill matrix.
#[derive(Clone, Debug)]
enum Kill {
    BeforeCall,
    /// GitHub has made the runner; nothing is written down yet.
    AfterCall,
    /// The answer was lost, and the conflict that tells it has just come.
    AfterConflict,
    /// The runner of the second name is made.
    AfterSecondName,
    /// At the command that starts the runner.
    Start(&'static str),
}

impl Kill {
    fn arm(&self, world: &World, pid: u32) {
        let call = || Rule::on("POST", CALL);
        match self {
            Self::BeforeCall => drop(world.github.rule(call().kill_before(pid))),
            Self::AfterCall => drop(world.github.rule(call().kill_after(pid))),
            Self::AfterConflict => {
                world.github.rule(call().lose_answer());
                world.github.rule(call().kill_after(pid));
            }
            Self::AfterSecondName => {
                world.github.rule(call().lose_answer());
                world.github.rule(call().with_body("-2\"").kill_after(pid));
            }
            Self::Start(when) => {
                let matching = json!({"verb": "run", "arg_contains": "start-runner"});
                world.anka.arm(&json!({"match": matching, "do": {"kill_caller": when, "ms": 60}}));
            }
        }
    }

    /// How many runners GitHub makes until the job has run, where that is certain.
    fn n_runners(&self) -> Option<usize> {
        match self {
            Self::BeforeCall => Some(1),
            Self::AfterCall | Self::AfterConflict => Some(2),
            Self::AfterSecondName => Some(3),
            // The runner may be up, and is then watched on.
            Self::Start(_) => None,
        }
    }
}

#[test]
fn killed_between_the_wish_for_a_runner_and_its_start() {
    let cases = [Kill::BeforeCall, Kill::AfterCall, Kill::AfterConflict, Kill::AfterSecondName];
    let starts = ["before", "during", "after"].map(Kill::Start);
    in_worlds(cases.into_iter().chain(starts).collect(), |world, kill| {
        let mut first = world.spawn(&config(world, 1));
        kill.arm(world, first.pid());
        first.wait_message("receiver finished starting");
        // Where the runner comes up, GitHub gives it the job as soon as that is allowed again.
        world.github.hold_assignment(true);
        let job = world.github.create_job(world.job());
        let (status, _) = first.wait_end_and_lines();
        assert_eq!(status.code(), None, "it was killed");
        world.github.hold_assignment(false);
        let second = world.start(&config(world, 1));
        runs_well(world, &second, job);
        let n_runners = world.github.registrations().len();
        assert_eq!(n_runners, kill.n_runners().unwrap_or(n_runners));
        let ended = world.github.job(job);
        let n_starts = ended.history.iter().filter(|step| step.status == JobStatus::InProgress).count();
        assert_eq!(n_starts, 1, "it ran once: {}", world.github.story());
        second.stop();
    });
}

/// The call fails in each way: in the same claim where repeating it helps, else with a claim that counts as many tries as before.
#[test]
fn no_failure_of_the_call_is_a_try_of_the_job() {
    type Spoil = fn(Rule) -> Rule;
    let once: [(&str, Spoil, bool); 7] = [
        ("500", |rule| rule.status(500, "as the test planned"), false),
        ("hang", Rule::hang, false),
        ("close", Rule::close, false),
        ("lost answer", Rule::lose_answer, false),
        ("half an answer", Rule::truncate_answer, false),
        (
            "name taken",
            |rule| rule.status(409, "Already exists - A runner with the name *** already exists."),
            false,
        ),
        ("nonsense", |rule| rule.nonsense(b"{\"half\":"), true),
    ];
    let once = once.map(|(what, spoil, is_claimed_again)| (what, spoil, 1, is_claimed_again));
    let often = [
        ("500, and no end of it", (|rule: Rule| rule.status(500, "no")) as Spoil, 12, true),
        ("each answer lost, for long", Rule::lose_answer as Spoil, 12, true),
    ];
    in_worlds(once.into_iter().chain(often).collect(), |world, (what, spoil, times, is_claimed_again)| {
        world.github.rule(spoil(Rule::on("POST", CALL).times(*times)));
        let limits = "limits: {github_call: 0.5, host_avoid_most: 0.2, job_hold_most: 0.2, rest_first: 0.2, rest_most: 0.2, ";
        let config = config(world, 1)
            .replace("github_retry_total: 3", "github_retry_total: 1")
            .replace("limits: {", limits);
        let anklet = world.start(&config);
        let job = world.github.create_job(world.job());
        runs_well(world, &anklet, job);
        let lines = anklet.lines();
        let claims: Vec<_> = lines.iter().filter(|line| line.message() == "queued job found").collect();
        assert_eq!(claims.len() > 1, *is_claimed_again, "{what}");
        assert!(claims.iter().all(|line| line.0["attempts"] == json!(0)), "{what}: {claims:?}");
        anklet.stop();
    });
}

/// GitHub refuses: no try of the job, and no question whether a runner is there that was never made.
#[test]
fn a_refusal_is_no_try_and_leaves_nothing_to_remove() {
    let world = World::new();
    world.github.rule(Rule::on("POST", CALL).status(403, "Resource not accessible by personal access token"));
    let anklet = world.start(&config(&world, 1));
    let job = world.github.create_job(world.job());
    runs_well(&world, &anklet, job);
    assert_eq!(count(&anklet, "job given back"), 1);
    let calls = asked(&world, 0);
    assert!(calls.iter().all(|call| call.ends_with("generate-jitconfig")), "{calls:?}");
    anklet.stop();
}

/// Labels that no such runner can bear: the run is cancelled in the end, with the reason.
#[test]
fn too_many_labels_end_in_a_cancelled_run() {
    let world = World::new();
    let config = config(&world, 1)
        .replace("registration_mode: jit,", "registration_mode: jit, job_retry_attempts: 1,")
        .replace("limits: {", "limits: {host_avoid_most: 0.2, job_hold_most: 0.2, ");
    let anklet = world.start(&config);
    let many: Vec<_> = (0..101).map(|n| format!("label-{n}")).collect();
    let (template, tag) = (format!("anka-template:{TEMPLATE}"), format!("anka-template-tag:{TAG}"));
    let labels: Vec<_> =
        [template.as_str(), tag.as_str()].into_iter().chain(many.iter().map(String::as_str)).collect();
    let job = world.github.create_job(JobSpec::new(REPO, &labels));
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("cancelled"));
    let said = anklet.line("job has attempts > max attempts, cancelling it");
    assert!(
        said.0["reasons"].as_str().unwrap().contains("1 to 100 labels, and this job asks for 103"),
        "{said:?}"
    );
    assert!(world.github.requests_to("POST", CALL).is_empty());
    world.assert_clean(&anklet);
    anklet.stop();
}

/// The configuration is used too late: the runner never comes up, and the job gets a fresh VM.
#[test]
fn an_expired_configuration_is_a_try_that_counts() {
    let world = World::new();
    world.github.tune(|knobs| knobs.jit_life = std::time::Duration::from_millis(200));
    world
        .anka
        .arm(&json!({"match": {"verb": "run", "arg_contains": "start-runner"}, "do": {"delay_ms": 1_500}}));
    let config =
        config(&world, 1).replace("plugin: github,", "plugin: github, registration_timeout_seconds: 2,");
    let anklet = world.start(&config);
    let job = world.github.create_job(world.job());
    anklet.wait_message("waiting for runner registration timed out, will retry");
    world.github.tune(|knobs| knobs.jit_life = std::time::Duration::from_secs(300));
    runs_well(&world, &anklet, job);
    let attempts: Vec<_> =
        anklet.lines().into_iter().filter(|line| line.message() == "queued job found").collect();
    assert_eq!(attempts.last().unwrap().0["attempts"], json!(1));
    assert_eq!(world.github.registrations().len(), 2);
    anklet.stop();
}

/// Nobody is logged in at the guest's screen: the runner outlives the command that starts it all the same.
#[test]
fn without_launchd_the_runner_outlives_its_start_too() {
    let world = World::new();
    let fail = json!({"fail": {"code": 1, "message": "Bootstrap failed: 125: Domain does not support specified action"}});
    world.anka.arm(&json!({"match": {"verb": "guest launchctl"}, "do": fail}));
    let anklet = world.start(&config(&world, 1));
    let job = world.github.create_job(world.job().steps_ms(700));
    runs_well(&world, &anklet, job);
    assert_eq!(world.github.registrations().len(), 1);
    anklet.stop();
}

/// A start script of the operator's own that knows nothing of single-use configurations: it starts `run.sh`.
#[test]
fn a_start_script_of_ones_own_starts_run_sh() {
    let world = World::new();
    let folder = world.home.path().join("plugins/handlers/github");
    std::fs::create_dir_all(&folder).unwrap();
    let text = "#!/bin/bash\ncd actions-runner\ntrap '' HUP\n./run.sh >mine.log 2>&1 </dev/null &\n";
    std::fs::write(folder.join("start-runner.bash"), text).unwrap();
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.join("start-runner.bash"), executable).unwrap();
    std::fs::write(folder.join("register-runner.bash"), "exit 1\n").unwrap();
    let config = format!("plugins_path: {}/plugins\n{}", world.home.path().display(), config(&world, 1));
    let anklet = world.start(&config);
    anklet.wait_message("this guest script is not used with `registration_mode: jit`");
    let job = world.github.create_job(world.job());
    runs_well(&world, &anklet, job);
    assert!(world.anka.calls("guest launchctl").is_empty());
    anklet.stop();
}
