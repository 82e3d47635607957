//! The body of a request while it is received on its stream.
//!
//! A gateway that has responded early must not reset the stream at once: many
//! clients read a response only after they have sent their whole request. So
//! the rest of a body that is dropped early is handed to the task of the
//! stream, which reads it for a while.

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
pub(super) type Rest = Arc<Mutex<Option<Inflow>>>;

impl StreamBody {
    /// The body on `flow`, which leaves its rest in `rest`.
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

    fn is_end_stream(&self) -> bool {
        self.flow.as_ref().is_none_or(Inflow::is_over)
    }

    fn size_hint(&self) -> SizeHint {
        self.flow
            .as_ref()
            .map_or_else(SizeHint::default, Inflow::size_hint)
    }
}

/// Whether the client left or broke the protocol.
fn fault(error: &h2::Error) -> Fault {
    if error.is_library() && error.is_reset() {
        Fault::ClientMalformed("its length is not the one that was announced")
    } else {
        Fault::ClientGone
    }
}
