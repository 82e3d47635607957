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
//! The head of a request is parsed once, and the exchange keeps it as it was
//! parsed ([`RequestHead`](crate::message::RequestHead)). The innermost layer
//! turns a call into an [`Outgoing`], the only conversion of a request on its
//! way: its head is written once, into the bytes that leave.
//!
//! One thread works on a request from its first byte to its last. The locks and
//! atomics here are never contended; they exist because a task's future has to
//! be `Send`.

mod attempt_span;
mod choices;
mod cookies;
mod emitted;
mod exchange;
mod facts;
pub mod forwarded;
pub mod grpc;
mod limit_text;
mod progress;
pub mod query;
mod spans;
mod target;
mod trace;

use std::{sync::Arc, time::Duration};

use http::HeaderName;
use tokio::time::Instant;

pub use self::{
    attempt_span::AttemptSpan,
    choices::LineChoices,
    cookies::{cookies, unquoted},
    exchange::{
        Chain, Client, Exchange, REQUEST_ID_HEADER, RequestBodyObserver, RequestId, RouteLines,
        RouteTag, TracedRoute,
    },
    facts::{ChosenFacts, Facts, LimitFacts, Nearest},
    grpc::Grpc,
    limit_text::{LimitText, ProblemText},
    progress::{Flag, Holds, Progress, Tried},
    target::{Target, UNREADABLE, host_field, host_name, host_of},
    trace::{TRACE_PARENT_HEADER, Trace},
};
use crate::{
    body::{Body, Flow},
    error::Error,
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

/// The end of the time that a route gives a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    /// When it is.
    pub at: Instant,
    /// The configured length, for the error.
    pub total: Duration,
}

impl Deadline {
    /// The deadline so long after the request's begin.
    pub fn after(started: Instant, total: Duration) -> Self {
        let at = started + total;
        Self { at, total }
    }

    /// The error of a request that has passed its deadline.
    pub fn error(&self) -> Error {
        Error::TotalTimeout { after: self.total }
    }
}

/// The deadlines of a request whose body comes in pieces. Services respond
/// to an upload once they have it: the time that a route gives them stands still
/// while the body flows, whose pace has bounds of its own.
#[derive(Debug)]
pub struct Uploading {
    /// When the body flows.
    pub flow: Arc<Flow>,
    /// The time that the route gives, as if the body took none.
    pub of_route: Deadline,
    /// The time that the client itself gives (`grpc-timeout`): it does not
    /// stand still.
    pub of_client: Option<Deadline>,
}

impl Uploading {
    /// The deadline that comes first, as of now; `None` while only the pace of
    /// the body bounds it.
    pub fn deadline(&self) -> Option<Deadline> {
        let Deadline { at, total } = self.of_route;
        let of_route = self.flow.passed().map(|flowed| Deadline {
            at: at + flowed,
            total,
        });
        of_route
            .into_iter()
            .chain(self.of_client)
            .min_by_key(|deadline| deadline.at)
    }
}

/// An attempt as it is written to a server: the input to
/// [`SendTo`](crate::upstream::SendTo).
#[derive(Debug)]
pub struct Outgoing {
    /// The attempt. Its body is still to be sent.
    pub call: Call,
    /// Request line and header fields, without the framing and the empty line.
    pub head: Vec<u8>,
    /// Whether `head` has a `Host`. Otherwise the server's own name is added.
    pub has_host: bool,
    /// Whether an empty body is announced with a length of 0.
    pub names_length: bool,
    /// Trailers that may follow the body: those that are announced and that
    /// neither the gateway nor the route decides.
    pub trailers: Box<[HeaderName]>,
    /// Whether servers that speak HTTP/1 get them, too.
    pub trailers_to_http1: bool,
    /// The hash of the request's key, if servers are chosen by one.
    pub key: Option<u64>,
}
