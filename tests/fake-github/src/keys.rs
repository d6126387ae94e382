//! RSA keys for tests that need an App. They stand alone because every crate with such a test needs the same ones;
//! they open nothing anywhere.

/// A private key in PKCS#1 PEM, the form GitHub gives out.
pub const APP_KEY: &str = include_str!("../keys/app.pkcs1.pem");
/// The same key in PKCS#8 PEM.
pub const APP_KEY_PKCS8: &str = include_str!("../keys/app.pkcs8.pem");
/// Another key, which no App of a test has.
pub const OTHER_KEY: &str = include_str!("../keys/other.pkcs1.pem");
