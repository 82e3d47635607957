//! Traces: which requests are recorded, and spans on their way to a collector
//! (OpenTelemetry, W3C Trace Context).
//!
//! * [`TraceParent`] is the field by which a caller says which trace a request
//!   belongs to.
//! * [`Tracer`] decides about each request whether it is recorded, and how
//!   servers are told.
//! * [`Exporter`] takes the spans of recorded requests, and sends them from a
//!   thread of its own.
//!
//! A request that is not recorded has no span: it costs three random numbers and
//! a field of 71 bytes. The spans of a recorded one are written once, at its end,
//! from the same notes as its access line (`call::spans`), in the bytes that the
//! collector gets ([`EncodedSpan`]).
//!
//! # Bounds
//!
//! At most [`MOST_QUEUED`] requests wait for the collector. The spans of further
//! ones are dropped and counted: no request waits, however slow the collector
//! is. A request with long fields has some 10 KiB of spans, so that a collector
//! which hangs costs at most about 30 MiB, and usually 4.

mod client;
mod environment;
mod exporter;
mod ids;
mod otlp;
mod parent;
mod tracer;

pub use self::{
    exporter::{Exporter, MOST_QUEUED},
    ids::new_span_id,
    otlp::{EncodedSpan, SpanHead, SpanKind, SpanParent},
    parent::TraceParent,
    tracer::{Begun, Tracer},
};
