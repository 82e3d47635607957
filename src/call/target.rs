//! The address of a request: its target and its host.
//!
//! The target is kept as the bytes that were received, since those are
//! forwarded, with its path in the normal form (see
//! [`path`](crate::policy::path)) that routes and keys compare.

#[cfg(test)]
mod tests;

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::Version;

use crate::{
    error::Error,
    message::{FieldName, FirstHost, Headers, Origin},
    policy::path::{normal_begin, normal_form},
};

/// Stands for the method and the path of a request that could not be read. No
/// path is like that, and access lines leave it out.
pub const UNREADABLE: &str = "-";

/// A request target, taken apart.
///
/// ```
/// use tidegate::call::Target;
///
/// # fn main() -> Result<(), tidegate::error::Error> {
/// let target = Target::parse("/a/./b?x=1".into())?;
/// assert_eq!(target.normal_path(), b"/a/b");
/// // A server gets the bytes that were received.
/// assert_eq!(target.to_forward(), (&b"/a/./b"[..], &b"?x=1"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Target {
    /// The target as received, to which the other fields are offsets.
    raw: Bytes,
    /// The path within `raw`.
    path: Range<usize>,
    /// Where the query begins within `raw`, behind its `?`.
    query: Option<usize>,
    /// The authority within `raw`, for a target in absolute form.
    authority: Option<Range<usize>>,
    /// An empty path stands for the server, not for its root.
    is_of_options: bool,
    /// The path as received has a `;`.
    has_semicolon: bool,
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
        let begin = normal_begin(&raw);
        let query = match &raw[begin.length..] {
            _ if begin.length == 0 => return Self::parse_unusual(raw),
            [] => None,
            [b'?', query @ ..] if !query.iter().any(is_forbidden) => Some(begin.length + 1),
            _ => return Self::parse_unusual(raw),
        };
        Ok(Self {
            raw,
            path: 0..begin.length,
            query,
            authority: None,
            is_of_options: false,
            has_semicolon: begin.has_semicolon,
            normal: None,
        })
    }

    /// Takes any target apart: one in another form than the origin form, one
    /// whose path may not be in its normal form, or one that is none.
    #[inline(never)]
    fn parse_unusual(raw: Bytes) -> Result<Self, Error> {
        if raw.iter().any(is_forbidden) {
            return Err(Error::Malformed(
                "the target holds a character that no target may hold",
            ));
        }
        let authority = authority(&raw)?;
        let start = authority.as_ref().map_or(0, |authority| authority.end);
        let mark = memchr::memchr(b'?', &raw[start..]).map(|at| start + at);
        let range = start..mark.unwrap_or(raw.len());
        let path = &raw[range.clone()];
        // An asterisk, or the empty path of an absolute form, has no other
        // spelling.
        let normal = path.starts_with(b"/").then(|| normal_form(path)).flatten();
        Ok(Self {
            has_semicolon: path.contains(&b';'),
            path: range,
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
            has_semicolon: false,
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

    /// The path and the query, with its `?`, as they are written to the upstream:
    /// as received, without the authority of an absolute form.
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

    /// Whether a lenient service may read another path: no for nearly all. A
    /// path that could be read so and has no `;` is not in its normal form.
    pub fn may_be_disguised(&self) -> bool {
        self.normal.is_some() || self.has_semicolon
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

/// Whether a byte may stand in no target.
fn is_forbidden(byte: &u8) -> bool {
    *byte <= b' ' || matches!(byte, b'#' | 0x7f)
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

/// The host that a request is for, in the form of [`host_name`]. A request has
/// exactly one, or it is refused; but one of HTTP/1.0 may have none, which is
/// the empty host.
///
/// # Errors
/// [`Error::Malformed`] if there is no host, more than one, or one that cannot
/// be read.
pub fn host_of(
    target: &Target,
    headers: &Headers,
    version: Version,
    origin: &Origin,
) -> Result<Arc<str>, Error> {
    let named = match host_field(headers)? {
        // The field must be sound even if the target overrides it, since others
        // may look at it.
        Some(field) => name_by(field, &origin.host)?,
        None if version == Version::HTTP_10 => Arc::default(),
        None => return Err(Error::Malformed("it has no Host field")),
    };
    match target.authority() {
        Some(authority) => host_name(authority).map(Arc::from),
        None => Ok(named),
    }
}

/// Bytes of the longest host that a connection keeps: a name has at most 253.
const LONGEST_KEPT: usize = 255;

/// As [`host_name`], at a look for a field that names the `first` host of its
/// connection again. Reading a host takes ten times as long.
#[inline]
fn name_by(field: &[u8], first: &OnceLock<FirstHost>) -> Result<Arc<str>, Error> {
    match first.get() {
        Some(first) if *first.field == *field => Ok(Arc::clone(&first.name)),
        Some(_) => host_name(field).map(Arc::from),
        None => first_name(field, first),
    }
}

/// As [`host_name`], and keeps the host as the `first` of its connection.
#[cold]
fn first_name(field: &[u8], first: &OnceLock<FirstHost>) -> Result<Arc<str>, Error> {
    let name: Arc<str> = host_name(field)?.into();
    if field.len() <= LONGEST_KEPT {
        let (field, name) = (field.into(), Arc::clone(&name));
        first.get_or_init(|| FirstHost {
            field,
            name,
            account: OnceLock::new(),
        });
    }
    Ok(name)
}

/// The value of the only `Host` field.
///
/// # Errors
/// [`Error::Malformed`] if there are several.
pub fn host_field(headers: &Headers) -> Result<Option<&[u8]>, Error> {
    let mut hosts = headers.known(FieldName::Host);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Error::Malformed("it has two Host fields"));
    }
    Ok(host)
}

const NO_HOST: Error = Error::Malformed("its host cannot be read");

/// The host of an authority, which is never empty (RFC 9110, 4.2.1): in lower
/// case, without port and trailing dot, and an IPv6 address in the form of RFC 5952.
///
/// ```
/// use tidegate::call::host_name;
///
/// assert_eq!(host_name(b"Shop.Example.:8080").as_deref(), Ok("shop.example"));
/// assert_eq!(host_name(b"[0::1]:443").as_deref(), Ok("[::1]"));
/// assert!(host_name(b"user@shop.example").is_err());
/// ```
///
/// # Errors
/// [`Error::Malformed`] if it is no host.
pub fn host_name(authority: &[u8]) -> Result<Box<str>, Error> {
    name(std::str::from_utf8(authority).map_err(|_| NO_HOST)?)
}

/// As [`host_name`], and quick for nearly all hosts: names in lower case and
/// IPv4 addresses, perhaps with a port.
fn name(authority: &str) -> Result<Box<str>, Error> {
    let is_other = |byte: &u8| !IS_USUAL[usize::from(*byte)];
    let length = authority.as_bytes().iter().position(is_other);
    let (host, port) = authority.split_at(length.unwrap_or(authority.len()));
    if has_empty_label(host.as_bytes()) || !is_port(port) {
        return unusual_name(authority);
    }
    Ok(host.into())
}

/// Whether a host begins or ends with a dot, has two in a row, or is empty.
fn has_empty_label(host: &[u8]) -> bool {
    matches!(host, [] | [b'.', ..] | [.., b'.']) || host.windows(2).any(|pair| pair == b"..")
}

/// Bytes of a usual host: small letters, digits, hyphens and dots.
const IS_USUAL: [bool; 256] = {
    let mut usual = [false; 256];
    let bytes = b"abcdefghijklmnopqrstuvwxyz0123456789-.";
    let mut at = 0;
    while at < bytes.len() {
        usual[bytes[at] as usize] = true;
        at += 1;
    }
    usual
};

/// Whether the end of an authority is a port with its colon, or nothing. A port
/// may be empty (RFC 3986, 3.2.3).
fn is_port(port: &str) -> bool {
    match port.as_bytes() {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// The host of an authority that may be any: with capitals, a dot at its end,
/// or an IPv6 address. Reads it again from its beginning.
fn unusual_name(text: &str) -> Result<Box<str>, Error> {
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
    if is_port(port) {
        Ok(host.into())
    } else {
        Err(NO_HOST)
    }
}
