//! Room for sockets: macOS starts its processes with 256 descriptors, of which plugins and children need some too.

use log::warn;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most that macOS takes where the hard limit is "none".
const OPEN_MAX: u64 = 10_240;

/// Raises the soft limit to the hard one. Best effort: a low limit costs connections, not correctness.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let Some(current) = limit.current else { return };
    let bounded = limit.maximum.map_or(OPEN_MAX, |maximum| maximum.min(OPEN_MAX));
    let is_enough = [limit.maximum, Some(bounded)].into_iter().any(|wanted| {
        let is_there = wanted.is_some_and(|wanted| wanted <= current);
        is_there || setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum: limit.maximum }).is_ok()
    });
    if !is_enough {
        warn!(current; "cannot raise the limit of open files");
    }
}
