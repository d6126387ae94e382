//! The Redis store against real servers, which the tests start on free ports of the loopback and stop again.

mod access;
mod cluster;
mod documents;
mod idle;
mod keys;
mod nodes;
mod outages;
mod server;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anklet_plugin_api::conformance::ConformanceClock;
use anklet_plugin_api::fake::made::{claim_for, want};
use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::store::{Claim, Counted, GiveBack, JobSignal, Store};
use serde_json::json;

use self::nodes::{CA, Cluster};
use self::server::TestServer;
use super::scripts::{self, Verb};
use super::{Options, RedisServer, RedisStore, SILENCE_LIMIT};
use crate::config::RedisSettings;

/// A queue of a test's own on a server that tests share.
fn queue_on(
    settings: &RedisSettings,
    ca: Option<&[u8]>,
    clock: Option<&ConformanceClock>,
) -> Arc<RedisStore> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let queue = format!("queue-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    queue_named(&queue, settings, ca, clock)
}

fn queue_named(
    queue: &str,
    settings: &RedisSettings,
    ca: Option<&[u8]>,
    clock: Option<&ConformanceClock>,
) -> Arc<RedisStore> {
    let options = options(settings, ca, clock);
    let server = RedisServer::open(options, &BTreeSet::from([queue.to_owned()])).unwrap();
    assert!(server.news.as_ref().unwrap().wait(Duration::from_secs(20)), "the subscription stands");
    server.queue(queue)
}

fn options(settings: &RedisSettings, ca: Option<&[u8]>, clock: Option<&ConformanceClock>) -> Options {
    Options {
        settings: settings.clone(),
        ca: ca.map(<[u8]>::to_vec),
        clock: clock.map(ConformanceClock::source),
        tombstone_life: Duration::from_secs(48 * 3_600),
        claim_life: Duration::from_secs(90),
        process: format!("test {}", std::process::id()),
        silence_limit: SILENCE_LIMIT,
    }
}

/// How the tests reach a server on this host.
fn settings(port: u16) -> RedisSettings {
    RedisSettings {
        host: "127.0.0.1".to_owned(),
        port,
        user: None,
        password: None,
        database: 0,
        max_retries: 5,
        retry_delay: Duration::from_millis(100),
        retry_backoff_factor: 2.0,
        cluster_mode: false,
        tls_enabled: false,
        tls_insecure: false,
    }
}

fn claim(store: &dyn Store, handler: &str) -> Option<Claim> {
    claim_for(store, &want(handler)).unwrap()
}

fn back() -> GiveBack {
    GiveBack {
        reason: "stop".to_owned(),
        counted: Counted::No,
        hold: Duration::from_secs(60),
        host_avoids: None,
    }
}

impl RedisStore {
    /// Waits until the signals of the verb have been handed on, so that rules about what was *not* said mean something.
    pub(super) fn settle(&self, verb: &Verb) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let says_nothing = [
            &scripts::SETTLE,
            &scripts::ENTRY,
            &scripts::COUNTS,
            &scripts::VMS,
            &scripts::LOOK,
            &scripts::LEASE,
        ];
        if self.server.options.clock.is_none() || says_nothing.iter().any(|other| std::ptr::eq(*other, verb))
        {
            return;
        }
        let name = format!("settle-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let settled =
            self.server.news.as_ref().unwrap().subscribe(&self.prefix, &PluginName::new(name.as_str()));
        let word = json!({ "is": "retry", "to": name }).to_string();
        self.send(&scripts::SETTLE, &word).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while settled.recv_deadline(deadline).unwrap() != JobSignal::Retry {}
    }
}

/// The whole suite on one server with an append-only file.
mod plain {
    use super::*;

    fn make(clock: &ConformanceClock) -> Arc<dyn Store> {
        queue_on(&settings(TestServer::shared().port), None, Some(clock))
    }

    anklet_plugin_api::store_conformance!(make);
}

/// The whole suite on a cluster, over TLS, with a user and a password.
mod clustered {
    use super::*;

    fn make(clock: &ConformanceClock) -> Arc<dyn Store> {
        queue_on(&Cluster::shared().settings(), Some(CA), Some(clock))
    }

    anklet_plugin_api::store_conformance!(make);
}
