//! Redis servers and clusters for these tests: those of the store's own.

#![allow(dead_code, reason = "shared with the store's tests, which need more of it")]

#[path = "../../src/store/redis/tests/nodes.rs"]
pub(crate) mod nodes;
#[path = "../../src/store/redis/tests/server.rs"]
pub(crate) mod server;
