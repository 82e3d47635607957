//! Bodies on the streams of HTTP/2, in both directions, and the flow control
//! around them. Shared by `server` and `upstream`; the protocol itself is h2's.

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

/// The size of fields as the protocol counts it.
pub fn list_size(fields: &HeaderMap) -> usize {
    fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD)
        .sum()
}

/// A body that is sent.
#[derive(Debug)]
pub struct Outflow {
    stream: SendStream<Bytes>,
    /// The largest list of trailers that the peer accepts.
    most_trailers: usize,
    /// Bytes that were pulled from the body and not yet sent.
    rest: Bytes,
}

/// Why a body stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Its source broke.
    Source(Fault),
    /// Its stream takes no more.
    Stream,
}

impl Outflow {
    /// The body of this stream.
    pub fn new(stream: SendStream<Bytes>) -> Self {
        Self {
            stream,
            most_trailers: usize::MAX,
            rest: Bytes::new(),
        }
    }

    /// The body of this stream, to a peer that accepts trailers up to this
    /// size.
    #[must_use]
    pub fn with_trailers_up_to(self, most_trailers: usize) -> Self {
        Self {
            most_trailers,
            ..self
        }
    }

    /// The stream itself.
    pub fn stream(&mut self) -> &mut SendStream<Bytes> {
        &mut self.stream
    }

    /// Whether all pulled bytes are sent, so that the body has to yield more
    /// first.
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

/// The fields that may stand in trailers.
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
    stream: RecvStream,
    /// Bytes still to come, if the head named a length, which h2 enforces.
    left: Option<u64>,
    windows: Arc<Windows>,
    /// Bytes read of the current window.
    read: usize,
    /// The reader had to wait within the current window.
    has_waited: bool,
}

impl Inflow {
    /// The body of this stream with this length; `windows` are those of its
    /// connection.
    pub fn new(stream: RecvStream, length: Option<u64>, windows: Arc<Windows>) -> Self {
        Self {
            stream,
            left: length,
            windows,
            read: 0,
            has_waited: false,
        }
    }

    /// The next frame; `None` at the end.
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

    /// Whether the end was read.
    pub fn is_over(&self) -> bool {
        self.stream.is_end_stream()
    }

    /// The length, as far as it is known.
    pub fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
