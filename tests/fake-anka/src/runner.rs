//! A guest's `config.sh`: checks its options as the real one does and registers at the stand-in GitHub.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::archive;
use crate::http;

const SWITCHES: [&str; 5] = ["unattended", "no-default-labels", "ephemeral", "disableupdate", "replace"];
const OPTIONS: [&str; 6] = ["url", "token", "name", "labels", "runnergroup", "work"];

/// Prints for whoever still listens; a service's reader may be long gone.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// `config.sh …` and `config.sh remove --token T` in the runner's folder `dir`.
pub(crate) fn config(dir: &Path, version: &str, argv: &[String]) -> u8 {
    let result = match argv.split_first() {
        _ if env::var_os("FAKE_SUDO").is_some() => Err("Must not run with sudo".to_string()),
        Some((word, rest)) if word == "remove" => remove(dir, rest),
        _ => register(dir, version, argv),
    };
    match result {
        Ok(()) => 0,
        Err(text) => {
            let _ = writeln!(io::stderr(), "{text}");
            1
        }
    }
}

/// Options by name; a switch's value is `true`. Each may also come as `ACTIONS_RUNNER_INPUT_NAME`.
fn read(argv: &[String]) -> Result<BTreeMap<String, String>, String> {
    let mut given = BTreeMap::new();
    for name in SWITCHES.iter().chain(&OPTIONS) {
        let variable = format!("ACTIONS_RUNNER_INPUT_{}", name.to_uppercase().replace('-', ""));
        if let Ok(value) = env::var(variable) {
            given.insert(name.to_string(), value);
        }
    }
    let mut rest = argv.iter().peekable();
    while let Some(word) = rest.next() {
        let name = word.strip_prefix("--").unwrap_or("");
        if SWITCHES.contains(&name) {
            given.insert(name.into(), "true".into());
        } else if OPTIONS.contains(&name) {
            // The real parser takes a word with two dashes for the next option, whatever was meant.
            let value = rest.next_if(|value| !value.starts_with("--"));
            given.insert(name.into(), value.ok_or_else(|| format!("Missing value for --{name}"))?.clone());
        } else {
            return Err(format!(
                "Unrecognized command-line input arguments: '{word}'. For usage refer to: ./config.sh --help"
            ));
        }
    }
    Ok(given)
}

fn register(dir: &Path, version: &str, argv: &[String]) -> Result<(), String> {
    let given = read(argv)?;
    let get = |name: &str| given.get(name).map(String::as_str);
    let need = |name: &str| {
        get(name).filter(|value| !value.is_empty()).ok_or(format!(
            "Invalid configuration provided for {name}. Terminating unattended configuration."
        ))
    };
    if get("unattended") != Some("true") {
        return Err("This configuration would ask questions; nobody is there to answer.".into());
    }
    if dir.join(".runner").exists() {
        return Err(
            "Cannot configure the runner because it is already configured. To reconfigure the runner, run \
                    'config.cmd remove' or './config.sh remove' first."
                .into(),
        );
    }
    let (url, token, name) = (need("url")?, need("token")?, need("name")?);
    let given_labels =
        get("labels").unwrap_or("").split(',').map(str::trim).filter(|label| !label.is_empty());
    let mut labels: Vec<&str> = if get("no-default-labels") == Some("true") {
        need("labels")?;
        Vec::new()
    } else {
        vec!["self-hosted", "macOS", "ARM64"]
    };
    labels.extend(given_labels);
    if let Some(label) = labels.iter().find(|label| label.len() > 256) {
        return Err(format!("Label '{label}' is longer than 256 characters"));
    }
    let ephemeral = get("ephemeral") == Some("true");
    let wish = json!({
        "url": url, "token": token, "name": name, "labels": labels, "group": get("runnergroup"),
        "ephemeral": ephemeral, "version": version, "replace": get("replace") == Some("true"),
    });
    let answer = call("POST", &format!("{}/_fake/runners", origin(url)?), &wish)?;
    let id = answer["id"].as_u64().ok_or("no runner id in the answer")?;
    let about = json!({
        "agentId": id, "agentName": name, "poolId": 1, "poolName": get("runnergroup").unwrap_or("Default"),
        "serverUrl": url, "gitHubUrl": url, "workFolder": get("work").unwrap_or("_work"),
        "ephemeral": ephemeral, "disableUpdate": get("disableupdate") == Some("true"),
    });
    keep(dir, version, &about).map_err(|error| error.to_string())?;
    say("√ Runner successfully added\n√ Settings Saved.");
    Ok(())
}

/// The files of a configured runner; `.runner` begins with a byte order mark, as the real one does.
fn keep(dir: &Path, version: &str, about: &Value) -> io::Result<()> {
    fs::write(dir.join(".runner"), format!("\u{feff}{about:#}"))?;
    archive::write(&dir.join(".credentials"), "\u{feff}{\"scheme\":\"OAuth\"}", 0o600)?;
    let service = fs::read_to_string(dir.join("bin/darwin.svc.sh.template"))?;
    archive::write(&dir.join("svc.sh"), &service, 0o755)?;
    diagnose(dir, &format!("Runner {version} configured"));
    Ok(())
}

/// Writes a line of the diagnostics that the real program keeps in `_diag`.
pub(crate) fn diagnose(dir: &Path, text: &str) {
    let diag = dir.join("_diag");
    let _ = fs::create_dir_all(&diag);
    let file =
        fs::OpenOptions::new().append(true).create(true).open(diag.join("Runner_20260101-000000-utc.log"));
    if let Ok(mut file) = file {
        let _ = writeln!(file, "[{} INFO Runner] {text}", crate::clock::now_text());
    }
}

fn remove(dir: &Path, argv: &[String]) -> Result<(), String> {
    let given = read(argv)?;
    let token = given.get("token").ok_or("Missing value for --token")?;
    let about = settings(dir)?;
    let (name, url) = (about.text("agentname"), about.text("githuburl"));
    let wish = json!({"url": url, "token": token, "name": name});
    call("DELETE", &format!("{}/_fake/runners", origin(&url)?), &wish)?;
    forget(dir);
    say("√ Runner removed successfully\n√ Removed .credentials\n√ Removed .runner");
    Ok(())
}

/// What `.runner` says, its keys in lower case: the real program does not mind how they are written either.
pub(crate) struct Settings(Map<String, Value>);

impl Settings {
    /// The value of a key as text; numbers and truth values may be written as either.
    pub(crate) fn text(&self, key: &str) -> String {
        match self.0.get(key) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        }
    }
}

/// Reads `.runner`.
pub(crate) fn settings(dir: &Path) -> Result<Settings, String> {
    let text = fs::read_to_string(dir.join(".runner"))
        .map_err(|_| "Not configured. Run config.(sh/cmd) to configure the runner.".to_string())?;
    let document: Map<String, Value> =
        serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| error.to_string())?;
    Ok(Settings(document.into_iter().map(|(key, value)| (key.to_lowercase(), value)).collect()))
}

/// Removes the configuration, as an ephemeral runner does after its job.
pub(crate) fn forget(dir: &Path) {
    let _ = fs::remove_file(dir.join(".runner"));
    let _ = fs::remove_file(dir.join(".credentials"));
}

/// Scheme and authority of an address.
pub(crate) fn origin(url: &str) -> Result<String, String> {
    let (authority, _) = http::split(url).map_err(|error| format!("Http response code: {error}"))?;
    Ok(format!("http://{authority}"))
}

/// A request whose answer is JSON; an error answer's `message` is the error.
pub(crate) fn call(method: &str, url: &str, body: &Value) -> Result<Value, String> {
    let answer = http::request(method, url, Some(&body.to_string())).map_err(|error| error.to_string())?;
    let (status, text) = (answer.status, io::read_to_string(answer.body).unwrap_or_default());
    let document: Value = serde_json::from_str(&text).unwrap_or_default();
    if (200..300).contains(&status) {
        return Ok(document);
    }
    Err(document["message"].as_str().map_or(format!("Http response code: {status}"), String::from))
}
