//! One request on its way through a route's stack, as the gateway, its layers
//! and upstreams share it.
//!
//! Layers pass a [`Call`] inwards: one attempt's share of a request. The
//! [`Exchange`] behind it is shared by all attempts: the request as received,
//! which never changes, the [`Progress`] of its attempts, and [`Facts`], which
//! are noted as they happen. Facts are emitted and not decided upon: an access
//! line and metrics, exactly once, when the last holder of the exchange lets go
//! of it, however it ended.
//!
//! The innermost layer turns a call into an [`Outgoing`], the only conversion
//! of a request on its way: its head is written once, into the bytes that
//! leave.
//!
//! One thread works on a request from its first byte to its last. The locks and
//! atomics here are never contended; they exist because a task's future has to
//! be `Send`.

mod deadline;
mod emitted;
mod exchange;
mod facts;
pub mod forwarded;
pub mod grpc;
mod holds;
mod max_forwards;
pub mod query;
mod target;

use std::{sync::Arc, time::Duration};

use http::HeaderName;
use tokio::time::Instant;

pub use self::{
    deadline::{Deadline, Uploading},
    exchange::{
        Chain, Client, Exchange, Flag, Head, Progress, REQUEST_ID_HEADER, RequestBodyObserver,
        RequestId, RouteTag, Tried,
    },
    facts::{Facts, LimitFacts, Nearest},
    grpc::Grpc,
    holds::Holds,
    max_forwards::{MAX_FORWARDS_HEADER, max_forwards},
    target::{Target, UNREADABLE, host_field, host_name, host_of},
};
use crate::body::Body;

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
    pub new_connection: bool,
    /// When the attempt begins, as of the last look at the clock.
    pub now: Instant,
    /// When the attempt is given up because the server is slow; `None` if the
    /// server would not be to blame.
    pub attempt_deadline: Option<Instant>,
    /// How long the permits of the request are held, at most, for a server that
    /// works on after the client has left; `None` without a permit.
    pub abandoned_timeout: Option<Duration>,
}

impl Call {
    /// The first attempt at a request, which begins `now`, before any layer has
    /// seen it.
    pub fn new(exchange: Arc<Exchange>, body: Body, now: Instant) -> Self {
        Self {
            exchange,
            body,
            deadline: None,
            uploading: None,
            new_connection: false,
            now,
            attempt_deadline: None,
            abandoned_timeout: None,
        }
    }
}

/// An attempt as it is written to a server: the input to
/// [`SendTo`](crate::upstream::SendTo).
#[derive(Debug)]
pub struct Outgoing {
    /// The request as received, and the notes on it.
    pub exchange: Arc<Exchange>,
    /// Request line and header fields, without the framing and the empty line.
    pub head: Vec<u8>,
    /// Whether `head` has a `Host`. Otherwise the server's own name is added.
    pub has_host: bool,
    /// Whether an empty body is announced with a length of 0.
    pub names_length: bool,
    /// The request body.
    pub body: Body,
    /// Trailers that may follow the body: those that are announced and that
    /// neither the gateway nor the route decides.
    pub trailers: Box<[HeaderName]>,
    /// Whether servers that speak HTTP/1 get them, too.
    pub trailers_to_http1: bool,
    /// Whether the attempt opens a new connection.
    pub new_connection: bool,
    /// When the attempt begins, as of the last look at the clock.
    pub now: Instant,
    /// When the attempt is given up because the server is slow; `None` if the
    /// server would not be to blame.
    pub attempt_deadline: Option<Instant>,
    /// How long permits are held, at most, for a server that works on after the
    /// client has left; `None` without a permit.
    pub abandoned_timeout: Option<Duration>,
    /// The hash of the request's key, if servers are chosen by one.
    pub key: Option<u64>,
}
