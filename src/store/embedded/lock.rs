//! One daemon a queue file: a lock on the file beside it, which the system gives up with the process, however that ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Held for as long as the daemon has the queue file open.
pub(super) struct DaemonLock(#[allow(dead_code, reason = "held only to be dropped")] File);

/// Why the lock was not taken.
pub(super) enum LockError {
    /// Another process has it; its number, where that could be read.
    Taken { pid: Option<u32> },
    /// The lock file cannot be used.
    Unusable(std::io::Error),
}

/// Where the lock of a queue file lies.
pub(super) fn path_of(queue_file: &Path) -> PathBuf {
    beside(queue_file, ".lock")
}

/// The path of a file that lies beside the queue file.
pub(super) fn beside(queue_file: &Path, ending: &str) -> PathBuf {
    let mut path = queue_file.as_os_str().to_owned();
    path.push(ending);
    PathBuf::from(path)
}

impl DaemonLock {
    /// Takes the lock and writes this process's number into the file. The file stays when the lock is given up: removing it could
    /// take it from under a process that has just opened it.
    pub(super) fn take(path: &Path) -> Result<Self, LockError> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(LockError::Unusable)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(LockError::Taken { pid });
            }
            Err(error) => return Err(LockError::Unusable(error.into())),
        }
        write_pid(&mut file).map_err(LockError::Unusable)?;
        Ok(Self(file))
    }
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}
