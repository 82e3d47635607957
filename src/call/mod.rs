//! One request on its way through a route's stack, as the gateway, its layers
//! and upstreams share it.
//!
//! A [`Call`] is what the layers pass inwards: one attempt's share of a
//! request. The [`Exchange`] behind it is shared by all attempts: the request
//! as received, which never changes, and [`Facts`], which are noted as they
//! happen. Facts are emitted and not decided upon: an access line and metrics,
//! exactly once, when the last holder of the exchange lets go of it, however it
//! ended.

mod client;
mod deadline;
mod emitted;
mod exchange;
mod facts;
pub mod forwarded;
pub mod grpc;
mod holds;
mod max_forwards;
pub mod query;
mod request_id;
mod target;

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, Method, Version};
use tokio::time::Instant;

pub use self::{
    client::{Chain, Client},
    deadline::{Deadline, Uploading},
    exchange::{Exchange, Known, RequestBodyObserver},
    facts::{Facts, Flag, LimitFacts, Nearest},
    grpc::Grpc,
    holds::Holds,
    max_forwards::{HEADER as MAX_FORWARDS_HEADER, max_forwards},
    request_id::{HEADER as REQUEST_ID_HEADER, RequestId},
    target::{Target, UNREADABLE},
};
use crate::{
    body::Body,
    message::Interim,
    policy::LimitHeaders,
    telemetry::{AccessLog, RouteMetrics},
};

/// A request inside the stack: the part that all attempts share, and the part
/// that one attempt uses up.
#[derive(Debug)]
pub struct Call {
    /// The request as received, and the notes on it.
    pub exchange: Arc<Exchange>,
    /// The request body.
    pub body: Body,
    /// When the response head must have arrived; `None` outside of the total
    /// timeout.
    pub deadline: Option<Deadline>,
    /// Set if the body arrives in pieces. It takes the place of `deadline`
    /// then.
    pub uploading: Option<Arc<Uploading>>,
    /// Whether the attempt opens a new connection: the pooled one of the last
    /// attempt turned out to be closed.
    pub fresh: bool,
    /// When the attempt begins, as of the last look at the clock.
    pub now: Instant,
    /// When the attempt is given up because the server is slow; `None` if the
    /// server would not be to blame.
    pub attempt_deadline: Option<Instant>,
    /// How long the permits of the request are held, at most, for a server that
    /// works on after the client has left; `None` without a permit.
    pub linger: Option<Duration>,
}

/// An attempt as it is written to a server.
#[derive(Debug)]
pub struct Outgoing {
    /// The request as received, and the notes on it.
    pub call: Arc<Exchange>,
    /// Request line and header fields, without the framing and the empty line.
    pub head: Vec<u8>,
    /// Whether `head` has a `Host`. Otherwise the server's own name is added.
    pub has_host: bool,
    /// Whether an empty body is announced with a length of 0.
    pub names_length: bool,
    /// The request body.
    pub body: Body,
    /// Trailers that the body may have: those that are announced and that
    /// nobody else decides.
    pub trailers: Box<[HeaderName]>,
    /// Whether servers that speak HTTP/1 get them, too.
    pub trailers_to_http1: bool,
    /// Whether the attempt opens a new connection.
    pub fresh: bool,
    /// When the attempt begins, as of the last look at the clock.
    pub now: Instant,
    /// When the attempt is given up because the server is slow; `None` if the
    /// server would not be to blame.
    pub attempt_deadline: Option<Instant>,
    /// How long permits are held for a server that works on after the client
    /// has left; `None` without a permit.
    pub linger: Option<Duration>,
    /// The hash of the request's key, if servers are chosen by one.
    pub key: Option<u64>,
}

/// The head of a request.
#[derive(Debug, Clone)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The target as received, and its parts.
    pub target: Target,
    /// HTTP/1.0, HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// All header fields.
    pub headers: HeaderMap,
    /// The host that the request asks for, in lower case and without its port;
    /// empty if it names none.
    pub host: Box<str>,
    /// Whether `Connection` names fields that end at this hop.
    pub names_hops: bool,
    /// Whether names of its fields contain `_`, which servers of CGI and WSGI
    /// programs do not tell from `-`.
    pub has_underscores: bool,
    /// Whether it has a `Via` field, so that it has passed a proxy.
    pub has_via: bool,
    /// The way to send interim responses; `None` if the client cannot take
    /// them.
    pub interim: Option<Interim>,
    /// The protocols that the client would switch to, as its `Upgrade` field
    /// lists them.
    pub upgrade: Option<Box<[u8]>>,
    /// Set for a gRPC call.
    pub grpc: Option<Grpc>,
}

/// A route as logs, metrics and response header fields name it.
#[derive(Debug)]
pub struct RouteTag {
    /// Its name; `None` for requests that no route matched.
    pub name: Option<Arc<str>>,
    /// The names of its limits, each followed by those of its tiers.
    pub limits: Vec<Arc<str>>,
    /// The response header fields that describe the limit nearest to
    /// exhaustion.
    pub limit_headers: LimitHeaders,
    /// Its metrics.
    pub metrics: Arc<RouteMetrics>,
    /// The writer of access lines; `None` if they are switched off.
    pub access: Option<AccessLog>,
    /// How access lines show the query.
    pub query: query::LoggedQuery,
}
