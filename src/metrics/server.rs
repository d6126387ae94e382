//! The port on which the pages are shown.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use log::info;
use thiserror::Error;

use anklet_http::{Limits, Request, Response, Running, Server, ServerError};

use super::{SharedMetrics, old};
use crate::config::MetricsSettings;

/// Where the pages are unless the config says otherwise; if it is taken, the next free one.
const DEFAULT_PORT: u16 = 8080;
/// So many are tried.
const N_PORTS: u16 = 100;

/// Why there are no pages.
#[derive(Debug, Error)]
pub(crate) enum MetricsError {
    /// The configured port is taken.
    #[error("{address} is in use by another process; set `metrics.port` to a free one")]
    PortInUse {
        /// What was asked for.
        address: SocketAddr,
    },
    /// Something else.
    #[error("{0}")]
    Server(#[from] ServerError),
}

/// The running server; dropping it ends it.
pub(crate) struct MetricsServer {
    _running: Running,
    port: u16,
}

impl MetricsServer {
    /// Shows the pages at the configured port, else at 8080 or the next free one.
    pub(crate) fn start(settings: &MetricsSettings, metrics: SharedMetrics) -> Result<Self, MetricsError> {
        let server = Self::serve(settings, move |request| answer(request, &metrics))?;
        info!(port = server.port; "metrics server started");
        Ok(server)
    }

    /// The same with other pages.
    pub(crate) fn serve(
        settings: &MetricsSettings,
        answer: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Result<Self, MetricsError> {
        let server = bind(settings)?;
        let port = server.local_addr().port();
        let running = server.serve(Arc::new(move |request| answer(request)))?;
        Ok(Self { _running: running, port })
    }

    /// The port on which it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

fn bind(settings: &MetricsSettings) -> Result<Server, MetricsError> {
    let ip = settings.bind.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let limits = Limits { n_workers: 1, n_connections: 16, n_body_bytes: 0, ..Limits::default() };
    let bind = |port| Server::bind(SocketAddr::from((ip, port)), limits.clone(), "metrics");
    if let Some(port) = settings.port {
        return bind(port).map_err(|error| match error {
            ServerError::AddressInUse { address } => MetricsError::PortInUse { address },
            error => MetricsError::Server(error),
        });
    }
    let mut port = DEFAULT_PORT;
    loop {
        match bind(port) {
            Err(ServerError::AddressInUse { .. }) if port < DEFAULT_PORT + N_PORTS => port += 1,
            bound => return Ok(bound?),
        }
    }
}

fn answer(request: &Request, metrics: &SharedMetrics) -> Response {
    if !matches!(request.method(), "GET" | "HEAD") {
        return Response::text(405, "only GET\n").header("Allow", "GET, HEAD");
    }
    match (request.path(), request.query_value("format")) {
        ("/metrics", _) => {
            Response::new(200).body("text/plain; version=0.0.4; charset=utf-8", metrics.page())
        }
        ("/metrics/v1", Some("prometheus")) => {
            Response::text(200, old::text(&metrics.plugins(), &metrics.meter.measure()))
        }
        ("/metrics/v1", Some("json")) => {
            Response::new(200).body("application/json", metrics.document().to_string())
        }
        ("/metrics/v1", _) => {
            Response::text(400, "unsupported format, please use '?format=prometheus' or '?format=json'\n")
        }
        ("/healthcheck", _) => Response::text(200, "ok"),
        _ => Response::text(404, "the pages are /metrics and /metrics/v1?format=prometheus|json\n"),
    }
}
