//! A request body that is kept while it passes, up to a bound, and handed on
//! when it is complete.
//!
//! Used by the mirror, which needs the whole body before it can send a copy of
//! a request. The request itself goes on meanwhile: the bytes are copied as
//! they pass, and nothing waits for the copy.
//!
//! # Bounds
//!
//! At most `room` bytes are copied. A body that is longer passes unchanged, and
//! its copy is dropped at the piece that does not fit, so that no memory is
//! held for a copy that cannot be made.
//!
//! # End
//!
//! A body is whole after its trailers, at its end, or when nothing is left of a
//! known length. All three count, since a body may not be pulled any more after
//! its last byte or its trailers. A fault or a drop before that hands on
//! nothing.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use crate::{body::Body, error::Fault};

/// Called once, with the complete body, or with `None` if it is too long or
/// broke off.
pub(super) type OnWhole = Box<dyn FnOnce(Option<Bytes>) + Send>;

/// A body that is kept while it passes. Trailers are not kept.
pub(super) struct Tee {
    /// The body itself, which is neither delayed nor changed.
    passing: Body,
    /// The bytes that have passed.
    kept: BytesMut,
    /// Bytes that may still be kept.
    room: usize,
    /// Called at the end; `None` once it was.
    on_whole: Option<OnWhole>,
}

impl Tee {
    /// Wraps `body`, of which at most `room` bytes are kept. `on_whole` is
    /// called with `None` as soon as more than that has passed, and if the body
    /// is dropped before its end.
    pub(super) fn around(body: &mut Body, room: usize, on_whole: OnWhole) {
        let (pace, passing) = (body.pace(), std::mem::take(body));
        *body = Body::stream(Self {
            passing,
            kept: BytesMut::new(),
            room,
            on_whole: Some(on_whole),
        });
        body.set_pace(pace);
    }

    /// Keeps a piece that passes, or gives up if there is no room for it.
    fn keep(&mut self, data: &Bytes) {
        if self.on_whole.is_none() {
            return;
        }
        if data.len() > self.room {
            self.kept = BytesMut::new();
            return self.end(false);
        }
        self.room -= data.len();
        self.kept.extend_from_slice(data);
    }

    /// Calls `on_whole`, unless that has happened.
    ///
    /// The call happens in the middle of a poll or of a drop, so that it must
    /// not block.
    fn end(&mut self, is_whole: bool) {
        if let Some(on_whole) = self.on_whole.take() {
            on_whole(is_whole.then(|| std::mem::take(&mut self.kept).freeze()));
        }
    }
}

impl Drop for Tee {
    /// A body that is dropped early was not whole, so that no copy is made of
    /// it.
    fn drop(&mut self) {
        self.end(false);
    }
}

impl http_body::Body for Tee {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.passing).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.keep(data);
                }
                // A body whose length is known is not pulled beyond it, and no
                // body beyond its trailers.
                if frame.is_trailers()
                    || this.passing.is_end_stream()
                    || this.passing.length() == Some(0)
                {
                    this.end(true);
                }
            }
            Some(Err(_)) => this.end(false),
            None => this.end(true),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.passing.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.passing.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    type Seen = Arc<Mutex<Vec<Option<Bytes>>>>;

    fn teed(frames: &'static [&'static str], room: usize) -> (Body, Seen) {
        tee_of(
            frames
                .iter()
                .map(|text| Frame::data(Bytes::from_static(text.as_bytes())))
                .collect(),
            room,
        )
    }

    fn tee_of(frames: Vec<Frame<Bytes>>, room: usize) -> (Body, Seen) {
        let frames = frames.into_iter().map(Ok);
        let mut body = Body::stream(StreamBody::new(futures_util::stream::iter(frames)));
        let seen = Seen::default();
        let tell = Arc::clone(&seen);
        Tee::around(
            &mut body,
            room,
            Box::new(move |whole| tell.lock().unwrap().push(whole)),
        );
        (body, seen)
    }

    #[tokio::test]
    async fn a_body_that_passed_whole_is_handed_on_once() {
        let (body, seen) = teed(&["one ", "two"], 7);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "one two");
        assert_eq!(
            *seen.lock().unwrap(),
            [Some(Bytes::from_static(b"one two"))]
        );
    }

    /// Nothing is pulled behind trailers, so that the end itself is not seen.
    #[tokio::test]
    async fn a_body_with_trailers_is_whole_with_them() {
        let data = Frame::data(Bytes::from_static(b"one"));
        let (mut body, seen) = tee_of(vec![data, Frame::trailers(http::HeaderMap::new())], 7);
        body.frame().await;
        body.frame().await;
        drop(body);
        assert_eq!(*seen.lock().unwrap(), [Some(Bytes::from_static(b"one"))]);
    }

    #[tokio::test]
    async fn a_body_longer_than_its_room_passes_and_is_not_kept() {
        let (body, seen) = teed(&["one ", "two", "three"], 6);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "one twothree");
        assert_eq!(*seen.lock().unwrap(), [None]);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_not_handed_on() {
        let (mut body, seen) = teed(&["one ", "two"], 100);
        body.frame().await;
        drop(body);
        assert_eq!(*seen.lock().unwrap(), [None]);
    }
}
