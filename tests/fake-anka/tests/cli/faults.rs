//! Misbehaviour on demand.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::support::{Answer, Host, Reaped, TEMPLATE, wait_until};

fn arm(host: &Host, verb: &str, action: Value) {
    host.fake.plan(&json!([{"match": {"verb": verb}, "do": action}]));
}

#[test]
fn a_failure_comes_once_and_does_nothing() {
    let host = Host::new();
    arm(&host, "clone", json!({"fail": {"code": 5, "message": "planned"}}));
    host.fails(&["clone", TEMPLATE, "vm"], 5, "planned");
    assert!(host.fake.vms().is_empty());
    host.body(&["clone", TEMPLATE, "vm"]);
    arm(&host, "start", json!({"fail": {"code": 5, "message": "planned", "exit": 9}, "effect": true}));
    assert_eq!(host.machine(&["start", "vm"]).exit, 9);
    assert_eq!(host.fake.running_vms().len(), 1);
    arm(&host, "run", json!({"fail": {"code": 1, "message": "communication timeout", "exit": 124}}));
    let answer = host.machine(&["run", "vm", "true"]);
    assert_eq!((answer.exit, &answer.envelope()["message"]), (124, &json!("communication timeout")));
}

#[test]
fn rules_choose_by_argument_and_count() {
    let host = Host::new();
    let fail = json!({"fail": {"code": 5, "message": "planned"}});
    host.fake.plan(&json!([
        {"match": {"verb": "show", "arg_contains": "mpl", "nth": 2}, "times": 2, "do": fail},
    ]));
    host.fake.arm(&json!({"match": {"verb": "list"}, "times": -1, "do": fail}));
    let exits: Vec<i32> = (0..5).map(|_| host.machine(&["show", "tmpl"]).exit).collect();
    assert_eq!(exits, [0, 5, 5, 0, 0]);
    assert_eq!(host.machine(&["show", "nix"]).exit, 3);
    assert!((0..3).all(|_| host.machine(&["list"]).exit == 5));
    assert_eq!(host.fake.trace().iter().filter(|line| line.event == "rule").count(), 5);
}

#[test]
fn nonsense_noise_and_lines_before() {
    let host = Host::new();
    for text in ["", "{\"status\":\"OK\",\"bo", "\n\n", "Segmentation fault"] {
        arm(&host, "list", json!({"print": text, "exit": 0}));
        let answer = host.machine(&["list"]);
        assert_eq!((answer.exit, answer.out.as_str()), (0, text));
    }
    arm(&host, "list", json!({"stderr": "noise", "prefix_lines": ["one", "two"]}));
    let answer = host.machine(&["list"]);
    assert!(answer.out.starts_with("one\ntwo\n{\"status\":\"OK\""));
    assert_eq!((answer.err.as_str(), &answer.envelope()["status"]), ("noise\n", &json!("OK")));
    arm(&host, "clone", json!({"print": "half", "exit": 1, "effect": true}));
    assert_eq!(host.machine(&["clone", TEMPLATE, "vm"]).exit, 1);
    assert_eq!(host.fake.vms().len(), 1);
}

#[test]
fn the_caller_dies_and_the_command_goes_on() {
    let host = Host::new();
    for (index, moment) in ["before", "during", "after"].into_iter().enumerate() {
        arm(&host, "clone", json!({"kill_caller": moment}));
        let script = format!("anka -j clone {TEMPLATE} {moment}; echo survived");
        let output = host.program(Path::new("/bin/bash"), &["-c", &script]).output().unwrap();
        assert_eq!(output.status.signal(), Some(9), "{moment}");
        assert!(!output.stdout.ends_with(b"survived\n"));
        wait_until("the end of the clone", || {
            let trace = host.fake.trace();
            trace.iter().filter(|line| line.event == "end" && line.exit == Some(0)).count() > index
        });
        assert!(host.fake.state().vm(moment).is_some());
    }
}

#[test]
fn the_caller_dies_while_the_guest_works() {
    let host = Host::new();
    host.started("vm");
    let done = host.fake.guest_home("vm").unwrap().join("done");
    arm(&host, "run", json!({"kill_caller": "during", "ms": 1}));
    let script =
        "anka -j run vm bash -c 'until [ -e go ]; do sleep 0.01; done; echo x; touch done'; echo survived";
    let mut command = host.program(Path::new("/bin/bash"), &["-c", script]);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.signal(), Some(9));
    assert!(!done.exists());
    std::fs::write(done.with_file_name("go"), "").unwrap();
    wait_until("the guest's file", || done.exists());
    // From inside the VM as well, at the moment a guest's tool is called.
    arm(&host, "guest curl", json!({"kill_caller": "before", "print": "body"}));
    let script = "anka -j run vm bash -c 'curl http://x/ > got; touch got2'; echo survived";
    let mut command = host.program(Path::new("/bin/bash"), &["-c", script]);
    assert_eq!(command.output().unwrap().status.signal(), Some(9));
    wait_until("the guest's second file", || done.with_file_name("got2").exists());
}

#[test]
fn a_hang_ends_by_a_signal() {
    let host = Host::new();
    arm(&host, "start", json!({"hang": true}));
    let mut child = Reaped(host.command(&["-j", "start", "tmpl"]).process_group(0).spawn().unwrap());
    host.wait_for_line("rule", "start");
    kill_process_group(Pid::from_child(&child.0), Signal::TERM).unwrap();
    assert_eq!(child.0.wait().unwrap().signal(), Some(15));
    assert!(host.fake.running_vms().is_empty());
    arm(&host, "start", json!({"hang": "after", "ms": 1}));
    host.machine(&["start", "tmpl"]);
    assert_eq!(host.fake.running_vms().len(), 1);
}

#[test]
fn a_stubborn_hang_ignores_term() {
    let host = Host::new();
    arm(&host, "delete", json!({"hang": true, "ignore_term": true}));
    let mut child =
        Reaped(host.command(&["-j", "delete", "--yes", "tmpl"]).process_group(0).spawn().unwrap());
    let status = format!("/proc/{}/status", child.0.id());
    wait_until("TERM to be ignored", || {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let ignored = text.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        ignored.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() >> 14 & 1 == 1)
    });
    kill_process_group(Pid::from_child(&child.0), Signal::TERM).unwrap();
    kill_process_group(Pid::from_child(&child.0), Signal::KILL).unwrap();
    assert_eq!(child.0.wait().unwrap().signal(), Some(9));
}

#[test]
fn a_vm_dies_some_time_later() {
    let host = Host::new();
    host.body(&["clone", TEMPLATE, "vm"]);
    arm(&host, "start", json!({"vm_dies_after_ms": 1}));
    host.body(&["start", "vm"]);
    wait_until("the VM's stop", || host.fake.running_vms().is_empty());
    arm(&host, "start", json!({"vm_dies_after_ms": 1, "gone": true}));
    host.body(&["start", "vm"]);
    wait_until("the VM's end", || host.fake.vms().is_empty());
}

#[test]
fn slow_verbs_take_their_time() {
    let host = Host::new();
    host.fake.set_delay("clone", Duration::from_millis(30));
    let begun = std::time::Instant::now();
    host.body(&["clone", TEMPLATE, "vm"]);
    assert!(begun.elapsed() >= Duration::from_millis(30));
    arm(&host, "list", json!({"delay_ms": 30}));
    let begun = std::time::Instant::now();
    host.body(&["list"]);
    assert!(begun.elapsed() >= Duration::from_millis(30));
}

#[test]
fn a_pull_beside_a_clone_is_noted() {
    let host = Host::new();
    host.body(&["clone", TEMPLATE, "alone"]);
    host.body(&["registry", "pull", TEMPLATE]);
    assert!(host.fake.corruptions().is_empty());
    arm(&host, "registry pull", json!({"hang": true}));
    let _pull = Reaped(host.command(&["-j", "registry", "pull", TEMPLATE]).spawn().unwrap());
    host.wait_for_line("rule", "registry pull");
    host.body(&["clone", TEMPLATE, "vm"]);
    assert_eq!(host.fake.corruptions().len(), 1);
}

#[test]
fn many_at_once_lose_nothing() {
    let host = Host::new();
    host.fake.plan(&json!([{"match": {"verb": "clone"}, "times": 3, "do": {"fail": {"code": 5}}}]));
    let spawn =
        |index: usize| host.command(&["-j", "clone", TEMPLATE, &format!("vm-{index}")]).spawn().unwrap();
    let children: Vec<_> = (0..24).map(spawn).collect();
    let answers = children.into_iter().map(|child| Answer::of(child.wait_with_output().unwrap()));
    assert_eq!(answers.filter(|answer| answer.exit == 0).count(), 21);
    assert_eq!(host.fake.vms().len(), 21);
    assert_eq!(host.fake.calls("clone").len(), 24);
    let broken = std::fs::read_to_string(host.fake.root().join("trace.jsonl")).unwrap();
    assert_eq!(broken.lines().count(), host.fake.trace().len());
}
