//! `Max-Forwards`: how many hops an OPTIONS or TRACE request may still pass.

use http::{HeaderName, Method, header};

use super::Head;

/// The field's name.
pub const HEADER: HeaderName = header::MAX_FORWARDS;

/// Hops that a request may still pass, of OPTIONS and TRACE only: other methods
/// do not heed it (RFC 9110, 7.6.2). A field that is no number, or stands there
/// twice, says nothing.
pub fn max_forwards(request: &Head) -> Option<u64> {
    if !matches!(request.method, Method::OPTIONS | Method::TRACE) {
        return None;
    }
    let mut values = request.headers.get_all(HEADER).iter();
    let value = values
        .next()
        .filter(|_| values.next().is_none())?
        .as_bytes();
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    // More than any number of hops is as good as the largest number.
    is_number.then(|| {
        std::str::from_utf8(value)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .unwrap_or(u64::MAX)
    })
}
