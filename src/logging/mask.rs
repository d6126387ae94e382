//! Hides configured secrets in whatever is logged: the last net, for text that came from elsewhere with a secret in it.

use std::borrow::Cow;
use std::sync::{PoisonError, RwLock};

use anklet_plugin_api::section::Secret;
use anklet_plugin_api::sorted::sort_by_key;

/// A shorter secret would hide parts of ordinary words.
const LEAST_CHARACTERS: usize = 6;

/// A line of a private key that is shorter than this says nothing.
const LEAST_LINE: usize = 20;

static HIDDEN: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Writes `***` for this secret from now on, in every line of the log. One of less than 6 characters is not hidden.
pub(crate) fn hide(secret: &Secret) {
    let mut hidden = HIDDEN.write().unwrap_or_else(PoisonError::into_inner);
    add(&mut hidden, secret.reveal());
}

fn add(hidden: &mut Vec<String>, secret: &str) {
    let whole = secret.trim();
    let lines =
        whole.lines().map(str::trim).filter(|line| line.len() >= LEAST_LINE && !line.starts_with("-----"));
    for part in std::iter::once(whole).chain(lines) {
        if part.chars().count() >= LEAST_CHARACTERS && !hidden.iter().any(|other| other == part) {
            hidden.push(part.to_owned());
        }
    }
    // A secret within another goes last, or the rest of the longer one would stay.
    sort_by_key(hidden, |part| std::cmp::Reverse(part.len()));
}

/// The text without the secrets.
pub(super) fn mask(text: &str) -> Cow<'_, str> {
    mask_all(&HIDDEN.read().unwrap_or_else(PoisonError::into_inner), text)
}

fn mask_all<'a>(hidden: &[String], text: &'a str) -> Cow<'a, str> {
    let mut masked = Cow::Borrowed(text);
    for part in hidden.iter().filter(|part| text.contains(part.as_str())) {
        masked = Cow::Owned(masked.replace(part.as_str(), "***"));
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden() {
        let mut hidden = Vec::new();
        let key = "-----BEGIN KEY-----\nMIIEowIBAAKCAQEAxxxx\nshort\n-----END KEY-----\n";
        for secret in ["ghp_abc", "ghp_abcdef", "12345", " padded \n", key, ""] {
            add(&mut hidden, secret);
        }
        for (text, masked) in [
            ("nothing here", "nothing here"),
            ("a ghp_abcdef b ghp_abc", "a *** b ***"),
            ("12345", "12345"),
            ("padded", "***"),
            ("line MIIEowIBAAKCAQEAxxxx of a key", "line *** of a key"),
            ("-----BEGIN KEY-----", "-----BEGIN KEY-----"),
            (key.trim(), "***"),
        ] {
            assert_eq!(mask_all(&hidden, text), masked);
        }
    }
}
