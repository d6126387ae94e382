//! Random bytes and damaged configs: never a panic, never more than a second or so.

use proptest::prelude::{ProptestConfig, any, prop};
use proptest::{prop_assert, proptest};

use super::*;

/// An optimized program needs a fraction of a second for each; a test is built without, and shares its machine with others. What must not
/// be is growth without bounds.
const PATIENCE: Duration = Duration::from_secs(60);

fn survives(bytes: &[u8]) -> Duration {
    let begin = Instant::now();
    let folder = Folder::new();
    let file = folder.path().join("c.yml");
    std::fs::write(&file, bytes).unwrap();
    let _ = load(Some(&file), &Environment::of(&[("HOME", "/nonexistent"), ("MAC_PORT", "x")]));
    begin.elapsed()
}

const PIECES: &[&str] = &[
    "plugins:\n",
    "  - ",
    "- ",
    "name: ",
    "plugin: github\n",
    "<<: *a\n",
    "&a ",
    "*a",
    "{",
    "}",
    "[",
    "]",
    ", ",
    ": ",
    "\n",
    "    ",
    "---\n",
    "...\n",
    "%TAG ! x\n",
    "!!int ",
    "!x ",
    "'",
    "\"",
    "|\n",
    ">-\n",
    "# ",
    "? ",
    "\t",
    "\u{feff}",
    "\u{85}",
    "\0",
    "~",
    "0x",
    "null",
    "limits: ",
    "database: ",
    "metrics:\n",
    "ü",
    "@",
    "`",
    "&a {<<: *a}",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(survives(&bytes) < PATIENCE);
    }

    #[test]
    fn pieces_of_yaml(pieces in prop::collection::vec(0..PIECES.len(), 0..60)) {
        let text: String = pieces.into_iter().map(|at| PIECES[at]).collect();
        prop_assert!(survives(text.as_bytes()) < PATIENCE);
    }

    #[test]
    fn damaged_configs(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..8)) {
        let mut bytes = SOUND.as_bytes().to_vec();
        for (at, byte, edit) in edits {
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => {
                    bytes.remove(at);
                }
            }
        }
        prop_assert!(survives(&bytes) < PATIENCE);
    }
}

#[test]
fn bombs_of_a_whole_file() {
    let megabyte = 1 << 20;
    for (name, text) in [
        ("lists", "[".repeat(megabyte)),
        ("maps", "{a: ".repeat(megabyte / 4)),
        ("dashes", "- ".repeat(megabyte / 2)),
        ("keys", (0..80_000).map(|n| format!("key{n}: 1\n")).collect()),
        ("one key", "a: 1\n".repeat(megabyte / 5)),
        ("anchors", (0..60_000).map(|n| format!("- &a{n} x\n")).collect()),
        ("tags", "%TAG ! x\n".repeat(megabyte / 9)),
        ("text", "x".repeat(megabyte)),
        ("quotes", "\"".repeat(megabyte)),
        ("words", "a ".repeat(megabyte / 2)),
        ("comments", "#\n".repeat(megabyte / 2)),
        ("documents", "---\n".repeat(megabyte / 4)),
        ("questions", "? ".repeat(megabyte / 2)),
        ("commas", format!("[{}]", "a,".repeat(megabyte / 2 - 2))),
        ("plugins", format!("plugins:\n{}", "- name: a\n".repeat(90_000))),
        ("no plugins", format!("plugins:\n{}", "- x\n".repeat(90_000))),
    ] {
        let took = survives(text.as_bytes());
        assert!(took < PATIENCE, "{name} took {took:?}");
    }
}
