//! One exchange with a server, in either protocol, until the head of the
//! response.
//!
//! [`SentRequest`] holds everything that a request needs while a server works
//! on it. Dropping it before the response is how a request is cancelled: by a
//! client that leaves, or by a timeout. The server then learns that nobody
//! waits, on HTTP/2 by a reset of the stream and on HTTP/1 by the end of the
//! connection.
//!
//! Where a concurrency limit applies, an HTTP/1 connection is not closed at
//! once. Most servers do not notice a closed connection before they write to
//! it, and finish what they have begun; their permits must not be given to
//! other requests meanwhile, or clients that come and go would put any amount
//! of work on a server. So only the sending side is closed, and a task holds
//! the permits until the server closes its side or responds, at most for
//! `timeouts.attempt`.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderName, Method, header};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

use super::{
    attempt::ResponseOutcome,
    checkout::Checkout,
    failure::Failure,
    http1::Http1Exchange,
    http2::Http2Exchange,
    server::{InFlight, Server},
};
use crate::{
    body::Trailers,
    call::{self, Holds, Outgoing},
    error::Fault,
    http1::{self, ResponseHead},
    message::Response,
};

/// A request on its way to a server, and the wait for the head of the response,
/// in either protocol.
pub(super) enum UpstreamExchange {
    Http1(Http1Exchange),
    /// Boxed, so that an exchange of HTTP/1 need not be as large.
    Http2(Box<Http2Exchange>),
}

impl UpstreamExchange {
    /// Begins to send `outgoing`, whose head, body and trailers are taken.
    ///
    /// # Errors
    /// The request cannot be expressed in the protocol, or exceeds a limit that
    /// the server announced.
    fn new(checkout: Checkout, outgoing: &mut Outgoing, server: &Server) -> Result<Self, Failure> {
        if !outgoing.body.is_whole() {
            limit_trailers(outgoing, matches!(checkout, Checkout::Http1(_)));
        }
        match checkout {
            Checkout::Http1(lease) => {
                let exchange = Http1Exchange::new(lease, outgoing, &server.authority);
                Ok(Self::Http1(exchange))
            }
            Checkout::Http2(stream) => {
                let exchange = Http2Exchange::new(stream, outgoing, server)?;
                Ok(Self::Http2(Box::new(exchange)))
            }
        }
    }

    /// Sends the request and awaits the head of its response. `request` is the
    /// head that was sent.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        request: &call::Head,
    ) -> Poll<Result<ResponseHead, Failure>> {
        match self {
            Self::Http1(exchange) => exchange.poll(cx, request),
            Self::Http2(exchange) => exchange.poll(cx, request),
        }
    }

    /// Whether the exchange waits for the server, and not for the client or the
    /// gateway.
    fn waits_for_server(&self) -> bool {
        match self {
            Self::Http1(exchange) => exchange.waits_for_server(),
            Self::Http2(exchange) => exchange.waits_for_server(),
        }
    }

    /// The response whose `head` arrived at `now`.
    pub(super) fn into_response(
        self,
        head: ResponseHead,
        outcome: ResponseOutcome,
        now: Instant,
    ) -> Response {
        match self {
            Self::Http1(exchange) => exchange.into_response(head, outcome, now),
            Self::Http2(exchange) => exchange.into_response(head, outcome),
        }
    }
}

/// Announces the trailers that may pass, and has the body drop all others.
///
/// Servers of HTTP/1 get none unless the route allows it: some merge trailers
/// into the fields of the head, of this request or even of the next one.
fn limit_trailers(outgoing: &mut Outgoing, to_http1: bool) {
    let mut passing = std::mem::take(&mut outgoing.trailers);
    if to_http1 && (!outgoing.trailers_to_http1 || outgoing.body.length().is_some()) {
        passing = Box::default();
    }
    if !passing.is_empty() {
        let names: Vec<_> = passing.iter().map(HeaderName::as_str).collect();
        http1::write_field(
            &mut outgoing.head,
            header::TRAILER.as_str(),
            names.join(", ").as_bytes(),
        );
    }
    outgoing.body.set_trailers(Trailers::Only(passing));
}

/// A request that a server is sent, before its response. Dropped then, it is
/// cancelled.
pub(super) struct SentRequest {
    /// `None` once nothing is awaited any more.
    parts: Option<SentParts>,
    /// The longest time for which permits are held after the client has left;
    /// `None` without a concurrency limit.
    abandoned_timeout: Option<Duration>,
}

/// The parts of a request while a server works on it.
pub(super) struct SentParts {
    /// The request on the connection.
    pub(super) exchange: UpstreamExchange,
    /// The exchange with the client.
    pub(super) call: Arc<call::Exchange>,
    /// Counts the request for the server.
    pub(super) in_flight: InFlight,
}

impl SentRequest {
    /// Begins to send `outgoing` on the connection that was checked out of
    /// `server`.
    ///
    /// # Errors
    /// The request cannot be expressed in the protocol, or exceeds a limit that
    /// the server announced.
    pub(super) fn new(
        checkout: Checkout,
        mut outgoing: Outgoing,
        server: &Server,
        in_flight: InFlight,
    ) -> Result<Self, Failure> {
        let exchange = UpstreamExchange::new(checkout, &mut outgoing, server)?;
        if let Some(interim) = &outgoing.exchange.request.interim {
            interim.0.sent_up();
        }
        outgoing.exchange.is_sent.set();
        Ok(Self {
            parts: Some(SentParts {
                exchange,
                call: outgoing.exchange,
                in_flight,
            }),
            abandoned_timeout: outgoing.abandoned_timeout,
        })
    }

    /// Awaits the head of the response. Before it is ready, notes at each poll
    /// in `is_servers_turn` whether the exchange waits for the server.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        is_servers_turn: &mut bool,
    ) -> Poll<Result<ResponseHead, Failure>> {
        let Some(SentParts { exchange, call, .. }) = &mut self.parts else {
            return Poll::Pending;
        };
        let head = exchange.poll(cx, &call.request);
        *is_servers_turn = exchange.waits_for_server();
        head
    }

    /// Ends the exchange because of `failure`. If the client left while it sent
    /// its body, the server may still work on the part that it has, which is
    /// treated as a cancelled request.
    pub(super) fn fail(&mut self, failure: Failure) {
        if failure != Failure::Client(Fault::ClientGone) {
            self.parts = None;
        }
    }

    /// The parts, once the head of the response is here.
    pub(super) fn into_parts(mut self) -> Option<SentParts> {
        self.parts.take()
    }
}

impl Drop for SentRequest {
    fn drop(&mut self) {
        // Usually the response has begun and taken the parts.
        if self.parts.is_none() {
            return;
        }
        if let (Some(longest), Some(parts)) = (self.abandoned_timeout, self.parts.take()) {
            linger_on(parts, longest);
        }
    }
}

/// Has a task hold the permits of a cancelled request for as long as its HTTP/1
/// server works on, at most for `longest`.
fn linger_on(parts: SentParts, longest: Duration) {
    let SentParts {
        exchange,
        call,
        in_flight,
    } = parts;
    let UpstreamExchange::Http1(mut exchange) = exchange else {
        return;
    };
    // Without a runtime the process is about to end.
    let (true, Ok(runtime)) = (exchange.has_written(), Handle::try_current()) else {
        return;
    };
    exchange.abandon();
    let holds = Arc::new(Holds::default());
    call.abandon(&holds);
    let method = call.request.method.clone();
    // Owned by the worker's runtime: a drain waits for clients and not for this
    // task, and the runtime's end ends it.
    runtime.spawn(async move {
        await_server(exchange, &method, &holds, longest).await;
        drop((holds, in_flight));
    });
}

/// Waits until the server has ended what it does, if any permit is held for it,
/// and closes the connection.
async fn await_server(
    mut exchange: Http1Exchange,
    method: &Method,
    holds: &Holds,
    longest: Duration,
) {
    if !holds.is_empty() {
        // After `longest` a request whose client waits would have been given up
        // as well.
        let _ = timeout(longest, poll_fn(|cx| exchange.poll_abandoned(cx, method))).await;
    }
}
