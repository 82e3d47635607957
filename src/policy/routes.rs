//! Routes of a checked configuration: which requests they take, what they do
//! with them, and under which policies.
//!
//! `gateway::table` chooses the route of a request by [`Match`], and
//! `gateway::stack` makes one layer of each policy. A route holds its limits
//! and upstreams by name, so that a route that did not change compares equal
//! across a reload although the items it names have changed.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Concurrency, Cors, HeaderChanges, Identification, Priority, Refusal, Retry, Template};

/// One of `[[routes]]`, with `[defaults]` merged in.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// The unique name of the route, which identifies it across reloads, in
    /// metrics and in access lines.
    pub name: Arc<str>,
    /// The requests that it takes.
    pub matches: Match,
    /// Where they go.
    pub action: Action,
    /// Copies of requests for another upstream; `None` as well on a route that
    /// responds itself.
    pub mirror: Option<Mirror>,
    /// How its clients are identified, and the conditions on them.
    pub identify: Identification,
    /// The names of its limits, all of which exist. All must admit a request.
    pub limits: Vec<Arc<str>>,
    /// The priority of its requests in the queue of an upstream's concurrency
    /// limit.
    pub priority: Priority,
    /// Whether requests with a gRPC content type are treated as calls, where
    /// the upstream can speak HTTP/2.
    pub grpc: bool,
    /// The limit on requests in flight; `None` if there is none.
    pub concurrency: Option<Concurrency>,
    /// Bounds on every wait.
    pub timeouts: Timeouts,
    /// Which failures are retried, and how often.
    pub retry: Retry,
    /// Changes to the request on its way to a server.
    pub request: RequestChanges,
    /// Changes to the response on its way to the client.
    pub response: ResponseChanges,
    /// The pages of other origins that may call it from a browser; `None` if
    /// the service decides that by itself.
    pub cors: Option<Cors>,
    /// Fields and bodies of its own for refusals; `None` for those of the
    /// gateway.
    pub refusal: Option<Refusal>,
}

impl Route {
    /// The names of the upstreams that its requests go to; none if it responds
    /// itself. The upstream of its mirror is not among them.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<str>> {
        let (one, shares) = match &self.action {
            Action::Forward(name) => (Some(name), &[][..]),
            Action::Split(shares) => (None, &shares[..]),
            Action::Respond { .. } | Action::Redirect { .. } | Action::Report => (None, &[][..]),
        };
        one.into_iter()
            .chain(shares.iter().map(|share| &share.name))
    }

    /// Whether its requests, or a share of them, go to the upstream of this
    /// name.
    pub fn leads_to(&self, upstream: &str) -> bool {
        self.upstreams().any(|name| **name == *upstream)
    }
}

/// `[routes.match]`: the conditions for a request, all of which must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// The names of listeners, one of which the request must come by; empty for
    /// any.
    pub listeners: Vec<Arc<str>>,
    /// The hosts, one of which must be the request's; empty for any.
    pub hosts: Vec<HostPattern>,
    /// The condition on the path.
    pub path: PathPattern,
    /// The methods, one of which must be the request's; empty for any but
    /// TRACE.
    pub methods: Vec<Method>,
    /// Header fields that the request must have with exactly these values.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Query parameters that the request must have with exactly these values,
    /// compared after percent-decoding.
    pub query: Vec<(String, String)>,
    /// The networks, one of which must have the client's address; empty for
    /// any.
    pub clients: Vec<IpNet>,
    /// The networks, none of which may have the client's address.
    pub not_clients: Vec<IpNet>,
}

impl Match {
    /// Conditions that every request fulfils.
    pub fn all() -> Self {
        Self {
            listeners: Vec::new(),
            hosts: Vec::new(),
            path: PathPattern::Any,
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
            clients: Vec::new(),
            not_clients: Vec::new(),
        }
    }

    /// How much more specific it is for its conditions on fields and on the
    /// client than a match with none of them: each list of networks counts as
    /// one field.
    pub fn field_conditions(&self) -> usize {
        let of_client = [&self.clients, &self.not_clients];
        self.headers.len()
            + of_client
                .iter()
                .filter(|networks| !networks.is_empty())
                .count()
    }
}

/// A condition on the host of a request. Hosts are compared in lower case and
/// without port; an IPv6 address is in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host only.
    Exact(String),
    /// `*.SUFFIX`: one or more labels before the suffix, which is kept without
    /// `*.`. The suffix alone does not match.
    Wildcard(String),
}

/// A condition on the path of a request, always compared in its [normal
/// form](super::path).
///
/// ```
/// use tidegate::{config, policy::PathPattern};
///
/// let text = r#"
///     [[routes]]
///     name = "item"
///     match = { path = "/shop/%7Bx/{id}" }
///     respond = {}
/// "#;
/// let config = config::parse("tidegate.toml", text, &config::Environment::new()).unwrap();
/// let expected = PathPattern::Parameters("/shop/%7Bx/{id}".to_owned());
/// assert_eq!(config.routes[0].matches.path, expected);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// Every path: there is no path key, or the prefix is `/`.
    Any,
    /// Whole segments at the beginning: `/orders` takes `/orders` and
    /// `/orders/7`, and not `/ordersx`. Begins with `/` and has no trailing
    /// one.
    Prefix(String),
    /// The whole path, without parameters.
    Exact(String),
    /// The whole path, in which each `{name}` stands for one segment.
    Parameters(String),
    /// A regular expression for the whole path, known to compile.
    Regex(String),
}

/// The treatment of the requests of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Sends it to the upstream of this name, which exists.
    Forward(Arc<str>),
    /// Sends it to one of these upstreams, which exist: at least two, each only
    /// once. Upstreams with weight 0 are left out.
    Split(Vec<Share>),
    /// Responds without an upstream.
    Respond {
        /// The status, 200 to 599.
        status: StatusCode,
        /// The body, empty for a status that has none.
        body: Bytes,
        /// The header fields. `Content-Type` is added to a body that has none.
        headers: Vec<(HeaderName, HeaderValue)>,
    },
    /// Redirects the client.
    Redirect {
        /// The target, in which `{host}`, `{path}` (with the query) and the
        /// parameters of the match are filled in.
        to: Template,
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
    },
    /// Tells the state of the route's limits, of which there is at least one,
    /// for the client that asks. Takes no tokens.
    Report,
}

/// One upstream of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The name of the upstream.
    pub name: Arc<str>,
    /// Its share of the requests, relative to the weights of the others.
    pub weight: NonZeroU32,
}

/// `[routes.mirror]`: copies of requests for another upstream, whose responses
/// are discarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The name of the upstream that gets the copies; it exists.
    pub upstream: Arc<str>,
    /// How many of a hundred requests are copied, 0 to 100. Each request is
    /// drawn at random.
    pub percent: u8,
}

/// `[routes.timeouts]`: bounds on every wait of a request.
///
/// `total` and `attempt` pause while the request body flows, because services
/// respond to an upload when they have received it; `idle` and `body` bound the
/// upload meanwhile.
///
/// ```
/// use std::time::Duration;
/// use tidegate::config;
///
/// let text = r#"
///     [upstreams.app]
///     servers = ["http://127.0.0.1:9000"]
///     [defaults.timeouts]
///     attempt = "10s"
///     [[routes]]
///     name = "app"
///     upstream = "app"
///     timeouts = { total = "2s" }
/// "#;
/// let config = config::parse("tidegate.toml", text, &config::Environment::new()).unwrap();
/// // An inherited `attempt` is cut to the route's own total.
/// assert_eq!(config.routes[0].timeouts.attempt, Duration::from_secs(2));
/// assert_eq!(config.routes[0].timeouts.body, None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// The longest time from the request head to the response head, over
    /// queues, attempts and back-off. Then 504. Above zero.
    pub total: Duration,
    /// The longest time for one attempt, from its start to the response head.
    /// Then 504, or a retry. Above zero, at most `total`.
    pub attempt: Duration,
    /// The longest time without a byte in either direction while bodies flow.
    /// Above zero.
    pub idle: Duration,
    /// Takes the place of `idle` where silence is normal: upgraded connections,
    /// gRPC calls and event streams. Above zero.
    pub tunnel: Duration,
    /// The longest time for the whole exchange, bodies included; `None` for no
    /// bound. Upgraded connections have none.
    pub body: Option<Duration>,
}

/// `[routes.request]`: changes to a request on its way to a server, and bounds
/// on its body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestChanges {
    /// How the path is rewritten.
    pub rewrite: Rewrite,
    /// Header fields that are set, added or removed.
    pub headers: HeaderChanges,
    /// Header fields with claims of proxies, such as `X-Real-IP`, that are
    /// passed on although the peer is no trusted proxy.
    pub keep_headers: Vec<HeaderName>,
    /// Whether servers get the client's `Host` in place of their own name.
    pub preserve_host: bool,
    /// Whether servers that speak HTTP/1 get trailers. Those that speak HTTP/2
    /// always do.
    pub passes_trailers: bool,
    /// Bytes of the longest request body; a longer one gets 413. `None` for no
    /// bound.
    pub max_body: Option<u64>,
    /// `max_body` of gRPC calls. Only the route itself sets it and no default
    /// does, as calls are streams without a length.
    pub max_call_body: Option<u64>,
    /// Bytes of a body that are read before the request takes a permit and a
    /// server, at most 1 GiB; 0 for none. The rest of a longer body is
    /// streamed.
    pub buffer: usize,
}

/// How a path changes on its way to a server. A route that rewrites the path
/// works on its [normal form](super::path).
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
    /// A path that is made of parameters of the match.
    Template(Template),
}

/// `[routes.response]`: changes to a response on its way to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseChanges {
    /// Header fields that are set, added or removed.
    pub headers: HeaderChanges,
    /// Whether locations and cookies of the service are mapped back to the
    /// client's scheme, host and prefix.
    pub locations: bool,
    /// The header fields that describe the limit nearest to exhaustion.
    pub limit_headers: LimitHeaders,
    /// Bytes of a body that are read ahead of the client, so that the server is
    /// free early, at most 1 GiB; 0 for none.
    pub buffer: usize,
}

/// Response header fields that tell clients about the limit nearest to
/// exhaustion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LimitHeaders {
    /// `RateLimit-Policy` and `RateLimit`.
    // The fields of the coming standard:
    // draft-ietf-httpapi-ratelimit-headers-11.
    #[default]
    #[serde(rename = "draft-11")]
    Draft11,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`, as
    /// many services have them.
    #[serde(rename = "x-ratelimit")]
    XRatelimit,
    /// All of these.
    Both,
    /// None of them.
    Off,
}

impl LimitHeaders {
    /// Whether the fields of the draft are sent.
    pub fn has_draft(self) -> bool {
        matches!(self, Self::Draft11 | Self::Both)
    }

    /// Whether the `X-RateLimit` fields are sent.
    pub fn has_x_ratelimit(self) -> bool {
        matches!(self, Self::XRatelimit | Self::Both)
    }
}
