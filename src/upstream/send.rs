//! Sending a request to a server of an upstream, once: the innermost service of
//! a route's stack.
//!
//! [`Upstream::send`] is the whole of it, in the order in which it happens:
//! choose a server, check out a connection, send, await the head of the
//! response, judge the server, and hand the body on. Everything that the
//! request holds on the way is a guard in this one future. The layers above
//! decide whether a failure is retried.
//!
//! # Cancellation
//!
//! [`SentRequest`] holds a request while a server works on it. Dropping it
//! before the response is how a request is cancelled: by a client that leaves,
//! or by a timeout. The server then learns that nobody waits, on HTTP/2 by a
//! reset of the stream and on HTTP/1 by the end of the connection.
//!
//! Where a concurrency limit applies, an HTTP/1 connection is not closed at
//! once, because its server may still be at work: the permits of the request
//! are held on by [`Http1Exchange::hold_on`].
//!
//! # Time
//!
//! The server's time begins when the connection is ready, and ends with the
//! head of the response; the metrics and the log get this duration. `Attempt`
//! decides from it and from the outcome how the server is judged.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderName, header};
use tokio::time::Instant;
use tower::Service;

use super::{
    attempt::{Attempt, ResponseOutcome},
    failure::Failure,
    http1::{Http1Exchange, Reuse},
    http2::Http2Exchange,
    server::{Checkout, InFlight, Server},
    service::Upstream,
};
use crate::{
    body::Trailers,
    call::{Call, Exchange, Outgoing},
    error::{Error, Failed, Fault, Seen},
    http1::{self, ResponseHead},
    message::Response,
    runtime::worker,
};

/// Sends each request to one of the servers of an [`Upstream`].
#[derive(Debug, Clone)]
pub struct SendTo(pub Arc<Upstream>);

impl Service<Outgoing> for SendTo {
    type Response = Response;
    type Error = Failed;
    /// The only box on a request's path through the stack.
    type Future = Pin<Box<dyn Future<Output = Result<Response, Failed>> + Send>>;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, outgoing: Outgoing) -> Self::Future {
        Box::pin(Arc::clone(&self.0).send(outgoing))
    }
}

impl Upstream {
    /// Sends a request to one server, once, and judges the server by the
    /// outcome.
    ///
    /// Cancel safe: a dropped future releases the connection and every count
    /// that it holds.
    async fn send(self: Arc<Self>, outgoing: Outgoing) -> Result<Response, Failed> {
        let exchange = Arc::clone(&outgoing.call.exchange);
        let index = self.choose(&outgoing)?;
        let server = &self.balancer.servers[index];
        exchange.try_server(index, &server.fields);
        let in_flight = server.begin();
        let worker = worker::current();
        let reuse = Reuse::unless(outgoing.call.new_connection);
        let mut attempt = Attempt::new(&self, index, &outgoing.call);
        let mut ready_at = outgoing.call.now;
        let checkout = match server.pooled(worker, reuse, ready_at) {
            Some(checkout) => checkout,
            None => {
                // Boxed, as it is rare and large.
                let checkout = Box::pin(self.check_out(server, worker, reuse, &mut attempt)).await;
                ready_at = Instant::now();
                checkout.map_err(|error| self.seek_alternative(&exchange, Failed::unseen(error)))?
            }
        };
        let mut sent = SentRequest::new(checkout, outgoing, server, in_flight)
            .map_err(|failure| failure.into_failed(self.name()))?;
        attempt.sent = Some(&exchange);
        let head = poll_fn(|cx| sent.poll(cx, &mut attempt.is_servers_turn)).await;
        let now = Instant::now();
        let took = now - ready_at;
        self.metrics.responded(took);
        exchange.sent(took);
        let head = match head {
            Ok(head) => head,
            Err(failure) => {
                attempt.failed(failure.of_server(), took, now);
                sent.fail(failure);
                return Err(self.seek_alternative(&exchange, failure.into_failed(self.name())));
            }
        };
        let is_success = attempt.responded(&head, took, now);
        let Some(parts) = sent.parts.take() else {
            return Err(Error::ClientGone.into());
        };
        let outcome = ResponseOutcome {
            upstream: self,
            index,
            call: parts.call,
            is_success,
            in_flight: parts.in_flight,
        };
        Ok(match parts.exchange {
            UpstreamExchange::Http1(exchange) => exchange.into_response(head, outcome, now),
            UpstreamExchange::Http2(exchange) => exchange.into_response(head, outcome),
        })
    }

    /// Chooses the server for a request, by its index.
    ///
    /// The servers of earlier attempts are avoided if others are healthy.
    ///
    /// # Errors
    /// [`Error::NoHealthyServer`] if the checks of all servers fail.
    fn choose(&self, outgoing: &Outgoing) -> Result<usize, Failed> {
        let Call { exchange, now, .. } = &outgoing.call;
        let chosen = self.balancer.choose(exchange.tried(), outgoing.key, *now);
        chosen.ok_or_else(|| {
            exchange.no_server(self.name());
            Failed::unseen(Error::NoHealthyServer {
                upstream: Arc::clone(self.name()),
            })
        })
    }

    /// Notes in a failure, if no server has seen the request, whether another
    /// healthy server is left to try.
    ///
    /// With an alternative the request may be sent at once, without a back-off,
    /// as the failure says nothing about the other server.
    fn seek_alternative(&self, call: &Exchange, mut failed: Failed) -> Failed {
        if failed.seen == Seen::No {
            failed.has_alternative = self.balancer.has_other(call.tried(), Instant::now());
        }
        failed
    }
}

/// A request that a server is sent, before its response. Dropped then, it is
/// cancelled.
///
/// Holds everything that belongs to the request at the server. After the head
/// of the response, the body takes it over.
struct SentRequest {
    /// `None` once nothing is awaited any more.
    parts: Option<SentParts>,
    /// The longest time for which permits are held after the client has left;
    /// `None` without a concurrency limit.
    hold_on: Option<Duration>,
}

/// The parts of a request while a server works on it.
struct SentParts {
    exchange: UpstreamExchange,
    call: Arc<Exchange>,
    in_flight: InFlight,
}

impl SentRequest {
    /// Begins to send `outgoing` on the connection that was checked out of
    /// `server`.
    ///
    /// # Errors
    /// The request cannot be expressed in the protocol, or exceeds a limit that
    /// the server announced.
    fn new(
        checkout: Checkout,
        mut outgoing: Outgoing,
        server: &Server,
        in_flight: InFlight,
    ) -> Result<Self, Failure> {
        if !outgoing.call.body.is_whole() {
            limit_trailers(&mut outgoing, matches!(checkout, Checkout::Http1(_)));
        }
        let exchange = match checkout {
            Checkout::Http1(lease) => {
                let exchange = Http1Exchange::new(lease, &mut outgoing, &server.authority);
                UpstreamExchange::Http1(exchange)
            }
            Checkout::Http2(stream) => {
                let exchange = Http2Exchange::new(stream, &mut outgoing, server)?;
                UpstreamExchange::Http2(Box::new(exchange))
            }
        };
        let call = outgoing.call.exchange;
        if let Some(interim) = &call.interim {
            interim.0.sent_up();
        }
        call.is_sent.set();
        Ok(Self {
            parts: Some(SentParts {
                exchange,
                call,
                in_flight,
            }),
            hold_on: outgoing.call.abandoned_timeout,
        })
    }

    /// Sends the request and awaits the head of the response. Before it is
    /// ready, notes at each poll in `is_servers_turn` whether the exchange waits
    /// for the server, and not for the client or the gateway.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        is_servers_turn: &mut bool,
    ) -> Poll<Result<ResponseHead, Failure>> {
        let Some(SentParts { exchange, call, .. }) = &mut self.parts else {
            return Poll::Pending;
        };
        match exchange {
            UpstreamExchange::Http1(exchange) => {
                let head = exchange.poll(cx, call);
                *is_servers_turn = exchange.waits_for_server();
                head
            }
            UpstreamExchange::Http2(exchange) => {
                let head = exchange.poll(cx, call);
                *is_servers_turn = exchange.waits_for_server();
                head
            }
        }
    }

    /// Ends the exchange because of `failure`. If the client left while it sent
    /// its body, the server may still work on the part that it has, which is
    /// treated as a cancelled request.
    ///
    /// In that case the parts stay, and dropping the request holds its permits
    /// on.
    fn fail(&mut self, failure: Failure) {
        if failure != Failure::Client(Fault::ClientGone) {
            self.parts = None;
        }
    }
}

impl Drop for SentRequest {
    fn drop(&mut self) {
        // Usually the response has begun and taken the parts.
        if let Some(longest) = self.hold_on
            && let Some(parts) = self.parts.take()
            && let UpstreamExchange::Http1(exchange) = parts.exchange
        {
            exchange.hold_on(parts.call, parts.in_flight, longest);
        }
    }
}

/// A request on its way to a server in either protocol, and the wait for the
/// head of the response.
enum UpstreamExchange {
    Http1(Http1Exchange),
    /// Boxed, so that an exchange of HTTP/1 need not be as large.
    Http2(Box<Http2Exchange>),
}

/// Announces the trailers that may pass, and has the body drop all others.
///
/// Servers of HTTP/1 get none unless the route allows it: some merge trailers
/// into the fields of the head, of this request or even of the next one.
///
/// A body of known length has no trailers on HTTP/1, since only chunks can
/// carry them (RFC 9112, 7.1.2).
fn limit_trailers(outgoing: &mut Outgoing, to_http1: bool) {
    let mut passing = std::mem::take(&mut outgoing.trailers);
    if to_http1 && (!outgoing.trailers_to_http1 || outgoing.call.body.length().is_some()) {
        passing = Box::default();
    }
    if !passing.is_empty() {
        let names: Vec<_> = passing.iter().map(HeaderName::as_str).collect();
        let names = names.join(", ");
        http1::write_field(
            &mut outgoing.head,
            header::TRAILER.as_str(),
            names.as_bytes(),
        );
    }
    outgoing.call.body.set_trailers(Trailers::Only(passing));
}
