//! The operating system's signals as events: INT and TERM stop, QUIT drains. HUP is left alone, so that `nohup anklet &` survives a logout.

use std::io;
use std::thread::Builder;

use crossbeam_channel::Sender;
use signal_hook::consts::{SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::daemon::Event;

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Stop soon; a second one stops at once.
    Interrupt,
    /// Finish what is in work, take nothing new.
    Drain,
}

/// Sends every signal as an event, for the rest of the process's life.
pub(crate) fn listen(events: Sender<Event>) -> io::Result<()> {
    let interrupts = events.clone();
    // The daemon may have ended already when a signal comes; then nobody has to hear it.
    ctrlc::set_handler(move || {
        let _ = interrupts.send(Event::Signal(Signal::Interrupt));
    })
    .map_err(io::Error::other)?;
    let mut signals = Signals::new([SIGTERM, SIGQUIT])?;
    Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let signal = if signal == SIGQUIT { Signal::Drain } else { Signal::Interrupt };
            let _ = events.send(Event::Signal(signal));
        }
    })?;
    Ok(())
}
