//! What becomes of text that `anka` or a guest printed before a person sees it, and of text before `anka` gets it.
//!
//! Both directions carry what strangers wrote, so the rules stand in one place: masked, bounded and without control
//! characters on the way out; never an option on the way in.

use anklet_plugin_api::section::Secret;
use anklet_plugin_api::sorted::sort_by_key;

/// Words of a secret shorter than this are too common to be masked by themselves.
const MASKED_WORD_BYTES: usize = 8;

/// `text` without the secrets: each, and each longer word of it, is replaced by `***`.
pub(crate) fn mask<'a>(text: &str, secrets: impl IntoIterator<Item = &'a Secret>) -> String {
    let mut hidden: Vec<&str> = Vec::new();
    for secret in secrets {
        hidden.push(secret.reveal().trim());
        hidden.extend(secret.reveal().split_whitespace().filter(|word| word.len() >= MASKED_WORD_BYTES));
    }
    hidden.retain(|part| !part.is_empty());
    // A secret that is the beginning of another must not leave the other's end behind.
    sort_by_key(&mut hidden, |part| std::cmp::Reverse(part.len()));
    let mut masked = text.to_string();
    for part in hidden {
        if masked.contains(part) {
            masked = masked.replace(part, "***");
        }
    }
    masked
}

/// The first `n_chars` of `text`, on one line, without control characters.
pub(crate) fn start_of(text: &str, n_chars: usize) -> String {
    let text = text.trim();
    let start: String = text.chars().take(n_chars).collect();
    let cut = if start.len() < text.len() { "…" } else { "" };
    printable(&start) + cut
}

/// The last `n_chars` of `text`, on one line, without control characters.
pub(crate) fn end_of(text: &str, n_chars: usize) -> String {
    let text = text.trim();
    let from = text.char_indices().rev().nth(n_chars.saturating_sub(1)).map_or(0, |(at, _)| at);
    let cut = if from > 0 { "…" } else { "" };
    cut.to_string() + &printable(text.get(from..).unwrap_or_default())
}

/// `text` with its control characters escaped, so that it can neither break a log line nor drive a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

/// Why `text` must not be an argument of a host's command; none if it may.
pub(crate) fn argument_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        Some("an argument is empty")
    } else if text.starts_with('-') {
        Some("an argument starts with `-`")
    } else if text.chars().any(char::is_control) {
        Some("an argument has control characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_mask(text: &str, secrets: &[&str], expected: &str) {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        assert_eq!(mask(text, &secrets), expected);
    }

    #[test]
    fn secrets_are_masked_whole_and_by_their_words() {
        check_mask("nothing here", &[], "nothing here");
        check_mask("a AAAABBBB c AAAABBBB", &["AAAABBBB\n"], "a *** c ***");
        check_mask("line2line and line1line", &["line1line\nline2line\n"], "*** and ***");
        check_mask("abcdefghij", &["abcd", "abcdefghij"], "***");
        check_mask("pw", &["pw", "", " \n"], "***");
        check_mask("of course", &["of AAAABBBBCCCC"], "of course");
    }

    #[test]
    fn ends_are_cut_by_characters_and_printable() {
        assert_eq!(start_of("  äöü\u{1b}[0m ", 4), "äöü\\u{1b}…");
        assert_eq!(end_of("äöü\nß", 3), "…ü\\nß");
        assert_eq!(end_of("äöü", 3), "äöü");
        assert_eq!(end_of("", 3), "");
        assert_eq!(start_of("", 3), "");
    }

    #[test]
    fn strangers_text_is_never_an_option() {
        assert_eq!(argument_fault("6c14r:with+all"), None);
        assert_eq!(argument_fault("$(touch pwned)"), None);
        assert!(argument_fault("--yes").is_some());
        assert!(argument_fault("a\nb").is_some());
        assert!(argument_fault("\u{9b}x").is_some());
        assert!(argument_fault("").is_some());
    }

    proptest! {
        #[test]
        fn cutting_never_panics_and_never_exceeds(text in any::<String>(), n_chars in 0usize..40) {
            prop_assert!(!start_of(&text, n_chars).contains('\n'));
            prop_assert!(!end_of(&text, n_chars).chars().any(char::is_control));
        }
    }
}
