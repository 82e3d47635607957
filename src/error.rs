//! Everything that can go wrong with a request: each case names its cause and
//! the party to blame.
//!
//! * [`Error`] ends a request before its response began. `gateway::respond`
//!   turns it into a response with one exhaustive match.
//! * [`Failed`] is an error on its way through a route's stack, with the facts
//!   that layers need about the attempt.
//! * [`Fault`] ends a body that is already flowing, when no response can be
//!   given any more.
//!
//! A new failure is a new variant, and the compiler then asks for its reason
//! and its response. Reasons are part of the interface: alerts and dashboards
//! use them.

mod connect_failure;
mod failed;
mod fault;
mod service_response;
mod words;

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use smallvec::SmallVec;
use thiserror::Error as ThisError;

use self::words::{QuotedNames, refusal, unauthenticated};
pub use self::{
    connect_failure::ConnectFailure,
    failed::{Failed, Seen},
    fault::Fault,
    service_response::ServiceResponse,
};
use crate::duration;

/// Why the gateway responds to a request itself.
///
/// The message is the `detail` of the problem body (RFC 9457) that the client
/// gets, and [`reason`](Self::reason) is the word in access lines and metrics.
/// The variants come in the order in which a request can meet them.
///
/// ```
/// use std::time::Duration;
/// use tidegate::error::Error;
///
/// let error = Error::AttemptTimeout { after: Duration::from_millis(500) };
/// assert_eq!(error.to_string(), "the upstream did not answer within 500ms");
/// assert_eq!(error.reason(), "attempt_timeout");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum Error {
    /// The client sent bytes that are not HTTP, or that could be read in two
    /// ways. The text says what is wrong with them. The client is to blame.
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    /// Some servers would understand the path of the request as a path of
    /// another route, which allows less. The text names the part that makes it
    /// ambiguous. The client is to blame.
    #[error("the path can be read in more than one way: {0}")]
    AmbiguousPath(&'static str),
    /// The request line has a target of more than `limit` bytes. The client is
    /// to blame.
    #[error("the request target is longer than {limit} bytes")]
    TargetTooLong {
        /// Bytes of a target that the listener accepts.
        limit: usize,
    },
    /// Request line and header together exceed `limit` bytes, or a server says
    /// that it takes no head of this size. The client is to blame.
    #[error("the request head has more than {limit} bytes")]
    HeadTooLarge {
        /// Bytes of a head that are accepted.
        limit: usize,
    },
    /// The request has more than `limit` header lines. The client is to blame.
    #[error("the request head has more than {limit} header lines")]
    TooManyHeaders {
        /// Header lines that the listener accepts.
        limit: usize,
    },
    /// The request head was begun and not finished in time. The client, or its
    /// network, is to blame.
    #[error("the request head was not complete after {}", duration::text(*after))]
    SlowHead {
        /// The listener's timeout for a head.
        after: Duration,
    },
    /// The client stopped sending in the middle of its request body. The
    /// client, or its network, is to blame.
    #[error(
        "the client sent nothing of the request body for {}, which is what the route's `timeouts.idle` allows",
        duration::text(*after)
    )]
    SlowBody {
        /// The silence that the route allows.
        after: Duration,
    },
    /// The request body is longer than the route allows, by its announced
    /// length or by what arrived. The client is to blame.
    #[error("the request body is longer than {limit} bytes")]
    BodyTooLarge {
        /// Bytes of a body that the route accepts.
        limit: u64,
    },
    /// The request asks for a host that the certificate shown on this
    /// connection is not valid for. The client is to blame; it may ask again
    /// over a connection of its own (RFC 9110, 15.5.20).
    #[error("this connection is not for that host: ask for it by a connection of its own")]
    Misdirected,
    /// The listener serves nothing, and redirects all requests to https. Nobody
    /// is to blame.
    #[error("this listener redirects to https")]
    HttpsOnly {
        /// The same URL under https.
        location: Box<[u8]>,
    },
    /// No route matches the request. The client asks for something that does
    /// not exist, or the configuration lacks a route.
    #[error("no route matches")]
    NoRoute,
    /// A TRACE request matches a route that does not list TRACE. Its response
    /// would show the client what is added to requests on the way. The client
    /// is to blame.
    #[error("TRACE is answered only by a route that lists it in `match.methods`")]
    TraceNotAllowed,
    /// The request has come through this gateway before. The configuration of
    /// this gateway or of another hop is to blame.
    #[error(
        "the request has passed this gateway, or others like it, {rounds} times: it probably goes round in a circle"
    )]
    Loop {
        /// How many `Via` elements name a gateway like this one.
        rounds: usize,
    },
    /// The request has no credentials that its route accepts, or some that do
    /// not verify. The client is to blame.
    #[error("{}", unauthenticated(*rejected))]
    Unauthenticated {
        /// Values of `WWW-Authenticate`, one for each way to authenticate.
        challenges: Arc<[Box<str>]>,
        /// Why its credentials were rejected; `None` if it has none.
        rejected: Option<&'static str>,
    },
    /// A service that says who clients are has refused the request by a response
    /// of its own. The client is to blame.
    #[error("the service that authenticates clients answered {}", response.status)]
    RefusedByService {
        /// Its response, which the client gets.
        response: Arc<ServiceResponse>,
    },
    /// The client lacks a claim that the route requires, and is to blame.
    #[error("the route requires another value of the claim \"{claim}\"")]
    Forbidden {
        /// The name of the claim.
        claim: Arc<str>,
    },
    /// Nobody can say at the moment whether the credentials of the request are
    /// good. The service that would say so is to blame.
    #[error("the credentials cannot be checked at the moment")]
    IdentityUnavailable {
        /// When it is worth to try again, from now.
        retry_after: Duration,
    },
    /// The client has used up a rate limit. The client is to blame.
    #[error("limit {} {}", QuotedNames(limits), refusal(*retry_after))]
    RateLimited {
        /// The limits that refused. Mostly one, and then without an allocation.
        limits: SmallVec<[Arc<str>; 1]>,
        /// When the request could be admitted at the earliest, from now;
        /// [`Duration::MAX`] for never.
        retry_after: Duration,
        /// The configured status of the refusal.
        status: StatusCode,
    },
    /// The key of the request was refused too often. The client is to blame.
    #[error("limit \"{limit}\" was exhausted too often: its key is banned for a while")]
    Banned {
        /// The limit.
        limit: Arc<str>,
        /// The rest of the ban.
        retry_after: Duration,
        /// Whether the connection ends as well.
        closes: bool,
        /// The configured status of the refusal.
        status: StatusCode,
    },
    /// The request lacks a part of a limit's key. The client is to blame.
    #[error("limit \"{limit}\" needs a key that the request does not carry")]
    KeyMissing {
        /// The limit.
        limit: Arc<str>,
        /// The configured status of the refusal.
        status: StatusCode,
    },
    /// The store of shared limits is out of reach, and the configuration
    /// refuses requests then. The store is to blame.
    #[error("shared limits cannot be decided: their store does not answer")]
    StoreUnavailable {
        /// When the store is asked again, from now.
        retry_after: Duration,
    },
    /// A concurrency limit is reached and its queue is full, or the request had
    /// to give up its slot in the queue to one of a higher priority or of a key
    /// with fewer requests. The load, or a slow upstream, is to blame.
    #[error("the cap of {owner} is reached: {max} requests are in flight and {queue} may wait")]
    ConcurrencyLimited {
        /// The owner of the limit.
        owner: LimitOwner,
        /// Requests that may be in flight.
        max: usize,
        /// Requests that may wait.
        queue: usize,
    },
    /// The request waited in the queue of a concurrency limit for as long as it
    /// may. The load, or a slow upstream, is to blame.
    #[error("no place under the cap of {owner}, {max} requests, became free within {}", duration::text(*after))]
    QueueTimeout {
        /// The owner of the limit.
        owner: LimitOwner,
        /// Requests that may be in flight.
        max: usize,
        /// The longest wait.
        after: Duration,
    },
    /// The request passed its deadline, wherever it was at that moment. A slow
    /// upstream, or the load, is to blame.
    #[error("the request took longer than {}", duration::text(*after))]
    TotalTimeout {
        /// The configured total, or the shorter timeout that the client itself
        /// set.
        after: Duration,
    },
    /// The last attempt had no response head in time. The upstream is to blame.
    #[error("the upstream did not answer within {}", duration::text(*after))]
    AttemptTimeout {
        /// The longest time for an attempt.
        after: Duration,
    },
    /// No connection to a server could be made. The upstream, its network, or
    /// its configuration is to blame.
    #[error("upstream \"{upstream}\" could not be reached: {cause}")]
    ConnectFailed {
        /// The upstream.
        upstream: Arc<str>,
        /// The step that failed.
        cause: ConnectFailure,
    },
    /// All connections that the pool may have were busy for the whole wait. A
    /// slow upstream, or the load, is to blame.
    #[error("all connections to upstream \"{upstream}\" were busy for {}", duration::text(*after))]
    PoolTimeout {
        /// The upstream.
        upstream: Arc<str>,
        /// The longest wait for a connection.
        after: Duration,
    },
    /// Every server of the upstream is unhealthy, ejected, or was tried
    /// already. The upstream is to blame.
    #[error("no server of upstream \"{upstream}\" is healthy")]
    NoHealthyServer {
        /// The upstream.
        upstream: Arc<str>,
    },
    /// The server had closed a pooled connection before it read the request.
    /// Nobody is to blame: the two crossed on the way.
    #[error("upstream \"{upstream}\" closed a kept connection before answering")]
    Stale {
        /// The upstream.
        upstream: Arc<str>,
    },
    /// The connection broke after the request was sent. The upstream, or its
    /// network, is to blame.
    #[error("upstream \"{upstream}\" broke the connection before answering")]
    Reset {
        /// The upstream.
        upstream: Arc<str>,
        /// Whether a byte of a response had come.
        is_begun: bool,
    },
    /// The server said that it did not begin to work on the request (HTTP/2:
    /// GOAWAY or REFUSED_STREAM). The upstream, which shuts down or is
    /// overloaded, is to blame.
    #[error("upstream \"{upstream}\" refused the request before it began with it")]
    Unprocessed {
        /// The upstream.
        upstream: Arc<str>,
    },
    /// The server sent something that is not HTTP. The upstream is to blame.
    #[error("upstream \"{upstream}\" sent an answer that is not HTTP: {what}")]
    BadResponse {
        /// The upstream.
        upstream: Arc<str>,
        /// The mistake in it.
        what: &'static str,
    },
    /// The exchange passed `timeouts.body` before a response began. The slower
    /// of client and upstream is to blame.
    #[error("the exchange took longer than the route allows")]
    BodyTimeout,
    /// The client closed its connection, or reset its stream. Nobody is left to
    /// respond to.
    #[error("the client went away")]
    ClientGone,
    /// Code of the gateway panicked. The gateway is to blame: this is a bug.
    #[error("the gateway failed while it handled the request")]
    Panicked,
}

/// The owner of a concurrency limit.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum LimitOwner {
    /// The route of this name.
    #[error("route \"{0}\"")]
    Route(Arc<str>),
    /// The upstream of this name, whatever route leads there.
    #[error("upstream \"{0}\"")]
    Upstream(Arc<str>),
}

impl LimitOwner {
    /// The name of the route or the upstream.
    pub fn name(&self) -> &Arc<str> {
        let (LimitOwner::Route(name) | LimitOwner::Upstream(name)) = self;
        name
    }
}

impl Error {
    /// The `reason` in access lines and in `tidegate_refusals_total`.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Malformed(_) => "malformed",
            Error::AmbiguousPath(_) => "ambiguous_path",
            Error::TargetTooLong { .. } => "target_too_long",
            Error::HeadTooLarge { .. } | Error::TooManyHeaders { .. } => "head_too_large",
            Error::SlowHead { .. } => "slow_head",
            Error::SlowBody { .. } => "slow_body",
            Error::BodyTooLarge { .. } => "body_too_large",
            Error::Misdirected => "misdirected",
            Error::HttpsOnly { .. } => "redirect_https",
            Error::NoRoute => "no_route",
            Error::TraceNotAllowed => "method_not_allowed",
            Error::Loop { .. } => "loop",
            Error::RefusedByService { response } if response.status == StatusCode::FORBIDDEN => {
                "forbidden"
            }
            Error::Unauthenticated { .. } | Error::RefusedByService { .. } => "unauthenticated",
            Error::Forbidden { .. } => "forbidden",
            Error::IdentityUnavailable { .. } => "identity_unavailable",
            Error::RateLimited { .. } => "rate_limited",
            Error::Banned { .. } => "banned",
            Error::KeyMissing { .. } => "key_missing",
            Error::StoreUnavailable { .. } => "store_unavailable",
            Error::ConcurrencyLimited { .. } => "cap",
            Error::QueueTimeout { .. } => "queue_timeout",
            Error::TotalTimeout { .. } => "total_timeout",
            Error::AttemptTimeout { .. } => "attempt_timeout",
            Error::ConnectFailed { .. } => "connect_failed",
            Error::PoolTimeout { .. } => "pool_timeout",
            Error::NoHealthyServer { .. } => "no_healthy_server",
            Error::Stale { .. } | Error::Reset { .. } => "reset",
            Error::Unprocessed { .. } => "refused",
            Error::BadResponse { .. } => "bad_answer",
            Error::BodyTimeout => "body_timeout",
            Error::ClientGone => "client_gone",
            Error::Panicked => "panicked",
        }
    }

    /// Whether the client ended the request itself, so that nobody knows how it
    /// ended at a server.
    pub fn is_by_client(&self) -> bool {
        matches!(
            self,
            Error::ClientGone
                | Error::SlowBody { .. }
                | Error::BodyTooLarge { .. }
                | Error::Malformed(_)
        )
    }
}
