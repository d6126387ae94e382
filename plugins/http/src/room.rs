//! Who has to go when there is no room: pure choices, apart from the loop that carries them out.

use std::time::{Duration, Instant};

use crate::connection::Standing;

/// A request younger than this is not taken for a slow one.
const HEALTHY_LIMIT: Duration = Duration::from_secs(1);

/// The connection that is closed for a new one; `None` while all are complete requests.
///
/// First the oldest request that is unfinished for over a second. Then the longest idle connection, and after those
/// the youngest requests, the one with the fewest bytes first: a flood of connections must not push out a request
/// whose second packet is on its way. Last a refused one that is being drained.
pub(crate) fn connection_to_close(
    connections: impl Iterator<Item = (u64, Standing)>,
    now: Instant,
) -> Option<u64> {
    let is_slow = |since| now.saturating_duration_since(since) > HEALTHY_LIMIT;
    let rank = |standing: Standing| match standing {
        Standing::Unfinished { since, .. } if is_slow(since) => Some((0, 0, since)),
        Standing::Idle { since } => Some((1, 0, since)),
        Standing::Unfinished { since, n_bytes } => Some((2, n_bytes, since)),
        Standing::Lingering { since } => Some((3, 0, since)),
        Standing::Complete => None,
    };
    let ranked = connections.filter_map(|(id, standing)| rank(standing).map(|rank| (rank, id)));
    ranked.min().map(|(_, id)| id)
}

/// The request that is refused because all bodies together are too many bytes, after that of `newest` grew to
/// `n_newest` bytes. A small request does not pay for a large one that is still coming in.
pub(crate) fn body_to_refuse(
    unfinished: impl Iterator<Item = (u64, usize)>,
    newest: u64,
    n_newest: usize,
    n_fair: usize,
) -> u64 {
    if n_newest > n_fair {
        return newest;
    }
    let largest = unfinished.filter(|(_, n_bytes)| *n_bytes > n_fair).max_by_key(|(_, n_bytes)| *n_bytes);
    largest.map_or(newest, |(id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_first() {
        let now = Instant::now() + Duration::from_secs(100);
        let ago = |n_millis| now - Duration::from_millis(n_millis);
        let unfinished = |n, n_bytes| Standing::Unfinished { since: ago(n), n_bytes };
        let idle = |n| Standing::Idle { since: ago(n) };
        let lingering = |n| Standing::Lingering { since: ago(n) };
        let check = |standings: &[Standing], expected: Option<u64>| {
            let connections = standings.iter().enumerate().map(|(id, standing)| (id as u64, *standing));
            assert_eq!(connection_to_close(connections, now), expected, "{standings:?}");
        };
        check(&[], None);
        check(&[Standing::Complete, Standing::Complete], None);
        check(&[unfinished(2000, 1), unfinished(3000, 9), idle(9000)], Some(1));
        check(&[idle(9000), unfinished(1001, 9)], Some(1));
        check(&[unfinished(40, 1), idle(20), idle(30)], Some(2));
        check(&[unfinished(40, 9), unfinished(30, 8), unfinished(20, 8)], Some(1));
        check(&[lingering(50), unfinished(60, 1)], Some(1));
        check(&[Standing::Complete, lingering(9000), idle(1)], Some(2));
        check(&[Standing::Complete, lingering(1), lingering(2)], Some(2));
    }

    #[test]
    fn which_body_is_refused() {
        let check = |unfinished: &[(u64, usize)], n_newest, expected| {
            assert_eq!(
                body_to_refuse(unfinished.iter().copied(), 7, n_newest, 10),
                expected,
                "{unfinished:?}"
            );
        };
        check(&[(1, 50), (2, 90), (7, 10)], 10, 2);
        check(&[(1, 50), (2, 90), (7, 11)], 11, 7);
        check(&[(1, 10), (7, 5)], 5, 7);
        check(&[], 5, 7);
    }
}
