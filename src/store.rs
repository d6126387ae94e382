//! Picks the queue's home.

pub(crate) mod embedded;
