//! `anklet init`: from nothing to a config that a start accepts and a job that ends well.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::install::text;
use crate::support::{Home, LIMIT, SECRET, TOKEN, World, bare};

/// A home and what is typed into the program there.
struct Bench {
    home: Home,
}

impl Bench {
    fn new() -> Self {
        Self { home: Home::new() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = bare(env!("CARGO_BIN_EXE_anklet"));
        command.arg("init").args(arguments).env("HOME", self.home.path()).env("PATH", "/usr/bin:/bin");
        command.env("ANKLET_GLOBAL_TOKEN", TOKEN).current_dir(self.home.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn config(&self) -> Option<String> {
        fs::read_to_string(self.home.config()).ok()
    }
}

/// The first words that `anklet check` has for it; what it would ask of the world after them is cut off.
fn verdict(file: &Path) -> String {
    let mut command = bare(env!("CARGO_BIN_EXE_anklet"));
    command.arg("check").arg("-c").arg(file).env("HOME", "/nonexistent").stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let first = lines.into_iter().find(|line| !line.starts_with("warning:")).unwrap_or_default();
    child.kill().unwrap();
    child.wait().unwrap();
    first
}

#[test]
fn flags_make_a_config_that_is_accepted() {
    for (flags, parts) in [
        (
            &["--owner", "acme", "--repo", "app", "--yes"][..],
            &[
                "owner: \"acme\"\n    repo: \"app\"",
                "name: RECEIVER",
                "name: HANDLER2",
                "port: 54321",
                "global_receiver_secret: \"",
            ][..],
        ),
        (&["--owner=acme", "--role=both", "--port=9000", "--redis="], &["port: 9000", "name: HANDLER1"]),
        (
            &["--owner", "acme", "--role", "handler", "--redis", "q.example.net:7000"],
            &["global_database_url: \"q.example.net\"\nglobal_database_port: 7000", "name: MAC_"],
        ),
        (
            &["--owner", "acme", "--role", "receiver", "--redis", "q", "--yes"],
            &["name: RECEIVER_", "global_database_port: 6379"],
        ),
    ] {
        let bench = Bench::new();
        let output = bench.run(flags);
        assert!(output.status.success(), "{flags:?}: {}", text(&output));
        let config = bench.config().unwrap();
        parts.iter().for_each(|part| assert!(config.contains(part), "{flags:?}: no {part} in\n{config}"));
        assert_eq!(config.contains("github_receiver"), !flags.contains(&"handler"), "{config}");
        assert_eq!(fs::metadata(bench.home.config()).unwrap().permissions().mode() & 0o777, 0o600);
        let verdict = verdict(&bench.home.config());
        assert!(verdict.starts_with("ok: config "), "{verdict}");
        assert!(
            !text(&output).contains(TOKEN) && text(&output).contains("     anklet check\n"),
            "{}",
            text(&output)
        );
        let secret = config.lines().find_map(|line| line.strip_prefix("global_receiver_secret: "));
        secret.inspect(|secret| assert!(secret.len() == 66 && !text(&output).contains(*secret), "{secret}"));
    }
}

#[test]
fn what_is_not_said_and_cannot_be_asked_is_named() {
    for (flags, part) in [
        (&[][..], "--owner"),
        (&["--owner", "a b"], "--owner: write the name"),
        (&["--owner", "acme", "--role", "handler", "--yes"], "--redis"),
        (&["--owner", "acme", "--role", "handler", "--redis", ""], "needs `--redis HOST`"),
        (&["--owner", "acme", "--role", "chief"], "receiver, handler or both"),
        (&["--owner", "acme", "--port", "x"], "--port"),
        (&["--owner", "acme", "--yes", "--redis", "redis://h"], "HOST or HOST:PORT"),
    ] {
        let bench = Bench::new();
        let output = bench.run(flags);
        assert!(!output.status.success() && text(&output).contains(part), "{flags:?}: {}", text(&output));
        assert_eq!(bench.config(), None);
    }
    let bench = Bench::new();
    let output = bench
        .command(&["--owner", "acme", "--yes"])
        .env_remove("ANKLET_GLOBAL_TOKEN")
        .stdin(Stdio::null())
        .output();
    assert!(text(&output.unwrap()).contains("ANKLET_GLOBAL_TOKEN"));
    assert_eq!(bench.config(), None);
}

#[test]
fn only_the_installers_sample_is_replaced() {
    let bench = Bench::new();
    fs::write(bench.home.config(), "mine: yes\n").unwrap();
    let output = bench.run(&["--owner", "acme", "--yes"]);
    assert!(!output.status.success() && text(&output).contains("left alone"), "{}", text(&output));
    assert_eq!(bench.config().as_deref(), Some("mine: yes\n"));
    fs::write(bench.home.config(), include_str!("../../src/assets/config.yml")).unwrap();
    assert!(bench.run(&["--owner", "acme", "--yes"]).status.success());
    assert!(bench.config().unwrap().contains("acme"));
    let files = fs::read_dir(bench.home.config().parent().unwrap()).unwrap().count();
    assert_eq!(files, 1, "no half-written file stays");
}

/// A service that the installer prepared can read what takes the place of its sample; nobody else can.
#[test]
fn who_could_read_the_sample_can_read_the_config() {
    for (sample_mode, mode) in [(0o600, 0o600), (0o640, 0o640), (0o644, 0o600)] {
        let bench = Bench::new();
        fs::write(bench.home.config(), include_str!("../../src/assets/config.yml")).unwrap();
        fs::set_permissions(bench.home.config(), fs::Permissions::from_mode(sample_mode)).unwrap();
        let is_root = chown(bench.home.config(), Some(0), Some(12)).is_ok();
        assert!(bench.run(&["--owner", "acme", "--yes"]).status.success());
        let now = fs::metadata(bench.home.config()).unwrap();
        assert_eq!(now.permissions().mode() & 0o777, mode, "after {sample_mode:o}");
        assert!(!is_root || (now.uid(), now.gid()) == (0, 12));
    }
}

/// One that was killed before its file had its name leaves the token in it; one that runs still needs it.
#[test]
fn what_a_killed_one_left_is_removed() {
    let bench = Bench::new();
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let left = |pid: u32| bench.home.config().with_file_name(format!("config.yml.new.{pid}"));
    let (gone, runs) = (left(ended.id()), left(std::process::id()));
    let theirs = bench.home.config().with_file_name("config.yml.new.x");
    for file in [&gone, &runs, &theirs] {
        fs::write(file, TOKEN).unwrap();
    }
    assert!(bench.run(&["--owner", "acme", "--yes"]).status.success());
    assert!(!gone.exists() && runs.exists() && theirs.exists());
}

/// The name of another file is part of what to write next, as one word.
#[test]
fn a_file_elsewhere_is_named_in_what_to_do_next() {
    let bench = Bench::new();
    let file = bench.home.path().join("my config.yml");
    let output = bench.run(&["--owner", "acme", "--yes", "-c", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains(&format!("     anklet check -c '{}'\n", file.display())),
        "{}",
        text(&output)
    );
}

/// On a terminal everything is asked; a wrong answer is asked for again, and the token is not shown.
#[test]
fn a_terminal_is_asked() {
    let has_script =
        Command::new("script").arg("--version").output().is_ok_and(|output| output.status.success());
    if !has_script {
        println!("SKIPPED: there is no `script`, so no terminal to ask on");
        return;
    }
    let bench = Bench::new();
    let mut command = bare("script");
    command.args(["-qec", &format!("{} init", env!("CARGO_BIN_EXE_anklet")), "/dev/null"]);
    command
        .env("HOME", bench.home.path())
        .env("PATH", "/usr/bin:/bin")
        .env("TERM", "dumb")
        .env("SHELL", "/bin/sh");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let answers = format!("a b\nacme\napp\nboth\n\n{TOKEN}\n70000\n9000\n");
    child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let config = bench.config().unwrap_or_else(|| panic!("{}", text(&output)));
    for part in ["owner: \"acme\"\n    repo: \"app\"", "port: 9000", TOKEN] {
        assert!(config.contains(part), "no {part} in\n{config}\n{}", text(&output));
    }
    assert!(text(&output).contains("write a number from 1 to 65535"), "{}", text(&output));
}

/// Install, init, check, start: what the README tells a newcomer.
#[test]
fn a_newcomers_first_job_ends_well() {
    let world = World::new();
    let port = world.port.to_string();
    let mut command = bare(env!("CARGO_BIN_EXE_anklet"));
    command.args(["init", "--owner", "acme", "--repo", "app", "--port", &port, "--yes", "--ask-github"]);
    command.env("HOME", world.home.path()).env("ANKLET_GLOBAL_TOKEN", TOKEN);
    command.env("ANKLET_GLOBAL_RECEIVER_SECRET", SECRET).env("ANKLET_GITHUB_URL", world.github.url());
    command.env("ANKLET_GITHUB_API_URL", world.github.api_url());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("GitHub lets plugin HANDLER1 register runners of acme/app"),
        "{}",
        text(&output)
    );

    // A host with room for the stand-in's template.
    let host = "host: {cpu_count: 12, memory_bytes: 34359738368}\n";
    let config = fs::read_to_string(world.home.config()).unwrap() + host;
    let mut command = bare(env!("CARGO_BIN_EXE_anklet"));
    command.env("ANKLET_GITHUB_URL", world.github.url()).env("ANKLET_GITHUB_API_URL", world.github.api_url());
    let anklet = world.spawn_with(&config, command);
    anklet.wait_message("receiver finished starting");
    anklet.wait_messages("starting github plugin", 2);
    let job = world.github.create_job(world.job());
    assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
    anklet.wait_message("job completed");
    world.assert_clean(&anklet);
    anklet.stop();
}
