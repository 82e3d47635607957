//! The content of a body: the source of its bytes, and everything that belongs
//! to it until its end.
//!
//! # Trailers
//!
//! Not all trailers pass (RFC 9110, 6.5). Requests towards HTTP/1 servers pass
//! only those that they announce, and a route's changes of response fields apply
//! to trailers too.
//!
//! # The observer
//!
//! A body is observed by its exchange, which is emitted when its last body ends.
//!
//! # Reuse
//!
//! Each thread keeps the contents of some bodies that have ended, with the
//! buffers of short ones, for the next bodies. A short response so allocates
//! nothing for its body.

use std::{
    cell::RefCell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::Frame;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    meter::BodyMeter,
    pace::{Flow, Pace},
};
use crate::error::Fault;

/// A body that arrives in pieces. Implemented by every [`http_body::Body`] of
/// bytes that fails with a [`Fault`].
pub trait BodyStream: http_body::Body<Data = Bytes, Error = Fault> + Send {}

impl<B: http_body::Body<Data = Bytes, Error = Fault> + Send> BodyStream for B {}

/// A body that arrives in pieces and can be read before they are pulled. A
/// route with a response buffer uses it to free the server early.
pub trait ReadableAhead: BodyStream {
    /// Reads the bytes that have arrived, as far as there is room for them;
    /// wakes the task when more arrives.
    fn poll_ahead(self: Pin<&mut Self>, cx: &mut Context<'_>);
}

/// The far end of a connection that has switched to another protocol (RFC 9110,
/// 7.8). Bytes go both ways, and each way ends by itself.
pub trait Tunnel: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Tunnel for T {}

/// A guard that is dropped when the exchange ends; its `Drop` does the work.
/// Implemented by every value that can be sent to another thread.
pub trait Held: Send {}

impl<T: Send> Held for T {}

/// A count that many requests share, of which one ends with the body.
///
/// A guard that is nothing else needs no allocation of its own.
pub trait SharedCount: Send + Sync {
    /// Ends the part of one request. `which` says of what, if the count counts
    /// several things.
    fn end_one(&self, which: u64);
}

/// The guards of a body, which do their work when they are dropped.
#[expect(dead_code, reason = "nothing but dropped")]
pub(super) enum Guard {
    /// A part of a count.
    Count(CountGuard),
    /// Any others.
    Other(Box<dyn Held>),
}

/// A part of a count, ended on drop.
pub(super) struct CountGuard(pub(super) Arc<dyn SharedCount>, pub(super) u64);

impl Drop for CountGuard {
    fn drop(&mut self) {
        self.0.end_one(self.1);
    }
}

/// Learns how a body ends. The methods run within a poll or a drop, so they
/// must be fast.
pub trait BodyObserver: Send + Sync {
    /// Called once, at the end: `bytes` were pulled, and all of them reached
    /// the other side if `delivered`.
    fn ended(&self, bytes: u64, delivered: bool);
    /// Called when the body broke off, before [`ended`](BodyObserver::ended).
    fn broke(&self, fault: &Fault);
    /// Called once for a tunnel, before [`ended`](BodyObserver::ended), with
    /// the bytes that went the other way.
    fn received(&self, _bytes: u64) {}
    /// Called once for trailers, when they pass.
    fn trailed(&self, _trailers: &HeaderMap) {}
}

/// Contents that a thread keeps. If more bodies than this end at the same time,
/// the further contents are freed.
const MOST_KEPT: usize = 64;
/// The longest buffer that is kept with a content, in bytes.
const MOST_BUFFER: usize = 4 * 1024;

thread_local! {
    /// The contents that this thread keeps, each as if it were new.
    #[expect(clippy::vec_box, reason = "a body is moved through many layers, which is cheaper for a box")]
    static KEPT: RefCell<Vec<Box<Content>>> = const { RefCell::new(Vec::new()) };
}

/// Everything that belongs to a body which is not empty.
#[derive(Default)]
pub(super) struct Content {
    pub(super) source: BodySource,
    /// The bytes of [`BodySource::Short`].
    pub(super) buffer: Vec<u8>,
    /// The bounds on its transfer; `None` until they are set.
    pub(super) pace: Option<Pace>,
    /// The trailers that pass.
    pub(super) trailers: Trailers,
    /// Bytes that were pulled; for a tunnel, those that went to the client.
    pub(super) passed: u64,
    /// Whether all of it reached the other side.
    pub(super) delivered: bool,
    /// Measures when it flows; taken at its end.
    pub(super) flow: Option<Arc<Flow>>,
    /// Guards, dropped in the order in which they were added. There are two
    /// places, as many requests hold a permit of their route and one of a limit.
    pub(super) held: [Option<Guard>; 2],
    /// Learns how it ends; taken when it has been told.
    pub(super) observer: Option<Arc<dyn BodyObserver>>,
    /// Sees everything that passes; taken at the end.
    pub(super) meter: Option<Box<dyn BodyMeter>>,
}

/// The source of the bytes of a body.
#[derive(Default)]
pub(super) enum BodySource {
    /// No bytes, or none left.
    #[default]
    Empty,
    /// The head says how long a body would be, and there is none.
    Absent,
    /// In memory.
    Whole(Bytes),
    /// In memory, in the buffer of the content.
    Short,
    /// Arrives in pieces.
    Stream(Pin<Box<dyn BodyStream>>),
    /// Arrives in pieces and may be read ahead.
    Ahead(Pin<Box<dyn ReadableAhead>>),
    /// No body: the connection switches protocols.
    Tunnel(Box<dyn Tunnel>),
}

/// The next frame of `stream`, with the `trailers` that pass. If none of them
/// passes, the end is still read, as it may be waited for. The `meter` sees all
/// of them.
pub(super) fn poll_passing(
    mut stream: Pin<&mut (dyn BodyStream + 'static)>,
    trailers: &Trailers,
    meter: &mut Option<Box<dyn BodyMeter>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
    loop {
        match ready!(stream.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) if frame.is_trailers() => {
                if let (Some(meter), Some(fields)) = (meter.as_mut(), frame.trailers_ref()) {
                    meter.trailed(fields);
                }
                if let Some(frame) = trailers.of(frame) {
                    return Poll::Ready(Some(Ok(frame)));
                }
            }
            frame => return Poll::Ready(frame),
        }
    }
}

impl Content {
    /// Notes that a piece has arrived (`has_come`), or that none will.
    pub(super) fn note_flow(&mut self, has_come: bool) {
        let is_over = match &self.source {
            BodySource::Stream(stream) => !has_come || stream.is_end_stream(),
            _ => true,
        };
        match &self.flow {
            Some(flow) if !is_over => flow.begin(),
            _ => self.end_flow(),
        }
    }

    /// Stops the measure of the flow, for good.
    pub(super) fn end_flow(&mut self) {
        if let Some(flow) = self.flow.take() {
            flow.end();
        }
    }
}

impl Content {
    /// A content without anything, of those that the thread keeps if it has
    /// one.
    pub(super) fn take() -> Box<Self> {
        KEPT.try_with(|kept| kept.borrow_mut().pop())
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    /// Ends the body, and keeps its content for another one.
    pub(super) fn give_back(mut self: Box<Self>) {
        self.end();
        // The thread keeps nothing any more when it ends.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < MOST_KEPT {
                kept.push(self);
            }
        });
    }

    /// Holds one more guard.
    pub(super) fn hold(&mut self, guard: Guard) {
        let [first, second] = &mut self.held;
        if first.is_none() {
            *first = Some(guard);
            return;
        }
        *second = Some(match second.take() {
            None => guard,
            Some(earlier) => Guard::Other(Box::new((earlier, guard))),
        });
    }

    /// Drops the guards.
    pub(super) fn release(&mut self) {
        for held in &mut self.held {
            *held = None;
        }
    }

    /// Tells the meter that the body has ended, and whether anything was left.
    pub(super) fn end_meter(&mut self, is_whole: bool) {
        if let Some(meter) = self.meter.take() {
            meter.ended(is_whole);
        }
    }

    /// Whether nothing is left to be pulled.
    fn is_over(&self) -> bool {
        match &self.source {
            BodySource::Empty | BodySource::Absent => true,
            BodySource::Whole(_) | BodySource::Short | BodySource::Tunnel(_) => self.delivered,
            BodySource::Stream(stream) => self.delivered || stream.is_end_stream(),
            BodySource::Ahead(stream) => self.delivered || stream.is_end_stream(),
        }
    }

    /// Tells the meter and the observer how the body ended, drops the guards,
    /// and leaves the content as if it were new.
    fn end(&mut self) {
        self.end_flow();
        if self.meter.is_some() {
            self.end_meter(self.is_over());
        }
        if let Some(observer) = self.observer.take() {
            observer.ended(self.passed, self.delivered);
        }
        self.source = BodySource::Empty;
        self.release();
        self.pace = None;
        self.trailers = Trailers::All;
        self.passed = 0;
        self.delivered = false;
        self.buffer.clear();
        if self.buffer.capacity() > MOST_BUFFER {
            self.buffer = Vec::new();
        }
    }
}

/// The trailers of a body that pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trailers {
    /// All of them.
    #[default]
    All,
    /// Only those of these names.
    Only(Box<[HeaderName]>),
    /// All but those of these names.
    Without(Arc<[HeaderName]>),
}

impl Trailers {
    /// Whether the trailers of this name pass.
    fn pass(&self, name: &HeaderName) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
            Self::Without(names) => !names.contains(name),
        }
    }

    /// The part of a frame of trailers that passes; `None` if no field does.
    pub(super) fn of(&self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let mut fields = frame.into_trailers().unwrap_or_default();
        let dropped: Vec<_> = fields
            .keys()
            .filter(|name| !self.pass(name))
            .cloned()
            .collect();
        for name in dropped {
            fields.remove(name);
        }
        (!fields.is_empty()).then(|| Frame::trailers(fields))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;
    use parking_lot::Mutex;

    use super::*;
    use crate::body::{Body, Pace};

    /// Notes how bodies end.
    #[derive(Default)]
    struct NotedEnds(Mutex<Vec<(u64, bool)>>);

    impl BodyObserver for NotedEnds {
        fn ended(&self, bytes: u64, delivered: bool) {
            self.0.lock().push((bytes, delivered));
        }

        fn broke(&self, _: &Fault) {}
    }

    #[test]
    fn a_body_has_nothing_of_the_body_whose_content_it_reuses() {
        let (ends, guard) = (Arc::new(NotedEnds::default()), Arc::new(()));
        let mut first = Body::copied(b"hello");
        first.set_pace(Some(Pace::of(Duration::from_secs(1))));
        first.observe(ends.clone());
        first.hold(guard.clone());
        assert!(first.append_whole(&mut Vec::new()));
        first.delivered();
        drop(first);
        assert_eq!(*ends.0.lock(), [(5, true)]);
        assert_eq!(Arc::strong_count(&guard), 1);
        let mut second = Body::copied(b"x");
        assert_eq!((second.length(), second.pace()), (Some(1), None));
        second.observe(ends.clone());
        drop(second);
        assert_eq!(*ends.0.lock(), [(5, true), (0, false)]);
    }

    #[tokio::test]
    async fn a_short_body_is_pulled_as_a_whole() {
        let mut body = Body::copied(b"hello");
        assert_eq!(body.as_whole().as_deref(), Some(&b"hello"[..]));
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            "hello"
        );
        assert!(body.is_empty() && body.frame().await.is_none());
    }

    #[test]
    fn a_thread_keeps_few_contents_and_no_long_buffer() {
        let bodies: Vec<_> = (0..2 * MOST_KEPT)
            .map(|_| Body::copied(&[0; 2 * MOST_BUFFER]))
            .collect();
        drop(bodies);
        KEPT.with_borrow(|kept| {
            assert_eq!(kept.len(), MOST_KEPT);
            assert!(kept.iter().all(|content| content.buffer.capacity() == 0));
        });
    }
}
