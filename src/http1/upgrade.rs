//! Upgrades (RFC 9110, 7.8): which of the protocols that a client offers may
//! pass, and whether a response takes one.
//!
//! A client offers protocols by `Upgrade`, and has to name that field in
//! `Connection` as well. The offer is passed on without protocols that carry
//! requests, because no limit sees the requests inside of a tunnel: `h2c` is
//! known for smuggling requests past proxies in that way. A server takes one of
//! the offered protocols by a 101 that names it. Any other 101 is an error of
//! the server.
//!
//! # Course of an upgrade
//!
//! * The parser keeps the offer in the head of the request. Without one it is an
//!   ordinary request, whose `Upgrade` is dropped like every field of one hop.
//! * `layer::forward` writes the offer into the head for the server, and the
//!   upstream's side checks a 101 by [`is_offered`].
//! * A 101 that takes an offered protocol has a tunnel for its body, and both
//!   connections are joined until they end.
//!
//! # Bounds
//!
//! The list is less than twice as long as the fields that it comes from, and
//! those are within the bounds of a head. It is built only for requests that
//! ask for a switch.

use http::Version;

use super::{headers::Headers, hops::Hops, names::FieldName};

/// Protocols that carry requests, without versions. In a tunnel of theirs,
/// requests would evade every limit.
///
/// In lower case. A name is compared up to its slash, so that `HTTP/2.0` and
/// `TLS/1.2` (RFC 2817) are found, too.
const CARRY_REQUESTS: [&[u8]; 4] = [b"h2c", b"h2", b"http", b"tls"];

/// The protocols that a request offers to switch to and that may pass, as an
/// `Upgrade` field lists them. `None` unless the client asks for a switch by
/// `Connection: upgrade` as well, and speaks HTTP/1.1 (RFC 9110, 7.8).
///
/// Several fields count as one list (RFC 9110, 5.3). The members keep their
/// order, which is the preference of the client, and are joined by a comma and
/// a space. The result is also `None` if no member may pass.
///
/// `names_hops` says whether `Connection` names any field at all. Nearly all
/// requests stop here.
pub(super) fn offered(headers: &Headers, version: Version, names_hops: bool) -> Option<Box<[u8]>> {
    let may_switch = names_hops && version == Version::HTTP_11;
    may_switch.then(|| passing(headers))?
}

/// The protocols in the `Upgrade` fields that may pass; `None` if there are
/// none, or `Connection` does not name the field.
fn passing(headers: &Headers) -> Option<Box<[u8]>> {
    if !Hops::of(headers, true).names(b"upgrade") {
        return None;
    }
    let lines = headers.known(FieldName::Upgrade);
    let passing: Vec<&[u8]> = lines
        .flat_map(members)
        .filter(|name| may_pass(name))
        .collect();
    (!passing.is_empty()).then(|| passing.join(&b", "[..]).into())
}

/// Whether the protocol that a response names was offered, by the list in
/// `offered`. Names are compared without letter case (RFC 9110, 7.8).
///
/// `named` is the `Upgrade` of the 101, with blanks around it at most. A
/// version is part of the name: `a/2` was not offered by `a`. Neither an empty
/// name nor a list of several names was ever offered.
pub fn is_offered(offered: &[u8], named: &[u8]) -> bool {
    members(offered).any(|protocol| protocol.eq_ignore_ascii_case(named.trim_ascii()))
}

/// The members of a list of a field (RFC 9110, 5.6.1), without blanks around
/// them. Empty members are left out, as a recipient has to ignore them.
fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

/// Whether a protocol is written in the characters of tokens and slashes, and
/// carries no requests. Members with other characters are dropped: the list is
/// written to the next hop, and nothing but tokens and slashes gets there.
fn may_pass(protocol: &[u8]) -> bool {
    let name = protocol
        .split(|byte| *byte == b'/')
        .next()
        .unwrap_or_default();
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(byte);
    protocol.iter().all(is_token)
        && !CARRY_REQUESTS
            .iter()
            .any(|carrier| name.eq_ignore_ascii_case(carrier))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(lines: &[(&str, &str)]) -> Option<String> {
        let headers = lines.iter().copied().collect();
        passing(&headers).map(|offered| String::from_utf8(offered.into()).unwrap())
    }

    #[test]
    fn an_upgrade_is_asked_for_by_two_fields() {
        let connection = ("connection", "keep-alive, Upgrade");
        assert_eq!(
            offer(&[connection, ("upgrade", "websocket")]).as_deref(),
            Some("websocket")
        );
        assert_eq!(offer(&[("upgrade", "websocket")]), None);
        assert_eq!(
            offer(&[("connection", "close"), ("upgrade", "websocket")]),
            None
        );
        assert_eq!(offer(&[connection]), None);
        assert_eq!(offer(&[connection, ("upgrade", " , ")]), None);
    }

    #[test]
    fn what_would_carry_requests_is_not_offered() {
        let asked = |list| offer(&[("connection", "upgrade, http2-settings"), ("upgrade", list)]);
        for list in [
            "h2c",
            "H2C",
            "h2",
            "HTTP/2.0",
            "http/1.1",
            "TLS/1.0",
            "h2c, tls",
            "h2c/1",
            "web socket",
            "\"a\"",
        ] {
            assert_eq!(asked(list), None, "{list}");
        }
        assert_eq!(asked("h2c, websocket,h2").as_deref(), Some("websocket"));
        assert_eq!(asked("SPDY/3.1,foo").as_deref(), Some("SPDY/3.1, foo"));
    }

    #[test]
    fn an_answer_takes_one_of_what_was_offered() {
        assert!(is_offered(b"websocket, foo/2", b"WebSocket"));
        assert!(is_offered(b"websocket, foo/2", b"foo/2 "));
        for other in [&b"h2c"[..], b"", b"foo", b"websocket, foo/2"] {
            assert!(!is_offered(b"websocket, foo/2", other));
        }
    }
}
