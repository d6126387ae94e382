//! The GitHub receiver: turns GitHub's webhooks into queued jobs.
//!
//! A webhook is stored first and answered then, so that GitHub never believes delivered what is not on disk. Anything that cannot be
//! stored gets an answer outside 2xx, which GitHub records as a failed delivery.
//!
//! A webhook's way through the files: `webhook` looks at its head, then at its `signature` (`unsigned` if that does not fit), reads
//! it (`form`), and hands it to the `store_threads` as a `delivery`.

mod delivery;
mod form;
mod hook_log;
mod lost;
mod meter;
mod progress;
mod redeliver;
mod signature;
mod store_threads;
mod unsigned;
mod webhook;

use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, select};
use log::{debug, info, warn};

use anklet_github::client::Client;
use anklet_github::deliveries::Hook;
use anklet_github::error::ClientError;
use anklet_github::shown::ShownStatus;
use anklet_http::{Limits as HttpLimits, Running, Server, ServerError};
use anklet_plugin_api::ear::Ear;
use anklet_plugin_api::log_context;
use anklet_plugin_api::plugin::{Plugin, PluginError, Services};
use anklet_plugin_api::report::Status;
use anklet_plugin_api::scope::Scope;
use anklet_plugin_api::section::Section;

use crate::hook_log::HookLog;
use crate::meter::Meter;
use crate::redeliver::Redeliverer;
use crate::signature::SigningKey;
use crate::store_threads::StoreThreads;
use crate::unsigned::Unsigned;
use crate::webhook::Desk;

/// The kind that `plugin:` names in the config.
pub const KIND: &str = "github_receiver";

/// Where a receiver without a `port` listens.
pub const DEFAULT_PORT: u16 = 54321;

/// Where `redeliver_hours` is 0.
const DEFAULT_HOURS: u32 = 24;

/// Webhooks in work at once, each with a thread of the server's and one at the store. An embedded store flushes half of them to the
/// disk together while the other half lines up: with 16, a disk that takes 10 ms for a flush stores over 500 webhooks a second.
const N_WORKERS: usize = 16;

const NO_SECRET: &str = "a receiver needs the webhook's secret: set `secret`, or `global_receiver_secret`";

const A_BUG: &str = "the server has ended by itself, which is a bug: please report it";

/// A receiver that has not been started.
pub struct GithubReceiver {
    section: Section,
}

impl GithubReceiver {
    /// A receiver of this section.
    pub fn new(section: Section) -> Self {
        Self { section }
    }
}

impl Plugin for GithubReceiver {
    fn run(self: Box<Self>, mut services: Services) -> Result<(), PluginError> {
        let section = &self.section;
        let setup = |what: String| PluginError::Setup(format!("plugin {}: {what}", section.name));
        let key = section.secret.as_ref().and_then(SigningKey::new);
        let key = key.ok_or_else(|| setup(NO_SECRET.to_owned()))?;
        let (refused, refusals) = bounded(1);
        let (store_threads, server) = open(section, key, refused, &services).map_err(setup)?;
        info!(port = server.local_addr().port(); "receiver finished starting");
        services.report.status(&section.name, Status::Idle);
        services.ready.tell();
        let (wrong, told_wrong) = bounded(1);
        let redeliverer = redeliverer(section, &services, refusals, wrong.clone()).map_err(setup)?;
        let failure = select! {
            recv(services.interrupt.closed()) -> _ => None,
            recv(server.closed()) -> _ => Some(A_BUG.to_owned()),
            recv(told_wrong) -> what => what.ok(),
        };
        debug!("closing the receiver");
        server.stop();
        store_threads.join();
        if let Some(thread) = redeliverer {
            // Panics there have been told by the panic hook; webhooks went on meanwhile.
            let _ = thread.join();
        }
        services.report.status(&section.name, Status::Stopped);
        // Kept until here, so that nobody is told the end of a thread that was not started.
        drop(wrong);
        failure.map_or(Ok(()), |what| Err(setup(what)))
    }
}

/// Starts every thread; webhooks are answered from here on. The error is for the operator.
fn open(
    section: &Section,
    key: SigningKey,
    refused: Sender<()>,
    services: &Services,
) -> Result<(StoreThreads, Running), String> {
    let (limits, context) = (&section.limits, log_context::inherit());
    let name = format!("receiver/{}", section.name);
    let (store_threads, store) = StoreThreads::start(&services.store, &context, &name, N_WORKERS)
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    let desk = Arc::new(Desk {
        key,
        store,
        refused,
        // The answer has to be written too before the limit is over.
        store_limit: limits.store_answer.mul_f64(0.9),
        unsigned: Unsigned::new(limits.state_line, Instant::now()),
        context,
    });
    let http_limits = HttpLimits {
        n_workers: N_WORKERS,
        request_limit: limits.request,
        idle_limit: limits.connection_idle,
        stop_limit: limits.store_answer + Duration::from_secs(1),
        ..HttpLimits::default()
    };
    let (admission, handler) = (Arc::clone(&desk), desk);
    let server = bind(section.port.unwrap_or(DEFAULT_PORT), &http_limits, &name)
        .and_then(|server| {
            server
                .admit(Arc::new(move |head| admission.admit(head)))
                .serve(Arc::new(move |request| handler.answer(request)))
        })
        .map_err(|error| told(&error))?;
    Ok((store_threads, server))
}

/// Whether GitHub lets this receiver read the log of its webhook, by the one call that a look begins with; none if it is not to ask, or has no such log.
pub fn try_log(section: &Section) -> Option<Result<(), ClientError>> {
    let (hook, _) = hook(section)?;
    let client = Client::new(&section.github, &section.limits);
    Some(client.and_then(|client| client.deliveries(&hook, None, &Ear::deaf()).map(drop)))
}

/// The webhook whose log is read, and its name for people and leases; none if GitHub is not to be asked for missed webhooks, or has no such log.
/// Without `hook_id` a GitHub App's own is meant: there is only one.
fn hook(section: &Section) -> Option<(Hook, String)> {
    if section.skip_redeliver {
        return None;
    }
    let app = section.github.app.as_ref();
    match section.hook_id {
        Some(id) => {
            let has_credentials = app.is_some() || section.github.token.is_some();
            let has_log = has_credentials && !matches!(section.scope, Scope::Enterprise { .. });
            has_log.then(|| (Hook::OfScope { scope: section.scope.clone(), id }, id.to_string()))
        }
        None => app.map(|app| (Hook::OfApp, format!("app-{}", app.id))),
    }
}

/// Starts the thread that looks for missed webhooks, if GitHub is to be asked for them.
fn redeliverer(
    section: &Section,
    services: &Services,
    refusals: Receiver<()>,
    wrong: Sender<String>,
) -> Result<Option<JoinHandle<()>>, String> {
    let Some((hook, shown_hook)) = hook(section) else {
        // Where there is no number, the config's check has said so.
        if let (Some(id), false) = (section.hook_id, section.skip_redeliver) {
            warn!(hook = id; "webhooks that do not arrive are not asked for again: that needs credentials, and the hook of a repository or an organization");
        }
        return Ok(None);
    };
    let shown = Arc::new(ShownStatus::new(&section.name, &services.report, &services.heartbeats));
    let client = Client::new(&section.github, &section.limits).map_err(|error| error.to_string())?;
    let hours = if section.redeliver_hours == 0 { DEFAULT_HOURS } else { section.redeliver_hours };
    let lease = services.lessee.lease(format!("hook/{shown_hook}"), section.claim_life);
    let (scope, access) = (section.scope.clone(), section.github.clone());
    let redeliverer = Redeliverer {
        log: Meter::new(Box::new(HookLog { client: client.observed_by(shown), hook, scope, access })),
        hook: shown_hook,
        store: Arc::clone(&services.store),
        heartbeats: services.heartbeats.clone(),
        lease,
        limits: section.limits.clone(),
        window: Duration::from_secs(u64::from(hours) * 3_600),
        stop: services.interrupt.clone(),
        wrong,
        refusals,
        interruptions: services.store.interruptions(),
    };
    let name = format!("receiver/{}", section.name);
    let thread = redeliverer.start(&name, log_context::inherit());
    thread.map(Some).map_err(|error| format!("cannot start a thread: {error}"))
}

/// On all interfaces; where the host has no IPv6, on those of IPv4.
fn bind(port: u16, limits: &HttpLimits, name: &str) -> Result<Server, ServerError> {
    let at = |address| Server::bind(address, limits.clone(), name);
    match at(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
        Err(ServerError::Bind { .. }) => at(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        bound => bound,
    }
}

fn told(error: &ServerError) -> String {
    let reason = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    match error {
        ServerError::AddressInUse { .. } => {
            format!("{error}: another process has this `port`; stop that, or choose another `port`")
        }
        ServerError::Bind { .. } => format!("{error}{reason}; choose another `port`"),
        ServerError::Start { .. } => format!("{error}{reason}"),
    }
}

#[cfg(test)]
#[path = "lib_tests.rs"]
mod tests;
