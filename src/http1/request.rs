//! The head of a request: the bytes up to its empty line become a method, a
//! target and fields.
//!
//! The server calls [`parse_request`] with the bytes that it has read. The
//! fields stay the lines that were received ([`Headers`]): a head costs one
//! list of offsets, and no copy and no map.
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
//! [`HeadLimits`] bounds the bytes of a head and the number of its lines. The
//! server enforces the former.

use bytes::{Bytes, BytesMut};
use http::{Method, Version};

use super::{
    framing::{self, BARE_LINE_FEED, Length, Marks, Unended, find_end},
    headers::Headers,
    lines::{BeforeColon, HeadLines, NextLine, visible},
    names::FieldName,
    upgrade::offered,
};
use crate::{error::Error, policy::HeadLimits};

/// The head of a request but for its target, in any version of HTTP.
///
/// It is made once, where a request is read, and stays as it is to the end of
/// the exchange: in a box, as it would be moved six times until it is there.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The method, known or not.
    pub method: Method,
    /// HTTP/1.0, HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// All fields, hop-by-hop fields too, but those that were dropped for an
    /// `_` in their name.
    pub headers: Headers,
    /// Whether `Connection` names further hop-by-hop fields.
    pub names_hops: bool,
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
fn max_forwards(headers: &Headers) -> Option<u64> {
    let digits = std::str::from_utf8(headers.only(FieldName::MaxForwards)?).ok()?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // More than any number of hops is as good as the largest number.
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// A request of HTTP/1 whose head was parsed: the head, the target, and the
/// framing, which concerns the connection only.
#[derive(Debug)]
pub struct ParsedRequest {
    /// The head. Its fields share the memory that was parsed.
    pub head: Box<RequestHead>,
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

/// Parses the head of a request at the begin of `buffer`, and removes it from
/// the buffer. `None` while the head is not complete.
///
/// A call looks at all bytes of the head: a caller whose head comes in pieces
/// finds its end first ([`find_end`]).
///
/// # Errors
/// [`Error::Malformed`] if it is malformed or could be read in two ways, and
/// [`Error::TooManyHeaders`]. The content of the buffer is unspecified
/// then.
///
/// # Examples
/// ```
/// use bytes::BytesMut;
/// use tidegate::{
///     http1::{Length, parse_request},
///     policy::HeadLimits,
/// };
///
/// let limits = HeadLimits {
///     bytes: 32 * 1024,
///     headers: 100,
///     keeps_underscores: false,
/// };
/// let mut input = BytesMut::from("POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\nhi");
/// let request = parse_request(&mut input, &limits).unwrap().unwrap();
/// assert_eq!(&request.target[..], b"/a");
/// assert_eq!((request.length, request.keep_alive), (Length::Exact(2), true));
/// assert_eq!(input, "hi");
///
/// // Two parsers could disagree on where this body ends.
/// let both = "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
/// assert!(parse_request(&mut BytesMut::from(both), &limits).is_err());
/// ```
pub fn parse_request(
    buffer: &mut BytesMut,
    limits: &HeadLimits,
) -> Result<Option<ParsedRequest>, Error> {
    let (mut headers, mut marks) = (Headers::begin(), Marks::default());
    let (line, length) = match read(buffer, limits, &mut headers, &mut marks) {
        Ok(Some(read)) => read,
        Ok(None) => return Ok(None),
        // The bytes behind a fault decide what is told, if they matter: so it
        // does not depend on how a head is cut into pieces.
        Err(error) => return unless_cut(error, buffer),
    };
    let version = line.version;
    let head = buffer.split_to(length).freeze();
    let target = head.slice(line.target);
    let headers = headers.over(head);
    let length = framing::of_request(version, &marks)?;
    Ok(Some(ParsedRequest {
        head: Box::new(RequestHead {
            method: line.method,
            version,
            upgrade: offered(&headers, version, marks.names_hops),
            headers,
            names_hops: marks.names_hops,
        }),
        target,
        length,
        keep_alive: marks.keeps_alive(version),
        expects_continue: marks.expects_continue && version == Version::HTTP_11,
    }))
}

/// The error of a head of which a part is malformed: none while the head is not
/// complete, and that of a line that ends in LF alone before all others.
#[cold]
fn unless_cut(error: Error, buffer: &[u8]) -> Result<Option<ParsedRequest>, Error> {
    match find_end(buffer, 0) {
        Ok(_) => Err(error),
        Err(Unended::BareLineFeed) => Err(Error::Malformed(BARE_LINE_FEED)),
        Err(Unended::More(_)) => Ok(None),
    }
}

/// Reads the head at the begin of `input`: its lines go into `headers`, and the
/// statements about the message into `marks`. Returns the request line and the
/// bytes of the whole head; `None` while it is not complete.
#[inline(always)]
fn read(
    input: &[u8],
    limits: &HeadLimits,
    headers: &mut Headers,
    marks: &mut Marks,
) -> Result<Option<(RequestLine, usize)>, Error> {
    let Some((line, start)) = first_line(input)? else {
        return Ok(None);
    };
    let mut lines = HeadLines::of(input, start, BeforeColon::Nothing);
    let length = loop {
        let line = match lines.next().map_err(Error::Malformed)? {
            NextLine::Line(line) => line,
            NextLine::End => break lines.position(),
            NextLine::More => return Ok(None),
        };
        if headers.len() + headers.dropped == limits.headers {
            return Err(Error::TooManyHeaders {
                limit: limits.headers,
            });
        }
        if let Some(field) = headers.add(line, limits.keeps_underscores) {
            marks.note(field, line.value);
        }
    };
    marks.bounded().map_err(Error::Malformed)?;
    Ok(Some((line, length)))
}

/// The parts of a request line.
struct RequestLine {
    method: Method,
    /// The range of the target in the head.
    target: std::ops::Range<usize>,
    version: Version,
}

/// The request line at the begin of `input`, and where it ends; `None` while it
/// is not complete.
fn first_line(input: &[u8]) -> Result<Option<(RequestLine, usize)>, Error> {
    if let Some(usual) = usual_first_line(input) {
        return Ok(Some(usual));
    }
    let Some(line_feed) = memchr::memchr(b'\n', input) else {
        return Ok(None);
    };
    let line = input[..line_feed].strip_suffix(b"\r");
    let line = request_line(line.ok_or(Error::Malformed(BARE_LINE_FEED))?)?;
    Ok(Some((line, line_feed + 1)))
}

/// As [`first_line`], if it is as nearly all are: of HTTP/1.1, with a target in
/// ASCII.
#[inline(always)]
fn usual_first_line(input: &[u8]) -> Option<(RequestLine, usize)> {
    const BEHIND: &[u8] = b" HTTP/1.1\r\n";
    let (method, rest) = input.split_at_checked(visible(input))?;
    let rest = rest.strip_prefix(b" ")?;
    let (target, rest) = rest.split_at_checked(visible(rest))?;
    if target.is_empty() || !rest.starts_with(BEHIND) {
        return None;
    }
    let start = method.len() + 1;
    let end = start + target.len();
    let line = RequestLine {
        method: Method::from_bytes(method).ok()?,
        target: start..end,
        version: Version::HTTP_11,
    };
    Some((line, end + BEHIND.len()))
}

/// Takes a request line apart.
fn request_line(line: &[u8]) -> Result<RequestLine, Error> {
    let first = memchr::memchr(b' ', line).ok_or(NO_REQUEST_LINE)?;
    // The version has eight bytes, and a blank stands before it.
    let end = line.len().checked_sub(9).ok_or(NO_REQUEST_LINE)?;
    let target = line.get(first + 1..end).unwrap_or_default();
    let is_ascii = |byte: &u8| byte.is_ascii_graphic();
    if target.is_empty() || !(target.iter().all(is_ascii) || is_unusual_target(target)) {
        return Err(NO_REQUEST_LINE);
    }
    let version = match &line[end..] {
        b" HTTP/1.1" => Version::HTTP_11,
        b" HTTP/1.0" => Version::HTTP_10,
        [b' ', ..] => {
            return Err(Error::Malformed(
                "the version is neither HTTP/1.0 nor HTTP/1.1",
            ));
        }
        _ => return Err(NO_REQUEST_LINE),
    };
    let method = Method::from_bytes(&line[..first])
        .map_err(|_| Error::Malformed("the method is not a token"))?;
    Ok(RequestLine {
        method,
        target: first + 1..end,
        version,
    })
}

/// Whether a target with bytes above ASCII is text without blanks and control
/// characters.
fn is_unusual_target(target: &[u8]) -> bool {
    let is_sound = |byte: &u8| !byte.is_ascii() || byte.is_ascii_graphic();
    target.iter().all(is_sound) && std::str::from_utf8(target).is_ok()
}

const NO_REQUEST_LINE: Error = Error::Malformed("the request line is not METHOD TARGET HTTP/1.1");
