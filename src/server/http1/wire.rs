//! The bytes of one client connection: those read and not yet taken, those to
//! be written, and the body of the current request between them.
//!
//! The connection's task and the request's body share a [`Wire`]. Both run in
//! the same task, so that its lock is never contended; it exists because a body
//! must be `Send`.
//!
//! # Backpressure
//!
//! At most 64 KiB are read ahead of their reader. Beyond that nothing is read,
//! and TCP makes the client wait. A body that is read may come in larger pieces,
//! see [`ReadSize`]. Output is bounded by the code that writes it.
//!
//! # Detecting a client that leaves
//!
//! While the gateway works on a request, [`poll_gone`](Wire::poll_gone) reads
//! ahead to notice the end of the connection. A client that has sent more than
//! is read ahead is looked at every 250 ms instead, by the readiness that the
//! kernel reports for the socket. A listener with `half_closed = "serve"` takes
//! the end of a client's side for the end of its requests only.
//!
//! # Memory
//!
//! An idle connection owns no buffer: most connections are idle most of the
//! time.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Frame;
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    task::coop::has_budget_remaining,
    time::{Interval, interval},
};

use crate::{
    error::Fault,
    http1::{self, Decoder, Fields, Length, Piece},
    message::InterimSink,
    runtime::{
        self,
        io::ReadSize,
        output::{MOST_TRIED, Output},
    },
    server::Socket,
};

/// Bytes read and not yet taken. Beyond them nothing is read, and TCP makes the
/// client wait.
const MAX_INPUT: usize = 64 * 1024;
/// Time between two checks whether a client is still there that has sent more
/// than is read.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// Largest buffer in each direction, in bytes, that an idle tunnel keeps.
const IDLE_TUNNEL: usize = 2 * 1024;

/// A socket with its buffers.
pub(super) struct Wire<IO> {
    io: IO,
    /// Bytes that were read and not yet taken.
    pub(super) input: BytesMut,
    /// Bytes that are still to be written.
    pub(super) output: Output,
    /// The rest of the current request's body; `None` between bodies.
    body: Option<Decoder>,
    /// The body is malformed, so that nothing behind it can be read.
    is_malformed: bool,
    /// The client waits for a 100 (Continue) before it sends its body, and none
    /// was sent yet.
    awaits_continue: bool,
    /// The client has ended its side.
    ended: bool,
    /// A client that has ended its side waits for its response.
    serves_half_closed: bool,
    /// The address of the task that is woken when bytes come, as nothing was
    /// read since it asked for that; 0 if none is. The socket keeps that task
    /// alive, so that no other task has this address meanwhile.
    woken: usize,
    /// Paces the checks whether a client has left whose bytes nobody reads.
    checks: Option<Box<Interval>>,
}

impl<IO: Socket> Wire<IO> {
    /// A socket of which `input` was read already. With `serves_half_closed`, the
    /// end of the client's side does not mean that it has left.
    pub(super) fn new(io: IO, input: BytesMut, serves_half_closed: bool) -> Self {
        Self {
            io,
            input,
            output: Output::default(),
            body: None,
            is_malformed: false,
            awaits_continue: false,
            ended: false,
            serves_half_closed,
            woken: 0,
            checks: None,
        }
    }

    /// Reads the bytes that are there and appends them to `input`; 0 at the
    /// end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.poll_read_body(cx, &mut ReadSize::default())
    }

    /// As [`poll_read`](Self::poll_read), for a body: at most `size` bytes.
    fn poll_read_body(
        &mut self,
        cx: &mut Context<'_>,
        size: &mut ReadSize,
    ) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        self.woken = 0;
        let read = ready!(size.poll_read(&mut self.io, cx, &mut self.input))?;
        self.ended = read == 0;
        Poll::Ready(Ok(read))
    }

    /// As [`poll_read`](Self::poll_read), for the moments at which nearly
    /// always something has come.
    pub(super) fn poll_read_usual(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        self.woken = 0;
        match runtime::io::try_read(&mut self.input, |buffer| self.io.try_read(buffer)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.poll_read(cx),
            read => {
                self.ended = matches!(read, Ok(0));
                Poll::Ready(read)
            }
        }
    }

    /// As [`poll_read`](Self::poll_read), for the moments at which nearly
    /// always nothing has come.
    pub(super) fn poll_read_rare(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let task = cx.waker().data().addr();
        if self.woken == task && self.io.is_quiet() {
            return Poll::Pending;
        }
        if self.io.poll_readable(cx).is_pending() {
            // A task that has used up its budget is not noted by the socket.
            self.woken = if has_budget_remaining() { task } else { 0 };
            return Poll::Pending;
        }
        self.poll_read(cx)
    }

    /// Reads ahead while there is room, to learn whether the client is still
    /// there. Ready when it is gone. A client that has only ended its side may be
    /// one that waits, if the listener serves those; a write tells then.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.input.len() < MAX_INPUT {
            match ready!(self.poll_read_rare(cx)) {
                Ok(0) if self.serves_half_closed => return Poll::Pending,
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        if self.serves_half_closed {
            return Poll::Pending;
        }
        self.poll_ended(cx)
    }

    /// Checks from time to time whether the client has ended its side while its
    /// bytes are unread. Reading on would need memory, and readiness to read
    /// tells nothing while there are bytes to read. A FIN queued behind more
    /// bytes than the system's receive buffer takes cannot be detected.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.io.has_ended() {
            let checks = self
                .checks
                .get_or_insert_with(|| Box::new(interval(CHECK_INTERVAL)));
            ready!(checks.poll_tick(cx));
        }
        Poll::Ready(())
    }

    /// Writes all of `output`.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if (1..=MOST_TRIED).contains(&self.output.pending()) {
            self.output.try_send(|bytes| self.io.try_write(bytes))?;
        }
        self.output.poll_flush(&mut self.io, cx)
    }

    /// Ends our side of the connection.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Says that the close which follows is an end and no cut, where that takes
    /// more than closing (TLS).
    pub(super) fn say_goodbye(&mut self) {
        self.io.say_goodbye();
    }

    /// Sets whether a close from now on is seen as a cut (a reset). While only
    /// the close delimits a response, a connection that is dropped early, for
    /// whatever reason, must not look like one that ended.
    pub(super) fn close_cuts(&self, cuts: bool) {
        // The system refuses this only to a socket that is closed.
        let _ = self.io.close_cuts(cuts);
    }

    /// Frees buffers before a wait that may be long.
    pub(super) fn free_idle_buffers(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        self.checks = None;
        self.output.release();
    }

    /// Frees the memory that a burst needed, in a tunnel that is empty now.
    pub(super) fn free_burst_buffers(&mut self) {
        if self.input.is_empty() && self.input.capacity() > IDLE_TUNNEL {
            self.input = BytesMut::new();
        }
        self.output.shrink(IDLE_TUNNEL);
    }

    /// Begins the body of a request whose head was taken.
    pub(super) fn begin_body(
        &mut self,
        length: Length,
        awaits_continue: bool,
        max_trailer_bytes: usize,
    ) {
        self.body =
            (length != Length::Empty).then(|| Decoder::of_request(length, max_trailer_bytes));
        self.awaits_continue = awaits_continue && self.body.is_some();
    }

    /// Discards what has arrived of a body that nobody will read any more. True
    /// once all of it is discarded.
    pub(super) fn discard_body(&mut self) -> bool {
        let Some(body) = &mut self.body else {
            return true;
        };
        loop {
            match body.next(&mut self.input) {
                Ok(Piece::Data(_)) => {}
                Ok(Piece::End | Piece::Trailers(_)) => break,
                Ok(Piece::More) => return body.is_done(),
                Err(_) => {
                    self.is_malformed = true;
                    return false;
                }
            }
        }
        self.body = None;
        true
    }

    /// Whether more of the request's body is to come. Nothing is known to come
    /// behind malformed bytes, be they of a body or of a head.
    pub(super) fn has_more(&self) -> bool {
        !self.is_malformed && !self.body_is_done()
    }

    /// Whether all of the request's body was taken.
    pub(super) fn body_is_done(&self) -> bool {
        self.body.as_ref().is_none_or(Decoder::is_done)
    }

    /// Whether the rest of the body is known to be at most `max` bytes, and the
    /// client does not wait before it sends them.
    pub(super) fn rest_is_short(&self, max: u64) -> bool {
        !self.awaits_continue && matches!(&self.body, Some(Decoder::Exact(left)) if *left <= max)
    }

    /// The next frame of the request's body; `None` at its end. A read takes at
    /// most `size` bytes.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        size: &mut ReadSize,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        loop {
            let Some(body) = &mut self.body else {
                return Poll::Ready(None);
            };
            match body.next(&mut self.input) {
                Ok(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(Piece::Trailers(trailers)) => {
                    self.body = None;
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Piece::End) => self.body = None,
                Ok(Piece::More) => match ready!(self.poll_read_body(cx, size)) {
                    Ok(0) | Err(_) => return Poll::Ready(Some(Err(Fault::ClientGone))),
                    Ok(_) => {}
                },
                Err(why) => {
                    self.is_malformed = true;
                    return Poll::Ready(Some(Err(Fault::ClientMalformed(why))));
                }
            }
        }
    }
}

/// A [`Wire`] as the connection's task and the request's body share it.
pub(super) struct SharedWire<IO>(Arc<Mutex<Wire<IO>>>);

impl<IO> SharedWire<IO> {
    pub(super) fn new(wire: Wire<IO>) -> Self {
        Self(Arc::new(Mutex::new(wire)))
    }

    /// The wire itself. The lock is never contended.
    pub(super) fn lock(&self) -> MutexGuard<'_, Wire<IO>> {
        self.0.lock()
    }

    /// The socket and the bytes read from it, if nobody else holds the wire.
    pub(super) fn into_parts(self) -> Option<(IO, BytesMut)> {
        let Wire { io, input, .. } = Arc::into_inner(self.0)?.into_inner();
        Some((io, input))
    }
}

impl<IO: Send + 'static> SharedWire<IO> {
    /// The wire as the sink of interim responses.
    pub(super) fn interim_sink(&self) -> Arc<dyn InterimSink> {
        self.0.clone()
    }
}

impl<IO> Clone for SharedWire<IO> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<IO: Send> InterimSink for Mutex<Wire<IO>> {
    fn send(&self, status: StatusCode, fields: &Fields) {
        let mut wire = self.lock();
        wire.awaits_continue &= status != StatusCode::CONTINUE;
        let out = wire.output.buffer();
        http1::write_status_line(out, status, None);
        // Interim responses have no body and so no length (RFC 9110, 8.6).
        out.extend_from_slice(fields.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, io::Write};

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// A task that asked to be woken is not asked for again while nothing has
    /// come, and is woken all the same.
    #[tokio::test]
    async fn a_wait_that_goes_on_is_woken_by_the_next_bytes() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut far = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let near = listener.accept().await.unwrap().0;
        let mut wire = Wire::<TcpStream>::new(near, BytesMut::new(), false);
        for _ in 0..3 {
            // The first look may still be told that a new socket has bytes.
            let looks = poll_fn(|cx| Poll::Ready([(); 3].map(|()| wire.poll_read_rare(cx))));
            assert!(looks.await.iter().all(Poll::is_pending));
            assert_ne!(wire.woken, 0);
            far.write_all(b"abc").unwrap();
            let read = poll_fn(|cx| wire.poll_read_rare(cx)).await;
            assert_eq!((read.unwrap(), wire.woken), (3, 0));
        }
        assert!(
            poll_fn(|cx| Poll::Ready(wire.poll_read_rare(cx)))
                .await
                .is_pending()
        );
        // Another task that takes the wait over is the one that is woken.
        let taken_over = tokio::spawn(async move { poll_fn(|cx| wire.poll_read_rare(cx)).await });
        tokio::task::yield_now().await;
        drop(far);
        assert_eq!(taken_over.await.unwrap().unwrap(), 0);
    }
}
