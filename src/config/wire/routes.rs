//! `[[routes]]` and `[defaults]`: which requests go where, and under which
//! policies.

use std::num::{NonZeroU32, NonZeroUsize};

use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    super::field::Field,
    lists::{List, OneOrList, Set, Tables},
    numbers::Whole,
    numbers::on,
    syntaxes::{
        AnyDuration, Anything, BufferBytes, Bytes, ChangeableHeader, Header, Host, KeptHeader,
        Literal, MethodName, Name, Part, PathRegex, Percent, PositiveDuration, Prefix, QueryName,
        Reason, RedirectTo, RewriteTo, Value, WholePath,
    },
    tables::{Either, Pairs},
    text::{Off, Or, Text},
};
use crate::policy::Priority;

/// More than any gateway holds at once.
type InFlight = Whole<NonZeroUsize, 1, 10_000_000>;
type Queued = Whole<usize, 0, 10_000_000>;
type Weight = Whole<u32, 0, 1_000_000>;
type Percentage = Whole<u8, 0, 100>;
type Attempts = Whole<NonZeroU32, 1, 100>;
type PerSecond = Whole<u32, 0, 1_000_000>;
type Response200 = Whole<StatusCode, 200, 599>;
type Redirect308 = Whole<StatusCode, 301, 308>;

/// Headers that are set, by name.
pub(in crate::config) type Headers = Pairs<ChangeableHeader, Value>;

/// Which requests go where. One of upstream, respond and redirect is required.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Route {
    /// Unique; it stands in logs and metrics.
    pub(in crate::config) name: Field<Text<Name>>,
    /// The upstream that requests are sent to; or a split: a list of tables
    /// with a name and a weight.
    pub(in crate::config) upstream: Option<Field<Either<Text<Name>, Tables<Share>>>>,
    /// Answer by itself instead, behind the same limits and cap.
    pub(in crate::config) respond: Option<Field<Respond>>,
    /// Send the client elsewhere instead.
    pub(in crate::config) redirect: Option<Field<Redirection>>,
    /// Send a copy of some requests to another upstream.
    pub(in crate::config) mirror: Option<Field<Mirror>>,
    /// Strict order in the queue of an upstream's cap; `queue_timeout` limits
    /// the wait of the others.
    #[serde(default)]
    pub(in crate::config) priority: Field<Priority>,
    /// gRPC calls are told by grpc-statuses; `false`: they are requests like
    /// others.
    #[serde(default = "on")]
    pub(in crate::config) grpc: Field<bool>,
    /// Limits by name; all must admit.
    #[serde(default)]
    pub(in crate::config) limits: Field<Set<Text<Name>>>,
    /// Which requests it takes; absent: all.
    pub(in crate::config) r#match: Option<Field<Match>>,
    /// Cap on requests in flight; absent: none.
    pub(in crate::config) concurrency: Option<Field<Concurrency>>,
    /// Every wait has an end.
    pub(in crate::config) timeouts: Option<Field<Timeouts>>,
    /// When and how often to try again; `attempts = 1` is no retry.
    pub(in crate::config) retry: Option<Field<Retry>>,
    /// Changes to the request on its way up.
    pub(in crate::config) request: Option<Field<Request>>,
    /// Changes to the response on its way down.
    pub(in crate::config) response: Option<Field<Response>>,
}

/// Keys that routes inherit; a route's own keys override them one by one.
///
/// The values reach each route in the tree, before it is deserialized. This
/// struct is there to check and describe them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(description = "Keys that routes inherit; a route's own keys override them one by one.")]
#[expect(
    dead_code,
    reason = "its fields are checked and described, and read by routes"
)]
pub(in crate::config) struct Defaults {
    /// Send a copy of some requests to another upstream.
    mirror: Option<Field<Mirror>>,
    /// Strict order in the queue of an upstream's cap; `queue_timeout` limits
    /// the wait of the others.
    priority: Option<Field<Priority>>,
    /// Limits by name; all must admit.
    limits: Option<Field<Set<Text<Name>>>>,
    /// Which requests it takes; absent: all.
    r#match: Option<Field<Match>>,
    /// Cap on requests in flight; absent: none.
    concurrency: Option<Field<Concurrency>>,
    /// Every wait has an end.
    timeouts: Option<Field<Timeouts>>,
    /// When and how often to try again; `attempts = 1` is no retry.
    retry: Option<Field<Retry>>,
    /// Changes to the request on its way up.
    request: Option<Field<Request>>,
    /// Changes to the response on its way down.
    response: Option<Field<Response>>,
}

/// One upstream of a split.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Share {
    /// The upstream.
    pub(in crate::config) name: Field<Text<Name>>,
    /// Its share of the requests; 0: none for now.
    #[serde(default = "Weight::value::<1>")]
    pub(in crate::config) weight: Field<Weight>,
}

/// Copies of requests for another upstream; their answers are thrown away.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Mirror {
    /// Where copies go. Required, here or in the defaults.
    pub(in crate::config) upstream: Option<Field<Text<Name>>>,
    /// How many of a hundred requests are copied.
    #[serde(default = "Percentage::value::<100>")]
    pub(in crate::config) percent: Field<Percentage>,
}

/// Which requests a route takes: all of what is given must match.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Match {
    /// Hosts; `*.` is one or more labels. Absent: any.
    pub(in crate::config) hosts: Option<Field<List<Text<Host>>>>,
    /// Whole segments: "/orders" takes /orders and /orders/7, not /ordersx.
    pub(in crate::config) path_prefix: Option<Field<Text<Prefix>>>,
    /// The whole path, exact; {name} is one segment.
    pub(in crate::config) path: Option<Field<Text<WholePath>>>,
    /// A regular expression over the whole path.
    pub(in crate::config) path_regex: Option<Field<Text<PathRegex>>>,
    /// Methods. Absent: any.
    pub(in crate::config) methods: Option<Field<List<Text<MethodName>>>>,
    /// Headers that must all be equal.
    pub(in crate::config) headers: Option<Field<Pairs<Header, Value>>>,
    /// Query parameters that must all be equal.
    pub(in crate::config) query: Option<Field<Pairs<QueryName, Anything>>>,
}

/// An answer that the gateway makes itself.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Respond {
    /// Its status.
    #[serde(default = "Response200::value::<200>")]
    pub(in crate::config) status: Field<Response200>,
    /// Its body.
    #[serde(default = "no_body")]
    pub(in crate::config) body: Field<Text<Anything>>,
    /// Its headers.
    pub(in crate::config) headers: Option<Field<Headers>>,
}

fn no_body() -> Field<Text<Anything>> {
    Text::by_default(String::new())
}

/// Sends the client elsewhere.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Redirection {
    /// Where to; {host}, {path} (with the query) and the match's parameters are
    /// filled in.
    pub(in crate::config) to: Field<Text<RedirectTo>>,
    /// 301, 302, 303, 307 or 308.
    // Permanent Redirect: method and body stay (RFC 9110, section 15.4.9).
    #[serde(default = "Redirect308::value::<308>")]
    pub(in crate::config) status: Field<Redirect308>,
}

/// Cap on requests in flight.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Concurrency {
    /// Requests in flight, until the end of the response's body. This or
    /// `adaptive` is required, here or in the defaults of routes.
    pub(in crate::config) max: Option<Field<InFlight>>,
    /// Instead of `max`: the cap follows the measured latency.
    pub(in crate::config) adaptive: Option<Field<Adaptive>>,
    /// How many may wait.
    #[serde(default = "Queued::value::<0>")]
    pub(in crate::config) queue: Field<Queued>,
    /// How long they may wait; then 503.
    // A client that waits longer has usually left; and a queue that moves
    // slower than this is a cap set too low.
    #[serde(default = "Text::<PositiveDuration>::secs::<1>")]
    pub(in crate::config) queue_timeout: Field<Text<PositiveDuration>>,
    /// The queue takes turns between these keys; when it is full, the key that
    /// holds most of it gives up its newest place. Parts as in the key of a
    /// limit. Absent: first come, first served.
    pub(in crate::config) fair_by: Option<Field<OneOrList<Text<Part>>>>,
}

/// Bounds of a cap that follows the measured latency.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Adaptive {
    /// Never fewer: so few are always safe. Where it begins.
    pub(in crate::config) min: Field<InFlight>,
    /// Never more.
    pub(in crate::config) max: Field<InFlight>,
}

/// Every wait has an end.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Timeouts {
    /// From the request's head to the response's head: queue, attempts and
    /// back-off together, without the time in which the request's body flows;
    /// then 504.
    // Longer than sane responses take to begin, shorter than people wait.
    #[serde(default = "Text::<PositiveDuration>::secs::<30>")]
    pub(in crate::config) total: Field<Text<PositiveDuration>>,
    /// One attempt, to its response's head, without the time in which the
    /// request's body flows. Absent: total.
    pub(in crate::config) attempt: Option<Field<Text<PositiveDuration>>>,
    /// Longest time without a byte in either direction once bodies flow. Raise
    /// it for a service whose answers pause for longer.
    // NGINX's default for the same.
    #[serde(default = "Text::<PositiveDuration>::secs::<60>")]
    pub(in crate::config) idle: Field<Text<PositiveDuration>>,
    /// The same for upgraded connections (WebSocket), gRPC, and streams of
    /// events such as text/event-stream and application/x-ndjson.
    // Longer than the pings of any chat or ticker, short enough that forgotten
    // tunnels end.
    #[serde(default = "Text::<PositiveDuration>::hours::<1>")]
    pub(in crate::config) tunnel: Field<Text<PositiveDuration>>,
    /// The whole exchange, bodies included.
    #[serde(default)]
    pub(in crate::config) body: Field<Or<Off, PositiveDuration>>,
}

/// When and how often to try again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Retry {
    /// Tries in all; 1 is no retry.
    // One retry removes most of what fails by chance; more multiply load in an
    // outage.
    #[serde(default = "Attempts::value::<2>")]
    pub(in crate::config) attempts: Field<Attempts>,
    /// Failures that are retried: "connect", "reset", "timeout", and statuses
    /// such as "503".
    #[serde(default = "retry_on")]
    pub(in crate::config) on: Field<Set<Text<Reason>>>,
    /// Methods tried again when the request may have been seen upstream.
    #[serde(default = "retry_methods")]
    pub(in crate::config) methods: Field<Set<Text<MethodName>>>,
    /// First wait; doubles each time, with full jitter.
    // A server that restarts needs a moment; with jitter the tries spread over
    // it.
    #[serde(default = "Text::<AnyDuration>::millis::<25>")]
    pub(in crate::config) backoff: Field<Text<AnyDuration>>,
    /// Longest wait.
    // A longer wait is worse than an error.
    #[serde(default = "Text::<AnyDuration>::secs::<1>")]
    pub(in crate::config) max_backoff: Field<Text<AnyDuration>>,
    /// Retries as a share of the route's requests of the last 10 s.
    // In an outage retries add a fifth to the load and not a multiple.
    #[serde(default = "Text::<Percent>::percent::<20>")]
    pub(in crate::config) budget: Field<Text<Percent>>,
    /// Retries a second that are always allowed.
    // So that a route with few requests can retry at all.
    #[serde(default = "PerSecond::value::<10>")]
    pub(in crate::config) budget_min: Field<PerSecond>,
    /// Request body kept for a replay; once more of it was read, it is not
    /// tried again.
    // Most request bodies; each request in flight may hold as much.
    #[serde(default = "Text::<BufferBytes>::kib::<64>")]
    pub(in crate::config) buffer: Field<Text<BufferBytes>>,
}

/// With `connect` nothing of the request was processed, so that every method
/// may be tried again. With `reset` the server ended without a word, as one
/// does that restarts: `methods` says what may be tried again then, and the
/// budget how often. NGINX does both by default.
fn retry_on() -> Field<Set<Text<Reason>>> {
    Set::of(&["connect", "reset"])
}

/// The idempotent methods (RFC 9110, section 9.2.2): twice is as good as once.
fn retry_methods() -> Field<Set<Text<MethodName>>> {
    Set::of(&["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])
}

/// Changes to the request on its way up.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Request {
    /// Taken off the path, whole segments.
    pub(in crate::config) strip_prefix: Option<Field<Text<Literal>>>,
    /// Put before the path, after strip_prefix.
    pub(in crate::config) add_prefix: Option<Field<Text<Literal>>>,
    /// Instead of the two: a path with the parameters of the match.
    pub(in crate::config) rewrite: Option<Field<Text<RewriteTo>>>,
    /// Headers set.
    pub(in crate::config) set_headers: Option<Field<Headers>>,
    /// Headers removed.
    #[serde(default)]
    pub(in crate::config) remove_headers: Field<Set<Text<ChangeableHeader>>>,
    /// Headers such as X-Real-IP that are passed on though the peer is no
    /// trusted proxy.
    #[serde(default)]
    pub(in crate::config) keep_headers: Field<Set<Text<KeptHeader>>>,
    /// Send the client's Host up; otherwise the server's.
    #[serde(default = "on")]
    pub(in crate::config) preserve_host: Field<bool>,
    /// Trailers of requests towards HTTP/1 services: "drop" drops them, "pass"
    /// sends those that the request announces.
    #[serde(default)]
    pub(in crate::config) trailers: Field<Trailers>,
    /// Longest request body; then 413.
    // Uploads of documents and pictures; a route that takes more says so.
    #[serde(default = "Or::<Off, Bytes>::mib::<10>")]
    pub(in crate::config) max_body: Field<Or<Off, Bytes>>,
    /// Bytes of a body that are read before the request takes a permit and a
    /// server; longer bodies stream then.
    #[serde(default)]
    pub(in crate::config) buffer: Field<Or<Off, BufferBytes>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum Trailers {
    // Hardly any service asks for trailers, and some take them for fields of
    // the head.
    #[default]
    Drop,
    Pass,
}

/// Changes to the response on its way down.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Response {
    /// Headers set.
    pub(in crate::config) set_headers: Option<Field<Headers>>,
    /// Headers removed.
    #[serde(default)]
    pub(in crate::config) remove_headers: Field<Set<Text<ChangeableHeader>>>,
    /// How clients hear of the limit nearest to exhaustion: RateLimit-Policy
    /// and RateLimit, X-RateLimit-*, or both.
    #[serde(default)]
    pub(in crate::config) limit_headers: Field<LimitHeaders>,
    /// Bytes of a response that are read ahead of a slow client, so that the
    /// server is free early.
    #[serde(default)]
    pub(in crate::config) buffer: Field<Or<Off, BufferBytes>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum LimitHeaders {
    // The fields of the coming standard:
    // draft-ietf-httpapi-ratelimit-headers-11.
    #[default]
    #[serde(rename = "draft-11")]
    Draft11,
    #[serde(rename = "x-ratelimit")]
    XRatelimit,
    Both,
    Off,
}
