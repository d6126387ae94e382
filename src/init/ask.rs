//! The questions of `anklet init`, each asked only if no flag and no variable has the answer.

use std::io::{self, BufRead, IsTerminal, Write};

use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::Secret;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::config::env::Environment;
use crate::init::{Answers, DEFAULT_PORT, InitError, Redis, Role, Wishes, random_text};

/// Redis' own.
const REDIS_PORT: u16 = 6_379;

/// Asks on the terminal; where there is none, what is not said is an error that names the flag or the variable.
pub(super) struct Asker<'a> {
    wishes: &'a Wishes,
    environment: &'a Environment,
    out: &'a mut dyn Write,
    is_terminal: bool,
}

impl<'a> Asker<'a> {
    pub(super) fn new(wishes: &'a Wishes, environment: &'a Environment, out: &'a mut dyn Write) -> Self {
        Self { wishes, environment, out, is_terminal: io::stdin().is_terminal() }
    }

    pub(super) fn answers(mut self) -> Result<Answers, InitError> {
        let scope = self.scope()?;
        let role = match self.wishes.role {
            Some(role) => role,
            None => {
                let question = "Shall this machine take the webhooks (receiver), run VMs (handler), or both?";
                self.checked(question, "--role", Some("both"), |word| {
                    Role::named(word).ok_or("write receiver, handler or both")
                })?
            }
        };
        let redis = self.redis(role)?;
        let token = self.secret("Token of GitHub (what you type is not shown)", "ANKLET_GLOBAL_TOKEN")?;
        let receiver_secret = match self.variable("ANKLET_GLOBAL_RECEIVER_SECRET") {
            Some(secret) => secret,
            // 256 bits that nobody can guess.
            None => Secret::new(random_text(32)?),
        };
        let port = match self.wishes.port {
            Some(port) => port,
            None if !role.receives() => DEFAULT_PORT,
            None => {
                self.checked("Port for the webhooks?", "--port", Some(&DEFAULT_PORT.to_string()), |word| {
                    word.parse().ok().filter(|port| *port > 0).ok_or("write a number from 1 to 65535")
                })?
            }
        };
        let mark = random_text(3)?.to_uppercase();
        Ok(Answers { scope, role, token, receiver_secret, port, redis, mark })
    }

    fn scope(&mut self) -> Result<Scope, InitError> {
        let owner = match self.wishes.owner.clone() {
            Some(owner) => {
                checked_name(&owner).map_err(|why| InitError::Unsaid(format!("--owner: {why}")))?
            }
            None => self.checked("Organization or user at GitHub?", "--owner", None, checked_name)?,
        };
        let repo = match self.wishes.repo.clone() {
            Some(repo) => {
                Some(checked_name(&repo).map_err(|why| InitError::Unsaid(format!("--repo: {why}")))?)
            }
            None if self.wishes.owner.is_some() => None,
            None => self.checked(
                "Only for one of its repositories? Its name (empty: for the whole organization)",
                "--repo",
                Some(""),
                |word| {
                    if word.is_empty() { Ok(None) } else { checked_name(word).map(Some) }
                },
            )?,
        };
        Ok(match repo {
            Some(repo) => Scope::Repository { owner, repo },
            None => Scope::Organization { owner },
        })
    }

    fn redis(&mut self, role: Role) -> Result<Option<Redis>, InitError> {
        let said = match &self.wishes.redis {
            Some(said) => read_redis(said).map_err(|why| InitError::Unsaid(format!("--redis: {why}")))?,
            // A machine that has only a part needs a queue that others see.
            None if role == Role::Both => self.checked(
                "Redis that several machines share, HOST or HOST:PORT? (empty: none)",
                "--redis",
                Some(""),
                read_redis,
            )?,
            None => self.checked(
                "Redis that the machines share, HOST or HOST:PORT?",
                "--redis",
                None,
                read_redis,
            )?,
        };
        let Some((host, port)) = said else {
            return match role {
                Role::Both => Ok(None),
                Role::Receiver | Role::Handler => Err(InitError::Unsaid(
                    "a receiver or handler alone shares its queue with other machines, so it needs `--redis HOST`".to_owned(),
                )),
            };
        };
        let password = match self.variable("ANKLET_GLOBAL_DATABASE_PASSWORD") {
            Some(password) => Some(password),
            None if self.is_terminal && !self.wishes.yes => {
                let word = self.hidden("Password of Redis (what you type is not shown; empty: none)")?;
                (!word.is_empty()).then(|| Secret::new(word))
            }
            None => None,
        };
        Ok(Some(Redis { host, port, password }))
    }

    fn secret(&mut self, question: &str, variable: &str) -> Result<Secret, InitError> {
        if let Some(secret) = self.variable(variable) {
            return Ok(secret);
        }
        if self.is_terminal {
            let word = self.hidden(question)?;
            if !word.is_empty() {
                return Ok(Secret::new(word));
            }
        }
        Err(InitError::Unsaid(format!(
            "there is no token: set the variable {variable}, or answer the question for it"
        )))
    }

    fn variable(&self, name: &str) -> Option<Secret> {
        self.environment.get(name).and_then(|value| value.to_str()).map(Secret::new)
    }

    /// Asks until the answer is one. `usual` is what an empty answer means, and `--yes`.
    fn checked<T>(
        &mut self,
        question: &str,
        flag: &str,
        usual: Option<&str>,
        check: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<T, InitError> {
        let unsaid = |why: &str| InitError::Unsaid(format!("{flag}: {why}"));
        if self.wishes.yes || !self.is_terminal {
            let usual = usual.ok_or_else(|| unsaid("must be said where there is no terminal to ask on"))?;
            return check(usual).map_err(unsaid);
        }
        loop {
            let hint =
                usual.filter(|usual| !usual.is_empty()).map_or(String::new(), |usual| format!(" [{usual}]"));
            self.show(&format!("{question}{hint} "))?;
            let line = read_line()?;
            let word = if line.is_empty() { usual.unwrap_or_default() } else { &line };
            match check(word) {
                Ok(answer) => return Ok(answer),
                Err(why) => self.show(&format!("{why}\n"))?,
            }
        }
    }

    fn hidden(&mut self, question: &str) -> Result<String, InitError> {
        self.show(&format!("{question}: "))?;
        let quiet = Quiet::begin();
        let line = read_line();
        drop(quiet);
        self.show("\n")?;
        line
    }

    fn show(&mut self, text: &str) -> Result<(), InitError> {
        self.out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
            .map_err(|error| InitError::Unsaid(error.to_string()))
    }
}

fn read_line() -> Result<String, InitError> {
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(0) => Err(InitError::Unsaid("the answers ended; nothing was written".to_owned())),
        Ok(_) => Ok(line.trim().to_owned()),
        Err(error) => Err(InitError::Unsaid(format!("cannot read the answer: {error}"))),
    }
}

fn checked_name(word: &str) -> Result<String, &'static str> {
    let is_name = !word.is_empty()
        && word.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter));
    if is_name {
        Ok(word.to_owned())
    } else {
        Err("write the name as in GitHub's addresses: letters, digits, - _ .")
    }
}

/// Host and port; none for an empty text.
fn read_redis(word: &str) -> Result<Option<(String, u16)>, &'static str> {
    if word.is_empty() {
        return Ok(None);
    }
    let (host, port) = match word.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| "write HOST or HOST:PORT")?),
        None => (word, REDIS_PORT),
    };
    let is_host = !host.is_empty()
        && host.chars().all(|letter| letter.is_ascii_alphanumeric() || "-.".contains(letter));
    if is_host { Ok(Some((host.to_owned(), port))) } else { Err("write HOST or HOST:PORT") }
}

/// A terminal that does not show what is typed, until this goes.
struct Quiet(Option<Termios>);

impl Quiet {
    fn begin() -> Self {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(mut modes) = before.clone() {
            modes.local_modes.remove(LocalModes::ECHO);
            // One that cannot hide shows.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &modes);
        }
        Self(before)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redis_is_a_host_with_or_without_a_port() {
        let check = |word: &str, expected: Result<Option<(&str, u16)>, &'static str>| {
            let expected = expected.map(|said| said.map(|(host, port)| (host.to_owned(), port)));
            assert_eq!(read_redis(word), expected, "{word}");
        };
        check("", Ok(None));
        check("redis.example.net", Ok(Some(("redis.example.net", 6_379))));
        check("10.0.0.7:7000", Ok(Some(("10.0.0.7", 7_000))));
        for wrong in ["redis://h", "h:port", ":1", "h h", "h\"\n"] {
            check(wrong, Err("write HOST or HOST:PORT"));
        }
    }

    #[test]
    fn names_are_those_of_addresses() {
        assert_eq!(checked_name("my-org_1.x").as_deref(), Ok("my-org_1.x"));
        for wrong in ["", "a/b", "a b", "a\"", "a\n", "ü"] {
            assert!(checked_name(wrong).is_err(), "{wrong}");
        }
    }
}
