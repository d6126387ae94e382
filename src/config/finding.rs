//! What there is to say about a config: each problem and each warning with its file, line, plugin and key.

use std::fmt;
use std::path::{Path, PathBuf};

use log::Level;

/// What a problem is logged as unless it has a message of its own. Operators' alarms look for it.
pub(crate) const UNABLE: &str = "unable to load config.yml";

/// What a warning is logged as.
const WARNING: &str = "config warning";

/// More findings of a sort than this help nobody.
const MOST_FINDINGS: usize = 100;

/// One thing to say about the config. It never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The log message; one of those that alarms are built on.
    pub(crate) message: &'static str,
    /// The config file.
    pub(crate) file: PathBuf,
    /// Where the value stands.
    pub(crate) origin: Origin,
    /// The plugin concerned.
    pub(crate) plugin: Option<String>,
    /// The key concerned, with those around it; empty if it is the file as a whole.
    pub(crate) key: String,
    /// What is wrong and what to write instead.
    pub(crate) what: String,
}

/// Where a value stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Origin {
    /// In the file, but the line is not known; or nowhere.
    #[default]
    File,
    /// In the file, on this line (from 1).
    Line(usize),
    /// In this environment variable.
    Environment(String),
}

impl From<Option<usize>> for Origin {
    fn from(line: Option<usize>) -> Self {
        line.map_or(Self::File, Self::Line)
    }
}

impl Finding {
    /// Writes the finding to the log.
    pub(crate) fn log(&self, level: Level) {
        let line = if let Origin::Line(line) = self.origin { Some(line) } else { None };
        let file = self.file.to_string_lossy();
        let plugin = self.plugin.as_deref();
        let what = self.what_and_source();
        log::log!(level, file = *file, line = line, plugin = plugin, key = self.key, error = what; "{}", self.message);
    }

    fn what_and_source(&self) -> String {
        match &self.origin {
            Origin::Environment(name) => format!("{} (from the environment variable {name})", self.what),
            Origin::File | Origin::Line(_) => self.what.clone(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Origin::Line(line) = self.origin {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if ![UNABLE, WARNING].contains(&self.message) {
            write!(f, "{}: ", self.message)?;
        }
        if let Some(plugin) = &self.plugin {
            write!(f, "plugin {plugin}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "`{}` ", self.key)?;
        }
        f.write_str(&self.what_and_source())
    }
}

/// Collects findings while the config is read, so that all are reported at once.
pub(super) struct Findings {
    file: PathBuf,
    pub(super) problems: Vec<Finding>,
    pub(super) warnings: Vec<Finding>,
}

/// The place a finding is about.
#[derive(Clone, Debug, Default)]
pub(super) struct At<'a> {
    pub(super) origin: Origin,
    pub(super) plugin: Option<&'a str>,
    pub(super) key: &'a str,
}

impl Findings {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), problems: Vec::new(), warnings: Vec::new() }
    }

    pub(super) fn problem(&mut self, at: At<'_>, what: impl Into<String>) {
        self.problem_named(UNABLE, at, what);
    }

    /// A problem whose message operators know.
    pub(super) fn problem_named(&mut self, message: &'static str, at: At<'_>, what: impl Into<String>) {
        let finding = self.finding(message, at, what.into());
        add(&mut self.problems, finding);
    }

    /// Whether something is wrong with this key of this plugin already.
    pub(super) fn has_problem(&self, plugin: Option<&str>, key: &str) -> bool {
        self.problems.iter().any(|problem| problem.plugin.as_deref() == plugin && problem.key == key)
    }

    pub(super) fn warn(&mut self, at: At<'_>, what: impl Into<String>) {
        let finding = self.finding(WARNING, at, what.into());
        add(&mut self.warnings, finding);
    }

    fn finding(&self, message: &'static str, at: At<'_>, what: String) -> Finding {
        Finding {
            message,
            file: self.file.clone(),
            origin: at.origin,
            plugin: at.plugin.map(|name| readable(name, 100)),
            key: readable(at.key, 100),
            what,
        }
    }
}

/// Keeps the first findings; the last one that fits says that there are more. An alias can repeat a finding: it is kept once.
fn add(findings: &mut Vec<Finding>, finding: Finding) {
    if findings.len() >= MOST_FINDINGS || findings.contains(&finding) {
        return;
    }
    if findings.len() == MOST_FINDINGS - 1 {
        let what = "there is more to say than is shown here; mend the above first".to_owned();
        findings.push(Finding { origin: Origin::File, plugin: None, key: String::new(), what, ..finding });
    } else {
        findings.push(finding);
    }
}

/// Text of a stranger's, short and without control characters, fit for a message.
pub(super) fn readable(text: &str, n_characters: usize) -> String {
    let mut characters = text.chars();
    let mut short: String = characters.by_ref().take(n_characters).flat_map(escape).collect();
    if characters.next().is_some() {
        short.push('…');
    }
    short
}

fn escape(c: char) -> std::vec::IntoIter<char> {
    let characters: Vec<char> = if c.is_control() { c.escape_default().collect() } else { vec![c] };
    characters.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_where() {
        let mut findings = Findings::new(Path::new("/c.yml"));
        findings
            .problem(At { origin: Origin::Line(3), plugin: Some("MAC"), key: "port" }, "must be a number");
        findings.warn(At { origin: Origin::Environment("A_B".into()), key: "b", ..At::default() }, "is odd");
        findings.problem_named("log directory does not exist", At::default(), "make it");
        assert_eq!(findings.problems[0].to_string(), "/c.yml:3: plugin MAC: `port` must be a number");
        assert_eq!(
            findings.warnings[0].to_string(),
            "/c.yml: `b` is odd (from the environment variable A_B)"
        );
        assert_eq!(findings.problems[1].to_string(), "/c.yml: log directory does not exist: make it");
    }

    #[test]
    fn findings_end_somewhere() {
        let mut findings = Findings::new(Path::new("/c.yml"));
        for line in 0..1000 {
            findings.warn(At { origin: Origin::Line(line), ..At::default() }, "again");
            findings.warn(At { origin: Origin::Line(0), ..At::default() }, "again");
        }
        assert_eq!(findings.warnings.len(), MOST_FINDINGS);
        assert!(findings.warnings[99].what.contains("more to say"));
    }

    #[test]
    fn strangers_text_is_cut_and_escaped() {
        assert_eq!(readable("a\u{1b}b\nc", 10), "a\\u{1b}b\\nc");
        assert_eq!(readable("äöü", 2), "äö…");
    }
}
