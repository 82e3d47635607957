//! The parameters of a query, decoded as forms are written (WHATWG URL, `application/x-www-form-urlencoded`).

use std::borrow::Cow;

/// A parameter's name and value.
pub type Pair<'r> = (Cow<'r, [u8]>, Cow<'r, [u8]>);

/// Every parameter of a query as received, without its `?`, in order; one without `=` is empty.
pub fn pairs(raw: &[u8]) -> impl Iterator<Item = Pair<'_>> {
    raw.split(|&byte| byte == b'&').filter(|part| !part.is_empty()).map(pair)
}

fn pair(part: &[u8]) -> Pair<'_> {
    match part.iter().position(|&byte| byte == b'=') {
        Some(equals) => (decode(&part[..equals]), decode(&part[equals + 1..])),
        None => (decode(part), Cow::Borrowed(b"")),
    }
}

/// Takes percent-escapes back, and `+`, which is a space; a `%` without two hex digits behind it stands for itself.
pub fn decode(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(raw);
    }
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = match first {
            b'+' => (b' ', after),
            b'%' => escape(after).unwrap_or((b'%', after)),
            other => (other, after),
        };
        decoded.push(byte);
        rest = after;
    }
    Cow::Owned(decoded)
}

/// The byte that two hex digits behind a `%` stand for, and what follows them.
pub fn escape(after: &[u8]) -> Option<(u8, &[u8])> {
    let (&[high, low], rest) = after.split_first_chunk::<2>()?;
    Some((hex(high)? << 4 | hex(low)?, rest))
}

fn hex(digit: u8) -> Option<u8> {
    // A hex digit is below 16, so nothing is cut off.
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_as_forms_are_written() {
        let read = |raw: &str| {
            let text = |bytes: Cow<'_, [u8]>| String::from_utf8_lossy(&bytes).into_owned();
            pairs(raw.as_bytes()).map(|(name, value)| (text(name), text(value))).collect::<Vec<_>>()
        };
        let expected =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
        assert_eq!(
            read("a=1&b=x+y%20z&&c&d=%zz%4&=e"),
            expected(&[("a", "1"), ("b", "x y z"), ("c", ""), ("d", "%zz%4"), ("", "e")])
        );
        assert_eq!(read("%61=%26%3D&a=b=c"), expected(&[("a", "&="), ("a", "b=c")]));
        assert_eq!(read(""), expected(&[]));
    }
}
