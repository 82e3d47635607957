//! `X-Forwarded-Prefix`: the prefix that the path has lost on its way to the
//! service, so that it can write links as its clients see them.
//!
//! It is in no RFC. Spring, ASP.NET and others read it, and Traefik writes it.

use http::HeaderName;

use crate::{call::Exchange, policy::RequestChanges};

const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Writes the field with the prefix that was `stripped`, behind those that
/// trusted proxies have stripped before, as one path.
///
/// Received prefixes that are no paths are left out. A field that the route
/// sets or removes is left to the route.
pub(super) fn write(
    out: &mut Vec<u8>,
    exchange: &Exchange,
    stripped: &str,
    changes: &RequestChanges,
) {
    let name = X_FORWARDED_PREFIX;
    if changes.headers.decides(&name) {
        return;
    }
    out.extend_from_slice(b"x-forwarded-prefix: ");
    out.extend_from_slice(&received(exchange));
    out.extend_from_slice(stripped.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The prefixes that trusted proxies have stripped, as one path without a
/// trailing `/`; empty if there are none. Nothing is believed of other peers.
pub(super) fn received(exchange: &Exchange) -> Vec<u8> {
    let mut prefix = Vec::new();
    if exchange.client.chain.is_none() {
        return prefix;
    }
    for line in exchange.request.headers.all(&X_FORWARDED_PREFIX) {
        let members = line.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        for member in members.filter(|member| is_path(member)) {
            prefix.extend_from_slice(member.strip_suffix(b"/").unwrap_or(member));
        }
    }
    prefix
}

/// Whether a field is this one for a service that takes `_` for `-`.
pub(super) fn is_same(name: &[u8]) -> bool {
    let known = X_FORWARDED_PREFIX;
    let plain = |byte: &u8| {
        if *byte == b'_' {
            b'-'
        } else {
            byte.to_ascii_lowercase()
        }
    };
    name.iter().map(plain).eq(known.as_str().bytes())
}

/// Whether a prefix is a path from the root, and not the name of a host. It has
/// no sign that would end it in a field such as `Set-Cookie` or `Refresh`.
fn is_path(prefix: &[u8]) -> bool {
    let is_of_path = |byte: &u8| byte.is_ascii_graphic() && !b"\\?#;\"'<>".contains(byte);
    prefix.starts_with(b"/") && !prefix.starts_with(b"//") && prefix.iter().all(is_of_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_known_in_every_spelling_of_its_name() {
        for name in ["x-forwarded-prefix", "X_Forwarded-PREFIX"] {
            assert!(is_same(name.as_bytes()), "{name}");
        }
        assert!(!is_same(b"x-forwarded-prefixes") && !is_same(b"x-forwarded-host"));
    }

    #[test]
    fn only_a_path_from_the_root_is_a_prefix() {
        for (prefix, expected) in [
            ("/a", true),
            ("/a/b%20c", true),
            ("/", true),
            ("", false),
            ("a", false),
            ("//evil.example", false),
            ("/\\evil", false),
            ("/a?b", false),
            ("/a b", false),
            ("/a;b", false),
            ("/a'b", false),
        ] {
            assert_eq!(is_path(prefix.as_bytes()), expected, "{prefix}");
        }
    }
}
