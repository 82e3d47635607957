//! Settings of an upstream: its servers, how one is chosen, and the connections
//! to each.
//!
//! `upstream::service` makes the running upstream from them. A reload keeps the
//! state of each server and its connections as far as the new settings allow.

use std::{num::NonZeroUsize, path::Path, sync::Arc, time::Duration};

use rustls::pki_types::ServerName;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Concurrency, Ejection, HealthCheck, KeyPart, StatusSet, UpstreamTls};

/// `[upstreams.NAME]`: a named set of servers that are interchangeable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The upstream's key in the file, which identifies it across reloads.
    pub name: Arc<str>,
    /// At least one server. No two are reached at the same place.
    pub servers: Vec<UpstreamServer>,
    /// The version of HTTP that is spoken with the servers.
    pub protocol: Protocol,
    /// How a server is chosen for a request.
    pub balance: Balance,
    /// With [`Balance::Hash`], the percentage (100 to 1,000) of its share of
    /// the requests in flight at which a server passes keys on to the next one;
    /// `None` if it never does.
    pub hash_bound: Option<u16>,
    /// Limit on requests in flight over all routes to this upstream; `None` for
    /// no limit.
    pub concurrency: Option<Concurrency>,
    /// The time over which a server that came back grows to its full share of
    /// requests; zero for at once.
    pub slow_start: Duration,
    /// A server that responds with one of these statuses and `Retry-After` is
    /// avoided until then, at most for 60 seconds. Empty if none ever is.
    pub cool_down: StatusSet,
    /// How servers are checked; `None` if they are not.
    pub health_check: Option<HealthCheck>,
    /// When a server is ejected for failing requests.
    pub ejection: Ejection,
    /// Whether each connection begins with a header of the PROXY protocol, in
    /// its version 2, that names the client.
    pub proxy_protocol: bool,
    /// Limits on the connections to each server.
    pub pool: Pool,
    /// TLS for the servers with an `https` URL.
    pub tls: UpstreamTls,
}

/// A server of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamServer {
    /// The URL as written, `http://host:port`, `https://host:port`,
    /// `unix:/path` or `srv+http://name`, which is the server's label in logs
    /// and metrics.
    pub url: Arc<str>,
    /// Where it is reached.
    pub address: ServerAddress,
    /// The name that the server's certificate must be valid for; `None` if no
    /// TLS is spoken.
    pub secure_as: Option<ServerName<'static>>,
    /// The server's share of requests, relative to the weights of the others of
    /// its tier, up to 1,000,000; 0 for a server that gets none.
    pub weight: u32,
    /// 0 for a server that gets requests whenever it is available; a server of
    /// a higher tier, a backup, gets some only while none of the lower tiers is
    /// available.
    pub tier: u16,
}

/// Where a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerAddress {
    /// A TCP port of a host.
    Tcp {
        /// A host name, or an IP address (IPv6 without brackets). A name that
        /// ends with a dot is looked up as it is, without search domains.
        host: Arc<str>,
        /// The port; 80, or 443 with TLS, if the URL has none.
        port: u16,
    },
    /// A socket of this machine, by its absolute path of at most 107 bytes.
    Unix(Arc<Path>),
    /// Not one server, but those that the SRV records of a name list (RFC
    /// 2782), each at a TCP port.
    Srv {
        /// The name. One that ends with a dot is looked up as it is, without
        /// search domains.
        name: Arc<str>,
        /// Whether the certificate of each server must be valid for the host
        /// that its record names, and not for `secure_as`.
        by_target: bool,
    },
}

impl UpstreamServer {
    /// The server of a URL, with plain HTTP.
    #[cfg(test)]
    pub(crate) fn at(url: &str) -> Self {
        let uri: http::Uri = url.parse().unwrap();
        Self {
            url: url.into(),
            address: ServerAddress::Tcp {
                host: uri.host().unwrap().into(),
                port: uri.port_u16().unwrap_or(80),
            },
            secure_as: None,
            weight: 1,
            tier: 0,
        }
    }

    /// Whether the server is a socket of this machine.
    pub fn is_socket(&self) -> bool {
        matches!(self.address, ServerAddress::Unix(_))
    }

    /// The name that requests call the server by in `Host` if they do not keep
    /// the client's: host and port as written. A socket has none, and is
    /// called `localhost`, as by NGINX.
    pub fn authority(&self) -> &str {
        match self.address {
            ServerAddress::Tcp { .. } | ServerAddress::Srv { .. } => self
                .url
                .split_once("://")
                .map_or(&*self.url, |(_, authority)| authority),
            ServerAddress::Unix(_) => "localhost",
        }
    }
}

/// The version of HTTP that is spoken with the servers of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by prior knowledge on plain connections, by ALPN inside TLS.
    Http2,
    /// The server's choice by ALPN; HTTP/1.1 on plain connections.
    Auto,
}

/// How a server is chosen for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// The next server in turn, by weight.
    RoundRobin,
    /// The one of two random servers with fewer requests in flight for its
    /// weight. Two choices keep queues nearly as short as knowing all servers
    /// (M. Mitzenmacher, "The Power of Two Choices in Randomized Load
    /// Balancing", 2001).
    LeastRequests,
    /// The one of two random servers that is expected to respond sooner, by a
    /// moving average of its latency that jumps to each peak, and by its
    /// requests in flight.
    PeakEwma,
    /// The same server for the same key, which has at least one part.
    Hash(Vec<KeyPart>),
}

/// `[upstreams.NAME.pool]`: limits on the connections to each server, over all
/// workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The most connections that are open at once, 1 to 1,000,000.
    pub max_connections: NonZeroUsize,
    /// The most idle connections that are kept, at most `max_connections`; 0 to
    /// keep none.
    pub max_idle: usize,
    /// The longest time that an idle connection is kept. Above zero.
    pub idle_timeout: Duration,
    /// The age at which a connection is no longer reused, so that a change of
    /// DNS takes effect. Above zero.
    pub max_lifetime: Duration,
    /// The longest time to establish a connection: name resolution, TCP and the
    /// TLS handshake together. Above zero.
    pub connect_timeout: Duration,
    /// The longest time that a request waits while all connections are busy;
    /// then 503. Zero refuses it at once.
    pub wait_timeout: Duration,
}
