//! A request body that can be sent again: what passes is kept, up to a bound, for the next attempt.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;

use crate::{body::Body, error::Fault};

/// Makes one body for each attempt out of the client's one.
#[derive(Debug)]
pub(super) struct Replay(Arc<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    /// The rest of the client's body; `None` while an attempt reads it.
    rest: Option<Body>,
    frames: Vec<Kind>,
    room: usize,
    /// More passed than is kept: it cannot be sent again.
    is_lost: bool,
    /// The client named its length. Otherwise none is named when it is known in the end: trailers may follow.
    is_counted: bool,
}

#[derive(Debug, Clone)]
enum Kind {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Replay {
    /// Keeps at most `room` bytes. A body that is known to be longer is not kept at all.
    pub(super) fn new(body: Body, room: usize) -> Self {
        let is_lost = body.length().is_some_and(|length| length > room as u64);
        let is_counted = body.length().is_some();
        Self(Arc::new(Mutex::new(Kept { rest: Some(body), frames: Vec::new(), room, is_lost, is_counted })))
    }

    /// Whether another attempt can send the body whole; asked when the attempt before is over.
    pub(super) fn can_replay(&self) -> bool {
        let kept = self.0.lock();
        !kept.is_lost && kept.rest.is_some()
    }

    /// The body for the next attempt.
    pub(super) fn body(&self) -> Body {
        let mut kept = self.0.lock();
        let rest = kept.rest.take().unwrap_or_default();
        let pace = rest.pace;
        let mut body = if rest.is_empty() && kept.frames.is_empty() {
            rest
        } else {
            let length = rest.length().filter(|_| kept.is_counted).map(|rest| rest + kept.passed());
            Body::stream(Attempt { kept: Arc::clone(&self.0), rest: Some(rest), next: 0, length })
        };
        body.pace = pace;
        body
    }
}

impl Kept {
    fn passed(&self) -> u64 {
        let length = |kind: &Kind| if let Kind::Data(data) = kind { data.len() as u64 } else { 0 };
        self.frames.iter().map(length).sum()
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        if self.is_lost {
            return;
        }
        let size = frame.data_ref().map_or(0, Bytes::len);
        if size > self.room {
            self.is_lost = true;
            self.frames.clear();
            return;
        }
        self.room -= size;
        self.frames.extend(match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Some(Kind::Data(data.clone())),
            (None, Some(trailers)) => Some(Kind::Trailers(trailers.clone())),
            (None, None) => None,
        });
    }
}

/// One attempt's body: what was kept, then the rest from the client. Dropped early, it hands the rest back.
struct Attempt {
    kept: Arc<Mutex<Kept>>,
    rest: Option<Body>,
    /// Which kept frame comes next.
    next: usize,
    /// What is still to come, where that is known.
    length: Option<u64>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.kept.lock().rest = self.rest.take();
    }
}

impl http_body::Body for Attempt {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = self.get_mut();
        let kept = this.kept.lock().frames.get(this.next).cloned();
        let frame = match (kept, &mut this.rest) {
            (Some(Kind::Data(data)), _) => Frame::data(data),
            (Some(Kind::Trailers(trailers)), _) => Frame::trailers(trailers),
            (None, None) => return Poll::Ready(None),
            (None, Some(rest)) => match ready!(Pin::new(rest).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    this.kept.lock().keep(&frame);
                    frame
                }
                other => return Poll::Ready(other),
            },
        };
        this.next += 1;
        if let (Some(length), Some(data)) = (&mut this.length, frame.data_ref()) {
            *length -= data.len() as u64;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn streamed(frames: &'static [&'static str]) -> Body {
        let frames = frames.iter().map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes()))));
        Body::stream(http_body_util::StreamBody::new(futures_util::stream::iter(frames)))
    }

    async fn text(body: Body) -> String {
        String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn an_attempt_that_was_cut_short_is_repeated_from_the_start() {
        let replay = Replay::new(streamed(&["one ", "two ", "three"]), 100);
        let mut first = replay.body();
        first.frame().await;
        first.frame().await;
        assert!(!replay.can_replay(), "the attempt still reads");
        drop(first);
        assert!(replay.can_replay());
        assert_eq!(text(replay.body()).await, "one two three");
        assert_eq!(text(replay.body()).await, "one two three");
    }

    #[tokio::test]
    async fn a_body_larger_than_its_room_passes_but_is_not_kept() {
        let replay = Replay::new(streamed(&["one ", "two"]), 5);
        assert_eq!(text(replay.body()).await, "one two");
        assert!(!replay.can_replay());
    }

    #[tokio::test]
    async fn a_body_known_to_be_too_large_is_not_kept_from_the_start() {
        let replay = Replay::new(Body::whole("123456"), 5);
        assert!(!replay.can_replay());
        assert_eq!(replay.body().length(), Some(6));
    }

    #[tokio::test]
    async fn a_length_stays_known_over_attempts() {
        let replay = Replay::new(Body::whole("12345"), 5);
        let mut first = replay.body();
        first.frame().await;
        drop(first);
        assert_eq!(replay.body().length(), Some(5));
    }
}
