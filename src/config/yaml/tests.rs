//! What the reader makes of YAML that people really write, and of YAML that wants to hurt.

use std::time::{Duration, Instant};

use super::*;

/// A tree in one line: `{key@line=value}`.
fn show(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Text(text) => format!("{text:?}"),
        Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(" ")),
        Value::Map(entries) => {
            let entry = |entry: &Entry| {
                let line = entry.line.map_or("?".to_owned(), |line| line.to_string());
                format!("{}@{line}={}", entry.key, show(&entry.node))
            };
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(" "))
        }
    }
}

fn check(text: &str, expected: &str) -> Vec<Note> {
    let mut notes = Vec::new();
    let tree = parse(text, &mut notes);
    let shown = match &tree {
        Ok(Some(node)) => show(node),
        Ok(None) => "nothing".to_owned(),
        Err(note) => format!("error: {note:?}"),
    };
    assert_eq!(shown, expected, "{text}");
    notes
}

#[test]
fn scalars_keep_their_spelling() {
    for (written, kept) in [
        ("12345", "12345"),
        ("0012345", "0012345"),
        ("1.10", "1.10"),
        ("0x50", "0x50"),
        ("1e3", "1e3"),
        ("+5", "+5"),
        ("yes", "yes"),
        ("True", "True"),
        ("'null'", "null"),
        ("\"a\\tb\"", "a\tb"),
        ("99999999999999999999999999", "99999999999999999999999999"),
        ("9999999999999999999999999999999999999999999999", "9999999999999999999999999999999999999999999999"),
        ("ghp_ü: # no comment".trim_end_matches(": # no comment"), "ghp_ü"),
        ("!!str 5", "5"),
        ("!custom 5", "5"),
        (".inf", ".inf"),
        ("2024-01-01", "2024-01-01"),
    ] {
        check(&format!("key: {written}\n"), &format!("{{key@1={kept:?}}}"));
    }
    for nothing in ["", "~", "null", "Null"] {
        check(&format!("key: {nothing}\n"), "{key@1=null}");
    }
    check("key: |\n  one\n  two\n", "{key@1=\"one\\ntwo\\n\"}");
    check("key: >-\n  one\n  two\n", "{key@1=\"one two\"}");
}

#[test]
fn lines_are_those_of_the_file() {
    check("---\n# ü\na: 1\r\nb:\r\n  - c: ü\n    \"d\": |\n      x\n  - e\n", {
        "{a@3=\"1\" b@4=[{c@5=\"ü\" d@6=\"x\\n\"} \"e\"]}"
    });
    check("a: &x {b: 1}\nc: *x\n", "{a@1={b@1=\"1\"} c@2={b@1=\"1\"}}");
}

#[test]
fn documents() {
    check("", "nothing");
    check("# only words\n", "nothing");
    check("---\n", "null");
    assert!(check("---\na: 1\n---\n", "{a@2=\"1\"}").is_empty());
    assert!(check("---\na: 1\n...\n", "{a@2=\"1\"}").is_empty());
    let notes = check("a: 1\n---\nb: 1\n", "{a@1=\"1\"}");
    assert!(notes[0].what.contains("second document"), "{notes:?}");
    let notes = check("a: 1\n---\n{{{ not yaml", "{a@1=\"1\"}");
    assert_eq!(notes.len(), 1);
}

#[test]
fn merges_are_followed() {
    check(
        "base: &base\n  a: 1\n  b: 2\nmine:\n  <<: *base\n  b: 3\n",
        "{base@1={a@2=\"1\" b@3=\"2\"} mine@4={b@6=\"3\" a@2=\"1\"}}",
    );
    check(
        "x: &x {a: 1}\ny: &y {a: 2, b: 2}\nz: {<<: [*x, *y]}\n",
        "{x@1={a@1=\"1\"} y@2={a@2=\"2\" b@2=\"2\"} z@3={a@1=\"1\" b@2=\"2\"}}",
    );
    check("x: &x {a: 1}\ny: &y {<<: *x, b: 2}\nz: {<<: *y}\n", {
        "{x@1={a@1=\"1\"} y@2={b@2=\"2\" a@1=\"1\"} z@3={b@2=\"2\" a@1=\"1\"}}"
    });
    check("a: {<<: word}\n", {
        "error: Note { line: Some(1), key: \"<<\", what: \"must name a map, or a list of maps: `<<: *anchor`\" }"
    });
}

#[test]
fn of_equal_keys_the_last_wins_with_a_note() {
    let notes = check("a: 1\nb: 2\na: 3\n", "{a@3=\"3\" b@2=\"2\"}");
    assert_eq!(notes.len(), 1);
    assert_eq!((notes[0].line, notes[0].key.as_str()), (Some(3), "a"));
    assert!(notes[0].what.contains("first on line 1"), "{notes:?}");
}

fn refused(text: &str, part: &str) {
    let begin = Instant::now();
    let note = parse(text, &mut Vec::new()).expect_err("refused");
    assert!(note.what.contains(part), "{note:?}");
    assert!(begin.elapsed() < Duration::from_secs(60), "took {:?}", begin.elapsed());
}

#[test]
fn wrong_yaml_is_explained() {
    refused("a: b: c\n", "has a colon in it in quotes");
    refused("a: 1\n\tb: 2\n", "spaces, not tabs");
    refused("a: @x\n", "in quotes");
    refused("a: *nobody\n", "write the anchor");
    refused("a: [1, 2\nb: 3\n", "not valid YAML");
    refused("? [a, b]\n: 1\n", "a key must be a word");
    refused("token: !!int ghp_secret\n", "leave the tag out");
    let note = parse("token: !!int ghp_secret\n", &mut Vec::new()).expect_err("refused");
    assert!(!format!("{note:?}").contains("ghp_"), "{note:?}");
    assert_eq!(parse("a: 1\nb: c: d\n", &mut Vec::new()).expect_err("refused").line, Some(2));
}

#[test]
fn alias_bombs_are_refused() {
    let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        laughs += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    refused(&laughs, "aliases");
    refused("a: &a [*a]\n", "aliases");
    refused("a: &a {<<: *a}\n", "aliases");
    let long_text = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), vec!["*a"; 10_000].join(", "));
    refused(&long_text, "aliases");
    refused(&format!("a: {}", "[".repeat(100_000)), "brackets");
    refused(&"- ".repeat(500_000), "nests too deeply");
    refused(&format!("a: [{}]", "x, ".repeat(300_000)), "too many values");
}
