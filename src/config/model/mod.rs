//! What a checked configuration is: names resolved, ranges kept, defaults filled in. Nothing here can be wrong.
//!
//! `schema` is the file exactly as TOML spells it; `resolve` turns that into these types or into diagnostics. Everything
//! else in the crate reads only this module.

mod routes;
mod tls;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderName, StatusCode};
use ipnet::IpNet;
use rustls::pki_types::ServerName;

pub use self::{routes::*, tls::*};
use super::watched::Watched;

/// A whole configuration, ready to be built.
#[derive(Debug, Clone)]
pub struct Config {
    /// The process itself; a change needs a restart.
    pub server: Server,
    /// Where clients connect; at least one.
    pub listeners: Vec<Listener>,
    /// Who counts as the client of a request.
    pub client_ip: ClientIp,
    /// The admin listener; `None` when switched off.
    pub admin: Option<Admin>,
    /// What is logged and how.
    pub log: Log,
    /// How long a drain may take.
    pub shutdown: Shutdown,
    /// Services behind the gateway, in name order.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Token buckets, in name order.
    pub limits: Vec<Arc<Limit>>,
    /// Routes in file order.
    pub routes: Vec<Arc<Route>>,
    /// The files that were read and the folders that were searched, to be watched.
    pub watched: Watched,
    /// As it was written, defaults of routes merged in: what [`Config::shown`] is made of.
    pub(in crate::config) tree: Arc<super::tree::Table>,
}

impl Config {
    /// The configuration as JSON with defaults filled in and secrets redacted, for `/config`. Made when it is asked for:
    /// for thousands of routes it takes as long as everything else of a reload.
    pub fn shown(&self) -> serde_json::Value {
        super::shown::view(&self.tree, self)
    }

    /// What is sound and yet will not do, or soon will not: certificates that have expired, or do so within two weeks.
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        let listeners = self.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        let shown = self.upstreams.iter().filter_map(|upstream| upstream.tls.identity.as_ref());
        let identities = listeners.flat_map(|tls| &tls.certificates).chain(shown);
        identities.filter_map(|identity| identity.warning(now)).collect()
    }
}

/// `[server]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Worker threads; `None` is one per core that this process may use.
    pub workers: Option<NonZeroUsize>,
}

/// One of `[[listeners]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Address to bind; unique among the listeners.
    pub bind: SocketAddr,
    /// Open connections over all workers; `None` is what the file limit allows.
    pub max_connections: Option<NonZeroUsize>,
    /// Bytes of a request head, more is 431.
    pub max_header_bytes: usize,
    /// Header lines of a request, more is 431.
    pub max_headers: usize,
    /// HTTP/2 is spoken beside HTTP/1.
    pub http2: bool,
    /// Longest wait for a whole head.
    pub headers_timeout: Duration,
    /// Longest silence between requests.
    pub keep_alive: Duration,
    /// Longest TLS handshake.
    pub tls_handshake: Duration,
    /// Connections begin with a PROXY protocol header that names the client.
    pub proxy_protocol: bool,
    /// `None`: plain.
    pub tls: Option<ListenerTls>,
}

/// `[client_ip]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIp {
    /// Peers whose header is believed; empty: nobody.
    pub trusted_proxies: Vec<IpNet>,
    /// The header that they write.
    pub header: ClientIpHeader,
}

/// The header in which trusted proxies name the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientIpHeader {
    /// `X-Forwarded-For`, a list of addresses.
    XForwardedFor,
    /// `Forwarded` of RFC 7239.
    Forwarded,
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Address to bind.
    pub bind: SocketAddr,
    /// Further `Host` values it answers to, lower case, as written (with the port when given).
    pub hosts: Vec<String>,
    /// The token that changing calls need, read from `token_file`, trimmed.
    pub token: Option<Secret>,
}

/// A value that never shows itself in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Least severity that is written.
    pub level: LogLevel,
    /// `None`: text on a terminal, JSON elsewhere.
    pub format: Option<LogFormat>,
    /// One line a request on stdout.
    pub access: bool,
}

/// Severities of `[log] level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Shapes of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For eyes.
    Text,
}

/// `[shutdown]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shutdown {
    /// Longest wait for requests in flight.
    pub drain: Duration,
    /// How long to keep accepting after `/readyz` turned 503.
    pub delay: Duration,
}

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// In turns, by weight.
    RoundRobin,
    /// The less busy of two random ones, by weight.
    LeastRequests,
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

/// `[limits.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Its key in the file; its identity over reloads.
    pub name: Arc<str>,
    /// What tells one bucket from another; empty: one bucket for everyone.
    pub key: Vec<KeyPart>,
    /// What to do for an absent or empty part.
    pub missing: Missing,
    /// Sustained pace.
    pub rate: Rate,
    /// Bucket size, in requests.
    pub burst: NonZeroU32,
    /// Most buckets held at once.
    pub max_keys: NonZeroUsize,
    /// Status of a refusal, 400 to 599.
    pub status: StatusCode,
}

/// `count` requests in each `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Requests.
    pub count: NonZeroU32,
    /// Time in which they come, at least a nanosecond per request.
    pub period: Duration,
}

/// One part of a limit's key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyPart {
    /// The route's name.
    Route,
    /// The client's address, IPv6 cut to `v6_prefix` bits (default 64).
    ClientIp {
        /// Bits of an IPv6 address that count.
        v6_prefix: u8,
    },
    /// A request header.
    Header(HeaderName),
    /// The request's host, lower case, without its port.
    Host,
    /// The path in its normal form.
    Path,
    /// The method.
    Method,
    /// The distinguished name in the client's certificate.
    TlsSubject,
}

/// What a limit does with a request that lacks a part of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// Use this part instead.
    Use(KeyPart),
    /// Do not apply the limit.
    Skip,
    /// Refuse with the limit's status.
    Refuse,
}

/// Environment in which `${NAME}` is looked up; tests bring their own.
pub type Environment = BTreeMap<String, String>;
