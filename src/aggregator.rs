//! `metrics.aggregator`: a process without plugins that shows the documents of the whole fleet on one port.

use std::process::ExitCode;

use crossbeam_channel::Receiver;
use log::{error, info};

use crate::config::Config;
use crate::daemon::Event;
use crate::metrics::{Fleet, MetricsError, MetricsServer};
use crate::store;

/// Shows the pages until a signal comes.
pub(crate) fn run(config: &Config, events: &Receiver<Event>) -> ExitCode {
    let Some(settings) = &config.metrics.database else {
        // The config has said so before.
        error!("the aggregator needs Redis: set `metrics.database.url`");
        return ExitCode::FAILURE;
    };
    let keys = match store::metrics_keys_alone(settings, config) {
        Ok(keys) => keys,
        Err(cause) => {
            error!(error = cause; "unable to access database");
            return ExitCode::FAILURE;
        }
    };
    let fleet = Fleet::new(keys, config.metrics.sleep_interval);
    let server = match MetricsServer::serve(&config.metrics, move |request| fleet.answer(request)) {
        Ok(server) => server,
        Err(error) => {
            let message = match error {
                MetricsError::PortInUse { .. } => "metrics port already in use",
                MetricsError::Server(_) => "cannot start the metrics server",
            };
            error!(error:% = error; "{message}");
            return ExitCode::FAILURE;
        }
    };
    info!(port = server.port(); "metrics aggregator started");
    // Whatever comes is a signal, and there is nothing to finish.
    let _ = events.recv();
    drop(server);
    info!("anklet (and all plugins) shut down");
    ExitCode::SUCCESS
}
