//! Secrets stay in the process: no log, no stored file, no metric, and no child of the host ever shows one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;

use fake_github::{Rule, keys};
use serde_json::json;

use crate::jit;
use crate::support::{Anklet, LIMIT, SECRET, TOKEN, World, bare};

/// The marker of processes that play a guest: what happens in a VM is not on the host.
const GUEST: &str = "FAKE_VM=";

/// Everything that must not be seen, as it is known once the job is over.
fn secrets(world: &World, configured: &[&str]) -> BTreeSet<String> {
    let mut secrets: BTreeSet<String> = configured.iter().map(|secret| (*secret).to_owned()).collect();
    // Tokens of the App and its signed claims, as GitHub saw them.
    secrets.extend(world.github.requests().into_iter().filter_map(|request| request.credential));
    // Registration tokens, as the guest's script got them.
    let tokens = fs::read_to_string(world.anka.root().join("tokens")).unwrap();
    let n_before = secrets.len();
    secrets.extend(tokens.lines().map(str::to_owned));
    assert!(secrets.len() >= n_before + 2, "two registrations, and a token for each");
    secrets
}

/// Where any of the secrets stands in this.
fn found(secrets: &BTreeSet<String>, bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    secrets.iter().filter(|secret| text.contains(secret.as_str())).cloned().collect()
}

/// What the processes below `root` show of themselves on the host, looked at until `stop`: arguments, and environment.
fn watch_children(root: u32, stop: &AtomicBool) -> BTreeSet<(Vec<u8>, Vec<u8>)> {
    let own_program = fs::read_link(format!("/proc/{root}/exe")).unwrap();
    let mut shown = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        for process in below(root) {
            let read = |name: &str| fs::read(format!("/proc/{process}/{name}")).unwrap_or_default();
            // Between its birth and its first word a child is still a copy of us.
            let is_copy = fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|exe| exe == own_program);
            let (before, words, environment) = (read("environ"), read("cmdline"), read("environ"));
            // One that becomes another program in this moment shows the words of one and the environment of the other.
            let is_whole = before == environment && !environment.is_empty();
            if !is_copy && is_whole && !String::from_utf8_lossy(&environment).contains(GUEST) {
                shown.insert((words, environment));
            }
        }
    }
    shown
}

fn below(root: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<(u32, u32)> = pids.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found = vec![root];
    for at in 0.. {
        let Some(&one) = found.get(at) else { break };
        found.extend(parents.iter().filter(|(_, parent)| *parent == one).map(|(pid, _)| *pid));
    }
    found.split_off(1)
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// All files below the home folder but the config, the operator's own scripts, and what the stand-in for anka keeps.
fn files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        if path.is_dir() && name != ".fake-anka" && name != "plugins" {
            self::files(&path, files);
        } else if path.is_file() && name != "config.yml" {
            files.push(path);
        }
    }
}

/// Lets the watcher end.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a job asks of `anka` about its VM.
const VERBS: [&str; 5] = ["clone", "start", "cp", "run", "delete"];

/// Runs a job whose first registration fails and says its token aloud, then looks everywhere.
fn run_and_look(world: &World, mut anklet: Anklet, configured: &[&str]) {
    // Long enough to be seen by a watcher that a busy machine lets look twice a second.
    for verb in VERBS {
        world.anka.set_delay(verb, Duration::from_millis(500));
    }
    let (pid, stop) = (anklet.pid(), AtomicBool::new(false));
    let shown = std::thread::scope(|scope| {
        let watcher = Builder::new().name("watcher".to_owned());
        let watcher = watcher.spawn_scoped(scope, || watch_children(pid, &stop)).unwrap();
        // Also where a check below fails: the watcher is waited for.
        let _stopped = StopAtEnd(&stop);
        let job = world.github.create_job(world.job().steps_ms(200));
        assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
        anklet.wait_message("job completed");
        world.assert_clean(&anklet);
        stop.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    let metrics = metrics(&anklet);
    anklet.signal("TERM");
    let (status, lines) = anklet.wait_end_and_lines();
    assert_eq!(status.code(), Some(0));

    let secrets = secrets(world, configured);
    for line in &lines {
        assert_eq!(found(&secrets, line.0.to_string().as_bytes()), Vec::<String>::new(), "{}", line.0);
    }
    let masked = lines.iter().filter(|line| line.0.to_string().contains("***")).count();
    assert!(masked > 0, "the script's words must have been logged, masked");
    let mut stored = Vec::new();
    files(world.home.path(), &mut stored);
    let names: Vec<_> = stored.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    for name in ["anklet.db", "ledger.json"] {
        assert!(names.contains(&name), "{names:?}");
    }
    for file in &stored {
        assert_eq!(found(&secrets, &fs::read(file).unwrap()), Vec::<String>::new(), "{}", file.display());
    }
    assert_eq!(found(&secrets, &metrics), Vec::<String>::new());
    let is_verb =
        |words: &[u8], verb: &str| words.split(|byte| *byte == 0).any(|word| word == verb.as_bytes());
    let n_seen = VERBS.iter().filter(|verb| shown.iter().any(|(words, _)| is_verb(words, verb))).count();
    assert!(n_seen >= 3, "too few children were seen: {n_seen}");
    for (words, environment) in &shown {
        let words_text = String::from_utf8_lossy(words);
        assert_eq!(found(&secrets, words), Vec::<String>::new(), "{words_text}");
        assert_eq!(found(&secrets, environment), Vec::<String>::new(), "the environment of {words_text}");
    }
    for line in world.anka.trace().iter().filter(|line| line.event == "start") {
        assert_eq!(found(&secrets, line.argv.join("\n").as_bytes()), Vec::<String>::new(), "{line:?}");
        let outside = line.more.get("env_outside").and_then(|names| names.as_array()).map_or(0, Vec::len);
        assert_eq!(outside, 0, "{line:?}");
    }
}

/// The pages of metrics, if there are any.
fn metrics(anklet: &Anklet) -> Vec<u8> {
    let port = anklet.lines().into_iter().find_map(|line| {
        (line.message() == "metrics server started").then(|| line.0["port"].as_u64()).flatten()
    });
    let Some(port) = port else { return Vec::new() };
    let mut pages = Vec::new();
    for page in ["metrics", "metrics/v1?format=json", "metrics/v1?format=prometheus"] {
        let mut answer = ureq::get(format!("http://127.0.0.1:{port}/{page}")).call().unwrap();
        pages.extend(answer.body_mut().read_to_vec().unwrap());
    }
    pages
}

fn install_script(world: &World, name: &str, text: &str) {
    let folder = world.home.path().join("plugins/handlers/github");
    fs::create_dir_all(&folder).unwrap();
    let script = folder.join(name);
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A script of the operator's own that does what ours would never do: it says its token, and fails the first time.
fn install_talkative_script(world: &World) {
    let text = r#"#!/bin/bash
set -ex
echo "the token is $2" >&2
echo "$2" >>"$HOME/../../../tokens"
cd "$HOME/actions-runner"
./config.sh --unattended --ephemeral --disableupdate --no-default-labels --name "$1" --token "$2" --url "$3" --labels "$4"
"#;
    install_script(world, "register-runner.bash", text);
    let fail = json!({"fail": {"code": 1, "message": "no registration today"}});
    world.anka.arm(&json!({"match": {"verb": "guest config.sh"}, "do": fail}));
}

#[test]
fn a_token_and_a_secret_of_the_config_are_seen_nowhere() {
    let world = World::new();
    install_talkative_script(&world);
    // GitHub's own words are quoted in errors, so they may hold what it was sent.
    world.github.rule(
        Rule::on("POST", "@/actions/runners/registration-token")
            .status(500, &format!("the token {TOKEN} could not be read")),
    );
    let config = format!("plugins_path: {}/plugins\n{}", world.home.path().display(), world.config(1));
    let anklet = world.start(&config);
    run_and_look(&world, anklet, &[TOKEN, SECRET]);
}

/// The same for single-use configurations: a start script that says its own aloud, and fails the first time.
#[test]
fn a_single_use_configuration_is_seen_nowhere() {
    let world = World::new();
    let text = r#"#!/bin/bash
set -ex
echo "the configuration is $ACTIONS_RUNNER_INPUT_JITCONFIG" >&2
tokens="$HOME/../../../tokens"
echo "$ACTIONS_RUNNER_INPUT_JITCONFIG" >>"$tokens"
[ "$(wc -l <"$tokens")" -ge 2 ]
cd "$HOME/actions-runner"
trap '' HUP
exec >runner.log 2>&1 </dev/null
./run.sh &
"#;
    install_script(&world, "start-runner.bash", text);
    world.github.rule(
        Rule::on("POST", "@/actions/runners/generate-jitconfig")
            .status(500, &format!("the token {TOKEN} could not be read")),
    );
    let config = format!("plugins_path: {}/plugins\n{}", world.home.path().display(), jit::config(&world, 1));
    let anklet = world.start(&config);
    run_and_look(&world, anklet, &[TOKEN, SECRET]);
}

#[test]
fn the_key_of_an_app_and_a_secret_of_the_environment_are_seen_nowhere() {
    let world = World::new();
    install_talkative_script(&world);
    world
        .github
        .revoke(TOKEN)
        .add_app(77, "Iv23client", keys::APP_KEY, &["administration=write", "actions=write", "checks=write"])
        .add_installation(501, 77, "acme");
    let secret = format!("global_receiver_secret: {SECRET}\n");
    let config = world.config(1).replace(&format!("global_token: {TOKEN}\n"), "").replace(&secret, "");
    let config = config.replace("plugin: github,", "plugin: github, app_id: 77,");
    let config = format!("plugins_path: {}/plugins\n{config}", world.home.path().display());
    let mut command = bare(env!("CARGO_BIN_EXE_anklet"));
    command.env("ANKLET_GLOBAL_PRIVATE_KEY", keys::APP_KEY).env("ANKLET_GLOBAL_RECEIVER_SECRET", SECRET);
    let anklet = world.start_with(&config, command);
    let lines = keys::APP_KEY.lines().filter(|line| !line.starts_with('-') && line.len() > 20);
    let configured: Vec<_> = lines.chain([SECRET]).collect();
    assert!(configured.len() > 20, "a key has many lines");
    run_and_look(&world, anklet, &configured);
}
