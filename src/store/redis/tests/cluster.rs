//! A queue in a cluster whose master dies.

use std::time::{Duration, Instant};

use anklet_plugin_api::fake::made::news;
use anklet_plugin_api::job::Phase;
use anklet_plugin_api::store::{Noted, Source, Store, StoreError};
use redis::cmd;
use rustix::process::Signal;

use super::nodes::{CA, Cluster, PASSWORD};
use super::{claim, queue_named, settings};
use crate::config::RedisSettings;

impl Cluster {
    pub(super) fn settings(&self) -> RedisSettings {
        RedisSettings {
            password: Some(anklet_plugin_api::section::Secret::new(PASSWORD)),
            cluster_mode: true,
            tls_enabled: true,
            ..settings(self.nodes[0].port)
        }
    }
}

/// A queue that lives on a master that dies goes on where the replica takes over.
#[test]
fn a_queue_outlives_its_master() {
    let mut cluster = Cluster::start(&["--cluster-node-timeout", "1000"]);
    let doubled = cluster.doubled();
    // The node that the config names must not be the one that dies, nor may it matter: half of the runs it is.
    let (queue, store) = (0..)
        .map(|n| format!("queue {n}"))
        .find_map(|queue| {
            let store = queue_named(&queue, &cluster.settings(), Some(CA), None);
            store.counts().unwrap();
            (store.server.link.home_of(&store.prefix).port == doubled).then_some((queue, store))
        })
        .expect("some queue lives there");
    assert_eq!(store.news(&news(1, Phase::Queued), Source::Webhook).unwrap(), Noted::Enqueued);
    let key = claim(&*store, "h").expect("a job").key;
    let mut connection = cluster.connect(cluster.nodes.iter().find(|node| node.port == doubled).unwrap());
    let n_replicas: u32 = cmd("WAIT").arg(1).arg(10_000).query(&mut connection).unwrap();
    assert_eq!(n_replicas, 1, "the replica has it all");
    drop(connection);
    let dying = cluster.nodes.iter().position(|node| node.port == doubled).unwrap();
    cluster.nodes.remove(dying).signal(Signal::KILL);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match store.renew(std::slice::from_ref(&key)) {
            Ok(lost) => break assert_eq!(lost, []),
            Err(error @ StoreError::Away { .. }) => assert!(Instant::now() < deadline, "{error}"),
            Err(error) => panic!("{error}"),
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert_eq!(store.news(&news(1, Phase::Queued), Source::Webhook).unwrap(), Noted::Known, "{queue}");
    assert_ne!(store.server.link.home_of(&store.prefix).port, doubled);
}
