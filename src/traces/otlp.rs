//! Spans in the encoding of OTLP: messages of Protocol Buffers, written from
//! the facts of a request without types in between.
//!
//! The types that are generated from OTLP's description of its messages own
//! every text, and count the bytes of what is nested once for each level: a
//! request with one attempt takes 60,000 instructions by them, four times as
//! many as it is forwarded by. Here it takes a tenth. Tests read all of it with
//! the generated types.
//!
//! # Sources
//!
//! `opentelemetry/proto/trace/v1/trace.proto`, `common/v1/common.proto`,
//! `resource/v1/resource.proto` and `collector/trace/v1/trace_service.proto` of
//! OTLP 1.

use std::time::{Duration, SystemTime};

use crate::protobuf::{
    BYTES, WireValue, bytes_length, put_bytes, put_fixed_32, put_fixed_64, put_head,
    put_varint_field, tag, take_field, varint_length,
};

/// Room for a span with the usual attributes.
const USUAL: usize = 1024;

/// `HAS_IS_REMOTE` and `IS_REMOTE` of `SpanFlags`: it is known whether the
/// parent is in another process, and it is.
const KNOWS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// The side of a request that a span shows: `SpanKind`.
#[derive(Debug, Clone, Copy)]
pub enum SpanKind {
    /// The gateway as a server.
    Server = 2,
    /// The gateway as a client.
    Client = 3,
}

/// The parent of a span.
#[derive(Debug, Clone, Copy)]
pub struct SpanParent {
    /// The id of the parent.
    pub span_id: u64,
    /// Whether it is a span of another process.
    pub is_remote: bool,
}

/// The facts that every span has.
#[derive(Debug)]
pub struct SpanHead<'a> {
    /// The id of the trace.
    pub trace_id: u128,
    /// The id of the span.
    pub span_id: u64,
    /// `None` for the first span of a trace.
    pub parent: Option<SpanParent>,
    /// The flags of `traceparent`.
    pub flags: u8,
    /// `tracestate`, or empty.
    pub state: &'a str,
    /// The kind of work that the span shows, in few different texts.
    pub name: &'a str,
    /// Which side it shows.
    pub kind: SpanKind,
    /// When it begins.
    pub begun: SystemTime,
    /// When it ends.
    pub ended: SystemTime,
    /// The reason of an error, which may be empty; `None` for no error.
    pub error: Option<&'static str>,
}

/// A span in bytes: the message `Span` without its length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedSpan(Vec<u8>);

impl EncodedSpan {
    /// A span without attributes.
    pub fn new(head: &SpanHead<'_>) -> Self {
        let mut out = Vec::with_capacity(USUAL);
        put_bytes(&mut out, 1, &head.trace_id.to_be_bytes());
        put_bytes(&mut out, 2, &head.span_id.to_be_bytes());
        if !head.state.is_empty() {
            put_bytes(&mut out, 3, head.state.as_bytes());
        }
        let mut flags = u32::from(head.flags) | KNOWS_REMOTE;
        if let Some(parent) = head.parent {
            put_bytes(&mut out, 4, &parent.span_id.to_be_bytes());
            if parent.is_remote {
                flags |= IS_REMOTE;
            }
        }
        put_bytes(&mut out, 5, head.name.as_bytes());
        put_varint_field(&mut out, 6, head.kind as u64);
        put_fixed_64(&mut out, 7, nanoseconds(head.begun));
        put_fixed_64(&mut out, 8, nanoseconds(head.ended));
        if let Some(reason) = head.error {
            let length = if reason.is_empty() {
                0
            } else {
                bytes_length(2, reason.len())
            };
            put_head(&mut out, 15, 2 + length);
            if length > 0 {
                put_bytes(&mut out, 2, reason.as_bytes());
            }
            put_varint_field(&mut out, 3, 2);
        }
        put_fixed_32(&mut out, 16, flags);
        Self(out)
    }

    /// Adds an attribute that is a text.
    pub fn text(&mut self, key: &str, value: &str) {
        put_text_attribute(&mut self.0, 9, key, value);
    }

    /// Adds an attribute that is a whole number.
    pub fn whole(&mut self, key: &str, value: i64) {
        let value = value as u64;
        let any = 1 + varint_length(value);
        put_attribute_head(&mut self.0, 9, key, any);
        put_varint_field(&mut self.0, 3, value);
    }

    /// Adds an attribute that is a decimal number.
    pub fn decimal(&mut self, key: &str, value: f64) {
        put_attribute_head(&mut self.0, 9, key, 9);
        put_fixed_64(&mut self.0, 4, value.to_bits());
    }
}

/// The attributes of the process, and the name of what makes spans: the same in
/// each request to the collector.
#[derive(Debug)]
pub(super) struct SpanOrigin {
    /// The field `resource` of `ResourceSpans`.
    resource: Vec<u8>,
    /// The field `scope` of `ScopeSpans`.
    scope: Vec<u8>,
}

impl SpanOrigin {
    /// An origin with these attributes.
    pub(super) fn new<'a>(attributes: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut inner = Vec::new();
        for (key, value) in attributes {
            put_text_attribute(&mut inner, 1, key, value);
        }
        let mut resource = Vec::new();
        put_bytes(&mut resource, 1, &inner);
        inner.clear();
        put_bytes(&mut inner, 1, b"tidegate");
        put_bytes(&mut inner, 2, env!("CARGO_PKG_VERSION").as_bytes());
        let mut scope = Vec::new();
        put_bytes(&mut scope, 1, &inner);
        Self { resource, scope }
    }

    /// The body of a request to the collector with these spans: the message
    /// `ExportTraceServiceRequest`.
    pub(super) fn request(&self, spans: &[EncodedSpan]) -> Vec<u8> {
        let of_spans = spans.iter().map(|span| bytes_length(2, span.0.len()));
        let scope_spans = self.scope.len() + of_spans.sum::<usize>();
        let resource_spans = self.resource.len() + bytes_length(2, scope_spans);
        let mut out = Vec::with_capacity(bytes_length(1, resource_spans));
        put_head(&mut out, 1, resource_spans);
        out.extend_from_slice(&self.resource);
        put_head(&mut out, 2, scope_spans);
        out.extend_from_slice(&self.scope);
        for span in spans {
            put_bytes(&mut out, 2, &span.0);
        }
        out
    }
}

/// The number of spans that a collector has refused although it has taken the
/// request: `rejected_spans` in its response, the message
/// `ExportTraceServiceResponse`. A response that cannot be read refuses none.
pub(super) fn rejected(response: &[u8]) -> u64 {
    let partial_success = fields(response).find_map(|(number, value)| match (number, value) {
        (1, WireValue::Bytes(inner)) => Some(inner),
        _ => None,
    });
    let rejected = fields(partial_success.unwrap_or_default()).find_map(|field| match field {
        (1, WireValue::Varint(count)) => Some(count),
        _ => None,
    });
    // Negative numbers are large ones.
    rejected
        .filter(|count| *count <= i64::MAX as u64)
        .unwrap_or(0)
}

/// The fields of a message, up to the first that is malformed.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = (u64, WireValue<'_>)> {
    std::iter::from_fn(move || take_field(&mut rest))
}

/// Writes a `KeyValue` whose value is a text, as the field `number`.
fn put_text_attribute(out: &mut Vec<u8>, number: u32, key: &str, value: &str) {
    put_attribute_head(out, number, key, bytes_length(1, value.len()));
    put_bytes(out, 1, value.as_bytes());
}

/// Writes a `KeyValue` up to its value, an `AnyValue` of `any` bytes.
fn put_attribute_head(out: &mut Vec<u8>, number: u32, key: &str, any: usize) {
    let pair = 2 + key.len() + 2 + any;
    // Nearly all are short: every tag and every length is one byte.
    if let (0..0x10, 0..0x80) = (number, pair) {
        let [outer, first, second] = [number, 1, 2].map(|number| tag(number, BYTES) as u8);
        out.extend_from_slice(&[outer, pair as u8, first, key.len() as u8]);
        out.extend_from_slice(key.as_bytes());
        return out.extend_from_slice(&[second, any as u8]);
    }
    let pair = bytes_length(1, key.len()) + bytes_length(2, any);
    put_head(out, number, pair);
    put_bytes(out, 1, key.as_bytes());
    put_head(out, 2, any);
}

/// Nanoseconds since 1970, which 64 bits hold until 2554.
fn nanoseconds(moment: SystemTime) -> u64 {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::{
        collector::trace::v1::{
            ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        },
        common::v1::{KeyValue, any_value},
        trace::v1::{SpanFlags, Status, span, status},
    };
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn head<'a>() -> SpanHead<'a> {
        SpanHead {
            trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
            span_id: 0xb7ad_6b71_6920_3331,
            parent: None,
            flags: 1,
            state: "",
            name: "GET /a",
            kind: SpanKind::Server,
            begun: SystemTime::UNIX_EPOCH + Duration::from_nanos(5),
            ended: SystemTime::UNIX_EPOCH + Duration::from_nanos(7),
            error: None,
        }
    }

    /// The request of some spans, as a collector reads it.
    fn read(origin: &SpanOrigin, spans: &[EncodedSpan]) -> ExportTraceServiceRequest {
        ExportTraceServiceRequest::decode(&*origin.request(spans)).unwrap()
    }

    fn read_span(span: EncodedSpan) -> opentelemetry_proto::tonic::trace::v1::Span {
        let mut request = read(&SpanOrigin::new([].into_iter()), &[span]);
        request.resource_spans[0].scope_spans[0].spans.remove(0)
    }

    fn value(attribute: &KeyValue) -> any_value::Value {
        attribute.value.clone().unwrap().value.unwrap()
    }

    #[test]
    fn a_collector_reads_the_head_of_a_span() {
        let span = read_span(EncodedSpan::new(&head()));
        assert_eq!(span.trace_id, head().trace_id.to_be_bytes());
        assert_eq!(span.span_id, head().span_id.to_be_bytes());
        assert!(span.parent_span_id.is_empty() && span.trace_state.is_empty());
        assert_eq!(span.name, "GET /a");
        assert_eq!(span.kind(), span::SpanKind::Server);
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (5, 7));
        assert_eq!(span.flags, 1 | SpanFlags::ContextHasIsRemoteMask as u32);
        assert!(span.attributes.is_empty() && span.status.is_none());
    }

    #[test]
    fn a_collector_reads_the_parent_the_state_and_the_error_of_a_span() {
        let parent = SpanParent {
            span_id: 9,
            is_remote: true,
        };
        let span = read_span(EncodedSpan::new(&SpanHead {
            parent: Some(parent),
            state: "a=1",
            kind: SpanKind::Client,
            error: Some("connect"),
            ..head()
        }));
        assert_eq!(span.parent_span_id, 9_u64.to_be_bytes());
        assert_eq!(span.trace_state, "a=1");
        assert_eq!(span.kind(), span::SpanKind::Client);
        let remote =
            SpanFlags::ContextHasIsRemoteMask as u32 | SpanFlags::ContextIsRemoteMask as u32;
        assert_eq!(span.flags, 1 | remote);
        let expected = |message: &str| Status {
            message: message.to_owned(),
            code: status::StatusCode::Error.into(),
        };
        assert_eq!(span.status, Some(expected("connect")));
        let nameless = EncodedSpan::new(&SpanHead {
            error: Some(""),
            ..head()
        });
        assert_eq!(read_span(nameless).status, Some(expected("")));
    }

    #[test]
    fn a_collector_reads_the_process_and_every_span_of_a_batch() {
        let long = "x".repeat(300);
        let origin = SpanOrigin::new([("service.name", "edge"), (&*long, &*long)].into_iter());
        for count in [0, 1, 200] {
            let request = read(&origin, &vec![EncodedSpan::new(&head()); count]);
            let [of_resource] = &request.resource_spans[..] else {
                panic!("{request:?}");
            };
            let attributes = &of_resource.resource.as_ref().unwrap().attributes;
            assert_eq!(attributes[0].key, "service.name");
            assert_eq!((attributes[1].key.len(), attributes.len()), (300, 2));
            let [of_scope] = &of_resource.scope_spans[..] else {
                panic!("{request:?}");
            };
            let scope = of_scope.scope.as_ref().unwrap();
            assert_eq!(
                (&*scope.name, &*scope.version),
                ("tidegate", env!("CARGO_PKG_VERSION"))
            );
            assert_eq!(of_scope.spans.len(), count);
        }
    }

    #[test]
    fn spans_that_a_collector_refuses_are_told_by_its_response() {
        let response = |rejected_spans| ExportTraceServiceResponse {
            partial_success: Some(ExportTracePartialSuccess {
                rejected_spans,
                error_message: "quota".to_owned(),
            }),
        };
        for (count, expected) in [(0, 0), (3, 3), (i64::MAX, i64::MAX as u64), (-1, 0)] {
            assert_eq!(rejected(&response(count).encode_to_vec()), expected);
        }
        for nothing in [&b""[..], b"{}", b"\x0a", b"\x0a\x02\x08", &[0xff; 32]] {
            assert_eq!(rejected(nothing), 0);
        }
    }

    proptest! {
        #[test]
        fn a_collector_reads_every_attribute(
            texts in prop::collection::vec(("[a-z._]{1,40}", ".{0,300}"), 0..8),
            whole: i64,
            decimal in -1e9..1e9_f64,
        ) {
            let mut span = EncodedSpan::new(&head());
            for (key, text) in &texts {
                span.text(key, text);
            }
            span.whole("whole", whole);
            span.decimal("decimal", decimal);
            let read = read_span(span).attributes;
            for (attribute, (key, text)) in read.iter().zip(&texts) {
                prop_assert_eq!(&attribute.key, key);
                prop_assert_eq!(value(attribute), any_value::Value::StringValue(text.clone()));
            }
            let [.., one, other] = &read[..] else { panic!("{read:?}") };
            prop_assert_eq!(read.len(), texts.len() + 2);
            prop_assert_eq!(value(one), any_value::Value::IntValue(whole));
            prop_assert_eq!(value(other), any_value::Value::DoubleValue(decimal));
        }

        #[test]
        fn any_response_can_be_read(response in prop::collection::vec(any::<u8>(), 0..64)) {
            rejected(&response);
        }
    }
}
