//! The cookies of a request (RFC 6265, 5.4).

use http::header;

use crate::message::Headers;

/// The name and the value of every cookie, over all `Cookie` fields, in order.
/// Blanks around a name are left out; the value is as received. A pair without
/// `=` is no cookie. Nothing is bounded here: the listener bounds the length of
/// a head.
pub fn cookies(headers: &Headers) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = headers.all(&header::COOKIE);
    let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let equals = memchr::memchr(b'=', pair)?;
        Some((pair[..equals].trim_ascii(), &pair[equals + 1..]))
    })
}

/// The value of a cookie without blanks and quotes around it.
pub fn unquoted(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    let inside = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""));
    inside.unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_have_a_name_and_a_value() {
        let lines = ["s = \"1\" ; a", "b=2=3;;=4"];
        let headers: Headers = lines.iter().map(|line| ("cookie", line)).collect();
        let found: Vec<_> = cookies(&headers)
            .map(|(name, value)| (name, unquoted(value)))
            .collect();
        let expected: [(&[u8], &[u8]); 3] = [(b"s", b"1"), (b"b", b"2=3"), (b"", b"4")];
        assert_eq!(found, expected);
    }
}
