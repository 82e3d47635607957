//! The trace that a request belongs to: what servers are told of it, and notes
//! on its attempts.
//!
//! A request that is not recorded has the text of a field here and nothing else.
//! One that is recorded notes its attempts (`attempt_span`), each of which is a
//! span that its server gets as a parent. `spans` makes spans of the notes when the exchange
//! has ended.

use std::sync::Arc;

use http::{HeaderName, StatusCode};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    message::{FieldName, Headers, NameSet},
    telemetry::FixedFields,
    traces::{Exporter, TraceParent, Tracer},
};

/// The field by which a caller says which trace a request belongs to.
pub const TRACE_PARENT_HEADER: HeaderName = HeaderName::from_static("traceparent");

/// The trace that a request belongs to.
#[derive(Debug)]
pub struct Trace {
    /// The trace, and the span that servers get as their parent unless the
    /// request is recorded.
    pub(super) parent: TraceParent,
    /// Fields of the caller that are not passed on.
    held: NameSet,
    /// Notes on a request that is recorded. In a box, as few are.
    pub(super) recording: Option<Box<Recording>>,
}

/// Notes on a request that is recorded.
#[derive(Debug)]
pub(super) struct Recording {
    /// Takes the spans.
    pub(super) exporter: Arc<Exporter>,
    /// The caller's `traceparent`; `None` if the trace begins here.
    pub(super) caller: Option<TraceParent>,
    /// Attempts that have ended.
    pub(super) attempts: Mutex<Vec<AttemptNote>>,
}

/// An attempt that has ended.
#[derive(Debug)]
pub(super) struct AttemptNote {
    pub(super) span_id: u64,
    pub(super) begun: Instant,
    /// When the head of the response came, or the attempt failed.
    pub(super) ended: Instant,
    pub(super) server: Arc<FixedFields>,
    /// The target as sent.
    pub(super) target: Box<[u8]>,
    pub(super) outcome: AttemptOutcome,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptOutcome {
    /// By a response.
    Responded(StatusCode),
    /// Without one, for this reason.
    Failed(&'static str),
}

impl Trace {
    /// Begins the trace of a request with these `headers`, or goes on with that
    /// of its caller. `is_proxy` says whether the peer is a trusted proxy.
    #[inline]
    pub fn begin(tracer: &Tracer, headers: &Headers, is_proxy: bool) -> Self {
        let caller = caller(headers);
        let begun = tracer.begin(caller, is_proxy);
        let mut held = NameSet::default();
        if !begun.is_callers {
            held = held.and(FieldName::TraceParent);
        }
        // The state belongs to a trace (Trace Context, "Relationship between the
        // headers").
        if caller.is_none() {
            held = held.and(FieldName::TraceState);
        }
        let recording = begun.is_recorded.then(|| {
            Box::new(Recording {
                exporter: Arc::clone(tracer.exporter()),
                caller,
                attempts: Mutex::default(),
            })
        });
        Self {
            parent: begun.parent,
            held,
            recording,
        }
    }

    /// The trace of a request that the gateway itself makes for this one. It is
    /// not recorded: the server gets the span of this request as its parent.
    pub fn aside(&self) -> Self {
        Self {
            parent: self.parent,
            held: self.held.and(FieldName::TraceParent),
            recording: None,
        }
    }

    /// Fields of the caller that are not passed on.
    #[inline]
    pub fn held(&self) -> NameSet {
        self.held
    }

    /// The field for a server, with the id of the attempt's span if that is
    /// recorded; `None` if the caller's is passed on.
    #[inline]
    pub fn field(&self, attempt: Option<u64>) -> Option<TraceParent> {
        let field = self.held.has(FieldName::TraceParent).then_some(self.parent);
        match attempt {
            Some(attempt) => field.map(|parent| parent.with_span(attempt)),
            None => field,
        }
    }

    /// The trace that a request with these `headers` belongs to, as far as is
    /// known: also if the gateway has no traces and its caller has named one.
    #[inline]
    pub(super) fn known(trace: Option<&Self>, headers: &Headers) -> Option<TraceParent> {
        match trace {
            Some(trace) => Some(trace.parent),
            None => caller(headers),
        }
    }
}

/// The caller's `traceparent`; `None` if there is none that is sound, or if
/// there are several.
fn caller(headers: &Headers) -> Option<TraceParent> {
    if !headers.has(FieldName::TraceParent) {
        return None;
    }
    TraceParent::parse(headers.only(FieldName::TraceParent)?)
}
