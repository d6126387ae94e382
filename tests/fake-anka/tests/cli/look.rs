//! Verbs that only look: help, version, licence, list, show, config.

use fake_anka::{Size, Status};
use serde_json::json;

use crate::support::{Host, TEMPLATE};

#[test]
fn bare_anka_prints_help_and_ends_well() {
    let host = Host::new();
    let answer = host.run(&[]);
    assert_eq!(answer.exit, 0);
    assert!(answer.out.starts_with("usage: anka"));
}

#[test]
fn version_and_license_in_both_forms() {
    let host = Host::new();
    let body = host.body(&["version"]);
    assert_eq!((&body["version"], body["build"].is_string()), (&json!("3.9.1"), true));
    assert_eq!(host.run(&["version"]).out, "Anka Build Enterpriseplus version 3.9.1 (build 207)\n");
    assert_eq!(host.run(&["--version"]).out, "Anka Build Enterpriseplus version 3.9.1 (build 207)\n");
    let body = host.body(&["license", "show"]);
    assert_eq!(
        (&body["license_type"], &body["status"]),
        (&json!("com.veertu.anka.entplus"), &json!("valid"))
    );
    host.fake.update(|state| state.license.license_type = String::new());
    host.fails(&["license", "show"], 35, "license");
}

#[test]
fn the_machine_form_is_a_global_option_or_a_variable() {
    let host = Host::new();
    let answer = host.run(&["list", "-j"]);
    assert_eq!((answer.exit, answer.out.as_str()), (2, ""));
    assert!(answer.err.contains("unrecognized option '-j'"));
    let output = host.command(&["version"]).env("ANKA_MACHINE_READABLE", "1").output().unwrap();
    assert!(output.stdout.starts_with(b"{\"status\":\"OK\",\"code\":0,"));
    assert_eq!(host.run(&["--machine-readable", "version"]).envelope()["status"], "OK");
}

#[test]
fn a_template_that_looks_like_an_option_is_refused() {
    let host = Host::new();
    for args in [&["show", "--yes"][..], &["registry", "show", "-x"], &["clone", "--x", "vm"], &["bogus"]] {
        let answer = host.machine(args);
        assert_eq!((answer.exit, answer.out.as_str()), (2, ""), "{args:?}");
    }
}

#[test]
fn list_has_the_five_keys_sorted_by_name() {
    let host = Host::new();
    host.body(&["clone", TEMPLATE, "a-vm"]);
    let body = host.body(&["list"]);
    let keys: Vec<&String> = body[1].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["creation_date", "name", "status", "uuid", "version"]);
    assert_eq!((&body[0]["name"], body[0].get("version")), (&json!("a-vm"), None));
    assert_eq!((&body[1]["name"], &body[1]["version"]), (&json!("tmpl"), &json!("v1")));
    let raw = host.machine(&["list", TEMPLATE]).out;
    assert!(raw.starts_with(r#"{"status":"OK","code":0,"body":[{"name":"tmpl","uuid":"#), "{raw}");
}

#[test]
fn list_by_state_id_and_field() {
    let host = Host::new();
    assert_eq!(host.body(&["list", "-r"]), json!([]));
    host.started("vm");
    host.body(&["clone", TEMPLATE, "asleep"]);
    host.fake.update(|state| state.vm_mut("asleep").unwrap().status = Status::Suspended);
    assert_eq!(host.body(&["list", "--running"]).as_array().unwrap().len(), 1);
    assert_eq!(host.body(&["list", "-s"]).as_array().unwrap().len(), 2);
    assert_eq!(host.body(&["list", "vm", "tmpl"]).as_array().unwrap().len(), 2);
    host.fails(&["list", "vm", "nix"], 3, "nix: not found");
    let body = host.body(&["list", "-f", "name,ip", "-f", "vnc_port"]);
    assert_eq!(body[0], json!({"name": "asleep", "ip": "", "vnc_port": 0}));
    assert!(body[2]["ip"].as_str().unwrap().starts_with("192.168.64."));
    assert_eq!(host.body(&["list", "-f", "status=suspended,name"])[0]["name"], "asleep");
}

#[test]
fn show_tells_more_of_a_running_vm() {
    let host = Host::new();
    let size = Size { cpu_cores: 6, ram_size: 14 << 30, ..Size::default() };
    host.fake.update(|state| state.vm_mut("tmpl").unwrap().size = size);
    let body = host.body(&["show", "tmpl"]);
    assert_eq!(
        (&body["cpu_cores"], &body["ram"], &body["version"]),
        (&json!(6), &json!("14G"), &json!("v1"))
    );
    assert_eq!(body.get("ip"), None);
    host.started("vm");
    let body = host.body(&["show", "vm"]);
    assert!(body["ip"].is_string() && body["pid"].is_number() && body["start_date"].is_string());
    host.fake.update(|state| state.ip_delay_ms = 3_600_000);
    assert_eq!(host.body(&["show", "vm"]).get("ip"), None);
    host.body(&["stop", "vm"]);
    assert!(host.body(&["show", "vm"])["stop_date"].is_string());
    host.fails(&["show", "nix"], 3, "nix: not found");
}

#[test]
fn parts_of_show() {
    let host = Host::new();
    assert_eq!(host.body(&["show", "tmpl", "tag"])[0]["tag"], "v1");
    assert_eq!(host.run(&["show", "tmpl", "uuid"]).out.trim(), TEMPLATE);
    assert!(host.body(&["show", "tmpl", "disk"])["data_size"].is_number());
    assert!(host.body(&["show", "tmpl", "network"]).is_object());
    assert_eq!(host.body(&["show", "tmpl", "mount"]), json!([]));
    assert_eq!(host.body(&["show", "tmpl", "ip"]), "");
    host.fails(&["show", "tmpl", "-t", "v9"], 3, "v9: not found");
    assert_eq!(host.machine(&["show", "tmpl", "bogus"]).exit, 2);
}

#[test]
fn older_versions_leave_keys_out() {
    let host = Host::new();
    let keys = |args: &[&str]| -> Vec<String> {
        host.machine(args).envelope().as_object().unwrap().keys().cloned().collect()
    };
    host.fake.update(|state| state.shape = "3.7".into());
    assert_eq!(keys(&["list"]), ["body", "status"]);
    assert_eq!(keys(&["registry", "list"]), ["body", "code", "message", "status"]);
    host.fake.update(|state| state.shape = "3.0".into());
    assert_eq!(keys(&["registry", "list"]), ["body", "status"]);
    let body = host.body(&["show", "tmpl"]);
    assert_eq!((&body["ram"], body.get("access_date")), (&json!("8589934592"), None));
    assert_eq!(host.body(&["clone", TEMPLATE, "vm"]), json!({}));
    host.fails(&["show", "nix"], 3, "nix: not found");
    assert_eq!(host.machine(&["mount", "vm"]).exit, 2);
}

#[test]
fn config_is_kept() {
    let host = Host::new();
    host.body(&["config", "pull_failback", "1"]);
    assert_eq!(host.body(&["config", "pull_failback"]), "1");
    assert_eq!(host.body(&["config"])["pull_failback"], "1");
    host.fails(&["config", "nix"], 3, "not found");
}

#[test]
fn errors_without_the_machine_form_are_text() {
    let host = Host::new();
    let answer = host.run(&["show", "nix"]);
    assert_eq!((answer.exit, answer.out.as_str(), answer.err.as_str()), (3, "", "anka: nix: not found\n"));
}

#[test]
fn a_hint_may_follow_the_message() {
    let host = Host::new();
    host.fake.update(|state| state.log_hint = true);
    host.fails(&["show", "nix"], 3, "nix: not found");
    assert!(host.machine(&["show", "nix"]).out.contains("anka log"));
}
