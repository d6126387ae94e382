//! The real program in a world of stand-ins: a GitHub that answers and sends webhooks, an `anka` whose guests really run.
//!
//! Nothing here waits for time to pass: tests wait for what GitHub, anka or the log shows, with a generous limit.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on says so and ends"
)]

mod adoption;
mod bad_input;
mod cancel;
mod cli;
mod completions;
mod crash;
mod credentials;
mod diagnostics;
mod disk;
mod failures;
mod fleet;
mod github;
mod http;
mod init;
mod install;
mod installing;
mod jit;
mod jobs;
mod kills;
mod load;
mod logs;
mod lost;
mod metrics;
mod mounts;
mod neighbours;
mod prometheus;
mod proxy;
mod queue;
mod redeliver;
mod redis_keys;
mod redis_server;
mod redis_servers;
mod rooms;
mod rows;
mod runners;
mod secrets;
mod service;
mod signals;
mod soak;
mod stages;
mod support;
mod sweep;
mod templates;
mod terminal;
mod tools;
mod trial;
mod webhooks;
mod worlds;
