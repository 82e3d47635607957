//! The attributes `Path` and `Domain` of cookies (RFC 6265, 5.2), mapped back.

use super::{Locations, after_prefix};

/// Cookies with this prefix of their names have to have the path `/`.
const OF_HOST: &[u8] = b"__host-";

impl Locations {
    /// The value of a `Set-Cookie` in place of this one; `None` if it stays.
    ///
    /// Every `Path` is mapped, as browsers take the last of several. A `Domain`
    /// that is the host of a server is taken out: the cookie is then one of the
    /// host that the client asked for, and of no other. The client has to put
    /// `prefix` before paths of the gateway.
    pub(super) fn cookie(&self, value: &[u8], prefix: &[u8]) -> Option<Vec<u8>> {
        let mut parts = value.split(|byte| *byte == b';');
        let cookie = parts.next()?;
        let has_root = begins_with(cookie.trim_ascii_start(), OF_HOST);
        let (mut mapped, mut is_changed) = (cookie.to_vec(), false);
        for part in parts {
            let (name, of_part) = match memchr::memchr(b'=', part) {
                Some(at) => (part[..at].trim_ascii(), part[at + 1..].trim_ascii()),
                None => (part.trim_ascii(), &b""[..]),
            };
            let path = (!has_root && name.eq_ignore_ascii_case(b"path"))
                .then(|| self.cookie_path(of_part, prefix))
                .flatten();
            if let Some(path) = path {
                is_changed |= path != of_part;
                mapped.extend_from_slice(b"; Path=");
                mapped.extend_from_slice(&path);
            } else if name.eq_ignore_ascii_case(b"domain") && self.is_host_of_server(of_part) {
                is_changed = true;
            } else {
                mapped.push(b';');
                mapped.extend_from_slice(part);
            }
        }
        is_changed.then_some(mapped)
    }

    /// The path of a cookie in place of this one; `None` if it stays.
    ///
    /// A path that covers all of `add_prefix` covers all that the client reaches
    /// by the route. It has no trailing slash then, as it would not cover the
    /// path without one (RFC 6265, 5.1.4).
    fn cookie_path(&self, path: &[u8], prefix: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(path).ok()?;
        if !text.starts_with('/') || !self.has_way_back {
            return None;
        }
        let covering = text.strip_suffix('/').unwrap_or(text);
        if after_prefix(self.add.as_bytes(), covering).is_some() {
            let whole = [prefix, self.strip.as_bytes()].concat();
            return Some(if whole.is_empty() { b"/".into() } else { whole });
        }
        self.path(path, prefix)
    }

    /// Whether the domain of a cookie is the host of a server, which a client
    /// does not know.
    fn is_host_of_server(&self, domain: &[u8]) -> bool {
        let domain = domain.strip_prefix(b".").unwrap_or(domain);
        self.servers.iter().any(|server| {
            let authority = &*server.authority;
            let host = match authority.rsplit_once(':') {
                Some((host, port)) if !port.contains(']') => host,
                _ => authority,
            };
            host.as_bytes().eq_ignore_ascii_case(domain)
        })
    }
}

/// Whether a text begins with these letters in any case; `lower` is in lower
/// case.
fn begins_with(text: &[u8], lower: &[u8]) -> bool {
    let begin = text.get(..lower.len());
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(lower))
}
