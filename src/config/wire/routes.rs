//! `[[routes]]` and `[defaults]`: which requests go where, and under which
//! policies.

use std::num::{NonZeroU32, NonZeroUsize};

use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    super::field::{Field, Nested},
    cors::Cors,
    identities::{Anonymous, Credentials, Required},
    lists::{List, OneOrList, Set, Tables},
    numbers::{Whole, on},
    refusal::Refusal,
    scalar::{Off, Or, Scalar},
    syntaxes::{
        AnyDuration, Anything, BufferBytes, ChangeableHeader, Header, Host, MethodName, Name,
        Network, Part, PathRegex, Percent, PositiveDuration, Prefix, QueryName, Reason, RedirectTo,
        Value, WholePath,
    },
    tables::{Either, Pairs},
    transform::{Request, Response},
};
use crate::policy::Priority;

/// Requests in flight: more than any gateway holds at once.
type InFlight = Whole<NonZeroUsize, 1, 10_000_000>;
/// Requests in a queue; zero is no queue.
type Queued = Whole<usize, 0, 10_000_000>;
/// A share of a split; zero gets nothing, and stays in the file for later.
type Weight = Whole<u32, 0, 1_000_000>;
/// Of the requests of a route.
type Percentage = Whole<u8, 0, 100>;
/// Attempts of one request, the first included.
type Attempts = Whole<NonZeroU32, 1, 100>;
/// Retries in a second.
type PerSecond = Whole<u32, 0, 1_000_000>;
/// The status of a response by the gateway; 1xx are no final responses.
type ResponseStatus = Whole<StatusCode, 200, 599>;
/// The status of a redirect. Those in between that are none are refused later.
type RedirectStatus = Whole<StatusCode, 301, 308>;

/// Headers that are set, by name.
pub(in crate::config) type Headers = Pairs<ChangeableHeader, Value>;

/// Which requests go where. One of upstream, respond, redirect and quota is
/// required.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Route {
    /// Unique name, used in logs and metrics.
    pub(in crate::config) name: Field<Scalar<Name>>,
    /// Upstream of the requests, or a split: a list of tables of `name` and
    /// `weight`.
    pub(in crate::config) upstream: Option<Field<Either<Scalar<Name>, Tables<Share>>>>,
    /// A response of the gateway itself instead, behind the same limits and
    /// cap.
    pub(in crate::config) respond: Nested<Respond>,
    /// The client is sent elsewhere instead.
    pub(in crate::config) redirect: Nested<Redirection>,
    /// `true` answers with the state of the route's limits for the client that
    /// asks instead, as JSON; takes no tokens.
    #[serde(default)]
    pub(in crate::config) quota: Field<bool>,
    /// Copies of some requests go to another upstream.
    pub(in crate::config) mirror: Nested<Mirror>,
    /// Strict order in the queue of the upstream's cap.
    #[serde(default)]
    pub(in crate::config) priority: Field<Priority>,
    /// gRPC calls end with statuses of gRPC; `false`: they are ordinary
    /// requests.
    #[serde(default = "on")]
    pub(in crate::config) grpc: Field<bool>,
    /// Identities by name; the first whose credentials a request has decides
    /// who the client is; absent: nobody is asked.
    #[serde(default)]
    pub(in crate::config) identify: Field<Set<Scalar<Name>>>,
    /// Requests without credentials: "refuse" answers 401, "pass" lets them
    /// pass without an identity.
    #[serde(default)]
    pub(in crate::config) anonymous: Field<Anonymous>,
    /// Claims by name, each of which must contain one of the values; others get
    /// 403.
    pub(in crate::config) require: Option<Field<Required>>,
    /// "pass" passes credentials on, "remove" keeps them from the service.
    #[serde(default)]
    pub(in crate::config) credentials: Field<Credentials>,
    /// Limits by name; all must admit a request.
    #[serde(default)]
    pub(in crate::config) limits: Field<Set<Scalar<Name>>>,
    /// Conditions for requests; absent: every request.
    pub(in crate::config) r#match: Nested<Match>,
    /// Cap on requests in flight; absent: none.
    pub(in crate::config) concurrency: Nested<Concurrency>,
    /// Every wait has an end.
    pub(in crate::config) timeouts: Nested<Timeouts>,
    /// When and how often a request is tried again.
    pub(in crate::config) retry: Nested<Retry>,
    /// Changes to the request on its way up.
    pub(in crate::config) request: Nested<Request>,
    /// Changes to the response on its way down.
    pub(in crate::config) response: Nested<Response>,
    /// Which pages of other origins may call the route from a browser; absent:
    /// the service decides.
    pub(in crate::config) cors: Nested<Cors>,
    /// Fields and bodies of responses by which the gateway refuses a request;
    /// absent: a problem body.
    pub(in crate::config) refusal: Nested<Refusal>,
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
    mirror: Nested<Mirror>,
    priority: Option<Field<Priority>>,
    identify: Option<Field<Set<Scalar<Name>>>>,
    anonymous: Option<Field<Anonymous>>,
    require: Option<Field<Required>>,
    credentials: Option<Field<Credentials>>,
    limits: Option<Field<Set<Scalar<Name>>>>,
    r#match: Nested<Match>,
    concurrency: Nested<Concurrency>,
    timeouts: Nested<Timeouts>,
    retry: Nested<Retry>,
    request: Nested<Request>,
    response: Nested<Response>,
    cors: Nested<Cors>,
    refusal: Nested<Refusal>,
}

/// One upstream of a split.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Share {
    /// The upstream.
    pub(in crate::config) name: Field<Scalar<Name>>,
    /// Its share of the requests; 0: none for now.
    #[serde(default = "Weight::value::<1>")]
    pub(in crate::config) weight: Field<Weight>,
}

/// Copies of requests for another upstream; their answers are thrown away.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Mirror {
    /// Upstream that gets the copies; required, here or in the defaults.
    pub(in crate::config) upstream: Option<Field<Scalar<Name>>>,
    /// Percentage of the requests that are copied.
    #[serde(default = "Percentage::value::<100>")]
    pub(in crate::config) percent: Field<Percentage>,
}

/// Which requests a route takes: all of what is given must match.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Match {
    /// Exact names, or "*.NAME" for one or more labels before it.
    pub(in crate::config) hosts: Option<Field<List<Scalar<Host>>>>,
    /// Whole segments: `/orders` matches `/orders` and `/orders/7`, but not
    /// `/ordersx`.
    pub(in crate::config) path_prefix: Option<Field<Scalar<Prefix>>>,
    /// The whole path; `{name}` is one segment, a parameter.
    pub(in crate::config) path: Option<Field<Scalar<WholePath>>>,
    /// A regular expression for the whole path.
    pub(in crate::config) path_regex: Option<Field<Scalar<PathRegex>>>,
    /// List of methods.
    pub(in crate::config) methods: Option<Field<List<Scalar<MethodName>>>>,
    /// Names and values of fields, all of which must be equal.
    pub(in crate::config) headers: Option<Field<Pairs<Header, Value>>>,
    /// Names and values of parameters, all of which must be equal after
    /// decoding.
    pub(in crate::config) query: Option<Field<Pairs<QueryName, Anything>>>,
    /// Names of listeners that the request comes by, one of these; a route with
    /// listeners takes precedence over one without.
    pub(in crate::config) listeners: Option<Field<List<Scalar<Name>>>>,
    /// Networks, one of which has the client's address.
    pub(in crate::config) clients: Option<Field<List<Scalar<Network>>>>,
    /// Networks, none of which has the client's address.
    pub(in crate::config) not_clients: Option<Field<List<Scalar<Network>>>>,
}

/// An answer that the gateway makes itself.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Respond {
    /// Its status.
    #[serde(default = "ResponseStatus::value::<200>")]
    pub(in crate::config) status: Field<ResponseStatus>,
    /// Its body.
    #[serde(default = "no_body")]
    pub(in crate::config) body: Field<Scalar<Anything>>,
    /// Its fields.
    pub(in crate::config) headers: Option<Field<Headers>>,
}

fn no_body() -> Field<Scalar<Anything>> {
    Scalar::by_default(String::new())
}

/// Sends the client elsewhere.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Redirection {
    /// URL or path; `{host}`, `{path}` (with the query) and the match's
    /// parameters are filled in.
    pub(in crate::config) to: Field<Scalar<RedirectTo>>,
    /// 301, 302, 303, 307 or 308.
    // Permanent Redirect: method and body stay (RFC 9110, section 15.4.9).
    #[serde(default = "RedirectStatus::value::<308>")]
    pub(in crate::config) status: Field<RedirectStatus>,
}

/// Cap on requests in flight.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Concurrency {
    /// Requests in flight, to the end of the response body; `max` or `adaptive`
    /// is required, here or in the defaults of routes.
    pub(in crate::config) max: Option<Field<InFlight>>,
    /// Replaces `max`: the cap follows the measured latency.
    pub(in crate::config) adaptive: Nested<Adaptive>,
    /// Requests that may wait; further ones are refused at once with 503.
    #[serde(default = "Queued::value::<0>")]
    pub(in crate::config) queue: Field<Queued>,
    /// Longest wait in the queue; then 503.
    // A client that waits longer has usually left; and a queue that moves
    // slower than this is a cap set too low.
    #[serde(default = "Scalar::<PositiveDuration>::secs::<1>")]
    pub(in crate::config) queue_timeout: Field<Scalar<PositiveDuration>>,
    /// Key between which the queue takes turns; if the queue is full, the key
    /// with the most requests in it loses its newest one; parts as in the key
    /// of a limit; absent: first come, first served.
    pub(in crate::config) fair_by: Option<Field<OneOrList<Scalar<Part>>>>,
}

/// Bounds of a cap that follows the measured latency.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Adaptive {
    /// Never fewer, and the cap at the start: so few are always safe.
    pub(in crate::config) min: Field<InFlight>,
    /// Never more.
    pub(in crate::config) max: Field<InFlight>,
}

/// Every wait has an end.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Timeouts {
    /// Longest time from the head of the request to the head of the response,
    /// including queue, attempts and back-off, but not the time in which the
    /// request body arrives; then 504.
    // Longer than sane responses take to begin, shorter than people wait.
    #[serde(default = "Scalar::<PositiveDuration>::secs::<30>")]
    pub(in crate::config) total: Field<Scalar<PositiveDuration>>,
    /// Longest time of one attempt, to the head of its response, but not the
    /// time in which the request body arrives; then 504; absent: `total`.
    pub(in crate::config) attempt: Option<Field<Scalar<PositiveDuration>>>,
    /// Longest time without a byte in either direction within bodies; raise it
    /// for a service whose responses pause for longer.
    // NGINX's default for the same.
    #[serde(default = "Scalar::<PositiveDuration>::secs::<60>")]
    pub(in crate::config) idle: Field<Scalar<PositiveDuration>>,
    /// `idle` for upgraded connections (WebSocket), gRPC and event streams such
    /// as `text/event-stream` and `application/x-ndjson`.
    // Longer than the pings of any chat or ticker, short enough that forgotten
    // tunnels end.
    #[serde(default = "Scalar::<PositiveDuration>::hours::<1>")]
    pub(in crate::config) tunnel: Field<Scalar<PositiveDuration>>,
    /// Longest time of the whole exchange, including bodies.
    #[serde(default)]
    pub(in crate::config) body: Field<Or<Off, PositiveDuration>>,
}

/// When and how often to try again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(in crate::config) struct Retry {
    /// Number of attempts in all; 1 means no retry.
    // One retry removes most of what fails by chance; more multiply load in an
    // outage.
    #[serde(default = "Attempts::value::<2>")]
    pub(in crate::config) attempts: Field<Attempts>,
    /// Failures that are retried: "connect", "reset", "timeout" and statuses
    /// such as "503".
    #[serde(default = "retry_on")]
    pub(in crate::config) on: Field<Set<Scalar<Reason>>>,
    /// Methods that are retried although the server may have seen the request.
    #[serde(default = "retry_methods")]
    pub(in crate::config) methods: Field<Set<Scalar<MethodName>>>,
    /// First delay; doubles with each attempt, with full jitter.
    // A server that restarts needs a moment; with jitter the tries spread over
    // it.
    #[serde(default = "Scalar::<AnyDuration>::millis::<25>")]
    pub(in crate::config) backoff: Field<Scalar<AnyDuration>>,
    /// Longest delay.
    // A longer wait is worse than an error.
    #[serde(default = "Scalar::<AnyDuration>::secs::<1>")]
    pub(in crate::config) max_backoff: Field<Scalar<AnyDuration>>,
    /// Retries that are allowed, as a share of the route's requests of the last
    /// 10 seconds.
    // In an outage retries add a fifth to the load and not a multiple.
    #[serde(default = "Scalar::<Percent>::percent::<20>")]
    pub(in crate::config) budget: Field<Scalar<Percent>>,
    /// Retries a second that are allowed in addition to `budget`.
    // So that a route with few requests can retry at all.
    #[serde(default = "PerSecond::value::<10>")]
    pub(in crate::config) budget_min: Field<PerSecond>,
    /// Bytes of a request body that are kept for a retry; if more of it has
    /// been read, the request is not retried.
    // Most request bodies; each request in flight may hold as much.
    #[serde(default = "Scalar::<BufferBytes>::kib::<64>")]
    pub(in crate::config) buffer: Field<Scalar<BufferBytes>>,
}

/// With `connect` nothing of the request was processed, so that every method
/// may be tried again. With `reset` the server ended without a word, as one
/// does that restarts: `methods` says what may be tried again then, and the
/// budget how often. NGINX does both by default.
fn retry_on() -> Field<Set<Scalar<Reason>>> {
    Set::of(&["connect", "reset"])
}

/// The idempotent methods (RFC 9110, section 9.2.2): twice is as good as once.
fn retry_methods() -> Field<Set<Scalar<MethodName>>> {
    Set::of(&["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])
}
