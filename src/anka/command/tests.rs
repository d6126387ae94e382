//! Children that misbehave in every way that a child can.

use std::time::{Duration, Instant};

use anklet_plugin_api::stop;
use anklet_plugin_api::store::JobSignal;
use crossbeam_channel::unbounded;
use rustix::process::{kill_process, test_kill_process};

use super::*;
use crate::anka::call::Input;
use crate::anka::tests::{Bench, await_news};
use crate::host::lock::{FileLock, Sharing};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

fn commands(bench: &Bench, grace: Duration) -> Commands {
    Commands::new(&bench.environment(), grace, LONG)
}

fn call(limit: Duration) -> Call {
    Call::new("list", limit)
}

fn run(script: &str, call: Call) -> Result<Ended, VmError> {
    commands(&Bench::new(script), LONG).run(call, &Ear::deaf())
}

fn text(captured: &Captured) -> String {
    String::from_utf8(captured.bytes()).unwrap()
}

#[test]
fn both_outputs_and_the_exit_code_come_back() {
    let ended = run("echo out; echo err >&2; exit 7", call(LONG)).unwrap();
    assert_eq!(
        (ended.exit, text(&ended.output).as_str(), text(&ended.errors).as_str()),
        (Some(7), "out\n", "err\n")
    );
    let ended = run("kill -9 $$", call(LONG)).unwrap();
    assert_eq!(ended.exit, None);
}

#[test]
fn the_environment_is_bare() {
    let bench = Bench::new("env");
    let mut environment = bench.environment();
    for name in ["USER", "LOGNAME", "TMPDIR", "LANG", "LC_ALL", "ANKA_LOG_LEVEL"] {
        environment.push((name.into(), "kept".into()));
    }
    for name in ["LOG_LEVEL", "ANKLET_TOKEN", "GITHUB_TOKEN", "LANGUAGE", "HOMEBREW", "LD_PRELOAD"] {
        environment.push((name.into(), "dropped".into()));
    }
    let ended = Commands::new(&environment, LONG, LONG).run(call(LONG), &Ear::deaf()).unwrap();
    let seen = text(&ended.output);
    assert_eq!(seen.matches("=kept").count(), 6, "{seen}");
    assert_eq!(seen.matches("=dropped").count(), 0, "{seen}");
    assert!(seen.contains("HOME=") && seen.contains("PATH="), "{seen}");
}

#[test]
fn standard_input_is_empty_unless_bytes_are_given() {
    assert_eq!(text(&run("cat; echo end", call(LONG)).unwrap().output), "end\n");
    let bytes = Input::Bytes(b"some bytes".to_vec());
    assert_eq!(text(&run("cat", call(LONG).input(bytes)).unwrap().output), "some bytes");
    let bytes = Input::Bytes(Vec::new());
    assert_eq!(text(&run("cat; echo end", call(LONG).input(bytes)).unwrap().output), "end\n");
}

#[test]
fn much_in_both_directions_does_not_block() {
    let bytes: Vec<u8> = b"0123456789abcde\n".iter().copied().cycle().take(8 << 20).collect();
    let script = "head -c 3000000 /dev/zero; cat | wc -c; head -c 3000000 /dev/zero >&2; echo end";
    let ended = run(script, call(LONG).input(Input::Bytes(bytes))).unwrap();
    let output = ended.output.bytes();
    assert!(String::from_utf8_lossy(&output).replace(' ', "").ends_with("8388608\nend\n"));
    assert_eq!(ended.exit, Some(0));
}

#[test]
fn input_that_nobody_reads_does_not_matter() {
    let ended = run("exec 0<&-; echo end", call(LONG).input(Input::Bytes(vec![b'x'; 4 << 20]))).unwrap();
    assert_eq!((ended.exit, text(&ended.output).as_str()), (Some(0), "end\n"));
}

#[test]
fn huge_output_is_drained_but_not_kept() {
    let ended = run("echo first; head -c 100000000 /dev/zero; echo; echo last", call(LONG)).unwrap();
    let output = ended.output.bytes();
    assert!(output.starts_with(b"first\n") && output.ends_with(b"\nlast\n"));
    assert!(output.len() < 4 << 20, "{} bytes are kept", output.len());
}

#[test]
fn a_stuck_child_is_killed_at_its_limit_with_all_of_its_group() {
    let bench = Bench::new("exec 9> \"$HOME/held\"; sleep 1000 & sleep 1000");
    let held = bench.pipe("held");
    let started_at = Instant::now();
    let result = commands(&bench, LONG).run(call(SHORT), &Ear::deaf());
    assert!(matches!(result, Err(VmError::TooSlow { verb: "list", limit: SHORT })), "{result:?}");
    assert!(started_at.elapsed() < Duration::from_secs(20), "TERM was enough");
    await_news(&held);
}

#[test]
fn a_child_that_ignores_term_gets_kill_after_the_grace() {
    let bench =
        Bench::new("trap '' TERM; exec 9> \"$HOME/held\"; sleep 1000 & sleep 1000; sleep 1000; sleep 1000");
    let held = bench.pipe("held");
    let started_at = Instant::now();
    let result = commands(&bench, SHORT).run(call(SHORT), &Ear::deaf());
    assert!(matches!(result, Err(VmError::TooSlow { .. })), "{result:?}");
    assert!(started_at.elapsed() >= SHORT + SHORT);
    await_news(&held);
}

#[test]
fn who_survives_its_parents_end_by_term_gets_kill() {
    let bench = Bench::new(
        "(trap '' TERM; exec 9> \"$HOME/held\"; echo > \"$HOME/started\"; while :; do sleep 1000; done) & wait",
    );
    let (held, started) = (bench.pipe("held"), bench.pipe("started"));
    let (stopper, stop) = stop::stop();
    thread::scope(|scope| {
        let running = scope.spawn(|| commands(&bench, LONG).run(call(LONG), &Ear::to_stop(&stop)));
        await_news(&started);
        drop(stopper);
        assert!(matches!(running.join().unwrap(), Err(VmError::Cut { .. })));
    });
    await_news(&held);
}

#[test]
fn a_signal_cuts_a_running_command() {
    let bench = Bench::new("exec 9> \"$HOME/held\"; echo > \"$HOME/started\"; sleep 1000");
    let (held, started) = (bench.pipe("held"), bench.pipe("started"));
    let (_stopper, stop) = stop::stop();
    let (signal, signals) = unbounded();
    let judge = |signal: &JobSignal| *signal == JobSignal::Retry;
    thread::scope(|scope| {
        let signals = &signals;
        let (bench, stop) = (&bench, &stop);
        let running = scope
            .spawn(move || commands(bench, LONG).run(call(LONG), &Ear::to_signals(stop, signals, &judge)));
        await_news(&started);
        signal.send(JobSignal::Look).unwrap();
        signal.send(JobSignal::Retry).unwrap();
        assert!(matches!(running.join().unwrap(), Err(VmError::Cut { verb: "list" })));
    });
    await_news(&held);
}

#[test]
fn a_command_is_not_begun_after_the_cut() {
    let bench = Bench::new("touch \"$HOME/begun\"");
    let (stopper, stop) = stop::stop();
    drop(stopper);
    let result = commands(&bench, LONG).run(call(LONG), &Ear::to_stop(&stop));
    assert!(matches!(result, Err(VmError::Cut { .. })));
    assert!(!bench.path("begun").exists());
}

#[test]
fn who_stays_behind_with_the_pipes_is_neither_waited_for_nor_killed() {
    let bench = Bench::new("sleep 1000 & echo $!");
    let started_at = Instant::now();
    let ended = commands(&bench, LONG).run(call(LONG), &Ear::deaf()).unwrap();
    assert!(started_at.elapsed() < Duration::from_secs(20));
    let left = Pid::from_raw(text(&ended.output).trim().parse().unwrap()).unwrap();
    assert!(test_kill_process(left).is_ok(), "a started VM may live in the group");
    kill_process(left, Signal::KILL).unwrap();
}

#[test]
fn a_lock_given_as_input_lasts_as_long_as_the_child() {
    let bench = Bench::new("echo > \"$HOME/started\"; read line < \"$HOME/go\"; echo end");
    let started = bench.pipe("started");
    let status = Command::new("mkfifo").arg(bench.path("go")).status().unwrap();
    assert!(status.success());
    let path = bench.path("x.lock");
    thread::scope(|scope| {
        let running = scope.spawn(|| {
            let lock = FileLock::try_take(&path, Sharing::Shared).unwrap().unwrap();
            let held = lock.file().unwrap();
            lock.leave();
            commands(&bench, LONG).run(call(LONG).input(Input::File(held)), &Ear::deaf())
        });
        await_news(&started);
        assert!(FileLock::try_take(&path, Sharing::Alone).unwrap().is_none(), "only the child has it");
        std::fs::write(bench.path("go"), "go\n").unwrap();
        assert_eq!(running.join().unwrap().unwrap().exit, Some(0));
    });
    assert!(FileLock::try_take(&path, Sharing::Alone).unwrap().is_some());
}

#[test]
fn a_missing_program_is_not_started() {
    let bench = Bench::new("");
    let is_missing = |environment: &[(OsString, OsString)]| {
        let result = Commands::new(environment, LONG, LONG).run(call(LONG), &Ear::deaf());
        matches!(result, Err(VmError::NotStarted { source, .. }) if source.kind() == io::ErrorKind::NotFound)
    };
    assert!(is_missing(&[]));
    assert!(is_missing(&[("PATH".into(), "/nonexistent".into())]));
    std::fs::set_permissions(bench.path("bin/anka"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(is_missing(&[("PATH".into(), bench.path("bin").into())]));
}
