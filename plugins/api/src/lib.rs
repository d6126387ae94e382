//! What the Anklet daemon and its plugins promise each other.
//!
//! A plugin sees the queue, the VMs, the host and its part of the config only through the types of this crate; the daemon
//! implements the traits and hands them in. It stands alone so that Cargo refuses a plugin that names Redis, SQLite, `anka`
//! or another plugin.

#[cfg(feature = "fake")]
pub mod conformance;
pub mod ear;
#[cfg(feature = "fake")]
pub mod fake;
pub mod heartbeat;
pub mod host;
pub mod job;
pub mod limits;
pub mod log_context;
pub mod name;
pub mod plugin;
pub mod presence;
pub mod report;
pub mod scope;
pub mod section;
pub mod sorted;
pub mod stop;
pub mod store;
pub mod time;
pub mod vm;
