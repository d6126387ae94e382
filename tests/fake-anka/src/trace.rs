//! What happened, one JSON object a line, appended by every process of this stand-in. Tests assert on it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::now_ms;

/// One line of `trace.jsonl`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TraceLine {
    /// Milliseconds since 1970, with a fraction.
    pub at_ms: f64,
    /// `start` and `end` of a command; `hang` when it does as it was planned to; `vm` when a VM changes; `rule` when one is used; `guest` for a tool run in a
    /// VM; `job` and `job end` when a runner takes a job and lets go of it; `corruption` when a pull met another pull or a clone.
    pub event: String,
    /// The process that wrote the line.
    pub pid: u32,
    /// The verb, `registry pull` in two words; a guest tool is `guest NAME`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub verb: String,
    /// Arguments after the program's name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
    /// UUID of the VM it was about.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub vm: String,
    /// Exit code, on `end`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// Facts of the event: `env`, `env_outside`, `stdin` on `start`; `stdin_bytes`, `message` on `end`; `to`,
    /// `cpu_cores`, `ram_size` on `vm`; `job_id` on `job` and `job end`.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl TraceLine {
    /// A line about something of the present.
    pub(crate) fn new(event: &str, verb: &str) -> Self {
        let pid = std::process::id();
        Self { at_ms: now_ms(), event: event.into(), pid, verb: verb.into(), ..Self::default() }
    }

    /// Adds a fact.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.more.insert(key.into(), value.into());
        self
    }

    /// The text of the fact `key`, empty when missing.
    pub fn text(&self, key: &str) -> &str {
        self.more.get(key).and_then(Value::as_str).unwrap_or("")
    }
}

/// Appends in one write, so that lines of several processes never mix.
pub(crate) fn append(file: &Path, line: &TraceLine) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    OpenOptions::new().append(true).create(true).open(file)?.write_all(&text)
}

/// Every line so far; a missing file has none.
pub(crate) fn read(file: &Path) -> Vec<TraceLine> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
