//! `anklet init`: asks for what it cannot know, writes a first config, and says what to set at GitHub and which workflow to try.
//!
//! What flags and variables say is not asked. Secrets are no flags, since every user of the machine sees those.

mod ask;
mod text;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::Secret;
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;

use crate::check;
use crate::cli::{EXIT_FAILURE, EXIT_OK};
use crate::config;
use crate::config::env::Environment;
use crate::host::process::pid_is_gone;
use crate::init::ask::Asker;

/// The port that the receiver gets if nothing else is said.
const DEFAULT_PORT: u16 = 54_321;
/// As many as Apple allows macOS VMs on a Mac.
const DEFAULT_HANDLERS: u8 = 2;
/// The config that `install.sh` writes; nobody's work is lost with it.
const SAMPLE: &str = include_str!("assets/config.yml");

/// Between the config's name and the process id, in the name of a file that has not its own yet.
const NEW: &str = ".new.";

/// What flags of `anklet init` said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// `--owner`: user or organization.
    pub(crate) owner: Option<String>,
    /// `--repo`: one repository of the owner.
    pub(crate) repo: Option<String>,
    /// `--role`: receiver, handler or both.
    pub(crate) role: Option<Role>,
    /// `--redis HOST[:PORT]`; an empty text means none.
    pub(crate) redis: Option<String>,
    /// `--port` of the receiver.
    pub(crate) port: Option<u16>,
    /// `--ask-github`: try the token.
    pub(crate) asks_github: bool,
    /// `--yes`: take the usual for what no flag says.
    pub(crate) yes: bool,
}

/// Which plugins a host gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Takes webhooks; no Mac needed.
    Receiver,
    /// Runs VMs.
    Handler,
    /// Both, as on a single Mac.
    Both,
}

impl Role {
    /// The role that a word names.
    pub(crate) fn named(word: &str) -> Option<Self> {
        match word {
            "receiver" => Some(Self::Receiver),
            "handler" => Some(Self::Handler),
            "both" => Some(Self::Both),
            _ => None,
        }
    }

    fn receives(self) -> bool {
        self != Self::Handler
    }

    fn handles(self) -> bool {
        self != Self::Receiver
    }
}

/// Why no config was written.
#[derive(Debug, Error)]
enum InitError {
    #[error("the variable HOME is not set, so there is no usual place; name the file with `-c FILE`")]
    NoHome,
    #[error("{0} is there already and is left alone; edit it, or name another file with `-c FILE`")]
    Exists(PathBuf),
    #[error("{0}")]
    Unsaid(String),
    #[error("cannot write {file}: {source}")]
    Write { file: PathBuf, source: io::Error },
    #[error("the config would not be sound, so none was written:\n{0}")]
    Unsound(String),
}

/// All that goes into the config.
struct Answers {
    scope: Scope,
    role: Role,
    token: Secret,
    receiver_secret: Secret,
    port: u16,
    redis: Option<Redis>,
    /// A few random letters that tell this machine's plugins from those of others.
    mark: String,
}

struct Redis {
    host: String,
    port: u16,
    password: Option<Secret>,
}

/// Asks, writes and tells; the exit code.
pub(crate) fn run(
    file: Option<&Path>,
    wishes: &Wishes,
    environment: &Environment,
    out: &mut dyn Write,
) -> u8 {
    let written = place(file, environment).and_then(|file| {
        remove_leftovers(&file);
        let answers = Asker::new(wishes, environment, out).answers()?;
        write(&file, &text::config(&answers), environment)?;
        Ok((file, answers))
    });
    let (file, answers) = match written {
        Ok(written) => written,
        Err(error) => {
            let _ = writeln!(io::stderr(), "anklet: {error}");
            return EXIT_FAILURE;
        }
    };
    // Where the program looks anyway, nobody has to name it.
    let is_usual = config::usual_file(environment).is_some_and(|usual| usual == file);
    // A reader that has seen enough does not undo what was written.
    let _ = out.write_all(text::next_steps(&file, is_usual, &answers).as_bytes());
    if wishes.asks_github { check::credentials_of(&file, environment, out) } else { EXIT_OK }
}

/// Where the config goes; an error if there is one that somebody has worked on.
fn place(file: Option<&Path>, environment: &Environment) -> Result<PathBuf, InitError> {
    let file = match (file, environment.config_folder()) {
        (Some(file), _) => file.to_owned(),
        (None, Some(folder)) => folder.join("config.yml"),
        (None, None) => return Err(InitError::NoHome),
    };
    match fs::read_to_string(&file) {
        Ok(text) if text == SAMPLE => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(file),
        Ok(_) | Err(_) => Err(InitError::Exists(file)),
    }
}

/// Whole or not at all, and only if a start would accept it. It is for its owner alone; in the place of a sample it is for
/// those who could read that, so that a service which `install.sh` prepared can.
fn write(file: &Path, text: &str, environment: &Environment) -> Result<(), InitError> {
    let failed = |source| InitError::Write { file: file.to_owned(), source };
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut new = file.as_os_str().to_owned();
    new.push(format!("{NEW}{}", std::process::id()));
    let new = PathBuf::from(new);
    let tried = try_out(&new, text, environment).map_err(|error| match error {
        Tried::Write(source) => failed(source),
        Tried::Unsound(problems) => InitError::Unsound(problems),
    });
    // Once more, since the questions took their time.
    let placed = tried
        .and_then(|()| place(Some(file), environment))
        .and_then(|_| keep_readers(file, &new).map_err(failed))
        .and_then(|()| fs::rename(&new, file).map_err(failed));
    if placed.is_err() {
        let _ = fs::remove_file(&new);
    }
    placed
}

/// Removes what an `anklet init` left that was killed before its file had its name: it holds a token.
fn remove_leftovers(file: &Path) {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return };
    let beginning = format!("{}{NEW}", name.to_string_lossy());
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid =
            name.to_str().and_then(|name| name.strip_prefix(&beginning)).and_then(|pid| pid.parse().ok());
        if pid.is_some_and(pid_is_gone) {
            // What cannot be removed is as readable as it was: for its owner alone.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Gives the new file the owner and the group of the sample that it replaces, and lets the group read it if it could read that.
fn keep_readers(sample: &Path, new: &Path) -> io::Result<()> {
    let (Ok(sample), now) = (fs::metadata(sample), fs::metadata(new)?) else { return Ok(()) };
    if (sample.uid(), sample.gid()) != (now.uid(), now.gid()) {
        chown(new, Some(sample.uid()), Some(sample.gid()))?;
    }
    let is_for_group = sample.mode() & 0o040 != 0 && sample.mode() & 0o007 == 0;
    if is_for_group { fs::set_permissions(new, fs::Permissions::from_mode(0o640)) } else { Ok(()) }
}

enum Tried {
    Write(io::Error),
    Unsound(String),
}

fn try_out(new: &Path, text: &str, environment: &Environment) -> Result<(), Tried> {
    let mut opened =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(new).map_err(Tried::Write)?;
    opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all()).map_err(Tried::Write)?;
    config::load(Some(new), environment).map(drop).map_err(|error| Tried::Unsound(error.to_string()))
}

/// As many random bytes, in hexadecimal.
fn random_text(n_bytes: usize) -> Result<String, InitError> {
    let mut bytes = vec![0; n_bytes];
    let drawn = SystemRandom::new().fill(&mut bytes);
    drawn.map_err(|_| InitError::Unsaid("this system gives no random numbers".to_owned()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
