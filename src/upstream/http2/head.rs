//! Conversion of heads: a request's from the text that the layers write to a
//! header list, a response's back to text.
//!
//! The layers write a request once, as HTTP/1 sends it, without knowing which
//! protocol its server speaks. For HTTP/2 the text is parsed again: the request
//! line becomes pseudo-fields and `Host` becomes `:authority` (RFC 9113, 8.3.1).
//! A head that HTTP/2 cannot carry byte for byte is refused and never changed,
//! since the limits and routes have judged these bytes and no others.

use bytes::Bytes;
use http::{
    HeaderValue, Request, Uri, Version, header,
    uri::{Authority, PathAndQuery, Scheme},
};

use crate::{
    call::Outgoing,
    http1::{self, FieldName, Fields, NameSet},
    http2::{self, FIELD_OVERHEAD},
};

/// The fields that no header list has: `Host` becomes `:authority`, and HTTP/2
/// has no `Upgrade` (RFC 9113, 8.6). A client that offers a protocol gets its
/// response in HTTP/1.
const NOT_SENT: NameSet =
    NameSet::of(&[FieldName::Connection, FieldName::Host, FieldName::Upgrade]);

/// The request as a header list. Takes the head of `outgoing`.
///
/// `authority` is used if the head has no `Host` to be kept. `length` is that of
/// the body; `None` if it is not known, upon which the end of the stream ends
/// it.
///
/// The path stays as the layers wrote it: nothing is normalised or decoded
/// here. `Content-Length` is written for a body of known length, and for an
/// empty one only if the request had the field (`names_length`).
///
/// # Errors
/// The head cannot be expressed in HTTP/2; the text says why.
pub(super) fn request(
    outgoing: &mut Outgoing,
    authority: &str,
    is_secure: bool,
    length: Option<u64>,
) -> Result<Request<()>, &'static str> {
    let head = Bytes::from(std::mem::take(&mut outgoing.head));
    let line_end = memchr::memchr(b'\n', &head).ok_or("it has no request line")? + 1;
    let target = target(&head, line_end)?;
    let lines = head.slice(line_end..);
    let authority = match host(&lines).filter(|_| outgoing.has_host) {
        Some(host) => Authority::try_from(host),
        None => Authority::try_from(authority),
    };
    let mut headers = http1::to_map(&lines, NOT_SENT);
    if let Some(length) = length.filter(|length| *length > 0 || outgoing.names_length) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if is_secure {
        Scheme::HTTPS
    } else {
        Scheme::HTTP
    });
    parts.authority = Some(authority.map_err(|_| "its host cannot be sent by HTTP/2")?);
    parts.path_and_query = Some(target);
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = outgoing.call.exchange.request.method.clone();
    *request.uri_mut() =
        Uri::from_parts(parts).map_err(|_| "its target cannot be sent by HTTP/2")?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The value of the `Host` that the layers have written, which is the first of
/// the `lines`; `None` if they have written none.
fn host(lines: &[u8]) -> Option<&[u8]> {
    let line = &lines[..memchr::memchr(b'\r', lines)?];
    line.strip_prefix(b"host: ")
}

/// The size of a request's header list in bytes as RFC 9113 (6.5.2) counts
/// them.
///
/// Each field counts with its name, its value and 32 bytes. The caller compares
/// the sum with the server's `SETTINGS_MAX_HEADER_LIST_SIZE`.
pub(super) fn list_size(request: &Request<()>) -> usize {
    const NAMES: usize = ":method:scheme:authority:path".len() + 4 * FIELD_OVERHEAD;
    let uri = request.uri();
    let part = |part: Option<&str>| part.map_or(0, str::len);
    NAMES
        + request.method().as_str().len()
        + part(uri.scheme_str())
        + part(uri.authority().map(Authority::as_str))
        + part(uri.path_and_query().map(PathAndQuery::as_str))
        + http2::list_size(request.headers())
}

/// The request target: what stands between the first and the last space of the
/// request line, byte for byte.
///
/// The search goes from both ends, so that a target with a space in it is
/// refused as a whole rather than cut.
fn target(head: &Bytes, line_end: usize) -> Result<PathAndQuery, &'static str> {
    const CANNOT: &str = "its target cannot be sent by HTTP/2";
    let line = &head[..line_end];
    let start = memchr::memchr(b' ', line).ok_or(CANNOT)? + 1;
    let end = memchr::memrchr(b' ', line)
        .filter(|end| *end >= start)
        .ok_or(CANNOT)?;
    let target = PathAndQuery::from_maybe_shared(head.slice(start..end)).map_err(|_| CANNOT)?;
    // `PathAndQuery` drops a fragment, which must not go unnoticed.
    if target.as_str().as_bytes() == &head[start..end] {
        Ok(target)
    } else {
        Err(CANNOT)
    }
}

/// The fields of a response that are passed on: without hop-by-hop fields, and
/// without the length, which is written anew.
///
/// The length is kept apart, in `Fields::length`; `None` if the field is absent
/// or no number. The four bytes for each field are the separators of HTTP/1, so
/// that the text is written without a second allocation.
pub(super) fn fields(headers: &http::HeaderMap) -> Fields {
    let room = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    let mut fields = Fields::with_capacity(room);
    for (name, value) in headers {
        if *name == header::CONTENT_LENGTH {
            fields.length = value.to_str().ok().and_then(|length| length.parse().ok());
        } else if !FieldName::of(name.as_str().as_bytes()).is_hop_by_hop() {
            fields.push(name.as_str(), value.as_bytes());
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_sent_byte_for_byte_or_not_at_all() {
        let head = |target: &str| Bytes::from(format!("GET {target} HTTP/1.1\r\n"));
        for sound in ["/", "/a%2Fb?c=%zz&d=\"", "*", "/a?b c"] {
            let head = head(sound);
            if let Ok(target) = target(&head, head.len()) {
                assert_eq!(target.as_str(), sound);
            }
        }
        assert!(target(&head("/a#b"), head("/a#b").len()).is_err());
    }
}
