//! The command line and the start: what is said when something is wrong, and that the papers' examples work.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::json;

use crate::install::text;
use crate::support::{Anklet, World};

fn run(world: &World, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anklet"));
    let path = format!("{}:/usr/bin:/bin", world.home.path().join("bin").display());
    command.args(arguments).env_clear().env("HOME", world.home.path()).env("PATH", path);
    command.envs(environment.iter().copied()).current_dir(world.home.path()).output().unwrap()
}

/// The config of the README, as a newcomer writes it, against a GitHub that knows its token and organization.
#[test]
fn the_config_of_the_readme_passes_the_check() {
    let world = World::new();
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let config = readme.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    fs::write(world.home.config(), config).unwrap();
    world.github.add_org("your-organization").add_pat("ghp_replace_me", &["repo", "admin:org"]);
    let (web, api) = (world.github.url(), world.github.api_url());
    let github = [("ANKLET_GITHUB_URL", web.as_str()), ("ANKLET_GITHUB_API_URL", api.as_str())];
    let output = run(&world, &["check"], &github);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("ok: anka 3.") && said.contains("see the runners of your-organization"), "{said}");
    assert_eq!(world.github.violations(), Vec::<String>::new());
    assert!(!said.contains("ghp_replace_me"));
}

#[test]
fn a_token_that_may_not_see_runners_fails_the_check() {
    let world = World::new();
    fs::write(world.home.config(), world.config(1)).unwrap();
    world.github.revoke(crate::support::TOKEN);
    let output = run(&world, &["check"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("plugin HANDLER1: "), "{}", text(&output));
}

/// A receiver reads its webhook's log, so that the check does too.
#[test]
fn a_webhook_whose_log_is_not_shown_fails_the_check() {
    let world = World::new();
    let check = |keys: &str| {
        let config = world
            .config(1)
            .replace(", plugin: github_receiver,", &format!(", plugin: github_receiver, {keys},"));
        fs::write(world.home.config(), config).unwrap();
        let output = run(&world, &["check"], &[]);
        (output.status.code(), text(&output))
    };
    let hook = world.hook;
    let (code, said) = check(&format!("hook_id: {hook}"));
    let well = format!("ok: GitHub lets plugin RECEIVER see what webhook {hook} did not deliver");
    assert!(code == Some(0) && said.contains(&well), "{said}");
    let (code, said) = check(&format!("hook_id: {}", hook + 1));
    assert!(
        code == Some(1) && said.contains("error: plugin RECEIVER: ") && said.contains("`hook_id`"),
        "{said}"
    );
    let (code, said) = check(&format!("hook_id: {}, skip_redeliver: true", hook + 1));
    assert!(code == Some(0) && !said.contains("plugin RECEIVER"), "{said}");
    assert_eq!(world.github.violations(), Vec::<String>::new());
}

#[test]
fn version_help_and_mistakes() {
    let world = World::new();
    let version = run(&world, &["-version"], &[]);
    assert_eq!(text(&version).lines().next(), Some(env!("CARGO_PKG_VERSION")));
    assert!(text(&run(&world, &["--help"], &[])).contains("anklet check"));
    let mistake = run(&world, &["--colour"], &[]);
    assert_eq!(mistake.status.code(), Some(2));
    assert!(text(&mistake).contains("there is no flag `--colour`"), "{}", text(&mistake));
}

/// Starts with this config and expects an end with 1 and an ERROR line of that message, whose facts contain the word.
#[track_caller]
fn expect_failure(world: &World, config: &str, message: &str, word: &str) {
    let mut anklet = world.spawn(config);
    let (status, lines) = anklet.wait_end_and_lines();
    assert_eq!(status.code(), Some(1), "{lines:?}");
    let line = lines.iter().find(|line| line.0["level"] == "ERROR" && line.message() == message);
    let line = line.unwrap_or_else(|| panic!("no `{message}` in {lines:?}"));
    assert!(line.0.to_string().contains(word), "{}", line.0);
}

#[test]
fn what_is_wrong_at_the_start_is_said_and_ends_it() {
    let world = World::new();
    let config = world.config(1);
    expect_failure(&world, "", "unable to load config.yml", "empty");
    expect_failure(
        &world,
        &config.replace("owner: acme", "owner: a/b"),
        "unable to load config.yml",
        "owner",
    );
    expect_failure(
        &world,
        &config.replace("plugin: github,", "plugin: jenkins,"),
        "unable to load config.yml",
        "jenkins",
    );

    let taken = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = format!("port: {}", taken.local_addr().unwrap().port());
    let in_use = config.replace(&format!("port: {}", world.port), &port);
    expect_failure(&world, &in_use, "error running plugin", "in use");

    world.anka.arm(&json!({"match": {"verb": "version"}, "do": {"fail": {"code": 1, "message": "no"}}}));
    expect_failure(&world, &config, "unable to create anka cli", "version");
    world.anka.update(|state| "expired".clone_into(&mut state.license.status));
    expect_failure(&world, &config, "unable to create anka cli", "expired");
    fs::remove_file(world.home.path().join("bin/anka")).unwrap();
    expect_failure(&world, &config, "unable to create anka cli", "PATH");
}

#[test]
fn a_second_daemon_on_the_same_queue_file_names_the_first() {
    let world = World::new();
    let first = world.start(&world.config(1));
    expect_failure(&world, &world.config(1), "unable to access database", &first.pid().to_string());
    first.stop();
}

#[test]
fn no_plugins_means_nothing_to_do() {
    let world = World::new();
    let mut anklet: Anklet = world.spawn("plugins:\n");
    let (status, lines) = anklet.wait_end_and_lines();
    assert_eq!(status.code(), Some(0));
    let messages: Vec<_> = lines.iter().map(|line| line.message()).collect();
    assert!(
        messages.contains(&"starting anklet") && messages.contains(&"anklet (and all plugins) shut down"),
        "{messages:?}"
    );
}

/// Each mistake is one line, which says where it is and what was probably meant.
#[test]
fn each_mistake_in_a_config_is_told_once() {
    let world = World::new();
    let config = "global_token: t\nplugins:\n  - name: HOOKS\n    plugin: github_reciever\n    owner: acme\n    prot: 1\n  \
                  - name: MAC\n    plugin: github\n    owner: acme/app\n    registration_mode: jti\n";
    fs::write(world.home.config(), config).unwrap();
    let output = run(&world, &["check"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    let expected = [
        ("warning: ", ":6: plugin HOOKS: `prot` is not a key", "did you mean `port`?"),
        (
            "error: ",
            ":4: plugin HOOKS: `plugin` is `github_reciever`",
            "plugin not supported; did you mean `github_receiver`?",
        ),
        ("error: ", ":9: plugin MAC: `owner` is `acme/app`", "must be a name alone"),
        ("error: ", ":10: plugin MAC: `registration_mode` is `jti`", "did you mean `jit`?"),
    ];
    assert_eq!(said.lines().count(), expected.len(), "{said}");
    for (line, (kind, place, hint)) in said.lines().zip(expected) {
        assert!(line.starts_with(kind) && line.contains(place) && line.contains(hint), "{line}");
    }

    fs::write(world.home.config(), "plugins:\n").unwrap();
    let output = run(&world, &["check"], &[]);
    assert!(output.status.success() && text(&output).contains("`anklet init`"), "{}", text(&output));
}

/// One JSON object a line, no key twice, and the same facts on every line of a plugin.
#[test]
fn every_log_line_is_one_json_object() {
    let world = World::new();
    let mut anklet = world.start(&world.config(1));
    let job = world.github.create_job(world.job());
    world.github.wait_completed(job, crate::support::LIMIT);
    anklet.wait_message("job completed");
    anklet.signal("TERM");
    let (_, lines) = anklet.wait_end_and_lines();
    for line in &lines {
        let line = line.0.as_object().unwrap_or_else(|| panic!("not an object: {:?}", line.0));
        assert!(
            line.contains_key("time") && line.contains_key("level") && line.contains_key("msg"),
            "{line:?}"
        );
        assert!(line.contains_key("attributes") != line.contains_key("version"), "{line:?}");
    }
    let claimed = lines.iter().find(|line| line.message() == "queued job found").unwrap();
    assert_eq!(
        claimed.0["attributes"],
        json!({"name": "HANDLER1", "plugin": "github", "owner": "acme", "repo": "app", "enterprise": ""})
    );
    assert_eq!(claimed.0["workflowJobID"], json!(job));
    let received = lines.iter().find(|line| line.message() == "job pushed to queued queue").unwrap();
    assert_eq!(received.0["attributes"]["name"], "RECEIVER");
    assert_eq!(received.0["repository"], "acme/app");
    assert!(received.0["deliveryID"].is_string());
}
