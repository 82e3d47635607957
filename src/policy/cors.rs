//! `[routes.cors]`: which pages of other origins may call a route from a
//! browser (the CORS protocol of the Fetch standard).
//!
//! A browser names the origin of a page in `Origin`, and shows the page a
//! response only if the response permits it. Nothing here keeps anybody from
//! sending a request: the protocol protects people with a browser, and no
//! service.

use std::time::Duration;

use http::{HeaderName, Method};

/// Bytes of the longest origin that a pattern with a wildcard matches: a scheme,
/// the longest name of the DNS (253 bytes) and a port fit into it. A matching
/// origin is repeated in the response.
const LONGEST_ORIGIN: usize = 320;

/// The origins that may read the responses of a route, and what their requests
/// may be.
///
/// With `credentials`, no list has a `*`: browsers would take it for a name
/// (Fetch, "CORS protocol and credentials").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// The origins, of which at least one is listed. [`OriginPattern::Any`]
    /// stands alone.
    pub origins: Vec<OriginPattern>,
    /// The methods that requests may have. `*` is any.
    pub methods: Vec<Method>,
    /// The fields that requests may have. `*` is any but `authorization`.
    pub headers: Vec<HeaderName>,
    /// The fields of responses that pages may read.
    pub expose: Vec<HeaderName>,
    /// Whether requests may carry cookies and other credentials of the browser.
    pub credentials: bool,
    /// How long a browser may rely on the response to a preflight; sent in
    /// whole seconds.
    pub max_age: Duration,
}

impl Cors {
    /// Whether every origin gets the same response, which then need not name
    /// one.
    pub fn is_for_all(&self) -> bool {
        matches!(self.origins[..], [OriginPattern::Any])
    }

    /// Whether pages of this origin may read responses. `origin` is the value
    /// of `Origin` as received.
    ///
    /// Takes time in proportion to the list and to the value, which are bounded
    /// by the file and by the head of a request.
    pub fn allows(&self, origin: &[u8]) -> bool {
        self.origins.iter().any(|pattern| pattern.matches(origin))
    }
}

/// A pattern for the origins of pages.
///
/// Origins are compared byte by byte, as browsers write them in one form only:
/// in lower case, without a default port and without a slash at the end.
///
/// ```
/// use tidegate::policy::OriginPattern;
///
/// let pattern = OriginPattern::Subdomains {
///     scheme: "https://".into(),
///     rest: ".example.com".into(),
/// };
/// assert!(pattern.matches(b"https://a.b.example.com"));
/// assert!(!pattern.matches(b"https://example.com"));
/// assert!(!pattern.matches(b"https://a.example.com.evil.org"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// Every origin, `null` included.
    Any,
    /// This origin only, such as `https://app.example.com` or `null`.
    Exact(Box<str>),
    /// One or more labels between two texts.
    Subdomains {
        /// The scheme with `://`.
        scheme: Box<str>,
        /// The rest of the host with the dot before it, and the port if it is
        /// not the default one.
        rest: Box<str>,
    },
}

impl OriginPattern {
    /// Whether the pattern matches this value of `Origin`.
    pub fn matches(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact.as_bytes() == origin,
            Self::Subdomains { scheme, rest } => {
                let labels = origin
                    .strip_prefix(scheme.as_bytes())
                    .and_then(|origin| origin.strip_suffix(rest.as_bytes()));
                origin.len() <= LONGEST_ORIGIN && labels.is_some_and(are_labels)
            }
        }
    }
}

/// Whether a text is one or more labels of a host name, in lower case.
///
/// No other character of a URL is among them, so that neither a port nor a path
/// nor a second host fits into the place of a wildcard.
fn are_labels(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'.').all(|label| {
        !label.is_empty()
            && label
                .iter()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wildcard() -> OriginPattern {
        OriginPattern::Subdomains {
            scheme: "https://".into(),
            rest: ".example.com".into(),
        }
    }

    #[test]
    fn a_wildcard_stands_for_labels_and_for_nothing_else() {
        for origin in ["https://app.example.com", "https://a-1.b_2.example.com"] {
            assert!(wildcard().matches(origin.as_bytes()), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://.example.com",
            "https://evilexample.com",
            "https://app.example.com.evil.org",
            "https://app.example.com:8443",
            "https://app.example.com.",
            "https://app..example.com",
            "http://app.example.com",
            "https://APP.example.com",
            "HTTPS://app.example.com",
            "https://evil.org/.example.com",
            "https://evil.org:1.example.com",
            "https://evil.org#.example.com",
            "https://user@app.example.com",
            "https://a b.example.com",
            "https://xn--\u{e4}.example.com",
            "https://app.example.com https://b.example.com",
            "null",
            "",
        ] {
            assert!(!wildcard().matches(origin.as_bytes()), "{origin}");
        }
    }

    #[test]
    fn an_origin_that_no_browser_has_is_too_long_for_a_wildcard() {
        let origin = |labels| format!("https://{}a.example.com", "a.".repeat(labels));
        assert!(wildcard().matches(origin(100).as_bytes()));
        assert!(!wildcard().matches(origin(4096).as_bytes()));
    }

    #[test]
    fn null_is_an_origin_like_others_and_any_is_every_one() {
        assert!(OriginPattern::Exact("null".into()).matches(b"null"));
        assert!(!OriginPattern::Exact("https://null".into()).matches(b"null"));
        assert!(OriginPattern::Any.matches(b"null"));
    }

    proptest! {
        #[test]
        fn a_wildcard_matches_as_a_plain_expression_does(
            before in "(https?://)?[a-z._:/@#-]{0,12}",
            behind in "(\\.example\\.com)?[a-z.:/@]{0,5}",
        ) {
            let origin = format!("{before}{behind}");
            let plain = regex::Regex::new(r"\Ahttps://([a-z0-9_-]+\.)+example\.com\z").unwrap();
            prop_assert_eq!(wildcard().matches(origin.as_bytes()), plain.is_match(&origin));
        }
    }
}
