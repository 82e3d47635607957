//! The host that a request is for. It has exactly one, or it is refused.

use http::{HeaderMap, Version, header};

use crate::{call::Target, error::Error};

/// The host in lower case, without port and trailing dot, and an IPv6 address
/// in the form of RFC 5952. Empty if a request of HTTP/1.0 has no `Host`.
///
/// # Errors
/// [`Error::Malformed`] if there is no host, more than one, or one that cannot
/// be read.
pub(super) fn of(
    target: &Target,
    headers: &HeaderMap,
    version: Version,
) -> Result<Box<str>, Error> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let named = hosts.next();
    if hosts.next().is_some() {
        return Err(Error::Malformed("it has two Host fields"));
    }
    let named = match named {
        Some(value) => value.as_bytes(),
        None if version == Version::HTTP_10 => {
            return target.authority().map_or(Ok(Box::default()), name);
        }
        None => return Err(Error::Malformed("it has no Host field")),
    };
    // The header must be sound even if the target overrides it, since others
    // may look at it.
    let named = name(named)?;
    target.authority().map_or(Ok(named), name)
}

const NO_HOST: Error = Error::Malformed("its host cannot be read");

/// The host of an authority, which is never empty (RFC 9110, 4.2.1).
///
/// # Errors
/// [`Error::Malformed`] if it is no host.
pub(crate) fn name(authority: &[u8]) -> Result<Box<str>, Error> {
    // Nearly all hosts are names in lower case or IPv4 addresses, perhaps with
    // a port.
    let (mut length, mut before) = (authority.len(), Kind::Dot);
    for (at, byte) in authority.iter().enumerate() {
        match (KINDS[usize::from(*byte)], before) {
            (Kind::Dot, Kind::Dot) => return unusual_name(authority),
            (kind @ (Kind::Plain | Kind::Dot), _) => before = kind,
            (Kind::Other, _) => {
                length = at;
                break;
            }
        }
    }
    let (host, port) = authority.split_at(length);
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if is_port && before == Kind::Plain {
        return std::str::from_utf8(host)
            .map(Box::from)
            .map_err(|_| NO_HOST);
    }
    unusual_name(authority)
}

/// The kinds of bytes in a usual host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A small letter, a digit or a hyphen.
    Plain,
    Dot,
    Other,
}

const KINDS: [Kind; 256] = {
    let mut kinds = [Kind::Other; 256];
    let plain = b"abcdefghijklmnopqrstuvwxyz0123456789-";
    let mut at = 0;
    while at < plain.len() {
        kinds[plain[at] as usize] = Kind::Plain;
        at += 1;
    }
    kinds[b'.' as usize] = Kind::Dot;
    kinds
};

fn unusual_name(authority: &[u8]) -> Result<Box<str>, Error> {
    let text = std::str::from_utf8(authority).map_err(|_| NO_HOST)?;
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let end = rest.find(']').ok_or(NO_HOST)?;
            // An address has many spellings, but one canonical form.
            let address: std::net::Ipv6Addr = rest[..end].parse().map_err(|_| NO_HOST)?;
            (format!("[{address}]"), &rest[end + 1..])
        }
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let is_host = host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
            let host = host.strip_suffix('.').unwrap_or(host);
            if !is_host || host.split('.').any(str::is_empty) {
                return Err(NO_HOST);
            }
            (host.to_ascii_lowercase(), port)
        }
    };
    let is_port = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    if is_port {
        Ok(host.into())
    } else {
        Err(NO_HOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_loses_its_port_its_case_and_its_trailing_dot() {
        for (given, host) in [
            ("Example.COM:8080", "example.com"),
            ("a.", "a"),
            ("[::1]:80", "[::1]"),
            ("a:", "a"),
            ("A.b.:1", "a.b"),
        ] {
            assert_eq!(&*name(given.as_bytes()).unwrap(), host);
        }
    }

    #[test]
    fn an_ipv6_address_is_one_host_however_it_is_spelled() {
        for given in [
            "[::1]",
            "[0:0::1]:80",
            "[0000:0:0:0:0:0:0:0001]",
            "[::0.0.0.1]:",
            "[0::1]",
        ] {
            assert_eq!(&*name(given.as_bytes()).unwrap(), "[::1]", "{given}");
        }
        assert_eq!(&*name(b"[2001:DB8:0:0:0:0:0:A]").unwrap(), "[2001:db8::a]");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for given in [
            "a b", "a/b", "user@a", "a,b", "a:80:90", "a:x", "[::1", "[x]", "a\u{e9}", "", ":80",
            ".", "..", ".:80", "a..", "a..b", ".a", "A..", "[::1].",
        ] {
            assert!(name(given.as_bytes()).is_err(), "{given}");
        }
    }
}
