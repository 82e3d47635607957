//! The body of a message on its way through the gateway, in either direction.
//!
//! Most responses are small and arrive with their head: those stay plain bytes.
//! Everything longer is a boxed stream, pulled frame by frame, so that a slow
//! reader slows the writer at the other end. A body is pulled by the code that
//! writes to the receiver: `server` pulls response bodies, `upstream` pulls
//! request bodies.
//!
//! Guards that must live exactly as long as the exchange, such as permits, are
//! held by the body. They are dropped when nothing is left to be pulled, or
//! with the body. An observer learns how the body ends, also when it is dropped
//! in the middle.
//!
//! ```
//! use http_body_util::BodyExt;
//! use tidegate::body::Body;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let body = Body::whole("hello");
//! assert_eq!(body.length(), Some(5));
//! assert_eq!(body.collect().await.unwrap().to_bytes(), "hello");
//! # }
//! ```

mod content;
mod meter;
mod pace;
mod unframed;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use self::content::{BodySource, Content, CountGuard, Guard, poll_passing};
pub use self::{
    content::{BodyObserver, BodyStream, Held, ReadableAhead, SharedCount, Trailers, Tunnel},
    meter::BodyMeter,
    pace::{Flow, Pace, PauseWatch},
};
use crate::error::Fault;

/// Bytes of a body in memory that are pulled at once, as their receiver copies
/// them.
const MOST_AT_ONCE: usize = 64 * 1024;

/// The body of a request or a response.
///
/// Boxed as a whole, because calls and responses are moved through many layers
/// and most requests have no body at all: an empty body is one null pointer.
#[derive(Default)]
pub struct Body(Option<Box<Content>>);

impl Body {
    /// A body of no bytes, with length 0.
    pub fn empty() -> Self {
        Self::default()
    }

    /// No body, where the head says how long one would be: the response to
    /// HEAD. Unlike that of an empty body, its length is unknown.
    pub fn absent() -> Self {
        Self::from_source(BodySource::Absent)
    }

    /// A body in memory.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() {
            Self::empty()
        } else {
            Self::from_source(BodySource::Whole(bytes))
        }
    }

    /// A body in memory, copied from `bytes`. For short ones, this is less work
    /// than sharing their memory.
    pub fn copied(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::empty();
        }
        Self::written(|out| out.extend_from_slice(bytes))
    }

    /// A body in memory, which `write` appends to an empty buffer. The buffer
    /// is that of a body that has ended, if the thread keeps one.
    pub fn written(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut body = Self::from_source(BodySource::Short);
        write(&mut body.content().buffer);
        body
    }

    /// A body that arrives in pieces. Its size hint is that of `stream`.
    pub fn stream(stream: impl BodyStream + 'static) -> Self {
        Self::from_source(BodySource::Stream(Box::pin(stream)))
    }

    /// A body that arrives in pieces and can be read before they are pulled.
    pub fn ahead(stream: impl ReadableAhead + 'static) -> Self {
        Self::from_source(BodySource::Ahead(Box::pin(stream)))
    }

    /// The far end of a connection that switches protocols, in the place of a
    /// response body. The code that serves the client moves the bytes.
    pub fn tunnel(far_end: impl Tunnel + 'static) -> Self {
        Self::from_source(BodySource::Tunnel(Box::new(far_end)))
    }

    /// A body from this source, without anything else.
    fn from_source(source: BodySource) -> Self {
        let mut body = Self::default();
        body.content().source = source;
        body
    }

    /// The content, made if there is none.
    #[inline]
    fn content(&mut self) -> &mut Content {
        self.0.get_or_insert_with(Content::take)
    }

    /// The source of the bytes.
    fn source(&self) -> &BodySource {
        self.0
            .as_ref()
            .map_or(&BodySource::Empty, |content| &content.source)
    }

    /// Whether nothing is left to be pulled. A stream that turns out to have no
    /// bytes is not empty before its end was pulled.
    pub fn is_empty(&self) -> bool {
        matches!(self.source(), BodySource::Empty | BodySource::Absent)
    }

    /// Whether all of it is in memory, so that no wait can occur while it is
    /// pulled.
    pub fn is_whole(&self) -> bool {
        !matches!(
            self.source(),
            BodySource::Stream(_) | BodySource::Ahead(_) | BodySource::Tunnel(_)
        )
    }

    /// Whether the response switches protocols.
    pub fn is_tunnel(&self) -> bool {
        matches!(self.source(), BodySource::Tunnel(_))
    }

    /// The exact number of bytes that are left; `None` if it is not known.
    pub fn length(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// The bytes of a body in memory, without taking them; `None` for a stream.
    pub fn as_whole(&self) -> Option<Bytes> {
        let content = self.0.as_ref();
        match self.source() {
            BodySource::Empty | BodySource::Absent => Some(Bytes::new()),
            BodySource::Whole(bytes) => Some(bytes.clone()),
            BodySource::Short => content.map(|content| Bytes::copy_from_slice(&content.buffer)),
            BodySource::Stream(_) | BodySource::Ahead(_) | BodySource::Tunnel(_) => None,
        }
    }

    /// Reads ahead, if this body can be. Called while the other side accepts
    /// nothing; wakes the task when more has arrived.
    pub fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        if let Some(BodySource::Ahead(stream)) = self.0.as_mut().map(|content| &mut content.source)
        {
            stream.as_mut().poll_ahead(cx);
        }
    }

    /// The bounds on its transfer; `None` until they are set.
    pub fn pace(&self) -> Option<Pace> {
        self.0.as_ref().and_then(|content| content.pace)
    }

    /// Sets the bounds on its transfer; `None` for no bounds.
    pub fn set_pace(&mut self, pace: Option<Pace>) {
        if pace.is_some() || self.0.is_some() {
            self.content().pace = pace;
        }
    }

    /// Sets which of its trailers pass. A body in memory has none.
    pub fn set_trailers(&mut self, trailers: Trailers) {
        if !self.is_whole() {
            self.content().trailers = trailers;
        }
    }

    /// Has `flow` measure when this body flows.
    pub fn set_flow(&mut self, flow: Arc<Flow>) {
        self.content().flow = Some(flow);
    }

    /// The measure of the time in which this body flows, if there is one.
    pub fn flow(&self) -> Option<&Arc<Flow>> {
        self.0.as_ref().and_then(|content| content.flow.as_ref())
    }

    /// Notes that the rest will not be read, so that it no longer flows.
    pub fn leave_unread(&mut self) {
        if let Some(content) = &mut self.0 {
            content.end_flow();
        }
    }

    /// Holds `guard` until this body is dropped or [let go](Self::let_go).
    /// Several guards are dropped in the order in which they were added.
    pub fn hold(&mut self, guard: impl Held + 'static) {
        self.hold_boxed(Box::new(guard));
    }

    /// As [`hold`](Self::hold), for a guard in a box.
    pub fn hold_boxed(&mut self, guard: Box<dyn Held>) {
        self.content().hold(Guard::Other(guard));
    }

    /// As [`hold`](Self::hold), for one of `which` in `count`. Allocates
    /// nothing.
    pub fn hold_count(&mut self, count: Arc<dyn SharedCount>, which: u64) {
        self.content().hold(Guard::Count(CountGuard(count, which)));
    }

    /// Drops the guards, and ends the meter. Called once nothing of this body is
    /// left to be pulled, so that a permit is free before the client has read
    /// everything.
    pub fn let_go(&mut self) {
        if let Some(content) = &mut self.0 {
            content.release();
            content.end_meter(true);
        }
    }

    /// Has `observer` learn how this body ends, in the place of an earlier one.
    pub fn observe(&mut self, observer: Arc<dyn BodyObserver>) {
        self.content().observer = Some(observer);
    }

    /// Notes that its transfer broke off for a reason other than the body
    /// itself, such as a client that reads nothing.
    pub fn broke(&mut self, fault: &Fault) {
        let content = self.0.as_ref();
        if let Some(observer) = content.and_then(|content| content.observer.as_ref()) {
            observer.broke(fault);
        }
    }

    /// Notes that everything reached the other side. Without it, dropping the
    /// body counts as breaking off.
    pub fn delivered(&mut self) {
        self.content().delivered = true;
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Some(this) = self.0.as_mut() else {
            return Poll::Ready(None);
        };
        let frame = match &mut this.source {
            BodySource::Empty | BodySource::Absent => None,
            BodySource::Whole(bytes) => {
                let piece = bytes.split_to(bytes.len().min(MOST_AT_ONCE));
                if bytes.is_empty() {
                    this.source = BodySource::Empty;
                }
                Some(Ok(Frame::data(piece)))
            }
            BodySource::Short => {
                this.source = BodySource::Empty;
                Some(Ok(Frame::data(std::mem::take(&mut this.buffer).into())))
            }
            BodySource::Stream(stream) => {
                if let Some(flow) = this.flow.as_ref().filter(|flow| !flow.waits) {
                    flow.begin();
                }
                let meter = &mut this.meter;
                ready!(poll_passing(stream.as_mut(), &this.trailers, meter, cx))
            }
            BodySource::Ahead(stream) => {
                let meter = &mut this.meter;
                ready!(poll_passing(stream.as_mut(), &this.trailers, meter, cx))
            }
            // There are no frames to pull.
            BodySource::Tunnel(_) => return Poll::Ready(None),
        };
        if this.flow.is_some() {
            this.note_flow(matches!(frame, Some(Ok(_))));
        }
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.passed += data.len() as u64;
                    if let Some(meter) = &mut this.meter {
                        meter.passed(data);
                    }
                }
                if let (Some(trailers), Some(observer)) = (frame.trailers_ref(), &this.observer) {
                    observer.trailed(trailers);
                }
            }
            Some(Err(fault)) => {
                if let Some(observer) = &this.observer {
                    observer.broke(fault);
                }
            }
            None => this.source = BodySource::Empty,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self.source() {
            BodySource::Empty | BodySource::Absent => true,
            BodySource::Whole(_) | BodySource::Short | BodySource::Tunnel(_) => false,
            BodySource::Stream(stream) => stream.is_end_stream(),
            BodySource::Ahead(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let Some(content) = &self.0 else {
            return SizeHint::with_exact(0);
        };
        match &content.source {
            BodySource::Empty => SizeHint::with_exact(0),
            BodySource::Absent | BodySource::Tunnel(_) => SizeHint::default(),
            BodySource::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            BodySource::Short => SizeHint::with_exact(content.buffer.len() as u64),
            BodySource::Stream(stream) => stream.size_hint(),
            BodySource::Ahead(stream) => stream.size_hint(),
        }
    }
}

impl Drop for Body {
    #[inline]
    fn drop(&mut self) {
        if let Some(content) = self.0.take() {
            content.give_back();
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.source() {
            BodySource::Empty => "empty",
            BodySource::Absent => "absent",
            BodySource::Whole(_) | BodySource::Short => "whole",
            BodySource::Stream(_) => "stream",
            BodySource::Ahead(_) => "ahead",
            BodySource::Tunnel(_) => "tunnel",
        };
        f.debug_struct("Body")
            .field("source", &kind)
            .finish_non_exhaustive()
    }
}
