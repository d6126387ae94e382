//! The registry verbs and what a pull does to the disk.

use fake_anka::{Template, TraceLine};
use serde_json::json;

use crate::support::{Host, TEMPLATE};

const OTHER: &str = "11111111-da90-4e0d-903b-ed0233471f9f";
const GIB: u64 = 1 << 30;

fn with_other() -> Host {
    let host = Host::new();
    host.fake.add(&Template::new(OTHER, "other", "old").in_registry());
    let newest = Template::new(OTHER, "other", "new+arm:1").cpu(6).ram_gib(14).image_bytes(30 * GIB);
    host.fake.add(&newest.runner("2.330.0").in_registry());
    host
}

#[test]
fn list_names_the_latest_tag_and_show_tells_sizes() {
    let host = with_other();
    let body = host.body(&["registry", "list"]);
    assert_eq!(body[1], json!({"uuid": OTHER, "name": "other", "latest": "new+arm:1"}));
    let body = host.body(&["registry", "--remote", "http://registry", "show", OTHER]);
    assert_eq!((&body["cpu_cores"], &body["ram_size"]), (&json!(6), &json!(14 * GIB)));
    assert_eq!(host.body(&["registry", "show", "other", "--tag", "old"])["cpu_cores"], 4);
    assert_eq!(host.body(&["registry", "-a", "x", "show", OTHER])["name"], "other");
    host.fails(&["registry", "show", "nix"], 3, "nix: not found");
    host.fails(&["registry", "show", OTHER, "-t", "v9"], 3, "not found");
    host.fake.add(&Template::new(OTHER, "other", "2x").in_registry().without_metadata());
    host.fails(&["registry", "show", OTHER], 1, "metadata");
    assert_eq!(host.machine(&["registry"]).exit, 2);
}

#[test]
fn pull_puts_the_tag_on_disk_after_some_lines_of_progress() {
    let host = with_other();
    let free = host.fake.state().disk_free;
    let answer = host.machine(&["registry", "pull", OTHER]);
    assert!(answer.out.lines().count() > 1);
    assert_eq!(answer.envelope()["status"], "OK");
    let body = host.body(&["show", OTHER]);
    assert_eq!((&body["version"], &body["image_size"]), (&json!("new+arm:1"), &json!(30 * GIB)));
    assert_eq!(host.fake.state().disk_free, free - 30 * GIB);
    let runner = host.fake.guest_home(OTHER).unwrap().join("actions-runner/bin/Runner.Listener");
    assert!(runner.exists());
    host.body(&["registry", "pull", "-s", "-t", "old", OTHER]);
    assert_eq!(host.body(&["show", OTHER, "tag"]).as_array().unwrap().len(), 1);
    assert!(!runner.exists());
    host.fails(&["registry", "pull", "nix"], 3, "nix: not found");
    host.fails(&["registry", "pull", OTHER, "--tag", "v9"], 3, "v9: not found");
}

#[test]
fn the_download_size_is_told_before() {
    let host = with_other();
    let check = ["pull", OTHER, "--check-download-size", "--tag", "new+arm:1", "http://registry"];
    let body = host.body(&check);
    assert_eq!(body, json!({"size": 30 * GIB, "cached": 0, "available": host.fake.state().disk_free}));
    host.body(&["pull", OTHER]);
    let envelope = host.machine(&check).envelope();
    assert_eq!(
        (&envelope["body"], &envelope["message"]),
        (&json!({}), &json!("new+arm:1: available locally"))
    );
    host.fails(&["pull", "nix", "--check-download-size"], 3, "nix: not found");
}

#[test]
fn a_full_disk_and_a_death_half_way_leave_no_template() {
    let host = with_other();
    host.fake.plan(&json!([{"match": {"verb": "registry pull"}, "do": {"half_then_fail": true}}]));
    host.fails(&["registry", "pull", OTHER], 1, "failed to checkout: Input/output error");
    host.fails(&["show", OTHER], 3, "not found");
    assert_eq!(host.body(&["pull", OTHER, "--check-download-size"])["cached"], 15 * GIB);
    host.fake.update(|state| state.disk_free = 14 * GIB);
    host.fails(&["registry", "pull", OTHER], 1, "could not create disk image, status 74");
    host.fake.update(|state| state.disk_free = 16 * GIB);
    host.body(&["registry", "pull", OTHER]);
    assert_eq!(host.fake.state().disk_free, GIB);
}

#[test]
fn an_unreachable_registry_fails_everything_but_what_is_local() {
    let host = with_other();
    host.fake.set_registry_reachable(false);
    let asked = [
        &["registry", "list"][..],
        &["registry", "show", TEMPLATE],
        &["registry", "pull", TEMPLATE],
        &["pull", TEMPLATE, "--check-download-size"],
    ];
    for args in asked {
        host.fails(args, 1, "failed to connect to registry");
    }
    host.body(&["registry", "pull", "-l", "-t", "v1", TEMPLATE]);
    host.fails(&["registry", "pull", "-l", "-t", "v9", TEMPLATE], 3, "v9: not found");
    host.body(&["config", "pull_failback", "1"]);
    host.body(&["registry", "pull", "-t", "v1", TEMPLATE]);
    host.fake.update(|state| state.registries.clear());
    host.fails(&["registry", "list"], 30, "No registry configured");
}

#[test]
fn a_named_registry_has_its_own_content() {
    let host = Host::new();
    host.fake.add(&Template::new(OTHER, "other", "v1").in_registry_named("http://second"));
    host.fails(&["registry", "show", OTHER], 3, "not found");
    assert_eq!(host.body(&["registry", "-r", "http://second", "list"]).as_array().unwrap().len(), 1);
    host.body(&["registry", "-r", "http://second", "pull", OTHER]);
}

#[test]
fn the_trace_names_arguments_stdin_and_what_leaked_into_the_environment() {
    let host = Host::new();
    let file = std::fs::File::create(host.home().join("pull.lock")).unwrap();
    let mut command = host.command(&["-j", "registry", "pull", TEMPLATE]);
    command.env("LOG_LEVEL", "debug").env("LC_ALL", "C").env("ANKA_X", "1").stdin(file);
    assert!(command.status().unwrap().success());
    let line = host.fake.calls("registry pull").remove(0);
    assert_eq!(line.argv, ["-j", "registry", "pull", TEMPLATE]);
    assert_eq!(line.more["env_outside"], json!(["LOG_LEVEL"]));
    assert!(line.text("stdin").ends_with("/pull.lock"));
    let is_end = |line: &&TraceLine| line.event == "end" && line.verb == "registry pull";
    let trace = host.fake.trace();
    let end = trace.iter().find(is_end).unwrap();
    assert_eq!((end.exit, end.vm.as_str()), (Some(0), TEMPLATE));
    assert!(end.at_ms >= line.at_ms);
}
