//! A way to Redis that can be cut and restored. What was under way when it was cut arrives when it is restored, as it may in a real network.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{Builder, JoinHandle};

/// Listens on a port of its own and carries bytes to another.
pub(super) struct Proxy {
    pub(super) port: u16,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    is_ending: bool,
    streams: Vec<TcpStream>,
}

impl Proxy {
    pub(super) fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let for_thread = Arc::clone(&shared);
        let thread = Builder::new().name("proxy".to_owned());
        let thread = thread.spawn(move || for_thread.listen(&listener, target)).unwrap();
        Self { port, shared, listener: Some(thread) }
    }

    /// From now on nothing arrives, in either direction, and nobody is told.
    pub(super) fn cut(&self) {
        self.shared.state.lock().unwrap().is_cut = true;
    }

    pub(super) fn restore(&self) {
        self.shared.state.lock().unwrap().is_cut = false;
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap();
        state.is_ending = true;
        for stream in state.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

impl Shared {
    fn listen(self: &Arc<Self>, listener: &TcpListener, target: u16) {
        let mut carriers = Vec::new();
        for stream in listener.incoming().map_while(Result::ok) {
            let mut state = self.state.lock().unwrap();
            if state.is_ending {
                break;
            }
            let Ok(onward) = TcpStream::connect(("127.0.0.1", target)) else { continue };
            for (from, to) in [(&stream, &onward), (&onward, &stream)] {
                state.streams.push(from.try_clone().unwrap());
                let (from, to, shared) =
                    (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(self));
                let thread = Builder::new().name("proxy carrier".to_owned());
                carriers.push(thread.spawn(move || shared.carry(from, to)).unwrap());
            }
        }
        for carrier in carriers {
            let _ = carrier.join();
        }
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 16 * 1024];
        loop {
            let n_read = from.read(&mut bytes).unwrap_or(0);
            let state = self.state.lock().unwrap();
            let state = self.changed.wait_while(state, |state| state.is_cut && !state.is_ending).unwrap();
            drop(state);
            if n_read == 0 || to.write_all(&bytes[..n_read]).is_err() {
                let _ = to.shutdown(Shutdown::Both);
                let _ = from.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}
