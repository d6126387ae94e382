//! Fields of GitHub's JSON whose shape is not to be relied on. They are read whatever they hold, and nothing is kept but what can be of
//! use: a body of 25 MiB must not become many times as much memory, wherever its bulk is.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Far more labels than any job has; their list must not fill the memory.
const MOST_LABELS: usize = 100_000;

/// One value: a text or a whole number as it stands, of anything else only that it is there.
#[derive(Debug, Default, PartialEq)]
pub(crate) enum Field {
    /// Not there, or null.
    #[default]
    Absent,
    Text(String),
    Number(u64),
    Other,
}

impl Field {
    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Absent | Self::Number(_) | Self::Other => None,
        }
    }

    /// The number, if it is one.
    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Absent | Self::Text(_) | Self::Other => None,
        }
    }
}

/// A list of texts.
#[derive(Debug, Default, PartialEq)]
pub(crate) enum Texts {
    /// Not there, or null.
    #[default]
    Absent,
    List(Vec<String>),
    /// No list, or not of texts alone, or far too long.
    Other,
}

/// An object whose fields matter; anything else counts as an empty one.
#[derive(Debug, Default)]
pub(crate) struct Object<T>(pub(crate) T);

macro_rules! visits {
    ($($visit:ident: $type:ty => $value:expr),*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Self::Value, E> {
            Ok($value)
        })*
    };
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    visits!(visit_bool: bool => Field::Other, visit_i64: i64 => Field::Other, visit_f64: f64 => Field::Other);

    fn visit_u64<E>(self, number: u64) -> Result<Field, E> {
        Ok(Field::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(text.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Field, A::Error> {
        pass_over_seq(seq).map(|()| Field::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Field, A::Error> {
        pass_over_map(map).map(|()| Field::Other)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    visits!(
        visit_bool: bool => Texts::Other, visit_i64: i64 => Texts::Other, visit_u64: u64 => Texts::Other,
        visit_f64: f64 => Texts::Other, visit_str: &str => Texts::Other
    );

    fn visit_unit<E>(self) -> Result<Texts, E> {
        Ok(Texts::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Texts, A::Error> {
        let mut texts = Vec::new();
        while let Some(field) = seq.next_element::<Field>()? {
            match field {
                Field::Text(text) if texts.len() < MOST_LABELS => texts.push(text),
                Field::Absent | Field::Text(_) | Field::Number(_) | Field::Other => {
                    return pass_over_seq(seq).map(|()| Texts::Other);
                }
            }
        }
        Ok(Texts::List(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Texts, A::Error> {
        pass_over_map(map).map(|()| Texts::Other)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Default + Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    visits!(
        visit_bool: bool => Object::default(), visit_i64: i64 => Object::default(), visit_u64: u64 => Object::default(),
        visit_f64: f64 => Object::default(), visit_str: &str => Object::default()
    );

    fn visit_unit<E>(self) -> Result<Object<T>, E> {
        Ok(Object::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Object<T>, A::Error> {
        pass_over_seq(seq).map(|()| Object::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

impl<'de, T: Default + Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

fn pass_over_seq<'de, A: SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

fn pass_over_map<'de, A: MapAccess<'de>>(mut map: A) -> Result<(), A::Error> {
    while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Inner {
        login: Field,
    }

    #[track_caller]
    fn field(json: &str) -> Field {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn any_value_is_read() {
        for other in ["true", "-1", "1.5", "1e300", "[]", "[[1],{\"a\":2}]", "{}", "{\"a\":[{}]}"] {
            assert_eq!(field(other), Field::Other, "{other}");
        }
        assert_eq!((field("null"), field("7")), (Field::Absent, Field::Number(7)));
        assert_eq!(field("18446744073709551615").number(), Some(u64::MAX));
        assert_eq!(field(r#""a\n\u00fc""#).text(), Some("a\nü"));
        for broken in ["", "[", "{\"a\"", "[1,]", "nul"] {
            assert!(serde_json::from_str::<Field>(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_list_is_of_texts_or_it_is_none() {
        let texts = |json: &str| serde_json::from_str::<Texts>(json).unwrap();
        assert_eq!(texts(r#"["a",""]"#), Texts::List(vec!["a".to_owned(), String::new()]));
        assert_eq!((texts("null"), texts("[]")), (Texts::Absent, Texts::List(Vec::new())));
        for other in
            ["1", "true", "-1", "0.5", "\"a\"", "{\"a\":1}", "[\"a\",1,\"b\"]", "[null]", "[[\"a\"]]"]
        {
            assert_eq!(texts(other), Texts::Other, "{other}");
        }
        let many = |n: usize| texts(&format!("[{}\"\"]", "\"\",".repeat(n - 1)));
        assert!(matches!(many(MOST_LABELS), Texts::List(_)));
        assert_eq!(many(MOST_LABELS + 1), Texts::Other);
    }

    #[test]
    fn what_is_no_object_is_an_empty_one() {
        let login = |json: &str| serde_json::from_str::<Object<Inner>>(json).unwrap().0.login;
        assert_eq!(login(r#"{"x":[1],"login":"o"}"#).text(), Some("o"));
        for other in ["null", "1", "-1", "1.5", "\"o\"", "false", "[\"o\"]", "{}"] {
            assert_eq!(login(other), Field::Absent, "{other}");
        }
    }
}
