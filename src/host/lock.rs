//! Locks between processes: a file that is locked for as long as somebody holds it open.
//!
//! The system drops such a lock with the last process that has the file open, so nothing has to be cleaned up after a
//! crash, and a child that got the file keeps the lock when its parent dies.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Beside others that share it.
    Shared,
    /// By nobody else.
    Alone,
}

/// A lock that is held. Dropping it gives it back, also for a child that has the file.
#[derive(Debug)]
pub(crate) struct FileLock {
    file: File,
    is_left: bool,
}

impl FileLock {
    /// Takes the lock on a file, which is made if it is missing; none if others are in the way.
    pub(crate) fn try_take(path: &Path, sharing: Sharing) -> io::Result<Option<Self>> {
        let file = open(path)?;
        let operation = match sharing {
            Sharing::Shared => FlockOperation::NonBlockingLockShared,
            Sharing::Alone => FlockOperation::NonBlockingLockExclusive,
        };
        match rustix::io::retry_on_intr(|| flock(&file, operation)) {
            Ok(()) => Ok(Some(Self::of(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends the lock once it is taken. The system has no wait with a limit for this, so a thread waits; if nobody
    /// listens any more it gives the lock back at once.
    pub(crate) fn taking(path: &Path, sharing: Sharing) -> io::Result<Receiver<io::Result<Self>>> {
        let file = open(path)?;
        let operation = match sharing {
            Sharing::Shared => FlockOperation::LockShared,
            Sharing::Alone => FlockOperation::LockExclusive,
        };
        let (taken, takes) = bounded(1);
        thread::Builder::new().name("file lock".to_string()).stack_size(64 << 10).spawn(move || {
            let locked = rustix::io::retry_on_intr(|| flock(&file, operation));
            let _ = taken.send(locked.map(|()| Self::of(file)).map_err(io::Error::from));
        })?;
        Ok(takes)
    }

    /// Takes a lock that nobody holds for long; an error after `limit`.
    pub(crate) fn take_alone(path: &Path, limit: Duration) -> io::Result<Self> {
        if let Some(lock) = Self::try_take(path, Sharing::Alone)? {
            return Ok(lock);
        }
        let taken = Self::taking(path, Sharing::Alone)?.recv_timeout(limit);
        taken.map_err(|error| io::Error::new(io::ErrorKind::TimedOut, error))?
    }

    /// The locked file, for a child that must keep the lock when we die.
    pub(crate) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Lets go without giving the lock back: whoever else has the file keeps it.
    pub(crate) fn leave(mut self) {
        self.is_left = true;
    }

    fn of(file: File) -> Self {
        Self { file, is_left: false }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        if !self.is_left {
            // Closing it would not do: for a moment, every child that another thread is just making has the file too.
            let _ = flock(&self.file, FlockOperation::Unlock);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)
}
