//! The pages that show what a process does.

use std::net::TcpListener;

use crate::support::{Anklet, LIMIT, World};

pub(crate) fn port_of(anklet: &Anklet) -> u64 {
    let lines = anklet.lines();
    let line = lines.iter().find(|line| line.message() == "metrics server started").unwrap();
    line.0["port"].as_u64().unwrap()
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
