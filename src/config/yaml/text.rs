//! The second reading: each scalar as the text it is, with its line.
//!
//! serde_yaml has no public positions, but it lends a scalar from the text itself wherever it can, and where a slice lies in
//! its text tells the line.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::shape::Shape;
use super::{Entry, Node, Value};

/// The most text a file may hold once its aliases are followed, in bytes.
const MOST_TEXT: usize = 8 << 20;

/// The text that is read, and what may still be copied of it.
pub(super) struct Source<'a> {
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
    left: Cell<usize>,
    refusal: Cell<Option<&'static str>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let after_newlines =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(after_newlines).collect();
        Self { text, lines, left: Cell::new(MOST_TEXT), refusal: Cell::new(None) }
    }

    /// Why we stopped, if it was our decision.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        self.refusal.get()
    }

    /// The line of a slice of the text, from 1; none for text from elsewhere.
    fn line_of(&self, part: &str) -> Option<usize> {
        let at = (part.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize)?;
        (at <= self.text.len()).then(|| self.lines.partition_point(|start| *start <= at))
    }

    fn copy<E: Error>(&self, text: &str) -> Result<String, E> {
        match self.left.get().checked_sub(text.len()) {
            Some(left) => {
                self.left.set(left);
                Ok(text.to_owned())
            }
            None => {
                self.refusal.set(Some(super::TOO_MANY));
                Err(E::custom(super::TOO_MANY))
            }
        }
    }
}

/// Reads a value whose shape is known.
#[derive(Clone, Copy)]
pub(super) struct TreeSeed<'a> {
    pub(super) shape: &'a Shape,
    pub(super) source: &'a Source<'a>,
}

impl<'de> DeserializeSeed<'de> for TreeSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        match self.shape {
            Shape::Nothing | Shape::Null => {
                let (_, line) = TextSeed(self.source).deserialize(deserializer)?;
                Ok(Node { line, value: Value::Null })
            }
            Shape::Scalar => {
                let (text, line) = TextSeed(self.source).deserialize(deserializer)?;
                Ok(Node { line, value: Value::Text(text) })
            }
            Shape::List(_) => deserializer.deserialize_seq(self),
            Shape::Map(_) => deserializer.deserialize_map(self),
        }
    }
}

impl<'de> Visitor<'de> for TreeSeed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what the first reading met")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let Shape::List(shapes) = self.shape else { return Err(changed()) };
        let mut nodes = Vec::with_capacity(shapes.len());
        for shape in shapes {
            let node = items.next_element_seed(TreeSeed { shape, ..self })?.ok_or_else(changed)?;
            nodes.push(node);
        }
        Ok(Node { line: nodes.first().and_then(|node| node.line), value: Value::List(nodes) })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let Shape::Map(shapes) = self.shape else { return Err(changed()) };
        let mut map = Vec::with_capacity(shapes.len());
        for shape in shapes {
            let (key, line) = entries.next_key_seed(TextSeed(self.source))?.ok_or_else(changed)?;
            let node = entries.next_value_seed(TreeSeed { shape, ..self })?;
            map.push(Entry { key, line: line.or(node.line), node });
        }
        Ok(Node { line: map.first().and_then(|entry| entry.line), value: Value::Map(map) })
    }
}

fn changed<E: Error>() -> E {
    E::custom("the second reading met another shape than the first")
}

/// Reads one scalar as text, with its line.
struct TextSeed<'a>(&'a Source<'a>);

impl<'de> DeserializeSeed<'de> for TextSeed<'_> {
    type Value = (String, Option<usize>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for TextSeed<'_> {
    type Value = (String, Option<usize>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok((self.0.copy(text)?, self.0.line_of(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok((self.0.copy(text)?, None))
    }
}
