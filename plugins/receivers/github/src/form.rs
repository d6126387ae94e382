//! Webhooks of content type `application/x-www-form-urlencoded`: the JSON is in the field `payload`.

/// The JSON of the form; none if the form has no `payload`.
pub(crate) fn payload(body: &[u8]) -> Option<String> {
    let mut fields = form_urlencoded::parse(body);
    fields.find(|(name, _)| name == "payload").map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_found_and_decoded() {
        assert_eq!(payload(b"payload=%7B%22a%22%3A+%22%C3%BC%22%7D").as_deref(), Some(r#"{"a": "ü"}"#));
        assert_eq!(payload(b"x=1&payload=%7B%7D").as_deref(), Some("{}"));
        assert_eq!(payload(b"x=1"), None);
        assert_eq!(payload(b""), None);
        assert_eq!(payload(b"payload=%zz%").as_deref(), Some("%zz%"));
    }
}
