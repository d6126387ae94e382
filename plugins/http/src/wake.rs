//! Wakes the poll loop from other threads: a socket pair, since `poll` hears no channel.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The end that rings; workers and the handle share it.
#[derive(Debug)]
pub(crate) struct Waker {
    stream: UnixStream,
    rung: Arc<AtomicBool>,
}

/// The end that the poll loop watches.
#[derive(Debug)]
pub(crate) struct Ear {
    stream: UnixStream,
    rung: Arc<AtomicBool>,
}

pub(crate) fn pair() -> io::Result<(Waker, Ear)> {
    let (ringing, hearing) = UnixStream::pair()?;
    ringing.set_nonblocking(true)?;
    hearing.set_nonblocking(true)?;
    let rung = Arc::new(AtomicBool::new(false));
    Ok((Waker { stream: ringing, rung: rung.clone() }, Ear { stream: hearing, rung }))
}

impl Waker {
    /// Rings once however often it is called before the loop looks.
    pub(crate) fn wake(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            // A full or closed pair needs no byte: the loop is awake or gone.
            let _ = (&self.stream).write(&[1]);
        }
    }
}

impl Ear {
    /// Call before looking at what the ringing was about: what comes later rings again.
    pub(crate) fn quiet(&self) {
        let mut bytes = [0; 16];
        while matches!((&self.stream).read(&mut bytes), Ok(n_bytes) if n_bytes == bytes.len()) {}
        self.rung.store(false, Ordering::SeqCst);
    }
}

impl AsFd for Ear {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
