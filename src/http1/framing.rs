//! Framing: where a head ends, and where the body behind it ends.
//!
//! [`find_end`] finds the empty line behind a head before anything is parsed.
//! While the lines of the head are parsed, [`Marks`] collects all that they say
//! about the message itself, so that no field is looked up afterwards.
//! [`of_request`] and [`of_response`] decide by these marks where the body
//! ends.
//!
//! # Strictness
//!
//! RFC 9112 (6.3) says how to read messages whose framing is contradictory, and
//! permits to refuse them. They are refused here, since other implementations
//! read them otherwise and an attacker makes use of the difference:
//!
//! * `Content-Length` beside `Transfer-Encoding` (RFC 9112, 6.1), and more than
//!   one of either, even if their values agree.
//! * A length that is not a plain decimal number of at most 18 digits: no sign,
//!   no list, no blank.
//! * A `Transfer-Encoding` that is not exactly `chunked`. No service needs
//!   another one, and a recipient that does not know it cannot tell where the
//!   body ends.
//! * A `Transfer-Encoding` in HTTP/1.0 (RFC 9112, 6.1), or in an interim
//!   response.
//! * More than 32 options in all `Connection` fields, because each field of the
//!   message is compared with each option.

use std::sync::LazyLock;

use http::{Method, StatusCode, Version};
use memchr::memmem::Finder;

use super::names::{FieldName, NameSet};
use crate::error::Error;

/// Why the end of a head was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unended {
    /// The head is not complete. The next search begins at this offset.
    More(usize),
    /// A line ends in LF without CR, which other parsers do not accept as its
    /// end.
    BareLineFeed,
}

/// Finds the end of the last line of a head with the empty line behind it.
/// Built once, since building it costs more than one search.
static EMPTY_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\r\n\r\n"));

/// The length of the head in `buffer` with its empty line, in bytes. The search
/// begins at `seen`, where an earlier one ended, so that a head that comes byte
/// by byte is searched once and not quadratically.
///
/// # Errors
/// [`Unended::More`] while the head is not complete, and
/// [`Unended::BareLineFeed`] as soon as a line of it ends in LF alone.
pub fn find_end(buffer: &[u8], seen: usize) -> Result<usize, Unended> {
    if seen > 0 {
        return find_end_by_line(buffer, seen);
    }
    // Most heads come as a whole: two passes over all of it cost less than a
    // search for each line.
    let Some(end) = EMPTY_LINE.find(buffer) else {
        return find_end_by_line(buffer, 0);
    };
    let length = end + EMPTY_LINE.needle().len();
    if has_bare_line_feed(&buffer[..length]) {
        return Err(Unended::BareLineFeed);
    }
    Ok(length)
}

/// The same result as that of [`find_end`], for a head that comes in pieces.
fn find_end_by_line(buffer: &[u8], seen: usize) -> Result<usize, Unended> {
    let mut from = seen;
    while let Some(at) = memchr::memchr(b'\n', buffer.get(from..).unwrap_or_default()) {
        let next = from + at + 1;
        if !buffer[..next].ends_with(b"\r\n") {
            return Err(Unended::BareLineFeed);
        }
        match buffer.get(next..) {
            Some([b'\r', b'\n', ..]) => return Ok(next + 2),
            Some([] | [b'\r']) | None => return Err(Unended::More(next - 1)),
            Some(_) => from = next,
        }
    }
    Err(Unended::More(buffer.len()))
}

/// Whether any LF of a head has no CR before it (RFC 9112, 2.2).
pub(super) fn has_bare_line_feed(head: &[u8]) -> bool {
    let pairs = head.iter().zip(head.get(1..).unwrap_or_default());
    // Without an early end, so that the compiler can process many bytes at
    // once.
    pairs.fold(head.first() == Some(&b'\n'), |any, (before, byte)| {
        any | ((*byte == b'\n') & (*before != b'\r'))
    })
}

/// The error of a message with a line that ends in LF alone.
pub const BARE_LINE_FEED: &str = "a line does not end in CR LF";

/// How a body is delimited (RFC 9112, 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// There is no body.
    Empty,
    /// The body has this many bytes: at least one, and fewer than 2^63.
    Exact(u64),
    /// The body comes in chunks, perhaps with trailers.
    Chunked,
    /// The body is everything up to the end of the connection. Only responses
    /// have it.
    UntilClose,
}

/// Most members of all `Connection` fields of a message, empty ones included.
/// One or two are usual.
const MOST_OPTIONS: usize = 32;

/// The statements of a head about the message itself, collected while its lines
/// are read.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// `Content-Length` fields.
    lengths: usize,
    /// The last length that was named; the inner `None` is a value that is no
    /// length.
    length: Option<Option<u64>>,
    /// `Transfer-Encoding` fields.
    codings: usize,
    /// Whether the last of them is exactly `chunked`.
    is_chunked: bool,
    /// `Connection` lists `close`.
    says_close: bool,
    /// `Connection` lists `keep-alive`.
    says_keep_alive: bool,
    /// Members of all `Connection` fields, empty ones included.
    options: usize,
    /// `Connection` lists anything else, which makes the field of that name
    /// hop-by-hop.
    pub(super) names_hops: bool,
    /// `Expect` is `100-continue`.
    pub(super) expects_continue: bool,
}

impl Marks {
    /// Notes a field.
    #[inline(always)]
    pub(super) fn note(&mut self, field: FieldName, value: &[u8]) {
        if NameSet::FRAMING.has(field) {
            self.note_framing(field, value);
        }
    }

    fn note_framing(&mut self, field: FieldName, value: &[u8]) {
        match field {
            FieldName::ContentLength => {
                self.lengths += 1;
                self.length = Some(content_length(value));
            }
            FieldName::TransferEncoding => {
                self.codings += 1;
                self.is_chunked = value.eq_ignore_ascii_case(b"chunked");
            }
            FieldName::Expect => {
                self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
            }
            FieldName::Connection => self.note_connection(value),
            _ => {}
        }
    }

    /// The length that the head names; `None` if it names none, or one that is
    /// malformed.
    pub(super) fn named_length(&self) -> Option<u64> {
        self.length.flatten()
    }

    fn note_connection(&mut self, value: &[u8]) {
        // The usual value, if there is any.
        if is(value, b"keep-alive") {
            self.says_keep_alive = true;
        } else {
            self.note_options(value);
        }
    }

    #[inline(never)]
    fn note_options(&mut self, value: &[u8]) {
        for token in options(value) {
            self.options += 1;
            if token.eq_ignore_ascii_case(b"close") {
                self.says_close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.says_keep_alive = true;
            } else {
                self.names_hops |= !token.is_empty();
            }
        }
    }

    /// Checks the number of options. Every field of a message is compared with
    /// each option that `Connection` names.
    ///
    /// # Errors
    /// There are more than [`MOST_OPTIONS`].
    pub(super) fn bounded(&self) -> Result<(), &'static str> {
        if self.options > MOST_OPTIONS {
            Err("its Connection fields name more than 32 options")
        } else {
            Ok(())
        }
    }

    /// Whether the connection outlives this message (RFC 9112, 9.3).
    pub(super) fn keeps_alive(&self, version: Version) -> bool {
        !self.says_close && (version == Version::HTTP_11 || self.says_keep_alive)
    }
}

/// Decides how a request's body is delimited. Without a statement about it, a
/// request has no body.
///
/// # Errors
/// [`Error::Malformed`] if its framing is contradictory or not plain.
pub(super) fn of_request(version: Version, marks: &Marks) -> Result<Length, Error> {
    Ok(
        match Stated::by(version, marks).map_err(Error::Malformed)? {
            Stated::Nothing | Stated::Length(0) => Length::Empty,
            Stated::Length(length) => Length::Exact(length),
            Stated::Chunks => Length::Chunked,
        },
    )
}

/// Decides how the body of a response to `method` is delimited. Without a
/// statement about it, a response with a body lasts until the connection ends.
///
/// # Errors
/// Says why the framing is contradictory or not plain.
pub(super) fn of_response(
    version: Version,
    status: StatusCode,
    marks: &Marks,
    method: &Method,
) -> Result<Length, &'static str> {
    let stated = Stated::by(version, marks)?;
    if status.is_informational() && stated == Stated::Chunks {
        return Err("an interim answer announces chunks");
    }
    if has_no_body(status) || *method == Method::HEAD {
        return Ok(Length::Empty);
    }
    Ok(match stated {
        Stated::Nothing => Length::UntilClose,
        Stated::Length(0) => Length::Empty,
        Stated::Length(length) => Length::Exact(length),
        Stated::Chunks => Length::Chunked,
    })
}

/// Whether no response of this status has a body (RFC 9110, 6.4.1).
pub fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || matches!(status.as_u16(), 204 | 304)
}

/// The statement of a head about its body's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stated {
    /// The head says nothing.
    Nothing,
    /// `Content-Length`, perhaps 0.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunks,
}

impl Stated {
    /// The statement of a message of this `version`. A head may make one of
    /// them at most, once and clearly.
    fn by(version: Version, marks: &Marks) -> Result<Self, &'static str> {
        if marks.codings > 0 {
            return Self::chunks(version, marks);
        }
        match marks.length {
            None => Ok(Self::Nothing),
            Some(_) if marks.lengths > 1 => Err("it has two lengths"),
            Some(None) => Err("its Content-Length is not a length"),
            Some(Some(length)) => Ok(Self::Length(length)),
        }
    }

    /// Checks a `Transfer-Encoding` (RFC 9112, 6.1).
    fn chunks(version: Version, marks: &Marks) -> Result<Self, &'static str> {
        if version != Version::HTTP_11 {
            return Err("HTTP/1.0 has no Transfer-Encoding");
        }
        if marks.lengths > 0 {
            return Err("it has both Content-Length and Transfer-Encoding");
        }
        if marks.codings > 1 || !marks.is_chunked {
            return Err("its Transfer-Encoding is not chunked");
        }
        Ok(Self::Chunks)
    }
}

/// The value of a `Content-Length` field; `None` if it is no length (RFC 9110,
/// 8.6).
fn content_length(digits: &[u8]) -> Option<u64> {
    // 18 digits stay below 2^63, so that sums of lengths cannot overflow.
    if !(1..=18).contains(&digits.len()) {
        return None;
    }
    digits.iter().try_fold(0, |sum, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| sum * 10 + u64::from(digit))
    })
}

/// The members of a `Connection` field's list, empty ones too.
pub(super) fn options(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Whether a text is `usual` in any letter case. Most senders write exactly
/// that, which is compared faster.
#[inline]
pub(super) fn is(text: &[u8], usual: &[u8]) -> bool {
    text == usual || text.eq_ignore_ascii_case(usual)
}
