//! One log record as JSON: `time`, `level`, `msg`, then the facts, each key once.

use std::fmt::Display;

use anklet_plugin_api::log_context::Attributes;
use log::Record;
use log::kv::{Error, Key, Value, VisitSource, VisitValue};

use super::mask::mask;

/// How the object is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// On one line, for programs.
    OneLine,
    /// A line for each fact, for people.
    Indented,
}

/// Keys that the line itself uses; a fact of such a name gets a `_` behind it.
const OWN_KEYS: [&str; 5] = ["time", "level", "msg", "attributes", "version"];

/// The record with a newline at its end. `attributes` are those of the plugin it comes from, if it is one.
pub(super) fn text(record: &Record<'_>, time: &str, attributes: Option<&Attributes>, style: Style) -> String {
    let mut line = Line { text: String::from("{"), keys: Vec::new(), style };
    line.put("time", &quoted(time));
    line.put("level", &quoted(record.level().as_str()));
    line.put("msg", &quoted(&mask(&record.args().to_string())));
    // The visitor never fails, and a fact that cannot be had is no reason to lose the line.
    let _ = record.key_values().visit(&mut Facts(&mut line));
    match attributes {
        Some(attributes) => line.put("attributes", &attributes_text(attributes)),
        None => line.put("version", &quoted(env!("CARGO_PKG_VERSION"))),
    }
    if style == Style::Indented {
        line.text.push('\n');
    }
    line.text.push_str("}\n");
    line.text
}

fn attributes_text(attributes: &Attributes) -> String {
    let text = |text: &Option<String>| quoted(text.as_deref().unwrap_or_default());
    format!(
        r#"{{"name":{},"plugin":{},"owner":{},"repo":{},"enterprise":{}}}"#,
        quoted(&attributes.name),
        quoted(&attributes.plugin),
        text(&attributes.owner),
        text(&attributes.repo),
        text(&attributes.enterprise)
    )
}

/// An object that is being written.
struct Line {
    text: String,
    keys: Vec<String>,
    style: Style,
}

impl Line {
    /// Writes a key with a value that is JSON already. A key that was written before is left out.
    fn put(&mut self, key: &str, json: &str) {
        if self.keys.iter().any(|earlier| earlier == key) {
            return;
        }
        if !self.keys.is_empty() {
            self.text.push(',');
        }
        let (before, colon) = match self.style {
            Style::OneLine => ("", ":"),
            Style::Indented => ("\n  ", ": "),
        };
        self.text.push_str(before);
        self.text.push_str(&quoted(key));
        self.text.push_str(colon);
        self.text.push_str(json);
        self.keys.push(key.to_owned());
    }
}

/// Writes facts to a line.
struct Facts<'a>(&'a mut Line);

impl<'kvs> VisitSource<'kvs> for Facts<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        let mut json = Json(String::from("null"));
        value.visit(&mut json)?;
        let key = key.as_str();
        if OWN_KEYS.contains(&key) {
            self.0.put(&format!("{key}_"), &json.0);
        } else {
            self.0.put(key, &json.0);
        }
        Ok(())
    }
}

/// A fact's value as JSON.
struct Json(String);

impl Json {
    fn set(&mut self, json: impl Display) -> Result<(), Error> {
        self.0 = json.to_string();
        Ok(())
    }
}

impl<'v> VisitValue<'v> for Json {
    /// Something that is only known by its text. An object or a list in JSON stays one.
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), Error> {
        let text = value.to_string();
        let text = mask(&text);
        let nested = if text.starts_with(['{', '[']) { serde_json::from_str(&text).ok() } else { None };
        match nested {
            Some(nested @ (serde_json::Value::Object(_) | serde_json::Value::Array(_))) => {
                self.set(tame(&nested.to_string()))
            }
            Some(_) | None => self.set(quoted(&text)),
        }
    }

    fn visit_null(&mut self) -> Result<(), Error> {
        self.set("null")
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        self.set(value)
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        self.set(value)
    }

    fn visit_u128(&mut self, value: u128) -> Result<(), Error> {
        self.set(value)
    }

    fn visit_i128(&mut self, value: i128) -> Result<(), Error> {
        self.set(value)
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), Error> {
        // JSON has no word for what is not finite.
        if value.is_finite() { self.set(value) } else { self.set(quoted(&value.to_string())) }
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), Error> {
        self.set(value)
    }

    fn visit_str(&mut self, value: &str) -> Result<(), Error> {
        self.set(quoted(&mask(value)))
    }

    fn visit_char(&mut self, value: char) -> Result<(), Error> {
        self.set(quoted(value.encode_utf8(&mut [0; 4])))
    }
}

/// The text as a JSON string.
fn quoted(text: &str) -> String {
    tame(&serde_json::Value::from(text).to_string())
}

/// JSON without the control characters that JSON itself allows in strings and a terminal obeys.
fn tame(json: &str) -> String {
    let mut tamed = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            tamed.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            tamed.push(c);
        }
    }
    tamed
}

#[cfg(test)]
mod tests {
    use log::Level;
    use log::kv::ToValue;

    use super::*;

    fn check(facts: &[(&str, Value<'_>)], message: &str, expected: &str) {
        let record = |style, attributes| {
            let arguments = format_args!("{message}").to_string();
            text(
                &Record::builder()
                    .level(Level::Info)
                    .args(format_args!("{arguments}"))
                    .key_values(&facts)
                    .build(),
                "2025-01-02T03:04:05.678Z",
                attributes,
                style,
            )
        };
        let line = record(Style::OneLine, None);
        let start = r#"{"time":"2025-01-02T03:04:05.678Z","level":"INFO","msg":"#;
        let end = concat!(r#","version":""#, env!("CARGO_PKG_VERSION"), "\"}\n");
        assert_eq!(line, format!("{start}{expected}{end}"));
        assert_eq!(line.lines().count(), 1);
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(!line.trim_end().chars().any(char::is_control), "{line}");
        let indented = record(Style::Indented, None);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&indented).unwrap(), parsed, "{indented}");
    }

    #[test]
    fn facts_keep_their_types() {
        check(&[], "starting anklet", r#""starting anklet""#);
        let nested = serde_json::json!({"a": [1, "x"], "b": {"c": null}});
        let odd = std::io::Error::other("{not json");
        check(
            &[
                ("id", Value::from(18_446_744_073_709_551_615_u64)),
                ("less", Value::from(-5_i64)),
                ("part", Value::from(0.5)),
                ("none", Value::from(f64::NAN)),
                ("yes", Value::from(true)),
                ("text", Value::from("{\"a\":1}")),
                ("labels", Value::from_display(&nested)),
                ("error", Value::from_display(&odd)),
                ("gone", None::<u8>.to_value()),
                ("letter", Value::from('x')),
            ],
            "m",
            concat!(
                r#""m","id":18446744073709551615,"less":-5,"part":0.5,"none":"NaN","yes":true,"text":"{\"a\":1}","#,
                r#""labels":{"a":[1,"x"],"b":{"c":null}},"error":"{not json","gone":null,"letter":"x""#
            ),
        );
    }

    #[test]
    fn no_key_comes_twice() {
        let facts = [
            ("a", Value::from(1)),
            ("a", Value::from(2)),
            ("msg", Value::from(3)),
            ("version", Value::from(4)),
        ];
        check(&facts, "m", r#""m","a":1,"msg_":3,"version_":4"#);
    }

    #[test]
    fn control_characters_are_escaped() {
        let nested = serde_json::json!({"k\u{9b}": "v\u{7f}"});
        check(
            &[("k\n", Value::from("\u{1b}[31m\u{9b}\u{2028}\u{7f}")), ("n", Value::from_display(&nested))],
            "a\nb\"\u{0}",
            concat!(
                r#""a\nb\"\u0000","k\n":"\u001b[31m\u009b\u2028\u007f","#,
                r#""n":{"k\u009b":"v\u007f"}"#
            ),
        );
    }

    #[test]
    fn a_plugins_line_has_its_attributes() {
        let attributes = Attributes {
            name: "MAC".into(),
            plugin: "github".into(),
            owner: Some("o".into()),
            ..Attributes::default()
        };
        let record = Record::builder().level(Level::Error).args(format_args!("m")).build();
        assert_eq!(
            text(&record, "T", Some(&attributes), Style::OneLine),
            concat!(
                r#"{"time":"T","level":"ERROR","msg":"m","#,
                r#""attributes":{"name":"MAC","plugin":"github","owner":"o","repo":"","enterprise":""}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn secrets_are_masked_everywhere() {
        crate::logging::hide(&anklet_plugin_api::section::Secret::new("line\"secret"));
        let nested = serde_json::json!({"a": "b"});
        check(
            &[("text", Value::from("x line\"secret")), ("shown", Value::from_display(&nested))],
            "is line\"secret",
            r#""is ***","text":"x ***","shown":{"a":"b"}"#,
        );
    }
}
