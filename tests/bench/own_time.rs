//! How much of a job's time is ours: from webhook to started runner, and from the `completed` webhook to the VM's deletion, each
//! less the time inside `anka`. Calls of GitHub count as ours, though the stand-in answers them in a moment.
//!
//! `cargo build --release --workspace && cargo bench --bench own_time [JOBS]`

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a measurement prints its figures"
)]

#[path = "../it/support.rs"]
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
mod support;

use std::time::Duration;

use fake_anka::TraceLine;
use support::{LIMIT, World};

fn main() {
    let n_jobs = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(30);
    let world = World::new();
    // Half a second inside anka for each job, as a fast Mac takes.
    for (verb, ms) in [("clone", 100), ("start", 200), ("run", 60), ("cp", 7)] {
        world.anka.set_delay(verb, Duration::from_millis(ms));
    }
    let anklet = world.start(&world.config(1));
    let (mut to_runner, mut to_deletion, mut totals) = (Vec::new(), Vec::new(), Vec::new());
    for n_job in 0..n_jobs {
        world.anka.clear_trace();
        let job = world.github.create_job(world.job().steps_ms(50));
        world.github.wait_completed(job, LIMIT);
        anklet.wait_messages("job completed", n_job + 1);
        let deliveries = world.github.deliveries();
        let sent_at = |action: &str| {
            let mut sent = deliveries
                .iter()
                .filter(|one| one.job_id == Some(job) && one.action.as_deref() == Some(action));
            sent.next().expect("the webhook was delivered").delivered_at.unix_ms as f64
        };
        let commands = commands(&world.anka.trace());
        let runner_started =
            commands.iter().rfind(|command| command.verb == "run").expect("the runner was started").end_ms;
        let deleted =
            commands.iter().rfind(|command| command.verb == "delete").expect("the VM was deleted").end_ms;
        let (total, own) = own_time(&commands, sent_at("queued"), runner_started);
        totals.push(total);
        to_runner.push(own);
        to_deletion.push(own_time(&commands, sent_at("completed"), deleted).1);
    }
    anklet.stop();
    println!("{n_jobs} jobs, one handler, embedded queue, the log at DEBUG");
    print("webhook → runner started, all of it", totals);
    print("webhook → runner started, ours", to_runner);
    print("completed webhook → VM gone, ours", to_deletion);
}

struct AnkaCommand {
    verb: String,
    start_ms: f64,
    end_ms: f64,
}

fn commands(trace: &[TraceLine]) -> Vec<AnkaCommand> {
    let starts = trace.iter().filter(|line| line.event == "start" && !line.verb.starts_with("guest "));
    let ended = |start: &TraceLine| trace.iter().find(|line| line.event == "end" && line.pid == start.pid);
    let command = |start: &TraceLine| AnkaCommand {
        verb: start.verb.clone(),
        start_ms: start.at_ms,
        end_ms: ended(start).map_or(start.at_ms, |end| end.at_ms),
    };
    starts.map(command).collect()
}

/// The whole time and our part of it.
fn own_time(commands: &[AnkaCommand], from_ms: f64, to_ms: f64) -> (f64, f64) {
    let inside = commands.iter().filter(|command| command.start_ms >= from_ms && command.end_ms <= to_ms);
    let in_anka: f64 = inside.map(|command| command.end_ms - command.start_ms).sum();
    (to_ms - from_ms, to_ms - from_ms - in_anka)
}

fn print(what: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    println!("{what:40} p50 {:6.1} ms   p90 {:6.1} ms   max {:6.1} ms", at(0.5), at(0.9), at(1.0));
}
