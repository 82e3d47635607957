//! One client connection's bytes: what was read and not yet taken, what is to be written, and the body in between.
//!
//! The connection's task and the body that it handed out share a [`Wire`]. Both run in the same task, so its lock is
//! never waited for; it is there because a body must be `Send`.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Interval, interval};

use super::Socket;
use crate::{
    error::Fault,
    http1::{self, Decoder, Fields, Length, Piece},
    message::InterimSink,
    runtime::io::Output,
};

/// Read and not yet taken: beyond it the client is made to wait by its window.
const MOST_INPUT: usize = 64 * 1024;
/// Time between two looks whether a client is still there that has sent more than is read.
const LOOK: Duration = Duration::from_millis(250);
/// An idle connection gives larger buffers back.
const KEPT_OUTPUT: usize = 2 * 1024;

pub(super) struct Wire<IO> {
    io: IO,
    pub(super) input: BytesMut,
    pub(super) output: Output,
    /// What is left of the current request's body; `None` between bodies.
    body: Option<Decoder>,
    /// That body is malformed: what follows is nothing that could be read.
    is_malformed: bool,
    /// The client waits for a 100 before it sends its body, and none was sent yet.
    awaits_continue: bool,
    ended: bool,
    /// When to look whether a client has left whose bytes nobody reads.
    looks: Option<Box<Interval>>,
}

impl<IO: Socket> Wire<IO> {
    pub(super) fn new(io: IO, input: BytesMut) -> Self {
        Self {
            io,
            input,
            output: Output::default(),
            body: None,
            is_malformed: false,
            awaits_continue: false,
            ended: false,
            looks: None,
        }
    }

    /// Reads what is there and adds it to `input`; 0 at the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        let read = ready!(crate::runtime::io::poll_read(
            &mut self.io,
            cx,
            &mut self.input
        ))?;
        self.ended = read == 0;
        Poll::Ready(Ok(read))
    }

    /// Reads ahead while there is room, only to learn whether the client is still there. Ready when it is not.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.input.len() < MOST_INPUT {
            match ready!(self.poll_read(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        self.poll_ended(cx)
    }

    /// Looks now and then whether the client has ended, its bytes unread: reading on would need memory, and readiness to
    /// read tells nothing while there is something to read. It is not seen while its end still waits, behind more than
    /// the system takes in unread, on the client's side.
    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.io.has_ended() {
            let looks = self.looks.get_or_insert_with(|| Box::new(interval(LOOK)));
            ready!(looks.poll_tick(cx));
        }
        Poll::Ready(())
    }

    /// Writes all of `output`.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_flush(&mut self.io, cx)
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    /// Before a close that cuts nothing.
    pub(super) fn say_goodbye(&mut self) {
        self.io.say_goodbye();
    }

    /// From now on, whether a close cuts. Where only its close delimits an answer, a connection that is dropped early,
    /// however that comes about, must not look like one that ended.
    pub(super) fn close_cuts(&self, cuts: bool) {
        // The system refuses this to no open socket.
        let _ = self.io.close_cuts(cuts);
    }

    /// Gives buffers back before a wait that may be long.
    pub(super) fn rest(&mut self) {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        self.looks = None;
        self.output.shrink(KEPT_OUTPUT);
    }

    /// Gives back what a burst has needed, in a tunnel that is empty now.
    pub(super) fn slacken(&mut self) {
        if self.input.is_empty() && self.input.capacity() > KEPT_OUTPUT {
            self.input = BytesMut::new();
        }
        self.output.shrink(KEPT_OUTPUT);
    }

    pub(super) fn begin_body(
        &mut self,
        length: Length,
        awaits_continue: bool,
        most_trailer_bytes: usize,
    ) {
        self.body =
            (length != Length::Empty).then(|| Decoder::of_request(length, most_trailer_bytes));
        self.awaits_continue = awaits_continue && self.body.is_some();
    }

    /// Takes what is here of a body that nobody will read any more. True when that was all of it.
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

    /// Whether more of a request's body is to come. Behind something malformed nothing is: neither behind a body that breaks the
    /// rules nor behind a head that does.
    pub(super) fn has_more(&self) -> bool {
        !self.is_malformed && !self.body_is_done()
    }

    /// Whether all of the body was taken.
    pub(super) fn body_is_done(&self) -> bool {
        self.body.as_ref().is_none_or(Decoder::is_done)
    }

    /// Whether the rest of the body is known to be short and on its way.
    pub(super) fn rest_is_short(&self, most: u64) -> bool {
        !self.awaits_continue && matches!(&self.body, Some(Decoder::Exact(left)) if *left <= most)
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
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
                Ok(Piece::More) => match ready!(self.poll_read(cx)) {
                    Ok(0) | Err(_) => return Poll::Ready(Some(Err(Fault::ClientGone))),
                    Ok(_) => {}
                },
                Err(what) => {
                    self.is_malformed = true;
                    return Poll::Ready(Some(Err(Fault::ClientMalformed(what))));
                }
            }
        }
    }
}

/// A [`Wire`] as the connection's task and the request's body share it.
pub(super) struct Shared<IO>(pub(super) Arc<Mutex<Wire<IO>>>);

impl<IO> Shared<IO> {
    /// The bytes themselves and what was read of them, when nobody else holds them.
    pub(super) fn into_parts(self) -> Option<(IO, BytesMut)> {
        let Wire { io, input, .. } = Arc::into_inner(self.0)?.into_inner();
        Some((io, input))
    }
}

impl<IO> Clone for Shared<IO> {
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
        // No body follows, so no length may be named (RFC 9110, 8.6).
        out.extend_from_slice(fields.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// A request's body while it is read from the connection.
pub(super) struct Received<IO> {
    wire: Shared<IO>,
    length: Length,
}

impl<IO> Received<IO> {
    pub(super) fn new(wire: Shared<IO>, length: Length) -> Self {
        Self { wire, length }
    }
}

impl<IO: Socket> http_body::Body for Received<IO> {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = self.get_mut();
        let frame = ready!(this.wire.0.lock().poll_body(cx));
        if let (Length::Exact(left), Some(Ok(frame))) = (&mut this.length, &frame) {
            *left -= frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.length, Length::Exact(0))
    }

    fn size_hint(&self) -> SizeHint {
        match self.length {
            Length::Exact(left) => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }
}
