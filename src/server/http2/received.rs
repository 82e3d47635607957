//! The body of a request while it is received on its stream.
//!
//! A gateway that has responded early must not reset the stream at once: many
//! clients read a response only after they have sent their whole request. So
//! the rest of a body that is dropped early is handed to the task of the
//! stream, which reads it for a while.
//!
//! # Ownership
//!
//! The receiving half has exactly one owner at any time. It belongs to the
//! [`StreamBody`] while the gateway or an upstream reads the request, and moves
//! to the `Rest` when that body is dropped before its end. The task of the
//! stream takes it from there once the response is sent, and lingers.
//!
//! Nothing is buffered here. The windows of the stream bound the bytes that h2
//! keeps for it, and they open again only as frames are pulled.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;

use crate::{error::Fault, http2::Inflow};

/// The body of a request on a stream. If dropped early, it leaves the rest of
/// the stream in `rest`: dropping that, too, would reset the stream or let the
/// client wait for a window for ever.
pub(super) struct StreamBody {
    /// The stream; `Some` until this is dropped.
    flow: Option<Inflow>,
    /// Where the stream goes then.
    rest: Rest,
}

/// The place for the rest of a body that was dropped early.
///
/// It is empty before the body is dropped, and stays empty if the body was read
/// to its end. The body and the task of the stream share it. The lock is held
/// only to put the stream in or to take it out.
pub(super) type Rest = Arc<Mutex<Option<Inflow>>>;

impl StreamBody {
    /// The body on `flow`, which leaves its rest in `rest`.
    ///
    /// `rest` is shared with the task of the stream and must be empty. A
    /// request without a body has neither: its HEADERS frame has ended the
    /// stream.
    pub(super) fn new(flow: Inflow, rest: Rest) -> Self {
        Self {
            flow: Some(flow),
            rest,
        }
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        *self.rest.lock() = self.flow.take().filter(|flow| !flow.is_over());
    }
}

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = Fault;

    /// Pulls the next frame, DATA or trailers, and returns its bytes to the
    /// windows of the stream.
    ///
    /// # Errors
    /// `Fault::ClientGone` after a reset or the end of the connection, and
    /// `Fault::ClientMalformed` if the content does not have the length that
    /// the head has announced (RFC 9113, 8.1.1).
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Some(flow) = &mut self.get_mut().flow else {
            return Poll::Ready(None);
        };
        let frame = ready!(flow.poll_next(cx));
        Poll::Ready(frame.map(|frame| frame.map_err(|error| fault(&error))))
    }

    /// True once the client has ended the stream and all of its frames were
    /// pulled.
    fn is_end_stream(&self) -> bool {
        self.flow.as_ref().is_none_or(Inflow::is_over)
    }

    /// Exact if the request has announced its length, and open otherwise.
    fn size_hint(&self) -> SizeHint {
        self.flow
            .as_ref()
            .map_or_else(SizeHint::default, Inflow::size_hint)
    }
}

/// Whether the client left or broke the protocol.
///
/// h2 itself resets a stream whose content is longer or shorter than its
/// `Content-Length`. Every other error, a reset by the client among them,
/// counts as a client that has left.
fn fault(error: &h2::Error) -> Fault {
    if error.is_library() && error.is_reset() {
        Fault::ClientMalformed("its length is not the one that was announced")
    } else {
        Fault::ClientGone
    }
}
