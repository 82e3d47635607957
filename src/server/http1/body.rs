//! The body of a request, while the gateway reads it.
//!
//! Its bytes are read when they are asked for, so that a slow service slows the
//! client by TCP's window. The wire is shared with the connection's task, which
//! discards what nobody has read when the response is written.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::wire::SharedWire;
use crate::{body::Body, error::Fault, http1::Length, runtime::io::ReadSize, server::Socket};

/// The body of a request while it is read from the wire.
struct WireBody<IO> {
    wire: SharedWire<IO>,
    /// The length that is left.
    length: Length,
    /// The size of the next read.
    read_size: ReadSize,
}

/// The body that was begun on `wire`, with this length.
pub(super) fn on<IO: Socket>(wire: &SharedWire<IO>, length: Length) -> Body {
    match length {
        Length::Empty => Body::empty(),
        length => Body::stream(WireBody {
            wire: wire.clone(),
            length,
            read_size: ReadSize::default(),
        }),
    }
}

impl<IO: Socket> http_body::Body for WireBody<IO> {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = self.get_mut();
        let frame = ready!(this.wire.lock().poll_body(cx, &mut this.read_size));
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
