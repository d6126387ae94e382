//! Who this host is: a UUID in a file, which also notes the machine it was made on.
//!
//! A host's records decide who deletes which VM, so two machines must never be the same host. A disk image that is
//! copied to another Mac carries the file along; the machine's own id gives the copy away.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use anklet_plugin_api::name::HostId;
use log::{info, warn};

use crate::host::files::{self, Durability};

const HARDWARE: &str = "hardware ";

/// The id in `path`; a new one if there is none, or if it was made on another machine than `hardware`. Only under the
/// lock of the folder.
pub(crate) fn host_id(path: &Path, hardware: Option<&str>) -> io::Result<HostId> {
    let known = files::read(path)?.map(|content| String::from_utf8_lossy(&content).into_owned());
    if let Some(content) = known {
        let mut lines = content.lines().map(str::trim);
        let id = lines.next().filter(|id| is_uuid(id));
        let made_on = lines.next().and_then(|line| line.strip_prefix(HARDWARE));
        match (id, made_on, hardware) {
            // A machine that cannot be told from others must not become a new host at each start.
            (Some(id), Some(made_on), Some(hardware)) if made_on != hardware => {
                warn!(hostID = id; "this host's id was made on another machine: its disk is a copy; taking a new id");
            }
            (Some(id), None, Some(hardware)) => {
                let id = id.to_string();
                write(path, &id, Some(hardware))?;
                return Ok(HostId::new(id));
            }
            (Some(id), _, _) => return Ok(HostId::new(id)),
            (None, _, _) => {
                warn!(path:% = path.display(); "the file with this host's id cannot be read; taking a new id")
            }
        }
    }
    let id = new_uuid()?;
    write(path, &id, hardware)?;
    info!(hostID = id; "this host has a new id");
    Ok(HostId::new(id))
}

/// The id in `path`, if there is one; nothing is made.
pub(crate) fn known(path: &Path) -> Option<HostId> {
    let content = fs::read_to_string(path).ok()?;
    content.lines().next().map(str::trim).filter(|id| is_uuid(id)).map(HostId::new)
}

fn write(path: &Path, id: &str, hardware: Option<&str>) -> io::Result<()> {
    let hardware = hardware.map(|hardware| format!("{HARDWARE}{hardware}\n")).unwrap_or_default();
    files::replace(path, format!("{id}\n{hardware}").as_bytes(), Durability::OnDisk)
}

/// The machine's own id: what Linux calls the machine id, or the platform UUID of a Mac.
pub(crate) fn hardware_id() -> Option<String> {
    let machine = fs::read_to_string("/etc/machine-id").ok();
    let id = machine.filter(|id| !id.trim().is_empty()).or_else(sysinfo::Product::uuid)?;
    // It is kept as a line.
    id.split_whitespace().next().map(str::to_string)
}

fn new_uuid() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut number = u128::from_be_bytes(bytes);
    // Version 4, variant 1.
    number = number & !(0xf << 76) | 0x4 << 76;
    number = number & !(0x3 << 62) | 0x2 << 62;
    let digits = format!("{number:032x}");
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
    Ok([part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-"))
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::Folder;

    #[test]
    fn a_new_uuid_is_random_and_of_version_4() {
        let (one, other) = (new_uuid().unwrap(), new_uuid().unwrap());
        assert_ne!(one, other);
        assert!(is_uuid(&one), "{one}");
        assert_eq!(one.get(14..15), Some("4"));
        assert!(matches!(one.get(19..20), Some("8" | "9" | "a" | "b")), "{one}");
    }

    /// Writes `content`, asks on machine `hardware`; whether the id `OLD` is kept.
    #[track_caller]
    fn check(content: &str, hardware: Option<&str>, kept: bool) {
        let folder = Folder::new();
        let path = folder.path().join("host-id");
        fs::write(&path, content).unwrap();
        let id = host_id(&path, hardware).unwrap();
        assert_eq!(id.as_str() == OLD, kept, "{content:?} on {hardware:?} gives {id}");
        assert_eq!(host_id(&path, hardware).unwrap(), id, "and stays so");
        if let Some(hardware) = hardware {
            assert!(fs::read_to_string(&path).unwrap().contains(hardware), "the machine is noted");
        }
    }

    const OLD: &str = "0b5e1a52-7d0c-4d52-9c39-4a1f0d3a8a11";

    #[test]
    fn the_id_is_kept_on_its_machine_only() {
        check(&format!("{OLD}\nhardware M1\n"), Some("M1"), true);
        check(&format!("{OLD}\nhardware M1\n"), Some("M2"), false);
        check(&format!("{OLD}\nhardware M1\n"), None, true);
        check(&format!("{OLD}\n"), Some("M1"), true);
        check(&format!("{OLD}\n"), None, true);
        check("", Some("M1"), false);
        check("nonsense\n", Some("M1"), false);
        check("\u{0}\u{0}\u{0}", None, false);
    }

    #[test]
    fn a_missing_file_is_made() {
        let folder = Folder::new();
        let path = folder.path().join("host-id");
        let id = host_id(&path, Some("M1")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{id}\nhardware M1\n"));
    }

    #[test]
    fn this_machine_has_an_id_that_does_not_change() {
        let id = hardware_id();
        assert_eq!(id, hardware_id());
        assert!(id.is_none_or(|id| !id.is_empty() && !id.contains(char::is_whitespace)));
    }
}
