//! A cluster of three masters and a replica, over TLS, with a password. The tests of the whole program start theirs with this file too.

use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use redis::{
    Client, Connection, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates, cmd,
};

use super::server::{TestServer, free_port};

/// Signed the certificate of the nodes.
pub(crate) const CA: &[u8] = include_bytes!("certificates/ca.pem");
pub(crate) const PASSWORD: &str = "a word that only the tests know";

pub(crate) struct Cluster {
    /// Three masters, then the replica of one of them.
    pub(crate) nodes: Vec<TestServer>,
}

impl Cluster {
    /// The one that most tests share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&["--cluster-node-timeout", "15000"]))
    }

    pub(crate) fn start(options: &[&str]) -> Self {
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
    pub(crate) fn wait(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_so(self) {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    pub(crate) fn connect(&self, node: &TestServer) -> Connection {
        let (host, tls_params) = ("127.0.0.1".to_owned(), None);
        let address = ConnectionAddr::TcpTls { host, port: node.port, insecure: false, tls_params };
        let login = RedisConnectionInfo::default().set_password(PASSWORD);
        let info = address.into_connection_info().unwrap().set_redis_settings(login);
        let certificates = TlsCertificates { client_tls: None, root_cert: Some(CA.to_vec()) };
        Client::build_with_tls(info, certificates).unwrap().get_connection().unwrap()
    }

    /// The port of the master that the replica stands in for.
    pub(crate) fn doubled(&self) -> u16 {
        let replication: String =
            cmd("INFO").arg("replication").query(&mut self.connect(&self.nodes[3])).unwrap();
        let port = replication.lines().find_map(|line| line.strip_prefix("master_port:"));
        port.expect("it has a master").trim().parse().unwrap()
    }
}
