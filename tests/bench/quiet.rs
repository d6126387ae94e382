//! What an idle process costs: wake-ups of each thread, and memory; then memory after some jobs. A receiver, two handlers, Linux.
//!
//! `cargo build --release --workspace && cargo bench --bench quiet [SECONDS]`; an hour shows whether it grows.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement prints its figures"
)]

#[path = "../it/support.rs"]
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::{LIMIT, SECRET, TOKEN, World};

/// What a start still does settles in this time.
const SETTLING: Duration = Duration::from_secs(5);
const N_JOBS: usize = 20;

fn main() {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(60);
    let world = World::new();
    let anklet = world.start(&config(&world));
    sleep(SETTLING);
    let (before, begun_at) = (wake_ups(anklet.pid()), Instant::now());
    println!("started: {}", memory(anklet.pid()));
    sleep(Duration::from_secs(seconds));
    let (after, took) = (wake_ups(anklet.pid()), begun_at.elapsed().as_secs_f64());
    println!("idle for {took:.0} s: {}", memory(anklet.pid()));
    let mut total = 0;
    for (thread, n_after) in &after {
        let n_woken = n_after - before.get(thread).copied().unwrap_or(0);
        total += n_woken;
        if n_woken > 0 {
            println!("  {:.2}/s  {}", n_woken as f64 / took, thread.1);
        }
    }
    println!("context switches: {:.2}/s in all, {} threads", total as f64 / took, after.len());

    let jobs: Vec<_> = (0..N_JOBS).map(|_| world.github.create_job(world.job().steps_ms(50))).collect();
    for job in jobs {
        world.github.wait_completed(job, LIMIT);
    }
    anklet.wait_messages("job completed", N_JOBS);
    println!("at the end of {N_JOBS} jobs: {}", memory(anklet.pid()));
    sleep(SETTLING);
    println!("a while later: {}", memory(anklet.pid()));
    anklet.stop();
}

/// The config of a newcomer, without the short waits that tests have.
fn config(world: &World) -> String {
    let (web, api) = (world.github.url(), world.github.api_url());
    let mut text = format!(
        "github_url: {web}\ngithub_api_url: {api}\nglobal_token: {TOKEN}\nglobal_receiver_secret: {SECRET}\nwork_dir: {}\n\
         host: {{cpu_count: 12, memory_bytes: 34359738368}}\nplugins:\n  - {{name: RECEIVER, plugin: github_receiver, owner: acme, repo: app, port: {}}}\n",
        world.home.path().display(),
        world.port
    );
    for n in 1..=2 {
        text += &format!("  - {{name: HANDLER{n}, plugin: github, owner: acme, repo: app}}\n");
    }
    text
}

/// Context switches so far of each thread, by its id and name.
fn wake_ups(pid: u32) -> BTreeMap<(u32, String), u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let of_task = |entry: fs::DirEntry| {
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let number = |key: &str| -> Option<u64> { field(&status, key)?.parse().ok() };
        let n_switches = number("voluntary_ctxt_switches")? + number("nonvoluntary_ctxt_switches")?;
        let id = entry.file_name().to_str()?.parse().ok()?;
        Some(((id, field(&status, "Name")?.to_owned()), n_switches))
    };
    tasks.filter_map(of_task).collect()
}

fn memory(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mib = |key: &str| {
        let kib = field(&status, key).and_then(|text| text.trim_end_matches(" kB").parse::<f64>().ok());
        kib.unwrap_or(0.0) / 1024.0
    };
    format!(
        "{:.1} MiB resident ({:.1} of our own, {:.1} of files), {:.1} at the most",
        mib("VmRSS"),
        mib("RssAnon"),
        mib("RssFile"),
        mib("VmHWM")
    )
}

fn field<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim()))
}
