//! Credentials that services do not get.
//!
//! Fields that hold nothing else are left out by name, as those that the route
//! removes. Cookies and parameters of the query stand beside others, which are
//! passed on.

use http::{HeaderName, header};

use crate::{call::query, http1, message::Headers, policy::CredentialPlace};

/// The places of credentials that are not passed on; none for most routes.
#[derive(Debug, Default)]
pub struct HiddenCredentials {
    /// Fields that are left out.
    fields: Vec<HeaderName>,
    /// Names of cookies.
    cookies: Vec<Box<str>>,
    /// Names of parameters of the query, decoded.
    parameters: Vec<Box<str>>,
}

impl HiddenCredentials {
    /// Hides the credentials in these places.
    pub fn new(places: impl IntoIterator<Item = CredentialPlace>) -> Self {
        let mut hidden = Self::default();
        for place in places {
            match place {
                CredentialPlace::Bearer => hidden.fields.push(header::AUTHORIZATION),
                CredentialPlace::Header(name) => hidden.fields.push(name),
                CredentialPlace::Cookie(name) => hidden.cookies.push(name),
                CredentialPlace::Query(name) => hidden.parameters.push(name),
            }
        }
        // Nothing is left of a field that is hidden as a whole.
        if hidden.fields.contains(&header::COOKIE) {
            hidden.cookies.clear();
        }
        hidden
    }

    /// Whether all credentials are passed on.
    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.cookies.is_empty() && self.parameters.is_empty()
    }

    /// Whether some cookies are hidden.
    pub(super) fn hides_cookies(&self) -> bool {
        !self.cookies.is_empty()
    }

    /// Whether the field of this name is not passed on as it is. Services that
    /// read names in the way of CGI take `_` for `-`.
    pub(super) fn holds_back(&self, name: &[u8]) -> bool {
        let is = |hidden: &HeaderName| is_same_in_cgi(name, hidden.as_str().as_bytes());
        self.fields.iter().any(is) || (self.hides_cookies() && is(&header::COOKIE))
    }

    /// Whether some parameters of the query are hidden.
    pub(super) fn hides_parameters(&self) -> bool {
        !self.parameters.is_empty()
    }

    /// Writes the `Cookie` fields without the hidden cookies. A line of which
    /// nothing is left is not written.
    pub(super) fn write_cookies(&self, out: &mut Vec<u8>, headers: &Headers) {
        for line in headers.all(&header::COOKIE) {
            let is_kept = |pair: &&[u8]| {
                let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
                let name = name.trim_ascii();
                !self.cookies.iter().any(|hidden| hidden.as_bytes() == name)
            };
            let pairs: Vec<_> = line.split(|byte| *byte == b';').filter(is_kept).collect();
            let value = pairs.join(&b';');
            if !value.trim_ascii().is_empty() {
                http1::write_field(out, header::COOKIE.as_str(), value.trim_ascii());
            }
        }
    }

    /// Removes the hidden parameters from the target that was written from
    /// `target` of `out` on.
    pub(super) fn remove_parameters(&self, out: &mut Vec<u8>, target: usize) {
        let Some(path) = memchr::memchr(b'?', &out[target..]) else {
            return;
        };
        let query = out.split_off(target + path + 1);
        out.pop();
        let is_kept = |part: &&[u8]| {
            let mut pairs = query::pairs(part);
            let name = pairs.next().map(|(name, _)| name).unwrap_or_default();
            !self
                .parameters
                .iter()
                .any(|hidden| *hidden.as_bytes() == *name)
        };
        let kept: Vec<_> = query.split(|byte| *byte == b'&').filter(is_kept).collect();
        if !kept.is_empty() {
            out.push(b'?');
            out.extend_from_slice(&kept.join(&b'&'));
        }
    }
}

/// Whether two names of fields are the same for a service that takes `_` for
/// `-`. `known` is in lower case.
fn is_same_in_cgi(name: &[u8], known: &[u8]) -> bool {
    let spelt = |byte: u8| match byte {
        b'_' => b'-',
        byte => byte.to_ascii_lowercase(),
    };
    name.len() == known.len()
        && name
            .iter()
            .zip(known)
            .all(|(one, other)| spelt(*one) == *other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden() -> HiddenCredentials {
        HiddenCredentials::new([
            CredentialPlace::Cookie("s".into()),
            CredentialPlace::Query("key".into()),
        ])
    }

    #[test]
    fn of_a_hidden_cookie_field_no_cookie_is_written() {
        let hidden = HiddenCredentials::new([
            CredentialPlace::Cookie("s".into()),
            CredentialPlace::Header(header::COOKIE),
        ]);
        assert!(!hidden.hides_cookies() && hidden.holds_back(b"Cookie"));
    }

    #[test]
    fn other_parameters_of_the_query_stay_as_they_are() {
        for (query, left) in [
            ("?a=1&key=2&b", "?a=1&b"),
            ("?k%65y=2", ""),
            ("?key", ""),
            ("?a=key&&b=%2", "?a=key&&b=%2"),
            ("", ""),
            ("?", "?"),
        ] {
            let mut out = [b"/p", query.as_bytes()].concat();
            hidden().remove_parameters(&mut out, 0);
            assert_eq!(String::from_utf8(out).unwrap(), format!("/p{left}"));
        }
    }

    #[test]
    fn other_cookies_stay_as_they_are() {
        let lines = ["a=1; s=2; b=3", "s=4", " s = 5 ;c"];
        let headers = lines.iter().map(|line| ("cookie", line)).collect();
        let mut out = Vec::new();
        hidden().write_cookies(&mut out, &headers);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "cookie: a=1; b=3\r\ncookie: c\r\n"
        );
    }
}
