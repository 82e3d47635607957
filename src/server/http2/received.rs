//! A request's body while it comes in on its stream.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};

use crate::{
    error::Fault,
    http2::{Inflow, windows::Windows},
};

/// A body on a stream.
pub(super) struct Received(Inflow);

impl Received {
    pub(super) fn new(stream: RecvStream, length: Option<u64>, windows: Arc<Windows>) -> Self {
        Self(Inflow::new(stream, length, windows))
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let frame = ready!(self.get_mut().0.poll_next(cx));
        Poll::Ready(frame.map(|frame| frame.map_err(|error| fault(&error))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
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
