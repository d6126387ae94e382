//! What the file and the environment say, key by key, each fit for its kind; nothing is required and nothing compared yet.

use std::collections::BTreeMap;
use std::time::Duration;

use super::env::Environment;
use super::finding::{At, Findings, Origin, readable};
use super::keys::{self, Key, Root};
use super::kind::{Kind, Setting};
use super::nearest;
use super::yaml::{Entry, Node, Value};

/// The settings of one root: the file's top, or one plugin.
#[derive(Debug)]
pub(super) struct Raw {
    root: Root,
    /// Whose settings these are, for messages.
    pub(super) plugin: Option<String>,
    /// Where they begin, for messages about what is missing.
    line: Option<usize>,
    values: BTreeMap<&'static str, Given>,
}

#[derive(Debug)]
struct Given {
    setting: Setting,
    origin: Origin,
}

impl Raw {
    /// Settings without a value, to be filled.
    pub(super) fn new(root: Root, plugin: Option<String>, line: Option<usize>) -> Self {
        Self { root, plugin, line, values: BTreeMap::new() }
    }

    /// Takes over what a map of the file says.
    pub(super) fn read(&mut self, entries: &[Entry], findings: &mut Findings) {
        self.read_map("", entries, findings);
    }

    fn read_map(&mut self, map: &str, entries: &[Entry], findings: &mut Findings) {
        for entry in entries {
            let path = if map.is_empty() { entry.key.clone() } else { format!("{map}.{}", entry.key) };
            let origin = Origin::from(entry.line);
            let known = if entry.key.contains('.') { None } else { keys::find(self.root, &path) };
            if let Some(key) = known {
                self.read_value(key, &entry.node, origin, findings);
            } else if keys::is_map(self.root, &path) && !entry.key.contains('.') {
                match &entry.node.value {
                    Value::Null => {}
                    Value::Map(entries) => self.read_map(&path, entries, findings),
                    Value::Text(_) | Value::List(_) => {
                        let names: Vec<_> = keys::names_below(self.root, &path).take(3).collect();
                        let what =
                            format!("must hold keys of its own, indented below it: {}, …", names.join(", "));
                        findings.problem(self.at_origin(&path, origin), what);
                    }
                }
            } else {
                let advice = nearest::advice(self.root, map, &entry.key);
                findings.warn(self.at_origin(&path, origin), advice);
            }
        }
    }

    fn read_value(&mut self, key: &'static Key, node: &Node, origin: Origin, findings: &mut Findings) {
        match (&node.value, key.kind) {
            (Value::Null, _) | (_, Kind::Ignored | Kind::Plugins) => {}
            (Value::Text(text), _) => self.put(key, text, origin, findings),
            (Value::List(items), Kind::List) => {
                let texts = items.iter().map(|item| match &item.value {
                    Value::Text(text) if !text.is_empty() => Some(text.clone()),
                    _ => None,
                });
                match texts.collect::<Option<Vec<_>>>() {
                    Some(texts) => {
                        self.values.insert(&key.path, Given { setting: Setting::List(texts), origin });
                    }
                    None => {
                        let what = "has an item that is no text: write each as `- item`, in quotes if it has a colon";
                        findings.problem(self.at_origin(&key.path, origin), what);
                    }
                }
            }
            (Value::List(_), kind) => self.refuse(key, "a list", kind, origin, findings),
            (Value::Map(_), kind) => self.refuse(key, "a map", kind, origin, findings),
        }
    }

    fn refuse(&self, key: &Key, is: &str, kind: Kind, origin: Origin, findings: &mut Findings) {
        let what = format!("is {is}, but must be {}", kind.expected()) + &about(key);
        findings.problem(self.at_origin(&key.path, origin), what);
    }

    /// Takes over the variables of this root. `prefix` is `ANKLET`, or the plugin's name.
    pub(super) fn read_environment(
        &mut self,
        environment: &Environment,
        prefix: &str,
        findings: &mut Findings,
    ) {
        let root = self.root;
        for key in keys::all().iter().filter(|key| key.root == root && key.environment().is_some()) {
            self.read_variable(environment, key, &keys::environment_name(prefix, &key.path), findings);
        }
    }

    /// Takes over one variable.
    pub(super) fn read_variable(
        &mut self,
        environment: &Environment,
        key: &'static Key,
        name: &str,
        findings: &mut Findings,
    ) {
        let Some(value) = environment.get(name) else { return };
        let origin = Origin::Environment(name.to_owned());
        match value.to_str() {
            Some(text) => self.put(key, text, origin, findings),
            None => findings.problem(self.at_origin(&key.path, origin), "is not UTF-8"),
        }
    }

    /// Sets a key from text; empty text changes nothing.
    fn put(&mut self, key: &'static Key, text: &str, origin: Origin, findings: &mut Findings) {
        if text.trim().is_empty() {
            return;
        }
        if let Some(setting) = key.kind.parse(text) {
            self.values.insert(&key.path, Given { setting, origin });
            return;
        }
        let value = if key.kind.may_be_shown() {
            format!("is `{}`, but ", readable(text, 60))
        } else {
            String::new()
        };
        let meant = key.kind.nearest(text).map_or(String::new(), |word| format!("; did you mean `{word}`?"));
        // Operators' alarms look for it.
        let known_error = if key.path == "plugin" { ": plugin not supported" } else { "" };
        let what = format!("{value}must be {}{known_error}{meant}", key.kind.expected()) + &about(key);
        findings.problem(self.at_origin(&key.path, origin), what);
    }

    fn setting(&self, path: &str) -> Option<&Setting> {
        debug_assert!(keys::find(self.root, path).is_some(), "{path} is not in keys.rs");
        self.values.get(path).map(|given| &given.setting)
    }

    /// Whether the key has a value.
    pub(super) fn has(&self, path: &str) -> bool {
        self.setting(path).is_some()
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        if let Setting::Text(text) = self.setting(path)? { Some(text) } else { None }
    }

    pub(super) fn whole(&self, path: &str) -> Option<i64> {
        if let Setting::Whole(number) = self.setting(path)? { Some(*number) } else { None }
    }

    pub(super) fn decimal(&self, path: &str) -> Option<f64> {
        if let Setting::Decimal(number) = self.setting(path)? { Some(*number) } else { None }
    }

    pub(super) fn span(&self, path: &str) -> Option<Duration> {
        if let Setting::Span(span) = self.setting(path)? { Some(*span) } else { None }
    }

    pub(super) fn flag(&self, path: &str) -> Option<bool> {
        if let Setting::Flag(flag) = self.setting(path)? { Some(*flag) } else { None }
    }

    pub(super) fn list(&self, path: &str) -> &[String] {
        if let Some(Setting::List(items)) = self.setting(path) { items } else { &[] }
    }

    /// Where a key stands, or should, for a finding about it.
    pub(super) fn at<'a>(&'a self, path: &'a str) -> At<'a> {
        let origin = self.values.get(path).map_or(Origin::from(self.line), |given| given.origin.clone());
        self.at_origin(path, origin)
    }

    fn at_origin<'a>(&'a self, path: &'a str, origin: Origin) -> At<'a> {
        At { origin, plugin: self.plugin.as_deref(), key: path }
    }

    /// What was taken for a key; empty if nothing was.
    #[cfg(test)]
    pub(super) fn shown(&self, path: &str) -> String {
        self.setting(path).map(|setting| format!("{setting:?}")).unwrap_or_default()
    }
}

/// What a key is for, to stand behind what is wrong with it.
fn about(key: &Key) -> String {
    format!(" ({} Default: {}.)", key.meaning, key.default)
}
