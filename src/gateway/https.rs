//! The redirect of a listener that serves nothing but redirects to https.
//!
//! It comes before the routes: such a listener needs none, and no limit counts
//! its requests. Only the bounds on connections and heads hold there. A
//! challenge of ACME, which is asked for over plain HTTP, has to be answered
//! before [`redirect`] is called.

use std::num::NonZeroU16;

use crate::{call::Target, error::Error};

/// The port that a URL of https does not write (RFC 9110, 4.2.2).
const USUAL: u16 = 443;

/// The redirect of a request for this target and host to `port`, as the error
/// that ends it.
///
/// The host is the one in the form that routes compare, and a target holds
/// neither blanks nor control characters, so that the URL is sound as a field.
/// A request without a host (HTTP/1.0) is malformed here.
pub(super) fn redirect(port: NonZeroU16, target: &Target, host: &str) -> Error {
    if host.is_empty() {
        return Error::Malformed("it names no host, which the redirect to https needs");
    }
    let (path, query) = target.to_forward();
    // `OPTIONS *` asks for no path.
    let path = if path == b"*" { b"/" } else { path };
    let port = match port.get() {
        USUAL => String::new(),
        port => format!(":{port}"),
    };
    let parts = [b"https://", host.as_bytes(), port.as_bytes(), path, query];
    Error::HttpsOnly {
        location: parts.concat().into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::call::host_name;

    fn location(port: u16, target: &str, host: &str) -> String {
        let target = Target::parse(target.to_owned().into()).unwrap();
        match redirect(NonZeroU16::new(port).unwrap(), &target, host) {
            Error::HttpsOnly { location } => String::from_utf8(location.into()).unwrap(),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_url_keeps_host_path_and_query() {
        assert_eq!(
            location(443, "/a/./b?x=1&y", "a.example"),
            "https://a.example/a/./b?x=1&y"
        );
        assert_eq!(location(8443, "/", "[::1]"), "https://[::1]:8443/");
        assert_eq!(
            location(443, "http://b.example?q", "b.example"),
            "https://b.example/?q"
        );
        assert_eq!(location(443, "*", "a"), "https://a/");
        assert_eq!(
            location(443, "//evil.example/x", "a"),
            "https://a//evil.example/x"
        );
    }

    #[test]
    fn a_request_without_a_host_is_malformed() {
        let target = Target::parse("/".into()).unwrap();
        let error = redirect(NonZeroU16::MIN, &target, "");
        assert!(matches!(error, Error::Malformed(_)));
    }

    proptest! {
        #[test]
        fn no_target_and_no_host_break_out_of_the_field(target: Vec<u8>, host: Vec<u8>) {
            if let (Ok(target), Ok(host)) = (Target::parse(target.into()), host_name(&host))
                && let Error::HttpsOnly { location } = redirect(NonZeroU16::MIN, &target, &host)
            {
                let is_sound = |byte: &u8| *byte > b' ' && *byte != 0x7f;
                prop_assert!(location.iter().all(is_sound));
                let begin = format!("https://{host}:1");
                prop_assert!(location.starts_with(begin.as_bytes()));
                prop_assert!(matches!(location[begin.len()], b'/' | b'?'));
            }
        }
    }
}
