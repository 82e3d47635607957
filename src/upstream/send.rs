//! Sending a request to a server of an upstream, once: the innermost service of
//! a route's stack.
//!
//! [`Upstream::send`] and [`SentRequest::poll`] are the whole of it, in the
//! order in which it happens: choose a server, check out a connection, send,
//! await the head of the response, judge the server, and hand the body on.
//! Everything that the request holds on the way is a guard in this one future.
//! The layers above decide whether a failure is retried.
//!
//! An idle connection, which most requests get, is checked out at once. The
//! future is then a small state machine; only the others pay for one that can
//! wait for a connection.
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
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{HeaderName, header};
use tokio::time::Instant;
use tower::Service;

use super::{
    attempt::{Attempt, RespondedAttempt},
    failure::Failure,
    http1::Http1Exchange,
    http2::Http2Exchange,
    present::CurrentUpstream,
    server::{Checkout, InFlight},
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

/// Sends each request to one of the servers that an upstream has at present.
#[derive(Debug, Clone)]
pub struct SendTo(pub Arc<CurrentUpstream>);

impl Service<Outgoing> for SendTo {
    type Response = Response;
    type Error = Failed;
    type Future = Sending;

    #[inline]
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    fn call(&mut self, outgoing: Outgoing) -> Sending {
        Sending(self.0.with(|upstream| upstream.send(outgoing)))
    }
}

/// A request on its way to a server, and the wait for its response.
///
/// Cancel safe: dropped, it releases the connection and every count that it
/// holds.
pub struct Sending(SendState);

/// The state of a request on its way to a server. Its parts are boxed, as this
/// is moved through all layers.
enum SendState {
    /// Nothing could be sent, or the request has failed.
    Over(Option<Failed>),
    /// Waits for a connection. This future is six times as large as the exchange
    /// itself, and is freed once there is a connection.
    CheckingOut(Pin<Box<dyn Future<Output = Result<Box<SentRequest>, Failed>> + Send>>),
    /// Waits for the response.
    Sent(Box<SentRequest>),
}

impl Future for Sending {
    type Output = Result<Response, Failed>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut self.0 {
                SendState::Sent(sent) => {
                    let outcome = ready!(sent.poll(cx));
                    // A request that failed is dropped before the layers further
                    // out give back what they hold, as it notes for them whether
                    // a server works on.
                    if outcome.is_err() {
                        self.0 = SendState::Over(None);
                    }
                    return Poll::Ready(outcome);
                }
                SendState::CheckingOut(sent) => match ready!(sent.as_mut().poll(cx)) {
                    Ok(sent) => self.0 = SendState::Sent(sent),
                    Err(failed) => return Poll::Ready(Err(failed)),
                },
                SendState::Over(failed) => match failed.take() {
                    Some(failed) => return Poll::Ready(Err(failed)),
                    None => return Poll::Pending,
                },
            }
        }
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            SendState::Over(_) => "Over",
            SendState::CheckingOut(_) => "CheckingOut",
            SendState::Sent(_) => "Sent",
        })
    }
}

impl Upstream {
    /// Sends a request to one server, once, or begins to wait for a connection
    /// to it.
    fn send(self: &Arc<Self>, mut outgoing: Outgoing) -> SendState {
        let index = match self.choose(&outgoing) {
            Ok(index) => index,
            Err(failed) => return SendState::Over(Some(failed)),
        };
        let server = &self.balancer.servers[index];
        outgoing.call.exchange.try_server(index, &server.fields);
        let in_flight = server.begin();
        let attempt = Attempt::new(self, index, &outgoing.call);
        let worker = worker::current();
        let reuse = server.reuse(&outgoing.call.exchange, outgoing.call.new_connection);
        let now = outgoing.call.now;
        match server.pooled(worker, reuse, now) {
            Some(checkout) => {
                match SentRequest::new(checkout, &mut outgoing, attempt, in_flight, now) {
                    Ok(sent) => SendState::Sent(sent),
                    Err(failed) => SendState::Over(Some(failed)),
                }
            }
            None => {
                SendState::CheckingOut(Box::pin(send_later(outgoing, attempt, in_flight, worker)))
            }
        }
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

/// Waits for a connection, then begins to send the request.
async fn send_later(
    mut outgoing: Outgoing,
    mut attempt: Attempt,
    in_flight: InFlight,
    worker: usize,
) -> Result<Box<SentRequest>, Failed> {
    let upstream = Arc::clone(&attempt.upstream);
    let server = &upstream.balancer.servers[attempt.index];
    let reuse = server.reuse(&outgoing.call.exchange, outgoing.call.new_connection);
    let checkout = upstream
        .check_out(server, worker, reuse, &mut attempt)
        .await;
    let ready_at = Instant::now();
    let checkout = checkout
        .map_err(|error| upstream.seek_alternative(&attempt.call, Failed::unseen(error)))?;
    SentRequest::new(checkout, &mut outgoing, attempt, in_flight, ready_at)
}

/// A request that a server is sent, before its response. Dropped then, it is
/// cancelled.
///
/// Holds everything that belongs to the request at the server. After the head
/// of the response, the body takes it over.
struct SentRequest {
    /// Judges the server.
    attempt: Attempt,
    /// `None` once nothing is awaited any more.
    parts: Option<SentParts>,
    /// The longest time for which permits are held after the client has left;
    /// `None` without a concurrency limit.
    hold_on: Option<Duration>,
    /// When the connection was ready, from which on the server's time counts.
    ready_at: Instant,
}

/// The parts of a request while a server works on it.
struct SentParts {
    exchange: UpstreamExchange,
    in_flight: InFlight,
}

impl SentRequest {
    /// Begins to send `outgoing`, whose head and body are taken, on the
    /// connection that was checked out of the server of `attempt`.
    ///
    /// # Errors
    /// The request cannot be expressed in the protocol, or exceeds a limit that
    /// the server announced.
    fn new(
        checkout: Checkout,
        outgoing: &mut Outgoing,
        mut attempt: Attempt,
        in_flight: InFlight,
        ready_at: Instant,
    ) -> Result<Box<Self>, Failed> {
        if !outgoing.call.body.is_whole() {
            limit_trailers(outgoing, matches!(checkout, Checkout::Http1(_)));
        }
        let server = attempt.server();
        let exchange = match checkout {
            Checkout::Http1(lease) => {
                let exchange = Http1Exchange::new(lease, outgoing, &server.authority);
                UpstreamExchange::Http1(exchange)
            }
            Checkout::Http2(stream) => {
                let exchange = Http2Exchange::new(stream, outgoing, server)
                    .map_err(|failure| failure.into_failed(attempt.upstream.name()))?;
                UpstreamExchange::Http2(Box::new(exchange))
            }
        };
        if let Some(interim) = &attempt.call.interim {
            interim.0.sent_up();
        }
        attempt.call.is_sent.set();
        attempt.is_sent = true;
        Ok(Box::new(Self {
            attempt,
            parts: Some(SentParts {
                exchange,
                in_flight,
            }),
            hold_on: outgoing.call.abandoned_timeout,
            ready_at,
        }))
    }

    /// Sends the request, awaits the head of the response, and judges the
    /// server. While it is pending, the attempt knows whether it waits for the
    /// server, and not for the client or the gateway.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response, Failed>> {
        let Self { attempt, parts, .. } = self;
        let Some(SentParts { exchange, .. }) = parts else {
            return Poll::Pending;
        };
        let head = match exchange {
            UpstreamExchange::Http1(exchange) => {
                let head = exchange.poll(cx, &attempt.call);
                attempt.is_servers_turn = exchange.waits_for_server();
                head
            }
            UpstreamExchange::Http2(exchange) => {
                let head = exchange.poll(cx, &attempt.call);
                attempt.is_servers_turn = exchange.waits_for_server();
                head
            }
        };
        let head = ready!(head);
        let now = Instant::now();
        let took = now - self.ready_at;
        attempt.upstream.metrics.responded(took);
        attempt.call.sent(took);
        Poll::Ready(match head {
            Ok(head) => self.responded(head, took, now),
            Err(failure) => Err(self.fail(failure, took, now)),
        })
    }

    /// The response whose `head` arrived at `now`.
    fn responded(
        &mut self,
        head: ResponseHead,
        took: Duration,
        now: Instant,
    ) -> Result<Response, Failed> {
        let is_success = self.attempt.responded(&head, took, now);
        let Some(parts) = self.parts.take() else {
            return Err(Error::ClientGone.into());
        };
        let responded = RespondedAttempt {
            attempt: &self.attempt,
            is_success,
            in_flight: parts.in_flight,
        };
        Ok(match parts.exchange {
            UpstreamExchange::Http1(exchange) => exchange.into_response(head, responded, now),
            UpstreamExchange::Http2(exchange) => {
                exchange.into_response(head, responded.into_outcome())
            }
        })
    }

    /// Ends the exchange because of `failure`. If the client left while it sent
    /// its body, the server may still work on the part that it has, which is
    /// treated as a cancelled request.
    ///
    /// In that case the parts stay, and dropping the request holds its permits
    /// on.
    fn fail(&mut self, failure: Failure, took: Duration, now: Instant) -> Failed {
        self.attempt.failed(failure.of_server(), took, now);
        if failure != Failure::Client(Fault::ClientGone) {
            self.parts = None;
        }
        let Attempt { upstream, call, .. } = &self.attempt;
        upstream.seek_alternative(call, failure.into_failed(upstream.name()))
    }
}

impl Drop for SentRequest {
    fn drop(&mut self) {
        // Usually the response has begun and taken the parts.
        if let Some(longest) = self.hold_on
            && let Some(parts) = self.parts.take()
            && let UpstreamExchange::Http1(exchange) = parts.exchange
        {
            exchange.hold_on(Arc::clone(&self.attempt.call), parts.in_flight, longest);
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
