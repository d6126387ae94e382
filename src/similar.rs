//! Which of the known names is most like one that is not known: for errors that help.

use anklet_plugin_api::sorted::sort_by_key;

/// Longer than any name by far; comparing would only cost time.
const MOST_BYTES: usize = 200;

/// The `n_wanted` items of which one of the two texts is most like `name`, the most similar first, each once.
pub(crate) fn most_similar<'a, T: PartialEq>(
    name: &str,
    items: &'a [T],
    texts: impl Fn(&'a T) -> [&'a str; 2],
    n_wanted: usize,
) -> Vec<&'a T> {
    let name: String = name.to_lowercase().chars().take(MOST_BYTES).collect();
    let far = |item: &'a T| {
        let texts = texts(item).into_iter().filter(|text| text.len() <= MOST_BYTES);
        texts.map(|text| distance(&text.to_lowercase(), &name)).min().unwrap_or(usize::MAX)
    };
    let mut ranked: Vec<_> = items.iter().map(|item| (far(item), item)).collect();
    sort_by_key(&mut ranked, |(distance, _)| *distance);
    let mut found: Vec<&T> = Vec::new();
    for (_, item) in ranked {
        if found.len() < n_wanted && !found.contains(&item) {
            found.push(item);
        }
    }
    found
}

/// The one of these names that was probably meant, if one is near enough.
pub(crate) fn nearest<'a>(names: impl IntoIterator<Item = &'a str>, name: &str) -> Option<&'a str> {
    if name.len() > MOST_BYTES {
        return None;
    }
    let allowed = (name.len() / 3).min(3);
    names
        .into_iter()
        .map(|known| (distance(known, name), known))
        .filter(|(n_changes, _)| *n_changes <= allowed)
        .min_by_key(|(n_changes, _)| *n_changes)
        .map(|(_, known)| known)
}

/// How many letters must be changed, added or removed; two that changed places count as one.
pub(crate) fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut row_before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut n_changes = (row[j] + usize::from(a != b)).min(next[j] + 1).min(row[j + 1] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                n_changes = n_changes.min(row_before[j - 1] + 1);
            }
            next.push(n_changes);
        }
        row_before = std::mem::replace(&mut row, next);
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (one, other, n) in [
            ("", "", 0),
            ("abc", "", 3),
            ("token", "tokne", 1),
            ("prot", "port", 1),
            ("port", "ports", 1),
            ("abcd", "badc", 2),
            ("abc", "cba", 2),
        ] {
            assert_eq!(distance(one, other), n, "{one} {other}");
            assert_eq!(distance(other, one), n, "{other} {one}");
        }
    }

    #[test]
    fn the_nearest_is_near() {
        let names = ["check", "status", "why"];
        assert_eq!(nearest(names, "chek"), Some("check"));
        assert_eq!(nearest(names, "stauts"), Some("status"));
        assert_eq!(nearest(names, "config.yml"), None);
        assert_eq!(nearest(names, ""), None);
        assert_eq!(nearest(names, &"x".repeat(1000)), None);
    }

    #[test]
    fn the_nearest_come_first_and_once() {
        let names = ["sonoma", "sequoia", "ventura", "sonoma", "Sonoma-14"];
        let nearest = |name: &str| most_similar(name, &names, |name| [*name, *name], 2);
        assert_eq!(nearest("sonma"), [&"sonoma", &"Sonoma-14"]);
        assert_eq!(nearest("VENTURA"), [&"ventura", &"sonoma"]);
        assert_eq!(nearest(&"x".repeat(1_000_000)).len(), 2);
    }
}
