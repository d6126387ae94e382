//! Verbs that change VMs: clone, start, stop, suspend, delete, cp, mount.

use std::fs;

use fake_anka::{License, Size, Status, Template};
use serde_json::json;

use crate::support::{Host, TEMPLATE};

#[test]
fn a_clone_is_untagged_stopped_and_has_the_templates_home() {
    let host = Host::new();
    let home = host.fake.guest_home("tmpl").unwrap();
    fs::write(home.join("file"), "content").unwrap();
    std::os::unix::fs::symlink("file", home.join("link")).unwrap();
    let before = host.fake.state().vm("tmpl").unwrap().n_clones;
    let uuid = host.body(&["clone", "-c", "tmpl", "vm"])["uuid"].as_str().unwrap().to_string();
    let state = host.fake.state();
    let vm = state.vm("vm").unwrap();
    assert_eq!((&vm.uuid, &vm.tag, vm.status), (&uuid, &None, Status::Stopped));
    assert_eq!(vm.source.as_deref(), Some(TEMPLATE));
    assert_eq!(state.vm("tmpl").unwrap().n_clones, before + 1);
    let home = host.fake.guest_home("vm").unwrap();
    assert_eq!(fs::read_to_string(home.join("link")).unwrap(), "content");
    assert!(home.join("link").is_symlink());
    let plain = host.run(&["clone", "tmpl", "other"]).out;
    assert_eq!(plain.trim(), host.fake.state().vm("other").unwrap().uuid);
}

#[test]
fn clone_refuses_what_is_not_there_and_what_is_there_already() {
    let host = Host::new();
    host.fails(&["clone", "nix", "vm"], 3, "nix: not found");
    host.fails(&["clone", "-t", "v9", "tmpl", "vm"], 3, "v9: not found");
    host.body(&["clone", "-t", "v1", "tmpl", "vm"]);
    host.fails(&["clone", "tmpl", "vm"], 18, "vm");
    assert_eq!(host.fake.vms().len(), 1);
}

#[test]
fn clone_of_a_tag_has_its_size() {
    let host = Host::new();
    host.fake.add(&Template::new(TEMPLATE, "tmpl", "big").cpu(12).ram_gib(32).on_disk());
    host.body(&["clone", "-t", "v1", "tmpl", "small"]);
    host.body(&["clone", "tmpl", "large"]);
    assert_eq!(host.body(&["show", "small"])["cpu_cores"], 4);
    assert_eq!(host.body(&["show", "large"])["cpu_cores"], 12);
    assert_eq!(host.body(&["show", "tmpl", "-t", "v1"])["cpu_cores"], 4);
}

#[test]
fn the_third_running_vm_is_refused_at_start() {
    let host = Host::new();
    for name in ["one", "two"] {
        host.started(name);
    }
    host.body(&["clone", "tmpl", "three"]);
    let uuid = host.fake.state().vm("three").unwrap().uuid.clone();
    let text = format!("{uuid}: maximum number of running instances exceeded");
    host.fails(&["start", "three"], 1, &text);
    host.fails(&["run", "three", "true"], 1, &text);
    assert_eq!(host.body(&["start", "one"])["status"], "running");
    host.body(&["delete", "--yes", "one"]);
    host.body(&["start", "three"]);
    assert_eq!(host.fake.peak().0, 2);
}

#[test]
fn foreign_vms_and_leaked_slots_count() {
    let host = Host::new();
    host.fake.foreign_vm("theirs", Size::default());
    host.fake.leak(1);
    host.body(&["clone", "tmpl", "vm"]);
    host.fails(&["start", "vm"], 1, "maximum number of running instances exceeded");
    assert_eq!(host.body(&["list", "-r"]).as_array().unwrap().len(), 1);
    host.fake.reboot();
    host.body(&["start", "vm"]);
    assert_eq!(host.fake.running_vms().len(), 1);
}

#[test]
fn a_failed_vm_starts_only_after_a_forced_stop() {
    let host = Host::new();
    host.body(&["clone", "tmpl", "vm"]);
    host.fake.plan(&json!([{"match": {"verb": "start"}, "do": {"vm_fails": true}}]));
    host.fails(&["start", "vm"], 1, "failed to start: No child processes");
    assert_eq!(host.body(&["show", "vm"])["status"], "failed");
    host.fails(&["start", "vm"], 1, "failed to start: No child processes");
    host.fails(&["stop", "vm"], 1, "failed to stop");
    host.body(&["stop", "vm", "--force"]);
    host.body(&["start", "vm"]);
}

#[test]
fn nothing_starts_without_a_valid_license() {
    let host = Host::new();
    host.body(&["clone", "tmpl", "vm"]);
    let license = License { status: "expired".into(), ..License::default() };
    host.fake.update(|state| state.license = license);
    host.fails(&["start", "vm"], 35, "Prohibited by license or license invalid");
    assert_eq!(host.body(&["license", "show"])["status"], "expired");
}

#[test]
fn stop_suspend_and_their_errors() {
    let host = Host::new();
    host.started("vm");
    host.body(&["suspend", "vm"]);
    assert_eq!(host.body(&["show", "vm"])["status"], "suspended");
    host.fails(&["suspend", "vm"], 1, "failed to pause");
    host.body(&["start", "vm"]);
    host.body(&["stop", "vm"]);
    host.body(&["stop", "vm"]);
    for verb in ["start", "stop", "suspend"] {
        host.fails(&[verb, "nix"], 3, "nix: not found");
        assert_eq!(host.machine(&[verb]).exit, 2);
    }
}

#[test]
fn delete_takes_all_or_one_tag() {
    let host = Host::new();
    host.started("vm");
    let home = host.fake.guest_home("vm").unwrap();
    host.fails(&["delete", "vm"], 1, "Aborted");
    host.body(&["delete", "vm", "--yes"]);
    assert!(host.fake.vms().is_empty() && !home.exists());
    host.fails(&["delete", "--yes", "vm"], 3, "vm: not found");
    let mut forgiven = host.command(&["-j", "delete", "--yes", "vm"]);
    assert!(forgiven.env("ANKA_DELETE_IGNORE_ABSENT", "1").status().unwrap().success());
    host.fake.add(&Template::new(TEMPLATE, "tmpl", "v2").on_disk());
    let free = host.fake.state().disk_free;
    host.body(&["delete", "--yes", "tmpl", "-t", "v2"]);
    assert_eq!(host.body(&["show", "tmpl"])["version"], "v1");
    assert!(host.fake.state().disk_free > free);
    host.body(&["delete", "--yes", "tmpl"]);
    assert_eq!(host.body(&["list"]), json!([]));
}

#[test]
fn cp_goes_both_ways() {
    let host = Host::new();
    host.started("vm");
    let home = host.fake.guest_home("vm").unwrap();
    let dir = host.home().join("scripts");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("a.bash"), "a").unwrap();
    let file = dir.join("a.bash").display().to_string();
    host.body(&["cp", "-a", &file, "vm:"]);
    host.body(&["cp", "-a", &file, "vm:/Users/anka/b.bash"]);
    host.body(&["cp", "-a", &dir.display().to_string(), "vm:copied"]);
    assert!(
        home.join("a.bash").exists() && home.join("b.bash").exists() && home.join("copied/a.bash").exists()
    );
    let back = host.home().join("back");
    fs::create_dir_all(&back).unwrap();
    host.body(&["cp", "-a", "vm:copied/.", &back.display().to_string()]);
    assert_eq!(fs::read_to_string(back.join("a.bash")).unwrap(), "a");
    host.fails(&["cp", "-a", "/nix", "vm:"], 2, "/nix: No such file or directory");
    host.fails(&["cp", "-a", "vm:nix", "/tmp"], 2, "nix");
    host.fails(&["cp", "-a", &file, "nix:"], 3, "nix: not found");
    host.fails(&["cp", "-a", &file, "vm:/etc/x"], 1, "home only");
    assert_eq!(host.machine(&["cp", "-a", &file, "/tmp/x"]).exit, 2);
    host.body(&["stop", "vm"]);
    host.fails(&["cp", "-a", &file, "vm:"], 1, "not running");
}

#[test]
fn mount_adds_and_lists() {
    let host = Host::new();
    host.body(&["clone", "tmpl", "vm"]);
    let dir = host.home().display().to_string();
    host.fails(&["mount", "vm", &dir], 1, "not running");
    host.body(&["start", "vm"]);
    let plain = host.run(&["mount", "vm", &format!("{dir}:mine")]).out;
    assert_eq!(plain, "/Volumes/My Shared Files/mine\n");
    host.fails(&["mount", "vm", &format!("{dir}:mine")], 17, "mine: File exists");
    host.fails(&["mount", "vm", "/nix"], 2, "/nix: No such directory");
    let rows = host.body(&["mount", "vm"]);
    assert_eq!((&rows[0]["guest_folder_name"], &rows[0]["host_path"]), (&json!("mine"), &json!(dir)));
    host.fake.update(|state| state.intel = true);
    host.fails(&["mount", "vm", &dir], 1, "not supported");
}
