//! Origins of pages, as `Origin` of a request names them: scheme, host and port.
//!
//! Browsers write an origin in one form only (Fetch, "serializing a request
//! origin"), and it is compared byte by byte. So a pattern is brought into this
//! form here: in lower case, and without the default port of its scheme.
//!
//! Any scheme is accepted, since apps have some of their own, such as
//! `capacitor://localhost`.

use super::{super::wrong::Wrong, host, in_quotes, pieces};
use crate::policy::{HostPattern, OriginPattern};

/// Schemes with a port that browsers leave out.
const DEFAULT_PORTS: [(&str, u16); 4] = [("https", 443), ("http", 80), ("wss", 443), ("ws", 80)];

/// The help for a text that holds no origin which could be advised instead.
const HELP: &str =
    "write one such as \"https://app.example.com\", \"https://*.example.com\", or \"*\" for all";

/// `"https://app.example.com"`, `"https://*.example.com:8443"`, `"null"`, or
/// `"*"` for every origin.
///
/// `*.` stands for one or more labels at the beginning of a host, and for
/// nothing else.
///
/// # Errors
/// Anything else. The help has the origin in a longer text, if there is one.
pub(in crate::config) fn pattern(text: &str) -> Result<OriginPattern, Wrong> {
    match text {
        "*" => return Ok(OriginPattern::Any),
        "null" => return Ok(OriginPattern::Exact(text.into())),
        _ => {}
    }
    let several = pieces(text);
    if several.len() > 1 && several.iter().all(|part| pattern(part).is_ok()) {
        let help = format!("write {}", in_quotes(&several));
        return Err(Wrong::new("several origins are items of a list", help));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(without_scheme(text));
    };
    if !is_scheme(scheme) {
        return Err(Wrong::new("it does not begin with a scheme", HELP));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host_and_port = authority.rsplit('@').next().unwrap_or_default();
    if !path.is_empty() || host_and_port != authority {
        let why = match path {
            "" => "an origin has no user",
            "/" => "an origin has no slash at the end",
            _ => "an origin ends behind the host and its port",
        };
        let origin = format!("{scheme}://{host_and_port}");
        let is_meant = pattern(&origin).is_ok();
        return Err(
            Wrong::new(why, HELP).or_advice(is_meant.then(|| format!("write \"{origin}\"")))
        );
    }
    of_parts(&scheme.to_ascii_lowercase(), authority)
}

/// The pattern for a scheme in lower case and a host with or without a port.
fn of_parts(scheme: &str, authority: &str) -> Result<OriginPattern, Wrong> {
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an IPv6 address without a port stand in brackets.
        Some((_, port)) if port.ends_with(']') => (authority, None),
        Some((host, port)) => (host, Some(self::port(port)?)),
        None => (authority, None),
    };
    let port = port.filter(|port| !DEFAULT_PORTS.contains(&(scheme, *port)));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    Ok(match pattern_of_host(scheme, host)? {
        HostPattern::Exact(host) => OriginPattern::Exact(format!("{scheme}://{host}{port}").into()),
        HostPattern::Wildcard(suffix) => OriginPattern::Subdomains {
            scheme: format!("{scheme}://").into(),
            rest: format!(".{suffix}{port}").into(),
        },
    })
}

/// The host of an origin.
///
/// A name with a dot at its end is another origin to a browser, and nobody
/// means it.
fn pattern_of_host(scheme: &str, host: &str) -> Result<HostPattern, Wrong> {
    if host.starts_with('*') && !host.starts_with("*.") {
        let why = "`*` stands for whole labels before a name, as in \"https://*.example.com\"";
        return Err(Wrong::new(
            why,
            "write that, or \"*\" alone for all origins",
        ));
    }
    if let Some(name) = host.strip_suffix('.') {
        let help = format!("write \"{scheme}://{name}\"");
        return Err(Wrong::new("browsers leave the final dot out", help));
    }
    host::pattern(host).map_err(|wrong| Wrong::new(wrong.why, HELP))
}

/// A port, which is a number.
fn port(text: &str) -> Result<u16, Wrong> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = text.parse().ok().filter(|port| is_number && *port != 0);
    port.ok_or_else(|| {
        let why = format!("`{text}` is not a port");
        let help = match text {
            "*" => "list an origin for each port",
            _ => "write one such as \"http://localhost:3000\"",
        };
        Wrong::new(why, help)
    })
}

/// Whether a text is the scheme of a URL (RFC 3986, 3.1), in any letter case.
fn is_scheme(text: &str) -> bool {
    let is_later = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(is_later)
}

/// The advice for a text without a scheme, which is usually a host: the scheme
/// of sites, or for this machine that of development.
fn without_scheme(text: &str) -> Wrong {
    let is_local = ["localhost", "127.0.0.1", "[::1]"].iter().any(|local| {
        text.strip_prefix(local)
            .is_some_and(|rest| !rest.starts_with('.'))
    });
    let scheme = if is_local { "http" } else { "https" };
    let origin = format!("{scheme}://{}", text.trim_end_matches('/'));
    let is_meant = !text.is_empty() && pattern(&origin).is_ok();
    Wrong::new("an origin begins with a scheme", HELP)
        .or_advice(is_meant.then(|| format!("write \"{origin}\"")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_origin_is_kept_as_browsers_write_it() {
        for (text, origin) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.com:443", "https://app.example.com"),
            ("http://a.example:80", "http://a.example"),
            ("http://a.example:443", "http://a.example:443"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://127.0.0.1:5173", "http://127.0.0.1:5173"),
            ("http://[0:0::1]:8080", "http://[::1]:8080"),
            ("http://[::1]", "http://[::1]"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("null", "null"),
        ] {
            let expected = OriginPattern::Exact(origin.into());
            assert_eq!(pattern(text), Ok(expected), "{text}");
        }
        assert_eq!(pattern("*"), Ok(OriginPattern::Any));
        assert_eq!(
            pattern("https://*.Example.com:8443"),
            Ok(OriginPattern::Subdomains {
                scheme: "https://".into(),
                rest: ".example.com:8443".into()
            })
        );
    }

    #[test]
    fn advice_has_the_origin_that_is_meant() {
        for (text, advised) in [
            ("app.example.com", "https://app.example.com"),
            ("*.example.com", "https://*.example.com"),
            ("localhost:3000", "http://localhost:3000"),
            ("app.example.com/", "https://app.example.com"),
            ("https://app.example.com/", "https://app.example.com"),
            ("https://app.example.com/a?b", "https://app.example.com"),
            ("https://u:p@app.example.com", "https://app.example.com"),
            ("https://app.example.com.", "https://app.example.com"),
            (
                "https://a.example, https://b.example",
                "https://a.example\", \"https://b.example",
            ),
        ] {
            let help = pattern(text).unwrap_err().help;
            assert_eq!(help, format!("write \"{advised}\""), "{text}");
        }
    }

    #[test]
    fn a_text_that_no_browser_sends_is_refused() {
        for text in [
            "",
            "https://",
            "https://*",
            "https://*:8443",
            "https://a.*.com",
            "https://*a.com",
            "*://a.com",
            "https://a.com:*",
            "https://a.com:0",
            "https://a.com:65536",
            "https://a.com:+80",
            "https://a.com:",
            "https://*.",
            "https://[::1",
            "1://a",
            "://a",
            "https://a b",
            "https://ä.com",
            "**",
            "Null",
        ] {
            assert!(pattern(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_exact_pattern_matches_itself_and_no_text_makes_it_fail(text in "[a-zA-Z0-9.:/*@\\[\\]-]{0,30}") {
            for text in [text.clone(), format!("https://{text}")] {
                if let Ok(OriginPattern::Exact(origin)) = pattern(&text) {
                    prop_assert_eq!(pattern(&origin), Ok(OriginPattern::Exact(origin.clone())));
                }
            }
        }
    }
}
