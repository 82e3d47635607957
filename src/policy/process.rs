//! Settings of the process: workers, listeners, the admin listener, logs and
//! shutdown.

use std::{net::SocketAddr, num::NonZeroUsize, path::PathBuf, time::Duration};

use ipnet::IpNet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ListenerTls;

/// `[server]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Worker threads; `None` is one per core that this process may use.
    pub workers: Option<NonZeroUsize>,
    /// Open connections of one client over all listeners; `None` is a share of
    /// each listener's connections.
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
    /// The limits of each connection.
    pub limits: ConnectionLimits,
    /// Longest TLS handshake.
    pub tls_handshake: Duration,
    /// Connections begin with a PROXY protocol header that names the client.
    pub proxy_protocol: bool,
    /// `None`: plain.
    pub tls: Option<ListenerTls>,
}

/// The limits of one connection of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Bounds on the head of each request.
    pub head: HeadLimits,
    /// Longest wait for a whole head.
    pub headers_timeout: Duration,
    /// Longest silence between requests.
    pub keep_alive: Duration,
    /// HTTP/2 is spoken beside HTTP/1.
    pub http2: bool,
}

/// Bounds on the head of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of the whole head; more is 431.
    pub bytes: usize,
    /// Header lines; more is 431.
    pub headers: usize,
    /// Lines whose name holds `_` are kept; otherwise they are dropped.
    pub keeps_underscores: bool,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientIpHeader {
    /// `X-Forwarded-For`, a list of addresses.
    #[default]
    XForwardedFor,
    /// `Forwarded` of RFC 7239.
    Forwarded,
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Address to bind.
    pub bind: SocketAddr,
    /// Further `Host` values it answers to, lower case, as written (with the
    /// port when given).
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogQuery {
    /// Without the values of parameters that are keys of the route's limits, or
    /// named as secrets are.
    #[default]
    Masked,
    /// Not at all.
    Off,
    /// As it was received.
    Full,
}

/// Severities of `[log] level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// Shapes of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
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
