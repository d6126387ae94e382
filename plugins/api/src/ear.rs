//! `Ear`: what a long step listens to while it waits, so that a stop or the end of its job cuts it short.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvError, at, never, select};

use crate::stop::Stop;
use crate::store::JobSignal;

/// What can cut a step short.
#[derive(Clone, Copy)]
pub struct Ear<'a> {
    stop: Option<(&'a Stop, Duration)>,
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
    /// Hears nothing: the step comes to its end under its own limits.
    pub fn deaf() -> Self {
        Self { stop: None, signals: None }
    }

    /// Hears a stop only.
    pub fn to_stop(stop: &'a Stop) -> Self {
        Self::to_stop_after(stop, Duration::ZERO)
    }

    /// For cleaning up, which goes on after a stop: cut only when `patience` has passed since the stop was asked for.
    pub fn to_stop_after(stop: &'a Stop, patience: Duration) -> Self {
        Self { stop: Some((stop, patience)), signals: None }
    }

    /// Hears a stop, and signals for which `judge` decides.
    pub fn to_signals(stop: &'a Stop, signals: &'a Receiver<JobSignal>, judge: Judge<'a>) -> Self {
        Self { stop: Some((stop, Duration::ZERO)), signals: Some((signals, judge)) }
    }

    /// Waits for `done`, for as long as nothing cuts it, until `deadline`.
    pub fn wait<T>(&self, done: &Receiver<T>, deadline: Instant) -> Heard<T> {
        let deaf_stop = never();
        let deaf_signals = never();
        let mut stop = self.stop.map_or(&deaf_stop, |(stop, _)| stop.closed());
        let mut signals = self.signals.map_or(&deaf_signals, |(signals, _)| signals);
        let mut patience_ends = never();
        let limit = at(deadline);
        loop {
            // What is done counts even if the stop was asked for in the same moment.
            if let Ok(value) = done.try_recv() {
                return Heard::Done(value);
            }
            select! {
                recv(done) -> value => return value.map_or(Heard::Gone, Heard::Done),
                recv(stop) -> _ => match self.cut_at() {
                    Some(cut_at) if cut_at > Instant::now() => (stop, patience_ends) = (&deaf_stop, at(cut_at)),
                    _ => return Heard::Cut,
                },
                recv(patience_ends) -> _ => return Heard::Cut,
                recv(limit) -> _ => return Heard::TooSlow,
                recv(signals) -> signal => match signal {
                    Ok(signal) if self.judges(&signal) => return Heard::Cut,
                    Ok(_) => {}
                    Err(RecvError) => signals = &deaf_signals,
                },
            }
        }
    }

    /// Waits until `deadline` for nothing but a reason to be cut; true if there was one.
    pub fn rest_until(&self, deadline: Instant) -> bool {
        matches!(self.wait::<()>(&never(), deadline), Heard::Cut)
    }

    /// Whether a step should not even begin.
    pub fn is_cut(&self) -> bool {
        self.cut_at().is_some_and(|cut_at| cut_at <= Instant::now())
    }

    /// How long something that must end may take to do so: `normally`, and less where a stop presses.
    pub fn grace(&self, normally: Duration) -> Duration {
        match (self.stop, self.cut_at()) {
            // Cleaning up after a stop has used up its patience by then, so only a moment is left.
            (Some((_, patience)), Some(_)) if !patience.is_zero() => normally.min(Duration::from_secs(1)),
            _ => normally,
        }
    }

    fn cut_at(&self) -> Option<Instant> {
        self.stop.and_then(|(stop, patience)| stop.closed_at().map(|closed_at| closed_at + patience))
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
        assert!(!Ear::to_stop(&stop).is_cut());
        drop(stopper);
        assert!(Ear::to_stop(&stop).is_cut());
        assert_eq!(Ear::to_stop(&stop).wait(&done, late()), Heard::Cut);
        sender.send(1).unwrap();
        assert_eq!(Ear::to_stop(&stop).wait(&done, late()), Heard::Done(1));
    }

    #[test]
    fn cleaning_up_goes_on_for_a_while_after_a_stop() {
        let (_sender, done) = unbounded::<()>();
        let (stopper, stop) = stop::stop();
        let patient = Ear::to_stop_after(&stop, Duration::from_millis(20));
        drop(stopper);
        assert!(!Ear::to_stop_after(&stop, Duration::from_secs(60)).is_cut());
        assert_eq!(patient.wait(&done, late()), Heard::Cut);
        assert!(patient.is_cut());
        assert_eq!(patient.grace(Duration::from_secs(10)), Duration::from_secs(1));
        assert_eq!(Ear::to_stop(&stop).grace(Duration::from_secs(10)), Duration::from_secs(10));
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
