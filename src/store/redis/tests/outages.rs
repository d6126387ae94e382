//! What a handler and a receiver see while the server is away, and after.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anklet_plugin_api::fake::made::{claim_for, news, want};
use anklet_plugin_api::job::Phase;
use anklet_plugin_api::name::{HostId, PluginName};
use anklet_plugin_api::store::{JobSignal, Noted, Source, Store, StoreError, Want};
use crossbeam_channel::after;
use redis::{Client, cmd};
use rustix::process::Signal;

use super::server::{TestServer, free_port, new_folder};
use super::{claim, options, queue_on, settings};
use crate::store::redis::{Options, RedisServer};

/// A webhook must be refused in this time.
const REFUSAL_LIMIT: Duration = Duration::from_secs(5);

#[track_caller]
fn is_away(store: &dyn Store) {
    let started_at = Instant::now();
    let answer = store.news(&news(9, Phase::Queued), Source::Webhook);
    assert!(matches!(answer, Err(StoreError::Away { .. })), "{answer:?}");
    assert!(started_at.elapsed() < REFUSAL_LIMIT, "{:?}", started_at.elapsed());
}

/// Repeats a verb until the store answers, as handlers do.
#[track_caller]
fn patiently<T>(verb: impl Fn() -> Result<T, StoreError>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match verb() {
            Ok(answer) => return answer,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_restart_loses_nothing_and_everybody_looks() {
    let server = TestServer::start(&["--appendfsync", "always"]);
    let (port, store) = (server.port, queue_on(&settings(server.port), None, None));
    assert_eq!(store.news(&news(1, Phase::Queued), Source::Webhook).unwrap(), Noted::Enqueued);
    let key = claim(&*store, "h").expect("a job").key;
    let ear = store.subscribe(&PluginName::new("h"));
    let (interruptions, before) = (store.interruptions(), store.incarnation().unwrap());
    assert_eq!(store.incarnation().unwrap(), before);
    assert!(before.is_some() && interruptions.is_empty());
    let folder = server.kill();
    is_away(&*store);
    is_away(&*store);
    assert!(ear.is_empty());
    let _server = TestServer::start_in(&folder, port, &[]).expect("the port is still free");
    assert_eq!(ear.recv_timeout(Duration::from_secs(30)).unwrap(), JobSignal::Look);
    interruptions.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_ne!(patiently(|| store.incarnation()), before);
    assert_eq!(patiently(|| store.renew(std::slice::from_ref(&key))), []);
    assert_eq!(store.news(&news(1, Phase::Queued), Source::Webhook).unwrap(), Noted::Known);
    assert_eq!(store.news(&news(2, Phase::Queued), Source::Webhook).unwrap(), Noted::Enqueued);
    assert_eq!(ear.recv_timeout(Duration::from_secs(30)).unwrap(), JobSignal::Look);
}

#[test]
fn connections_that_were_cut_are_not_noticed() {
    let server = TestServer::start(&[]);
    let store = queue_on(&settings(server.port), None, None);
    let mut other =
        Client::open(format!("redis://127.0.0.1:{}", server.port)).unwrap().get_connection().unwrap();
    let mut n_noticed = 0;
    for n in 0..20 {
        for kind in ["normal", "pubsub"] {
            cmd("CLIENT").arg(&["KILL", "TYPE", kind, "SKIPME", "yes"]).exec(&mut other).unwrap();
        }
        // A machine that is too busy to connect within the limit makes a pause of it.
        while let Err(error) = store.news(&news(n, Phase::Queued), Source::Webhook) {
            n_noticed += 1;
            assert!(n_noticed < 3, "{error}");
            after(Duration::from_millis(500)).recv().unwrap();
        }
    }
    cmd("SCRIPT").arg(&["FLUSH", "SYNC"]).exec(&mut other).unwrap();
    assert_eq!(store.news(&news(99, Phase::Queued), Source::Webhook).unwrap(), Noted::Enqueued);
    assert_eq!(store.counts().unwrap().queued, 21);
}

/// Nobody's claim is taken while its holder may not have had the time to come back.
#[test]
fn nothing_is_taken_over_right_after_an_outage() {
    let server = TestServer::start(&[]);
    let holder = super::queue_named("q", &settings(server.port), None, None);
    let taker = super::queue_named("q", &settings(server.port), None, None);
    let life = Duration::from_millis(1_500);
    let want = |handler: &str| Want {
        host: HostId::new(handler),
        take_over: true,
        claim_life: life,
        ..want(handler)
    };
    holder.news(&news(1, Phase::Queued), Source::Webhook).unwrap();
    holder.claim(&want("holder")).unwrap();
    server.signal(Signal::STOP);
    assert!(matches!(taker.counts(), Err(StoreError::Away { .. })));
    server.signal(Signal::CONT);
    patiently(|| taker.counts());
    assert!(!taker.may_take_over(life));
    assert!(holder.may_take_over(life), "it has not noticed");
    let deadline = Instant::now() + Duration::from_secs(30);
    while !taker.may_take_over(life) {
        assert!(Instant::now() < deadline);
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let taken = loop {
        if let Some(claim) = claim_for(&*taker, &want("taker")).unwrap() {
            break claim;
        }
        assert!(Instant::now() < deadline);
        std::thread::park_timeout(Duration::from_millis(50));
    };
    assert!(taken.taken.is_some());
}

#[test]
fn a_frozen_server_is_away_in_time_and_comes_back() {
    let server = TestServer::start(&[]);
    let store = queue_on(&settings(server.port), None, None);
    store.counts().unwrap();
    server.signal(Signal::STOP);
    for _ in 0..3 {
        is_away(&*store);
    }
    server.signal(Signal::CONT);
    // The frozen server may have carried out what its caller gave up on: said again, it is known.
    patiently(|| store.news(&news(9, Phase::Queued), Source::Webhook));
    assert_eq!(store.counts().unwrap().queued, 1);
}

/// A server that is not there yet is waited for.
#[test]
fn a_start_does_not_need_the_server() {
    let port = free_port();
    let opened = RedisServer::open(options(&settings(port), None, None), &BTreeSet::from(["q".to_owned()]));
    let store = opened.expect("it may come").queue("q");
    let ear = store.subscribe(&PluginName::new("h"));
    is_away(&*store);
    let folder = new_folder();
    let _server = TestServer::start_in(&folder, port, &[]).expect("the port is still free");
    assert_eq!(ear.recv_timeout(Duration::from_secs(30)).unwrap(), JobSignal::Look);
    assert_eq!(store.counts().unwrap().queued, 0);
}

/// A full server refuses, keeps what it has, and goes on when there is room.
#[test]
fn a_full_server_refuses_whole_verbs() {
    let server = TestServer::start(&["--maxmemory-policy", "noeviction"]);
    let store = queue_on(&settings(server.port), None, None);
    store.news(&news(1, Phase::Queued), Source::Webhook).unwrap();
    let mut other =
        Client::open(format!("redis://127.0.0.1:{}", server.port)).unwrap().get_connection().unwrap();
    cmd("CONFIG").arg(&["SET", "maxmemory", "1"]).exec(&mut other).unwrap();
    is_away(&*store);
    assert!(store.claim(&want("h")).is_err());
    cmd("CONFIG").arg(&["SET", "maxmemory", "0"]).exec(&mut other).unwrap();
    assert_eq!(claim(&*store, "h").map(|claim| (claim.job.id.0, claim.key.fence)), Some((1, 1)));
    let counts = store.counts().unwrap();
    assert_eq!((counts.queued, counts.claimed), (0, 1));
}

/// A quiet subscription is asked about, and stays the one that it is.
#[test]
fn a_silent_subscription_is_kept() {
    let server = TestServer::start(&[]);
    let options =
        Options { silence_limit: Duration::from_secs(3), ..options(&settings(server.port), None, None) };
    let store = RedisServer::open(options, &BTreeSet::from(["q".to_owned()])).unwrap().queue("q");
    let ear = store.subscribe(&PluginName::new("h"));
    let mut other =
        Client::open(format!("redis://127.0.0.1:{}", server.port)).unwrap().get_connection().unwrap();
    let mut n_calls = |command: &str| -> u32 {
        let stats: String = cmd("INFO").arg("commandstats").query(&mut other).unwrap();
        let begin = format!("cmdstat_{command}:calls=");
        let calls = stats.lines().find_map(|line| line.strip_prefix(begin.as_str())?.split(',').next());
        calls.map_or(0, |calls| calls.parse().unwrap())
    };
    patiently_until(|| n_calls("subscribe") == 1);
    let n_before = n_calls("ping");
    patiently_until(|| n_calls("ping") >= n_before + 3);
    assert_eq!(n_calls("subscribe"), 1, "it is not made anew");
    assert!(ear.try_iter().count() <= 1, "and nobody is woken but once, when it stood");
    assert_eq!(store.news(&news(1, Phase::Queued), Source::Webhook).unwrap(), Noted::Enqueued);
    assert_eq!(ear.recv_timeout(Duration::from_secs(30)), Ok(JobSignal::Look), "it is heard");
}

#[track_caller]
fn patiently_until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline);
        std::thread::park_timeout(Duration::from_millis(20));
    }
}
