//! A request body that can be sent again: what passes is kept, up to a bound,
//! for the next attempt.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;

use crate::{
    body::{Body, Pace},
    error::Fault,
};

/// Bytes sent again at once.
const MOST_AT_ONCE: usize = 32 * 1024;
/// Bytes that a field takes up beside its text, about.
const FIELD: usize = 64;

/// Makes one body for each attempt out of the client's one.
#[derive(Debug)]
pub(super) enum Replay {
    /// One that is here already, whatever its size: it was buffered.
    Whole(Bytes, Option<Pace>),
    /// One that is kept as it passes.
    Passing(Arc<Mutex<KeptBody>>),
}

/// The part of a body that has passed, and the rest of it.
#[derive(Debug)]
pub(super) struct KeptBody {
    /// The rest of the client's body; `None` while an attempt reads it.
    rest: Option<Body>,
    /// The bytes that have passed, copied: a piece as it was read would keep
    /// the whole buffer behind it, which a client could make many times larger
    /// than the piece.
    data: Vec<u8>,
    /// The trailers, if they have passed.
    trailers: Option<HeaderMap>,
    /// Bytes that may still be kept.
    room: usize,
    /// More passed than is kept: it cannot be sent again.
    is_lost: bool,
    /// The client named its length. Otherwise none is named when it is known in
    /// the end: trailers may follow.
    is_counted: bool,
}

impl Replay {
    /// Keeps at most `room` bytes. A longer body can be sent again as long as
    /// no more of it than that was read: one of any length can go to another
    /// server when the first one refused the connection.
    pub(super) fn new(body: Body, room: usize) -> Self {
        if let Some(whole) = body.as_whole() {
            return Self::Whole(whole, body.pace());
        }
        let is_counted = body.length().is_some();
        let (rest, data) = (Some(body), Vec::new());
        let kept = KeptBody {
            rest,
            data,
            trailers: None,
            room,
            is_lost: false,
            is_counted,
        };
        Self::Passing(Arc::new(Mutex::new(kept)))
    }

    /// Whether another attempt can send the body whole; asked when the attempt
    /// before is over.
    pub(super) fn can_replay(&self) -> bool {
        let Self::Passing(kept) = self else {
            return true;
        };
        let kept = kept.lock();
        !kept.is_lost && kept.rest.is_some()
    }

    /// The body for the next attempt. The attempt before must be over: its body
    /// gives the rest of the client's body back when it is dropped.
    pub(super) fn body(&self) -> Body {
        let (mut body, pace) = match self {
            Self::Whole(whole, pace) => (Body::whole(whole.clone()), *pace),
            Self::Passing(kept) => KeptBody::body(kept),
        };
        body.set_pace(pace);
        body
    }
}

impl KeptBody {
    /// The body for the next attempt, and its pace.
    fn body(all: &Arc<Mutex<Self>>) -> (Body, Option<Pace>) {
        let mut kept = all.lock();
        let rest = kept.rest.take().unwrap_or_default();
        let pace = rest.pace();
        let body = if rest.is_empty() && kept.data.is_empty() && kept.trailers.is_none() {
            rest
        } else {
            let length = rest
                .length()
                .filter(|_| kept.is_counted)
                .map(|rest| rest + kept.data.len() as u64);
            Body::stream(AttemptBody {
                kept: Arc::clone(all),
                rest: Some(rest),
                sent: 0,
                has_trailed: false,
                length,
            })
        };
        (body, pace)
    }

    /// Keeps a piece that passes, or gives up keeping if there is no room for
    /// it.
    fn keep(&mut self, frame: &Frame<Bytes>) {
        if self.is_lost {
            return;
        }
        let data = frame.data_ref().map_or(&[][..], |data| data);
        let size = data.len() + frame.trailers_ref().map_or(0, size_of_fields);
        if size > self.room {
            self.is_lost = true;
            (self.data, self.trailers) = (Vec::new(), None);
            return;
        }
        self.make_room(data.len());
        self.data.extend_from_slice(data);
        self.room -= size;
        self.trailers = frame.trailers_ref().cloned();
    }

    /// Grows by doubling, but never beyond what may be kept in all.
    fn make_room(&mut self, more: usize) {
        if self.data.len() + more > self.data.capacity() {
            self.data
                .reserve_exact(more.max(self.data.len()).min(self.room));
        }
    }

    /// The next piece of what is kept, of which `sent` bytes were sent again.
    fn next(&self, sent: usize) -> Option<Frame<Bytes>> {
        match self.data.get(sent..) {
            Some(left @ [_, ..]) => Some(Frame::data(Bytes::copy_from_slice(
                &left[..left.len().min(MOST_AT_ONCE)],
            ))),
            _ => self.trailers.clone().map(Frame::trailers),
        }
    }
}

/// Bytes that fields take up, about.
fn size_of_fields(fields: &HeaderMap) -> usize {
    fields
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD)
        .sum()
}

/// One attempt's body: what was kept, then the rest from the client. Dropped
/// early, it hands the rest back.
struct AttemptBody {
    /// The part that earlier attempts have read, and that this one adds to.
    kept: Arc<Mutex<KeptBody>>,
    /// The rest of the client's body, which this attempt reads.
    rest: Option<Body>,
    /// Bytes that this attempt sent.
    sent: usize,
    /// It sent trailers, behind which nothing comes.
    has_trailed: bool,
    /// The bytes that are still to come; `None` if not known.
    length: Option<u64>,
}

impl AttemptBody {
    /// The next piece that an earlier attempt has read already.
    fn next_kept(&self) -> Option<Frame<Bytes>> {
        self.kept.lock().next(self.sent)
    }
}

impl Drop for AttemptBody {
    fn drop(&mut self) {
        self.kept.lock().rest = self.rest.take();
    }
}

impl http_body::Body for AttemptBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = self.get_mut();
        if this.has_trailed {
            return Poll::Ready(None);
        }
        let frame = match (this.next_kept(), &mut this.rest) {
            (Some(frame), _) => frame,
            (None, None) => return Poll::Ready(None),
            (None, Some(rest)) => match ready!(Pin::new(rest).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    this.kept.lock().keep(&frame);
                    frame
                }
                other => return Poll::Ready(other),
            },
        };
        let size = frame.data_ref().map_or(0, Bytes::len);
        this.sent += size;
        this.has_trailed = frame.is_trailers();
        if let Some(length) = &mut this.length {
            *length -= size as u64;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.length == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream::iter;
    use http::{HeaderName, HeaderValue};
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn streamed(frames: &'static [&'static str]) -> Body {
        let frames = frames
            .iter()
            .map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes()))));
        Body::stream(StreamBody::new(iter(frames)))
    }

    fn counted(text: &'static str) -> Body {
        Body::stream(
            http_body_util::Full::new(Bytes::from_static(text.as_bytes()))
                .map_err(|never| match never {}),
        )
    }

    #[tokio::test]
    async fn a_body_that_is_here_whole_is_sent_again_whatever_its_size() {
        let replay = Replay::new(Body::whole("123456"), 5);
        for _ in 0..3 {
            assert!(replay.can_replay());
            assert_eq!(replay.body().length(), Some(6));
            assert_eq!(text(replay.body()).await, "123456");
        }
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

    /// A kept piece held the whole buffer that it had been read into: of tiny
    /// chunks with long extensions 64 KiB of data held more than 16 MiB.
    #[tokio::test]
    async fn pieces_do_not_keep_the_buffers_that_they_were_read_into() {
        const ROOM: usize = 1000;
        let read = Bytes::from(vec![b'x'; 1024 * 1024]);
        let pieces: Vec<_> = (0..ROOM)
            .map(|at| Ok(Frame::data(read.slice(at * 1000..=at * 1000))))
            .collect();
        let replay = Replay::new(Body::stream(StreamBody::new(iter(pieces))), ROOM);
        assert_eq!(text(replay.body()).await, "x".repeat(ROOM));
        assert!(read.is_unique(), "something still holds what was read");
        assert!(replay.can_replay());
        assert!(matches!(&replay, Replay::Passing(kept) if kept.lock().data.capacity() <= ROOM));
        assert_eq!(text(replay.body()).await, "x".repeat(ROOM));
    }

    #[tokio::test]
    async fn trailers_are_sent_again_once_and_count_as_kept() {
        let frames = || {
            let trailers = HeaderMap::from_iter([(
                HeaderName::from_static("x-sum"),
                HeaderValue::from_static("1"),
            )]);
            iter([
                Ok(Frame::data(Bytes::from_static(b"data"))),
                Ok(Frame::trailers(trailers)),
            ])
        };
        let replay = Replay::new(Body::stream(StreamBody::new(frames())), 100);
        for _ in 0..3 {
            let mut body = replay.body();
            assert_eq!(
                body.frame().await.unwrap().unwrap().into_data().unwrap(),
                "data"
            );
            assert_eq!(
                body.frame()
                    .await
                    .unwrap()
                    .unwrap()
                    .into_trailers()
                    .unwrap()["x-sum"],
                "1"
            );
            assert!(body.frame().await.is_none());
        }
        assert!(replay.can_replay());
        let replay = Replay::new(Body::stream(StreamBody::new(frames())), 20);
        replay.body().collect().await.unwrap();
        assert!(!replay.can_replay());
    }

    #[tokio::test]
    async fn a_body_longer_than_its_room_can_be_sent_again_until_more_than_that_was_read() {
        let replay = Replay::new(counted("123456"), 5);
        for _ in 0..2 {
            // An attempt that reads nothing: its server refused the connection.
            assert_eq!(replay.body().length(), Some(6));
            assert!(replay.can_replay());
        }
        assert_eq!(text(replay.body()).await, "123456");
        assert!(!replay.can_replay());
    }

    #[tokio::test]
    async fn a_piece_of_a_longer_body_is_repeated_before_its_rest() {
        let replay = Replay::new(streamed(&["one ", "two ", "three"]), 5);
        replay.body().frame().await;
        assert!(replay.can_replay());
        assert_eq!(text(replay.body()).await, "one two three");
        assert!(!replay.can_replay());
    }

    #[tokio::test]
    async fn a_length_stays_known_over_attempts() {
        let replay = Replay::new(counted("12345"), 5);
        let mut first = replay.body();
        first.frame().await;
        drop(first);
        assert_eq!(replay.body().length(), Some(5));
    }
}
