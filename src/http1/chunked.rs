//! Bodies that are written: as they are if their length is known, and in chunks
//! otherwise (RFC 9112, 7.1).
//!
//! Short frames are copied into one buffer behind the head, and long ones are
//! sent from where they are, so that head and body leave in as few system calls
//! as possible. The callers bound how much they pull ahead of the socket.
//!
//! The server writes responses with this, and the upstream's side writes
//! requests. Both choose the framing before the head is written, and pass the
//! choice along as `is_chunked`.
//!
//! # Invariants
//!
//! * A frame of data becomes one chunk, without extensions. Frames are neither
//!   joined nor cut.
//! * An empty frame writes nothing, because a chunk of size 0 ends the body.
//! * The bytes of a body of known length are not counted here.
//! * Trailers are filtered when they are written, whichever version of HTTP
//!   they came by.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use http_body::Frame;

use super::{encode::write_field, names::FieldName};
use crate::runtime::output::{MOST_TRIED, Output};

/// Appends the next frame of a body to `out`, or its end (`None`). Returns
/// whether the body is over.
///
/// Without chunks (`is_chunked` is false) the framing has no room for trailers,
/// and they are left out.
///
/// `out` grows by the data or the trailers and, in chunks, by at most 20 bytes
/// of framing for each frame. After a return of true nothing more may be
/// written for this body.
pub fn write_frame(out: &mut Output, frame: Option<Frame<Bytes>>, is_chunked: bool) -> bool {
    match (frame.map(Frame::into_data), is_chunked) {
        // An empty chunk would be the last one.
        (Some(Ok(data)), _) if data.is_empty() => {}
        (Some(Ok(data)), _) => write_data(out, data, is_chunked),
        (Some(Err(_)) | None, false) => return true,
        (Some(Err(frame)), true) => {
            write_last_chunk(out.buffer(), frame.trailers_ref());
            return true;
        }
        (None, true) => {
            write_last_chunk(out.buffer(), None);
            return true;
        }
    }
    false
}

/// Writes the data of a frame, which is not empty, with the framing of a chunk
/// if it is one.
fn write_data(out: &mut Output, data: Bytes, is_chunked: bool) {
    let end: &[u8] = if is_chunked { b"\r\n" } else { b"" };
    let buffer = out.buffer();
    if is_chunked {
        write_chunk_head(buffer, data.len());
    }
    if data.len() >= MOST_TRIED {
        return out.append_shared(data, end);
    }
    buffer.extend_from_slice(&data);
    buffer.extend_from_slice(end);
}

/// Writes the size of a chunk, in hexadecimal digits, with its line end.
///
/// The digits are in lower case and without leading zeros, as short as they can
/// be.
fn write_chunk_head(out: &mut Vec<u8>, size: usize) {
    let mut digits = [0_u8; 16];
    let mut at = digits.len();
    let mut left = size;
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[left & 15];
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// Writes the chunk of size 0 that ends a body, and the trailers behind it.
///
/// Fields that may not trail are left out without a word: the message is on its
/// way, and nobody could refuse it any more.
fn write_last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        if may_trail(name) {
            write_field(out, name.as_str(), value.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether a field may stand in trailers, in either version of HTTP.
///
/// Some recipients merge trailers into the fields of the head (RFC 9110,
/// 6.5.2). A field that frames, routes or authenticates the message would then
/// take effect after every check of it.
///
/// The comparison costs one look at each name of two short lists. Unknown
/// fields may trail, such as those of gRPC and checksums.
pub fn may_trail(name: &HeaderName) -> bool {
    !FieldName::of(name.as_str().as_bytes()).is_hop_by_hop() && !NEVER_TRAILING.contains(name)
}

/// Fields that have a meaning only before the content (RFC 9110, 6.5.1), beside
/// hop-by-hop fields.
///
/// Each group has one reason: a recipient that acts on the head must not be
/// told otherwise after it.
const NEVER_TRAILING: [HeaderName; 30] = [
    // Framing and routing.
    header::CONTENT_LENGTH,
    header::HOST,
    header::TRAILER,
    // Authentication.
    header::AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::WWW_AUTHENTICATE,
    // Controls and conditions of a request.
    header::CACHE_CONTROL,
    header::EXPECT,
    header::MAX_FORWARDS,
    header::PRAGMA,
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
    header::IF_RANGE,
    // Controls of a response.
    header::AGE,
    header::DATE,
    header::EXPIRES,
    header::LOCATION,
    header::RETRY_AFTER,
    header::VARY,
    header::WARNING,
    // The format of the content.
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
    header::CONTENT_DISPOSITION,
];
