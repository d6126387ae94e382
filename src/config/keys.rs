//! Every key the config knows: where it stands, what it takes, its default and what it means.
//!
//! Reading, environment names, warnings about unknown keys, the man page's test and the README all go by this one table, so that
//! none of them can forget a key.

use std::sync::LazyLock;
use std::time::Duration;

use anklet_plugin_api::limits::Limits;

use super::kind::Kind;
use crate::anka::timeouts::AnkaTimeouts;

mod plugin;
mod top;
mod waits;

/// Which part of the file a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// The file itself.
    Top,
    /// An item of `plugins`.
    Plugin,
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    /// Where it stands.
    pub(crate) root: Root,
    /// Its name with those of the maps around it: `metrics.database.url`.
    pub(crate) path: String,
    /// What it takes.
    pub(crate) kind: Kind,
    /// What holds without it, in words.
    pub(crate) default: String,
    /// What it does, in a sentence.
    pub(crate) meaning: &'static str,
}

impl Key {
    fn new(root: Root, path: &str, kind: Kind, default: &str, meaning: &'static str) -> Self {
        Self { root, path: path.to_owned(), kind, default: default.to_owned(), meaning }
    }

    /// The environment variable that overrides it. A plugin's begins with the plugin's name, written `NAME` here.
    pub(crate) fn environment(&self) -> Option<String> {
        if matches!(self.kind, Kind::Ignored | Kind::Plugins) {
            return None;
        }
        let prefix = match self.root {
            Root::Top => "ANKLET",
            // The name makes the variable, so it cannot come from one.
            Root::Plugin if self.path == "name" => return None,
            Root::Plugin => "NAME",
        };
        Some(environment_name(prefix, &self.path))
    }
}

/// The variable for a key of the plugin with this name, or of `ANKLET` itself.
pub(crate) fn environment_name(prefix: &str, path: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("{prefix}_{path}").chars().map(letter).collect()
}

/// All keys, in the order in which a reader would want them explained.
pub(crate) fn all() -> &'static [Key] {
    static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
        let mut keys = top::keys();
        keys.extend(waits::keys("limits", Limits::NAMES, waits::LIMITS, |name| {
            Limits::default().by_name(name).copied()
        }));
        keys.extend(waits::keys("anka_timeouts", AnkaTimeouts::NAMES, waits::ANKA_TIMEOUTS, |name| {
            AnkaTimeouts::default().by_name(name).copied()
        }));
        keys.extend(plugin::keys());
        keys
    });
    &KEYS
}

/// The key at this place.
pub(crate) fn find(root: Root, path: &str) -> Option<&'static Key> {
    all().iter().find(|key| key.root == root && key.path == path)
}

/// Whether other keys stand below this name.
pub(crate) fn is_map(root: Root, path: &str) -> bool {
    all().iter().any(|key| key.root == root && below(&key.path, path).is_some())
}

/// The names that may stand directly below this one; the empty path is the root itself.
pub(crate) fn names_below(root: Root, path: &str) -> impl Iterator<Item = &'static str> {
    all().iter().filter(move |key| key.root == root).filter_map(move |key| {
        let rest = below(&key.path, path)?;
        Some(rest.split('.').next().unwrap_or(rest))
    })
}

fn below<'a>(path: &'a str, map: &str) -> Option<&'a str> {
    if map.is_empty() { Some(path) } else { path.strip_prefix(map)?.strip_prefix('.') }
}

/// The keys of a database, below `prefix`.
fn database_keys(root: Root, prefix: &str) -> Vec<Key> {
    let key = |name: &str, kind, default: &str, meaning| {
        Key::new(root, &format!("{prefix}{name}"), kind, default, meaning)
    };
    vec![
        key("url", Kind::HostName, "none", "Name or address of the Redis server, without scheme and port."),
        key("port", Kind::whole(1, 65_535), "6379", "Port of the Redis server."),
        key("user", Kind::Text, "none", "User to log in as (Redis ACL)."),
        key("password", Kind::Secret, "none", "Password to log in with."),
        key("database", Kind::whole(0, 1_000_000), "0", "Number of the database in the Redis server."),
        key(
            "max_retries",
            Kind::whole(-1, 1_000),
            "5",
            "How often a failed call is tried again before it counts as an outage; -1 means never.",
        ),
        key(
            "retry_delay",
            Kind::milliseconds(1, 3_600_000),
            "1000",
            "Milliseconds before the first such try.",
        ),
        key(
            "retry_backoff_factor",
            Kind::decimal(1.0, 100.0),
            "2.0",
            "Each further wait is this much longer.",
        ),
        key("cluster_mode", Kind::Flag, "false", "The server is a Redis Cluster."),
        key("tls_enabled", Kind::Flag, "false", "Talk to the server through TLS."),
        key("tls_insecure", Kind::Flag, "false", "Do not check the server's certificate."),
    ]
}

/// A wait as a reader wants to see it: `90`, `0.5`.
pub(crate) fn seconds(wait: Duration) -> String {
    wait.as_secs_f64().to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_and_variables_are_given_once() {
        let mut paths = BTreeSet::new();
        let mut variables = BTreeSet::new();
        for key in all() {
            assert!(paths.insert((key.root == Root::Plugin, &key.path)), "{} stands twice", key.path);
            assert!(!is_map(key.root, &key.path), "{} is a key and a map", key.path);
            assert!(key.meaning.ends_with('.'), "{}", key.path);
            if let Some(variable) = key.environment() {
                assert!(variables.insert(variable.clone()), "{variable} stands twice");
            }
        }
        assert!(variables.contains("ANKLET_METRICS_DATABASE_URL"));
        assert!(variables.contains("NAME_DATABASE_PASSWORD"));
        assert!(variables.contains("ANKLET_LOG_FILE_DIR"));
    }

    #[test]
    fn a_plugins_variable_is_made_of_its_name() {
        assert_eq!(environment_name("mac-1.b", "database.url"), "MAC_1_B_DATABASE_URL");
    }

    #[test]
    fn places_are_found() {
        assert!(is_map(Root::Top, "metrics.database"));
        assert!(!is_map(Root::Top, "metrics.data"));
        assert!(find(Root::Plugin, "workflows.include").is_some());
        assert!(names_below(Root::Top, "log").eq(["file_dir", "split_by_plugin"]));
    }
}
