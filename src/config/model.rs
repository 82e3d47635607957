//! What a checked configuration is: names resolved, ranges kept, defaults filled in. Nothing here can be wrong.
//!
//! `schema` is the file exactly as TOML spells it; `resolve` turns that into these types or into diagnostics. Everything
//! else in the crate reads only this module.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::{NonZeroU32, NonZeroUsize},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;

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
    /// Every file that was read (the main file first), to be watched.
    pub files: Vec<PathBuf>,
    /// Folders in which an `include` pattern may match a new file, to be watched.
    pub folders: Vec<PathBuf>,
    /// The configuration as JSON with defaults filled in and secrets redacted, for `/config`.
    pub shown: serde_json::Value,
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
    /// Longest wait for a whole head.
    pub headers_timeout: Duration,
    /// Longest silence between requests.
    pub keep_alive: Duration,
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
    /// How one of them is chosen.
    pub balance: Balance,
    /// Connections to each server.
    pub pool: Pool,
}

/// One of an upstream's servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamServer {
    /// As written: `http://host:port`, the label in logs and metrics.
    pub url: Arc<str>,
    /// Host name or address (IPv6 without brackets).
    pub host: Arc<str>,
    /// The port, 80 when the URL names none.
    pub port: u16,
    /// Share of the requests, at least 1.
    pub weight: NonZeroU32,
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

/// One of `[[routes]]`, with `[defaults]` merged in.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Unique; its identity over reloads.
    pub name: Arc<str>,
    /// Which requests it takes.
    pub matches: Match,
    /// Where they go.
    pub action: Action,
    /// Limits by name; all must admit. Every name exists.
    pub limits: Vec<Arc<str>>,
    /// Cap on requests in flight; `None`: none.
    pub concurrency: Option<Concurrency>,
    /// Every wait has an end.
    pub timeouts: Timeouts,
    /// When and how often to try again.
    pub retry: Retry,
    /// Changes to the request on its way up.
    pub request: RequestChanges,
    /// Changes to the response on its way down.
    pub response: ResponseChanges,
}

/// `[routes.match]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Lower case; empty: any.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: PathPattern,
    /// Empty: any.
    pub methods: Vec<Method>,
    /// All must be equal.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// All must be equal, compared after percent-decoding.
    pub query: Vec<(String, String)>,
}

/// A host that a route answers to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host only.
    Exact(String),
    /// `*.SUFFIX`: one or more labels before the suffix (kept without `*.`).
    Wildcard(String),
}

/// How a route's path is matched, always against the normal form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// Every path (no path key given, or the prefix `/`).
    Any,
    /// Whole segments; begins with `/`, has no trailing `/`.
    Prefix(String),
    /// The whole path, no parameters.
    Exact(String),
    /// The whole path with `{name}` segments.
    Parameters(String),
    /// A regular expression over the whole path, already known to compile.
    Regex(String),
}

/// What a route does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send it to this upstream, which exists.
    Forward(Arc<str>),
    /// Answer at once.
    Respond {
        /// Status to send.
        status: StatusCode,
        /// Body to send.
        body: String,
        /// Headers to send.
        headers: Vec<(HeaderName, HeaderValue)>,
    },
    /// Send the client elsewhere.
    Redirect {
        /// Target; `{host}`, `{path}` (with the query) and the parameters of the match are filled in.
        to: String,
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
    },
}

/// `[routes.concurrency]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concurrency {
    /// Requests in flight, to the end of the response body.
    pub max: NonZeroUsize,
    /// Requests that may wait.
    pub queue: usize,
    /// How long they may.
    pub queue_timeout: Duration,
}

/// `[routes.timeouts]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// Request head to response head.
    pub total: Duration,
    /// One attempt, to its response's head; at most `total`.
    pub attempt: Duration,
    /// Longest silence once bodies flow.
    pub idle: Duration,
    /// The whole exchange, bodies included; `None`: off.
    pub body: Option<Duration>,
}

/// `[routes.retry]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Tries in all; 1 is no retry.
    pub attempts: NonZeroU32,
    /// What is tried again.
    pub on: RetryOn,
    /// Methods that are retried when the request may have been seen upstream.
    pub methods: Vec<Method>,
    /// First wait; doubles; full jitter.
    pub backoff: Duration,
    /// Longest wait.
    pub max_backoff: Duration,
    /// Share of the route's requests of the last 10 s, 0.0 to 1.0 and above.
    pub budget: f64,
    /// Retries a second that are always allowed.
    pub budget_min: u32,
    /// Bytes of a request body kept for a replay.
    pub buffer: usize,
}

/// What a retry policy listens to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetryOn {
    /// No connection, or a pooled one that was closed before any byte of the answer.
    pub connect: bool,
    /// A connection that broke before the answer's head was complete.
    pub reset: bool,
    /// An attempt that ran out of time.
    pub timeout: bool,
    /// Answers with these statuses.
    pub statuses: Vec<StatusCode>,
}

/// `[routes.request]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestChanges {
    /// How the path is rewritten.
    pub rewrite: Rewrite,
    /// Headers set, in name order.
    pub set_headers: Vec<(HeaderName, HeaderValue)>,
    /// Headers removed.
    pub remove_headers: Vec<HeaderName>,
    /// Send the client's `Host` up; otherwise the server's.
    pub preserve_host: bool,
    /// Longest request body; `None`: off.
    pub max_body: Option<u64>,
}

/// How a path changes on its way up; works on the normal form. `None` forwards the bytes as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewrite {
    /// As received.
    None,
    /// Take a prefix off, then put one on.
    Prefix {
        /// Whole segments, without a trailing `/`; empty: nothing to take off.
        strip: String,
        /// Without a trailing `/`; empty: nothing to put on.
        add: String,
    },
    /// A path in which the parameters of the match are filled in.
    Template(String),
}

/// `[routes.response]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResponseChanges {
    /// Headers set, in name order.
    pub set_headers: Vec<(HeaderName, HeaderValue)>,
    /// Headers removed.
    pub remove_headers: Vec<HeaderName>,
}

/// Environment in which `${NAME}` is looked up; tests bring their own.
pub type Environment = BTreeMap<String, String>;
