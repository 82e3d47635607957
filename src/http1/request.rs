//! The head of a request: the bytes up to its empty line become a method, a
//! target and fields.
//!
//! The server calls [`parse_request`] once [`find_end`](super::find_end) has
//! found the empty line. `httparse` splits the bytes into lines without
//! copying them. Values and target keep pointing into the allocation that the
//! socket was read into, so that a head costs one map and no copy.
//!
//! # Strictness
//!
//! A request that a recipient behind the gateway could take for another one is
//! refused and never repaired, because the gateway cannot know which of its
//! readings a service would choose (request smuggling):
//!
//! * A blank between a field's name and its colon (RFC 9112, 5.1), a line that
//!   continues the previous one (RFC 9112, 5.2), and a line that ends in LF
//!   alone (RFC 9112, 2.2, permits to accept it).
//! * A control character in a value (RFC 9110, 5.5), and a name or a method
//!   that is not a token (RFC 9110, 5.6.2).
//! * A request line with more than single blanks between its parts (RFC 9112,
//!   3), and any version other than HTTP/1.0 and HTTP/1.1.
//! * Framing that is not plain, as [`framing`](super::framing) describes.
//!
//! Lines whose names contain `_` are dropped unless the listener keeps them:
//! for services with CGI or WSGI (RFC 3875, 4.1.18), `X_Real_Ip` is the same
//! field as `X-Real-Ip`, which only trusted proxies may send.
//!
//! # Bounds
//!
//! [`HeadLimits`] bounds the bytes of a head and the number of its lines; the
//! server enforces the former while it reads. Lines are parsed on the stack
//! unless the listener permits more than 256 of them.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};

use super::{
    claims::is_claim,
    framing::{self, BARE_LINE_FEED, Length, Marks, version},
    upgrade::offered,
};
use crate::{error::Error, policy::HeadLimits};

/// Header lines that are parsed on the stack: more than nearly all requests
/// have, in 8 KiB.
const ON_STACK: usize = 256;

/// The head of a request but for its target, in any version of HTTP.
///
/// It is made once, where a request is read, and stays as it is to the end of
/// the exchange.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The method, known or not.
    pub method: Method,
    /// HTTP/1.0, HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// All fields, hop-by-hop fields too, but those that were dropped for an
    /// `_` in their name.
    pub headers: HeaderMap,
    /// Whether `Connection` names further hop-by-hop fields.
    pub names_hops: bool,
    /// Traits of its fields' names.
    pub names: FieldNames,
    /// The protocols that the client offers to switch to and that may pass, as
    /// an `Upgrade` field lists them. `None` unless it asks for a switch by
    /// `Connection` as well (RFC 9110, 7.8).
    pub upgrade: Option<Box<[u8]>>,
}

impl RequestHead {
    /// The hops that an OPTIONS or TRACE request may still pass, by its
    /// `Max-Forwards`. `None` for other methods, which do not heed the field
    /// (RFC 9110, 7.6.2). A field that is no number, or stands there twice,
    /// says nothing.
    #[inline]
    pub fn hops_left(&self) -> Option<u64> {
        match self.method {
            Method::OPTIONS | Method::TRACE => max_forwards(&self.headers),
            _ => None,
        }
    }
}

/// The number in the only `Max-Forwards` field.
fn max_forwards(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(header::MAX_FORWARDS).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    let digits = value.to_str().ok()?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // More than any number of hops is as good as the largest number.
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// A request of HTTP/1 whose head was parsed: the head, the target, and the
/// framing, which concerns the connection only.
#[derive(Debug)]
pub struct ParsedRequest {
    /// The head. Values of its fields share the memory that was parsed.
    pub head: RequestHead,
    /// The target as received, byte for byte; it shares that memory, too.
    pub target: Bytes,
    /// How the body is delimited; never [`Length::UntilClose`].
    pub length: Length,
    /// Whether the client may send another request on the same connection.
    pub keep_alive: bool,
    /// Whether the client waits for a 100 (Continue) before it sends its body.
    /// False with HTTP/1.0, whose clients do not understand it (RFC 9110,
    /// 10.1.1).
    pub expects_continue: bool,
}

/// Parses the head of a request, the first `length` bytes of `buffer`, and
/// removes it from the buffer.
///
/// `length` is the result of [`find_end`](super::find_end).
///
/// # Errors
/// [`Error::Malformed`] if it is malformed or could be read in two ways, and
/// [`Error::TooManyHeaders`]. The head is removed in either case.
///
/// # Panics
/// If `length` exceeds the length of the buffer.
///
/// # Examples
/// ```
/// use bytes::BytesMut;
/// use tidegate::{
///     http1::{Length, find_end, parse_request},
///     policy::HeadLimits,
/// };
///
/// let limits = HeadLimits {
///     bytes: 32 * 1024,
///     headers: 100,
///     keeps_underscores: false,
/// };
/// let mut input = BytesMut::from("POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\nhi");
/// let length = find_end(&input, 0).unwrap();
/// let request = parse_request(&mut input, length, &limits).unwrap();
/// assert_eq!(&request.target[..], b"/a");
/// assert_eq!((request.length, request.keep_alive), (Length::Exact(2), true));
/// assert_eq!(input, "hi");
///
/// // Two parsers could disagree on where this body ends.
/// let both = "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
/// assert!(parse_request(&mut BytesMut::from(both), both.len(), &limits).is_err());
/// ```
pub fn parse_request(
    buffer: &mut BytesMut,
    length: usize,
    limits: &HeadLimits,
) -> Result<ParsedRequest, Error> {
    let head = buffer.split_to(length).freeze();
    let mut on_stack = [const { MaybeUninit::uninit() }; ON_STACK];
    let mut on_heap = room_on_heap(&head, limits);
    let lines = match on_stack.get_mut(..limits.headers) {
        Some(lines) => lines,
        None => &mut on_heap[..],
    };
    let mut parsed = httparse::Request::new(&mut []);
    parsed
        .parse_with_uninit_headers(&head, lines)
        .map_err(|error| malformed(error, limits))?;
    let version = version(parsed.version);
    let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes())
        .map_err(|_| Error::Malformed("the method is not a token"))?;
    let target = head.slice_ref(parsed.path.unwrap_or_default().as_bytes());
    let mut marks = Marks::default();
    let mut names = FieldNames::default();
    let keeps_underscores = limits.keeps_underscores;
    let headers = fields(
        &head,
        parsed.headers,
        keeps_underscores,
        &mut marks,
        &mut names,
    )?;
    let length = framing::of_request(version, &marks)?;
    Ok(ParsedRequest {
        head: RequestHead {
            method,
            version,
            upgrade: offered(&headers, version, marks.names_hops),
            headers,
            names_hops: marks.names_hops,
            names,
        },
        target,
        length,
        keep_alive: marks.keeps_alive(version),
        expects_continue: marks.expects_continue && version == Version::HTTP_11,
    })
}

/// Room for the lines of a head where the listener permits more of them than
/// fit on the stack, and no more room than the head has lines. Nearly always
/// empty, which allocates nothing.
fn room_on_heap<'h>(head: &[u8], limits: &HeadLimits) -> Vec<MaybeUninit<httparse::Header<'h>>> {
    if limits.headers <= ON_STACK {
        return Vec::new();
    }
    let lines = memchr::memchr_iter(b'\n', head).count();
    let mut room = Vec::new();
    room.resize_with(lines.min(limits.headers), MaybeUninit::uninit);
    room
}

/// Collects the lines of `head` in a map whose values share its memory, and
/// notes their marks and the traits of their names.
fn fields(
    head: &Bytes,
    lines: &[httparse::Header<'_>],
    keeps_underscores: bool,
    marks: &mut Marks,
    names: &mut FieldNames,
) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::with_capacity(lines.len());
    let mut underscore = NextUnderscore::of(head);
    for line in lines {
        let name = line.name.as_bytes();
        if !names.note_known(name, underscore.is_in(name), keeps_underscores) {
            continue;
        }
        marks.note(name, line.value);
        let name = HeaderName::from_bytes(name)
            .map_err(|_| Error::Malformed("a header name is not a token"))?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(line.value))
            .map_err(|_| Error::Malformed("a header value holds a control character"))?;
        headers.append(name, value);
    }
    marks.bounded().map_err(Error::Malformed)?;
    Ok(headers)
}

/// Traits of a request's field names that need attention. Nearly all requests
/// have none, so that the gateway need not search their fields.
///
/// HTTP/2 requests have the same traits, which their side collects with
/// [`note`](Self::note).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FieldNames {
    /// Some fields are [claims](super::is_claim) that only a trusted proxy may
    /// make.
    pub claims: bool,
    /// Some names contain `_`, which services with CGI or WSGI take for `-`.
    pub underscores: bool,
    /// Lines that were dropped because their names contain `_`.
    pub dropped: usize,
    /// There is a `Via`: the request has passed a proxy.
    pub via: bool,
    /// There is an `X-Request-Id`.
    pub request_id: bool,
}

impl FieldNames {
    /// Notes a name. Returns false if its line is to be dropped, because it
    /// contains `_` and the listener does not keep such lines
    /// (`keeps_underscores`).
    pub fn note(&mut self, name: &[u8], keeps_underscores: bool) -> bool {
        let has_underscore = memchr::memchr(b'_', name).is_some();
        self.note_known(name, has_underscore, keeps_underscores)
    }

    /// Notes a name of which it is known whether it contains `_`. Returns false
    /// if its line is to be dropped.
    fn note_known(&mut self, name: &[u8], has_underscore: bool, keeps_underscores: bool) -> bool {
        if has_underscore && !keeps_underscores {
            self.dropped += 1;
            return false;
        }
        self.underscores |= has_underscore;
        self.claims |= is_claim(name);
        match name.len() {
            3 => self.via |= name.eq_ignore_ascii_case(b"via"),
            12 => self.request_id |= name.eq_ignore_ascii_case(b"x-request-id"),
            _ => {}
        }
        true
    }
}

/// The position of the next `_` in a head, which advances with the lines.
/// Values contain some and names hardly ever, so that a few searches suffice
/// for all names.
struct NextUnderscore<'h> {
    head: &'h [u8],
    at: usize,
}

impl<'h> NextUnderscore<'h> {
    fn of(head: &'h [u8]) -> Self {
        let mut next = Self { head, at: 0 };
        next.seek(0);
        next
    }

    fn seek(&mut self, from: usize) {
        let rest = self.head.get(from..).unwrap_or_default();
        self.at = memchr::memchr(b'_', rest).map_or(usize::MAX, |offset| from + offset);
    }

    /// Whether a name, which is a part of the head, contains `_`. Names have to
    /// be given in their order.
    fn is_in(&mut self, name: &[u8]) -> bool {
        let start = name.as_ptr().addr() - self.head.as_ptr().addr();
        if self.at < start {
            self.seek(start);
        }
        self.at < start + name.len()
    }
}

fn malformed(error: httparse::Error, limits: &HeadLimits) -> Error {
    match error {
        httparse::Error::HeaderName => Error::Malformed("a header name is not a token"),
        httparse::Error::HeaderValue => {
            Error::Malformed("a header value holds a control character")
        }
        httparse::Error::NewLine => Error::Malformed(BARE_LINE_FEED),
        httparse::Error::Token => {
            Error::Malformed("the request line is not METHOD TARGET HTTP/1.1")
        }
        httparse::Error::TooManyHeaders => Error::TooManyHeaders {
            limit: limits.headers,
        },
        httparse::Error::Version => {
            Error::Malformed("the version is neither HTTP/1.0 nor HTTP/1.1")
        }
        httparse::Error::Status => Error::Malformed("the head cannot be read"),
    }
}
