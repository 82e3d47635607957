//! The bound on a request body: checked at once if the length is announced, and
//! while the body flows if it is not.
//!
//! `http_body_util::Limited` is not used: once as many bytes as the limit have
//! passed, it reports an exact length of zero, which the framing of the
//! upstream would take for the end of the body. It also boxes each error.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Frame;

use crate::{
    body::Body,
    error::{Error, Fault},
};

/// Bounds `body` to `limit` bytes; `None` is no bound.
///
/// A body whose length is announced is checked here and costs nothing later.
/// One that comes in chunks is wrapped, and breaks off with
/// [`Fault::TooLarge`] at the first byte beyond the limit.
///
/// # Errors
/// [`Error::BodyTooLarge`] if the announced length exceeds the limit.
pub(super) fn bound(body: &mut Body, limit: Option<u64>) -> Result<(), Error> {
    let Some(limit) = limit else { return Ok(()) };
    match body.length() {
        Some(length) if length > limit => Err(Error::BodyTooLarge { limit }),
        Some(_) => Ok(()),
        None => {
            *body = Body::stream(Bounded {
                inner: std::mem::take(body),
                limit,
                left: limit,
            });
            Ok(())
        }
    }
}

/// A body of unknown length that may have at most `limit` bytes.
struct Bounded {
    inner: Body,
    /// In bytes, for the error.
    limit: u64,
    /// The bytes that may still come.
    left: u64,
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        let size = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, |data| data.len() as u64),
            _ => 0,
        };
        match this.left.checked_sub(size) {
            Some(left) => this.left = left,
            None => return Poll::Ready(Some(Err(Fault::TooLarge(this.limit)))),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}
