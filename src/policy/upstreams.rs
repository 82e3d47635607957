//! Settings of an upstream: its servers, how one is chosen, and the connections to each.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use rustls::pki_types::ServerName;

use super::{Concurrency, Ejection, HealthCheck, KeyPart, UpstreamTls};

/// `[upstreams.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its key in the file; its identity over reloads.
    pub name: Arc<str>,
    /// At least one.
    pub servers: Vec<UpstreamServer>,
    /// What is spoken with them.
    pub protocol: Protocol,
    /// How one of them is chosen.
    pub balance: Balance,
    /// With [`Balance::Hash`]: percent of its part of the requests in flight from which on a server gives keys away, at least
    /// 100; `None`: it keeps them.
    pub hash_bound: Option<u16>,
    /// Cap on requests in flight over all routes to it; `None`: none.
    pub concurrency: Option<Concurrency>,
    /// Time over which a server that came back gets its share.
    pub slow_start: Duration,
    /// A 503 with `Retry-After` is heeded.
    pub cool_down: bool,
    /// Active checks; `None`: none.
    pub health_check: Option<HealthCheck>,
    /// When a server is ejected for its failures.
    pub ejection: Ejection,
    /// Connections to each server.
    pub pool: Pool,
    /// For those of its servers that speak TLS.
    pub tls: UpstreamTls,
}

/// One of an upstream's servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamServer {
    /// As written: `http://host:port` or `https://host:port`, the label in logs and metrics.
    pub url: Arc<str>,
    /// Host name or address (IPv6 without brackets).
    pub host: Arc<str>,
    /// The port; 80, or 443 with TLS, when the URL names none.
    pub port: u16,
    /// The name that its certificate must stand for; `None`: it speaks no TLS.
    pub secure_as: Option<ServerName<'static>>,
    /// Share of the requests, at least 1.
    pub weight: NonZeroU32,
}

/// What is spoken with an upstream's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// What TLS agrees on; without it HTTP/1.1.
    Auto,
}

/// How an upstream's server is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// In turns, by weight.
    RoundRobin,
    /// The less busy of two random ones, by weight.
    LeastRequests,
    /// The one of two random ones that is probably quicker, by weight.
    PeakEwma,
    /// The same server for the same key, which has at least one part.
    Hash(Vec<KeyPart>),
}

/// `[upstreams.NAME.pool]`; each number is per server, over all workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Open connections.
    pub max_connections: NonZeroUsize,
    /// Connections kept while unused; 0 keeps none.
    pub max_idle: usize,
    /// Longest life of an unused connection.
    pub idle_timeout: Duration,
    /// Longest life of any connection.
    pub max_lifetime: Duration,
    /// Name, TCP and TLS together.
    pub connect_timeout: Duration,
    /// Longest wait while all connections are busy.
    pub wait_timeout: Duration,
}
