//! How it looks: plain text of at most 100 columns, with colours on a terminal only.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use anklet_plugin_api::time::Moment;

use crate::events::{Event, Step};
use crate::scene::NAMES;
use crate::theatre::Theatre;

/// A colour for each job: green, yellow, cyan.
const COLOURS: [&str; 3] = ["\x1b[32m", "\x1b[33m", "\x1b[36m"];
const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// The rows of the table.
const ROWS: [Step; 9] = [
    Step::Received,
    Step::Stored,
    Step::Claimed,
    Step::Cloned,
    Step::Started,
    Step::Registered,
    Step::InProgress,
    Step::Completed,
    Step::Cleaned,
];

/// How many lines of the log a failure shows.
const N_LAST_LINES: usize = 40;

pub(crate) struct Page {
    is_coloured: bool,
    started_at: Instant,
}

impl Page {
    #[allow(clippy::disallowed_methods, reason = "a program for the terminal asks what the terminal can")]
    pub(crate) fn new() -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let is_coloured = io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb;
        Self { is_coloured, started_at: Instant::now() }
    }

    pub(crate) fn prologue(&self) -> io::Result<()> {
        self.put("")?;
        self.put(&self.painted(BOLD, "Anklet gives every GitHub Actions job a fresh macOS VM on a Mac of your own, and takes it away again."))?;
        self.put("Here the real program plays the whole of it. Only GitHub, the `anka` command and the Mac are stand-ins.")?;
        self.put("The Mac has one VM slot in this config; three jobs want it:")?;
        self.put("")?;
        self.put(&format!("  {}  takes the straight way and succeeds", self.name(0)))?;
        self.put(&format!("  {}  is cancelled by its author while it waits", self.name(1)))?;
        self.put(&format!("  {}  gets a VM that does not start, and so a second one", self.name(2)))?;
        self.put("")?;
        self.put("seconds  job    stage        what happens")?;
        self.put("-------  -----  -----------  ------------")
    }

    pub(crate) fn event(&self, event: &Event, began_at: Moment) -> io::Result<()> {
        let seconds = event.at.since(began_at).as_secs_f64();
        let stage = match event.step {
            Step::Fails | Step::GivenBack => self.painted(RED, &format!("{:<11}", word(event.step))),
            _ => format!("{:<11}", word(event.step)),
        };
        self.put(&format!("{seconds:>7.3}  {}  {stage}  {}", self.name(event.job), event.text))
    }

    /// The same as numbers: each job's stages, from the moment GitHub made it. Of two tries the second.
    pub(crate) fn table(&self, events: &[Event], created_at: &[Moment]) -> io::Result<()> {
        self.put("")?;
        self.put(
            &self.painted(BOLD, "Each stage in seconds after the job was created (of two tries the second)"),
        )?;
        let names =
            NAMES.iter().zip(COLOURS).map(|(name, colour)| self.painted(colour, &format!("{name:>9}")));
        self.put(&format!("             {}", names.collect::<String>()))?;
        for row in ROWS {
            let cells = created_at.iter().enumerate().map(|(job, created_at)| {
                let last = events.iter().rfind(|event| event.job == job && event.step == row);
                last.map_or(format!("{:>9}", "-"), |event| {
                    format!("{:>9.3}", event.at.since(*created_at).as_secs_f64())
                })
            });
            self.put(&format!("  {:<11}{}", word(row), cells.collect::<String>()))?;
        }
        Ok(())
    }

    pub(crate) fn checks(&self, checks: &[(&str, bool)]) -> io::Result<()> {
        self.put("")?;
        self.put(&self.painted(BOLD, "Is it as it should be?"))?;
        for (what, holds) in checks {
            let mark = if *holds { self.painted(COLOURS[0], "yes") } else { self.painted(RED, "NO ") };
            self.put(&format!("  {mark}  {what}"))?;
        }
        Ok(())
    }

    /// The last words, after everything went well.
    pub(crate) fn end(&self) -> Result<(), crate::Cut> {
        self.put(&format!(
            "  {}  anklet stopped when asked to, with exit code 0",
            self.painted(COLOURS[0], "yes")
        ))?;
        self.put("")?;
        let seconds = self.started_at.elapsed().as_secs_f64();
        self.put(&format!(
            "All three jobs ended as they should, in {seconds:.1} s. Nothing was left on this computer."
        ))?;
        self.put("Next: README.md, how to set up a Mac.")?;
        Ok(())
    }

    /// What a maintainer wants to see after a failure; the folder with the logs will be gone.
    pub(crate) fn failure(&self, theatre: &Theatre) -> io::Result<()> {
        self.put("")?;
        self.put(&self.painted(RED, "The last lines of anklet's log:"))?;
        let lines = theatre.lines();
        for line in lines.iter().skip(lines.len().saturating_sub(N_LAST_LINES)) {
            self.put(&line.0.to_string())?;
        }
        self.put("")?;
        self.put(&self.painted(RED, "GitHub's side:"))?;
        self.put(&theatre.world.github.story())
    }

    fn name(&self, job: usize) -> String {
        self.painted(COLOURS[job], &format!("{:<5}", NAMES[job]))
    }

    fn painted(&self, colour: &str, text: &str) -> String {
        if self.is_coloured { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
    }

    fn put(&self, text: &str) -> io::Result<()> {
        writeln!(io::stdout().lock(), "{text}")
    }
}

fn word(step: Step) -> &'static str {
    match step {
        Step::Received => "received",
        Step::Stored => "stored",
        Step::Waits => "waits",
        Step::Claimed => "claimed",
        Step::Cloned => "cloned",
        Step::Started => "started",
        Step::Fails => "fails",
        Step::Registered => "registered",
        Step::InProgress => "in progress",
        Step::Cancelled => "cancelled",
        Step::Completed => "completed",
        Step::Cleaned => "cleaned",
        Step::GivenBack => "given back",
        Step::Over => "over",
    }
}
