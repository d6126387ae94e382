//! A command before it runs: its words, what of them the log may show, its standard input and its limit.
//!
//! It is put together word by word because words are not alike: ours, names of our VMs, and text of strangers, which is
//! never shown and must never become an option.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::time::Duration;

use anklet_plugin_api::name::VmName;
use anklet_plugin_api::vm::VmError;

use crate::anka::text::argument_fault;

/// A command to run, put together word by word.
pub(crate) struct Call {
    pub(super) verb: &'static str,
    pub(super) arguments: Vec<OsString>,
    /// The command as the log may show it: our own words and VM names, `…` for everything else.
    pub(super) shown: String,
    pub(super) input: Input,
    pub(super) limit: Duration,
}

/// What is asked of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RegistryCommand {
    List,
    Show,
    Pull,
}

/// A command's standard input.
pub(crate) enum Input {
    /// Nothing.
    Empty,
    /// These bytes.
    Bytes(Vec<u8>),
    /// This file, which the child then holds open, together with any lock on it.
    File(File),
}

impl Call {
    /// `anka -j VERB`; a verb of two words is two arguments. Killed after `limit`.
    pub(crate) fn new(verb: &'static str, limit: Duration) -> Self {
        let arguments = ["-j"].into_iter().chain(verb.split(' ')).map(OsString::from).collect();
        Self { verb, arguments, shown: format!("anka -j {verb}"), input: Input::Empty, limit }
    }

    /// `anka -j registry [--remote REMOTE] COMMAND`: the registry's options come before its command.
    pub(crate) fn registry(
        command: RegistryCommand,
        remote: Option<&str>,
        limit: Duration,
    ) -> Result<Self, VmError> {
        let (verb, last) = match command {
            RegistryCommand::List => ("registry list", "list"),
            RegistryCommand::Show => ("registry show", "show"),
            RegistryCommand::Pull => ("registry pull", "pull"),
        };
        let Some(remote) = remote else { return Ok(Self::new(verb, limit)) };
        let mut call = Self::new("registry", limit).word("--remote").value(remote)?.word(last);
        call.verb = verb;
        Ok(call)
    }

    /// Adds a word of our own.
    pub(crate) fn word(mut self, word: &'static str) -> Self {
        self.shown.push(' ');
        self.shown.push_str(word);
        self.arguments.push(word.into());
        self
    }

    /// Adds the name of one of our VMs.
    pub(crate) fn vm(mut self, vm: &VmName) -> Result<Self, VmError> {
        self = self.value(vm.as_str())?;
        self.shown.truncate(self.shown.len() - "…".len());
        self.shown.push_str(vm.as_str());
        Ok(self)
    }

    /// Adds `VM:`, the home of the guest's user as `cp` knows it.
    pub(crate) fn guest_home(self, vm: &VmName) -> Result<Self, VmError> {
        let mut call = self.vm(vm)?;
        if let Some(last) = call.arguments.last_mut() {
            last.push(":");
        }
        call.shown.push(':');
        Ok(call)
    }

    /// What it does, for errors and logs.
    pub(crate) fn verb(&self) -> &'static str {
        self.verb
    }

    /// Adds text that may be a stranger's. Text that could be taken for an option is refused.
    pub(crate) fn value(self, text: &str) -> Result<Self, VmError> {
        match argument_fault(text) {
            None => Ok(self.hidden(text)),
            Some(fault) => Err(VmError::NotStarted {
                verb: self.verb,
                source: io::Error::new(io::ErrorKind::InvalidInput, fault),
            }),
        }
    }

    /// Adds text that the guest, not `anka`, reads, or that cannot be an option.
    pub(crate) fn hidden(mut self, text: impl Into<OsString>) -> Self {
        self.shown.push_str(" …");
        self.arguments.push(text.into());
        self
    }

    /// Gives it a standard input.
    pub(crate) fn input(mut self, input: Input) -> Self {
        self.input = input;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn the_shown_command_has_no_strangers_text() {
        let vm = VmName::new("anklet-vm-1");
        let call = Call::new("registry pull", LONG).word("-t").value("tag").unwrap().hidden("secret");
        assert_eq!(call.shown, "anka -j registry pull -t … …");
        assert_eq!(call.arguments, ["-j", "registry", "pull", "-t", "tag", "secret"]);
        let call = Call::new("cp", LONG).hidden("/x").guest_home(&vm).unwrap();
        assert_eq!(call.shown, "anka -j cp … anklet-vm-1:");
        assert_eq!(call.arguments, ["-j", "cp", "/x", "anklet-vm-1:"]);
        let call = Call::registry(RegistryCommand::Pull, Some("http://r:8089"), LONG).unwrap();
        assert_eq!((call.verb, call.shown.as_str()), ("registry pull", "anka -j registry --remote … pull"));
        assert_eq!(call.arguments, ["-j", "registry", "--remote", "http://r:8089", "pull"]);
        let call = Call::registry(RegistryCommand::List, None, LONG).unwrap();
        assert_eq!(call.shown, "anka -j registry list");
    }
}
