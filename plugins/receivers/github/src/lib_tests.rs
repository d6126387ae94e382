//! What a receiver that cannot start says.

use std::io;
use std::net::SocketAddr;

use anklet_http::ServerError;

use super::told;

#[test]
fn errors_say_what_to_do() {
    let address = SocketAddr::from(([0, 0, 0, 0], 80));
    let in_use = told(&ServerError::AddressInUse { address });
    assert!(in_use.contains("0.0.0.0:80") && in_use.contains("another `port`"), "{in_use}");
    let source = io::Error::from(io::ErrorKind::PermissionDenied);
    let denied = told(&ServerError::Bind { address, source });
    assert!(denied.contains("permission denied") && denied.contains("another `port`"), "{denied}");
}
