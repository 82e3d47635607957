//! `Max-Forwards`: how many hops an OPTIONS or TRACE request may still pass.

use http::{HeaderName, header};

use super::exchange::Head;

/// The field's name.
pub const MAX_FORWARDS_HEADER: HeaderName = header::MAX_FORWARDS;

/// Hops that an OPTIONS or TRACE request may still pass; do not ask for other
/// methods, which do not heed the field (RFC 9110, 7.6.2). A field that is no
/// number, or stands there twice, says nothing.
pub fn max_forwards(request: &Head) -> Option<u64> {
    let mut values = request.headers.get_all(MAX_FORWARDS_HEADER).iter();
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
