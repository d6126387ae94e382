//! A child's pipes: feeds its standard input, drains both outputs into bounded memory, and knows when to let go.
//!
//! One thread polls all of them, so that no full pipe can block the child or us, whatever order it reads and writes in.
//! It ends when the child has ended and the pipes are empty, not at their end of file: a process that the child left
//! behind may hold them for hours.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStdin};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// What is kept of the beginning of a stream.
const HEAD_BYTES: usize = 64 << 10;
/// What is kept of its end, at least: an envelope with hundreds of VMs fits.
const TAIL_BYTES: usize = 1 << 20;
/// The most that is read after the child's end: more than any pipe holds, so that all of its own words are heard.
const FINAL_BYTES: usize = 2 << 20;
/// What is read at once: on the stack of its thread, since the heap would keep it wherever such a thread has run.
const BUFFER_BYTES: usize = 8 << 10;

/// What a stream carried: its beginning and its end.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    head: Vec<u8>,
    tail: Vec<u8>,
    n_dropped: u64,
}

impl Captured {
    /// Takes the next bytes of the stream.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let n_head = bytes.len().min(HEAD_BYTES - self.head.len());
        let (head, tail) = bytes.split_at(n_head);
        self.head.extend_from_slice(head);
        self.tail.extend_from_slice(tail);
        if self.tail.len() > 2 * TAIL_BYTES {
            let n_dropped = self.tail.len() - TAIL_BYTES;
            self.tail.drain(..n_dropped);
            self.n_dropped += n_dropped as u64;
        }
    }

    /// All of it or, where it was too much, a beginning, a line that says so, and the end.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        if self.n_dropped > 0 {
            bytes.extend_from_slice(format!("\n[{} bytes left out]\n", self.n_dropped).as_bytes());
        }
        bytes.extend_from_slice(&self.tail);
        bytes
    }

    /// Whether nothing came.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }
}

/// Our ends of a child's pipes, ready to be served.
pub(crate) struct Pipes {
    input: Option<(ChildStdin, Vec<u8>)>,
    output: Reader,
    errors: Reader,
    ended: PipeReader,
}

impl Pipes {
    /// Takes the pipes of `child`; `input` is written to its standard input. `ended` closes when the child has ended.
    pub(crate) fn of(child: &mut Child, input: Vec<u8>, ended: PipeReader) -> io::Result<Self> {
        let output = Reader::new(child.stdout.take().map(OwnedFd::from))?;
        let errors = Reader::new(child.stderr.take().map(OwnedFd::from))?;
        let input = child.stdin.take().map(|stdin| (stdin, input));
        if let Some((stdin, _)) = &input {
            never_block(stdin)?;
        }
        Ok(Self { input, output, errors, ended })
    }

    /// Serves the pipes until the child has ended; standard output and standard error.
    pub(crate) fn serve(mut self) -> io::Result<(Captured, Captured)> {
        let mut buffer = [0; BUFFER_BYTES];
        let mut n_written = 0;
        while !self.wait()? {
            if let Some((stdin, bytes)) = &mut self.input
                && write_some(stdin, bytes, &mut n_written)
            {
                self.input = None;
            }
            self.output.take(&mut buffer);
            self.errors.take(&mut buffer);
        }
        for reader in [&mut self.output, &mut self.errors] {
            let mut n_left = FINAL_BYTES / BUFFER_BYTES;
            while n_left > 0 && reader.take(&mut buffer) {
                n_left -= 1;
            }
        }
        Ok((self.output.captured, self.errors.captured))
    }

    /// Waits until a pipe can be served; true once the child has ended.
    fn wait(&self) -> io::Result<bool> {
        let mut fds = vec![PollFd::new(&self.ended, PollFlags::IN)];
        for pipe in [&self.output.pipe, &self.errors.pipe].into_iter().flatten() {
            fds.push(PollFd::new(pipe, PollFlags::IN));
        }
        fds.extend(self.input.as_ref().map(|(stdin, _)| PollFd::new(stdin, PollFlags::OUT)));
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        Ok(fds.first().is_some_and(|ended| !ended.revents().is_empty()))
    }
}

/// One of the two outputs.
struct Reader {
    /// None after its end.
    pipe: Option<File>,
    captured: Captured,
}

impl Reader {
    fn new(pipe: Option<OwnedFd>) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            never_block(pipe)?;
        }
        Ok(Self { pipe: pipe.map(File::from), captured: Captured::default() })
    }

    /// Takes what is there; true if something was.
    fn take(&mut self, buffer: &mut [u8]) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        match pipe.read(buffer) {
            Ok(n_bytes @ 1..) => {
                self.captured.push(buffer.get(..n_bytes).unwrap_or_default());
                return true;
            }
            Err(error) if may_go_on(&error) => {}
            Ok(0) | Err(_) => self.pipe = None,
        }
        false
    }
}

/// Writes what the pipe takes; true when there is no more to write, or nobody to read it.
fn write_some(stdin: &mut ChildStdin, bytes: &[u8], n_written: &mut usize) -> bool {
    match stdin.write(bytes.get(*n_written..).unwrap_or_default()) {
        Ok(n_bytes) => {
            *n_written += n_bytes;
            *n_written >= bytes.len()
        }
        // A child that closes its input early says with its exit code whether that is well.
        Err(error) => !may_go_on(&error),
    }
}

fn may_go_on(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn never_block(pipe: &impl AsFd) -> io::Result<()> {
    fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_stream_is_kept_whole() {
        let mut captured = Captured::default();
        assert!(captured.is_empty());
        captured.push(b"one ");
        captured.push(b"two");
        assert_eq!(captured.bytes(), b"one two");
    }

    #[test]
    fn of_a_long_stream_both_ends_are_kept_in_bounded_memory() {
        let mut captured = Captured::default();
        captured.push(b"first ");
        for _ in 0..1_000 {
            captured.push(&[b'x'; 10_000]);
        }
        captured.push(b" last");
        let bytes = captured.bytes();
        assert!(bytes.starts_with(b"first xxx") && bytes.ends_with(b"xxx last"));
        assert!(bytes.len() <= HEAD_BYTES + 2 * TAIL_BYTES + 64, "{} bytes are kept", bytes.len());
        assert!(String::from_utf8_lossy(&bytes).contains("bytes left out]\n"));
    }
}
