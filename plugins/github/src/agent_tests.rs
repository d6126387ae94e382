//! TLS against a server of our own: whom the client trusts, and what it says when it does not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::section::GithubAccess;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::address::Repository;
use crate::client::Client;
use crate::error::ClientError;
use crate::testing::{access, quick_limits};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// Takes one connection and answers one request on it, if the handshake gets that far.
fn serve_once() -> (SocketAddr, JoinHandle<()>) {
    let chain = vec![CertificateDer::from_pem_file(fixture("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(fixture("server-key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        let (stream, _) = listener.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), stream);
        if stream.read(&mut [0; 4096]).is_ok() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        }
    };
    (address, thread::Builder::new().name("tls".into()).spawn(serve).unwrap())
}

fn see(host: &str, ca_file: Option<PathBuf>) -> Result<(), ClientError> {
    let (address, thread) = serve_once();
    let access = GithubAccess { ca_file, ..access(&format!("https://{host}:{}", address.port())) };
    let client = Client::new(&access, &quick_limits()).unwrap();
    let result = client.see_repository(Repository { owner: "o", repo: "r" }, &Ear::deaf());
    thread.join().unwrap();
    result
}

#[test]
fn an_authority_of_ones_own_is_trusted_by_its_file() {
    see("localhost", Some(fixture("ca.pem"))).unwrap();
    see("127.0.0.1", Some(fixture("ca.pem"))).unwrap();
}

#[test]
fn whom_nobody_vouches_for_is_not_trusted() {
    // The system's store does not know our authority; the server's own certificate is no authority for itself.
    for ca_file in [None, Some(fixture("server.pem"))] {
        let error = see("localhost", ca_file).unwrap_err();
        assert!(matches!(&error, ClientError::Setup { what } if what.contains("`ca_file`")), "{error:?}");
    }
}
