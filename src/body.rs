//! The body of a message on its way through the gateway, in either direction.
//!
//! Most answers are small and arrive whole with their head: those stay plain bytes. Everything longer is a boxed stream,
//! pulled frame by frame, so that a slow reader slows the writer at the other end. What must live exactly as long as the
//! exchange (a permit, a place in flight) is held here and let go when nothing is left to be pulled, or when the body is
//! dropped, however that comes about.

mod flow;
mod pace;
mod trailers;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite};

pub use self::{
    flow::Flow,
    pace::{Pace, Progress},
    trailers::Trailers,
};
use crate::error::Fault;

/// Bytes of a whole body that are handed on at once, as who takes them copies them.
const MOST_AT_ONCE: usize = 64 * 1024;

/// The body of a request or a response.
///
/// Boxed as a whole: calls and answers are moved through many layers, and most requests have no body at all.
#[derive(Default)]
pub struct Body(Option<Box<Content>>);

#[derive(Default)]
struct Content {
    source: Source,
    pace: Option<Pace>,
    trailers: Trailers,
    passed: u64,
    delivered: bool,
    flow: Option<Arc<Flow>>,
    held: Option<Box<dyn Held>>,
    witness: Option<Arc<dyn Witness>>,
}

/// A body that arrives in pieces.
pub trait Stream: http_body::Body<Data = Bytes, Error = Fault> + Send {}

impl<B: http_body::Body<Data = Bytes, Error = Fault> + Send> Stream for B {}

/// A body that arrives in pieces and can be read before it is asked for.
pub trait ReadAhead: Stream {
    /// Reads what is here, as far as there is room for it; wakes the task when there is more.
    fn poll_ahead(self: Pin<&mut Self>, cx: &mut Context<'_>);
}

/// The far end of a connection that has switched to another protocol: bytes go both ways, and each way ends by itself.
pub trait Tunnel: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Tunnel for T {}

/// Anything that is let go when the exchange ends; its `Drop` does the work.
pub trait Held: Send {}

impl<T: Send> Held for T {}

/// Who wants to know how a body ended.
pub trait Witness: Send + Sync {
    /// Called once: `bytes` passed; `delivered` says whether all of them reached the other side.
    fn ended(&self, bytes: u64, delivered: bool);
    /// Called when the body broke off, before [`ended`](Witness::ended).
    fn broke(&self, fault: &Fault);
    /// Called once for a tunnel, before [`ended`](Witness::ended): so many bytes went the other way.
    fn received(&self, _bytes: u64) {}
    /// Called once for trailers, as they pass.
    fn trailed(&self, _trailers: &HeaderMap) {}
}

#[derive(Default)]
enum Source {
    #[default]
    Empty,
    Absent,
    Whole(Bytes),
    Stream(Pin<Box<dyn Stream>>),
    Ahead(Pin<Box<dyn ReadAhead>>),
    Tunnel(Box<dyn Tunnel>),
}

impl Body {
    /// A body of no bytes.
    pub fn empty() -> Self {
        Self::default()
    }

    /// No body where the head says how long it would be: the answer of an upstream to HEAD. Has no length of its own.
    pub fn absent() -> Self {
        Self::from_source(Source::Absent)
    }

    /// A body that is here already.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() {
            Self::empty()
        } else {
            Self::from_source(Source::Whole(bytes))
        }
    }

    /// A body that arrives in pieces.
    pub fn stream(stream: impl Stream + 'static) -> Self {
        Self::from_source(Source::Stream(Box::pin(stream)))
    }

    /// A body that arrives in pieces and can be read before it is asked for.
    pub fn ahead(stream: impl ReadAhead + 'static) -> Self {
        Self::from_source(Source::Ahead(Box::pin(stream)))
    }

    /// In place of a body, that of an answer which switches protocols. It is whoever serves the client who moves the bytes.
    pub fn tunnel(far_end: impl Tunnel + 'static) -> Self {
        Self::from_source(Source::Tunnel(Box::new(far_end)))
    }

    fn from_source(source: Source) -> Self {
        let mut body = Self::default();
        body.content().source = source;
        body
    }

    fn content(&mut self) -> &mut Content {
        self.0.get_or_insert_default()
    }

    fn source(&self) -> &Source {
        self.0
            .as_ref()
            .map_or(&Source::Empty, |content| &content.source)
    }

    /// True when nothing is left to come; a stream may turn out to be empty later.
    pub fn is_empty(&self) -> bool {
        matches!(self.source(), Source::Empty | Source::Absent)
    }

    /// True when all of it is here already.
    pub fn is_whole(&self) -> bool {
        !matches!(
            self.source(),
            Source::Stream(_) | Source::Ahead(_) | Source::Tunnel(_)
        )
    }

    /// True for an answer that switches protocols.
    pub fn is_tunnel(&self) -> bool {
        matches!(self.source(), Source::Tunnel(_))
    }

    /// Exact number of bytes to come, where that is known.
    pub fn length(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// The whole of a body that is here already; `None` for a stream.
    pub fn as_whole(&self) -> Option<Bytes> {
        match self.source() {
            Source::Empty | Source::Absent => Some(Bytes::new()),
            Source::Whole(bytes) => Some(bytes.clone()),
            Source::Stream(_) | Source::Ahead(_) | Source::Tunnel(_) => None,
        }
    }

    /// The whole of a body that is here already, leaving none; `None` for a stream.
    pub fn take_whole(&mut self) -> Option<Bytes> {
        let Some(content) = &mut self.0 else {
            return Some(Bytes::new());
        };
        match std::mem::take(&mut content.source) {
            Source::Empty | Source::Absent => Some(Bytes::new()),
            Source::Whole(bytes) => {
                content.passed += bytes.len() as u64;
                Some(bytes)
            }
            stream => {
                content.source = stream;
                None
            }
        }
    }

    /// The far end of a tunnel, once; what is held is held until this body is dropped.
    pub fn take_tunnel(&mut self) -> Option<Box<dyn Tunnel>> {
        let content = self.0.as_mut()?;
        match std::mem::take(&mut content.source) {
            Source::Tunnel(far_end) => Some(far_end),
            other => {
                content.source = other;
                None
            }
        }
    }

    /// Says how many bytes a tunnel has moved, from the client and to it.
    pub fn tunnelled(&mut self, received: u64, passed: u64) {
        let content = self.content();
        content.passed = passed;
        if let Some(witness) = &content.witness {
            witness.received(received);
        }
    }

    /// Has it read before it is asked for, where it can be: to be called while the other side takes nothing.
    pub fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        if let Some(Source::Ahead(stream)) = self.0.as_mut().map(|content| &mut content.source) {
            stream.as_mut().poll_ahead(cx);
        }
    }

    /// How long its transfer may pause, and when it must be over; `None` where nobody has said.
    pub fn pace(&self) -> Option<Pace> {
        self.0.as_ref().and_then(|content| content.pace)
    }

    /// Says how long its transfer may pause, and when it must be over.
    pub fn set_pace(&mut self, pace: Option<Pace>) {
        if pace.is_some() || self.0.is_some() {
            self.content().pace = pace;
        }
    }

    /// Says which of its trailers pass; of what is here whole there are none.
    pub fn set_trailers(&mut self, trailers: Trailers) {
        if !self.is_whole() {
            self.content().trailers = trailers;
        }
    }

    /// Notes in `flow` when this body flows, while it is read.
    pub fn set_flow(&mut self, flow: Arc<Flow>) {
        self.content().flow = Some(flow);
    }

    /// Where it is noted when this body flows.
    pub fn flow(&self) -> Option<&Arc<Flow>> {
        self.0.as_ref().and_then(|content| content.flow.as_ref())
    }

    /// Nobody will read the rest of this body.
    pub fn leave_unread(&mut self) {
        if let Some(content) = &mut self.0 {
            content.end_flow();
        }
    }

    /// Keeps `guard` until this body is dropped, or told to let go.
    pub fn hold(&mut self, guard: impl Held + 'static) {
        let held = &mut self.content().held;
        *held = Some(match held.take() {
            None => Box::new(guard),
            Some(earlier) => Box::new((earlier, guard)),
        });
    }

    /// Lets go of what is held, once nothing of this body is left to be pulled.
    pub fn let_go(&mut self) {
        if let Some(content) = &mut self.0 {
            content.held = None;
        }
    }

    /// Tells `witness` how this body ends.
    pub fn watch(&mut self, witness: Arc<dyn Witness>) {
        self.content().witness = Some(witness);
    }

    /// Says that its transfer broke off for a reason that did not come out of the body itself.
    pub fn broke(&mut self, fault: &Fault) {
        if let Some(witness) = self.0.as_ref().and_then(|content| content.witness.as_ref()) {
            witness.broke(fault);
        }
    }

    /// Says that everything reached the other side; without it a drop counts as cut off.
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
            Source::Empty | Source::Absent => None,
            Source::Whole(bytes) => {
                let piece = bytes.split_to(bytes.len().min(MOST_AT_ONCE));
                if bytes.is_empty() {
                    this.source = Source::Empty;
                }
                Some(Ok(Frame::data(piece)))
            }
            Source::Stream(stream) => {
                if let Some(flow) = this.flow.as_ref().filter(|flow| !flow.waits) {
                    flow.begin();
                }
                ready!(this.trailers.poll_passing(stream.as_mut(), cx))
            }
            Source::Ahead(stream) => ready!(this.trailers.poll_passing(stream.as_mut(), cx)),
            // There are no frames to pull.
            Source::Tunnel(_) => return Poll::Ready(None),
        };
        if this.flow.is_some() {
            this.note_flow(matches!(frame, Some(Ok(_))));
        }
        match &frame {
            Some(Ok(frame)) => {
                this.passed += frame.data_ref().map_or(0, |data| data.len() as u64);
                if let (Some(trailers), Some(witness)) = (frame.trailers_ref(), &this.witness) {
                    witness.trailed(trailers);
                }
            }
            Some(Err(fault)) => {
                if let Some(witness) = &this.witness {
                    witness.broke(fault);
                }
            }
            None => this.source = Source::Empty,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match self.source() {
            Source::Empty | Source::Absent => true,
            Source::Whole(_) | Source::Tunnel(_) => false,
            Source::Stream(stream) => stream.is_end_stream(),
            Source::Ahead(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.source() {
            Source::Empty => SizeHint::with_exact(0),
            Source::Absent | Source::Tunnel(_) => SizeHint::default(),
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Stream(stream) => stream.size_hint(),
            Source::Ahead(stream) => stream.size_hint(),
        }
    }
}

impl Content {
    /// Notes that a piece has come, or that none will.
    fn note_flow(&mut self, has_come: bool) {
        let is_over = match &self.source {
            Source::Stream(stream) => !has_come || stream.is_end_stream(),
            _ => true,
        };
        match &self.flow {
            Some(flow) if !is_over => flow.begin(),
            _ => self.end_flow(),
        }
    }

    fn end_flow(&mut self) {
        if let Some(flow) = self.flow.take() {
            flow.end();
        }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.end_flow();
        if let Some(witness) = self.witness.take() {
            witness.ended(self.passed, self.delivered);
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.source() {
            Source::Empty => "empty",
            Source::Absent => "absent",
            Source::Whole(_) => "whole",
            Source::Stream(_) => "stream",
            Source::Ahead(_) => "ahead",
            Source::Tunnel(_) => "tunnel",
        };
        f.debug_struct("Body")
            .field("source", &kind)
            .finish_non_exhaustive()
    }
}
