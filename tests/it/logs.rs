//! Where lines go and how they look: a file for each plugin, and the layout for people.

use std::fs;

use serde_json::Value;

use crate::support::{LIMIT, World, bare};

fn lines_of(world: &World, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(world.home.path().join(file)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn has(lines: &[Value], message: &str) -> bool {
    lines.iter().any(|line| line["msg"] == message)
}

/// What plugins say is in their files and nowhere else; a second start goes on writing behind the first.
#[test]
fn each_plugin_writes_to_a_file_of_its_own() {
    let world = World::new();
    fs::create_dir_all(world.home.path().join("logs")).unwrap();
    let logs = world.home.path().join("logs").display().to_string();
    for (config, folder) in [
        (format!("log: {{file_dir: \"{logs}\", split_by_plugin: true}}\n"), "logs/"),
        ("log: {split_by_plugin: true}\n".to_owned(), ""),
    ] {
        for n_start in 1..=2 {
            let anklet = world.spawn(&(world.config(1) + &config));
            let (handler, receiver) =
                (format!("{folder}anklet-HANDLER1.log"), format!("{folder}anklet-RECEIVER.log"));
            anklet.wait_for("both plugins", || {
                let n_lines = |file: &str, message: &str| {
                    lines_of(&world, file).iter().filter(|line| line["msg"] == message).count()
                };
                n_lines(&receiver, "receiver finished starting") == n_start
                    && n_lines(&handler, "starting github plugin") == n_start
            });
            let job = world.github.create_job(world.job());
            assert_eq!(world.github.wait_completed(job, LIMIT).conclusion.as_deref(), Some("success"));
            anklet.wait_for("the job's end", || {
                lines_of(&world, &handler).iter().filter(|line| line["msg"] == "job completed").count()
                    == n_start
            });
            anklet.signal("TERM");
            let mut anklet = anklet;
            let (status, lines) = anklet.wait_end_and_lines();
            assert_eq!(status.code(), Some(0));
            assert!(lines.iter().all(|line| line.0["attributes"].is_null()), "no line of a plugin is here");
            assert!(lines.iter().any(|line| line.message() == "starting anklet"));
            for (file, name) in [(&handler, "HANDLER1"), (&receiver, "RECEIVER")] {
                let lines = lines_of(&world, file);
                assert!(lines.iter().all(|line| line["attributes"]["name"] == name));
            }
            assert!(has(&lines_of(&world, &receiver), "job pushed to queued queue"));
        }
    }
}

#[test]
fn a_log_file_that_cannot_be_opened_is_an_error_at_the_start() {
    let world = World::new();
    fs::create_dir_all(world.home.path().join("anklet-HANDLER1.log")).unwrap();
    let mut anklet = world.spawn(&(world.config(1) + "log: {split_by_plugin: true}\n"));
    let (status, lines) = anklet.wait_end_and_lines();
    assert_eq!(status.code(), Some(1));
    let line = lines.iter().find(|line| line.message() == "unable to update logger to file").unwrap();
    assert!(line.0["file"].as_str().unwrap().ends_with("anklet-HANDLER1.log"));
}

/// A line for each fact, and still one JSON object after the other.
#[test]
fn the_layout_for_people() {
    for level in ["DEBUG-PRETTY", "dev"] {
        let world = World::new();
        let mut command = bare("/bin/sh");
        command.args([
            "-c",
            &format!("LOG_LEVEL={level} exec {} \"$@\"", env!("CARGO_BIN_EXE_anklet")),
            "sh",
        ]);
        let mut anklet = world.spawn_with(&world.config(1), command);
        anklet.wait_lines("the handler", |lines| {
            lines
                .iter()
                .any(|line| line.0.as_str().is_some_and(|text| text.contains("starting github plugin")))
        });
        anklet.signal("TERM");
        let (status, lines) = anklet.wait_end_and_lines();
        assert_eq!(status.code(), Some(0));
        let text: Vec<_> = lines
            .iter()
            .map(|line| line.0.as_str().map_or_else(|| line.0.to_string(), str::to_owned))
            .collect();
        let text = text.join("\n");
        assert!(text.contains("\n  \"msg\": \"starting anklet\",\n"), "{text}");
        let objects: Vec<Value> =
            serde_json::Deserializer::from_str(&text).into_iter().collect::<Result<_, _>>().unwrap();
        assert!(has(&objects, "anka command"), "the level is debug");
        assert!(objects.iter().all(|line| line["time"].is_string() && line["level"].is_string()));
    }
}
