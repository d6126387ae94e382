//! What a scrape costs: the processor time of a busy process that nobody scrapes, and of the same when Prometheus' page is read each
//! second, in turns; then of one scrape, by reading the page as fast as it comes. A receiver, two handlers, a queue that never ends, Linux.
//!
//! Also how many reports a job makes, and what it costs the process in all. What one report costs is told by
//! `cargo test --release -p anklet --bin anklet -- --ignored --nocapture a_report_costs_next_to_nothing`.
//!
//! `cargo build --release --workspace && cargo bench --bench scrape [SECONDS]`

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement prints its figures"
)]

#[path = "../it/support.rs"]
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use support::{LIMIT, World};

/// Jobs a turn ends at most: each takes its steps and what goes before and after.
const N_JOBS_A_SECOND: u64 = 4;
const STEPS_MS: u64 = 500;
/// Turns without and with scrapes.
const N_TURNS: usize = 3;
const N_SCRAPES: u32 = 200;
const SECOND: Duration = Duration::from_secs(1);

fn main() {
    let seconds: u64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(30);
    let world = World::new();
    let anklet = world.start(&world.config(2));
    let n_jobs = N_JOBS_A_SECOND * (seconds + 10) * 2 * N_TURNS as u64;
    for _ in 0..n_jobs {
        world.github.create_job(world.job().steps_ms(STEPS_MS));
    }
    assert!(world.github.wait_webhooks_sent(LIMIT), "every job is in the queue");
    let port = metrics_port(&anklet);
    let first_page = scrape(port);
    let n_page_bytes = first_page.len();
    println!("two handlers, {n_jobs} jobs at first, the log at DEBUG; a page of {n_page_bytes} bytes");
    let (n_ended_before, mut unscraped) = (n_ended(&world), (Duration::ZERO, 0));
    for _ in 0..N_TURNS {
        for scraped in [false, true] {
            let (spent, n_ended) = turn(&world, anklet.pid(), scraped.then_some(port), seconds);
            if !scraped {
                unscraped = (unscraped.0 + spent, unscraped.1 + n_ended);
            }
            let share = spent.as_secs_f64() / seconds as f64 * 100.0;
            let how = if scraped { "scraped each second" } else { "not scraped" };
            println!("  {how:20} {share:5.2} % of a core over {seconds} s, {n_ended} jobs ended");
        }
    }
    assert!(n_ended(&world) < n_jobs, "the queue did not end");
    let n_reports = n_reports(&scrape(port)) - n_reports(&first_page);
    println!("  {:.0} reports a job", n_reports / (n_ended(&world) - n_ended_before).max(1) as f64);
    let per_job = unscraped.0 / u32::try_from(unscraped.1.max(1)).unwrap();
    println!("  {per_job:.2?} of a core's time for a job, where nobody scrapes");
    let before = processor_time(anklet.pid());
    let begun_at = Instant::now();
    (0..N_SCRAPES).for_each(|_| {
        scrape(port);
    });
    let (took, spent) = (begun_at.elapsed(), processor_time(anklet.pid()).saturating_sub(before));
    // What the jobs cost meanwhile is in it: it is short beside the scrapes.
    println!(
        "  {N_SCRAPES} scrapes on end: {:.2?} each, {:.2?} of a core's time",
        took / N_SCRAPES,
        spent / N_SCRAPES
    );
    anklet.kill();
}

/// What the process spent in that time, and how many jobs ended.
fn turn(world: &World, pid: u32, scraped: Option<u64>, seconds: u64) -> (Duration, u64) {
    let (n_before, before, mut next_at) = (n_ended(world), processor_time(pid), Instant::now());
    for _ in 0..seconds {
        if let Some(port) = scraped {
            scrape(port);
        }
        next_at += SECOND;
        sleep(next_at.saturating_duration_since(Instant::now()));
    }
    (processor_time(pid).saturating_sub(before), n_ended(world) - n_before)
}

fn n_ended(world: &World) -> u64 {
    world.github.look(|state| state.jobs.values().filter(|job| job.is_completed()).count()) as u64
}

/// Time that the process's threads spent on processors, in the kernel too; children do not count.
fn processor_time(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    // The first number is the thread's time on a processor in nanoseconds, exact where `stat` has ticks of 10 ms.
    let of_thread = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
    };
    Duration::from_nanos(threads.map(|entry| of_thread(entry.path())).sum())
}

fn metrics_port(anklet: &support::Anklet) -> u64 {
    let lines = anklet.lines();
    let started = lines.iter().find(|line| line.message() == "metrics server started").unwrap();
    started.0["port"].as_u64().unwrap()
}

/// How many reports are in a page's counters: each counts one, and each call of GitHub tells what is left of its limit too. Changes of a plugin's
/// status, a handful a job, are not counted anywhere.
fn n_reports(page: &str) -> f64 {
    let of_line = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let n_each = match series.split('{').next()? {
            "anklet_github_requests_total" => 2.0,
            "anklet_stage_duration_seconds_count"
            | "anklet_store_verb_duration_seconds_count"
            | "anklet_vms_started_total"
            | "anklet_jobs_completed_total"
            | "anklet_jobs_given_back_total"
            | "anklet_runs_cancelled_total" => 1.0,
            _ => return None,
        };
        Some(n_each * value.parse::<f64>().ok()?)
    };
    page.lines().filter_map(of_line).sum()
}

/// Reads Prometheus' page.
fn scrape(port: u64) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}
