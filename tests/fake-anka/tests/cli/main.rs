//! The program as others see it: every verb, every error, guests that run, runners that register, faults on demand.

#![allow(clippy::unwrap_used, reason = "a test ends with the reason")]

mod admin;
mod faults;
mod github;
mod guest;
mod library;
mod look;
mod registry;
mod runner;
mod support;
