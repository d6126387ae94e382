//! YAML text to a tree in which every scalar keeps its spelling and every key its line.
//!
//! serde_yaml is the parser, but its own `Value` forgets how a scalar was written (`0012345`), takes the last of two equal keys
//! in silence, leaves `<<` alone and follows aliases without a bound. So the text is read twice: the first reading only learns
//! the shape and counts what aliases unfold to, the second asks for each scalar as text, which serde_yaml gives untouched.

use std::cell::Cell;

use serde::de::DeserializeSeed;
use serde_yaml::Deserializer;

use self::shape::{Shape, ShapeSeed};
use self::text::{Source, TreeSeed};

mod merge;
mod shape;
mod text;

/// The most values a file may hold once its aliases are followed.
const MOST_VALUES: usize = 100_000;

/// Each opening bracket costs the parser a look at all that are open, so their number is bounded.
const MOST_BRACKETS: usize = 4_000;

/// Directives (`%TAG`) are compared with each other. No config needs more than `%YAML`.
const MOST_DIRECTIVES: usize = 100;

/// A value of the file, and the line it begins on (from 1) where that is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) line: Option<usize>,
    pub(super) value: Value,
}

/// What a [`Node`] holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Nothing, `~` or `null`, not in quotes.
    Null,
    /// A scalar as it stands, without quotes.
    Text(String),
    /// `- one`, or `[one]`.
    List(Vec<Node>),
    /// Keys in the order of the file, each once, `<<` followed.
    Map(Vec<Entry>),
}

/// One key and its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: Option<usize>,
    pub(super) node: Node,
}

/// Something to tell about the text itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) line: Option<usize>,
    /// The key concerned; empty if there is none.
    pub(super) key: String,
    pub(super) what: String,
}

/// The first document of `text`, or none if there is no document at all; warnings go to `notes`.
pub(super) fn parse(text: &str, notes: &mut Vec<Note>) -> Result<Option<Node>, Note> {
    refuse_floods(text)?;
    let Some(shape) = read_shape(text, notes)? else { return Ok(None) };
    let source = Source::new(text);
    let document = first_document(text).ok_or_else(|| plain("the file cannot be read twice"))?;
    let tree = TreeSeed { shape: &shape, source: &source }
        .deserialize(document)
        .map_err(|error| explain(&error, source.refusal()))?;
    merge::resolve(tree, notes).map(Some)
}

fn read_shape(text: &str, notes: &mut Vec<Note>) -> Result<Option<Shape>, Note> {
    let left = Cell::new(MOST_VALUES);
    let refusal = Cell::new(None);
    let mut documents = Deserializer::from_str(text);
    let Some(document) = documents.next() else { return Ok(None) };
    let shape = ShapeSeed { left: &left, refusal: &refusal }
        .deserialize(document)
        .map_err(|error| explain(&error, refusal.take()))?;
    if let Some(second) = documents.next() {
        let left = Cell::new(MOST_VALUES);
        let seed = ShapeSeed { left: &left, refusal: &refusal };
        // A `---` at the end opens a second document with nothing in it; nobody means anything by that.
        if !matches!(seed.deserialize(second), Ok(Shape::Null | Shape::Nothing)) {
            notes.push(plain("a second document begins with `---`; it is ignored: put everything above it"));
        }
    }
    Ok(if shape == Shape::Nothing { None } else { Some(shape) })
}

fn first_document(text: &str) -> Option<Deserializer<'_>> {
    Deserializer::from_str(text).next()
}

fn refuse_floods(text: &str) -> Result<(), Note> {
    let n_brackets = text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if n_brackets > MOST_BRACKETS {
        return Err(plain(&format!(
            "the file has {n_brackets} opening brackets, more than the {MOST_BRACKETS} that are allowed"
        )));
    }
    let n_directives = text.lines().filter(|line| line.starts_with('%')).count();
    if n_directives > MOST_DIRECTIVES {
        return Err(plain("the file has too many lines that begin with `%`"));
    }
    Ok(())
}

fn plain(what: &str) -> Note {
    Note { line: None, key: String::new(), what: what.to_owned() }
}

/// The parser's error in words that help. Its own text may show a value only where a tag such as `!!int` does not fit, so that
/// text is never passed on: the value may be a secret.
fn explain(error: &serde_yaml::Error, refusal: Option<&'static str>) -> Note {
    let line = error.location().map(|location| location.line());
    let text = error.to_string();
    let what = match refusal {
        Some(refusal) => refusal.to_owned(),
        None if text.contains("repetition limit") || text.contains("recursion limit") => TOO_MANY.to_owned(),
        None if text.contains("invalid value:") || text.contains("invalid type:") => {
            "a value does not fit its tag (`!!int` and the like): leave the tag out".to_owned()
        }
        None => match HINTS.iter().find(|(part, _)| text.contains(part)) {
            Some((_, hint)) => format!("not valid YAML: {text}; {hint}"),
            None => format!("not valid YAML: {text}"),
        },
    };
    Note { line, key: String::new(), what }
}

/// Said when aliases unfold to more than the file may hold.
const TOO_MANY: &str = "the file nests too deeply or holds too many values once its aliases (`*name`) are followed: write it out plainly";

const HINTS: &[(&str, &str)] = &[
    (
        "cannot start any token",
        "put a value that begins with @, `, % or * in quotes, and indent with spaces, not tabs",
    ),
    ("tab character", "indent with spaces, not tabs"),
    (
        "mapping values are not allowed",
        "check the indentation, and put a value that has a colon in it in quotes",
    ),
    ("did not find expected key", "check that the keys of one block begin in the same column"),
    ("did not find expected '-' indicator", "check that the items of one list begin in the same column"),
    ("could not find expected ':'", "write `key: value`, with a space after the colon"),
    ("unknown anchor", "write the anchor (`&name`) above the alias (`*name`)"),
];

#[cfg(test)]
mod tests;
