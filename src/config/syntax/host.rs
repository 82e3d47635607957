//! Host names, and the patterns that routes match them with.
//!
//! Names are those of the DNS as HTTP uses them: ASCII, in any case, with `_`
//! allowed as services inside a company have it. They are kept in lower case,
//! without the final dot.
//!
//! # Advice
//!
//! Hosts are copied from URLs, from addresses and from the files of other
//! gateways. `no_host` tells these apart by their signs and says which mistake
//! it is; `more_than_a_host` cuts the host out of a URL. A host is advised only
//! if [`pattern`] accepts it.
//!
//! International names are refused rather than converted: browsers send the
//! `xn--` form (RFC 5891), and the file should have the bytes that requests
//! have.

use std::net::Ipv6Addr;

use super::{super::wrong::Wrong, in_quotes, pieces};
use crate::policy::HostPattern;

/// Longest name in the DNS, and longest part of one (RFC 1035).
const LONGEST_NAME: usize = 253;
/// Longest part of a name between two dots, in bytes (RFC 1035, section 2.3.4).
const LONGEST_LABEL: usize = 63;

/// A host name or IPv4 address, in lower case, without the dot that ends a
/// whole name.
///
/// An IPv4 address has the form of a name, and is one here; nothing checks that
/// its numbers are below 256. A warning of `resolve` does.
///
/// # Errors
/// An empty text, characters outside ASCII, an empty or overlong label, and
/// more than 253 bytes without the final dot.
pub(in crate::config) fn name(text: &str) -> Result<String, Wrong> {
    let help = "write a host name such as \"orders.example.com\"";
    if text.is_empty() {
        return Err(Wrong::new("the host is missing", help));
    }
    if !text.is_ascii() {
        let help = "write it as in the DNS: \"xn--...\"";
        return Err(Wrong::new("a host name is ASCII", help));
    }
    let letter = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    let label =
        |label: &str| (1..=LONGEST_LABEL).contains(&label.len()) && label.bytes().all(letter);
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() > LONGEST_NAME || !name.split('.').all(label) {
        return Err(Wrong::new(format!("`{text}` is not a host name"), help));
    }
    Ok(name.to_ascii_lowercase())
}

/// `"orders.example.com"`, `"*.example.com"`, `"[::1]"`.
///
/// # Errors
/// Anything else. The help has the host in a longer text, if there is one.
///
/// `*` stands for one or more whole labels at the beginning, and nowhere else.
/// Patterns have no port, and are compared with the host of a request without
/// its port.
pub(in crate::config) fn pattern(text: &str) -> Result<HostPattern, Wrong> {
    let help = "write \"orders.example.com\" or \"*.example.com\"";
    if text.starts_with('[') && text.ends_with(']') {
        let none = || Wrong::new("it is not an IPv6 address", help);
        return ipv6(text).map(HostPattern::Exact).ok_or_else(none);
    }
    if let Some(wrong) = no_host(text, help) {
        return Err(wrong);
    }
    match text.strip_prefix("*.") {
        Some(suffix) => name(suffix).map(HostPattern::Wildcard),
        None => name(text).map(HostPattern::Exact),
    }
}

/// The advice on a text that cannot be a host name, nor one with a star.
///
/// `None` if nothing speaks against the text so far: then [`name`] decides.
/// `help` is used where the text holds no host that could be advised instead.
///
/// The order counts. A list is recognized before a single odd sign in one of
/// its items, and a network before the slash that it shares with URLs.
fn no_host(text: &str, help: &str) -> Option<Wrong> {
    if text == "*" {
        let help = "leave `hosts` out to match any host";
        return Some(Wrong::new("`*` alone is every host", help));
    }
    let several = pieces(text);
    if several.len() > 1 && several.iter().all(|part| pattern(part).is_ok()) {
        let help = format!("write {}", in_quotes(&several));
        return Some(Wrong::new("several hosts are items of a list", help));
    }
    if text.parse::<ipnet::IpNet>().is_ok() {
        let help =
            "hosts are what requests ask for; limits tell clients apart by `key = \"client-ip\"`";
        return Some(Wrong::new("a network is no host", help));
    }
    if text.contains(['{', '}', '^', '$', '(']) {
        let why = "a host has no parameters and is no regular expression";
        return Some(Wrong::new(why, help));
    }
    if text.contains([':', '/', '@', '?', '#']) {
        return Some(more_than_a_host(text, help));
    }
    if text.contains('*') && !text.starts_with("*.") {
        let why = "`*` stands for whole labels at the beginning only";
        return Some(Wrong::new(why, help));
    }
    let host = text.strip_prefix('.').filter(|host| name(host).is_ok())?;
    let help = format!("write \"*.{host}\"");
    Some(Wrong::new("a host does not begin with a dot", help))
}

/// An IPv6 address in brackets as requests have it, in whichever way they spell
/// it.
///
/// An address has many spellings (RFC 4291, section 2.2), and clients may send
/// any of them. The standard library writes the one of RFC 5952, so that equal
/// addresses become equal texts. `None` if there are no brackets or no address
/// between them; a zone such as `%eth0` is no part of an address here.
fn ipv6(text: &str) -> Option<String> {
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    let address: Ipv6Addr = inside.parse().ok()?;
    Some(format!("[{address}]"))
}

/// A host that a key is compared with, as requests have it: in lower case.
///
/// Nothing is refused here: a text that is no host is kept in lower case.
pub(in crate::config) fn asked(text: &str) -> String {
    ipv6(text).unwrap_or_else(|| text.to_ascii_lowercase())
}

/// A URL, an address with a port and the like: the host in it is advised, if
/// there is one.
///
/// The scheme, a login before `@`, the port and everything from the path on are
/// cut off. The explanation names the part that is too much: the rest of a URL,
/// the port, or neither of the two.
fn more_than_a_host(text: &str, help: &str) -> Wrong {
    if text.parse::<Ipv6Addr>().is_ok() {
        let help = format!("write \"[{text}]\"");
        return Wrong::new("IPv6 addresses stand in brackets", help);
    }
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let why = match host == authority {
        _ if rest != text => "a host is no URL",
        false => "hosts are matched without a port",
        true => "this is more than a host",
    };
    let is_meant = host != text && pattern(host).is_ok();
    Wrong::new(why, help).or_advice(is_meant.then(|| format!("write \"{host}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_matched_in_lower_case() {
        assert_eq!(
            pattern("API.Example.com").unwrap(),
            HostPattern::Exact("api.example.com".into())
        );
        assert_eq!(
            pattern("*.Example.com").unwrap(),
            HostPattern::Wildcard("example.com".into())
        );
        assert_eq!(
            pattern("a.Example.com.").unwrap(),
            HostPattern::Exact("a.example.com".into())
        );
        for text in ["[::1]", "[0:0::1]", "[0:0:0:0:0:0:0:1]"] {
            assert_eq!(pattern(text).unwrap(), HostPattern::Exact("[::1]".into()));
            assert_eq!(asked(text), "[::1]");
        }
        assert_eq!(asked("Shop.Example"), "shop.example");
    }

    #[test]
    fn the_host_in_something_longer_is_advised() {
        for (text, host) in [
            ("https://shop.example.com", "shop.example.com"),
            ("https://shop.example.com:8443/a?b", "shop.example.com"),
            ("shop.example.com/a", "shop.example.com"),
            ("shop.example.com:80", "shop.example.com"),
            ("http://u:p@*.example.com/", "*.example.com"),
            ("::1", "[::1]"),
            ("http://[::1]:80", "[::1]"),
            ("[::1]:80", "[::1]"),
            (".example.com", "*.example.com"),
            ("a.com, *.b.com", "a.com\", \"*.b.com"),
        ] {
            let help = pattern(text).unwrap_err().help;
            assert_eq!(help, format!("write \"{host}\""), "{text}");
            assert!(host.split("\", \"").all(|host| pattern(host).is_ok()));
        }
        for text in ["http://", "a:b:c", "https://a b", ":", "*:80"] {
            assert!(
                pattern(text)
                    .unwrap_err()
                    .help
                    .contains("orders.example.com"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_can_never_match_is_refused() {
        for text in [
            "", "*", "a.*.com", "*a.com", "a:80", "a..b", ".a", "ä.com", "a b", "*.", ".", "a..",
            "http://a", "a/b",
        ] {
            assert!(pattern(text).is_err(), "{text}");
        }
    }
}
