//! Stand-ins for the daemon's side of the contract, so that plugins and stores are tested without SQLite, Redis or `anka`.
//!
//! [`memory`] is also the model that the [`conformance`](crate::conformance) suite compares every store with.

pub mod memory;
