//! The real program in a world of stand-ins: a GitHub that answers and sends webhooks, an `anka` whose guests really run.
//!
//! Nothing here waits for time to pass: tests wait for what GitHub, anka or the log shows, with a generous limit.

mod cli;
mod crash;
mod jobs;
mod signals;
mod support;
