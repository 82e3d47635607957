//! One spelling for each value of a key. Services take several spellings of one
//! credential for the same, and a client that may choose among them must not
//! get a bucket for each.
//!
//! The spelling is only used to compare: a service gets the value as it was
//! received. Two values that a service tells apart may get one spelling here,
//! such as two cookies that differ in a plus sign; they then share a bucket,
//! which is the safe side.
//!
//! # Cost
//!
//! A value that is in its spelling already is borrowed, and most are. A value
//! that needs another one is allocated anew, with at most its own length.
//!
//! # Stability
//!
//! The spelling decides which bucket a value has. A change in it gives clients
//! another bucket, also in the store.

use std::borrow::Cow;

use http::{HeaderName, header};

use crate::{
    call::query,
    policy::{KeyPart, path::first_escape},
};

/// The spelling that requests get for a value as people write it, in an
/// override or at the admin listener.
///
/// Values of all other kinds have one spelling anyway.
pub fn named<'v>(part: &KeyPart, value: &'v [u8]) -> Cow<'v, [u8]> {
    match part {
        KeyPart::Header(name) => field(name, value),
        KeyPart::Cookie(_) => without_plus(Cow::Borrowed(value)),
        KeyPart::Path | KeyPart::Param(_) => path(value),
        KeyPart::Host => Cow::Borrowed(value.strip_suffix(b".").unwrap_or(value)),
        _ => Cow::Borrowed(value),
    }
}

/// Schemes of credentials that services also look for in headers of their own,
/// such as `X-Auth`.
///
/// The words behind a scheme keep their letter case.
const SCHEMES: [&[u8]; 6] = [b"bearer", b"basic", b"digest", b"token", b"apikey", b"dpop"];

/// A header's value without outer and repeated blanks. If it is a credential,
/// its scheme is in lower case (RFC 9110, 11.1).
#[inline]
pub(super) fn field<'v>(name: &HeaderName, value: &'v [u8]) -> Cow<'v, [u8]> {
    let value = value.trim_ascii();
    match memchr::memchr2(b' ', b'\t', value) {
        None => Cow::Borrowed(value),
        Some(blank) => {
            let has_scheme = *name == header::AUTHORIZATION
                || *name == header::PROXY_AUTHORIZATION
                || SCHEMES
                    .iter()
                    .any(|scheme| scheme.eq_ignore_ascii_case(&value[..blank]));
            of_words(value, if has_scheme { blank } else { 0 })
        }
    }
}

/// The words of `value` with one blank between them, and its first `scheme`
/// bytes in lower case.
///
/// `scheme` is 0 for a value that is no credential. Borrows the value if
/// nothing is to be changed.
fn of_words(value: &[u8], scheme: usize) -> Cow<'_, [u8]> {
    let is_single = value.windows(2).all(|pair| pair != b"  ") && !value.contains(&b'\t');
    if is_single && !value[..scheme].iter().any(u8::is_ascii_uppercase) {
        return Cow::Borrowed(value);
    }
    let mut words = Vec::with_capacity(value.len());
    for word in value
        .split(|byte| matches!(byte, b' ' | b'\t'))
        .filter(|word| !word.is_empty())
    {
        if !words.is_empty() {
            words.push(b' ');
        }
        words.extend_from_slice(word);
    }
    // No blank is within the scheme, so it stands where it stood.
    words[..scheme].make_ascii_lowercase();
    Cow::Owned(words)
}

/// A cookie's value (RFC 6265, 4.2.1) without quotes around it, decoded like a
/// value of a query. A plus sign is a space, escaped or not: some services take
/// it for one, some do not.
pub(super) fn cookie(raw: &[u8]) -> Cow<'_, [u8]> {
    let value = raw.trim_ascii();
    let quoted = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""));
    match quoted {
        Some(inside) if inside.contains(&b'\\') => {
            Cow::Owned(decoded(&unescaped(inside)).into_owned())
        }
        Some(inside) => decoded(inside),
        None => decoded(value),
    }
}

/// A cookie's value without escapes.
fn decoded(value: &[u8]) -> Cow<'_, [u8]> {
    without_plus(query::decode(value))
}

/// A value with a space in place of each plus sign.
///
/// Borrows the value if there is none.
fn without_plus(value: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if !value.contains(&b'+') {
        return value;
    }
    Cow::Owned(
        value
            .iter()
            .map(|byte| if *byte == b'+' { b' ' } else { *byte })
            .collect(),
    )
}

/// The inside of a quoted string (RFC 2109, 4.3.2) without its escapes. Some
/// services also read three octal digits as one byte.
///
/// A backslash at the very end stands for itself. Octal digits are read up to
/// `\377`, the highest byte.
fn unescaped(inside: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (
                b'\\',
                [
                    high @ b'0'..=b'3',
                    middle @ b'0'..=b'7',
                    low @ b'0'..=b'7',
                    beyond @ ..,
                ],
            ) => {
                out.push((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'));
                rest = beyond;
            }
            (b'\\', [escaped, beyond @ ..]) => {
                out.push(*escaped);
                rest = beyond;
            }
            _ => out.push(*byte),
        }
    }
    out
}

/// A path or segment, given in its normal form, without escapes of characters
/// that need none (RFC 3986, 3.3). Services decode them, so both spellings lead
/// to the same resource.
pub(super) fn path(normal: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', normal).is_none() {
        return Cow::Borrowed(normal);
    }
    let mut out = Vec::with_capacity(normal.len());
    let mut rest = normal;
    while let [byte, after @ ..] = rest {
        match first_escape(rest).filter(|value| b"!$&'()*+,;=:@".contains(value)) {
            Some(value) => {
                out.push(value);
                rest = &rest[3..];
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: Cow<'_, [u8]>) -> String {
        String::from_utf8_lossy(&value).into_owned()
    }

    #[test]
    fn a_credential_has_one_spelling() {
        for value in [
            "Bearer tOk",
            "bearer tOk",
            "BEARER  tOk",
            "Bearer\ttOk",
            " Bearer \t tOk ",
        ] {
            assert_eq!(
                text(field(&header::AUTHORIZATION, value.as_bytes())),
                "bearer tOk",
                "{value:?}"
            );
            assert_eq!(
                text(field(&header::PROXY_AUTHORIZATION, value.as_bytes())),
                "bearer tOk",
                "{value:?}"
            );
        }
        assert_eq!(
            text(field(&header::AUTHORIZATION, b"tOk")),
            "tOk",
            "a credential without a scheme"
        );
        assert_eq!(
            text(field(&header::AUTHORIZATION, b"Digest a=\"B\",  c=D")),
            "digest a=\"B\", c=D"
        );
    }

    #[test]
    fn a_scheme_has_one_spelling_in_headers_of_services_too() {
        for name in ["x-auth", "x-api-key", "x-forwarded-authorization"] {
            let name = HeaderName::from_static(name);
            for value in ["Bearer tOk", "bearer tOk", "BEARER  tOk", "Bearer\ttOk"] {
                assert_eq!(
                    text(field(&name, value.as_bytes())),
                    "bearer tOk",
                    "{name}: {value:?}"
                );
            }
            assert_eq!(
                text(field(&name, b"Bearers tOk")),
                "Bearers tOk",
                "a word as any other"
            );
        }
    }

    #[test]
    fn of_any_header_outer_and_repeated_blanks_go() {
        let other = HeaderName::from_static("x-user");
        for (value, spelling) in [
            ("A", "A"),
            ("A b", "A b"),
            (" A \t b  c ", "A b c"),
            ("\t", ""),
            ("", ""),
        ] {
            assert_eq!(text(field(&other, value.as_bytes())), spelling, "{value:?}");
        }
    }

    #[test]
    fn a_cookie_is_decoded_as_a_query_is() {
        for value in [
            "a/b c",
            "a%2Fb%20c",
            "a%2fb+c",
            "\"a/b c\"",
            " \"a%2fb+c\" ",
            "\"a\\057b\\ c\"",
            "a/b%2Bc",
        ] {
            assert_eq!(text(cookie(value.as_bytes())), "a/b c", "{value:?}");
        }
        assert_eq!(text(cookie(b"%zz%4")), "%zz%4");
        assert_eq!(text(cookie(b"\"a")), "\"a");
    }

    #[test]
    fn characters_of_a_path_that_need_no_escape_have_none() {
        assert_eq!(text(path(b"/a%40b/%3A%2F%25%20")), "/a@b/:%2F%25%20");
        assert_eq!(text(path(b"/a@b/%")), "/a@b/%");
    }

    proptest! {
        #[test]
        fn what_people_name_is_spelled_once(value in "[A-Za \t%0-9+@\"]{0,20}") {
            for part in [
                KeyPart::Header(header::AUTHORIZATION),
                KeyPart::Cookie("c".into()),
                KeyPart::Path,
                KeyPart::Param("p".into()),
            ] {
                let once = named(&part, value.as_bytes()).into_owned();
                prop_assert_eq!(&*named(&part, &once), &*once);
            }
        }
    }
}
