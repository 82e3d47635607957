//! Host names, and the patterns that routes match them with.
//!
//! Names are those of the DNS as HTTP uses them: ASCII, in any case, with `_`
//! allowed as services inside a company have it. They are kept in lower case,
//! without the final dot.

use super::{super::wrong::Wrong, in_quotes, pieces};
use crate::policy::HostPattern;

/// Longest name in the DNS, and longest part of one (RFC 1035).
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// A host name or IPv4 address, in lower case, without the dot that ends a
/// whole name.
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
    let label = |label: &str| {
        !label.is_empty() && label.len() <= LONGEST_LABEL && label.bytes().all(letter)
    };
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
pub(in crate::config) fn pattern(text: &str) -> Result<HostPattern, Wrong> {
    let help = "write \"orders.example.com\" or \"*.example.com\"";
    if text.starts_with('[') && text.ends_with(']') {
        return match ipv6(text) {
            Some(address) => Ok(HostPattern::Exact(address)),
            None => Err(Wrong::new("it is not an IPv6 address", help)),
        };
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
fn ipv6(text: &str) -> Option<String> {
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    inside
        .parse::<std::net::Ipv6Addr>()
        .ok()
        .map(|address| format!("[{address}]"))
}

/// A host that a key is compared with, as requests have it: in lower case.
pub(in crate::config) fn asked(text: &str) -> String {
    ipv6(text).unwrap_or_else(|| text.to_ascii_lowercase())
}

/// A URL, an address with a port and the like: the host in it is advised, if
/// there is one.
fn more_than_a_host(text: &str, help: &str) -> Wrong {
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
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
