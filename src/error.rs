//! Everything that can go wrong with a request, each case naming its cause and its culprit.
//!
//! [`Error`] ends a request before its answer began: `gateway::answer` turns it into a response with one exhaustive
//! match. [`Fault`] ends a body that is already flowing, when there is no answer left to give.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use thiserror::Error as ThisError;

use crate::duration;

/// Why a request got an answer of the gateway's own making.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[expect(missing_docs, reason = "each variant's message says it")]
pub enum Error {
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    #[error("the path can be read in more than one way: {0}")]
    AmbiguousPath(&'static str),
    #[error("the request target is longer than {limit} bytes")]
    TargetTooLong { limit: usize },
    #[error("the request head has more than {limit} bytes")]
    HeadTooLarge { limit: usize },
    #[error("the request head has more than {limit} header lines")]
    TooManyHeaders { limit: usize },
    #[error("the request head was not complete after {}", duration::text(*after))]
    SlowHead { after: Duration },
    #[error(
        "the client sent nothing of the request body for {}, which is what the route's `timeouts.idle` allows",
        duration::text(*after)
    )]
    SlowBody { after: Duration },
    #[error("the request body is longer than {limit} bytes")]
    BodyTooLarge { limit: u64 },
    #[error("this connection is not for that host: ask for it by a connection of its own")]
    Misdirected,
    #[error("no route matches")]
    NoRoute,
    #[error("TRACE is answered only by a route that lists it in `match.methods`")]
    TraceNotAllowed,
    #[error(
        "the request has passed this gateway, or others like it, {rounds} times: it probably goes round in a circle"
    )]
    Loop { rounds: usize },
    #[error("limit {} is exhausted", Names(limits))]
    RateLimited {
        limits: Vec<Arc<str>>,
        retry_after: Duration,
        status: StatusCode,
    },
    #[error("limit \"{limit}\" needs a key that the request does not carry")]
    KeyMissing { limit: Arc<str>, status: StatusCode },
    #[error("shared limits cannot be decided: their store does not answer")]
    StoreUnavailable { retry_after: Duration },
    #[error("the cap of {cap} is reached: {max} requests are in flight and {queue} may wait")]
    CapReached {
        cap: CapName,
        max: usize,
        queue: usize,
    },
    #[error("no place under the cap of {cap}, {max} requests, became free within {}", duration::text(*after))]
    QueueTimeout {
        cap: CapName,
        max: usize,
        after: Duration,
    },
    #[error("the request took longer than {}", duration::text(*after))]
    TotalTimeout {
        after: Duration,
        /// An attempt had begun.
        is_sent: bool,
    },
    #[error("the upstream did not answer within {}", duration::text(*after))]
    AttemptTimeout { after: Duration },
    #[error("upstream \"{upstream}\" could not be reached: {cause}")]
    ConnectFailed {
        upstream: Arc<str>,
        cause: ConnectFailure,
        earlier: Earlier,
    },
    #[error("all connections to upstream \"{upstream}\" were busy for {}", duration::text(*after))]
    PoolTimeout {
        upstream: Arc<str>,
        after: Duration,
        earlier: Earlier,
    },
    #[error("no server of upstream \"{upstream}\" is healthy")]
    NoHealthyServer {
        upstream: Arc<str>,
        earlier: Earlier,
    },
    #[error("upstream \"{upstream}\" closed a kept connection before answering")]
    Stale {
        upstream: Arc<str>,
        written: bool,
        earlier: Earlier,
    },
    #[error("upstream \"{upstream}\" broke the connection before answering")]
    Reset {
        upstream: Arc<str>,
        /// Some bytes of an answer had come.
        is_begun: bool,
    },
    #[error("upstream \"{upstream}\" refused the request before it began with it")]
    Unbegun {
        upstream: Arc<str>,
        earlier: Earlier,
    },
    #[error("upstream \"{upstream}\" sent an answer that is not HTTP: {what}")]
    BadAnswer {
        upstream: Arc<str>,
        what: &'static str,
    },
    #[error("the exchange took longer than the route allows")]
    BodyTimeout,
    #[error("the client went away")]
    ClientGone,
    #[error("the gateway failed while it handled the request")]
    Panicked,
}

/// What became of the attempts before the one that an error ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Earlier {
    /// There were none, or no server can have seen them.
    #[default]
    Unseen,
    /// A server may have served one.
    Seen,
}

/// Whose cap on requests in flight it is.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub enum CapName {
    /// Of the route of this name.
    #[error("route \"{0}\"")]
    Route(Arc<str>),
    /// Of the upstream of this name, over all routes to it.
    #[error("upstream \"{0}\"")]
    Upstream(Arc<str>),
}

impl CapName {
    /// The route's or the upstream's name.
    pub fn name(&self) -> &Arc<str> {
        let (CapName::Route(name) | CapName::Upstream(name)) = self;
        name
    }
}

/// Why no connection to a server could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
pub enum ConnectFailure {
    /// The server, or the network on the way, said no.
    #[error("connection refused")]
    Refused,
    /// Nothing was heard within `connect_timeout`.
    #[error("timed out")]
    Timeout,
    /// Its name has no address.
    #[error("its name could not be resolved")]
    Name,
    /// The TLS handshake failed; says why.
    #[error("TLS handshake failed: {0}")]
    Tls(&'static str),
    /// It took the connection and then did not speak HTTP/2, or ended it at once.
    #[error("it does not speak HTTP/2")]
    NoHttp2,
    /// This process has no file descriptor, port or memory left for one.
    #[error("no local resources left")]
    Local,
}

impl ConnectFailure {
    /// Label of `tidegate_upstream_connects_total{outcome}`.
    pub fn outcome(self) -> &'static str {
        match self {
            ConnectFailure::Refused | ConnectFailure::NoHttp2 => "refused",
            ConnectFailure::Timeout => "timeout",
            ConnectFailure::Name => "dns",
            ConnectFailure::Tls(_) => "tls",
            ConnectFailure::Local => "local",
        }
    }
}

impl Error {
    /// The `reason` of access lines and of `tidegate_refusals_total`.
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
            Error::NoRoute => "no_route",
            Error::TraceNotAllowed => "method_not_allowed",
            Error::Loop { .. } => "loop",
            Error::RateLimited { .. } => "rate_limited",
            Error::KeyMissing { .. } => "key_missing",
            Error::StoreUnavailable { .. } => "store_unavailable",
            Error::CapReached { .. } => "cap",
            Error::QueueTimeout { .. } => "queue_timeout",
            Error::TotalTimeout { .. } => "total_timeout",
            Error::AttemptTimeout { .. } => "attempt_timeout",
            Error::ConnectFailed { .. } => "connect_failed",
            Error::PoolTimeout { .. } => "pool_timeout",
            Error::NoHealthyServer { .. } => "no_healthy_server",
            Error::Stale { .. } | Error::Reset { .. } => "reset",
            Error::Unbegun { .. } => "refused",
            Error::BadAnswer { .. } => "bad_answer",
            Error::BodyTimeout => "body_timeout",
            Error::ClientGone => "client_gone",
            Error::Panicked => "panicked",
        }
    }

    /// True when the request was turned away before any server could serve it, so that what it took is given back.
    pub fn served_nothing(&self) -> bool {
        const UNSEEN: Earlier = Earlier::Unseen;
        matches!(
            self,
            Error::CapReached { .. }
                | Error::QueueTimeout { .. }
                | Error::PoolTimeout {
                    earlier: UNSEEN,
                    ..
                }
                | Error::NoHealthyServer {
                    earlier: UNSEEN,
                    ..
                }
                | Error::ConnectFailed {
                    earlier: UNSEEN,
                    ..
                }
                | Error::TotalTimeout { is_sent: false, .. }
                | Error::Stale {
                    written: false,
                    earlier: UNSEEN,
                    ..
                }
                | Error::Unbegun {
                    earlier: UNSEEN,
                    ..
                }
        )
    }

    /// True when the client ended the request by what it did, so that no answer tells what became of it at a server.
    pub fn is_by_client(&self) -> bool {
        matches!(
            self,
            Error::ClientGone
                | Error::SlowBody { .. }
                | Error::BodyTooLarge { .. }
                | Error::Malformed(_)
        )
    }

    /// The same error, of a request an earlier attempt of which a server may have served.
    pub fn after_one_was_seen(mut self) -> Self {
        if let Error::PoolTimeout { earlier, .. }
        | Error::NoHealthyServer { earlier, .. }
        | Error::ConnectFailed { earlier, .. }
        | Error::Stale { earlier, .. }
        | Error::Unbegun { earlier, .. } = &mut self
        {
            *earlier = Earlier::Seen;
        }
        self
    }
}

/// Why a body that was already flowing broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
pub enum Fault {
    /// The client closed its connection.
    #[error("the client went away")]
    ClientGone,
    /// The client sent nothing for this long.
    #[error("the client sent nothing for {0:?}")]
    ClientSilent(Duration),
    /// The client's body is not what its head announced.
    #[error("the request body is malformed: {0}")]
    ClientMalformed(&'static str),
    /// The request body passed its bound.
    #[error("the request body is longer than {0} bytes")]
    TooLarge(u64),
    /// The upstream broke off, or its body is not what its head announced.
    #[error("the upstream broke off: {0}")]
    UpstreamCut(&'static str),
    /// No byte moved in either direction for this long.
    #[error("nothing moved for {0:?}")]
    Idle(Duration),
    /// The whole exchange passed `timeouts.body`.
    #[error("the exchange passed its bound")]
    OutOfTime,
}

impl Fault {
    /// The `reason` of an access line.
    pub fn reason(self) -> &'static str {
        match self {
            Fault::ClientGone => "client_gone",
            Fault::ClientSilent(_) => "slow_body",
            Fault::ClientMalformed(_) => "malformed",
            Fault::TooLarge(_) => "body_too_large",
            Fault::UpstreamCut(_) => "upstream_cut",
            Fault::Idle(_) => "idle_timeout",
            Fault::OutOfTime => "body_timeout",
        }
    }
}

/// The error for a request whose own body broke off before any response began.
impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::ClientSilent(after) => Error::SlowBody { after },
            Fault::ClientMalformed(what) => Error::Malformed(what),
            Fault::TooLarge(limit) => Error::BodyTooLarge { limit },
            Fault::Idle(after) => Error::AttemptTimeout { after },
            Fault::OutOfTime => Error::BodyTimeout,
            Fault::ClientGone | Fault::UpstreamCut(_) => Error::ClientGone,
        }
    }
}

/// Limit names as a sentence shows them.
struct Names<'a>(&'a [Arc<str>]);

impl std::fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            f.write_str(if i == 0 { "\"" } else { ", \"" })?;
            f.write_str(name)?;
            f.write_str("\"")?;
        }
        Ok(())
    }
}
