//! A GitHub App's identity: its key, and the short-lived tokens (JWT) signed with it that only serve to ask for other tokens.

use anklet_plugin_api::section::{AppCredentials, Secret};
use anklet_plugin_api::time::Moment;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

/// GitHub advises to begin a minute ago, in case this clock is ahead of its own.
const BACKDATED_SECONDS: i64 = 60;
/// GitHub allows ten minutes; one is left for a clock that is off.
const LIFE_SECONDS: i64 = 540;

/// Who the App is, proven by its key.
pub(crate) struct Identity {
    id: String,
    key: RsaKeyPair,
}

impl Identity {
    /// Reads the key, in either of the forms it comes in. The error says what is wrong with it, never what it is.
    pub(crate) fn new(credentials: &AppCredentials) -> Result<Self, String> {
        let unfit = |what: String| {
            format!("the private key of the GitHub App {} cannot be used: {what}", credentials.id)
        };
        let der = PrivateKeyDer::from_pem_slice(credentials.private_key.reveal().as_bytes())
            .map_err(|_| unfit("it is no private key in PEM".to_owned()))?;
        let key = match &der {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            _ => return Err(unfit("it is no RSA key".to_owned())),
        };
        let key = key.map_err(|error| unfit(error.to_string()))?;
        Ok(Self { id: credentials.id.clone(), key })
    }

    /// The App's id, as the config has it.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// A token of a few minutes from `now` on; none only if the system has no randomness.
    pub(crate) fn jwt(&self, now: Moment) -> Option<Secret> {
        let now = now.0 / 1_000;
        let header = json!({"alg": "RS256", "typ": "JWT"});
        let claims = json!({"iat": now - BACKDATED_SECONDS, "exp": now + LIFE_SECONDS, "iss": self.id});
        let signed = format!(
            "{}.{}",
            base64url(header.to_string().as_bytes()),
            base64url(claims.to_string().as_bytes())
        );
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).ok()?;
        Some(Secret::new(format!("{signed}.{}", base64url(&signature))))
    }
}

/// Base64 in the alphabet of URLs, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len() * 4 / 3 + 3);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0, |group: u32, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for n_sextet in 0..=chunk.len() {
            let sextet = group >> (18 - 6 * n_sextet) & 0x3f;
            text.push(char::from(ALPHABET[sextet as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use fake_github::keys::{APP_KEY as PKCS1, APP_KEY_PKCS8 as PKCS8};
    use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;
    use crate::testing::app;

    fn decoded(text: &str) -> Vec<u8> {
        let value = |byte: u8| match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            other => panic!("{other}"),
        };
        let bits: Vec<u8> =
            text.bytes().flat_map(|byte| (0..6).rev().map(move |n| value(byte) >> n & 1)).collect();
        bits.chunks_exact(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)).collect()
    }

    #[test]
    fn a_token_is_signed_by_the_key_in_either_form() {
        for pem in [PKCS1, PKCS8] {
            let identity = Identity::new(&app(pem, None)).unwrap();
            let jwt = identity.jwt(Moment(1_000_000_500)).unwrap();
            let (signed, signature) = jwt.reveal().rsplit_once('.').unwrap();
            let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, identity.key.public_key().as_ref());
            key.verify(signed.as_bytes(), &decoded(signature)).unwrap();
            let (header, claims) = signed.split_once('.').unwrap();
            let read = |part: &str| serde_json::from_slice::<Value>(&decoded(part)).unwrap();
            assert_eq!(read(header), json!({"alg": "RS256", "typ": "JWT"}));
            assert_eq!(read(claims), json!({"iat": 999_940, "exp": 1_000_540, "iss": "Iv1.abc"}));
        }
    }

    #[test]
    fn a_wrong_key_is_an_error_without_the_key() {
        let ec = include_str!("../fixtures/server-key.pem");
        let cut = &PKCS1[..PKCS1.len() / 2];
        let garbled = PKCS8.replace('A', "B");
        for pem in ["", "MIIEpAIBAAKCAQEA", ec, cut, &garbled] {
            let error = Identity::new(&app(pem, None)).err().unwrap();
            assert!(error.contains("Iv1.abc") && !error.contains("MII"), "{error}");
        }
    }

    #[test]
    fn base64_is_that_of_urls() {
        for (bytes, text) in
            [(&b""[..], ""), (b"f", "Zg"), (b"fo", "Zm8"), (b"foo", "Zm9v"), (b"\xff\xfe\xfd\xfb", "__79-w")]
        {
            assert_eq!(base64url(bytes), text);
        }
    }
}
