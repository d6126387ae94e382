//! The process environment, read once: the only file that asks the system for it.
//!
//! Everything else gets an [`Environment`], so that tests can hand in their own and nothing is read behind our back.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anklet_plugin_api::sorted::map_of;

/// The variables and the home folder, as they were at start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<OsString, OsString>,
    home: Option<PathBuf>,
}

/// The variables that children get. Everything else, tokens above all, stays here.
const FOR_CHILDREN: &[&str] = &["HOME", "PATH", "USER", "LOGNAME", "TMPDIR", "LANG"];

/// The same, by their beginnings.
const FOR_CHILDREN_BEGINNINGS: &[&str] = &["LC_", "ANKA_"];

impl Environment {
    /// The environment of this process.
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn of_this_process() -> Self {
        let home = std::env::home_dir().filter(|home| home.is_absolute());
        Self { variables: map_of(std::env::vars_os()), home }
    }

    /// An environment of these variables; the home folder is that of `HOME`.
    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        let variables: BTreeMap<OsString, OsString> =
            variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let home = variables.get(OsStr::new("HOME")).map(PathBuf::from);
        Self { variables, home }
    }

    /// A variable's value. An empty one counts as none.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The user's home folder.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// `~/.config/anklet`, where everything of ours lies.
    pub(crate) fn config_folder(&self) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(".config/anklet"))
    }

    /// What a child process is given.
    pub(crate) fn for_children(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        let is_for_children = |name: &OsStr| {
            let name = name.as_encoded_bytes();
            FOR_CHILDREN.iter().any(|own| own.as_bytes() == name)
                || FOR_CHILDREN_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning.as_bytes()))
        };
        self.variables
            .iter()
            .filter(move |(name, _)| is_for_children(name))
            .map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_get_no_secrets() {
        let environment = Environment::of(&[
            ("HOME", "/h"),
            ("PATH", "/bin"),
            ("LC_ALL", "C"),
            ("ANKA_LOG", "1"),
            ("ANKLET_GLOBAL_TOKEN", "ghp_x"),
            ("HOMEBREW_TOKEN", "x"),
            ("MAC_TOKEN", "x"),
        ]);
        let names: Vec<_> = environment.for_children().map(|(name, _)| name).collect();
        assert_eq!(names, ["ANKA_LOG", "HOME", "LC_ALL", "PATH"]);
    }

    #[test]
    fn an_empty_variable_is_none() {
        let environment = Environment::of(&[("A", ""), ("B", "x")]);
        assert_eq!((environment.get("A"), environment.get("B")), (None, Some(OsStr::new("x"))));
        assert_eq!(environment.config_folder(), None);
    }

    #[test]
    fn this_process_has_a_path() {
        assert!(Environment::of_this_process().get("PATH").is_some());
    }
}
