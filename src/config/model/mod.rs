//! What a checked configuration is: names resolved, ranges kept, defaults filled in. Nothing here can be wrong.
//!
//! `schema` is the file exactly as TOML spells it; `resolve` turns that into these types or into diagnostics. Everything
//! else in the crate reads only this module.

mod health;
mod limits;
mod routes;
mod store;
mod tls;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use rustls::pki_types::ServerName;

pub use self::{health::*, limits::*, routes::*, store::*, tls::*};
use super::{diagnostic::Diagnostics, watched::Watched};

/// A whole configuration, ready to be built.
#[derive(Debug, Clone)]
pub struct Config {
    /// The process itself.
    pub server: Server,
    /// Where clients connect; at least one.
    pub listeners: Vec<Listener>,
    /// Who counts as the client of a request.
    pub client_ip: ClientIp,
    /// The admin listener; `None` when switched off.
    pub admin: Option<Admin>,
    /// Where limits with `scope = "shared"` are counted.
    pub store: Option<Store>,
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
    /// Settings that are allowed and yet surely not meant.
    pub warnings: Arc<Diagnostics>,
    /// As it was written, defaults of routes merged in: what [`Config::shown`] is made of.
    pub(in crate::config) tree: Arc<super::tree::Table>,
}

impl Config {
    /// The configuration as JSON with defaults filled in and secrets redacted, for `/config`. Made when it is asked for:
    /// for thousands of routes it takes as long as everything else of a reload.
    pub fn shown(&self) -> serde_json::Value {
        super::shown::view(&self.tree, self)
    }
}

impl Config {
    /// The sections that are another in `after`, by their names in the file. Every field is named here, so that the
    /// compiler asks for a new one.
    pub fn changed_sections(&self, after: &Self) -> Vec<&'static str> {
        let Self {
            server,
            listeners,
            client_ip,
            admin,
            store,
            log,
            shutdown,
            upstreams,
            limits,
            routes,
            watched: _,
            warnings: _,
            tree: _,
        } = self;
        let sections = [
            ("server", *server != after.server),
            ("listeners", *listeners != after.listeners),
            ("client_ip", *client_ip != after.client_ip),
            ("admin", *admin != after.admin),
            ("store", *store != after.store),
            ("log", *log != after.log),
            ("shutdown", *shutdown != after.shutdown),
            ("upstreams", *upstreams != after.upstreams),
            ("limits", *limits != after.limits),
            ("routes", *routes != after.routes),
        ];
        sections
            .into_iter()
            .filter_map(|(name, is_changed)| is_changed.then_some(name))
            .collect()
    }
}

/// `[server]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Worker threads; `None` is one per core that this process may use.
    pub workers: Option<NonZeroUsize>,
    /// Open connections of one client over all listeners; `None` is a share of each listener's connections.
    pub max_connections_per_client: Option<NonZeroUsize>,
    /// What outlives the process is kept there.
    pub state_dir: Option<PathBuf>,
    /// Bytes of bodies that are buffered at once, in all.
    pub max_buffered: usize,
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
    /// Header lines whose name holds `_` are kept; otherwise they are dropped.
    pub keeps_underscores: bool,
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
    /// How such a line tells the query.
    pub query: LogQuery,
}

/// How an access line tells the query of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogQuery {
    /// Without the values of parameters that are keys of the route's limits, or named as secrets are.
    Masked,
    /// Not at all.
    Off,
    /// As it was received.
    Full,
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

/// Environment in which `${NAME}` is looked up; tests bring their own.
pub type Environment = BTreeMap<String, String>;
