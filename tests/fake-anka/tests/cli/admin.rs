//! The admin commands, as the demo uses them.

use std::path::Path;

use serde_json::Value;

use crate::support::{Answer, Host};

fn admin(host: &Host, args: &[&str]) -> Answer {
    let exe = Path::new(env!("CARGO_BIN_EXE_fake-anka"));
    Answer::of(host.program(exe, args).output().unwrap())
}

#[test]
fn a_host_is_arranged_from_a_shell() {
    let host = Host::new();
    let good: &[&[&str]] = &[
        &["admin", "init", "--shape", "3.7"],
        &[
            "admin",
            "template",
            "u-2",
            "--name",
            "n",
            "--tag",
            "t",
            "--cpu",
            "2",
            "--ram-gib",
            "3",
            "--registry",
        ],
        &["admin", "template", "u-3", "--disk", "--runner", "2.330.0", "--image-bytes", "9"],
        &["admin", "foreign-vm", "theirs"],
        &["admin", "vm-dies", "theirs", "--gone"],
        &["admin", "leak", "1"],
        &["admin", "delay", "registry", "pull", "7"],
        &["admin", "delay", "clone", "3"],
        &["admin", "disk-free", "99"],
        &["admin", "registry", "down"],
        &["admin", "plan", r#"[{"match":{"verb":"cp"},"do":{"delay_ms":1}}]"#],
        &["admin", "arm", r#"{"do":{"stderr":"x"},"times":-1}"#],
    ];
    for args in good {
        let answer = admin(&host, args);
        assert_eq!(answer.exit, 0, "{args:?}: {}", answer.err);
    }
    let state = host.fake.state();
    assert_eq!((state.version.as_str(), state.leaked_slots, state.disk_free), ("3.7.1", 1, 99));
    assert_eq!((state.delays["registry pull"], state.delays["clone"]), (7, 3));
    assert!(state.vm("theirs").is_none() && state.vm("u-3").is_some() && state.vm("u-2").is_none());
    let document: Value = serde_json::from_str(&admin(&host, &["admin", "state"]).out).unwrap();
    assert_eq!(document["registries"]["default"]["reachable"], false);
    assert!(admin(&host, &["admin", "trace"]).out.lines().count() > 1);
    admin(&host, &["admin", "reboot"]);
    assert_eq!(host.fake.state().leaked_slots, 0);
}

#[test]
fn what_nobody_understands_is_refused() {
    let host = Host::new();
    for args in
        [&[][..], &["admin"], &["admin", "bogus"], &["admin", "leak", "x"], &["admin", "vm-dies", "nix"]]
    {
        assert_eq!(admin(&host, args).exit, 64, "{args:?}");
    }
    assert_ne!(admin(&host, &["admin", "plan", r#"[{"do":{"tpyo":1}}]"#]).exit, 0);
}
