//! The stand-in from outside: over sockets, as the daemon, the guest and GitHub's receivers see it.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too, which clippy cannot see")]

mod apps;
mod budget;
mod hooks;
mod log;
mod misbehaviour;
mod rest;
mod runner;
mod runs;
mod support;
