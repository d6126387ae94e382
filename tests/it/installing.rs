//! The installer on machines of other kinds: other shells, an ordinary user, a full disk, an archive cut anywhere.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::install::{Bench, VERSION, have, text};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/install.sh");

/// Installs as `curl … | sh` does, by this shell.
fn piped(bench: &Bench, shell: &[&str]) -> Output {
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).args(["-s", "--", "--version", VERSION, "--prefix"]).arg(bench.prefix(""));
    bench.surround(&mut command);
    command.stdin(Stdio::from(File::open(SCRIPT).unwrap())).output().unwrap()
}

#[test]
fn every_shell_installs_what_comes_through_a_pipe() {
    for shell in [
        &["sh"][..],
        &["dash"],
        &["bash"],
        &["bash", "--posix"],
        &["mksh", "-o", "posix"],
        &["zsh", "--emulate", "sh"],
    ] {
        if !have(shell[0]) {
            println!("SKIPPED: there is no {}", shell[0]);
            continue;
        }
        let bench = Bench::new();
        bench.assert_installed(&piped(&bench, shell));
    }
}

#[test]
fn an_archive_cut_anywhere_places_nothing() {
    let bench = Bench::empty();
    let archive = bench.archive(&bench.program(&format!("echo {VERSION}")));
    let bytes = fs::read(&archive).unwrap();
    for tenth in 0..10 {
        fs::write(&archive, &bytes[..bytes.len() * tenth / 10]).unwrap();
        bench.assert_nothing_placed(&bench.install(), "damaged or forged");
    }
    fs::write(&archive, bytes).unwrap();
    bench.assert_installed(&bench.install());
}

/// A blank in a path ends no word, neither in the script nor in what it tells to type.
#[test]
fn blanks_in_every_path_are_no_matter() {
    let bench = Bench::new();
    let (home, prefix, work) = (bench.at("my home"), bench.at("my tools"), bench.at("my work"));
    for folder in [&home, &work] {
        fs::create_dir(folder).unwrap();
    }
    let run = |arguments: &[&str]| {
        let mut all = vec!["--prefix", prefix.to_str().unwrap()];
        all.extend(arguments);
        bench.command(Path::new(SCRIPT), &all).env("HOME", &home).env("TMPDIR", &work).output().unwrap()
    };
    for _ in 0..2 {
        let output = run(&["--version", VERSION]);
        let said = text(&output);
        assert!(output.status.success() && said.contains("/my tools/bin:$PATH\"\n"), "{said}");
    }
    assert!(home.join(".config/anklet/config.yml").exists());
    let output = run(&["--uninstall"]);
    assert!(output.status.success() && !prefix.join("bin/anklet").exists(), "{}", text(&output));
    assert_eq!(fs::read_dir(&work).unwrap().count(), 0);
}

#[test]
fn without_a_home_a_prefix_is_enough() {
    let bench = Bench::new();
    let run = |arguments: &[&str]| {
        let prefix = bench.prefix("");
        let mut all = vec!["--prefix", prefix.to_str().unwrap()];
        all.extend(arguments);
        bench.command(Path::new(SCRIPT), &all).env_remove("HOME").output().unwrap()
    };
    let output = run(&["--version", VERSION]);
    bench.assert_installed(&output);
    assert!(!text(&output).contains("Wrote a first"), "{}", text(&output));
    let output = run(&["--uninstall"]);
    assert!(output.status.success() && !bench.prefix("bin/anklet").exists(), "{}", text(&output));
}

/// Whoever installed for itself alone, and upgrades as root, gets no second one.
#[test]
fn an_upgrade_goes_where_the_old_one_is() {
    if Path::new("/usr/local/share/anklet/installed").exists() {
        println!("SKIPPED: Anklet is installed on this machine");
        return;
    }
    let bench = Bench::new();
    let own = bench.at(".local");
    let run = |arguments: &[&str]| bench.command(Path::new(SCRIPT), arguments).output().unwrap();
    let output = run(&["--version", VERSION, "--prefix", own.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output));
    let output = run(&["--version", VERSION, "--dry-run"]);
    let would = format!("  {}\n", own.join("bin/anklet").display());
    assert!(output.status.success() && text(&output).contains(&would), "{}", text(&output));
    let output = run(&["--uninstall"]);
    assert!(output.status.success() && !own.join("bin/anklet").exists(), "{}", text(&output));
}

#[test]
fn the_prefix_may_be_a_link() {
    let bench = Bench::new();
    fs::create_dir(bench.at("elsewhere")).unwrap();
    symlink(bench.at("elsewhere"), bench.at("prefix")).unwrap();
    bench.assert_installed(&bench.install());
    assert!(bench.at("elsewhere/bin/anklet").exists());
}

/// The old program runs on; a file that is executed cannot be written to, only replaced.
#[test]
fn a_program_that_runs_is_replaced() {
    let bench = Bench::new();
    let output = bench.install();
    bench.assert_installed(&output);
    assert!(!text(&output).contains("goes on with the old program"), "{}", text(&output));
    fs::copy("/bin/cat", bench.prefix("bin/anklet")).unwrap();
    let mut runs =
        Command::new(bench.prefix("bin/anklet")).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let output = bench.install();
    bench.assert_installed(&output);
    assert!(text(&output).contains("goes on with the old program"), "{}", text(&output));
    assert!(runs.try_wait().unwrap().is_none(), "the old one still runs");
    drop(runs.stdin.take());
    runs.wait().unwrap();
}

/// Root alone can become another; a user that runs the tests is an ordinary one anyway.
#[test]
fn an_ordinary_user_installs_for_itself_and_nowhere_else() {
    let is_root = fs::metadata("/root").is_ok() && fs::read_dir("/root").is_ok();
    let nobody: &[&str] = &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh"];
    if !is_root || !have("setpriv") {
        println!("SKIPPED: only root can try it, with setpriv");
        return;
    }
    let bench = Bench::new();
    fs::create_dir(bench.prefix("")).unwrap();
    let output = piped(&bench, nobody);
    bench.assert_nothing_placed(&output, "cannot make a work folder");

    for folder in [bench.home.path().to_owned(), bench.at("tmp")] {
        assert!(Command::new("chown").arg("65534:65534").arg(folder).status().unwrap().success());
    }
    let output = piped(&bench, nobody);
    bench.assert_nothing_placed(&output, "cannot write to");

    assert!(Command::new("chown").arg("65534:65534").arg(bench.prefix("")).status().unwrap().success());
    bench.assert_installed(&piped(&bench, nobody));
}

/// A file system of a few pages, in a name space of its own, so that nothing stays mounted.
#[test]
fn a_full_disk_leaves_nothing_half_placed() {
    let bench = Bench::empty();
    let filler = "#".repeat(300_000);
    bench.archive(&bench.program(&format!("echo {VERSION}\n{filler}")));
    let prefix = bench.prefix("");
    fs::create_dir(&prefix).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=128k none {0} 2>/dev/null || exit 77\nsh {SCRIPT} --version {VERSION} --prefix {0}; status=$?\n\
         find {0} -type f; exit $status",
        prefix.display()
    );
    let Some(output) = bench.among_own_mounts(&script) else { return };
    let said = text(&output);
    assert!(!output.status.success() && said.contains("cannot write to"), "{said}");
    let stays: Vec<_> = said.lines().filter(|line| line.starts_with(prefix.to_str().unwrap())).collect();
    assert_eq!(stays, Vec::<&str>::new(), "{said}");
}
