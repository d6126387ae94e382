//! A cluster of three masters and a replica, over TLS, with a user whose rights are no more than the store needs.

use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anklet_plugin_api::job::Phase;
use anklet_plugin_api::store::{Noted, Source, Store, StoreError};
use redis::{
    Client, Connection, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates, cmd,
};
use rustix::process::Signal;

use super::server::{TestServer, free_port, settings};
use super::{claim, news, queue_named};
use crate::config::RedisSettings;

/// Signed the certificate of the nodes.
pub(super) const CA: &[u8] = include_bytes!("certificates/ca.pem");
const PASSWORD: &str = "a word that only the tests know";

pub(super) struct Cluster {
    /// Three masters, then the replica of one of them.
    nodes: Vec<TestServer>,
}

impl Cluster {
    /// The one that most tests share.
    pub(super) fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&["--cluster-node-timeout", "15000"]))
    }

    pub(super) fn start(options: &[&str]) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/redis/tests/certificates");
        let [ca, certificate, key] =
            ["ca.pem", "server.pem", "server-key.pem"].map(|name| format!("{folder}/{name}"));
        let start = || {
            let (port, bus) = (free_port().to_string(), free_port().to_string());
            let mut all = vec!["--tls-port", &port, "--cluster-enabled", "yes", "--cluster-port", &bus];
            all.extend(["--tls-cluster", "yes", "--tls-replication", "yes", "--tls-auth-clients", "no"]);
            all.extend(["--tls-ca-cert-file", &ca, "--tls-cert-file", &certificate, "--tls-key-file", &key]);
            all.extend(["--requirepass", PASSWORD, "--masterauth", PASSWORD]);
            all.extend_from_slice(options);
            TestServer::start_tls(&all, port.parse().expect("a port"))
        };
        let cluster = Self { nodes: std::iter::repeat_with(start).take(4).collect() };
        cluster.join(&ca);
        cluster
    }

    fn join(&self, ca: &str) {
        let addresses: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let cli = |args: &[&str]| {
            let mut command = Command::new("redis-cli");
            command
                .args(["--tls", "--cacert", ca, "-a", PASSWORD, "--no-auth-warning", "--cluster"])
                .args(args);
            let output = command.output().expect("redis-cli runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        };
        cli(&["create", &addresses[0], &addresses[1], &addresses[2], "--cluster-yes"]);
        cli(&["add-node", &addresses[3], &addresses[0], "--cluster-slave"]);
        self.wait("every node knows all and the replica is linked", |cluster| {
            let knows_all = |node: &TestServer| {
                let mut connection = cluster.connect(node);
                let info: String = cmd("CLUSTER").arg("INFO").query(&mut connection).unwrap();
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:4")
            };
            let replication: String =
                cmd("INFO").arg("replication").query(&mut cluster.connect(&cluster.nodes[3])).unwrap();
            cluster.nodes.iter().all(knows_all) && replication.contains("master_link_status:up")
        });
    }

    /// Asks again and again, as nobody tells.
    fn wait(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so(self) {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    fn connect(&self, node: &TestServer) -> Connection {
        let (host, tls_params) = ("127.0.0.1".to_owned(), None);
        let address = ConnectionAddr::TcpTls { host, port: node.port, insecure: false, tls_params };
        let login = RedisConnectionInfo::default().set_password(PASSWORD);
        let info = address.into_connection_info().unwrap().set_redis_settings(login);
        let certificates = TlsCertificates { client_tls: None, root_cert: Some(CA.to_vec()) };
        Client::build_with_tls(info, certificates).unwrap().get_connection().unwrap()
    }

    pub(super) fn settings(&self) -> RedisSettings {
        RedisSettings {
            password: Some(anklet_plugin_api::section::Secret::new(PASSWORD)),
            cluster_mode: true,
            tls_enabled: true,
            ..settings(self.nodes[0].port)
        }
    }

    /// The port of the master that the replica stands in for.
    fn doubled(&self) -> u16 {
        let replication: String =
            cmd("INFO").arg("replication").query(&mut self.connect(&self.nodes[3])).unwrap();
        let port = replication.lines().find_map(|line| line.strip_prefix("master_port:"));
        port.expect("it has a master").trim().parse().unwrap()
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
