//! Tells the other processes of the host that room became free or that a drain began or ended, so that nobody has to look again and again.
//!
//! Each process listens on a datagram socket of its own in the folder `wake`. A word on it says only that looking pays: it may be lost, and
//! the handlers' own looks cover that.

use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::thread::{Builder, JoinHandle};

use log::{debug, warn};

/// Ends the thread of the process that it comes from.
const END: &[u8] = b"end";
/// Room became free, or handlers may take jobs again, or no more.
const FREED: &[u8] = b"freed";

/// The sockets of the host's processes, and our own.
#[derive(Debug)]
pub(super) struct Wake {
    folder: PathBuf,
    own: PathBuf,
    thread: Option<JoinHandle<()>>,
}

impl Wake {
    /// Listens from now on. Where that cannot be had, words of others are not heard, and the looks of the handlers have to do.
    pub(super) fn listen(folder: &Path, on_freed: impl Fn() + Send + 'static) -> Self {
        let folder = folder.join("wake");
        let own = folder.join(std::process::id().to_string());
        let thread = bind(&folder, &own).and_then(|socket| {
            let listener = Builder::new().name("host wake".to_owned()).stack_size(64 << 10);
            listener.spawn(move || heed(&socket, on_freed))
        });
        let thread = thread.map_err(|error| {
            warn!(path:% = own.display(), error:% = error; "room that other processes free is noticed late");
        });
        Self { folder, own, thread: thread.ok() }
    }

    /// Tells all other processes of the host.
    pub(super) fn tell_others(&self) {
        tell_all(&self.folder, Some(&self.own));
    }
}

/// Tells all processes of the host whose folder this is that looking pays, from one that does not listen itself.
pub(super) fn tell_host(folder: &Path) {
    tell_all(&folder.join("wake"), None);
}

fn tell_all(folder: &Path, but: Option<&Path>) {
    let told = fs::read_dir(folder).and_then(|entries| {
        let paths = entries.flatten().map(|entry| entry.path());
        let others: Vec<_> = paths.filter(|path| Some(path.as_path()) != but).collect();
        if others.is_empty() {
            return Ok(());
        }
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        for other in others {
            tell(&socket, &other);
        }
        Ok(())
    });
    if let Err(error) = told {
        debug!(path:% = folder.display(), error:% = error; "other processes are not told that room is free");
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let said = UnixDatagram::unbound().and_then(|socket| socket.send_to(END, &self.own));
        let _ = fs::remove_file(&self.own);
        if said.is_ok() {
            let _ = thread.join();
        }
    }
}

fn bind(folder: &Path, own: &Path) -> io::Result<UnixDatagram> {
    fs::create_dir_all(folder)?;
    // Of an earlier process with our number.
    match fs::remove_file(own) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => UnixDatagram::bind(own),
    }
}

fn heed(socket: &UnixDatagram, on_freed: impl Fn()) {
    let mut word = [0; 16];
    loop {
        match socket.recv(&mut word) {
            Ok(length) if word[..length] == *END => return,
            Ok(_) => on_freed(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                warn!(error:% = error; "room that other processes free is noticed late");
                return;
            }
        }
    }
}

fn tell(socket: &UnixDatagram, other: &Path) {
    match socket.send_to(FREED, other) {
        // Its process was killed.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let _ = fs::remove_file(other);
        }
        // A full socket tells the same.
        Ok(_) | Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::host::tests::Folder;

    #[test]
    fn others_are_told_and_dead_ones_forgotten() {
        let folder = Folder::new();
        let (sender, receiver) = bounded(1);
        let one = Wake::listen(folder.path(), move || {
            let _ = sender.try_send(());
        });
        let dead = folder.path().join("wake/1");
        drop(UnixDatagram::bind(&dead).unwrap());
        // As another process would.
        let other = Wake { folder: one.folder.clone(), own: folder.path().join("wake/other"), thread: None };
        other.tell_others();
        receiver.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(!dead.exists());
        one.tell_others();
        assert!(receiver.is_empty(), "nobody tells itself");
        let own = one.own.clone();
        drop(one);
        assert!(!own.exists());
    }
}
