//! A request's target: the bytes as received, and its path in the normal form
//! (see [`path`](crate::policy::path)) that routes and keys compare.

use std::ops::Range;

use bytes::Bytes;

use crate::{error::Error, policy::path::normal_form};

/// Stands for the method and the path of a request that could not be read. No
/// path is like that, and access lines leave it out.
pub const UNREADABLE: &str = "-";

/// A request target, taken apart.
#[derive(Debug, Clone)]
pub struct Target {
    raw: Bytes,
    /// The path within `raw`.
    path: Range<usize>,
    /// Where the query begins within `raw`, behind its `?`.
    query: Option<usize>,
    /// The authority within `raw`, for a target in absolute form.
    authority: Option<Range<usize>>,
    /// An empty path stands for the server, not for its root.
    is_of_options: bool,
    /// The normal form, where it differs from the path as received.
    normal: Option<Box<[u8]>>,
}

impl Target {
    /// Takes a target in origin form (`/path?query`), absolute form
    /// (`http://host/path`) or asterisk form apart.
    ///
    /// # Errors
    /// [`Error::Malformed`] for anything else: authority form, a fragment,
    /// control characters or spaces.
    pub fn parse(raw: Bytes) -> Result<Self, Error> {
        if raw
            .iter()
            .any(|byte| *byte <= b' ' || matches!(*byte, b'#' | 0x7f))
        {
            return Err(Error::Malformed(
                "the target holds a character that no target may hold",
            ));
        }
        let authority = authority(&raw)?;
        let start = authority.as_ref().map_or(0, |authority| authority.end);
        let mark = memchr::memchr(b'?', &raw[start..]).map(|at| start + at);
        let path = start..mark.unwrap_or(raw.len());
        // An asterisk, or the empty path of an absolute form, has no other
        // spelling.
        let normal = raw[path.clone()]
            .starts_with(b"/")
            .then(|| normal_form(&raw[path.clone()]))
            .flatten();
        Ok(Self {
            path,
            query: mark.map(|mark| mark + 1),
            authority,
            is_of_options: false,
            normal: normal.map(|normal| normal.into_bytes().into()),
            raw,
        })
    }

    /// Stands for the target of a request that could not be read.
    pub fn unreadable() -> Self {
        let raw = Bytes::from_static(UNREADABLE.as_bytes());
        Self {
            raw,
            path: 0..1,
            query: None,
            authority: None,
            is_of_options: false,
            normal: None,
        }
    }

    /// The target of an OPTIONS request: an absolute form without path and
    /// query asks about the server, not about its root (RFC 9112, 3.2.4).
    pub fn of_options(mut self) -> Self {
        if self.query.is_none() {
            self.is_of_options = true;
        }
        self
    }

    /// What is written to the upstream: path and query as received, without the
    /// authority of an absolute form.
    pub fn to_forward(&self) -> (&[u8], &[u8]) {
        let path = match &self.raw[self.path.clone()] {
            [] if self.is_of_options => b"*",
            // `http://host?x` has an empty path.
            [] => b"/",
            path => path,
        };
        (path, self.query_with_mark())
    }

    /// The path as received.
    pub fn path(&self) -> &[u8] {
        self.to_forward().0
    }

    /// The query as received.
    pub fn query(&self) -> Option<&[u8]> {
        self.query.map(|start| &self.raw[start..])
    }

    /// The query as received with its `?`, or nothing.
    pub fn query_with_mark(&self) -> &[u8] {
        self.query.map_or(&[], |start| &self.raw[start - 1..])
    }

    /// The path in its normal form.
    pub fn normal_path(&self) -> &[u8] {
        self.normal.as_deref().unwrap_or_else(|| self.path())
    }

    /// Whether a lenient service may read another path: no for nearly all, at
    /// the price of a look for `;`. Whatever else could be read so is not in
    /// its normal form.
    pub fn may_be_disguised(&self) -> bool {
        self.normal.is_some() || memchr::memchr(b';', self.path()).is_some()
    }

    /// Has routes and keys compare this spelling of the path; what is forwarded
    /// stays as received.
    pub fn spell(&mut self, normal: Vec<u8>) {
        self.normal = Some(normal.into());
    }

    /// The authority of a target in absolute form; it overrides `Host` (RFC
    /// 9112, 3.2.2).
    pub fn authority(&self) -> Option<&[u8]> {
        self.authority.clone().map(|range| &self.raw[range])
    }
}

/// Where the authority of an absolute form lies.
fn authority(raw: &[u8]) -> Result<Option<Range<usize>>, Error> {
    if raw.starts_with(b"/") || raw == b"*" {
        return Ok(None);
    }
    let scheme = raw.get(..7).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(b"http://") {
        return Err(Error::Malformed(
            "the target is neither a path nor an http URL",
        ));
    }
    let end = raw[7..]
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .map_or(raw.len(), |at| 7 + at);
    if end == 7 {
        return Err(Error::Malformed("the target's URL has no host"));
    }
    Ok(Some(7..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Result<Target, Error> {
        Target::parse(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn every_spelling_of_a_path_has_one_normal_form() {
        for (received, normal) in [
            ("/a/b", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/x/../b", "/a/b"),
            ("/a/%2e%2E/b", "/b"),
            ("//a///b", "/a/b"),
            ("/%61/b", "/a/b"),
            ("/a%2fb", "/a%2Fb"),
            ("/../../a", "/a"),
            ("/a/..", "/"),
            ("/a/b/.", "/a/b/"),
            ("/a/", "/a/"),
            ("/", "/"),
            ("/a%zz", "/a%25zz"),
            ("/a%", "/a%25"),
            ("/caf\u{e9}", "/caf%C3%A9"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a\"b", "/a%22b"),
            ("/.hidden", "/.hidden"),
            ("/a/...", "/a/..."),
            ("/a//../b", "/b"),
            ("/%252e%252e/b", "/%252e%252e/b"),
        ] {
            assert_eq!(
                target(received).unwrap().normal_path(),
                normal.as_bytes(),
                "{received}"
            );
        }
    }

    #[test]
    fn what_is_forwarded_is_what_was_received() {
        for text in ["/a/%2e%2e//b?x=/../&y", "/?", "/a?b?c", "/ü"] {
            let target = target(text).unwrap();
            let (path, query) = target.to_forward();
            assert_eq!([path, query].concat(), text.as_bytes());
        }
    }

    #[test]
    fn an_absolute_form_is_forwarded_in_origin_form_and_names_its_host() {
        let target = target("http://Example.com:80?x").unwrap();
        assert_eq!(target.authority(), Some(&b"Example.com:80"[..]));
        assert_eq!(target.to_forward(), (&b"/"[..], &b"?x"[..]));
    }

    #[test]
    fn a_url_without_a_path_is_about_the_server_in_options_alone() {
        for (text, path) in [
            ("http://a", "*"),
            ("http://a:80", "*"),
            ("http://a/", "/"),
            ("http://a?x", "/"),
            ("*", "*"),
        ] {
            assert_eq!(
                target(text).unwrap().of_options().path(),
                path.as_bytes(),
                "{text}"
            );
        }
        assert_eq!(target("http://a").unwrap().path(), b"/");
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in [
            "a",
            "",
            "example.com:443",
            "https://a/",
            "/a#b",
            "/a\u{7f}",
            "http:///a",
        ] {
            assert!(target(text).is_err(), "{text:?}");
        }
    }
}
