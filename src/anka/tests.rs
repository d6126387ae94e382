//! The driver before an `anka` of ours: a shell script that does what the test says.

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::limits::Limits;
use anklet_plugin_api::name::VmName;
use anklet_plugin_api::section::{Mount, Secret};
use anklet_plugin_api::vm::{GuestRun, VmError, VmHost, VmVerb};
use crossbeam_channel::{Receiver, bounded};

use super::timeouts::AnkaTimeouts;
use super::{Anka, AnkaSettings};
use crate::host::tests::Folder;

/// A home with a script `anka` on its PATH.
pub(crate) struct Bench {
    folder: Folder,
}

impl Bench {
    /// `script` is the body of `anka`; its HOME is the bench's folder.
    pub(crate) fn new(script: &str) -> Self {
        let bench = Self { folder: Folder::new() };
        bench.write_program(script);
        bench
    }

    /// Another process writes the script: while a child of another test is being made it would inherit our open file,
    /// and a program that somebody writes to cannot be run.
    fn write_program(&self, script: &str) {
        let line = "mkdir -p bin && cat > bin/new && chmod +x bin/new && mv bin/new bin/anka";
        let mut shell = self.shell(line).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = shell.stdin.take().unwrap();
        stdin.write_all(format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
        drop(stdin);
        assert!(shell.wait().unwrap().success());
    }

    fn shell(&self, line: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.folder.path());
        shell
    }

    /// A path in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The content of a file in its folder.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Makes a pipe with a name. What is written to it arrives once all its writers have closed it or died.
    pub(crate) fn pipe(&self, name: &str) -> Receiver<String> {
        assert!(self.shell(&format!("mkfifo {name}")).status().unwrap().success());
        let (sender, receiver) = bounded(1);
        let path = self.path(name);
        thread::Builder::new()
            .spawn(move || {
                let mut text = String::new();
                fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
                let _ = sender.send(text);
            })
            .unwrap();
        receiver
    }

    /// An environment in which the script is found.
    pub(crate) fn environment(&self) -> Vec<(OsString, OsString)> {
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        vec![("HOME".into(), self.folder.path().into()), ("PATH".into(), path.into())]
    }

    /// A driver for it.
    pub(crate) fn anka(&self) -> Anka {
        Anka::new(self.settings())
    }

    fn settings(&self) -> AnkaSettings {
        AnkaSettings {
            environment: self.environment(),
            timeouts: AnkaTimeouts::default(),
            limits: Limits::default(),
            folder: self.folder.path().to_path_buf(),
            secrets: vec![Secret::new("configured-secret")],
        }
    }
}

/// What was sent, within a generous limit.
pub(crate) fn await_news(receiver: &Receiver<String>) -> String {
    receiver.recv_timeout(Duration::from_secs(20)).expect("the news comes")
}

/// A VM of ours.
pub(crate) fn vm() -> VmName {
    VmName::new("anklet-vm-1")
}

/// An answer with status OK.
pub(crate) fn ok(body: &str) -> String {
    format!(r#"{{"status":"OK","code":0,"body":{body},"message":""}}"#)
}

fn run(bench: &Bench, line: &str, input: Option<&Secret>) -> Result<String, VmError> {
    let limit = Duration::from_secs(60);
    let run = GuestRun { name: "test", line, input, limit, n_kept_bytes: 1_000 };
    bench.anka().run(&vm(), &run, &Ear::deaf()).map(|output| output.0)
}

/// Notes the words of each command as a line, then answers OK.
const NOTE: &str = r#"for word in "$@"; do printf '[%s]' "$word" >> "$HOME/words"; done
echo >> "$HOME/words"
printf '{"status":"OK","code":0,"body":{},"message":""}'"#;

#[test]
fn each_verb_has_its_words() {
    let bench = Bench::new(NOTE);
    let anka = bench.anka();
    let ear = Ear::deaf();
    fs::write(bench.path("script.bash"), "").unwrap();
    std::os::unix::fs::symlink(bench.path("script.bash"), bench.path("link")).unwrap();
    anka.start(&vm(), &ear).unwrap();
    for name in [None, Some("cache".to_owned())] {
        anka.mount(&vm(), &Mount { host: "/srv/x".into(), name }, &ear).unwrap();
    }
    assert_eq!(anka.size("AAAA", None, &ear).unwrap(), None);
    assert_eq!(anka.size("AAAA", Some("v1"), &ear).unwrap(), None);
    anka.copy(&vm(), &bench.path("link"), &ear).unwrap();
    anka.stop_force(&vm(), &ear).unwrap();
    anka.delete(&vm(), &ear).unwrap();
    assert_eq!(anka.list(&ear).unwrap(), []);
    run(&bench, "echo \"$(x)\" 'a b'\nline 2", None).unwrap();
    let script = bench.path("script.bash").canonicalize().unwrap();
    let expected = format!(
        "[-j][start][anklet-vm-1]
[-j][mount][anklet-vm-1][/srv/x]
[-j][mount][anklet-vm-1][/srv/x:cache]
[-j][show][AAAA]
[-j][show][-t][v1][AAAA]
[-j][cp][-a][{}][anklet-vm-1:]
[-j][stop][--force][anklet-vm-1]
[-j][delete][--yes][anklet-vm-1]
[-j][list]
[-j][run][anklet-vm-1][bash][-c][echo \"$(x)\" 'a b'\nline 2]
",
        script.display()
    );
    assert_eq!(bench.read("words"), expected);
}

#[test]
fn a_strangers_text_never_becomes_an_option() {
    let bench = Bench::new(NOTE);
    let anka = bench.anka();
    for name in ["--yes", "-x", "a\nb", ""] {
        let result = anka.start(&VmName::new(name), &Ear::deaf());
        assert!(matches!(result, Err(VmError::NotStarted { verb: "start", .. })), "{name:?}");
        assert!(!result.unwrap_err().to_string().contains(name) || name.is_empty());
    }
    assert!(!bench.path("words").exists(), "nothing was run");
}

#[test]
fn a_copy_of_what_is_not_there_is_not_tried() {
    let bench = Bench::new(NOTE);
    let result = bench.anka().copy(&vm(), &bench.path("missing"), &Ear::deaf());
    assert!(matches!(result, Err(VmError::NotStarted { verb: "cp", .. })));
    assert!(!bench.path("words").exists());
}

#[test]
fn a_secret_goes_to_standard_input_and_nowhere_else() {
    let bench = Bench::new(
        r#"printf '%s\n' "$*" > "$HOME/words"; env > "$HOME/env"; cat > "$HOME/input"
cat "$HOME/input"; echo configured-secret >&2; exit 3"#,
    );
    let token = Secret::new("AABBCCDDEEFF\n");
    let error = run(&bench, "register", Some(&token)).unwrap_err();
    assert_eq!(bench.read("input"), "AABBCCDDEEFF\n");
    for name in ["words", "env"] {
        assert!(!bench.read(name).contains("AABBCC"), "{name}");
    }
    assert_eq!(error.to_string(), "test ended with exit code 3 in the guest: *** | ***");
    assert!(!format!("{error:?}").contains("AABBCC"));
}

#[test]
fn what_a_guest_prints_is_masked_also_when_it_succeeds() {
    let bench = Bench::new("cat; echo end >&2");
    let token = Secret::new("AABBCCDDEEFF");
    assert_eq!(run(&bench, "x", Some(&token)).unwrap(), "***\nend\n");
}

#[test]
fn a_missing_vm_is_well_deleted_and_a_failed_deletion_is_not() {
    let delete = |answer: &str, exit: i32| {
        let bench = Bench::new(&format!("printf '%s' '{answer}'; exit {exit}"));
        bench.anka().delete(&vm(), &Ear::deaf())
    };
    delete(&ok("{}"), 0).unwrap();
    delete(r#"{"status":"ERROR","code":3,"body":{},"message":"anklet-vm-1: not found"}"#, 3).unwrap();
    let busy = delete(r#"{"status":"ERROR","code":7,"body":{},"message":"busy"}"#, 7);
    assert!(matches!(busy, Err(VmError::Failed { code: 7, .. })));
    assert!(matches!(delete("", 0), Err(VmError::Nonsense { .. })));
    assert!(matches!(delete("not found", 1), Err(VmError::Failed { .. })), "only an envelope is believed");
}

#[test]
fn the_limits_told_cover_the_commands() {
    let bench = Bench::new("");
    let mut settings = bench.settings();
    settings.timeouts.start = Duration::from_secs(1_000);
    let anka = Anka::new(settings);
    for (verb, seconds) in [
        (VmVerb::List, 120),
        (VmVerb::Pull, 21_600),
        (VmVerb::Clone, 300),
        (VmVerb::Start, 1_000),
        (VmVerb::Find, 240),
        (VmVerb::Mount, 60),
        (VmVerb::Copy, 600),
        (VmVerb::Delete, 120),
    ] {
        assert!(anka.limit(verb) > Duration::from_secs(seconds), "{verb:?}");
    }
}
