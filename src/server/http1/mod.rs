//! One HTTP/1 connection: requests in, one after the other, and their responses
//! out in the same order.
//!
//! A connection is one task, and the task is this state machine:
//!
//! ```text
//!            ┌──────────────────────────────────────────────┐
//!            v                                              │ keep-alive, and the request's body is read
//! wait for a head ──> gateway works ──> write the response ─┤
//!  │     │       │                                          ├──> linger: the client reads its response
//!  │     │       └─ preface of HTTP/2: served by `http2`    └──> tunnel: bytes both ways, until both ended
//!  │     └─ not a request: refused, then linger
//!  └─ idle for too long, or the listener drains: closed
//! ```
//!
//! [`head`] reads the head, [`response`] writes the response, [`close`] deals
//! with bytes that nobody will read, and [`tunnel`] takes over once protocols
//! are switched. All of them work on one [`wire`]: the socket with its buffers.
//!
//! While the gateway works on a request, the task also watches the client's
//! socket. A client that leaves ends its request at once: the future that works
//! on it is dropped.
//!
//! # Pipelining
//!
//! Bytes behind a request stay in the wire's input until its response is
//! written, so that a client may pipeline (RFC 9112, 9.3.2), at most 64 KiB
//! ahead. Requests are nevertheless served one after the other.
//!
//! # Deadlines
//!
//! One timer serves all of them, as only one applies at a time: `timeouts.headers`
//! from a head's first byte to its last, `keep_alive` between two requests, the
//! pace of a body while the response is written, and those of `close` and
//! [`linger`](super::linger) at the end.

mod body;
mod close;
mod head;
mod response;
mod tunnel;
mod wire;

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use http::{Method, Version};
use tokio::time::Instant;

use self::{
    close::{BodyRest, discard_rest, linger},
    head::{HeadProgress, HeadRead, HeadTimes},
    response::{RequestTraits, Transfer},
    wire::{SharedWire, Wire},
};
use super::{
    Socket,
    connection::{ConnectionContext, RequestService},
    http2,
};
use crate::{
    body::{Body, Pace},
    error::Error,
    http1::ParsedRequest,
    message::{Arrival, Hangup, Interim, Request, Response},
    runtime::timer::PooledTimer,
};

/// Serves one connection to its end. `ahead` holds the bytes that were already
/// read from it.
///
/// When the listener drains, the connection ends after the request in flight,
/// if there is one.
///
/// Not `async` itself: an `async fn` has room for its arguments twice, as they
/// were passed and as they are used.
pub(super) fn serve<IO, S>(
    io: IO,
    ahead: BytesMut,
    service: S,
    context: ConnectionContext,
) -> impl Future<Output = ()> + Send
where
    IO: Socket,
    S: RequestService,
{
    let mut connection = Connection {
        wire: SharedWire::new(Wire::new(io, ahead, context.limits().serves_half_closed)),
        service,
        timer: PooledTimer::default(),
        context,
    };
    async move {
        let next = connection.run().await;
        // Boxed: each connection ends once, and until then need not be as large
        // as its end.
        Box::pin(connection.end(next)).await;
    }
}

/// The state of a connection, whichever request it is at.
struct Connection<IO, S> {
    wire: SharedWire<IO>,
    /// Responds to its requests.
    service: S,
    /// The deadline of the present step. Released while the gateway works, so
    /// that the wait for the server has the same timer.
    timer: PooledTimer,
    context: ConnectionContext,
}

/// The next step of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Wait for the next request.
    Request,
    /// Close, but let the client read its response first.
    Linger,
    /// Close between two requests.
    Farewell,
    /// Close at once: a response was cut, or the client is gone.
    Close,
    /// Speak HTTP/2: the client began with its preface.
    Http2,
}

impl<IO, S> Connection<IO, S>
where
    IO: Socket,
    S: RequestService,
{
    /// Serves requests until the connection takes another course.
    async fn run(&mut self) -> Next {
        let mut accepted = Some(Instant::now());
        loop {
            // Taken out of the `match`, which would keep it beside its delivery,
            // and an idle connection has room for all that its task ever holds.
            let begun = match self.respond(accepted.take()).await {
                Ok(begun) => begun,
                Err(next) => return next,
            };
            match self.deliver(begun).await {
                Next::Request => {}
                next => return next,
            }
        }
    }

    /// Waits for a request and for its response, and begins to write that. The
    /// request is cancelled if the client leaves before.
    ///
    /// # Errors
    /// The connection takes this course instead.
    async fn respond(&mut self, accepted: Option<Instant>) -> Result<(Transfer, Body), Next> {
        let (mut response, request) = {
            let mut progress = HeadProgress::new(accepted);
            poll_fn(|cx| self.poll_begin(cx, &mut progress)).await?
        };
        let begun = poll_fn(|cx| self.poll_respond(cx, &mut response, request)).await;
        begun.ok_or(Next::Close)
    }

    /// Waits for a head, and has the service work on the request, or refuse
    /// bytes that are none.
    ///
    /// Not `async`, so that a head is part of no future. The service was seen
    /// ready before the head was taken.
    ///
    /// # Errors
    /// The connection takes this course instead.
    fn poll_begin(
        &mut self,
        cx: &mut Context<'_>,
        progress: &mut HeadProgress,
    ) -> Poll<Result<(S::Future, RequestTraits), Next>> {
        Poll::Ready(match ready!(self.poll_head(cx, progress)) {
            HeadRead::Request(parsed, times) => {
                let request = RequestTraits {
                    is_head: parsed.head.method == Method::HEAD,
                    version: parsed.head.version,
                    keep_alive: parsed.keep_alive,
                };
                let arrival = Arrival::Request(self.request(parsed, times));
                self.timer.release();
                Ok((self.service.call(arrival), request))
            }
            // No more of these bytes is read: nothing behind malformed bytes
            // can be understood.
            HeadRead::Refused(error, started) => {
                let request = RequestTraits {
                    is_head: false,
                    version: Version::HTTP_11,
                    keep_alive: false,
                };
                let arrival = Arrival::Refused {
                    error,
                    started,
                    version: request.version,
                    origin: Arc::clone(&self.context.origin),
                };
                Ok((self.service.call(arrival), request))
            }
            HeadRead::Close => Err(Next::Farewell),
            HeadRead::Http2 => Err(Next::Http2),
        })
    }

    /// Ends the connection, or serves it in the protocol that it turns to.
    async fn end(self, next: Next) {
        // In the pool, the timers of connections that end would pile up.
        let timer = self.timer.into_timer();
        match next {
            Next::Request | Next::Close => {}
            Next::Farewell => self.wire.lock().say_goodbye(),
            Next::Linger => {
                linger(&self.wire, timer, &self.context.handle).await;
            }
            Next::Http2 => {
                drop(timer);
                // No request was read yet, so nobody else holds the wire. Boxed:
                // most connections are not one of HTTP/2.
                if let Some((io, ahead)) = self.wire.into_parts() {
                    Box::pin(http2::serve(io, ahead, self.service, self.context)).await;
                }
            }
        }
    }

    /// Waits for a head, for as long as the listener's limits allow, and tells
    /// the listener while the connection is idle.
    ///
    /// The service is asked for its readiness first, as a head that was taken
    /// has to be passed on. Services are ready at once: their layers refuse in
    /// `call`.
    fn poll_head(&mut self, cx: &mut Context<'_>, progress: &mut HeadProgress) -> Poll<HeadRead> {
        let Ok(()) = ready!(self.service.poll_ready(cx));
        let mut wire = self.wire.lock();
        let has_just_responded = progress.has_just_responded();
        loop {
            let read = head::read(&mut wire, self.context.limits(), progress);
            if progress.stops_idling() {
                self.context.handle.set_busy();
            }
            if let Some(read) = read {
                return Poll::Ready(read);
            }
            let bytes = if has_just_responded {
                wire.poll_read_rare(cx)
            } else {
                wire.poll_read_usual(cx)
            };
            match bytes {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(HeadRead::Close),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        if let Some(now) = progress.starts_idling() {
            self.context.handle.set_idle(now);
        }
        let mut due = head::due(progress, self.context.limits());
        if progress.started.is_none() {
            wire.free_idle_buffers();
            if self.context.handle.poll_must_end(cx).is_ready() {
                if self.context.handle.is_evicted() {
                    return Poll::Ready(HeadRead::Close);
                }
                // The client does not know of the drain. A request may be on
                // its way; its response says `close`.
                due = due.min(progress.last_wait(self.context.handle.listener().grace()));
            }
        }
        self.timer.set(due);
        ready!(self.timer.poll(cx));
        Poll::Ready(match progress.started {
            Some(started) => HeadRead::Refused(
                Error::SlowHead {
                    after: self.context.limits().headers_timeout,
                },
                started,
            ),
            None => HeadRead::Close,
        })
    }

    /// The request as the gateway gets it, its body still to be read from the
    /// wire.
    fn request(&self, parsed: ParsedRequest, times: HeadTimes) -> Request {
        let most_trailers = self.context.limits().head.bytes;
        self.wire
            .lock()
            .begin_body(parsed.length, parsed.expects_continue, most_trailers);
        let body = body::on(&self.wire, parsed.length);
        let takes_interim = parsed.head.version == Version::HTTP_11;
        Request {
            head: parsed.head,
            target: parsed.target,
            body,
            started: times.started,
            arrived: times.arrived,
            origin: Arc::clone(&self.context.origin),
            interim: takes_interim.then(|| Interim(self.wire.interim_sink())),
        }
    }

    /// Polls the service for its response, and begins to write it. `None` if
    /// nobody is left to read it.
    fn poll_respond(
        &mut self,
        cx: &mut Context<'_>,
        response: &mut S::Future,
        mut request: RequestTraits,
    ) -> Poll<Option<(Transfer, Body)>> {
        let response = ready!(poll_response(cx, response, &self.wire));
        Poll::Ready(match response {
            Some(response) if response.hangup != Some(Hangup::AtOnce) => {
                request.keep_alive &= response.hangup.is_none() && !self.context.handle.must_end();
                let silence = self.context.limits().keep_alive;
                Some(Transfer::begin(&self.wire, response, request, silence))
            }
            _ => None,
        })
    }

    /// Writes a response that was begun. Its body is dropped once the last byte
    /// is written; permits that it holds are released slightly earlier (see
    /// [`Transfer`]).
    ///
    /// Not `async` itself, as [`serve`] is not.
    fn deliver(&mut self, begun: (Transfer, Body)) -> impl Future<Output = Next> + Send {
        let (mut transfer, mut body) = begun;
        async move {
            if body.is_tunnel() {
                // Boxed: a tunnel's state is large and rare, and other
                // connections need not carry it.
                return Box::pin(self.tunnel(body, transfer.pace)).await;
            }
            let timer = self.timer.timer();
            let written = poll_fn(|cx| transfer.poll(cx, &self.wire, &mut body, timer)).await;
            if let Err(fault) = written {
                body.broke(&fault);
                return Next::Close;
            }
            body.delivered();
            drop(body);
            if !transfer.keep_alive {
                return Next::Linger;
            }
            if self.wire.lock().discard_body() {
                return Next::Request;
            }
            match discard_rest(&self.wire, self.timer.timer()).await {
                BodyRest::Discarded => Next::Request,
                BodyRest::Long => Next::Linger,
                BodyRest::Missing => Next::Close,
            }
        }
    }

    /// Moves bytes both ways after a response that switches protocols.
    async fn tunnel(&mut self, mut body: Body, pace: Pace) -> Next {
        let Some(far_end) = body.take_tunnel() else {
            return Next::Close;
        };
        match tunnel::run(&self.wire, body, far_end, pace, self.timer.timer()).await {
            tunnel::End::ClientEnded => Next::Close,
            tunnel::End::ClientMaySend => Next::Linger,
        }
    }
}

/// Polls the service for its response. `None` if the client leaves first, upon
/// which the caller drops the service's future and so cancels the request.
fn poll_response<IO, F>(
    cx: &mut Context<'_>,
    response: &mut F,
    wire: &SharedWire<IO>,
) -> Poll<Option<Response>>
where
    IO: Socket,
    F: Future<Output = Result<Response, Infallible>> + Unpin,
{
    if let Poll::Ready(Ok(response)) = Pin::new(response).poll(cx) {
        return Poll::Ready(Some(response));
    }
    let mut wire = wire.lock();
    if wire.output.pending() > 0 && matches!(wire.poll_flush(cx), Poll::Ready(Err(_))) {
        return Poll::Ready(None);
    }
    wire.poll_gone(cx).map(|()| None)
}
