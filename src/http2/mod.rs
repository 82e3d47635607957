//! Bodies on the streams of HTTP/2 (RFC 9113), in both directions, and the flow
//! control around them. Shared by `server` and `upstream`; the protocol itself
//! is h2's.
//!
//! * [`Outflow`] sends a [`Body`] on a stream: request bodies to servers,
//!   response bodies to clients.
//! * [`Inflow`] receives one: response bodies from servers, request bodies from
//!   clients.
//! * [`windows`]: windows of flow control that grow while their reader keeps
//!   up.
//! * [`frames`]: frames in a stream of bytes, for checks that h2 does not
//!   offer.
//!
//! # Backpressure
//!
//! A slow reader must slow the writer at the other end and must not fill memory
//! in between. Received bytes are released to the sender's window when they are
//! read from an [`Inflow`], and not when they arrive. A sender asks for at most
//! [`SEND_BUFFER`] bytes of capacity, and pulls no further frame of its body
//! before the last one is sent.

pub mod frames;
pub mod windows;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use self::windows::Windows;
use crate::{body::Body, error::Fault, http1::may_trail};

/// Most bytes of one body that are queued for the socket.
pub const SEND_BUFFER: usize = 64 * 1024;

/// Bytes that the protocol counts for each field of a header list beside its
/// name and value (RFC 9113, 6.5.2).
pub const FIELD_OVERHEAD: usize = 32;

/// The size of a header list as the protocol counts it, in bytes, for
/// comparison with SETTINGS_MAX_HEADER_LIST_SIZE.
///
/// ```
/// use http::HeaderMap;
/// use tidegate::http2::list_size;
///
/// let mut fields = HeaderMap::new();
/// fields.insert("via", "2.0 edge".parse().unwrap());
/// assert_eq!(list_size(&fields), "via".len() + "2.0 edge".len() + 32);
/// ```
pub fn list_size(fields: &HeaderMap) -> usize {
    fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD)
        .sum()
}

/// A body that is sent.
#[derive(Debug)]
pub struct Outflow {
    /// The sending side of the stream. Dropping it before the end resets the
    /// stream.
    stream: SendStream<Bytes>,
    /// The largest list of trailers that the peer accepts, in bytes.
    most_trailers: usize,
    /// Bytes that were pulled from the body and not yet sent.
    rest: Bytes,
}

/// The side that broke, when a body could not be sent to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The source of the body failed.
    Source(Fault),
    /// The stream accepts no more: the peer has reset it, or the connection is
    /// gone.
    Stream,
}

impl Outflow {
    /// Sends on this stream, with trailers of any size.
    pub fn new(stream: SendStream<Bytes>) -> Self {
        Self {
            stream,
            most_trailers: usize::MAX,
            rest: Bytes::new(),
        }
    }

    /// Sends to a peer that accepts header lists of at most `most_trailers`
    /// bytes.
    #[must_use]
    pub fn with_trailers_up_to(self, most_trailers: usize) -> Self {
        Self {
            most_trailers,
            ..self
        }
    }

    /// The stream itself, for resets and for notice of them.
    pub fn stream(&mut self) -> &mut SendStream<Bytes> {
        &mut self.stream
    }

    /// Whether all pulled bytes are sent, so that the next poll waits for the
    /// body and not for the peer.
    pub fn is_drained(&self) -> bool {
        self.rest.is_empty()
    }

    /// Pulls a frame of `body`, or sends as much of the last one as the windows
    /// allow. Ready with whether the body is over.
    ///
    /// # Errors
    /// The side that broke.
    pub fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Body,
    ) -> Poll<Result<bool, Stopped>> {
        if self.rest.is_empty() {
            self.pull(cx, body)
        } else {
            self.push(cx, body)
        }
    }

    /// Pulls the next frame of the body. Data is kept to be sent; trailers and
    /// the end are sent at once.
    fn pull(&mut self, cx: &mut Context<'_>, body: &mut Body) -> Poll<Result<bool, Stopped>> {
        let frame = ready!(Pin::new(body).poll_frame(cx))
            .transpose()
            .map_err(Stopped::Source)?;
        let sent = match frame.map(Frame::into_data) {
            None => self.stream.send_data(Bytes::new(), true),
            Some(Ok(data)) => {
                self.rest = data;
                return Poll::Ready(Ok(false));
            }
            Some(Err(frame)) => {
                let trailers = trailing(frame.into_trailers().unwrap_or_default());
                if self.most_trailers != usize::MAX && list_size(&trailers) > self.most_trailers {
                    const TOO_LONG: &str = "its trailers are longer than the server takes";
                    return Poll::Ready(Err(Stopped::Source(Fault::ClientMalformed(TOO_LONG))));
                }
                self.stream.send_trailers(trailers)
            }
        };
        Poll::Ready(sent.map(|()| true).map_err(|_| Stopped::Stream))
    }

    /// Sends as much of the pulled bytes as the windows allow.
    fn push(&mut self, cx: &mut Context<'_>, body: &Body) -> Poll<Result<bool, Stopped>> {
        self.stream
            .reserve_capacity(self.rest.len().min(SEND_BUFFER));
        let mut granted = self.stream.capacity();
        if granted == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(capacity)) => granted = capacity,
                Some(Err(_)) | None => return Poll::Ready(Err(Stopped::Stream)),
            }
        }
        let piece = self.rest.split_to(granted.min(self.rest.len()));
        let is_last = self.rest.is_empty() && body.is_end_stream();
        let sent = self.stream.send_data(piece, is_last);
        Poll::Ready(sent.map(|()| is_last).map_err(|_| Stopped::Stream))
    }
}

/// The fields that are allowed in trailers.
fn trailing(trailers: HeaderMap) -> HeaderMap {
    if trailers.keys().all(may_trail) {
        return trailers;
    }
    let mut allowed = HeaderMap::new();
    for (name, value) in trailers.iter().filter(|(name, _)| may_trail(name)) {
        allowed.append(name, value.clone());
    }
    allowed
}

/// A body that is received. Its window is released as it is read, so that a
/// slow reader slows the writer.
#[derive(Debug)]
pub struct Inflow {
    /// The receiving side of the stream.
    stream: RecvStream,
    /// Whether the end is known to be read: asking h2 takes a lock, and each
    /// body is asked several times.
    is_over: bool,
    /// Bytes still to come, if the head named a length. h2 enforces it.
    left: Option<u64>,
    /// The windows of the connection.
    windows: Arc<Windows>,
    /// Bytes that were read of the current window.
    read: usize,
    /// Whether the reader had to wait within the current window: it could have
    /// read more, so that the window is the bottleneck.
    has_waited: bool,
}

impl Inflow {
    /// Receives the body of this stream. `length` is the length that the head
    /// names, if any; `windows` are those of the connection.
    pub fn new(stream: RecvStream, length: Option<u64>, windows: Arc<Windows>) -> Self {
        Self {
            stream,
            is_over: false,
            left: length,
            windows,
            read: 0,
            has_waited: false,
        }
    }

    /// The next frame; `None` at the end.
    ///
    /// # Errors
    /// The peer has reset the stream, has broken the protocol, or is gone.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let Poll::Ready(data) = self.stream.poll_data(cx)? else {
            // Waiting for the first byte does not count, since even a slow
            // reader waits for that.
            self.has_waited |= self.read > 0;
            return Poll::Pending;
        };
        if let Some(data) = data {
            self.stream.flow_control().release_capacity(data.len())?;
            self.note_read(data.len());
            self.is_over = self.stream.is_end_stream();
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(data.len() as u64);
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let trailers = ready!(self.stream.poll_trailers(cx)?);
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    /// Asks for a larger window if all of this one was read and the reader had
    /// to wait for more.
    fn note_read(&mut self, bytes: usize) {
        self.read += bytes;
        if self.read >= self.windows.stream() as usize {
            if self.has_waited {
                self.windows.want();
            }
            (self.read, self.has_waited) = (0, false);
        }
    }

    /// Whether the end was read, so that dropping this resets nothing.
    pub fn is_over(&self) -> bool {
        self.is_over || self.stream.is_end_stream()
    }

    /// The bytes that are left, as far as that is known.
    pub fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
