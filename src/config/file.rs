//! Finds the config file and gets its text, whatever lies there.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::env::Environment;
use super::paths;

/// A config is some kilobytes; what is larger is something else. Reading and parsing this much stays under a second.
const MOST_BYTES: u64 = 1 << 20;

/// The message for a file that cannot be opened, as the Go program has it.
const UNREADABLE: &str =
    "unable to load config.yml (is it in the work_dir, or are you using an absolute path?)";

/// Why there is no text, and the log message for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoText {
    pub(super) message: &'static str,
    pub(super) line: Option<usize>,
    pub(super) what: String,
}

/// Where the config is: what `-c` says, else `ANKLET_CONFIG_FILE_NAME` in `~/.config/anklet/`, else `config.yml` there.
pub(super) fn find(given: Option<&Path>, environment: &Environment) -> Result<PathBuf, NoText> {
    if let Some(given) = given {
        return paths::expand(&given.to_string_lossy(), environment.home())
            .map(|expanded| if given.starts_with("~") { expanded } else { given.to_owned() })
            .map_err(unreadable);
    }
    let folder = environment
        .config_folder()
        .ok_or_else(|| unreadable("HOME is not set: set it, or write `anklet -c FILE`"))?;
    let name = environment.get("ANKLET_CONFIG_FILE_NAME").unwrap_or("config.yml".as_ref());
    Ok(folder.join(name))
}

/// The text of the file, as UTF-8 without a byte order mark.
pub(super) fn read(path: &Path) -> Result<String, NoText> {
    let bytes = read_bytes(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => unreadable(
            "the file does not exist: `anklet init` writes a first one, and `-c FILE` names another",
        ),
        _ => unreadable(format!("the file cannot be read: {error}")),
    })?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(wrong(
            None,
            format!("the file is larger than {} KiB: is it a config?", MOST_BYTES >> 10),
        ));
    }
    decode(bytes)
}

fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
    }
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that too much shows.
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn decode(bytes: Vec<u8>) -> Result<String, NoText> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec).unwrap_or(bytes);
    let n_zeros = bytes.iter().take(64).filter(|byte| **byte == 0).count();
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") || n_zeros > 8 {
        return Err(wrong(None, "the file is in UTF-16 (or is no text): save it as UTF-8".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
        wrong(Some(line), "holds bytes that are not UTF-8: save the file as UTF-8".to_owned())
    })
}

fn unreadable(what: impl Into<String>) -> NoText {
    NoText { message: UNREADABLE, line: None, what: what.into() }
}

fn wrong(line: Option<usize>, what: String) -> NoText {
    NoText { message: super::finding::UNABLE, line, what }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::config::testing::Folder;

    #[test]
    fn the_file_is_found() {
        let check = |given: Option<&str>, variables: &[(&str, &str)], expected: Option<&str>| {
            let found = find(given.map(Path::new), &Environment::of(variables)).ok();
            assert_eq!(found.as_deref(), expected.map(Path::new), "{given:?} {variables:?}");
        };
        let home = ("HOME", "/h");
        check(None, &[home], Some("/h/.config/anklet/config.yml"));
        check(None, &[home, ("ANKLET_CONFIG_FILE_NAME", "b.yml")], Some("/h/.config/anklet/b.yml"));
        check(None, &[home, ("ANKLET_CONFIG_FILE_NAME", "")], Some("/h/.config/anklet/config.yml"));
        check(Some("x.yml"), &[home, ("ANKLET_CONFIG_FILE_NAME", "b.yml")], Some("x.yml"));
        check(Some("~/x.yml"), &[home], Some("/h/x.yml"));
        check(Some("x.yml"), &[], Some("x.yml"));
        check(Some("~/x.yml"), &[], None);
        check(None, &[], None);
    }

    #[test]
    fn bytes_become_text() {
        let check = |bytes: &[u8], expected: Result<&str, Option<usize>>| {
            let decoded = decode(bytes.to_vec());
            assert_eq!(decoded.as_deref().map_err(|error| error.line), expected, "{bytes:?}");
        };
        check(b"a: 1\r\n", Ok("a: 1\r\n"));
        check(b"\xef\xbb\xbfa: 1", Ok("a: 1"));
        check("ü".as_bytes(), Ok("ü"));
        check(b"a: 1\nb: \xff\n", Err(Some(2)));
        check(b"\xff\xfea\0:\0", Err(None));
        check(b"\xfe\xff\0a\0:", Err(None));
        check(
            "a: 1\nb: 2\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>().as_slice(),
            Err(None),
        );
    }

    #[test]
    fn what_is_no_config_is_refused_quickly() {
        let folder = Folder::new();
        let begin = Instant::now();
        let huge = folder.path().join("huge.yml");
        File::create(&huge).unwrap().set_len(100 << 20).unwrap();
        assert!(read(&huge).unwrap_err().what.contains("larger than"));
        assert!(read(Path::new("/dev/zero")).unwrap_err().what.contains("larger than"));
        assert!(read(folder.path()).unwrap_err().what.contains("folder"));
        let missing = read(&folder.path().join("none.yml")).unwrap_err();
        assert!(missing.what.contains("does not exist") && missing.message == UNREADABLE);
        assert!(begin.elapsed() < Duration::from_secs(8));
    }
}
