//! `Ear`: what a long step listens to while it waits, so that a stop or the end of its job cuts it short.

use std::time::Instant;

use crossbeam_channel::{Receiver, RecvError, at, never, select};

use crate::stop::Stop;
use crate::store::JobSignal;

/// What can cut a step short.
pub struct Ear<'a> {
    stop: Option<&'a Stop>,
    signals: Option<(&'a Receiver<JobSignal>, Judge<'a>)>,
}

/// Hears each signal and says whether the step has become useless.
pub type Judge<'a> = &'a dyn Fn(&JobSignal) -> bool;

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard<T> {
    /// What was waited for came.
    Done(T),
    /// Whoever should have sent it is gone.
    Gone,
    /// The stop was asked for, or a signal made the step useless.
    Cut,
    /// The limit passed.
    TooSlow,
}

impl<'a> Ear<'a> {
    /// Hears nothing: for cleaning up, which must come to its end under its own limits.
    pub fn deaf() -> Self {
        Self { stop: None, signals: None }
    }

    /// Hears a stop only.
    pub fn to_stop(stop: &'a Stop) -> Self {
        Self { stop: Some(stop), signals: None }
    }

    /// Hears a stop, and signals for which `judge` decides.
    pub fn to_signals(stop: &'a Stop, signals: &'a Receiver<JobSignal>, judge: Judge<'a>) -> Self {
        Self { stop: Some(stop), signals: Some((signals, judge)) }
    }

    /// Waits for `done`, for as long as nothing cuts it, until `deadline`.
    pub fn wait<T>(&self, done: &Receiver<T>, deadline: Instant) -> Heard<T> {
        let deaf_stop = never();
        let deaf_signals = never();
        let stop = self.stop.map_or(&deaf_stop, |stop| stop.closed());
        let mut signals = self.signals.map_or(&deaf_signals, |(signals, _)| signals);
        let limit = at(deadline);
        loop {
            // What is done counts even if the stop was asked for in the same moment.
            if let Ok(value) = done.try_recv() {
                return Heard::Done(value);
            }
            select! {
                recv(done) -> value => return value.map_or(Heard::Gone, Heard::Done),
                recv(stop) -> _ => return Heard::Cut,
                recv(limit) -> _ => return Heard::TooSlow,
                recv(signals) -> signal => match signal {
                    Ok(signal) if self.judges(&signal) => return Heard::Cut,
                    Ok(_) => {}
                    Err(RecvError) => signals = &deaf_signals,
                },
            }
        }
    }

    fn judges(&self, signal: &JobSignal) -> bool {
        self.signals.is_some_and(|(_, judge)| judge(signal))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use crossbeam_channel::unbounded;

    use super::*;
    use crate::stop;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(5)
    }

    fn late() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn the_deaf_ear_hears_only_the_end() {
        let (sender, done) = unbounded();
        assert_eq!(Ear::deaf().wait(&done, soon()), Heard::TooSlow);
        sender.send(7).unwrap();
        assert_eq!(Ear::deaf().wait(&done, late()), Heard::Done(7));
        drop(sender);
        assert_eq!(Ear::deaf().wait(&done, late()), Heard::Gone);
    }

    #[test]
    fn a_stop_cuts_but_not_what_is_done() {
        let (sender, done) = unbounded();
        let (stopper, stop) = stop::stop();
        drop(stopper);
        assert_eq!(Ear::to_stop(&stop).wait(&done, late()), Heard::Cut);
        sender.send(1).unwrap();
        assert_eq!(Ear::to_stop(&stop).wait(&done, late()), Heard::Done(1));
    }

    #[test]
    fn the_judge_hears_every_signal_and_decides() {
        let (_sender, done) = unbounded::<()>();
        let (_stopper, stop) = stop::stop();
        let (signal, signals) = unbounded();
        signal.send(JobSignal::Look).unwrap();
        signal.send(JobSignal::Retry).unwrap();
        let n_heard = Cell::new(0);
        let judge = |signal: &JobSignal| {
            n_heard.set(n_heard.get() + 1);
            *signal == JobSignal::Retry
        };
        assert_eq!(Ear::to_signals(&stop, &signals, &judge).wait(&done, late()), Heard::Cut);
        assert_eq!(n_heard.get(), 2);
        drop(signal);
        assert_eq!(Ear::to_signals(&stop, &signals, &judge).wait(&done, soon()), Heard::TooSlow);
    }
}
