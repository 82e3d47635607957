//! The parameters of a query, decoded as forms are written (WHATWG URL,
//! `application/x-www-form-urlencoded`).

use std::{borrow::Cow, sync::Arc};

use percent_encoding::percent_decode;

use crate::policy::{LogQuery, is_secret_name};

/// A parameter's name and value.
pub type Pair<'r> = (Cow<'r, [u8]>, Cow<'r, [u8]>);

/// Every parameter of a query as received, without its `?`, in order; one
/// without `=` is empty. Nothing is bounded here: the listener bounds the length
/// of a target.
///
/// ```
/// use tidegate::call::query::pairs;
///
/// let (name, value) = pairs(b"q=a+b%21&page").next().unwrap();
/// assert_eq!((&*name, &*value), (&b"q"[..], &b"a b!"[..]));
/// ```
pub fn pairs(raw: &[u8]) -> impl Iterator<Item = Pair<'_>> {
    raw.split(|&byte| byte == b'&')
        .filter(|part| !part.is_empty())
        .map(pair)
}

/// How the access lines of a route show the query of a request, and those in
/// fields.
#[derive(Debug, Clone)]
pub struct LoggedQuery {
    /// Whether the query is shown, and how.
    log: LogQuery,
    /// Parameters whose values [`LogQuery::Masked`] replaces.
    masked: Arc<[Box<str>]>,
}

/// Replaces a value that is masked.
const MASK: &[u8] = b"***";

impl LoggedQuery {
    /// Shows the query as `log` says. [`LogQuery::Masked`] replaces the values
    /// of the parameters `masked`, and of those that are named as secrets are,
    /// by `***`.
    pub fn new(log: LogQuery, masked: Arc<[Box<str>]>) -> Self {
        Self { log, masked }
    }

    /// Never shows the query.
    pub fn off() -> Self {
        Self::new(LogQuery::Off, [].into())
    }

    /// The query as an access line shows it; `None` if it leaves the query out.
    /// `raw` is the query as received, without its `?`.
    pub fn shown<'q>(&self, raw: &'q [u8]) -> Option<Cow<'q, [u8]>> {
        match self.log {
            LogQuery::Full => Some(Cow::Borrowed(raw)),
            LogQuery::Off => None,
            LogQuery::Masked => Some(self.mask(raw)),
        }
    }

    /// The value of a field as an access line shows it. A field may hold a URL,
    /// and everything behind its first `?` or `#` is shown as one query is:
    /// fragments hold tokens, too. Other values with such a sign are treated
    /// alike, as nothing tells them from URLs.
    pub fn shown_within<'v>(&self, value: Cow<'v, [u8]>) -> Cow<'v, [u8]> {
        let Some(first) = memchr::memchr2(b'?', b'#', &value) else {
            return value;
        };
        match self.log {
            LogQuery::Full => value,
            LogQuery::Off => match value {
                Cow::Borrowed(value) => Cow::Borrowed(&value[..first]),
                Cow::Owned(value) => Cow::Owned(value[..first].to_vec()),
            },
            LogQuery::Masked => {
                let (before, query) = value.split_at(first + 1);
                let Cow::Owned(masked) = self.mask(query) else {
                    return value;
                };
                Cow::Owned([before, &masked].concat())
            }
        }
    }

    /// The query with the values of secrets replaced.
    fn mask<'q>(&self, raw: &'q [u8]) -> Cow<'q, [u8]> {
        // Nearly no query names a secret, and one look at all of it shows that.
        // An escape may hide a name.
        let may_contain =
            !self.masked.is_empty() || memchr::memchr(b'%', raw).is_some() || names_secret(raw);
        let parts = || raw.split(|byte| *byte == b'&');
        if !may_contain
            || !parts().any(|part| self.secret(part).is_some() || self.masks_within(part))
        {
            return Cow::Borrowed(raw);
        }
        let mut out = Vec::with_capacity(raw.len());
        for (index, part) in parts().enumerate() {
            if index > 0 {
                out.push(b'&');
            }
            match self.secret(part) {
                Some(name) => write_masked(&mut out, name),
                None => self.write_pieces(&mut out, part),
            }
        }
        Cow::Owned(out)
    }

    /// Writes a parameter whose value may be a URL, with the secrets of that
    /// masked. A `?` or `#` in a value that is hidden does not end it, a `;`
    /// does.
    fn write_pieces(&self, out: &mut Vec<u8>, part: &[u8]) {
        let (mut is_hidden, mut before) = (false, &b""[..]);
        for (piece, sign) in pieces(part) {
            if !is_hidden || before == b";" {
                out.extend_from_slice(before);
                let secret = self.secret(piece);
                is_hidden = secret.is_some();
                match secret {
                    Some(name) => write_masked(out, name),
                    None => out.extend_from_slice(piece),
                }
            }
            before = sign;
        }
        out.extend_from_slice(before);
    }

    /// Whether the value of this parameter holds a secret: it is a URL with
    /// parameters, or the service takes `;` between parameters, too.
    fn masks_within(&self, part: &[u8]) -> bool {
        memchr::memchr3(b';', b'?', b'#', part).is_some()
            && pieces(part).any(|(piece, _)| self.secret(piece).is_some())
    }

    /// The `name=` of a parameter whose value is masked; `None` if it is shown.
    /// An empty value never is masked.
    fn secret<'p>(&self, part: &'p [u8]) -> Option<&'p [u8]> {
        let equals = memchr::memchr(b'=', part)?;
        let name = decode(&part[..equals]);
        let is_masked = || self.masked.iter().any(|known| known.as_bytes() == &*name);
        (equals + 1 < part.len() && (is_masked() || names_secret(&name))).then(|| &part[..=equals])
    }
}

/// Writes a parameter of this `name=` with its value masked.
fn write_masked(out: &mut Vec<u8>, name: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(MASK);
}

/// The parts of a parameter up to a `;`, `?` or `#`, and that sign; the last
/// part has none.
fn pieces(part: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let is_sign = |byte: &u8| matches!(byte, b';' | b'?' | b'#');
    part.split_inclusive(is_sign).map(move |piece| {
        let has_sign = piece.last().is_some_and(is_sign);
        piece.split_at(piece.len() - usize::from(has_sign))
    })
}

/// Whether a name is that of a secret, or a text contains such a name. A text
/// that is not UTF-8 counts as one.
fn names_secret(name: &[u8]) -> bool {
    str::from_utf8(name).map_or(true, is_secret_name)
}

/// Decodes one `name=value`; a part without `=` has an empty value.
fn pair(part: &[u8]) -> Pair<'_> {
    match part.iter().position(|&byte| byte == b'=') {
        Some(equals) => (decode(&part[..equals]), decode(&part[equals + 1..])),
        None => (decode(part), Cow::Borrowed(b"")),
    }
}

/// Decodes percent-escapes, and `+` as a space. A `%` without two hexadecimal
/// digits behind it stands for itself.
pub fn decode(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(raw);
    }
    let mut decoded = Vec::with_capacity(raw.len());
    for (index, part) in raw.split(|byte| *byte == b'+').enumerate() {
        if index > 0 {
            decoded.push(b' ');
        }
        decoded.extend(percent_decode(part));
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_secrets_in_a_query_are_masked() {
        fn logged(log: LogQuery, masked: &[&str]) -> LoggedQuery {
            let masked = masked.iter().copied().map(Box::from).collect();
            LoggedQuery::new(log, masked)
        }
        fn shown(masked: &[&str], raw: &str) -> String {
            let logged = logged(LogQuery::Masked, masked);
            String::from_utf8_lossy(&logged.shown(raw.as_bytes()).unwrap()).into_owned()
        }
        for (raw, masked) in [
            ("page=2&user=a&q=x=y", "page=2&user=***&q=x=y"),
            ("us%65r=a", "us%65r=***"),
            ("user=&user&token=%20", "user=&user&token=***"),
            ("a_token=1&b=token", "a_token=***&b=token"),
            ("t%6fken=1", "t%6fken=***"),
            ("a=1;user=b;c=2&d", "a=1;user=***;c=2&d"),
            ("user=b;c=2&d=3;e", "user=***&d=3;e"),
            ("user=;c", "user=***"),
            ("a;us%65r=b;token=c", "a;us%65r=***;token=***"),
            ("a=1;b=2", "a=1;b=2"),
            ("next=/c?token=x", "next=/c?token=***"),
            ("next=/c?token=x?y#z=1;d&a", "next=/c?token=***;d&a"),
            ("next=/c?user=x;d#user=&e?", "next=/c?user=***;d#user=&e?"),
            ("token=x?y#z&a", "token=***&a"),
            ("", ""),
            ("&&", "&&"),
        ] {
            assert_eq!(shown(&["user"], raw), masked, "{raw}");
        }
        assert_eq!(shown(&[], "user=a&token=b"), "user=a&token=***");
        assert_eq!(
            logged(LogQuery::Full, &[]).shown(b"token=1").as_deref(),
            Some(&b"token=1"[..])
        );
        assert_eq!(logged(LogQuery::Off, &[]).shown(b"token=1"), None);
    }

    #[test]
    fn the_values_of_secrets_in_the_url_of_a_field_are_masked() {
        let shown = |log, value: &'static str| {
            let logged = LoggedQuery::new(log, [Box::from("user")].into());
            let shown = logged.shown_within(Cow::Borrowed(value.as_bytes()));
            String::from_utf8(shown.into_owned()).unwrap()
        };
        for (value, masked, off) in [
            (
                "https://a/b?q=1&token=x",
                "https://a/b?q=1&token=***",
                "https://a/b",
            ),
            ("/b?user=x#access_token=y&z", "/b?user=***&z", "/b"),
            ("/b?a#access_token=x", "/b?a#access_token=***", "/b"),
            ("/?next=/c?token=x", "/?next=/c?token=***", "/"),
            ("/a?q=1, /b?token=x", "/a?q=1, /b?token=***", "/a"),
            ("5; url=/a?t%6fken=x", "5; url=/a?t%6fken=***", "5; url=/a"),
            ("is it?", "is it?", "is it"),
            ("token=x", "token=x", "token=x"),
            ("", "", ""),
        ] {
            assert_eq!(shown(LogQuery::Masked, value), masked);
            assert_eq!(shown(LogQuery::Off, value), off);
            assert_eq!(shown(LogQuery::Full, value), value);
        }
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
