//! What may be written on the command line. One table of flags and commands feeds the parser and `--help`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use anklet_plugin_api::job::JobId;
use lexopt::{Arg, Parser};
use thiserror::Error;

use crate::init::{Role, Wishes};
use crate::similar::nearest;

/// Exit code when all went well.
pub(crate) const EXIT_OK: u8 = 0;
/// Exit code when something failed: the config, the start, a plugin.
pub(crate) const EXIT_FAILURE: u8 = 1;
/// Exit code when the command line was wrong; nothing was done.
pub(crate) const EXIT_USAGE: u8 = 2;

/// A flag.
#[derive(Debug)]
pub(crate) struct Flag {
    /// Its names without dashes, the usual one first. A name of one letter takes one dash.
    pub(crate) names: &'static [&'static str],
    /// What follows it, if something does.
    pub(crate) value: Option<&'static str>,
    /// What it does.
    pub(crate) meaning: &'static str,
}

/// A word that makes the program do something else than run.
#[derive(Debug)]
pub(crate) struct Command {
    /// The word; empty for none.
    pub(crate) name: &'static str,
    /// What may follow it, beside `-c FILE`.
    pub(crate) arguments: &'static str,
    /// What it does.
    pub(crate) meaning: &'static str,
}

/// All flags; each may stand before or behind the command.
pub(crate) const FLAGS: &[Flag] = &[
    Flag {
        names: &["c", "config"],
        value: Some("FILE"),
        meaning: "use this config instead of ~/.config/anklet/config.yml",
    },
    Flag { names: &["ask-github"], value: None, meaning: "init: try whether the token may register runners" },
    Flag { names: &["h", "help"], value: None, meaning: "show this help and exit" },
    Flag { names: &["json"], value: None, meaning: "answer in JSON (status, why, queue list, queue show)" },
    Flag { names: &["owner"], value: Some("NAME"), meaning: "init: the organization or user at GitHub" },
    Flag { names: &["port"], value: Some("N"), meaning: "init: where the receiver listens, else 54321" },
    Flag { names: &["redis"], value: Some("HOST[:PORT]"), meaning: "init: the Redis that machines share" },
    Flag { names: &["repo"], value: Some("NAME"), meaning: "init: only this repository of the owner" },
    Flag { names: &["role"], value: Some("ROLE"), meaning: "init: receiver, handler or both" },
    Flag { names: &["version"], value: None, meaning: "show the version and exit" },
    Flag { names: &["y", "yes"], value: None, meaning: "do not ask: change it; init: take what is usual" },
];

/// All commands.
pub(crate) const COMMANDS: &[Command] = &[
    Command { name: "", arguments: "", meaning: "run the plugins of the config, in the foreground" },
    Command {
        name: "check",
        arguments: "",
        meaning: "read the config, look at anka, the store and the credentials, say what is wrong, and exit",
    },
    Command {
        name: "init",
        arguments: "[--owner NAME] [--yes] …",
        meaning: "ask what a first config needs, write it, and say what is left to do",
    },
    Command {
        name: "status",
        arguments: "[--json]",
        meaning: "show the plugins of every host, what each holds and how far it is, and what waits",
    },
    Command {
        name: "why",
        arguments: "JOB [--json]",
        meaning: "say where a job is, why it waits and what would end the wait; JOB is its number or address",
    },
    Command {
        name: "queue",
        arguments: "ACTION [JOB] [--json] [--yes]",
        meaning: "list jobs, or show, retry, cancel or remove one; `queue list` needs no JOB",
    },
    Command {
        name: "drain",
        arguments: "[--yes]",
        meaning: "let this host take no new jobs; running ones go on",
    },
    Command { name: "resume", arguments: "[--yes]", meaning: "end what `drain` began" },
];

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Run, with the config of `-c`.
    Run {
        /// `-c`.
        config: Option<PathBuf>,
    },
    /// `check`.
    Check {
        /// `-c`.
        config: Option<PathBuf>,
    },
    /// `init`.
    Init {
        /// What its flags said.
        wishes: Wishes,
        /// `-c`.
        config: Option<PathBuf>,
    },
    /// A command that looks at the queue or changes it by hand.
    Tool {
        /// Which.
        tool: Tool,
        /// `-c`.
        config: Option<PathBuf>,
    },
    /// `--help`.
    Help,
    /// `--version`.
    Version,
}

/// A command that looks at the queue or changes it by hand.
#[derive(Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the command of its name with its flags")]
pub(crate) enum Tool {
    Status { json: bool },
    Why { job: JobId, json: bool },
    Queue { action: QueueAction, json: bool, yes: bool },
    Drain { yes: bool },
    Resume { yes: bool },
}

/// The word behind `queue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the action of its name")]
pub(crate) enum QueueAction {
    List,
    Show(JobId),
    Retry(JobId),
    Cancel(JobId),
    Remove(JobId),
}

/// A command line that cannot be understood. The text says what to write.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum UsageError {
    /// No such flag.
    #[error("there is no flag `{0}`{meant} `anklet --help` lists those there are", meant = meant_flag(.0))]
    UnknownFlag(String),
    /// No such command.
    #[error("there is no command `{0}`{meant} `anklet --help` lists those there are{config}", meant = meant_command(.0), config = config_hint(.0))]
    UnknownCommand(String),
    /// Two commands.
    #[error("`{0}` is one word too many: write one command")]
    TooMany(String),
    /// A command without its job.
    #[error("`{0}` needs a job: write its number or its address at GitHub behind it")]
    NoJob(String),
    /// A job that is none.
    #[error("`{0}` is no job: write its number, or its address at GitHub (…/actions/runs/RUN/job/NUMBER)")]
    NotAJob(String),
    /// `queue` with something else.
    #[error("`queue` needs one of list, show, retry, cancel and remove behind it{not}", not = not_word(.0))]
    NoAction(String),
    /// A flag of another command.
    #[error("`{flag}` does not go with {}", called(command))]
    NotWith {
        /// The flag.
        flag: &'static str,
        /// The command.
        command: String,
    },
    /// Nothing after a flag that needs something.
    #[error("`{0}` needs a value behind it: write `{0} {1}`")]
    MissingValue(String, &'static str),
    /// A value that is none of the flag's.
    #[error("`--{flag}` cannot be `{value}`: {why}")]
    WrongValue {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: String,
        /// What to write.
        why: &'static str,
    },
    /// Something after a flag that needs nothing.
    #[error("`{0}` takes no value: write it alone")]
    UnwantedValue(String),
    /// `-c` twice.
    #[error("`-c` is given twice: name one config")]
    Twice,
}

fn meant_flag(flag: &str) -> String {
    let names = FLAGS.iter().flat_map(|flag| flag.names).copied();
    did_you_mean(nearest(names, flag.trim_start_matches('-')).map(dashed))
}

fn meant_command(word: &str) -> String {
    did_you_mean(nearest(COMMANDS.iter().map(|command| command.name), word).map(str::to_owned))
}

fn did_you_mean(name: Option<String>) -> String {
    name.map_or(";".to_owned(), |name| format!(": did you mean `{name}`?"))
}

/// For somebody who forgot `-c`.
fn config_hint(word: &str) -> String {
    let is_path = word.contains(['/', '.']);
    if is_path { format!("; a config is named with `-c {word}`") } else { String::new() }
}

fn not_word(word: &str) -> String {
    if word.is_empty() { String::new() } else { format!(", not `{word}`") }
}

fn called(command: &str) -> String {
    if command.is_empty() { "`anklet` without a command".to_owned() } else { format!("`anklet {command}`") }
}

/// What the arguments, without the program's name, ask for.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, UsageError> {
    let mut parser = Parser::from_args(arguments.into_iter().map(with_two_dashes));
    let mut config = None;
    let mut flags = Flags::default();
    let mut words = Vec::new();
    while let Some(argument) = parser.next().map_err(unexpected)? {
        match argument {
            Arg::Short('c') | Arg::Long("c" | "config") => {
                let missing = UsageError::MissingValue("-c".to_owned(), "FILE");
                let value = parser.value().ok().filter(|value| !value.is_empty()).ok_or(missing)?;
                if config.replace(PathBuf::from(value)).is_some() {
                    return Err(UsageError::Twice);
                }
            }
            Arg::Short('h') | Arg::Long("h" | "help") => return alone(&mut parser, "--help", Request::Help),
            Arg::Long("json") => flags.json = alone(&mut parser, "--json", true)?,
            Arg::Short('y') | Arg::Long("yes") => flags.yes = alone(&mut parser, "--yes", true)?,
            Arg::Long("ask-github") => {
                flags.wishes.asks_github = alone(&mut parser, "--ask-github", true)?;
            }
            Arg::Long(name @ ("owner" | "port" | "redis" | "repo" | "role")) => {
                let flag = FLAGS.iter().find(|flag| flag.names.contains(&name));
                if let Some(flag) = flag {
                    read_wish(flag, &mut parser, &mut flags.wishes)?;
                }
            }
            Arg::Long("version") => return alone(&mut parser, "--version", Request::Version),
            Arg::Short(letter) => return Err(UsageError::UnknownFlag(format!("-{letter}"))),
            Arg::Long(name) => return Err(UsageError::UnknownFlag(format!("--{name}"))),
            Arg::Value(word) => {
                words.push(word.to_string_lossy().into_owned());
            }
        }
    }
    let mut words = words.into_iter();
    let command = words.next().unwrap_or_default();
    let request = match command.as_str() {
        "" => Request::Run { config },
        "check" => Request::Check { config },
        "init" => {
            let yes = std::mem::take(&mut flags.yes);
            Request::Init { wishes: Wishes { yes, ..std::mem::take(&mut flags.wishes) }, config }
        }
        tool => Request::Tool { tool: read_tool(tool, &mut words, &mut flags)?, config },
    };
    match (words.next(), flags) {
        (Some(word), _) => Err(UsageError::TooMany(word)),
        (None, Flags { json: true, .. }) => Err(UsageError::NotWith { flag: "--json", command }),
        (None, Flags { yes: true, .. }) => Err(UsageError::NotWith { flag: "--yes", command }),
        (None, Flags { wishes, .. }) if wishes != Wishes::default() => Err(UsageError::NotWith {
            flag: "--owner, --repo, --role, --redis, --port or --ask-github",
            command,
        }),
        (None, Flags { json: false, yes: false, .. }) => Ok(request),
    }
}

/// Flags that only some commands take: each takes its own away, what is left is too much.
#[derive(Default)]
struct Flags {
    json: bool,
    yes: bool,
    wishes: Wishes,
}

/// A flag of `init` with its value. An empty one says that there is none, where that can be.
fn read_wish(flag: &'static Flag, parser: &mut Parser, wishes: &mut Wishes) -> Result<(), UsageError> {
    let (name, shown) = (flag.names[0], flag.value.unwrap_or_default());
    let value = parser
        .value()
        .map_err(|_| UsageError::MissingValue(dashed(name), shown))?
        .to_string_lossy()
        .into_owned();
    let wrong = |why| UsageError::WrongValue { flag: name, value: value.clone(), why };
    match name {
        "owner" => wishes.owner = Some(value),
        "repo" => wishes.repo = Some(value),
        "redis" => wishes.redis = Some(value),
        "role" => {
            let role = Role::named(&value);
            wishes.role = Some(role.ok_or_else(|| wrong("write receiver, handler or both"))?);
        }
        _ => {
            let port = value.parse().ok().filter(|port| *port > 0);
            wishes.port = Some(port.ok_or_else(|| wrong("write a number from 1 to 65535"))?);
        }
    }
    Ok(())
}

fn read_tool(
    command: &str,
    words: &mut impl Iterator<Item = String>,
    flags: &mut Flags,
) -> Result<Tool, UsageError> {
    let take = std::mem::take::<bool>;
    Ok(match command {
        "status" => Tool::Status { json: take(&mut flags.json) },
        "why" => Tool::Why { job: next_job(words, command)?, json: take(&mut flags.json) },
        "drain" => Tool::Drain { yes: take(&mut flags.yes) },
        "resume" => Tool::Resume { yes: take(&mut flags.yes) },
        "queue" => {
            let action = words.next().unwrap_or_default();
            let mut job = || next_job(words, &format!("queue {action}"));
            let action = match action.as_str() {
                "list" => QueueAction::List,
                "show" => QueueAction::Show(job()?),
                "retry" => QueueAction::Retry(job()?),
                "cancel" => QueueAction::Cancel(job()?),
                "remove" => QueueAction::Remove(job()?),
                _ => return Err(UsageError::NoAction(action)),
            };
            let looks = matches!(action, QueueAction::List | QueueAction::Show(_));
            let (json, yes) = match looks {
                true => (take(&mut flags.json), false),
                false => (false, take(&mut flags.yes)),
            };
            Tool::Queue { action, json, yes }
        }
        other => return Err(UsageError::UnknownCommand(other.to_owned())),
    })
}

fn next_job(words: &mut impl Iterator<Item = String>, command: &str) -> Result<JobId, UsageError> {
    match words.next() {
        Some(word) => job_of(&word).ok_or(UsageError::NotAJob(word)),
        None => Err(UsageError::NoJob(command.to_owned())),
    }
}

/// A job's number, alone or as the end of its address: `…/actions/runs/RUN/job/NUMBER`, with whatever follows `?` or `#`.
fn job_of(word: &str) -> Option<JobId> {
    if let Ok(number) = word.parse() {
        return Some(JobId(number));
    }
    let path = word.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let (before, number) = path.rsplit_once('/')?;
    let is_job = before.ends_with("/job") || before.ends_with("/jobs");
    number.parse().ok().filter(|_| is_job).map(JobId)
}

/// What a flag means that takes no value. `=true` is how Go programs write that it is meant.
fn alone<T>(parser: &mut Parser, flag: &str, meant: T) -> Result<T, UsageError> {
    match parser.optional_value() {
        Some(value) if value != "true" => Err(UsageError::UnwantedValue(flag.to_owned())),
        Some(_) | None => Ok(meant),
    }
}

/// The Go program takes its flags with one dash or two. A long name after one dash gets the second.
fn with_two_dashes(argument: OsString) -> OsString {
    let Some(text) = argument.to_str() else { return argument };
    let Some(rest) = text.strip_prefix('-') else { return argument };
    let name = rest.split('=').next().unwrap_or(rest);
    let is_long_name = FLAGS.iter().any(|flag| flag.names.contains(&name) && name.len() > 1);
    if is_long_name { OsString::from(format!("-{text}")) } else { argument }
}

fn unexpected(error: lexopt::Error) -> UsageError {
    match error {
        lexopt::Error::UnexpectedValue { option, .. } => UsageError::UnwantedValue(option),
        lexopt::Error::UnexpectedOption(option) => UsageError::UnknownFlag(option),
        other => UsageError::UnknownFlag(other.to_string()),
    }
}

/// The width of a usual terminal.
const HELP_COLUMNS: usize = 80;

/// The text in lines of at most so many letters, broken between words.
fn wrapped(text: &str, width: usize) -> impl Iterator<Item = String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines.into_iter()
}

/// Writes what `--help` says.
pub(crate) fn write_help(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "Anklet runs GitHub Actions jobs in ephemeral macOS VMs on your own Macs.\n\nUsage:")?;
    for command in COMMANDS {
        let name = if command.name.is_empty() { String::new() } else { format!(" {}", command.name) };
        let arguments =
            if command.arguments.is_empty() { String::new() } else { format!(" {}", command.arguments) };
        writeln!(out, "  anklet{name}{arguments} [-c FILE]")?;
        wrapped(command.meaning, HELP_COLUMNS - 6).try_for_each(|line| writeln!(out, "      {line}"))?;
    }
    writeln!(out, "\nTo begin: `anklet init`, then `anklet check`, then `anklet`.")?;
    writeln!(out, "\nFlags:")?;
    for flag in FLAGS {
        let names: Vec<_> = flag.names.iter().map(|name| dashed(name)).collect();
        let value = flag.value.map_or(String::new(), |value| format!(" {value}"));
        writeln!(out, "  {:<22} {}", format!("{}{value}", names.join(", ")), flag.meaning)?;
    }
    writeln!(
        out,
        "\nExit codes: {EXIT_OK} all well, {EXIT_FAILURE} something failed, {EXIT_USAGE} wrong command line."
    )?;
    writeln!(out, "More in the manual: man anklet, man anklet.yml")
}

/// Writes what `--version` says: the bare version on the first line, on the second what it was built from, as far as `.ci/archive` said so.
pub(crate) fn write_version(out: &mut dyn Write) -> io::Result<()> {
    let commit = option_env!("ANKLET_COMMIT").unwrap_or("unknown");
    let date = option_env!("ANKLET_DATE").unwrap_or("unknown");
    writeln!(out, "{}\ncommit {commit}, date {date}", env!("CARGO_PKG_VERSION"))
}

fn dashed(name: &str) -> String {
    if name.len() == 1 { format!("-{name}") } else { format!("--{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<Request, &str>) {
        let parsed = parse(line.split_whitespace().map(OsString::from));
        match (&parsed, &expected) {
            (Ok(request), Ok(expected)) => assert_eq!(request, expected, "{line}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{line}: {error}"),
            _ => panic!("{line}: {parsed:?} is not {expected:?}"),
        }
    }

    fn run(config: &str) -> Result<Request, &'static str> {
        Ok(Request::Run { config: Some(config.into()) })
    }

    #[test]
    fn every_spelling_is_understood() {
        check("", Ok(Request::Run { config: None }));
        for spelling in
            ["-c a.yml", "-c=a.yml", "--c a.yml", "--c=a.yml", "-ca.yml", "--config a.yml", "-config=a.yml"]
        {
            check(spelling, run("a.yml"));
        }
        for spelling in ["-version", "--version", "-version=true", "-c x --version", "check -version"] {
            check(spelling, Ok(Request::Version));
        }
        for spelling in ["-h", "--h", "-help", "--help", "check --help"] {
            check(spelling, Ok(Request::Help));
        }
        let tool = |tool| Ok(Request::Tool { tool, config: None });
        check("status", tool(Tool::Status { json: false }));
        check("--json status", tool(Tool::Status { json: true }));
        for job in
            ["7", "https://github.com/a/b/actions/runs/1/job/7?pr=2#step:3:4", "https://h/api/v3/x/jobs/7/"]
        {
            check(&format!("why {job}"), tool(Tool::Why { job: JobId(7), json: false }));
        }
        check("queue list", tool(Tool::Queue { action: QueueAction::List, json: false, yes: false }));
        let retry = QueueAction::Retry(JobId(7));
        check("queue -y retry 7", tool(Tool::Queue { action: retry, json: false, yes: true }));
        check("drain --yes", tool(Tool::Drain { yes: true }));
        check(
            "resume -c a",
            Ok(Request::Tool { tool: Tool::Resume { yes: false }, config: Some("a".into()) }),
        );
        check("check", Ok(Request::Check { config: None }));
        check("check -c a", Ok(Request::Check { config: Some("a".into()) }));
        check("-c a check", Ok(Request::Check { config: Some("a".into()) }));
    }

    #[test]
    fn mistakes_are_explained() {
        check("-c", Err("write `-c FILE`"));
        check("--config=", Err("write `-c FILE`"));
        check("-c a -c b", Err("twice"));
        check("--colour", Err("no flag `--colour`"));
        check("-x", Err("no flag `-x`"));
        check("config.yml", Err("named with `-c config.yml`"));
        check("check check", Err("one word too many"));
        check("why", Err("`why` needs a job"));
        check("why x", Err("`x` is no job"));
        check("why https://github.com/a/b/actions/runs/7", Err("is no job"));
        check("why 1 2", Err("one word too many"));
        check("queue", Err("`queue` needs one of list, show, retry, cancel and remove behind it"));
        check("queue drop 1", Err("not `drop`"));
        check("queue cancel", Err("`queue cancel` needs a job"));
        check("status --yes", Err("`--yes` does not go with `anklet status`"));
        check("--json", Err("`--json` does not go with `anklet` without a command"));
        check("--jsno status", Err("did you mean `--json`?"));
        check("chek", Err("no command `chek`: did you mean `check`? `anklet --help` lists those there are"));
        check("queue retry 1 --json", Err("`--json` does not go with `anklet queue`"));
        check("--version=1 x", Err("`--version` takes no value"));
    }

    #[test]
    fn help_names_everything() {
        let mut out = Vec::new();
        write_help(&mut out).unwrap();
        let help = String::from_utf8(out).unwrap();
        for flag in FLAGS {
            assert!(flag.names.iter().all(|name| help.contains(&dashed(name))), "{help}");
            assert!(help.contains(flag.meaning), "{help}");
        }
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(COMMANDS.iter().all(|command| words.contains(command.meaning)), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= HELP_COLUMNS), "{help}");
    }

    #[test]
    fn the_page_names_everything() {
        let page = include_str!("../man/anklet.1");
        for name in FLAGS.iter().flat_map(|flag| flag.names) {
            let shown = if name.len() == 1 { format!("Fl {name}") } else { format!("Fl -{name}") };
            assert!(page.contains(&shown), "man/anklet.1 lacks {shown}");
        }
        for command in COMMANDS.iter().filter(|command| !command.name.is_empty()) {
            assert!(
                page.contains(&format!(".It Cm {}\n", command.name))
                    || page.contains(&format!(".It Cm {} ", command.name)),
                "man/anklet.1 lacks {}",
                command.name
            );
        }
    }

    #[test]
    fn the_completions_name_everything() {
        let (bash, zsh) =
            (include_str!("assets/completions/anklet.bash"), include_str!("assets/completions/_anklet"));
        let fish = include_str!("assets/completions/anklet.fish");
        let holds = |file: &str, line: String| {
            assert!(
                file.lines().any(|there| there.trim() == line),
                "a file of src/assets/completions lacks: {line}"
            );
        };
        let commands: Vec<_> =
            COMMANDS.iter().map(|command| command.name).filter(|name| !name.is_empty()).collect();
        let commands = commands.join(" ");
        let names = FLAGS.iter().flat_map(|flag| flag.names);
        let flags: Vec<_> = names.clone().map(|name| dashed(name)).collect();
        let flags = flags.join(" ");
        holds(bash, format!("local commands='{commands}'"));
        holds(bash, format!("local flags='{flags}'"));
        holds(zsh, format!("commands=({commands})"));
        holds(zsh, format!("flags=({flags})"));
        holds(fish, format!("set -l anklet_commands {commands}"));
        for name in names {
            let shown = if name.len() == 1 { format!(" -s {name}") } else { format!(" -l {name}") };
            assert!(fish.contains(&shown), "anklet.fish lacks{shown}");
        }
    }

    #[test]
    fn the_version_is_bare() {
        let mut out = Vec::new();
        write_version(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines[0], lines.len()), (env!("CARGO_PKG_VERSION"), 2));
        assert!(lines[1].starts_with("commit ") && lines[1].contains(", date "), "{text}");
    }
}
