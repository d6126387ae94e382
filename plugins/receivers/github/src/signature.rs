//! The signature that proves that a webhook comes from GitHub: HMAC-SHA256 over the raw bytes of the body.

use ring::hmac;

use anklet_plugin_api::section::Secret;

/// The webhook's secret, ready to check with.
pub(crate) struct SigningKey(hmac::Key);

/// What the header must say, read but not yet compared.
pub(crate) struct Claimed([u8; 32]);

impl SigningKey {
    /// None for an empty secret: with that, everybody could sign.
    pub(crate) fn new(secret: &Secret) -> Option<Self> {
        let bytes = secret.reveal().as_bytes();
        (!bytes.is_empty()).then(|| Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// Compares in constant time.
    pub(crate) fn is_valid(&self, body: &[u8], claimed: &Claimed) -> bool {
        hmac::verify(&self.0, body, &claimed.0).is_ok()
    }
}

impl Claimed {
    /// Reads `X-Hub-Signature-256`: `sha256=` and 64 lower-case hex digits. Nothing else is GitHub's.
    pub(crate) fn read(header: &str) -> Option<Self> {
        let digits = header.strip_prefix("sha256=")?.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut sum = [0; 32];
        for (byte, pair) in sum.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(sum))
    }
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, body: &str, is_valid: bool) {
        let key = SigningKey::new(&Secret::new("It's a Secret to Everybody")).unwrap();
        let valid = Claimed::read(header).is_some_and(|claimed| key.is_valid(body.as_bytes(), &claimed));
        assert_eq!(valid, is_valid, "{header}");
    }

    #[test]
    fn only_githubs_own_signature_of_these_bytes_is_valid() {
        // The vector of GitHub's own documentation.
        let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        check(good, "Hello, World!", true);
        check(good, "Hello, World", false);
        check(&good.to_uppercase(), "Hello, World!", false);
        check(&good.replace("757107ea", "757107EA"), "Hello, World!", false);
        check(&good[..70], "Hello, World!", false);
        check(&format!("{good}0"), "Hello, World!", false);
        check(&good.replace("sha256=", "sha1="), "Hello, World!", false);
        check(&good.replace("757107ea", "757107eb"), "Hello, World!", false);
        check("", "Hello, World!", false);
        check("sha256=", "Hello, World!", false);
        check(&format!("sha256={}", "ä".repeat(32)), "Hello, World!", false);
        check(&format!("{good}, {good}"), "Hello, World!", false);
    }

    #[test]
    fn an_empty_secret_is_no_secret() {
        assert!(SigningKey::new(&Secret::new("")).is_none());
    }
}
