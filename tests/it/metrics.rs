//! The pages that show what a process does.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use fake_anka::Template;
use fake_github::JobSpec;

use crate::support::{Anklet, LIMIT, REPO, World};

pub(crate) fn port_of(anklet: &Anklet) -> u64 {
    anklet.line("metrics server started").0["port"].as_u64().unwrap()
}

pub(crate) fn get(port: u64, path: &str) -> (u16, String) {
    let url = format!("http://127.0.0.1:{port}{path}");
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into();
    let mut answer = agent.get(&url).call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

#[test]
fn the_pages_show_plugins_and_their_jobs() {
    let world = World::new();
    let anklet = world.start(&world.config(1));
    let port = port_of(&anklet);
    let job = world.github.create_job(world.job());
    world.github.wait_completed(job, LIMIT);
    anklet.wait_message("job completed");

    anklet.wait_for("the counted job", || {
        get(port, "/metrics")
            .1
            .contains("anklet_jobs_completed_total{plugin=\"HANDLER1\",conclusion=\"success\"} 1")
    });
    let (status, page) = get(port, "/metrics");
    assert_eq!(status, 200);
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("anklet_") && value.parse::<f64>().is_ok(), "{line}");
    }
    let (status, text) = get(port, "/metrics/v1?format=prometheus");
    assert_eq!(status, 200);
    assert!(
        text.contains("plugin_status{name=RECEIVER,plugin=github_receiver,owner=acme,repo=app} idle"),
        "{text}"
    );
    assert!(text.contains("total_successful_runs_since_start 1"), "{text}");
    let (status, json) = get(port, "/metrics/v1?format=json");
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &document["plugins"][1]["TotalRanVMs"]), (200, &serde_json::json!(1)));
    assert!(document["plugins"][1]["LastSuccessfulRunJobUrl"].as_str().unwrap().contains(&job.to_string()));
    assert_eq!(get(port, "/metrics/v1").0, 400);
    assert_eq!(get(port, "/metrics/v1?format=xml").0, 400);
    anklet.stop();
}

/// A page after a job, one that is too large, and a give-back, so that every family has samples.
fn a_full_page(world: &World) -> (Anklet, String) {
    world.anka.add(&Template::new("huge", "huge", "v1").on_disk().cpu(64).ram_gib(8).runner("2.336.0"));
    let anklet = world.start(&world.config(1).replace("limits: {", "limits: {idle_look: 0.2, "));
    let port = port_of(&anklet);
    let huge = JobSpec::new(REPO, &["anka-template:huge", "a\"b\\c"]);
    world.github.create_job(huge);
    let nonsense = world.github.create_job(JobSpec::new(REPO, &["anka-template:--yes"]));
    world.github.wait_completed(nonsense, LIMIT);
    let job = world.github.create_job(world.job().steps_ms(600_000));
    anklet.wait_message("job found registered runner and is now in progress");
    assert!(world.github.complete_job(job, "success"));
    anklet.wait_message("job completed");
    let unable = "anklet_queue_handlers{queue=\"acme\",template=\"huge\",state=\"unable\"} 1";
    anklet.wait_for("the whole page", || {
        let page = get(port, "/metrics").1;
        page.contains(unable) && page.contains("stage=\"deleting\"")
    });
    let page = get(port, "/metrics").1;
    (anklet, page)
}

/// The page by Prometheus' own tool and conventions: every family has HELP, TYPE and samples, and no label is a job's, a branch or a runner.
#[test]
fn the_page_is_what_prometheus_wants() {
    let world = World::new();
    let (anklet, page) = a_full_page(&world);
    for family in families(&page) {
        assert!(page.contains(&format!("# HELP {family} ")), "{family}");
        let has_sample = page.lines().any(|line| line.starts_with(&family));
        assert!(has_sample, "{family} has no sample in:\n{page}");
    }
    for line in [
        "anklet_queue_jobs{queue=\"acme\",place=\"waiting\"} 1",
        "anklet_queue_waiting_jobs{queue=\"acme\",template=\"huge\"} 1",
        "anklet_jobs_given_back_total{plugin=\"HANDLER1\",reason=\"too_large\"} 1",
        "anklet_runs_cancelled_total{plugin=\"HANDLER1\",reason=\"labels\"} 1",
        "anklet_store_up{queue=\"acme\"} 1",
        "anklet_host_vm_slots 2",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in:\n{page}");
    }
    for stage in
        ["until_cloned", "image", "cloning", "starting", "installing", "registering", "running", "deleting"]
    {
        let count = format!("template=\"{}\",stage=\"{stage}\"}} 1", crate::support::TEMPLATE);
        let is_counted =
            |line: &&str| line.starts_with("anklet_stage_duration_seconds_count") && line.ends_with(&count);
        assert!(page.lines().any(|line| is_counted(&line)), "{stage} is not in:\n{page}");
    }
    // In the labels alone: a sum of seconds may have the digits of an id.
    let labels = page.lines().map(|line| line.rsplit_once(' ').unwrap().0).collect::<Vec<_>>().join("\n");
    let secret = ["anklet-vm-", "31000000", &world.github.url()];
    assert!(secret.iter().all(|part| !labels.contains(part)), "{labels}");
    promtool(&["check", "metrics"], &page);
    anklet.stop();
}

/// Whatever strangers call their templates, the page stays small.
#[test]
fn label_values_are_bounded() {
    let world = World::new();
    let anklet = world.start(&world.config(1).replace("limits: {", "limits: {idle_look: 0.2, "));
    fs::write(world.home.path().join(".config/anklet/.drain"), "").unwrap();
    anklet.wait_message("drain file present; not picking up new jobs");
    for n in 0..70 {
        world.github.create_job(JobSpec::new(REPO, &[&format!("anka-template:t{n}\"x")]));
    }
    anklet.wait_messages("job pushed to queued queue", 70);
    let port = port_of(&anklet);
    let all = "anklet_queue_jobs{queue=\"acme\",place=\"waiting\"} 70";
    anklet.wait_for("the jobs", || get(port, "/metrics").1.contains(all));
    let page = get(port, "/metrics").1;
    let n_templates = page.lines().filter(|line| line.starts_with("anklet_queue_waiting_jobs{")).count();
    assert_eq!(n_templates, 51, "{page}");
    assert!(page.contains("template=\"other\"} 20"), "{page}");
    promtool(&["check", "metrics"], &page);
    anklet.kill();
}

/// Every metric of the alert rules and of the board is on the page; the rules do what they say.
#[test]
fn alerts_and_board_use_what_there_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let board: serde_json::Value = serde_json::from_str(&read("src/assets/grafana.json")).unwrap();
    let exprs: Vec<_> = board["panels"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect();
    assert!(exprs.len() > 20, "{exprs:?}");
    let world = World::new();
    let (anklet, page) = a_full_page(&world);
    let known = families(&page);
    let used =
        names_in(&(exprs.join("\n") + &read("src/assets/alerts.yml") + &read("src/assets/grafana.json")));
    assert!(used.len() > 15, "{used:?}");
    for name in used {
        let family = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
        let is_known = known.contains(&name) || family.is_some_and(|family| known.contains(family));
        assert!(is_known, "{name} is not among {known:?}");
    }
    anklet.stop();
    let file = |name: &str| root.join(name).display().to_string();
    promtool(&["check", "rules", &file("src/assets/alerts.yml")], "");
    promtool(&["test", "rules", &file("tests/alerts.yml")], "");
    let tested = read("tests/alerts.yml");
    for alert in
        read("src/assets/alerts.yml").lines().filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        let name = format!("alertname: {alert}");
        let cases = tested.split(&name).skip(1);
        let (silent, firing): (Vec<_>, Vec<_>) =
            cases.partition(|case| case.lines().next().unwrap().contains("exp_alerts: []"));
        assert!(!silent.is_empty() && !firing.is_empty(), "{alert} is tested both ways");
    }
}

fn families(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// All words that are metrics of ours.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("anklet_")).map(str::to_owned).collect()
}

/// Runs Prometheus' tool, which must be content; where it is not installed, that is said.
fn promtool(arguments: &[&str], input: &str) {
    let spawned = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            eprintln!(
                "SKIPPED: promtool {} was not run: {error}; install the package prometheus",
                arguments.join(" ")
            );
            return;
        }
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("error"), "promtool {arguments:?}: {said}\n{input}");
    assert!(arguments[0] != "check" || arguments[1] != "metrics" || said.trim().is_empty(), "{said}");
}

#[test]
fn a_configured_port_that_is_taken_is_an_error_and_the_usual_one_is_not() {
    let world = World::new();
    let taken = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let config = world.config(1) + &format!("metrics: {{port: {}}}\n", taken.local_addr().unwrap().port());
    let mut anklet = world.spawn(&config);
    let (status, lines) = anklet.wait_end_and_lines();
    assert_eq!(status.code(), Some(1));
    assert!(lines.iter().any(|line| line.message() == "metrics port already in use"), "{lines:?}");
    let first = world.start(&world.config(1));
    let other = World::new();
    let second = other.start(&other.config(1));
    assert_ne!(port_of(&first), port_of(&second));
    first.stop();
    second.stop();
}
