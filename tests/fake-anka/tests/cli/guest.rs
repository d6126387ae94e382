//! `anka run`: commands that really run, in a VM that may go away under them.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use fake_anka::{Size, Status};
use serde_json::json;

use crate::support::{Answer, Host, Reaped, lives, wait_until};

#[test]
fn output_is_raw_and_the_exit_code_the_guests() {
    let host = Host::new();
    host.started("vm");
    let answer = host.machine(&["run", "vm", "bash", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((answer.exit, answer.out.as_str(), answer.err.as_str()), (7, "out\n", "err\n"));
    assert_eq!(host.guest("vm", "kill -9 $$").exit, 137);
    for code in [124, 125] {
        assert_eq!(host.guest("vm", &format!("exit {code}")).exit, code);
    }
    host.fails(&["run", "nix", "true"], 3, "nix: not found");
    assert_eq!(host.machine(&["run", "vm"]).exit, 2);
}

#[test]
fn arguments_pass_without_a_shell() {
    let host = Host::new();
    host.started("vm");
    let words = ["$(touch pwned)", "a b", "'\"", "--yes", "-t", "new\nline", ""];
    let answer = host.machine(&[&["run", "vm", "/usr/bin/printf", "<%s>"][..], &words].concat());
    assert_eq!(answer.out, words.map(|word| format!("<{word}>")).concat());
    assert!(!host.fake.guest_home("vm").unwrap().join("pwned").exists());
    let answer = host.machine(&["run", "vm", "./x.bash"]);
    assert_eq!((answer.exit, answer.out.as_str()), (127, ""));
    assert!(answer.err.contains("./x.bash: No such file or directory"));
}

#[test]
fn the_guest_has_its_own_user_home_and_tools() {
    let host = Host::new();
    host.started("vm");
    let home = host.fake.guest_home("vm").unwrap().display().to_string();
    let mut command =
        host.command(&["run", "vm", "bash", "-c", "pwd; echo $HOME; whoami; echo $SECRET$LOG_LEVEL"]);
    let answer = Answer::of(command.env("SECRET", "s").env("LOG_LEVEL", "debug").output().unwrap());
    assert_eq!(answer.out, format!("{home}\n{home}\nanka\n\n"));
    let answer =
        host.guest("vm", "uname -sm; uname -m; sw_vers -productVersion; echo -n abc | shasum -a 256");
    let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(answer.out, format!("Darwin arm64\narm64\n15.5\n{sum}  -\n"));
    let answer = host
        .guest("vm", "for tool in setsid timeout flock; do $tool true; echo $?; done; launchctl; echo $?");
    assert_eq!(answer.out, "127\n127\n127\n64\n");
    assert_eq!(host.guest("vm", "sudo -n echo yes").out, "yes\n");
}

#[test]
fn options_before_the_vm_set_folder_and_environment() {
    let host = Host::new();
    host.started("vm");
    host.guest("vm", "mkdir dir");
    let file = host.home().join("env");
    fs::write(&file, "B='quoted'\n").unwrap();
    let file = file.display().to_string();
    let args = ["run", "-w", "dir", "-e", "A=x y", "-f", &file, "-q", "vm", "bash", "-c"];
    let answer = host.machine(&[&args[..], &["basename $PWD; echo $A; echo $B"]].concat());
    assert_eq!(answer.out, "dir\nx y\n'quoted'\n");
    let mut command = host.command(&["run", "-E", "vm", "bash", "-c", "echo $LEAK $USER"]);
    let answer = Answer::of(command.env("LEAK", "yes").env("USER", "host").output().unwrap());
    assert_eq!(answer.out, "yes anka\n");
}

#[test]
fn stdin_is_forwarded_and_counted() {
    let host = Host::new();
    host.started("vm");
    let big = "x".repeat(300_000);
    let mut child = host.command(&["-j", "run", "vm", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = big.clone();
    let writer = std::thread::Builder::new().spawn(move || stdin.write_all(text.as_bytes())).unwrap();
    let answer = Answer::of(child.wait_with_output().unwrap());
    writer.join().unwrap().unwrap();
    assert_eq!(answer.out, big);
    let trace = host.fake.trace();
    let end = trace.iter().find(|line| line.event == "end" && line.verb == "run").unwrap();
    assert_eq!(end.more["stdin_bytes"], 300_000);
}

#[test]
fn an_endless_stdin_does_not_keep_the_command() {
    let host = Host::new();
    host.started("vm");
    let mut child = host.command(&["run", "vm", "true"]).stdin(Stdio::piped()).spawn().unwrap();
    let _held = child.stdin.take();
    assert!(child.wait().unwrap().success());
}

#[test]
fn run_starts_a_stopped_vm() {
    let host = Host::new();
    host.body(&["clone", "tmpl", "vm"]);
    assert_eq!(host.guest("vm", "exit 0").exit, 0);
    assert_eq!(host.fake.running_vms().len(), 1);
    host.fake.foreign_vm("theirs", Size::default());
    host.body(&["clone", "tmpl", "third"]);
    host.fails(&["run", "third", "true"], 1, "maximum number");
}

#[test]
fn a_daemon_outlives_its_command_and_dies_with_the_vm() {
    let host = Host::new();
    for end in [&["stop", "vm"][..], &["delete", "--yes", "vm"]] {
        if host.fake.state().vm("vm").is_none() {
            host.body(&["clone", "tmpl", "vm"]);
        }
        // One holds the command's output, in a session of its own; the other was deaf to hangups before it began.
        let script = "/usr/bin/setsid nohup sleep 1000 & echo $!; trap '' HUP; bash -c 'sleep 1000; true' 2>/dev/null & echo $!";
        let answer = host.guest("vm", script);
        let pids: Vec<&str> = answer.out.lines().collect();
        assert_eq!((answer.exit, pids.len()), (0, 2), "{}", answer.err);
        assert!(lives(pids[1]));
        host.body(end);
        assert!(pids.iter().all(|pid| !lives(pid)), "{end:?} left a process");
    }
}

#[test]
fn a_vm_that_goes_away_under_a_command_ends_it_with_125() {
    let host = Host::new();
    for gone in [false, true] {
        host.started("vm");
        let mut command = host.command(&["-j", "run", "vm", "bash", "-c", "echo ready; sleep 1000"]);
        let mut child = Reaped(command.spawn().unwrap());
        let mut ready = [0; 6];
        child.0.stdout.take().unwrap().read_exact(&mut ready).unwrap();
        assert!(host.fake.vm_dies("vm", gone));
        assert_eq!(child.0.wait().unwrap().code(), Some(125));
        assert_eq!(host.fake.state().vm("vm").map(|vm| vm.status), (!gone).then_some(Status::Stopped));
        host.machine(&["delete", "--yes", "vm"]);
    }
}

#[test]
fn killing_anka_leaves_the_guests_work_alone() {
    let host = Host::new();
    host.started("vm");
    let script = "echo ready; read -r _ < go; echo printed to nobody; touch done";
    let home = host.fake.guest_home("vm").unwrap();
    assert_eq!(host.guest("vm", "mkfifo go").exit, 0);
    let mut child =
        Reaped(host.command(&["run", "vm", "bash", "-c", script]).process_group(0).spawn().unwrap());
    let mut stdout = child.0.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 6]).unwrap();
    let group = rustix::process::Pid::from_child(&child.0);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    // The pipe ends with the client, although the guest goes on.
    assert_eq!(stdout.read(&mut [0]).unwrap(), 0);
    fs::write(home.join("go"), "\n").unwrap();
    wait_until("the guest's file", || home.join("done").exists());
}

#[test]
fn the_plan_reaches_into_the_vm() {
    let host = Host::new();
    host.started("vm");
    fs::write(host.fake.downloads().join("f.txt"), "served").unwrap();
    let fail = json!({"fail": {"code": 7, "message": "curl: (7) planned"}});
    host.fake.plan(&json!([{"match": {"verb": "guest curl"}, "do": fail}]));
    let answer = host.guest("vm", "curl -fsSL https://example.com/f.txt");
    assert_eq!((answer.exit, answer.err.as_str()), (7, "curl: (7) planned\n"));
    assert_eq!(host.guest("vm", "curl -fsSL https://example.com/f.txt").out, "served");
}
