//! Small files that must survive a crash whole: written beside, flushed, and put in place in one step.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

/// How much of a small file is read; more is no file of ours.
const MOST_BYTES: u64 = 16 << 20;

/// Whether a write is worth waiting for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It is on disk before the call returns.
    OnDisk,
    /// It means nothing after a crash of the machine, so it may get lost in one.
    UntilReboot,
}

/// Puts `content` in the place of the file: at every moment it is the old or the new one, whole. Callers of several
/// processes must hold a lock.
pub(crate) fn replace(path: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    let mut file = File::create(beside)?;
    file.write_all(content)?;
    if durability == Durability::OnDisk {
        file.sync_all()?;
    }
    drop(file);
    fs::rename(beside, path)?;
    if durability == Durability::OnDisk
        && let Some(folder) = path.parent()
    {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// The file's content; none if there is no such file.
pub(crate) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut content)?;
    Ok(Some(content))
}

/// Moves a file that cannot be used out of the way, so that a person can look at it; its new name.
pub(crate) fn set_aside(path: &Path, why: &str) -> io::Result<std::path::PathBuf> {
    let now = anklet_plugin_api::time::Moment::now().0;
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{why}-{now}"));
    fs::rename(path, &aside)?;
    Ok(aside.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::Folder;

    #[test]
    fn a_file_is_replaced_whole_and_leaves_nothing_beside_it() {
        let folder = Folder::new();
        let path = folder.path().join("x.json");
        assert_eq!(read(&path).unwrap(), None);
        for durability in [Durability::OnDisk, Durability::UntilReboot] {
            let content = format!("{durability:?}");
            replace(&path, content.as_bytes(), durability).unwrap();
            assert_eq!(read(&path).unwrap().unwrap(), content.as_bytes());
        }
        let aside = set_aside(&path, "broken").unwrap();
        assert!(aside.file_name().unwrap().to_str().unwrap().starts_with("x.json.broken-"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
