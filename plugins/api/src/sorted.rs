//! Sorting, with one sort for all kinds of things.
//!
//! The standard library's sort is made anew for each kind of item and order, five KiB each time, and `collect` into a `BTreeMap` has
//! one too. What is sorted here are positions, so all share one; the lists are those of people's queues and hosts, and short.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Sorts by a key; items of equal keys keep their order.
pub fn sort_by_key<T, K: Ord>(items: &mut Vec<T>, key: impl Fn(&T) -> K) {
    sort_by(items, |one, other| key(one).cmp(&key(other)));
}

/// Sorts as `compare` says; equal items keep their order.
pub fn sort_by<T>(items: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    let positions = sorted_positions(items.len(), &|one, other| compare(&items[one], &items[other]));
    let mut taken: Vec<Option<T>> = std::mem::take(items).into_iter().map(Some).collect();
    items.extend(positions.into_iter().filter_map(|position| taken[position].take()));
}

/// A map of these pairs; of equal keys the last counts.
pub fn map_of<K: Ord, V>(pairs: impl Iterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    map.extend(pairs);
    map
}

/// A set of these items.
pub fn set_of<T: Ord>(items: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    set.extend(items);
    set
}

fn sorted_positions(n_items: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut positions: Vec<usize> = (0..n_items).collect();
    positions.sort_by(|one, other| compare(*one, *other));
    positions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_in_order_and_equal_ones_as_they_were() {
        let mut items = vec![(3, 'a'), (1, 'b'), (3, 'c'), (2, 'd'), (1, 'e')];
        sort_by_key(&mut items, |(number, _)| *number);
        assert_eq!(items, [(1, 'b'), (1, 'e'), (2, 'd'), (3, 'a'), (3, 'c')]);
        sort_by(&mut items, |one, other| other.1.cmp(&one.1));
        assert_eq!(items.iter().map(|(_, letter)| *letter).collect::<String>(), "edcba");
    }

    #[test]
    fn many_items_are_sorted_and_none_is_lost() {
        let mut items: Vec<u64> =
            (0..5_000_u64).map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40).collect();
        let mut expected = items.clone();
        expected.sort_unstable();
        sort_by_key(&mut items, |number| *number);
        assert_eq!(items, expected);
    }
}
