//! How a server is reached: addresses, user, TLS, and the deadline of everything that is said to it.

use std::fmt;
use std::time::Duration;

use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisResult,
    TlsCertificates,
};

use super::authorities;
use crate::config::RedisSettings;

/// How long connecting may take, with TLS and login.
const CONNECT_LIMIT: Duration = Duration::from_millis(1_500);
/// How long an answer may take.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// One server, or one node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, right) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{left}{}{right}:{}", self.host, self.port)
    }
}

/// Opens connections.
pub(super) struct Server {
    settings: RedisSettings,
    /// PEM certificates to trust; none where nothing is checked, or only those count that are built in.
    ca: Option<Vec<u8>>,
}

impl Server {
    pub(super) fn new(settings: RedisSettings, ca: Option<Vec<u8>>) -> Self {
        let is_checked = settings.tls_enabled && !settings.tls_insecure;
        let ca = ca.or_else(|| if is_checked { authorities::of_the_system() } else { None });
        Self { settings, ca }
    }

    /// The node that the config names.
    pub(super) fn seed(&self) -> Node {
        Node { host: self.settings.host.clone(), port: self.settings.port }
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.settings.cluster_mode
    }

    /// The number of the database; a cluster has but one.
    pub(super) fn database(&self) -> u32 {
        if self.settings.cluster_mode { 0 } else { self.settings.database }
    }

    /// A connection that has logged in, and whose answers have a deadline.
    pub(super) fn connect(&self, node: &Node) -> RedisResult<Connection> {
        let connection = self.client(node)?.get_connection_with_timeout(CONNECT_LIMIT)?;
        connection.set_read_timeout(Some(ANSWER_LIMIT))?;
        connection.set_write_timeout(Some(ANSWER_LIMIT))?;
        Ok(connection)
    }

    fn client(&self, node: &Node) -> RedisResult<Client> {
        let info = self.info(node)?;
        match &self.ca {
            Some(ca) if self.settings.tls_enabled => Client::build_with_tls(
                info,
                TlsCertificates { client_tls: None, root_cert: Some(ca.clone()) },
            ),
            Some(_) | None => Client::open(info),
        }
    }

    fn info(&self, node: &Node) -> RedisResult<ConnectionInfo> {
        let (host, port) = (node.host.clone(), node.port);
        let address = if self.settings.tls_enabled {
            ConnectionAddr::TcpTls { host, port, insecure: self.settings.tls_insecure, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let mut login =
            RedisConnectionInfo::default().set_skip_set_lib_name().set_db(i64::from(self.database()));
        if let Some(user) = &self.settings.user {
            login = login.set_username(user);
        }
        if let Some(password) = &self.settings.password {
            login = login.set_password(password.reveal());
        }
        let info = address.into_connection_info()?;
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        Ok(info.set_tcp_settings(tcp).set_redis_settings(login))
    }
}
