//! A real Prometheus scrapes for a minute while jobs come and go.

use std::collections::VecDeque;
use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use fake_github::JobId;
use serde_json::Value;

use crate::http::rest;
use crate::metrics::{get, port_of};
use crate::support::{Anklet, Home, LIMIT, World, bare, free_port};

/// How long it scrapes.
const TIME: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(2);
/// Jobs that GitHub has at once meanwhile.
const N_AT_ONCE: usize = 8;

/// A server of the package `prometheus`, with our alert rules. Killed when it is dropped.
struct Prometheus {
    child: Child,
    port: u16,
    home: Home,
}

impl Prometheus {
    /// Scrapes these processes.
    fn start(anklets: &[&Anklet]) -> Self {
        let (home, port) = (Home::new(), free_port());
        let targets: Vec<_> =
            anklets.iter().map(|anklet| format!("\"127.0.0.1:{}\"", port_of(anklet))).collect();
        let interval = format!("{}s", INTERVAL.as_secs());
        let config = format!(
            "global: {{scrape_interval: {interval}, scrape_timeout: {interval}, evaluation_interval: {interval}}}\n\
             rule_files: [\"{}/src/assets/alerts.yml\"]\n\
             scrape_configs:\n  - job_name: anklet\n    static_configs: [{{targets: [{}]}}]\n",
            env!("CARGO_MANIFEST_DIR"),
            targets.join(", ")
        );
        let file = home.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let mut command = bare("prometheus");
        command.env("PATH", "/usr/bin:/usr/local/bin:/opt/homebrew/bin").current_dir(home.path());
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", home.path().join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let log = fs::File::create(home.path().join("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        Self { child: child.expect("the package prometheus is installed"), port, home }
    }

    fn ask(&self, path: &str) -> Value {
        let (status, text) = get(self.port.into(), path);
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str::<Value>(&text).unwrap()["data"].take()
    }

    /// The values of an expression, one a process.
    fn values(&self, expression: &str) -> Vec<f64> {
        let data = self.ask(&format!("/api/v1/query?query={expression}"));
        let results = data["result"].as_array().unwrap();
        results.iter().map(|result| result["value"][1].as_str().unwrap().parse().unwrap()).collect()
    }

    /// Every scrape of the last minute went well, every rule can be evaluated, and nothing was complained about.
    fn is_content(&self, n_processes: usize) {
        let n_scrapes = self.values("count_over_time(up[1m])");
        let samples = self.values("min_over_time(scrape_samples_scraped[1m])");
        println!("scrapes: {n_scrapes:?}; samples a scrape, at least: {samples:?}");
        assert_eq!(self.values("min_over_time(up[1m])"), vec![1.0; n_processes]);
        let enough = TIME.as_secs_f64() / INTERVAL.as_secs_f64() / 2.0;
        assert!(n_scrapes.iter().all(|n| *n > enough), "{n_scrapes:?}");
        assert!(samples.len() == n_processes && samples.iter().all(|n| *n > 50.0), "{samples:?}");
        for target in self.ask("/api/v1/targets")["activeTargets"].as_array().unwrap() {
            assert!(target["health"] == "up" && target["lastError"] == "", "{target}");
        }
        let groups = self.ask("/api/v1/rules");
        let rules: Vec<_> = groups["groups"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|group| group["rules"].as_array().unwrap())
            .collect();
        assert!(rules.len() > 5 && rules.iter().all(|rule| rule["health"] == "ok"), "{rules:?}");
        let log = fs::read_to_string(self.home.path().join("log")).unwrap();
        let complaints: Vec<_> =
            log.lines().filter(|line| line.contains("level=error") || line.contains("level=warn")).collect();
        assert!(log.contains("level=info") && complaints.is_empty(), "{complaints:?}");
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Scrapes these processes for the time, while jobs of the world come and go.
pub(crate) fn is_content_with(world: &World, anklets: &[&Anklet]) {
    let prometheus = Prometheus::start(anklets);
    let ends_at = Instant::now() + TIME;
    let (mut jobs, mut n_ended) = (VecDeque::<JobId>::new(), 0);
    while Instant::now() < ends_at {
        while jobs.len() < N_AT_ONCE {
            jobs.push_back(world.github.create_job(world.job().steps_ms(300)));
        }
        let oldest = jobs.pop_front().unwrap();
        assert_eq!(world.github.wait_completed(oldest, LIMIT).conclusion.as_deref(), Some("success"));
        n_ended += 1;
    }
    println!("{n_ended} jobs ended meanwhile");
    let sum = || prometheus.values("sum(anklet_jobs_completed_total)").iter().sum::<f64>();
    let deadline = Instant::now() + LIMIT;
    while sum() < f64::from(n_ended) {
        assert!(Instant::now() < deadline, "{} of {n_ended} jobs are counted", sum());
        rest(Duration::from_millis(200));
    }
    prometheus.is_content(anklets.len());
    for job in jobs {
        world.github.wait_completed(job, LIMIT);
    }
}

#[test]
#[ignore = "long: see tests/long"]
fn a_process_with_its_queue_in_a_file_is_scraped_without_an_error() {
    let world = World::new();
    let anklet = world.start(&world.config(2));
    is_content_with(&world, &[&anklet]);
    world.assert_clean(&anklet);
    anklet.stop();
}
