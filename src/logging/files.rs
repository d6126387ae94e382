//! The log files of single plugins, if the config asks for them: what a plugin says goes to its own file instead of standard output.
//!
//! They are opened once, to append, so that a `copytruncate` of logrotate works and a restart goes on where the last one ended.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The files by plugin. Empty until [`split`] is called.
static FILES: OnceLock<PluginFiles> = OnceLock::new();

/// Open files by the name of the plugin.
struct PluginFiles(BTreeMap<String, File>);

/// From now on each of these plugins writes to `anklet-NAME.log` in the folder; an error names the file that cannot be opened.
pub(crate) fn split<'a>(
    folder: &Path,
    plugins: impl Iterator<Item = &'a str>,
) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let (files, paths) = PluginFiles::open(folder, plugins)?;
    // Only the first call counts, as with the log itself.
    let _ = FILES.set(files);
    Ok(paths)
}

/// Writes a line of a plugin to its file; false if it has none, or it cannot be written.
pub(super) fn write(plugin: &str, line: &str) -> bool {
    FILES.get().is_some_and(|files| files.write(plugin, line))
}

impl PluginFiles {
    fn open<'a>(
        folder: &Path,
        plugins: impl Iterator<Item = &'a str>,
    ) -> Result<(Self, Vec<PathBuf>), (PathBuf, io::Error)> {
        let (mut files, mut paths) = (BTreeMap::new(), Vec::new());
        for plugin in plugins {
            let path = folder.join(file_name(plugin));
            let opened = OpenOptions::new().create(true).append(true).open(&path);
            files.insert(plugin.to_owned(), opened.map_err(|error| (path.clone(), error))?);
            paths.push(path);
        }
        Ok((Self(files), paths))
    }

    /// One write a line: lines of several threads, or processes, do not mix in a file that is appended to.
    fn write(&self, plugin: &str, line: &str) -> bool {
        self.0.get(plugin).is_some_and(|mut file| file.write_all(line.as_bytes()).is_ok())
    }
}

/// A name is text of the config: a slash in it must not lead elsewhere.
fn file_name(plugin: &str) -> String {
    format!("anklet-{}.log", plugin.replace(['/', '\0'], "_"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::host::tests::Folder;

    #[test]
    fn each_plugin_has_a_file_that_grows() {
        let folder = Folder::new();
        for n in 1..=2 {
            let (files, paths) = PluginFiles::open(folder.path(), ["A", "b/c"].into_iter()).unwrap();
            assert!(files.write("A", &format!("{n}\n")) && !files.write("other", "x"));
            assert_eq!(paths, [folder.path().join("anklet-A.log"), folder.path().join("anklet-b_c.log")]);
        }
        assert_eq!(fs::read_to_string(folder.path().join("anklet-A.log")).unwrap(), "1\n2\n");
        let (path, _) = PluginFiles::open(&folder.path().join("missing"), ["A"].into_iter()).err().unwrap();
        assert!(path.ends_with("missing/anklet-A.log"));
    }
}
