//! A request as handlers see it. Its fields are data of strangers: nothing here is decoded or trusted.

use std::net::SocketAddr;
use std::time::Instant;

/// Request line and headers, known before the body is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) peer: SocketAddr,
    pub(crate) minor_version: u8,
    pub(crate) keep_alive: bool,
}

impl Head {
    /// The method as sent, such as `POST`.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The path without the query, such as `/jobs/v1/receiver`; not percent-decoded.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What follows the first `?`; empty if there is none.
    pub fn query(&self) -> &str {
        &self.query
    }

    /// The first value of `key` in the query, not decoded; `Some("")` for a key without a value.
    pub fn query_value(&self, key: &str) -> Option<&str> {
        self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).find_map(
            |(name, value)| {
                if name == key { Some(value) } else { None }
            },
        )
    }

    /// The first header of that name, in any case. Bytes that are not UTF-8 have become U+FFFD.
    pub fn header(&self, name: &str) -> Option<&str> {
        let is_it = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.headers.iter().find(is_it).map(|(_, value)| value.as_str())
    }

    /// All headers in the order they came.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The other end of the connection; behind a proxy that is the proxy.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// A complete request: its body came in whole, within the limits.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) complete_at: Instant,
}

impl Request {
    /// Request line and headers.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The body, chunks already put together.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// When its last byte came. It may have waited for a worker since; a handler that promises an answer within a limit
    /// counts from here.
    pub fn complete_at(&self) -> Instant {
        self.complete_at
    }

    /// As [`Head::method`].
    pub fn method(&self) -> &str {
        self.head.method()
    }

    /// As [`Head::path`].
    pub fn path(&self) -> &str {
        self.head.path()
    }

    /// As [`Head::query`].
    pub fn query(&self) -> &str {
        self.head.query()
    }

    /// As [`Head::query_value`].
    pub fn query_value(&self, key: &str) -> Option<&str> {
        self.head.query_value(key)
    }

    /// As [`Head::header`].
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    /// As [`Head::peer`].
    pub fn peer(&self) -> SocketAddr {
        self.head.peer()
    }
}
