//! The bound on a request's body: told at once where the length is announced, while it flows where it is not.

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

/// Bounds `body` to `limit` bytes.
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

struct Bounded {
    inner: Body,
    limit: u64,
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
