//! Stand-ins for the daemon's side of the contract, so that plugins and stores are tested without SQLite, Redis or `anka`.
//!
//! [`memory`] is also the model that the conformance suite compares every store with.

pub mod host;
pub mod made;
pub mod memory;
pub mod report;
pub mod vm_host;
