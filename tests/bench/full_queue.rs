//! What a queue full of jobs that this host cannot run costs the real program: a webhook, the way from a webhook to the first command
//! of its job, and memory, with 0, 100 and 100,000 such jobs.
//!
//! `cargo build --release --workspace && cargo bench --bench full_queue [JOBS]`

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a measurement prints its figures"
)]

#[path = "../it/http.rs"]
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
mod http;
#[path = "../it/queue.rs"]
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
mod queue;
#[path = "../it/support.rs"]
#[allow(dead_code, reason = "shared with the tests, which need more of it")]
mod support;

use std::time::{Duration, Instant};

use http::{deliver, of_process, queued};
use support::{LIMIT, World};

const N_WEBHOOKS: u64 = 400;
const N_JOBS: usize = 20;

fn main() {
    let most = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(100_000);
    for n_others in [0, 100, most] {
        measure(n_others);
    }
}

fn measure(n_others: u64) {
    let world = World::new();
    if n_others > 0 {
        fill(&world, n_others);
    }
    let anklet = world.start(&world.config(1));
    println!("{n_others} jobs of other repositories in the queue");
    println!("  memory at the start: {:.1} MiB", memory(anklet.pid()));
    let webhook = |n: u64| {
        let begun_at = Instant::now();
        let (status, answer) = deliver(world.port, &queued(50_000_000 + n, "other"));
        assert_eq!(status, 200, "{answer}");
        begun_at.elapsed()
    };
    print("a webhook stored", (0..N_WEBHOOKS).map(webhook).collect());
    println!("  memory after {N_WEBHOOKS} webhooks: {:.1} MiB", memory(anklet.pid()));
    let mut to_command = Vec::new();
    for n_job in 0..N_JOBS {
        world.anka.clear_trace();
        let job = world.github.create_job(world.job().steps_ms(10));
        world.github.wait_completed(job, LIMIT);
        anklet.wait_messages("job completed", n_job + 1);
        let sent = world.github.deliveries();
        let sent =
            sent.iter().find(|one| one.job_id == Some(job)).expect("delivered").delivered_at.unix_ms as f64;
        let first = world.anka.calls("list").first().expect("the first command").at_ms;
        to_command.push(Duration::from_secs_f64((first - sent).max(0.0) / 1_000.0));
    }
    print("from a webhook to the first command of its job", to_command);
    println!("  memory at the end: {:.1} MiB", memory(anklet.pid()));
    anklet.stop();
}

/// One job is stored by the program, so that the row is as it writes them, and the others are copies of it in a hundred groups.
fn fill(world: &World, n_others: u64) {
    let anklet = world.start(&world.config(1));
    assert_eq!(deliver(world.port, &queued(1, "other")).0, 200);
    anklet.stop();
    let sql = format!(
        r#"BEGIN IMMEDIATE;
         INSERT INTO groups (queue, owner, repo, template, tag, enterprise, head_age, head_seq)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99)
         SELECT g.queue, g.owner, g.repo || '-' || i, g.template, g.tag, g.enterprise, g.head_age + i, g.head_seq + i
         FROM groups g, n;
         INSERT INTO jobs (queue, job, version, age, grp, doc)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {} - 1)
         SELECT j.queue, j.job + i, j.version, j.age + i, (SELECT min(id) FROM groups) + i % 100,
                replace(replace(j.doc, '"id":"' || j.job || '"', '"id":"' || (j.job + i) || '"'),
                        '"repo":"app"', '"repo":"other-' || (i % 100) || '"')
         FROM jobs j, n;
         COMMIT;"#,
        n_others
    );
    queue::open(world).execute_batch(&sql).expect("the queue is filled");
}

fn memory(pid: u32) -> f64 {
    of_process(pid, "VmRSS") as f64 / 1024.0
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("  {what}: p50 {:.1?}, p99 {:.1?}, max {:.1?}", at(50), at(99), at(100));
}
