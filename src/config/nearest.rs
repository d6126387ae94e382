//! The known key that is most like an unknown one.

use super::keys::{self, Root};
use crate::similar::nearest;

/// What to say about a key that is not known below `map`.
pub(super) fn advice(root: Root, map: &str, name: &str) -> String {
    let unknown = "is not a key that Anklet knows, and is ignored";
    if name.contains('.') {
        return format!("{unknown}: write the part before the dot as a key, and the rest indented below it");
    }
    let plain = name.to_ascii_lowercase().replace('-', "_");
    if let Some(known) = nearest(keys::names_below(root, map), &plain) {
        return format!("{unknown}: did you mean `{known}`?");
    }
    let elsewhere = keys::all().iter().find(|key| key.path.rsplit('.').next() == Some(name));
    match elsewhere {
        Some(key) if key.root == Root::Plugin && root == Root::Top => {
            format!("{unknown} here: it belongs to a plugin, as `{}`", key.path)
        }
        Some(key) if key.root == Root::Top && root == Root::Plugin => {
            format!("{unknown} here: it belongs to the top of the file, as `{}`", key.path)
        }
        Some(key) => format!("{unknown} here: write it as `{}`", key.path),
        None => format!("{unknown}: remove it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_key_that_was_meant() {
        let check = |root, map, name, part: &str| {
            let advice = advice(root, map, name);
            assert!(advice.contains(part), "{name}: {advice}");
        };
        check(Root::Top, "", "plugin_path", "did you mean `plugins_path`");
        check(Root::Top, "", "Plugins", "did you mean `plugins`");
        check(Root::Top, "", "work-dir", "did you mean `work_dir`");
        check(Root::Plugin, "", "owners", "did you mean `owner`");
        check(Root::Plugin, "", "prot", "did you mean `port`");
        check(Root::Plugin, "database", "usr", "did you mean `user`");
        check(Root::Top, "", "skip_pull", "belongs to a plugin, as `skip_pull`");
        check(Root::Plugin, "", "claim_seconds", "belongs to the top of the file");
        check(Root::Top, "", "metrics.port", "before the dot");
        check(Root::Top, "", "zzzzzzzz", "remove it");
        check(Root::Top, "", &"x".repeat(1000), "remove it");
    }
}
