//! The one place that builds HTTP agents, so that none is ever built without its limits, its TLS provider and its trust.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use ureq::config::{Config, RedirectAuthHeaders};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Proxy};

use crate::address::Base;

/// Enough for GitHub's headers; two agents' worth must not show in an idle process.
const BUFFER_BYTES: usize = 16 * 1024;
/// A handler uses one connection; its janitor may use another in the same moment.
const MOST_IDLE_CONNECTIONS: usize = 2;

/// How agents are made. TLS itself is set up by an agent's first encrypted connection, so that an idle process stays small.
pub(crate) struct AgentMaker(Config);

impl AgentMaker {
    /// An agent's call of `base` takes `limit` at most. The error says what is wrong with the file.
    pub(crate) fn new(base: &Base, ca_file: Option<&Path>, limit: Duration) -> Result<Self, String> {
        let root_certs = match ca_file {
            Some(path) => certificates(path)?,
            // The system's own store, so that a company's certificates count.
            None => RootCerts::PlatformVerifier,
        };
        let tls = TlsConfig::builder()
            .root_certs(root_certs)
            // Named here, agents do not depend on what the process has installed as its default.
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let mut config = Agent::config_builder()
            .tls_config(tls)
            .timeout_global(Some(limit))
            .http_status_as_error(false)
            // Followed by hand, since credentials must not go to another port either.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .redirect_auth_headers(RedirectAuthHeaders::Never)
            .user_agent(concat!("anklet/", env!("CARGO_PKG_VERSION")))
            .accept("application/vnd.github+json")
            .input_buffer_size(BUFFER_BYTES)
            .output_buffer_size(BUFFER_BYTES)
            .max_response_header_size(BUFFER_BYTES)
            .max_idle_connections(MOST_IDLE_CONNECTIONS)
            .max_idle_connections_per_host(MOST_IDLE_CONNECTIONS);
        if base.is_direct() || is_spared(base) {
            config = config.proxy(None);
        }
        Ok(Self(config.build()))
    }

    pub(crate) fn make(&self) -> Agent {
        Agent::new_with_config(self.0.clone())
    }
}

/// Whether `NO_PROXY` names a domain that the host lies in. The agent itself takes a name without a dot or star before it for one host alone, where
/// other programs mean all below it too.
fn is_spared(base: &Base) -> bool {
    let Some(proxy) = Proxy::try_from_env() else { return false };
    base.domains().any(|domain| domain.parse().is_ok_and(|uri| proxy.is_no_proxy(&uri)))
}

fn certificates(path: &Path) -> Result<RootCerts, String> {
    let shown = path.display();
    let certificates =
        CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("ca_file {shown} cannot be read as PEM certificates: {error}"))?;
    if certificates.is_empty() {
        return Err(format!("ca_file {shown} holds no PEM certificate"));
    }
    let certificates: Vec<_> =
        certificates.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    Ok(RootCerts::new_with_certs(&certificates))
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
