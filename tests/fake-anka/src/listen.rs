//! A guest's `run.sh`: connects to the stand-in GitHub, runs the job it is given, and goes when it is over.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http;
use crate::runner::{call, diagnose, forget, origin, say, settings};
use crate::tools::guest_world;
use crate::trace::TraceLine;

const MOST_TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(200);
/// Longer than any test; a line or the connection's end comes before.
const LONG: Duration = Duration::from_secs(86_400);

/// Who this runner is.
struct Runner<'a> {
    dir: &'a Path,
    version: &'a str,
    origin: String,
    id: u64,
    name: String,
    ephemeral: bool,
}

/// How one connection ended.
enum End {
    Stopped,
    JobOver,
    Lost,
    Refused(String),
}

/// `run.sh [--jitconfig B64] [--once]`; ends with 0 for nearly every end, as the real one does.
pub(crate) fn run(dir: &Path, version: &str, argv: &[String]) -> u8 {
    match prepare(dir, version, argv).map(|runner| runner.serve()) {
        Ok(()) => 0,
        Err(text) => {
            say(&text);
            1
        }
    }
}

fn prepare<'a>(dir: &'a Path, version: &'a str, argv: &[String]) -> Result<Runner<'a>, String> {
    let words: Vec<&str> = argv.iter().map(String::as_str).collect();
    let from_environment = std::env::var("ACTIONS_RUNNER_INPUT_JITCONFIG").ok();
    match (words.as_slice(), &from_environment) {
        (["--jitconfig", encoded], _) => unpack(dir, encoded)?,
        ([], Some(encoded)) => unpack(dir, encoded)?,
        ([] | ["--once"], None) => {}
        _ => return Err(format!("Unrecognized command-line input arguments: '{}'", words.join(" "))),
    }
    let about = settings(dir)?;
    Ok(Runner {
        dir,
        version,
        origin: origin(&about.text("githuburl"))?,
        id: about.text("agentid").parse().map_err(|_| ".runner names no agentId")?,
        name: about.text("agentname"),
        // A single-use configuration says nothing about it and is ephemeral all the same.
        ephemeral: !about.text("ephemeral").eq_ignore_ascii_case("false") || words.contains(&"--once"),
    })
}

/// Writes the files of a single-use configuration beside the program.
fn unpack(dir: &Path, encoded: &str) -> Result<(), String> {
    let broken = || "The --jitconfig value is not a valid configuration".to_string();
    let text = base64(encoded).ok_or_else(broken)?;
    let files: serde_json::Map<String, Value> = serde_json::from_slice(&text).map_err(|_| broken())?;
    for (name, content) in files {
        let content = content.as_str().and_then(base64).filter(|_| !name.contains('/')).ok_or_else(broken)?;
        std::fs::write(dir.join(name), content).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Decodes standard base64; white space and padding are skipped.
fn base64(text: &str) -> Option<Vec<u8>> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut n_bits) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let digit = DIGITS.iter().position(|digit| *digit == byte)? as u32;
        bits = bits << 6 | digit;
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push((bits >> n_bits) as u8);
            bits &= (1 << n_bits) - 1;
        }
    }
    Some(bytes)
}

impl Runner<'_> {
    fn serve(&self) {
        let mut n_tries = 0;
        say("√ Connected to GitHub\n");
        say(&format!("Current runner version: '{}'", self.version));
        while n_tries < MOST_TRIES {
            let connected_at = Instant::now();
            match self.listen() {
                End::Stopped => return,
                End::JobOver if self.ephemeral => {
                    forget(self.dir);
                    return;
                }
                End::JobOver => n_tries = 0,
                End::Refused(text) => {
                    say(&text);
                    return;
                }
                End::Lost => {
                    // A connection that held for a while was a good one.
                    n_tries = if connected_at.elapsed() > BETWEEN_TRIES { 1 } else { n_tries + 1 };
                    say("Runner connect error. Retrying until reconnected.");
                    thread::sleep(BETWEEN_TRIES);
                }
            }
        }
    }

    fn listen(&self) -> End {
        let url = format!("{}/_fake/runners/{}/listen", self.origin, self.id);
        let who = json!({"name": self.name, "version": self.version}).to_string();
        let Ok(answer) = http::request("POST", &url, Some(&who)) else { return End::Lost };
        // A conflict is our own session that GitHub has not given up yet.
        if answer.status >= 500 || answer.status == 409 {
            return End::Lost;
        }
        if answer.status >= 300 {
            return End::Refused(format!("Failed to create a session: {}", answer.status));
        }
        let events = lines_of(answer.body);
        loop {
            let Ok(event) = events.recv() else { return End::Lost };
            match event["event"].as_str() {
                Some("online") => self.log("Listening for Jobs"),
                Some("job") => return self.work(&event, &events),
                Some("stop") => return End::Stopped,
                _ => {}
            }
        }
    }

    /// Runs the job for as long as it says, unless told to stop.
    fn work(&self, job: &Value, events: &Receiver<Value>) -> End {
        let id = &job["job_id"];
        self.log(&format!("Running job: {id}"));
        trace("job", id);
        let ends_at = Instant::now() + job["steps_ms"].as_u64().map_or(LONG, Duration::from_millis);
        let mut conclusion = job["conclusion"].as_str().unwrap_or("success");
        loop {
            let left = ends_at.saturating_duration_since(Instant::now());
            match events.recv_timeout(left) {
                Ok(event) if event["event"] == "stop" => {
                    trace("job end", id);
                    return End::Stopped;
                }
                Ok(event) if event["event"] == "cancel" => {
                    conclusion = "cancelled";
                    break;
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    thread::sleep(left);
                    break;
                }
            }
        }
        trace("job end", id);
        let url = format!("{}/_fake/jobs/{id}/done", self.origin);
        let result = json!({"runner": self.name, "conclusion": conclusion});
        for _ in 0..MOST_TRIES {
            if call("POST", &url, &result).is_ok() {
                break;
            }
            thread::sleep(BETWEEN_TRIES);
        }
        self.log(&format!("Job {id} completed with result: {conclusion}"));
        End::JobOver
    }

    fn log(&self, text: &str) {
        say(&format!("{}: {text}", crate::clock::now_text()));
        diagnose(self.dir, text);
    }
}

/// Notes in the trace that a job begins or ends in this VM.
fn trace(event: &str, job: &Value) {
    if let Ok((world, uuid)) = guest_world() {
        let line = TraceLine::new(event, "guest run.sh").with("job_id", job.clone());
        world.trace(&TraceLine { vm: uuid, ..line });
    }
}

/// One document a line, read in a thread so that waiting for the next one can have a limit.
fn lines_of(body: http::Body) -> Receiver<Value> {
    let (sender, receiver) = channel();
    let read = move || {
        for line in BufReader::new(body).lines().map_while(Result::ok) {
            let Ok(event) = serde_json::from_str(&line) else { continue };
            if sender.send(event).is_err() {
                break;
            }
        }
    };
    // Without the thread the channel is closed at once, which reads as a lost connection.
    let _ = thread::Builder::new().name("events".into()).spawn(read);
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(encoded: &str, expected: Option<&str>) {
        assert_eq!(base64(encoded).as_deref(), expected.map(str::as_bytes), "{encoded}");
    }

    #[test]
    fn base64_is_read_with_and_without_padding() {
        check("", Some(""));
        check("YQ==", Some("a"));
        check("YWI", Some("ab"));
        check("YWJj\nZA==", Some("abcd"));
        check("Y!", None);
    }
}
