//! The commands that look at the queue and change it by hand, through the real program beside a running daemon, or without one.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use fake_anka::Template;
use fake_github::JobSpec;
use serde_json::{Value, json};

use crate::http::rest;
use crate::redis_keys::Server;
use crate::support::{Anklet, LIMIT, REPO, World};

/// A command of the program in the world's home.
pub(crate) fn command(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anklet"));
    command.args(arguments).env_clear().env("HOME", world.home.path()).env("PATH", "/usr/bin:/bin");
    command.current_dir(world.home.path()).stdin(Stdio::null());
    command
}

/// The same, as a script would run it.
pub(crate) fn tool(world: &World, arguments: &[&str]) -> Output {
    command(world, arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What a command that must end well says; its lines fit a terminal and have no colours.
#[track_caller]
fn says(world: &World, arguments: &[&str]) -> String {
    let output = tool(world, arguments);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80) && !said.contains('\x1b'), "{said}");
    said
}

#[track_caller]
fn json_of(world: &World, arguments: &[&str]) -> Value {
    let output = tool(world, arguments);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output)))
}

/// What `why` says of a job, in one line.
fn why(world: &World, job: u64) -> String {
    let said = text(&tool(world, &["why", &job.to_string()]));
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Waits until `why` says all of this: handlers put their signs up a moment after they have changed.
#[track_caller]
fn wait_why(world: &World, anklet: &Anklet, job: u64, parts: &[&str]) {
    let is_said = |said: &str| parts.iter().all(|part| said.contains(part));
    let last = std::cell::RefCell::new(String::new());
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        anklet.wait_for("the right answer to why", || {
            let said = why(world, job);
            let found = is_said(&said);
            *last.borrow_mut() = said;
            found
        });
    }));
    assert!(found.is_ok(), "{parts:?} is not in: {}", last.borrow());
}

/// Jobs that last until somebody ends them.
fn endless(spec: JobSpec) -> JobSpec {
    spec.steps_ms(600_000)
}

fn end(world: &World, anklet: Anklet, jobs: &[u64]) {
    for job in jobs {
        world.github.cancel_run_of(*job);
        world.github.wait_completed(*job, LIMIT);
    }
    world.assert_clean(&anklet);
    anklet.stop();
}

fn of(template: &str) -> JobSpec {
    JobSpec::new(REPO, &[&format!("anka-template:{template}")])
}

fn quick(world: &World, n_handlers: usize, more: &str) -> String {
    world.config(n_handlers).replace("limits: {", &format!("limits: {{idle_look: 0.2, {more}"))
}

#[test]
fn why_no_host_has_the_template() {
    let world = World::new();
    let config = quick(&world, 1, "").replace("plugin: github,", "plugin: github, skip_pull: true,");
    let anklet = world.start(&config.replace("job_hold_first: 0.1", "job_hold_first: 100"));
    world.anka.add(&Template::new("nowhere", "nowhere", "v9").in_registry());
    let job = world.github.create_job(of("nowhere"));
    wait_why(&world, &anklet, job, &["no host has the template nowhere", "HANDLER1", "queue retry"]);
    end(&world, anklet, &[job]);
}

#[test]
fn why_too_large_for_every_host() {
    let world = World::new();
    world.anka.add(&Template::new("huge", "huge", "v1").on_disk().cpu(64).ram_gib(8).runner("2.336.0"));
    let anklet = world.start(&quick(&world, 1, ""));
    let job = world.github.create_job(of("huge"));
    wait_why(&world, &anklet, job, &["too large for every host", "64", "looked", "a larger host joins"]);
    assert_eq!(
        json_of(&world, &["why", &job.to_string(), "--json"])["handlers"][0]["hindrance"],
        "too_large"
    );
    end(&world, anklet, &[job]);
}

#[test]
fn why_the_hosts_are_busy_and_which_job_ends_that() {
    let world = World::new();
    let anklet = world.start(&quick(&world, 1, ""));
    let running = world.github.create_job(endless(world.job()));
    world.github.wait_in_progress(running, LIMIT);
    let waiting = [world.github.create_job(world.job()), world.github.create_job(world.job())];
    let named = format!("job {running} (running");
    wait_why(
        &world,
        &anklet,
        waiting[1],
        &["every handler that could run it is busy", &named, "number 2 of"],
    );
    wait_why(&world, &anklet, waiting[0], &["number 1 of"]);
    for job in waiting {
        world.github.cancel_run_of(job);
    }
    end(&world, anklet, &[waiting[0], waiting[1], running]);
}

/// Passed over for a while, since there is no room beside another VM.
#[test]
fn why_a_vm_does_not_fit_beside_another() {
    let world = World::new();
    for (name, cpu) in [("large", 12), ("small", 2)] {
        world.anka.add(&Template::new(name, name, "v1").on_disk().cpu(cpu).ram_gib(4).runner("2.336.0"));
    }
    let anklet = world.start(&quick(&world, 2, ""));
    let small = world.github.create_job(endless(of("small")));
    world.github.wait_in_progress(small, LIMIT);
    let large = world.github.create_job(of("large"));
    let named = format!("job {small} (running");
    wait_why(
        &world,
        &anklet,
        large,
        &["has been waiting", "does not fit beside what runs", "12 CPUs", &named],
    );
    world.github.cancel_run_of(large);
    end(&world, anklet, &[large, small]);
}

/// Held ready beside a VM that takes its room.
#[test]
fn why_a_job_is_paused_on_a_host() {
    let world = World::new();
    for (name, cpu) in [("large", 12), ("small", 2)] {
        world.anka.add(&Template::new(name, name, "v1").on_disk().cpu(cpu).ram_gib(4).runner("2.336.0"));
    }
    let anklet = world.start(&quick(&world, 2, "passed_over: 0.3, "));
    let small = world.github.create_job(endless(of("small")));
    world.github.wait_in_progress(small, LIMIT);
    let large = world.github.create_job(of("large"));
    let named = format!("job {small} (running");
    wait_why(&world, &anklet, large, &["is held ready by HANDLER", "until there is room", &named]);
    world.github.cancel_run_of(large);
    end(&world, anklet, &[large, small]);
}

#[test]
fn why_another_pull_is_in_the_way() {
    let world = World::new();
    for name in ["one", "two"] {
        world.anka.add(&Template::new(name, name, "v1").in_registry().cpu(2).ram_gib(4).runner("2.336.0"));
    }
    world.anka.arm(&json!({"match": {"verb": "registry pull", "nth": 1}, "do": {"delay_ms": 20_000}}));
    let anklet = world.start(&quick(&world, 2, ""));
    let pulled = world.github.create_job(of("one"));
    anklet.wait_message("pulling the template from the registry");
    let waits = world.github.create_job(of("two"));
    let ends = format!("has pulled the template for job {pulled}");
    wait_why(&world, &anklet, waits, &["is held by HANDLER", "another pull runs on this host", &ends]);
    wait_why(&world, &anklet, pulled, &["is being prepared by HANDLER", "pulling its template"]);
    for job in [waits, pulled] {
        world.github.cancel_run_of(job);
    }
    end(&world, anklet, &[waits, pulled]);
}

#[test]
fn why_the_budget_is_spent() {
    let world = World::new();
    let anklet = world.start(&quick(&world, 1, ""));
    world.github.set_budget("user", 5, 3_000);
    let job = world.github.create_job(world.job());
    let spent = world.github.create_job(world.job());
    wait_why(&world, &anklet, spent, &["GitHub's rate limit is reached"]);
    wait_why(&world, &anklet, job, &["HANDLER1"]);
    world.github.set_budget("user", 5_000, 3_000);
    anklet.kill();
}

/// Nothing was in hand when the limit came, so that everything waits.
#[test]
fn why_the_budget_pause_keeps_everybody() {
    let world = World::new();
    let anklet = world.start(&quick(&world, 1, ""));
    let first = world.github.create_job(world.job());
    world.github.wait_completed(first, LIMIT);
    anklet.wait_message("job completed");
    world.github.set_budget("user", 11, 3_000);
    let second = world.github.create_job(world.job());
    world.github.wait_completed(second, LIMIT);
    let third = world.github.create_job(world.job());
    wait_why(&world, &anklet, third, &["budget pause", "GitHub allows calls again"]);
    anklet.kill();
}

#[test]
fn why_all_hosts_are_drained_and_how_they_are_resumed() {
    let world = World::new();
    let anklet = world.start(&quick(&world, 2, ""));
    let refused = tool(&world, &["drain"]);
    assert_eq!(refused.status.code(), Some(2), "nobody can be asked");
    assert!(
        text(&refused).contains("take no new jobs") && text(&refused).contains("--yes"),
        "{}",
        text(&refused)
    );
    says(&world, &["drain", "--yes"]);
    anklet.wait_message("drain file present; not picking up new jobs");
    assert!(says(&world, &["drain"]).contains("already"));
    let job = world.github.create_job(world.job());
    wait_why(&world, &anklet, job, &["all hosts that could run it are drained", "anklet resume"]);
    let status = says(&world, &["status"]);
    assert!(status.contains("draining") && status.contains("HANDLER1 takes nothing: drained"), "{status}");
    says(&world, &["resume", "--yes"]);
    world.github.wait_completed(job, LIMIT);
    assert!(says(&world, &["resume"]).contains("not drained"));
    anklet.wait_message("job completed");
    end(&world, anklet, &[]);
}

/// Nobody looks by himself here: the commands tell.
#[test]
fn drain_and_resume_are_noticed_at_once() {
    let world = World::new();
    let anklet = world.start(&world.config(2).replace("limits: {", "limits: {idle_look: 3600, "));
    says(&world, &["drain", "--yes"]);
    anklet.wait_messages("drain file present; not picking up new jobs", 2);
    let job = world.github.create_job(world.job());
    anklet.wait_message("job pushed to queued queue");
    says(&world, &["resume", "--yes"]);
    world.github.wait_completed(job, LIMIT);
    anklet.wait_message("job completed");
    end(&world, anklet, &[]);
}

#[test]
fn why_after_attempts_and_what_retry_remove_and_cancel_do() {
    let world = World::new();
    let config = quick(&world, 1, "").replace("job_hold_first: 0.1", "job_hold_first: 100");
    let anklet = world.start(&config);
    world
        .anka
        .arm(&json!({"match": {"verb": "cp", "nth": 1}, "do": {"fail": {"code": 1, "message": "no copy"}}}));
    let job = world.github.create_job(endless(world.job()));
    wait_why(&world, &anklet, job, &["is held back", "HANDLER1", "no copy", "1 attempt was counted"]);
    let id = job.to_string();
    let shown = json_of(&world, &["why", &id, "--json"]);
    assert!(shown["give_backs"][0]["reason"].as_str().unwrap().contains("no copy"), "{shown}");
    assert!(says(&world, &["queue", "show", &id]).contains("given back: "));
    assert!(says(&world, &["queue", "list"]).contains("held "));

    says(&world, &["queue", "retry", &id, "--yes"]);
    world.github.wait_in_progress(job, LIMIT);
    anklet.wait_message("job found registered runner and is now in progress");
    let vm = world.vms_made_by_us().remove(0);
    wait_why(
        &world,
        &anklet,
        job,
        &["has been running on VM", &vm, "HANDLER1 on", "since 20", "retried by hand"],
    );
    assert_eq!(tool(&world, &["queue", "retry", &id, "--yes"]).status.code(), Some(1), "it runs");

    assert!(says(&world, &["queue", "cancel", &id, "--yes"]).contains("The whole run"));
    world.github.wait_completed(job, LIMIT);
    anklet.wait_message("job completed");
    wait_why(&world, &anklet, job, &["was cancelled by hand", "cancelled"]);

    says(&world, &["drain", "--yes"]);
    anklet.wait_message("drain file present; not picking up new jobs");
    let removed = world.github.create_job(world.job());
    let id = removed.to_string();
    anklet.wait_for("the job in the queue", || why(&world, removed).contains("waiting"));
    assert_eq!(tool(&world, &["queue", "remove", &id]).status.code(), Some(2), "nobody can be asked");
    says(&world, &["queue", "remove", &id, "--yes"]);
    world.github.send_job_event(removed, "queued");
    assert!(why(&world, removed).contains("was removed from the queue by hand"));
    assert!(says(&world, &["queue", "list"]).contains("It is empty"));
    says(&world, &["resume", "--yes"]);
    end(&world, anklet, &[removed]);
}

#[test]
fn why_a_job_is_over_or_unknown_and_an_address_is_a_job() {
    let world = World::new();
    let anklet = world.start(&quick(&world, 1, ""));
    let job = world.github.create_job(world.job());
    world.github.wait_completed(job, LIMIT);
    anklet.wait_message("job completed");
    wait_why(
        &world,
        &anklet,
        job,
        &["was completed at 20", "(success)", "after it ran on anklet-vm-", "cloning"],
    );
    let url = format!("https://github.com/acme/app/actions/runs/1/job/{job}?pr=7");
    assert!(says(&world, &["why", &url]).contains("was completed"));
    let unknown = tool(&world, &["why", "99999999999"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown).contains("is unknown"), "{}", text(&unknown));
    assert_eq!(json_of(&world, &["why", "99999999999", "--json"])["state"], "unknown");
    end(&world, anklet, &[]);
}

#[test]
fn why_we_cancelled_a_run() {
    let world = World::new();
    let anklet = world.start(&quick(&world, 1, ""));
    let label = "anka-template:--yes";
    let job = world.github.create_job(JobSpec::new(REPO, &[label]));
    let other = world.github.wait_completed(job, LIMIT);
    assert_eq!(other.conclusion.as_deref(), Some("cancelled"));
    wait_why(&world, &anklet, job, &["was cancelled by Anklet's handler HANDLER1", "It ended at"]);
    end(&world, anklet, &[]);
}

#[test]
fn a_store_that_is_away_is_said() {
    let world = World::new();
    std::fs::write(world.home.config(), world.config(1)).unwrap();
    let none = tool(&world, &["status"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none).contains("there is no queue file"), "{}", text(&none));
    let port = crate::support::free_port();
    let redis = format!("global_database_url: 127.0.0.1\nglobal_database_port: {port}\n");
    std::fs::write(world.home.config(), world.config(1) + &redis).unwrap();
    for arguments in [&["status"][..], &["why", "1"], &["queue", "list"]] {
        let away = tool(&world, arguments);
        assert_eq!(away.status.code(), Some(1));
        assert!(text(&away).contains("does not answer"), "{}", text(&away));
    }
}

/// In the middle of a busy run, what the commands say is what GitHub and anka know; and it is so while the daemon is dead.
#[test]
fn status_and_why_agree_with_github_and_anka() {
    let world = World::new();
    let config = quick(&world, 2, "");
    let anklet = world.start(&config);
    let running = [(); 2].map(|()| world.github.create_job(endless(world.job())));
    for job in running {
        world.github.wait_in_progress(job, LIMIT);
    }
    let waiting = [(); 5].map(|()| world.github.create_job(world.job()));
    let status = || json_of(&world, &["status", "--json"])[0].clone();
    anklet.wait_for("five jobs that wait", || status()["waiting"] == 5 && status()["in_hand"] == 2);
    anklet.wait_for("both VMs seen running", || agrees(&world, &status(), &running));
    anklet.wait_for("the status of all plugins", || {
        let shown = says(&world, &["status"]);
        ["5 waiting", "2 in hand", "RECEIVER", "listening", "HANDLER2", "in_progress", "running"]
            .iter()
            .all(|part| shown.contains(part))
    });
    assert_eq!(says(&world, &["queue", "list"]).matches(" waiting ").count(), 5);

    anklet.kill();
    assert!(agrees(&world, &status(), &running));
    let dead = why(&world, running[0]);
    assert!(dead.contains("has been running on VM") && dead.contains("is not heard any more"), "{dead}");
    let dead = why(&world, waiting[0]);
    assert!(dead.contains("no handler that takes jobs of acme/app has been heard of"), "{dead}");
    assert!(says(&world, &["status"]).contains("ended"));

    let second = world.start(&config);
    anklet_is_back(&world, &second, running[0]);
    for job in waiting.iter().chain(&running) {
        world.github.cancel_run_of(*job);
    }
    let all: Vec<_> = waiting.into_iter().chain(running).collect();
    end(&world, second, &all);
}

fn anklet_is_back(world: &World, anklet: &Anklet, job: u64) {
    anklet.wait_for("the job in hand again", || {
        let said = why(world, job);
        said.contains("has been running on VM") && !said.contains("is not heard")
    });
}

/// Whether each job that GitHub runs is shown as running, on the VM that GitHub and anka name.
fn agrees(world: &World, status: &Value, running: &[u64]) -> bool {
    let vms: Vec<_> = world.anka.running_vms().into_iter().map(|vm| vm.name).collect();
    running.iter().all(|job| {
        let runner = world.github.job(*job).runner_name.clone().unwrap_or_default();
        let holds = status["plugins"].as_array().unwrap().iter().map(|plugin| &plugin["holds"]);
        let found = holds.filter(|held| held["job"].as_str() == Some(&job.to_string())).collect::<Vec<_>>();
        found.len() == 1
            && found[0]["stage"] == "running"
            && found[0]["vm"] == runner.as_str()
            && vms.contains(&runner)
    })
}

/// The commands on a queue of 100,000 jobs, in a file and in Redis. The limits are those of an optimized program.
#[test]
#[ignore = "long: see tests/long"]
fn a_long_queue_is_asked_quickly() {
    const N_JOBS: u64 = 100_000;
    let limits = if cfg!(debug_assertions) { [10_000, 3_000] } else { [1_000, 100] };
    for in_redis in [false, true] {
        let world = World::new();
        let redis = Server::start();
        let config = if in_redis { redis.config(&world, 1) } else { world.config(1) };
        let anklet = world.start(&config);
        std::fs::write(world.home.path().join(".config/anklet/.drain"), "").unwrap();
        anklet.wait_message("drain file present; not picking up new jobs");
        let first = world.github.create_job(world.job());
        anklet.wait_message("job pushed to queued queue");
        // The daemon would wait for the file meanwhile, and then complain.
        anklet.kill();
        if in_redis {
            multiply_in_redis(&redis, first, N_JOBS);
        } else {
            multiply_in_file(&world, first, N_JOBS);
        }
        let last = (first + N_JOBS - 1).to_string();
        let questions =
            [(vec!["status"], "100000 waiting"), (vec!["why", &last], "number 100000 of its template")];
        for ((arguments, answer), limit) in questions.into_iter().zip(limits) {
            let said = says(&world, &arguments);
            // The quickest of a few: on a busy machine each of them waits for its turn.
            let tries = [(); 5].map(|()| {
                let began_at = Instant::now();
                tool(&world, &arguments);
                began_at.elapsed()
            });
            let took = tries.into_iter().min().unwrap();
            let memory = peak_memory(&world, &arguments);
            println!("in Redis: {in_redis}, {arguments:?}: {took:?}, {memory} KiB at the most");
            assert!(said.contains(answer), "{said}");
            assert!(took < Duration::from_millis(limit), "{arguments:?} took {took:?}");
            assert!(memory > 0 && memory < 32 << 10, "{arguments:?} took {memory} KiB");
        }
    }
}

/// The most memory in KiB that a command holds, looked at until it ends (Linux).
fn peak_memory(world: &World, arguments: &[&str]) -> u64 {
    let mut child = command(world, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        // What has just ended has no memory any more.
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        peak = peak.max(line.trim().trim_end_matches(" kB").parse().unwrap_or(0));
        rest(Duration::from_micros(500));
    }
    peak
}

/// Copies of the one stored job, of the same age.
fn multiply_in_file(world: &World, first: u64, n_jobs: u64) {
    let mut file = crate::queue::open(world);
    let copies = file.transaction().unwrap();
    let sql = "INSERT INTO jobs (queue, job, version, age, grp, quiet, doc)
        SELECT queue, job + ?1, version, age, grp, quiet, replace(doc, ?2, ?3) FROM jobs WHERE seq = ?4";
    let seq: i64 = copies.query_row("SELECT seq FROM jobs", [], |row| row.get(0)).unwrap();
    for n in 1..n_jobs {
        let ids = (format!("\"{first}\""), format!("\"{}\"", first + n));
        copies.execute(sql, rusqlite::params![n.cast_signed(), ids.0, ids.1, seq]).unwrap();
    }
    copies.commit().unwrap();
}

/// The same. Equal ages are the worst case for a look at what comes before a job.
fn multiply_in_redis(redis: &Server, first: u64, n_jobs: u64) {
    let script = r"
        local P, first, n_jobs = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
        local job = redis.call('HGETALL', P .. 'job:' .. ARGV[1])
        local f = {}
        for n = 1, #job, 2 do f[job[n]] = job[n + 1] end
        for n = 1, n_jobs - 1 do
            local id = string.format('%.0f', first + n)
            local seq = string.format('%.0f', f.seq + n)
            local key = P .. 'job:' .. id
            redis.call('HSET', key, unpack(job))
            redis.call('HSET', key, 'id', id, 'seq', seq, 'job', (string.gsub(f.job, ARGV[1], id)))
            local member = string.format('%016.0f', f.seq + n) .. ':' .. id
            redis.call('ZADD', P .. 'group:' .. f.base .. '\n' .. f.ent, f.age, member)
            redis.call('ZADD', P .. 'quiet', f.quiet, member)
        end";
    let prefix = "anklet:{acme}:";
    let () =
        redis::Script::new(script).key(prefix).arg(first).arg(n_jobs).invoke(&mut redis.connect()).unwrap();
}
