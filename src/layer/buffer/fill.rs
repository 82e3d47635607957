//! Reads a request body before the request goes on: all of it, or until the
//! buffer is full.
//!
//! # Bounds
//!
//! A body may take as much memory as the buffer of its route, and never more
//! than the process has left for bodies. If either is used up, the request goes
//! on with the part that was read and streams the rest: a large body is not
//! refused. The buffer doubles as bytes arrive, so that the memory taken is at
//! most twice the bytes received, or 4 KiB.
//!
//! # Cancellation
//!
//! Dropping the future drops the body, the bytes and their share of the memory.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;

use super::memory::{Memory, MemoryShare};
use crate::{
    body::Body,
    call::{Call, Exchange},
    error::{Error, Fault},
    message::{FieldName, Fields},
    runtime::timer::Timer,
};

/// The first size of a buffer. It grows by doubling, so that a client cannot
/// take memory by announcing a length.
const LEAST: usize = 4 * 1024;
/// Bytes that are pulled at once.
///
/// The bytes that were read go on in pieces of at most this size.
const MOST_AT_ONCE: usize = 32 * 1024;

/// Reads the body of `call` into at most `room` bytes of `memory`. A longer
/// body goes on as a stream that begins with the bytes that were read. The
/// deadline stands still meanwhile: the pace of the body bounds how long that
/// takes.
///
/// # Errors
/// The body broke off, differs from what its head announced, or arrived too
/// slowly.
pub(super) async fn fill(call: &mut Call, room: usize, memory: &Arc<Memory>) -> Result<(), Error> {
    ask_for(&call.exchange);
    if let Some(uploading) = &call.uploading {
        call.body.set_flow(Arc::clone(&uploading.flow));
    }
    let body = std::mem::take(&mut call.body);
    let pace = body.pace();
    let share = MemoryShare::new(memory);
    let mut filling = Filling {
        body,
        kept: Vec::new(),
        share,
        room,
        moved: Instant::now(),
        timer: Timer::default(),
    };
    let end = poll_fn(|cx| filling.poll(cx)).await.map_err(Error::from)?;
    call.body = filling.filled(end);
    call.body.set_pace(pace);
    call.now = Instant::now();
    call.deadline = call
        .uploading
        .as_ref()
        .map_or(call.deadline, |uploading| uploading.deadline());
    if call.body.is_whole() {
        call.uploading = None;
    }
    Ok(())
}

/// A client may wait for permission to send its body (RFC 9110, 10.1.1), and no
/// server is there yet to give it.
///
/// Does nothing unless the request has `Expect: 100-continue` and the client
/// can take an interim response.
fn ask_for(exchange: &Exchange) {
    let expected = exchange.request.headers.known(FieldName::Expect).next();
    if let Some(interim) = &exchange.interim
        && expected.is_some_and(|expected| expected.eq_ignore_ascii_case(b"100-continue"))
    {
        interim.0.send(StatusCode::CONTINUE, &Fields::default());
    }
}

/// A body while it is read.
///
/// It is polled by the task of the request.
struct Filling {
    /// The rest of the body, still to be read.
    body: Body,
    /// The bytes that were read.
    kept: Vec<u8>,
    /// The share of the process's memory, as large as the capacity of `kept`.
    share: MemoryShare,
    /// The most bytes that are kept.
    room: usize,
    /// The time at which the last byte arrived.
    moved: Instant,
    /// Ends the wait of a client that is too slow.
    timer: Timer,
}

/// How far a body was read.
enum FillEnd {
    /// To its end.
    Whole(Option<HeaderMap>),
    /// Up to this piece, which did not fit any more. The piece is not copied:
    /// it goes on as it is, ahead of the rest.
    Full(Bytes),
}

impl Filling {
    /// Reads until the end of the body or until the buffer is full.
    ///
    /// # Errors
    /// The body broke off, or the client is slower than its pace allows.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<FillEnd, Fault>> {
        while let Poll::Ready(frame) = http_body::Body::poll_frame(Pin::new(&mut self.body), cx) {
            self.moved = Instant::now();
            let data = match frame.transpose()?.map(Frame::into_data) {
                None => return Poll::Ready(Ok(FillEnd::Whole(None))),
                Some(Err(frame)) => {
                    return Poll::Ready(Ok(FillEnd::Whole(frame.into_trailers().ok())));
                }
                Some(Ok(data)) => data,
            };
            if !self.keep(&data) {
                return Poll::Ready(Ok(FillEnd::Full(data)));
            }
            if http_body::Body::is_end_stream(&self.body) || self.body.length() == Some(0) {
                return Poll::Ready(Ok(FillEnd::Whole(None)));
            }
        }
        self.poll_pace(cx).map(Err)
    }

    /// Copies the piece, which would keep its whole read buffer alive: a client
    /// could make that many times larger than the piece. Returns false if it
    /// does not fit.
    fn keep(&mut self, data: &[u8]) -> bool {
        let length = self.kept.len() + data.len();
        if length > self.room {
            return false;
        }
        if length > self.kept.capacity() {
            let capacity = length.max(2 * self.kept.len()).max(LEAST).min(self.room);
            if !self.share.resize(capacity) {
                return false;
            }
            self.kept.reserve_exact(capacity - self.kept.len());
        }
        self.kept.extend_from_slice(data);
        true
    }

    /// Waits until the client is too slow: it was silent for longer than its
    /// pace allows, or the exchange has passed its bound.
    ///
    /// Never ready for a body without a pace, which only its own end bounds.
    fn poll_pace(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        let Some(pace) = self.body.pace() else {
            return Poll::Pending;
        };
        let silent = self.moved + pace.idle;
        self.timer
            .set(pace.end.map_or(silent, |end| end.min(silent)));
        self.timer.poll(cx).map(|()| match pace.end {
            Some(end) if end <= silent => Fault::OutOfTime,
            _ => Fault::ClientSilent(pace.idle),
        })
    }

    /// The body with which the request goes on.
    ///
    /// A body that was read to its end and has no trailers becomes one piece in
    /// memory, which can be sent again by a retry. All others become a stream
    /// that begins with the bytes read.
    fn filled(self, end: FillEnd) -> Body {
        let Self {
            mut body,
            kept,
            share,
            ..
        } = self;
        // The request may wait for a permit now, and the time for its response
        // goes on.
        body.leave_unread();
        let kept = Bytes::from_owner(KeptBytes {
            bytes: kept,
            _share: share,
        });
        let (next, trailers, rest) = match end {
            FillEnd::Whole(None) => return Body::whole(kept),
            FillEnd::Whole(trailers) => (Bytes::new(), trailers, Body::empty()),
            FillEnd::Full(next) => (next, None, body),
        };
        let length = rest
            .length()
            .map(|rest| rest + (kept.len() + next.len()) as u64);
        Body::stream(BegunBody {
            kept,
            next,
            rest,
            trailers,
            length,
        })
    }
}

/// The bytes that were read. They keep their share of the memory for as long as
/// a piece of them is in use.
struct KeptBytes {
    /// The bytes, in a buffer as large as the share.
    bytes: Vec<u8>,
    _share: MemoryShare,
}

impl AsRef<[u8]> for KeptBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body whose beginning was read already.
///
/// Pieces come in the order of the fields: the bytes kept, the next piece, then
/// the trailers or the rest.
struct BegunBody {
    /// The bytes that were read, sent first.
    kept: Bytes,
    /// The piece that did not fit, sent after them.
    next: Bytes,
    /// The rest of the body, still to be read.
    rest: Body,
    /// The trailers of a body that was read to its end.
    trailers: Option<HeaderMap>,
    /// Bytes that are left; `None` if not known.
    length: Option<u64>,
}

impl http_body::Body for BegunBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = self.get_mut();
        let frame = if !this.kept.is_empty() {
            Some(Ok(Frame::data(
                this.kept.split_to(this.kept.len().min(MOST_AT_ONCE)),
            )))
        } else if !this.next.is_empty() {
            Some(Ok(Frame::data(std::mem::take(&mut this.next))))
        } else if let Some(trailers) = this.trailers.take() {
            Some(Ok(Frame::trailers(trailers)))
        } else {
            std::task::ready!(Pin::new(&mut this.rest).poll_frame(cx))
        };
        if let (Some(length), Some(Ok(frame))) = (&mut this.length, &frame) {
            *length = length.saturating_sub(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.kept.is_empty()
            && self.next.is_empty()
            && self.trailers.is_none()
            && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
