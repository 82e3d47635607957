//! Routes of a checked configuration: what they match, where requests go and
//! under which policies.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HeaderChanges, KeyPart};

/// One of `[[routes]]`, with `[defaults]` merged in.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Unique; its identity over reloads.
    pub name: Arc<str>,
    /// Which requests it takes.
    pub matches: Match,
    /// Where they go.
    pub action: Action,
    /// Copies for another upstream; `None` too where requests go to none.
    pub mirror: Option<Mirror>,
    /// Limits by name; all must admit. Every name exists.
    pub limits: Vec<Arc<str>>,
    /// Where its requests stand in the queue of an upstream's cap.
    pub priority: Priority,
    /// gRPC calls are treated as calls where the upstream can speak HTTP/2.
    pub grpc: bool,
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

impl Route {
    /// The upstreams that its requests go to; none if it answers them itself.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<str>> {
        let (one, shares) = match &self.action {
            Action::Forward(name) => (Some(name), &[][..]),
            Action::Split(shares) => (None, &shares[..]),
            Action::Respond { .. } | Action::Redirect { .. } => (None, &[][..]),
        };
        one.into_iter()
            .chain(shares.iter().map(|share| &share.name))
    }

    /// Whether its requests, or a share of them, go to this upstream.
    pub fn leads_to(&self, upstream: &str) -> bool {
        self.upstreams().any(|name| **name == *upstream)
    }
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

impl Match {
    /// Takes every request.
    pub fn all() -> Self {
        Self {
            hosts: Vec::new(),
            path: PathPattern::Any,
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
        }
    }
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
    /// Send it to one of these upstreams, which exist: at least two, each only
    /// once.
    Split(Vec<Share>),
    /// Respond with a fixed response.
    Respond {
        /// The status.
        status: StatusCode,
        /// The body, empty where the status has none.
        body: Bytes,
        /// The header fields. `Content-Type` is added to a body that has none.
        headers: Vec<(HeaderName, HeaderValue)>,
    },
    /// Redirect the client.
    Redirect {
        /// The target, in which `{host}`, `{path}` (with the query) and the
        /// parameters of the match are filled in.
        to: String,
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
    },
}

/// One upstream of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Its name.
    pub name: Arc<str>,
    /// Its share of the requests.
    pub weight: NonZeroU32,
}

/// `[routes.mirror]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Where copies go; it exists.
    pub upstream: Arc<str>,
    /// How many of a hundred requests are copied, 0 to 100.
    pub percent: u8,
}

/// `[routes.concurrency]` or `[upstreams.NAME.concurrency]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concurrency {
    /// Requests in flight, each counted to the end of its response body.
    pub bound: Bound,
    /// Requests that may wait in the queue; 0 is no queue.
    pub queue: usize,
    /// The longest wait in the queue.
    pub queue_timeout: Duration,
    /// The key between which the queue takes turns; without any part, the first
    /// request in is the first one out.
    pub fair_by: Vec<KeyPart>,
}

/// How many requests a concurrency limit admits at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Always as many.
    Fixed(NonZeroUsize),
    /// As many as the measured latency shows to be good, within bounds.
    Adaptive(AdaptiveBounds),
}

/// The bounds between which an adaptive concurrency limit moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdaptiveBounds {
    /// The least limit: so many requests at once are always safe. The limit
    /// also begins here.
    pub min: NonZeroUsize,
    /// The greatest limit, at least `min`.
    pub max: NonZeroUsize,
}

/// The priority of a route's requests in the queue of an upstream's concurrency
/// limit. It is strict: a request of a lower priority gets a permit only while
/// none of a higher one waits.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, Serialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before all others.
    High,
    /// Before [`Low`](Self::Low).
    #[default]
    Normal,
    /// After all others.
    Low,
}

/// `[routes.timeouts]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Longest time from the request head to the response head. The time in
    /// which the request body flows is not counted.
    pub total: Duration,
    /// Longest time for one attempt, from its start to the response head,
    /// without the time in which the request body flows; at most `total`.
    pub attempt: Duration,
    /// Longest silence of a body that flows.
    pub idle: Duration,
    /// Longest silence of what is silent by nature: upgraded connections, gRPC
    /// calls and event streams.
    pub tunnel: Duration,
    /// Longest time for the whole exchange, bodies included; `None` is no
    /// bound.
    pub body: Option<Duration>,
}

/// `[routes.retry]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Attempts in all; 1 is no retry.
    pub attempts: NonZeroU32,
    /// The outcomes that are retried.
    pub on: RetryOn,
    /// Methods that are retried even if a server may have seen the request.
    pub methods: Vec<Method>,
    /// Bound of the wait before the first retry; it doubles with each further
    /// one. The wait is drawn from zero up to the bound (full jitter).
    pub backoff: Duration,
    /// Greatest bound of a wait, at least `backoff`.
    pub max_backoff: Duration,
    /// Retries as a share of the route's requests of the last ten seconds, 0.0
    /// to 1.0 and above.
    pub budget: f64,
    /// Retries a second that are always allowed.
    pub budget_min: u32,
    /// Bytes of a request body that are kept for a replay.
    pub buffer: usize,
}

/// The outcomes of an attempt that are retried.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetryOn {
    /// No connection was made, or a pooled one turned out to be closed before
    /// any byte of the response.
    pub connect: bool,
    /// The connection broke before any byte of the response.
    pub reset: bool,
    /// The attempt timed out.
    pub timeout: bool,
    /// The response has one of these statuses.
    pub statuses: Vec<StatusCode>,
}

/// `[routes.request]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestChanges {
    /// How the path is rewritten.
    pub rewrite: Rewrite,
    /// Header fields that are set or removed.
    pub headers: HeaderChanges,
    /// Header fields that are passed on although the peer is no trusted proxy.
    pub keep_headers: Vec<HeaderName>,
    /// Whether servers get the client's `Host` in place of their own name.
    pub preserve_host: bool,
    /// Whether servers that speak HTTP/1 get trailers. Those that speak HTTP/2
    /// always do.
    pub passes_trailers: bool,
    /// Bytes of the longest request body; `None` is no bound.
    pub max_body: Option<u64>,
    /// The same for gRPC calls. Only the route itself sets it and no default
    /// does, as calls are streams without a length.
    pub max_call_body: Option<u64>,
    /// Bytes of a body that are read before the request goes on; 0 is none.
    pub buffer: usize,
}

/// How a path changes on its way to a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Rewrite {
    /// The path is sent byte for byte as received.
    #[default]
    None,
    /// One prefix of the path's normal form is replaced by another.
    Prefix {
        /// The prefix that is taken off: whole segments without a trailing `/`,
        /// or empty.
        strip: String,
        /// The prefix that is put on, without a trailing `/`, or empty.
        add: String,
    },
    /// A path in which `{name}` stands for a parameter of the match.
    Template(String),
}

/// `[routes.response]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseChanges {
    /// Header fields that are set or removed.
    pub headers: HeaderChanges,
    /// The header fields that describe the limit nearest to exhaustion.
    pub limit_headers: LimitHeaders,
    /// Bytes of a body that are read ahead of the client; 0 is none.
    pub buffer: usize,
}

/// Response header fields that describe the limit nearest to exhaustion. The
/// default is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitHeaders {
    /// `RateLimit-Policy` and `RateLimit` of
    /// draft-ietf-httpapi-ratelimit-headers-11.
    pub draft: bool,
    /// `X-RateLimit-Limit`, `-Remaining` and `-Reset`.
    pub x_ratelimit: bool,
}
