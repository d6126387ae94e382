//! Answers: the envelope in the three dialects, and failures with the codes of the catalogue.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// A JSON value whose keys keep their order.
#[derive(Clone, Debug)]
pub(crate) enum Doc {
    Value(Value),
    Object(Vec<(&'static str, Doc)>),
    List(Vec<Doc>),
}

impl<T: Into<Value>> From<T> for Doc {
    fn from(value: T) -> Self {
        Self::Value(value.into())
    }
}

impl Doc {
    /// `{}`, what an answer without content has.
    pub(crate) fn empty() -> Self {
        Self::Object(Vec::new())
    }

    /// The value of a key of an object.
    pub(crate) fn get(&self, key: &str) -> Option<&Doc> {
        let Self::Object(fields) = self else { return None };
        fields.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// As a person reads it: text without quotes, a table row with two blanks between.
    pub(crate) fn plain(&self) -> String {
        let lines = |parts: Vec<String>, between: &str| parts.join(between);
        match self {
            Self::Value(Value::String(text)) => text.clone(),
            Self::Value(value) => value.to_string(),
            Self::Object(fields) => {
                lines(fields.iter().map(|(key, value)| format!("{key}: {}", value.plain())).collect(), "  ")
            }
            Self::List(items) => lines(items.iter().map(Self::plain).collect(), "\n"),
        }
    }
}

impl Serialize for Doc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Object(fields) => serializer.collect_map(fields.iter().map(|(key, value)| (*key, value))),
            Self::List(items) => items.serialize(serializer),
        }
    }
}

/// What a verb answers.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A success: with `-j` the envelope of `body` and `message`, else `plain`.
    Done { body: Doc, message: String, plain: String },
    /// Guest output, already printed, and the guest's exit code.
    Raw(i32),
}

impl Reply {
    /// A success that reads the same in both forms.
    pub(crate) fn body(body: Doc) -> Self {
        let plain = body.plain();
        Self::Done { body, message: String::new(), plain }
    }

    /// A success that has nothing to tell.
    pub(crate) fn nothing() -> Self {
        Self::Done { body: Doc::empty(), message: String::new(), plain: String::new() }
    }
}

/// Why a verb did not do it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Failure {
    /// Wrong words on the command line: text on standard error, exit 2, never JSON.
    Usage(String),
    /// The tool's own error.
    Anka { code: i32, message: String, exit: Option<i32> },
}

impl Failure {
    /// An error of the catalogue; the exit code equals the code.
    pub(crate) fn new(code: i32, message: impl Into<String>) -> Self {
        Self::Anka { code, message: message.into(), exit: None }
    }

    /// Code 3, with the identifier as it was given.
    pub(crate) fn not_found(id: &str) -> Self {
        Self::new(3, format!("{id}: not found"))
    }
}

impl From<String> for Failure {
    fn from(usage: String) -> Self {
        Self::Usage(usage)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(5, format!("stand-in: {error}"))
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<i32>,
    body: &'a Doc,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

/// The envelope of a success in the dialect `shape`, without a newline at its end.
pub(crate) fn success(shape: &str, verb: &str, body: &Doc, message: &str) -> String {
    let short = shape == "3.0" || shape == "3.7" && matches!(verb, "list" | "show");
    let message = (!short || !message.is_empty()).then_some(message);
    text(&Envelope { status: "OK", code: (!short).then_some(0), body, message })
}

/// The envelope of a failure.
pub(crate) fn error(code: i32, message: &str) -> String {
    text(&Envelope { status: "ERROR", code: Some(code), body: &Doc::empty(), message: Some(message) })
}

fn text(envelope: &Envelope<'_>) -> String {
    serde_json::to_string(envelope).expect("an envelope has only string keys")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_order_and_no_newline_follows() {
        let body = Doc::Object(vec![("uuid", "u".into()), ("name", "n".into())]);
        let full = r#"{"status":"OK","code":0,"body":{"uuid":"u","name":"n"},"message":""}"#;
        let short = r#"{"status":"OK","body":{"uuid":"u","name":"n"}}"#;
        assert_eq!(success("3.9", "show", &body, ""), full);
        assert_eq!(success("3.7", "show", &body, ""), short);
        assert_eq!(success("3.7", "clone", &body, ""), full);
        assert_eq!(success("3.0", "clone", &body, ""), short);
        assert_eq!(
            error(3, "x: not found"),
            r#"{"status":"ERROR","code":3,"body":{},"message":"x: not found"}"#
        );
    }
}
