//! The hops that a request came through before it reached the peer: the
//! elements of `X-Forwarded-For`, or of `Forwarded` (RFC 7239). Here they are
//! only read; `gateway::client` decides which of them are believed.
//!
//! Elements are read from the right, where the nearest hop has written, since
//! everything left of the first hop that is not trusted may be invented. At
//! most 64 hops are read.

use std::{
    borrow::Cow,
    collections::{VecDeque, vec_deque},
    net::IpAddr,
};

use http::HeaderName;

use crate::{
    message::{FieldName, Headers},
    policy::HopsField,
};

/// `X-Forwarded-For`, which is in no registry.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Hops that are read, counted from the peer. No real chain comes near it, and
/// each costs more bytes where it is written in the other of the two fields.
const MOST_HOPS: usize = 64;

/// One element of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop<'a> {
    /// The element as received; `None` where it cannot be read.
    pub text: Option<&'a [u8]>,
    /// The address of who sent the request at this hop, canonical; `None` where
    /// none is named.
    pub address: Option<IpAddr>,
    /// The protocol of the request at this hop; only `Forwarded` says it here.
    pub proto: Option<Cow<'a, [u8]>>,
    /// The host that was asked for at this hop; only `Forwarded` says it here.
    pub host: Option<Cow<'a, [u8]>>,
}

impl Hop<'_> {
    /// A hop of which nothing but the address is known.
    pub fn at(address: IpAddr) -> Self {
        Self {
            address: Some(address),
            ..Self::UNREADABLE
        }
    }

    /// A hop whose element cannot be read.
    const UNREADABLE: Self = Self {
        text: None,
        address: None,
        proto: None,
        host: None,
    };
}

/// The hops of a request, the nearest first, over all lines of the field; at
/// most 64. Empty elements are skipped (RFC 9110, 5.6.1).
pub fn hops(headers: &Headers, by: HopsField) -> impl Iterator<Item = Hop<'_>> {
    let name = match by {
        HopsField::XForwardedFor => FieldName::XForwardedFor,
        HopsField::Forwarded => FieldName::Forwarded,
    };
    let lines = headers.known(name).rev();
    lines
        .flat_map(move |line| FieldLine::of(by, line))
        .take(MOST_HOPS)
}

/// The members of a list without quoted strings, the last first; empty ones are
/// skipped.
pub fn members_from_right(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.rsplit(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// The hops that one line of the field names, the last first.
enum FieldLine<'a> {
    /// The rest of the line.
    Addresses(Option<&'a [u8]>),
    /// Quoted strings can only be told from the left.
    Elements(vec_deque::IntoIter<Hop<'a>>),
}

impl<'a> FieldLine<'a> {
    /// Begins to read a line of the field.
    fn of(by: HopsField, line: &'a [u8]) -> Self {
        match by {
            HopsField::XForwardedFor => FieldLine::Addresses(Some(line)),
            HopsField::Forwarded => FieldLine::Elements(elements(line).into_iter()),
        }
    }
}

impl<'a> Iterator for FieldLine<'a> {
    type Item = Hop<'a>;

    fn next(&mut self) -> Option<Hop<'a>> {
        match self {
            FieldLine::Addresses(rest) => loop {
                let line = (*rest)?;
                let comma = memchr::memrchr(b',', line);
                *rest = comma.map(|comma| &line[..comma]);
                let text = line[comma.map_or(0, |comma| comma + 1)..].trim_ascii();
                if !text.is_empty() {
                    let address = address(text);
                    return Some(Hop {
                        text: address.map(|_| text),
                        address,
                        ..Hop::UNREADABLE
                    });
                }
            },
            FieldLine::Elements(elements) => elements.next_back(),
        }
    }
}

/// The last elements of a line of `Forwarded`, in their order. One that is
/// malformed is unreadable; with quotes in it nobody can say where it ends, so
/// that the rest of the line is unreadable too.
fn elements(line: &[u8]) -> VecDeque<Hop<'_>> {
    let mut found = VecDeque::new();
    let mut rest = line;
    loop {
        let start = rest;
        let element = element(&mut rest);
        if element.is_none() {
            let end = memchr::memchr(b',', start).unwrap_or(start.len());
            let (malformed, after) = start.split_at(end);
            rest = if malformed.contains(&b'"') {
                &[]
            } else {
                after
            };
        }
        let text = start[..start.len() - rest.len()].trim_ascii();
        if !text.is_empty() {
            if found.len() == MOST_HOPS {
                found.pop_front();
            }
            found.push_back(element.map_or(Hop::UNREADABLE, |hop| Hop {
                text: Some(text),
                ..hop
            }));
        }
        match rest.split_first() {
            // An element is followed by a comma.
            Some((_, after)) => rest = after,
            None => return found,
        }
    }
}

/// Takes one element off, up to its comma or the end: pairs that are separated
/// by semicolons, spaces around them as in the examples of RFC 7239.
fn element<'a>(rest: &mut &'a [u8]) -> Option<Hop<'a>> {
    let mut hop = Hop::UNREADABLE;
    let (mut node, mut by) = (None, None);
    loop {
        *rest = rest.trim_ascii_start();
        if !matches!(rest, [] | [b',' | b';', ..]) {
            let name = token(rest)?;
            *rest = rest.strip_prefix(b"=")?;
            let value = if rest.starts_with(b"\"") {
                quoted(rest)?
            } else {
                Cow::Borrowed(token(rest)?)
            };
            let place = match name.to_ascii_lowercase().as_slice() {
                b"for" => Some(&mut node),
                b"by" => Some(&mut by),
                b"host" => Some(&mut hop.host),
                b"proto" => Some(&mut hop.proto),
                _ => None,
            };
            // None may be there twice (RFC 7239, 4).
            if place.is_some_and(|place| place.replace(value).is_some()) {
                return None;
            }
            *rest = rest.trim_ascii_start();
        }
        match rest {
            [] | [b',', ..] => break,
            [b';', after @ ..] => *rest = after,
            _ => return None,
        }
    }
    hop.address = node.and_then(|node| address(&node));
    Some(hop)
}

/// Takes a token off the beginning of `rest`; `None` if none is there.
fn token<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest
        .iter()
        .position(|byte| !is_token(*byte))
        .unwrap_or(rest.len());
    let (token, after) = rest.split_at(end);
    *rest = after;
    (!token.is_empty()).then_some(token)
}

/// Whether a byte may stand in a token (RFC 9110, 5.6.2).
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// A quoted string without its quotes, and each quoted pair as what it stands
/// for (RFC 9110, 5.6.4).
fn quoted<'a>(rest: &mut &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let inside = rest.strip_prefix(b"\"")?;
    let mut unescaped: Option<Vec<u8>> = None;
    let mut at = 0;
    loop {
        match inside.get(at..)? {
            [b'"', after @ ..] => {
                *rest = after;
                return Some(unescaped.map_or(Cow::Borrowed(&inside[..at]), Cow::Owned));
            }
            [b'\\', escaped, ..] => {
                unescaped
                    .get_or_insert_with(|| inside[..at].to_vec())
                    .push(*escaped);
                at += 2;
            }
            [b'\\'] | [] => return None,
            [byte, ..] => {
                if let Some(unescaped) = &mut unescaped {
                    unescaped.push(*byte);
                }
                at += 1;
            }
        }
    }
}

/// An address, perhaps with a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`,
/// `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    // The number alone would be allowed a sign.
    let is_port =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let address: IpAddr = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let is_sound = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        IpAddr::V6(address.parse().ok().filter(|_| is_sound)?)
    } else if let Some((address, port)) =
        text.split_once(':').filter(|(_, port)| !port.contains(':'))
    {
        IpAddr::V4(address.parse().ok().filter(|_| is_port(port))?)
    } else {
        text.parse().ok()?
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {

    use super::*;

    /// The elements of a line of `Forwarded`, from left to right: address,
    /// protocol and host of each.
    fn read(line: &str) -> Vec<(Option<String>, Option<String>, Option<String>)> {
        let text = |value: Option<Cow<'_, [u8]>>| {
            value.map(|value| String::from_utf8(value.into_owned()).unwrap())
        };
        let hop = |hop: Hop<'_>| {
            (
                hop.address.map(|address| address.to_string()),
                text(hop.proto),
                text(hop.host),
            )
        };
        elements(line.as_bytes()).into_iter().map(hop).collect()
    }

    fn addresses(line: &str) -> Vec<String> {
        let address =
            |(address, ..): (Option<String>, _, _)| address.unwrap_or_else(|| "-".to_owned());
        read(line).into_iter().map(address).collect()
    }

    #[test]
    fn a_quoted_string_hides_what_stands_in_it() {
        for (line, hops) in [
            (r#"host="x;for=6.6.6.6;y=";for=1.2.3.4"#, &["1.2.3.4"][..]),
            (r#"for=1.2.3.4;host="a\",for=6.6.6.6;x=\"b""#, &["1.2.3.4"]),
            (
                r#"for=1.2.3.4;host="a,b", for=5.6.7.8"#,
                &["1.2.3.4", "5.6.7.8"],
            ),
            (
                r#"for=1.2.3.4;x="\\", for=5.6.7.8;y="\"""#,
                &["1.2.3.4", "5.6.7.8"],
            ),
            (r#"for="1.2.\3.4""#, &["1.2.3.4"]),
            (r#"for="[2001:db8::1]:4711";by="[::1]""#, &["2001:db8::1"]),
        ] {
            assert_eq!(addresses(line), hops, "{line}");
        }
    }

    #[test]
    fn each_parameter_is_read_and_unescaped() {
        let all = |line: &str| read(line).remove(0);
        let some = |text: &str| Some(text.to_owned());
        let expected = (some("192.0.2.60"), some("http"), some("a\"b\\c"));
        assert_eq!(
            all(r#"FOR=192.0.2.60; Proto=http; by=203.0.113.43;HOST="a\"b\\c""#),
            expected
        );
        assert_eq!(all("for=_hidden;secret=x"), (None, None, None));
    }

    #[test]
    fn a_malformed_element_is_unreadable_and_with_quotes_in_it_so_is_what_follows() {
        for (line, hops) in [
            ("for, for=1.2.3.4", &["-", "1.2.3.4"][..]),
            ("for=1.2.3.4 x, for=5.6.7.8", &["-", "5.6.7.8"]),
            ("for = 1.2.3.4", &["-"]),
            ("for=1.2.3.4;for=6.6.6.6", &["-"]),
            ("for=1.2.3.4:80", &["-"]),
            ("for=2001:db8::1", &["-"]),
            (r#"for=1.2.3.4, for="6.6.6.6"#, &["1.2.3.4", "-"]),
            (r#"for="6.6.6.6, for=1.2.3.4"#, &["-"]),
            (r#"for="6.6.6.6\", for=1.2.3.4"#, &["-"]),
            (r#"for=1.2.3.4;host="x"y, for=6.6.6.6;z="w""#, &["-"]),
            (r#"for=1.2.3.4;host=x"y, for=6.6.6.6;z="w""#, &["-"]),
            (
                r#"for=6.6.6.6;x=", for=1.2.3.4;host="shop";proto=http"#,
                &["-"],
            ),
        ] {
            assert_eq!(addresses(line), hops, "{line}");
        }
    }

    #[test]
    fn empty_elements_are_skipped() {
        let headers = Headers::from_iter([
            ("x-forwarded-for", ",1.2.3.4, ,"),
            ("forwarded", ",, for=1.2.3.4, ,"),
        ]);
        for by in [HopsField::XForwardedFor, HopsField::Forwarded] {
            let found: Vec<_> = hops(&headers, by)
                .map(|hop| hop.address.unwrap().to_string())
                .collect();
            assert_eq!(found, ["1.2.3.4"]);
        }
    }

    #[test]
    fn no_more_hops_are_read_than_any_chain_has() {
        let many = |element: &str| [element; 1000].join(",");
        let headers = Headers::from_iter([
            ("x-forwarded-for", many("1")),
            ("forwarded", many("x")),
            ("forwarded", many("x=y")),
        ]);
        for by in [HopsField::XForwardedFor, HopsField::Forwarded] {
            assert_eq!(hops(&headers, by).count(), MOST_HOPS);
        }
    }
}
