//! Paths as people write them, and whether what they name is there.

use std::path::{Path, PathBuf};

use anklet_plugin_api::section::Mount;

/// The path with `~/` replaced by the home folder.
pub(super) fn expand(text: &str, home: Option<&Path>) -> Result<PathBuf, String> {
    let below_home = match text.strip_prefix('~') {
        Some("") => Some(""),
        Some(rest) => rest.strip_prefix('/'),
        None => None,
    };
    match (below_home, home) {
        (None, _) => Ok(PathBuf::from(text)),
        (Some(""), Some(home)) => Ok(home.to_owned()),
        (Some(rest), Some(home)) => Ok(home.join(rest.trim_start_matches('/'))),
        (Some(_), None) => Err("begins with ~, but HOME is not set: write the whole path".to_owned()),
    }
}

/// The same, also independent of the folder we are in.
pub(super) fn expand_fully(text: &str, home: Option<&Path>) -> Result<PathBuf, String> {
    let path = expand(text, home)?;
    std::path::absolute(&path).map_err(|error| format!("cannot be made absolute: {error}"))
}

/// Whether files can be made in this folder.
pub(super) fn is_writable_folder(path: &Path) -> bool {
    path.is_dir()
        && rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

/// The mount that `PATH` or `PATH:NAME` asks for. The folder must be there.
pub(super) fn mount(text: &str, home: Option<&Path>) -> Result<Mount, String> {
    let (folder, name) = match text.split_once(':') {
        Some((folder, name)) => (folder, Some(name)),
        None => (text, None),
    };
    let is_name =
        |name: &str| !name.is_empty() && !name.contains(|c: char| c.is_control() || matches!(c, '/' | ':'));
    if let Some(name) = name.filter(|name| !is_name(name)) {
        return Err(format!(
            "`{text}`: `{name}` is no name for a folder in the guest: write PATH or PATH:NAME"
        ));
    }
    let path = expand_fully(folder, home)?;
    let host = path.canonicalize().map_err(|error| {
        format!("`{text}`: the folder cannot be found ({error}): make it, or remove this item")
    })?;
    if !host.is_dir() {
        return Err(format!("`{text}` is not a folder"));
    }
    Ok(Mount { host, name: name.map(str::to_owned) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::Folder;

    #[test]
    fn home_is_found() {
        let check = |text, expected: Option<&str>| {
            assert_eq!(
                expand(text, Some(Path::new("/h"))).ok().as_deref(),
                expected.map(Path::new),
                "{text}"
            );
        };
        check("~", Some("/h"));
        check("~/a b", Some("/h/a b"));
        check("~//a", Some("/h/a"));
        check("~other/a", Some("~other/a"));
        check("/a/~/b", Some("/a/~/b"));
        assert!(expand("~/a", None).is_err());
    }

    #[test]
    fn mounts_are_taken_apart() {
        let folder = Folder::new();
        let real = folder.path().join("real");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, folder.path().join("link")).unwrap();
        let real = real.canonicalize().unwrap();
        let home = Some(folder.path());
        let check = |text: &str, expected: Option<(&Path, Option<&str>)>| {
            let mount = mount(text, home).ok();
            let seen = mount.as_ref().map(|mount| (mount.host.as_path(), mount.name.as_deref()));
            assert_eq!(seen, expected, "{text}");
        };
        check("~/real", Some((&real, None)));
        check("~/link", Some((&real, None)));
        check("~/link:cache", Some((&real, Some("cache"))));
        check("~/link:", None);
        check("~/link:a/b", None);
        check("~/none", None);
        check("/etc/passwd", None);
    }
}
