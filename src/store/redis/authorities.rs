//! Who may vouch for a Redis server where no `ca_file` is named: the system's own authorities, as for GitHub, so that a company's count.
//!
//! The client itself would read them all for each connection, and would refuse to connect for a single odd one.

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use log::{debug, warn};
use rustls::RootCertStore;

/// The system's certificates as PEM, read once; none if it has none that can be used: then those count that are built in.
pub(super) fn of_the_system() -> Option<Vec<u8>> {
    static READ: LazyLock<Option<Vec<u8>>> = LazyLock::new(read);
    READ.clone()
}

fn read() -> Option<Vec<u8>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        debug!(error:% = error; "a certificate of the system cannot be read");
    }
    let is_usable = |certificate: &_| RootCertStore::empty().add(Clone::clone(certificate)).is_ok();
    let mut pem = String::new();
    for certificate in found.certs.iter().filter(|certificate| is_usable(*certificate)) {
        let text = STANDARD.encode(certificate);
        pem.push_str(&format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"));
    }
    if pem.is_empty() {
        warn!(
            "the system has no certificates that can be read; Redis servers need one of a public authority, or `ca_file`"
        );
        return None;
    }
    Some(pem.into_bytes())
}
