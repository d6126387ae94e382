//! Handler and janitor between a store in memory, VMs that are only names, and the stand-in GitHub: what the handbook's table of failures
//! says, where the timing is too fine for the whole program.
//!
//! No webhook comes by itself: a test tells the store what it wants told. Nothing sleeps; tests wait for a log line, a call or a state.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so and ends")]

mod crash;
mod faults;
mod mood;
mod question;
mod records;
mod sweep;
mod taken;
mod undo;
mod unknown;
mod watch;
mod world;
