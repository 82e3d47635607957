//! Content types that say how a body arrives.
//!
//! Only the content type of a response is looked at. That of a request is the
//! client's to choose, and must not lengthen a timeout.
//!
//! Two layers ask: the total timeout, which gives such a body the pace of
//! `timeouts.tunnel`, and the buffer, which does not read it ahead. Both know
//! the response head only, so that the content type is all there is to go by.

/// Media types of event streams, which pause until the next event happens.
///
/// Parameters are not a part of these, and letter case does not count.
const STREAMS: [&[u8]; 9] = [
    b"text/event-stream",
    b"application/x-ndjson",
    b"application/ndjson",
    b"application/jsonl",
    b"application/x-jsonlines",
    b"application/json-seq",
    b"application/stream+json",
    b"application/x-json-stream",
    b"multipart/x-mixed-replace",
];

/// The begin of the media types of gRPC and gRPC-Web, and the rest up to a
/// suffix such as `+proto`.
const GRPC: &[u8] = b"application/grpc";
const GRPC_KINDS: [&[u8]; 3] = [b"", b"-web", b"-web-text"];

/// The parameter by which Kubernetes and others mark a watch:
/// `application/json;stream=watch`.
const WATCH: &[u8] = b"stream=watch";

/// Whether a body of this content type may be silent for long: an event stream
/// or a gRPC call.
///
/// Letter case and the parameters of the media type do not count, but for
/// `stream=watch`. An unknown type is not silent.
pub(super) fn is_silent_by_nature(content_type: &[u8]) -> bool {
    let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    let (media_type, parameters) = content_type.split_at(end);
    let media_type = media_type.trim_ascii_end();
    STREAMS
        .iter()
        .any(|stream| stream.eq_ignore_ascii_case(media_type))
        || is_grpc(media_type)
        || parameters
            .split(|byte| *byte == b';')
            .any(|parameter| parameter.trim_ascii().eq_ignore_ascii_case(WATCH))
}

/// Whether a media type is one of gRPC or gRPC-Web.
///
/// A suffix such as `+proto` or `+json` is ignored.
fn is_grpc(media_type: &[u8]) -> bool {
    let Some((start, kind)) = media_type.split_at_checked(GRPC.len()) else {
        return false;
    };
    let kind = kind.split(|byte| *byte == b'+').next().unwrap_or_default();
    start.eq_ignore_ascii_case(GRPC)
        && GRPC_KINDS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_events_and_calls_may_be_silent_for_long() {
        for kind in [
            "text/event-stream",
            "Text/Event-Stream; charset=utf-8",
            "application/x-ndjson",
            "application/json-seq",
            "application/stream+json;charset=UTF-8",
            "multipart/x-mixed-replace; boundary=frame",
            "application/grpc",
            "application/grpc+proto",
            "application/grpc-web",
            "application/grpc-web+proto",
            "application/grpc-web-text+proto",
            "application/json;stream=watch",
            "application/vnd.kubernetes.protobuf; stream=watch",
        ] {
            assert!(is_silent_by_nature(kind.as_bytes()), "{kind}");
        }
        for kind in [
            "text/plain",
            "text/event",
            "text/event-streams",
            "application/json",
            "application/json; charset=utf-8",
            "application/json-seq+x",
            "application/grpcx",
            "multipart/form-data; boundary=x",
            "",
        ] {
            assert!(!is_silent_by_nature(kind.as_bytes()), "{kind}");
        }
    }
}
