//! The parameters of a query, decoded as forms are written (WHATWG URL, `application/x-www-form-urlencoded`).

use std::{borrow::Cow, sync::Arc};

/// A parameter's name and value.
pub type Pair<'r> = (Cow<'r, [u8]>, Cow<'r, [u8]>);

/// Every parameter of a query as received, without its `?`, in order; one without `=` is empty.
pub fn pairs(raw: &[u8]) -> impl Iterator<Item = Pair<'_>> {
    raw.split(|&byte| byte == b'&')
        .filter(|part| !part.is_empty())
        .map(pair)
}

/// How the query of a request stands in its access line.
#[derive(Debug, Clone, Default)]
pub enum Logged {
    /// As it was received.
    #[default]
    Full,
    /// Not at all.
    Off,
    /// Without the values of some parameters.
    Masked(Mask),
}

/// Parameters whose values are not told.
#[derive(Debug, Clone)]
pub struct Mask {
    /// Parameters of these names.
    pub names: Arc<[Box<str>]>,
    /// And those whose name, or a text in which such a name is, this says yes to.
    pub is_secret: fn(&str) -> bool,
}

/// Stands for a value that is not told.
const HIDDEN: &[u8] = b"***";

impl Logged {
    /// The query as an access line tells it.
    pub fn of<'q>(&self, raw: &'q [u8]) -> Option<Cow<'q, [u8]>> {
        match self {
            Logged::Full => Some(Cow::Borrowed(raw)),
            Logged::Off => None,
            Logged::Masked(mask) => Some(mask.applied(raw)),
        }
    }
}

impl Mask {
    fn applied<'q>(&self, raw: &'q [u8]) -> Cow<'q, [u8]> {
        // Nearly no query names a secret, and one look at all of it tells. An escape may hide a name.
        let may_hold =
            !self.names.is_empty() || memchr::memchr(b'%', raw).is_some() || self.names_secret(raw);
        if !may_hold || !raw.split(|byte| *byte == b'&').any(|part| self.hides(part)) {
            return Cow::Borrowed(raw);
        }
        let mut out = Vec::with_capacity(raw.len());
        for (index, part) in raw.split(|byte| *byte == b'&').enumerate() {
            if index > 0 {
                out.push(b'&');
            }
            match part.iter().position(|byte| *byte == b'=') {
                Some(equals) if self.hides(part) => {
                    out.extend_from_slice(&part[..=equals]);
                    out.extend_from_slice(HIDDEN);
                }
                _ => out.extend_from_slice(part),
            }
        }
        Cow::Owned(out)
    }

    /// Whether a parameter has a value that is not told.
    fn hides(&self, part: &[u8]) -> bool {
        let (name, value) = pair(part);
        !value.is_empty()
            && (self.names.iter().any(|known| known.as_bytes() == &*name)
                || self.names_secret(&name))
    }

    /// A text that is not UTF-8 might name anything.
    fn names_secret(&self, name: &[u8]) -> bool {
        str::from_utf8(name).map_or(true, self.is_secret)
    }
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
    fn of_a_query_the_values_of_secrets_are_not_told() {
        let is_secret = |name: &str| name.contains("token");
        let names: Arc<[Box<str>]> = [Box::from("user")].into();
        let told = |names: &Arc<[Box<str>]>, raw: &str| {
            let logged = Logged::Masked(Mask {
                names: Arc::clone(names),
                is_secret,
            });
            String::from_utf8_lossy(&logged.of(raw.as_bytes()).unwrap()).into_owned()
        };
        for (raw, shown) in [
            ("page=2&user=a&q=x=y", "page=2&user=***&q=x=y"),
            ("us%65r=a", "us%65r=***"),
            ("user=&user&token=%20", "user=&user&token=***"),
            ("a_token=1&b=token", "a_token=***&b=token"),
            ("t%6fken=1", "t%6fken=***"),
            ("", ""),
            ("&&", "&&"),
        ] {
            assert_eq!(told(&names, raw), shown, "{raw}");
        }
        assert_eq!(told(&[].into(), "user=a&token=b"), "user=a&token=***");
        assert_eq!(
            Logged::Full.of(b"token=1").as_deref(),
            Some(&b"token=1"[..])
        );
        assert_eq!(Logged::Off.of(b"token=1"), None);
    }

    #[test]
    fn a_query_is_read_as_forms_are_written() {
        let read = |raw: &str| {
            let text = |bytes: Cow<'_, [u8]>| String::from_utf8_lossy(&bytes).into_owned();
            pairs(raw.as_bytes())
                .map(|(name, value)| (text(name), text(value)))
                .collect::<Vec<_>>()
        };
        let expected = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            read("a=1&b=x+y%20z&&c&d=%zz%4&=e"),
            expected(&[
                ("a", "1"),
                ("b", "x y z"),
                ("c", ""),
                ("d", "%zz%4"),
                ("", "e")
            ])
        );
        assert_eq!(
            read("%61=%26%3D&a=b=c"),
            expected(&[("a", "&="), ("a", "b=c")])
        );
        assert_eq!(read(""), expected(&[]));
    }
}
