//! The queue's homes: a file of this host, or Redis.

pub(crate) mod embedded;
pub(crate) mod redis;
mod signals;
