//! Webhooks of content type `application/x-www-form-urlencoded`: the JSON is in the field `payload`.
//!
//! Only that field is decoded, in one piece of memory no larger than the body, since a body may be 25 MiB.

/// The JSON of the form; none if the form has no `payload`. Bytes that are not UTF-8 are left to the JSON's reader.
pub(crate) fn payload(body: &[u8]) -> Option<Vec<u8>> {
    body.split(|byte| *byte == b'&').find_map(|pair| {
        let n_name = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(n_name);
        is_payload(name).then(|| decoded(value.strip_prefix(b"=").unwrap_or_default()))
    })
}

fn is_payload(name: &[u8]) -> bool {
    const NAME: &[u8] = b"payload";
    name == NAME || (name.len() <= 3 * NAME.len() && decoded(name) == NAME)
}

/// `+` is a space, `%` and two hexadecimal digits a byte; anything else stands for itself, a `%` without digits too.
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let (byte, n_taken) = match (first, tail) {
            (b'+', _) => (b' ', 1),
            (b'%', [high, low, ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            (byte, _) => (*byte, 1),
        };
        bytes.push(byte);
        rest = &rest[n_taken..];
    }
    bytes
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &[u8], expected: Option<&str>) {
        let found = payload(body).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(found.as_deref(), expected);
        // The parser that browsers' own rules were written down in says the same.
        let mut fields = form_urlencoded::parse(body);
        let reference = fields.find(|(name, _)| name == "payload").map(|(_, value)| value.into_owned());
        assert_eq!(found, reference);
    }

    #[test]
    fn the_payload_is_found_and_decoded() {
        check(b"payload=%7B%22a%22%3A+%22%C3%BC%22%7D", Some(r#"{"a": "ü"}"#));
        check(b"payload=%7b%7d", Some("{}"));
        check(b"x=1&payload=%7B%7D&payload=2", Some("{}"));
        check(b"&&payload=a=b%26c&x", Some("a=b&c"));
        check(b"%70ay%6Coad=1", Some("1"));
        check(b"pay+load=1", None);
        check(b"payloads=1&Payload=2", None);
        check(b"x=1", None);
        check(b"x=payload", None);
        check(b"", None);
        check(b"payload", Some(""));
        check(b"payload=", Some(""));
        check(b"payload=%zz%", Some("%zz%"));
        check(b"payload=%4", Some("%4"));
        check(b"payload=%%41%C3", Some("%A\u{FFFD}"));
        check(b"payload=+%2B%00", Some(" +\0"));
        check("payload=ü€".as_bytes(), Some("ü€"));
    }

    #[test]
    fn decoding_takes_no_more_memory_than_the_body() {
        let body = [b"payload=".to_vec(), vec![b'+'; 1 << 20]].concat();
        let json = payload(&body).unwrap();
        assert!(json.len() == 1 << 20 && json.capacity() < body.len());
    }
}
