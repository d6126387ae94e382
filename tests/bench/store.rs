//! Measures the queue in both its homes, a file and a Redis that it starts: what a verb costs, alone and in company, how soon a handler wakes, and that
//! a claim does not pay for the jobs it cannot run.
//!
//! Prints one line a measurement. An argument names the folder for the file, since what is measured is that folder's disk.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]
#![allow(dead_code, unused_imports, reason = "takes in the store as it is, with its tests")]

#[path = "../../src/store"]
mod store {
    pub(crate) mod embedded;
    pub(crate) mod redis;
    mod signals;
    pub(crate) mod vm_document;
}
#[path = "../../src/store/redis/tests/server.rs"]
#[allow(clippy::duplicate_mod, reason = "the store's own tests have it too")]
mod server;

/// What the Redis store wants to know of the config.
mod config {
    use std::time::Duration;

    use anklet_plugin_api::section::Secret;

    #[derive(Clone, Debug, PartialEq)]
    pub(crate) struct RedisSettings {
        pub(crate) host: String,
        pub(crate) port: u16,
        pub(crate) user: Option<String>,
        pub(crate) password: Option<Secret>,
        pub(crate) database: u32,
        pub(crate) max_retries: u32,
        pub(crate) retry_delay: Duration,
        pub(crate) retry_backoff_factor: f64,
        pub(crate) cluster_mode: bool,
        pub(crate) tls_enabled: bool,
        pub(crate) tls_insecure: bool,
    }
}

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anklet_plugin_api::job::{Conclusion, Image, Job, JobId, News, Phase, RunId};
use anklet_plugin_api::name::{HostId, PluginName};
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::store::{Claim, ClaimAnswer, ClaimKey, Counted, GiveBack, Source, Store, Want};
use anklet_plugin_api::time::Moment;
use crossbeam_channel::tick;

use crate::config::RedisSettings;
use crate::server::TestServer;
use crate::store::embedded::{EmbeddedStore, Options};
use crate::store::redis::{self, RedisServer};

/// Makes an empty queue of this name.
type Open<'a> = &'a dyn Fn(&str) -> Arc<dyn Store>;

fn main() {
    let folder = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let folder = folder.map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("anklet-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder can be made");
    flush_alone(&folder);
    println!("\nA file");
    measure_store(&|name| {
        EmbeddedStore::open(&folder.join(name), &Options::default()).expect("the file can be opened")
    });
    std::fs::remove_dir_all(&folder).expect("the folder can be removed");
    println!("\nRedis with an append-only file that is flushed each second");
    let server = TestServer::start(&[]);
    measure_store(&|name| open_redis(server.port, name));
}

fn measure_store(open: Open<'_>) {
    for n_threads in [1, 8] {
        enqueue(open, n_threads);
    }
    claims(open);
    wake_up(open);
    webhooks_at_500_a_second(open);
    idle(open);
    for hindrance in [Hindrance::OutOfScope, Hindrance::PassedBy, Hindrance::Avoided, Hindrance::Held] {
        blocked(open, hindrance);
    }
}

fn open_redis(port: u16, name: &str) -> Arc<dyn Store> {
    let settings = RedisSettings {
        host: "127.0.0.1".to_owned(),
        port,
        user: None,
        password: None,
        database: 0,
        max_retries: 5,
        retry_delay: Duration::from_millis(100),
        retry_backoff_factor: 2.0,
        cluster_mode: false,
        tls_enabled: false,
        tls_insecure: false,
    };
    let options = redis::Options {
        settings,
        ca: None,
        clock: None,
        tombstone_life: Duration::from_secs(172_800),
        claim_life: Duration::from_secs(90),
        process: "bench".to_owned(),
        silence_limit: Duration::from_secs(10),
    };
    let queues = BTreeSet::from([name.to_owned()]);
    RedisServer::open(options, &queues).expect("the server answers").queue(name)
}

/// What the disk itself takes.
fn flush_alone(folder: &Path) {
    let mut file = File::create(folder.join("flush")).expect("a file can be made");
    let times = measure(200, |_| {
        file.write_all(&[7; 4096]).expect("the disk takes it");
        file.sync_data().expect("the disk flushes it");
    });
    report("flush of 4 KiB alone", times);
}

fn enqueue(open: Open<'_>, n_threads: u64) {
    let store = open(&format!("enqueue-{n_threads}"));
    let (n_each, begin) = (2_000, Instant::now());
    let mut times = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads)
            .map(|n| {
                let store = &store;
                scope.spawn(move || {
                    measure(n_each, |id| {
                        store.news(&queued(n * 1_000_000 + id, "mine"), Source::Webhook).expect("stored");
                    })
                })
            })
            .collect();
        times.extend(threads.into_iter().flat_map(|thread| thread.join().expect("it ends")));
    });
    let rate = times.len() as f64 / begin.elapsed().as_secs_f64();
    report(&format!("enqueue, {n_threads} threads, {rate:.0}/s"), times);
}

/// Eight handlers that each claim a job and end it, until none is left.
fn claims(open: Open<'_>) {
    let store = open("claims");
    let n_jobs = 4_000;
    for id in 0..n_jobs {
        store.news(&queued(id, "mine"), Source::Webhook).expect("stored");
    }
    let begin = Instant::now();
    thread::scope(|scope| {
        for n in 0..8 {
            let store = &store;
            scope.spawn(move || {
                while let Some(claim) = claim(&**store, &want(&format!("h{n}"))) {
                    store.finish(&claim.key, &Conclusion::Success).expect("finished");
                }
            });
        }
    });
    let rate = n_jobs as f64 / begin.elapsed().as_secs_f64();
    println!("claim and finish, 8 threads: {rate:.0} jobs/s");
}

/// From the webhook in hand to the handler that hears of it.
fn wake_up(open: Open<'_>) {
    let store = open("wake-up");
    let signals = store.subscribe(&PluginName::new("sleeper"));
    let times = measure(1_000, |id| {
        store.news(&queued(id, "mine"), Source::Webhook).expect("stored");
        signals.recv_timeout(Duration::from_secs(10)).expect("a signal");
    });
    report("webhook to wake-up", times);
}

/// Three workers, as in a receiver, while two handlers work on the queue.
fn webhooks_at_500_a_second(open: Open<'_>) {
    let store = open("paced");
    let (n_workers, n_each) = (3_u64, 1_000_u64);
    let mut times = Vec::new();
    let (stopper, stop) = crossbeam_channel::bounded::<()>(0);
    thread::scope(|scope| {
        for n in 0..2 {
            let (store, stop) = (&store, stop.clone());
            scope.spawn(move || {
                let every = tick(Duration::from_millis(5));
                while stop.try_recv() == Err(crossbeam_channel::TryRecvError::Empty) {
                    if let Some(claim) = claim(&**store, &want(&format!("h{n}"))) {
                        store.finish(&claim.key, &Conclusion::Success).expect("finished");
                    }
                    every.recv().expect("it ticks");
                }
            });
        }
        let workers: Vec<_> = (0..n_workers)
            .map(|n| {
                let store = &store;
                scope.spawn(move || {
                    let every = tick(Duration::from_secs(n_workers) / 500);
                    let mut times = Vec::new();
                    for id in 0..n_each {
                        every.recv().expect("it ticks");
                        let begin = Instant::now();
                        store.news(&queued(n * 1_000_000 + id, "mine"), Source::Webhook).expect("stored");
                        times.push(begin.elapsed());
                    }
                    times
                })
            })
            .collect();
        times.extend(workers.into_iter().flat_map(|worker| worker.join().expect("it ends")));
        drop(stopper);
    });
    report("webhook at 500/s beside two handlers", times);
}

fn idle(open: Open<'_>) {
    let store = open("idle");
    claim(&*store, &want("idle"));
    report(
        "claim of an idle handler",
        measure(2_000, |_| {
            claim(&*store, &want("idle"));
        }),
    );
    report(
        "look at a lost claim",
        measure(2_000, |_| {
            store.look(&ClaimKey { handler: PluginName::new("idle"), fence: 9 }).expect("answered");
        }),
    );
}

/// Why the jobs in the queue are not for this host.
#[derive(Clone, Copy, Debug)]
enum Hindrance {
    OutOfScope,
    PassedBy,
    Avoided,
    Held,
}

/// The same claim and end of a job with 100 and with 100,000 jobs in the queue that this host cannot run.
fn blocked(open: Open<'_>, hindrance: Hindrance) {
    let mut medians = Vec::new();
    for n_jobs in [100, 10_000, 100_000] {
        let store = open(&format!("{hindrance:?}-{n_jobs}"));
        fill(&*store, hindrance, n_jobs);
        let mut want = want("h");
        if let Hindrance::PassedBy = hindrance {
            want.pass.push(queued(0, "other").job.group());
        }
        let idle = measure(500, |_| assert!(claim(&*store, &want).is_none(), "nothing is for this host"));
        let idle = report(&format!("{hindrance:?}, {n_jobs} jobs: claim of nothing"), idle);
        let took = measure(300, |id| {
            store.news(&queued(10_000_000 + id, "mine"), Source::Webhook).expect("stored");
            let claim = claim(&*store, &want).expect("there is one");
            store.finish(&claim.key, &Conclusion::Success).expect("finished");
        });
        let took = report(&format!("{hindrance:?}, {n_jobs} jobs: store, claim, finish"), took);
        medians.push((idle, took));
    }
    let ratio = |of: fn(&(Duration, Duration)) -> Duration| {
        of(&medians[2]).as_secs_f64() / of(&medians[0]).as_secs_f64()
    };
    println!(
        "{hindrance:?}: 100,000 cost {:.2} and {:.2} times what 100 cost",
        ratio(|m| m.0),
        ratio(|m| m.1)
    );
}

fn fill(store: &dyn Store, hindrance: Hindrance, n_jobs: u64) {
    let owner = if let Hindrance::OutOfScope = hindrance { "elsewhere" } else { "acme" };
    thread::scope(|scope| {
        for n in 0..16 {
            scope.spawn(move || {
                for id in (n..n_jobs).step_by(16) {
                    let mut news = queued(id, "other");
                    news.job.owner = owner.to_owned();
                    if let Hindrance::OutOfScope = hindrance {
                        news.job.repo = format!("repo-{}", id % 1_000);
                    }
                    store.news(&news, Source::Webhook).expect("stored");
                    if let Hindrance::Held = hindrance {
                        set_back(store, &format!("filler-{n}"), Duration::from_secs(86_400), None);
                    }
                }
            });
        }
    });
    if let Hindrance::Avoided = hindrance {
        // At most 32 of a group are stepped over, so that 33 hide those behind them.
        for n in 0..33 {
            set_back(store, &format!("filler-{n}"), Duration::ZERO, Some(Duration::from_secs(86_400)));
        }
    }
}

fn set_back(store: &dyn Store, handler: &str, hold: Duration, host_avoids: Option<Duration>) {
    if let Some(claim) = claim(store, &want(handler)) {
        let how = GiveBack { reason: "bench".to_owned(), counted: Counted::No, hold, host_avoids };
        store.give_back(&claim.key, &how).expect("given back");
    }
}

fn claim(store: &dyn Store, want: &Want) -> Option<Claim> {
    match store.claim(want).expect("the store answers") {
        ClaimAnswer::Claimed(claim) => Some(*claim),
        ClaimAnswer::Nothing { .. } => None,
    }
}

fn want(handler: &str) -> Want {
    Want {
        handler: PluginName::new(handler),
        host: HostId::new("host"),
        scope: Scope::Organization { owner: "acme".to_owned() },
        pass: Vec::new(),
        take_over: true,
        claim_life: Duration::from_secs(90),
    }
}

fn queued(id: u64, template: &str) -> News {
    let job = Job {
        id: JobId(id),
        run_id: RunId(id),
        run_attempt: 1,
        owner: "acme".to_owned(),
        repo: "rockets".to_owned(),
        enterprise: None,
        labels: vec!["self-hosted".to_owned(), format!("anka-template:{template}")],
        image: Image { template: template.to_owned(), tag: None },
        name: "build and test".to_owned(),
        workflow: "ci".to_owned(),
        html_url: format!("https://github.example/acme/rockets/actions/runs/{id}/job/{id}"),
        created_at: Some(Moment(1_700_000_000_000 + id.cast_signed())),
    };
    News { job, phase: Phase::Queued, for_us: true }
}

fn measure(n_times: u64, mut work: impl FnMut(u64)) -> Vec<Duration> {
    (0..n_times)
        .map(|n| {
            let begin = Instant::now();
            work(n);
            begin.elapsed()
        })
        .collect()
}

/// Prints median, 99th percentile and maximum; answers the median.
fn report(what: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{what:<60} p50 {:>10.1?}  p99 {:>10.1?}  max {:>10.1?}", at(50), at(99), at(100));
    at(50)
}
