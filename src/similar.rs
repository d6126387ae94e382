//! Which of the known names is most like one that is not known: for errors that help.

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
    ranked.sort_by_key(|(distance, _)| *distance);
    let mut found: Vec<&T> = Vec::new();
    for (_, item) in ranked {
        if found.len() < n_wanted && !found.contains(&item) {
            found.push(item);
        }
    }
    found
}

/// How many letters must be changed, added or removed.
pub(crate) fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_come_first_and_once() {
        let names = ["sonoma", "sequoia", "ventura", "sonoma", "Sonoma-14"];
        let nearest = |name: &str| most_similar(name, &names, |name| [*name, *name], 2);
        assert_eq!(nearest("sonma"), [&"sonoma", &"Sonoma-14"]);
        assert_eq!(nearest("VENTURA"), [&"ventura", &"sonoma"]);
        assert_eq!(nearest(&"x".repeat(1_000_000)).len(), 2);
    }
}
