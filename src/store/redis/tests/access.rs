//! Users, passwords, database numbers, TLS: who is let in, and what a refusal says.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anklet_plugin_api::fake::made::news;
use anklet_plugin_api::job::Phase;
use anklet_plugin_api::name::PluginName;
use anklet_plugin_api::section::Secret;
use anklet_plugin_api::store::{JobSignal, Noted, Source, Store};

use super::nodes::{CA, Cluster};
use super::server::TestServer;
use super::{options, queue_named, queue_on, settings};
use crate::config::RedisSettings;
use crate::store::redis::{Keys, OpenError, RedisServer};

#[track_caller]
fn is_refused(settings: RedisSettings, ca: Option<&[u8]>) -> String {
    let opened = RedisServer::open(options(&settings, ca, None), &BTreeSet::from(["q".to_owned()]));
    match opened.map(drop) {
        Err(error @ OpenError::Refused { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_user_needs_no_more_than_the_documented_rights() {
    let rights = "anklet on >secret ~anklet:* ~anklet/* &anklet:* -@all +@read +@write +@scripting +@pubsub +@connection +time +info";
    let user: Vec<_> = std::iter::once("--user").chain(rights.split(' ')).collect();
    let server = TestServer::start(&user);
    let settings = RedisSettings {
        user: Some("anklet".to_owned()),
        password: Some(Secret::new("secret")),
        ..settings(server.port)
    };
    let store = queue_on(&settings, None, None);
    let ear = store.subscribe(&PluginName::new("h"));
    assert_eq!(store.news(&news(1, Phase::Queued), Source::Webhook).unwrap(), Noted::Enqueued);
    let deadline = Instant::now() + Duration::from_secs(20);
    assert_eq!(ear.recv_deadline(deadline).unwrap(), JobSignal::Look);
    RedisServer::check(&options(&settings, None, None)).unwrap();
    let keys = Keys::open(&options(&settings, None, None));
    keys.set("anklet/metrics/acme/H", "{}", Duration::from_secs(1)).unwrap();
    assert_eq!(keys.find("anklet/*").unwrap().len(), 1);
    assert!(store.incarnation().unwrap().is_some());
    let wrong = RedisSettings { password: Some(Secret::new("another")), ..settings };
    let said = is_refused(wrong, None);
    assert!(!said.contains("another") && said.contains(&format!("127.0.0.1:{}", server.port)), "{said}");
}

/// Without the right to subscribe a queue is slower to hear, and as well as ever otherwise.
#[test]
fn a_user_who_may_not_subscribe_can_use_the_queue() {
    let rights =
        "anklet on >secret ~anklet:* &anklet:* -@all +@read +@write +@scripting +publish +@connection +time";
    let user: Vec<_> = std::iter::once("--user").chain(rights.split(' ')).collect();
    let server = TestServer::start(&user);
    let settings = RedisSettings {
        user: Some("anklet".to_owned()),
        password: Some(Secret::new("secret")),
        retry_delay: Duration::from_millis(20),
        ..settings(server.port)
    };
    let store = RedisServer::open(options(&settings, None, None), &BTreeSet::from(["q".to_owned()]));
    let store = store.unwrap().queue("q");
    let mut other =
        redis::Client::open(format!("redis://127.0.0.1:{}", server.port)).unwrap().get_connection().unwrap();
    let mut n_refusals = || {
        let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut other).unwrap();
        let line = stats.lines().find(|line| line.starts_with("cmdstat_subscribe:")).unwrap_or_default();
        let rejected = line.split(',').find_map(|fact| fact.strip_prefix("rejected_calls="));
        rejected.map_or(0, |n_rejected| n_rejected.parse().unwrap())
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while n_refusals() < 4_u32 {
        assert!(store.counts().is_ok());
        assert!(Instant::now() < deadline, "it goes on trying");
    }
}

#[test]
fn databases_of_one_server_are_apart() {
    let server = TestServer::shared();
    let in_database = |database| RedisSettings { database, ..settings(server.port) };
    let [one, two] = [3, 4].map(|database| queue_named("apart", &in_database(database), None, None));
    let ear = two.subscribe(&PluginName::new("h"));
    assert_eq!(one.news(&news(1, Phase::Queued), Source::Webhook).unwrap(), Noted::Enqueued);
    assert_eq!(two.counts().unwrap().queued, 0);
    assert_eq!(two.news(&news(1, Phase::Queued), Source::Webhook).unwrap(), Noted::Enqueued);
    assert_eq!(ear.recv_timeout(Duration::from_secs(20)).unwrap(), JobSignal::Look);
    assert!(ear.is_empty(), "the other database is not heard");
    assert!(is_refused(in_database(9_999), None).contains("DB index"));
}

#[test]
fn a_certificate_must_be_trusted_unless_told_otherwise() {
    let settings = Cluster::shared().settings();
    let untrusted = RedisServer::open(options(&settings, None, None), &BTreeSet::from(["q".to_owned()]));
    assert!(RedisServer::check(&options(&settings, None, None)).is_err());
    drop(untrusted);
    let insecure = RedisSettings { tls_insecure: true, ..settings.clone() };
    RedisServer::check(&options(&insecure, None, None)).unwrap();
    RedisServer::check(&options(&settings, Some(CA), None)).unwrap();
    is_refused(RedisSettings { password: None, ..settings }, Some(CA));
}
