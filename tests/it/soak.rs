//! Ten thousand jobs through one process: what it holds after the first hundred is what it holds at the end.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use redis::Commands;

use crate::http::{of_process, rest};
use crate::queue;
use crate::redis_keys::Server;
use crate::support::{Anklet, LIMIT, TOKEN, World, bare};

/// Jobs after which everything is counted.
const CHECKPOINTS: [usize; 3] = [100, 1_000, 10_000];
/// Jobs that GitHub has at once.
const N_AT_ONCE: usize = 20;
/// What memory may have grown since the first checkpoint, in percent.
const GROWTH_LIMIT: u64 = 10;
/// One heap for all threads, and no freed pieces that each thread keeps for itself: what glibc keeps in that way fills up over thousands of jobs, to a bound
/// that goes with the number of threads, and would hide what the process itself holds. The service on Linux runs with both; other C libraries know neither.
const ONE_HEAP: [&str; 2] = ["MALLOC_ARENA_MAX=1", "GLIBC_TUNABLES=glibc.malloc.tcache_count=0"];
/// How many more connections may be kept for a next call at one time than at another: two to GitHub, eight to Redis.
const N_KEPT: usize = 2 + 8;
/// How long connections that are kept for a next call may stay.
const SETTLING: Duration = Duration::from_secs(90);

/// Kinds of keys in Redis that are kept of a job that is over.
const OF_ENDED_JOBS: [&str; 3] = ["anklet:{acme}:ended", "anklet:{acme}:last", "anklet:{acme}:last:history"];
/// Which rows of `notices` are.
const OF_ENDED_NOTICE: &str = "key GLOB 'ended/*'";

/// What must not grow.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    n_threads: u64,
    /// What each descriptor but sockets is, and how many there are.
    descriptors: BTreeMap<String, usize>,
    /// Rows of each table, or keys of each kind in Redis, but for what is kept of ended jobs.
    rows: BTreeMap<String, u64>,
    /// Files of each folder of the home, but for what the stand-in of anka has.
    files: BTreeMap<String, usize>,
}

/// A process and the home of its queue.
struct Soak<'a> {
    world: &'a World,
    redis: Option<&'a Server>,
    anklet: Anklet,
}

#[test]
#[ignore = "long: see tests/long"]
fn ten_thousand_jobs_leave_nothing_behind() {
    let world = World::new();
    soak(&world, None, &world.config(2));
}

#[test]
#[ignore = "long: see tests/long"]
fn ten_thousand_jobs_leave_nothing_behind_in_redis() {
    let (world, redis) = (World::new(), Server::start());
    let config = redis.config(&world, 2);
    soak(&world, Some(&redis), &config);
}

fn soak(world: &World, redis: Option<&Server>, config: &str) {
    world.github.add_pat(TOKEN, &["repo", "admin:org", "admin:org_hook", "workflow"]);
    world.github.set_budget("user", 1_000_000, 36_000);
    let receiver = format!("plugin: github_receiver, hook_id: {},", world.hook);
    let config = config.replace("plugin: github_receiver,", &receiver);
    // At DEBUG the log of so many jobs would fill this program's memory.
    let temporary = world.home.path().join("tmp");
    fs::create_dir(&temporary).unwrap();
    let mut command = bare("/usr/bin/env");
    command.arg("LOG_LEVEL=INFO").arg(format!("TMPDIR={}", temporary.display())).args(ONE_HEAP);
    command.arg(env!("CARGO_BIN_EXE_anklet"));
    let anklet = world.start_with(&config, command);
    let soak = Soak { world, redis, anklet };
    let (begun_at, mut n_jobs) = (Instant::now(), 0);
    let mut first: Option<(Held, u64, usize)> = None;
    for checkpoint in CHECKPOINTS {
        while n_jobs < checkpoint {
            soak.run_jobs(N_AT_ONCE);
            n_jobs += N_AT_ONCE;
        }
        world.assert_clean(&soak.anklet);
        let held = soak.held_once_settled(first.as_ref().map(|(held, ..)| held));
        let memory = of_process(soak.anklet.pid(), "VmRSS");
        let kept = soak.kept_of_ended_jobs();
        println!("after {n_jobs} jobs and {:.0?}: {memory} KiB, {held:#?}", begun_at.elapsed());
        assert!(kept.iter().all(|n_kept| *n_kept == n_jobs as u64), "{kept:?} of {n_jobs} ended jobs");
        let (first_held, first_memory, first_sockets) =
            first.get_or_insert_with(|| (soak.held(), memory, n_sockets(soak.anklet.pid())));
        assert_eq!(&held, first_held, "after {n_jobs} jobs");
        let (n_sockets, most) = (n_sockets(soak.anklet.pid()), *first_sockets + N_KEPT);
        assert!(n_sockets <= most, "{first_sockets} sockets after the first jobs, then {n_sockets}");
        let most_memory = *first_memory + *first_memory * GROWTH_LIMIT / 100;
        assert!(memory <= most_memory, "{first_memory} KiB after the first jobs, then {memory} KiB");
    }
    soak.anklet.stop();
}

impl Soak<'_> {
    /// Some jobs to their end, without an error; warnings are shown.
    fn run_jobs(&self, n_jobs: usize) {
        let jobs: Vec<_> =
            (0..n_jobs).map(|_| self.world.github.create_job(self.world.job().steps_ms(5))).collect();
        for job in jobs {
            assert_eq!(
                self.world.github.wait_completed(job, LIMIT).conclusion.as_deref(),
                Some("success"),
                "{job}"
            );
        }
        self.anklet.wait_messages("job completed", n_jobs);
        for line in self.anklet.take_lines().iter().filter(|line| line.0["level"] != "INFO") {
            assert_eq!(line.0["level"], "WARN", "{}", line.0);
            println!("{}", line.0);
        }
        self.world.anka.clear_trace();
    }

    /// What the process holds, as soon as it is what it was before, or else after a while.
    fn held_once_settled(&self, before: Option<&Held>) -> Held {
        let settled_at = Instant::now() + SETTLING;
        loop {
            let held = self.held();
            if before == Some(&held) || Instant::now() >= settled_at {
                return held;
            }
            rest(Duration::from_millis(500));
        }
    }

    fn held(&self) -> Held {
        let pid = self.anklet.pid();
        let mut files = BTreeMap::new();
        count_files(self.world.home.path(), self.world.home.path(), &mut files);
        Held {
            n_threads: of_process(pid, "Threads"),
            descriptors: descriptors(pid).into_iter().filter(|(kind, _)| kind != "socket").collect(),
            rows: self.redis.map_or_else(|| rows_in_file(self.world), other_keys_in_redis),
            files,
        }
    }

    /// How many tombstones there are, and what is kept for those who ask about a job that is over. They end by age alone, after two days and
    /// one, so that a job that ended is not run again, however late its webhook comes.
    fn kept_of_ended_jobs(&self) -> Vec<u64> {
        match self.redis {
            Some(server) => {
                let kinds = keys_in_redis(server);
                OF_ENDED_JOBS.map(|kind| kinds.get(kind).copied().unwrap_or_default()).to_vec()
            }
            None => {
                let file = queue::open(self.world);
                vec![count(&file, "tombstones"), count(&file, &format!("notices WHERE {OF_ENDED_NOTICE}"))]
            }
        }
    }
}

fn n_sockets(pid: u32) -> usize {
    descriptors(pid).get("socket").copied().unwrap_or_default()
}

/// Descriptors by kind: numbers of sockets and pipes are left out.
fn descriptors(pid: u32) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
        if let Ok(target) = fs::read_link(entry.path()) {
            let target = target.to_string_lossy();
            let kind = target.split_once(":[").map_or(&*target, |(kind, _)| kind);
            *found.entry(kind.to_owned()).or_default() += 1;
        }
    }
    found
}

fn rows_in_file(world: &World) -> BTreeMap<String, u64> {
    let file = queue::open(world);
    let mut statement = file.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").unwrap();
    let names = statement.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
    let rows = names.filter(|name| name != "tombstones").map(|name| {
        let others =
            if name == "notices" { format!("notices WHERE NOT {OF_ENDED_NOTICE}") } else { name.clone() };
        (name, count(&file, &others))
    });
    rows.collect()
}

fn count(file: &rusqlite::Connection, rows: &str) -> u64 {
    let sql = format!("SELECT count(*) FROM {rows}");
    file.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap().cast_unsigned()
}

fn other_keys_in_redis(server: &Server) -> BTreeMap<String, u64> {
    let mut kinds = keys_in_redis(server);
    kinds.retain(|kind, _| !OF_ENDED_JOBS.contains(&kind.as_str()));
    kinds
}

/// Keys by their names without numbers.
fn keys_in_redis(server: &Server) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for key in server.connect().keys::<_, Vec<String>>("*").unwrap() {
        let is_number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
        let kind: Vec<_> = key.split(':').filter(|part| !is_number(part)).collect();
        *found.entry(kind.join(":")).or_default() += 1;
    }
    found
}

fn count_files(home: &Path, folder: &Path, files: &mut BTreeMap<String, usize>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let of_stand_in = path.ends_with(".fake-anka");
        if path.is_dir() && !of_stand_in {
            count_files(home, &path, files);
        } else if !of_stand_in {
            let folder = folder.strip_prefix(home).unwrap().display().to_string();
            *files.entry(folder).or_default() += 1;
        }
    }
}
