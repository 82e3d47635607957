//! One HTTP/1 connection: requests in, one after the other, and their answers out in the same order.
//!
//! A whole exchange runs in this one task: while the gateway works on a request, the task also watches the client's
//! socket, so that a client that leaves ends its request at once by dropping it.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::BytesMut;
use http::{StatusCode, Version};
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFuture;
use tower::Service;

use super::{
    Arrival, ConnectionLimits, Socket,
    answer::{self, Asked, Framing},
    arrival::Terms,
    head::{self, Next, Progress},
    http2,
    idle::Seat,
    linger::Linger,
    transfer::Transfer,
    tunnel,
    wire::{Received, Shared, Wire},
};
use crate::{
    body::{Body, Pace},
    error::Error,
    http1::{self, Length, RequestHead},
    message::{Hangup, Interim, Origin, Request, Response},
    runtime::timer::Timer,
};

/// Rest of a request body that is read and thrown away so that the connection can go on.
const SHORT_REST: u64 = 64 * 1024;
/// How long that may take.
const FINISH: Duration = Duration::from_secs(2);

/// Serves one connection to its end; `ahead` was read of it already. Once it is told to end
/// it does so with the request in flight, if there is one.
pub(super) async fn serve<IO, S>(io: IO, ahead: BytesMut, terms: Terms<S>)
where
    IO: Socket,
    S: Service<Arrival, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
{
    let Terms {
        service,
        limits,
        origin,
        seat,
    } = terms;
    let wire = Shared(Arc::new(parking_lot::Mutex::new(Wire::new(io, ahead))));
    let mut connection = Connection {
        wire,
        service,
        limits,
        origin,
        timer: Timer::default(),
        seat: &seat,
    };
    match connection.run().await {
        After::Linger => connection.linger().await,
        After::Http2 => {
            let Connection {
                wire,
                service,
                limits,
                origin,
                ..
            } = connection;
            // Nothing was asked yet: nobody else holds the bytes.
            let Some((io, ahead)) = wire.into_parts() else {
                return;
            };
            // Boxed: most connections need not be as large as this.
            Box::pin(http2::serve(
                io,
                ahead,
                Terms {
                    service,
                    limits,
                    origin,
                    seat,
                },
            ))
            .await;
        }
        After::Leave => connection.wire.0.lock().say_goodbye(),
        After::Next | After::Close => {}
    }
}

struct Connection<'a, IO, S> {
    wire: Shared<IO>,
    service: S,
    limits: ConnectionLimits,
    origin: Arc<Origin>,
    timer: Timer,
    seat: &'a Seat,
}

/// What follows an exchange.
#[derive(PartialEq, Eq)]
pub(super) enum After {
    Next,
    /// Close, but let the client read its answer first.
    Linger,
    /// Close between two requests.
    Leave,
    /// Close at once: an answer was cut.
    Close,
    /// The client speaks HTTP/2 from the beginning.
    Http2,
}

impl<IO, S> Connection<'_, IO, S>
where
    IO: Socket,
    S: Service<Arrival, Response = Response, Error = Infallible>,
{
    async fn run(&mut self) -> After {
        let mut drained = pin!(self.seat.drain.cancelled());
        let mut accepted = Some(Instant::now());
        loop {
            let mut progress = Progress::new(accepted.take());
            let after =
                match poll_fn(|cx| self.poll_head(cx, &mut progress, drained.as_mut())).await {
                    Next::Close => After::Leave,
                    Next::Http2 => After::Http2,
                    Next::Refused(error, started) => self.refuse(error, started).await,
                    Next::Head(head, started) => self.exchange(head, started).await,
                };
            if after != After::Next {
                return after;
            }
        }
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        progress: &mut Progress,
        drained: Pin<&mut WaitForCancellationFuture<'_>>,
    ) -> Poll<Next> {
        let mut wire = self.wire.0.lock();
        loop {
            let next = head::read(&mut wire, &self.limits, progress);
            if progress.goes_on() {
                self.seat.rise();
            }
            if let Some(next) = next {
                return Poll::Ready(next);
            }
            match wire.poll_read(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::Close),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        if let Some(now) = progress.begins_to_idle() {
            self.seat.rest(now);
        }
        let mut due = head::due(progress, &self.limits);
        if progress.started.is_none() {
            wire.rest();
            if drained.poll(cx).is_ready() {
                if self.seat.is_chosen() {
                    return Poll::Ready(Next::Close);
                }
                // Its client does not know: a request may be on its way, and is answered with a word of the end.
                due = due.min(progress.last_wait(self.seat.door().grace()));
            }
        }
        self.timer.set(due);
        ready!(self.timer.poll(cx));
        Poll::Ready(match progress.started {
            Some(started) => Next::Refused(
                Error::SlowHead {
                    after: self.limits.headers_timeout,
                },
                started,
            ),
            None => Next::Close,
        })
    }

    /// Answers something that is not a request.
    async fn refuse(&mut self, error: Error, started: Instant) -> After {
        let Ok(()) = poll_fn(|cx| self.service.poll_ready(cx)).await;
        let (version, origin) = (Version::HTTP_11, Arc::clone(&self.origin));
        let arrival = Arrival::Refused {
            error,
            started,
            version,
            origin,
        };
        let Ok(response) = self.service.call(arrival).await;
        let asked = Asked {
            is_head: false,
            version: Version::HTTP_11,
            keep_alive: false,
        };
        match self.deliver(response, asked).await {
            After::Close => After::Close,
            _ => After::Linger,
        }
    }

    async fn exchange(&mut self, head: RequestHead, started: Instant) -> After {
        let mut asked = Asked {
            is_head: head.method == http::Method::HEAD,
            version: head.version,
            keep_alive: head.keep_alive,
        };
        let Ok(()) = poll_fn(|cx| self.service.poll_ready(cx)).await;
        // Called here and not further down: what is large is moved as little as can be.
        let arrival = Arrival::Request(self.request(head, started));
        let answered = {
            let mut answer = pin!(self.service.call(arrival));
            poll_fn(|cx| poll_answer(cx, answer.as_mut(), &self.wire)).await
        };
        let Some(response) = answered else {
            return After::Close;
        };
        let hangup = response.hangup;
        if hangup == Some(Hangup::AtOnce) {
            return After::Close;
        }
        asked.keep_alive &= hangup.is_none() && !self.seat.drain.is_cancelled();
        self.deliver(response, asked).await
    }

    fn request(&self, head: RequestHead, started: Instant) -> Request {
        self.wire
            .0
            .lock()
            .begin_body(head.length, head.expects_continue, self.limits.head.bytes);
        let body = match head.length {
            Length::Empty => Body::empty(),
            length => Body::stream(Received::new(self.wire.clone(), length)),
        };
        let interim = (head.version == Version::HTTP_11).then(|| Interim(self.wire.0.clone()));
        let upgrade = http1::offered(&head);
        Request {
            method: head.method,
            target: head.target,
            version: head.version,
            headers: head.headers,
            body,
            names_hops: head.names_hops,
            names: head.names,
            started,
            origin: Arc::clone(&self.origin),
            interim,
            upgrade,
        }
    }

    /// Writes the answer. Its body is dropped once the last byte is written; what it held is let go a little earlier.
    async fn deliver(&mut self, mut response: Response, asked: Asked) -> After {
        let (framing, keep_alive) = self.begin_answer(&mut response, asked);
        let mut body = response.body;
        // Answers of the gateway's own have no pace, and a client that never reads them must not stay for ever either.
        let pace = body.pace().unwrap_or(Pace::of(self.limits.keep_alive));
        if let Some(far_end) = body.take_tunnel() {
            // Boxed, as it is rare and large: other connections need not carry its state.
            return Box::pin(tunnel::run(
                &self.wire,
                body,
                far_end,
                pace,
                &mut self.timer,
            ))
            .await;
        }
        let ends_with_connection = framing == Framing::UntilClose;
        if ends_with_connection {
            self.wire.0.lock().close_cuts(true);
        }
        let mut transfer = Transfer::new(framing, body.is_empty(), pace);
        let written = poll_fn(|cx| transfer.poll(cx, &self.wire, &mut body, &mut self.timer)).await;
        if let Err(fault) = written {
            body.broke(&fault);
            return After::Close;
        }
        body.delivered();
        drop(body);
        if ends_with_connection {
            self.wire.0.lock().close_cuts(false);
        }
        if !keep_alive {
            After::Linger
        } else {
            self.finish_request_body().await
        }
    }

    /// Puts the head into the output, and with it a body that is here already. Returns how the body is written and
    /// whether the connection stays open.
    fn begin_answer(&self, response: &mut Response, mut asked: Asked) -> (Framing, bool) {
        let mut wire = self.wire.0.lock();
        // Whether the request's body is read, or nearly so. An answer that streams may go on reading it: nothing is taken
        // away from it, and as nobody knows how far it will come, the answer is told to be the last.
        let is_over = (response.body.is_whole() && wire.discard_body())
            || wire.body_is_done()
            || wire.rest_is_short(SHORT_REST);
        // Who was too slow with a body is told so and that no more is read (RFC 9110, 15.5.9): what still comes of that
        // body must not be waited for, and never be taken for the next request.
        asked.keep_alive &= response.status != StatusCode::REQUEST_TIMEOUT && is_over;
        let out = wire.output.buffer();
        let (framing, keep_alive) = answer::write_head(out, response, &asked);
        if framing == Framing::Counted
            && let Some(bytes) = response.body.take_whole()
        {
            out.extend_from_slice(&bytes);
        }
        (framing, keep_alive)
    }

    /// Reads what is left of the request's body, so that the next request can be found behind it.
    async fn finish_request_body(&mut self) -> After {
        if self.wire.0.lock().discard_body() {
            return After::Next;
        }
        self.timer.set(Instant::now() + FINISH);
        poll_fn(|cx| {
            let mut wire = self.wire.0.lock();
            loop {
                if wire.discard_body() {
                    return Poll::Ready(After::Next);
                }
                match wire.poll_read(cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(After::Close),
                    Poll::Ready(Ok(_)) => {}
                    Poll::Pending => break,
                }
            }
            if !wire.rest_is_short(SHORT_REST) {
                return Poll::Ready(After::Linger);
            }
            self.timer.poll(cx).map(|()| After::Close)
        })
        .await
    }

    /// Says that nothing more will be written, then reads until the client has closed too: an unread byte in our
    /// socket would make the kernel reset the connection and destroy an answer that the client has not read.
    async fn linger(&mut self) {
        let has_more = self.wire.0.lock().has_more();
        let mut linger = Linger::begin(std::mem::take(&mut self.timer), has_more);
        let mut drained = pin!(self.seat.drain.cancelled());
        let mut is_shut = false;
        poll_fn(|cx| {
            let mut wire = self.wire.0.lock();
            if !is_shut {
                is_shut = ready!(wire.poll_shutdown(cx)).is_ok();
                if !is_shut {
                    return Poll::Ready(());
                }
            }
            if drained.as_mut().poll(cx).is_ready() {
                linger.hurry();
            }
            loop {
                wire.input.clear();
                match wire.poll_read(cx) {
                    Poll::Ready(Ok(read @ 1..)) if linger.took(read) => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return linger.poll(cx),
                }
            }
        })
        .await;
    }
}

/// Lets the gateway answer; `None` when the client left first, which is to drop the gateway's work.
fn poll_answer<IO, F>(
    cx: &mut Context<'_>,
    answer: Pin<&mut F>,
    wire: &Shared<IO>,
) -> Poll<Option<Response>>
where
    IO: Socket,
    F: Future<Output = Result<Response, Infallible>>,
{
    if let Poll::Ready(Ok(response)) = answer.poll(cx) {
        return Poll::Ready(Some(response));
    }
    let mut wire = wire.0.lock();
    if wire.output.pending() > 0 && matches!(wire.poll_flush(cx), Poll::Ready(Err(_))) {
        return Poll::Ready(None);
    }
    wire.poll_gone(cx).map(|()| None)
}
