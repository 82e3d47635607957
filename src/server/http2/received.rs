//! A request's body while it comes in on its stream: what is taken is what the client may send more of.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};

use crate::error::Fault;

/// A body on a stream.
pub(super) struct Received {
    stream: RecvStream,
    /// Bytes still to come, where the head named a length; h2 holds the client to it.
    left: Option<u64>,
}

impl Received {
    pub(super) fn new(stream: RecvStream, length: Option<u64>) -> Self {
        Self { stream, left: length }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if let Some(data) = ready!(self.stream.poll_data(cx)?) {
            // The window is given back as the body is read, so that an upstream that is slow slows the client.
            self.stream.flow_control().release_capacity(data.len())?;
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(data.len() as u64);
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let trailers = ready!(self.stream.poll_trailers(cx)?);
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let frame = ready!(self.get_mut().poll_next(cx));
        Poll::Ready(frame.map(|frame| frame.map_err(|error| fault(&error))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
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
