//! Text encodings that HTTP, webhooks and App tokens need. They stand alone because each is a few lines of
//! well-known rules, which no crate of this workspace offers.

use std::fmt::Write;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Standard base64 with padding.
pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().enumerate().fold(0u32, |sum, (i, byte)| sum | u32::from(*byte) << (16 - 8 * i));
        for i in 0..4 {
            let index = (group >> (18 - 6 * i)) as usize & 63;
            text.push(if i <= chunk.len() { char::from(STANDARD[index]) } else { '=' });
        }
    }
    text
}

/// Reads base64 in both alphabets, with or without padding; white space is skipped, as in PEM.
pub(crate) fn base64_decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut group, mut n_bits) = (0u32, 0);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let value = match byte {
            b'-' => 62,
            b'_' => 63,
            _ => STANDARD.iter().position(|known| *known == byte)? as u32,
        };
        group = group << 6 | value;
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push((group >> n_bits) as u8);
        }
    }
    Some(bytes)
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Decodes `%41`, and `+` to a space where `plus` is set (queries and forms, not paths).
pub(crate) fn percent_decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = (bytes[i] == b'%').then(|| text.get(i + 1..i + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                i += 2;
            }
            None if plus && bytes[i] == b'+' => decoded.push(b' '),
            None => decoded.push(bytes[i]),
        }
        i += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Encodes a form value: everything but letters, digits and `-._~` becomes `%XX`.
pub(crate) fn percent_encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len() * 2), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_both_ways() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("\u{ff}?>", "w78/Pg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
            assert_eq!(base64_decode(text).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(base64_decode("w78_Pg").as_deref(), Some("\u{ff}?>".as_bytes()));
        assert_eq!(base64_decode("w7*"), None);
    }

    #[test]
    fn percent_both_ways() {
        for text in ["", "a b+c", "ü/€?&=", "100%", "%zz"] {
            assert_eq!(percent_decode(&percent_encode(text), true), text);
        }
        assert_eq!(percent_decode("a+b%2", true), "a b%2");
        assert_eq!(percent_decode("a+b", false), "a+b");
    }
}
