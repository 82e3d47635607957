//! The head of a response: the bytes up to its empty line become a status and
//! the fields that are passed on to the client.
//!
//! Nothing on the way to the client needs the fields parsed, so they stay text:
//! adjacent lines that pass are copied as one run of bytes ([`Copying`]), and
//! only lines that are not in the usual form are written anew, without blanks
//! that mean nothing. Hop-by-hop fields are left out while the lines are
//! copied, because they concern the connection to the server only (RFC 9110,
//! 7.6.1), and so is `Content-Length`, which the server writes anew from the
//! body that it really sends.
//!
//! # Strictness
//!
//! A response is refused under the same rules as a request, with two
//! exceptions, both of which every recipient reads in the same way. A blank
//! between a name and its colon is removed, as RFC 9112 (5.1) demands of a
//! proxy. A chunk's size may be padded with blanks (see
//! [`Decoder`](super::Decoder)).
//!
//! # Bounds
//!
//! A response has at most 256 lines. The upstream's side bounds its bytes while
//! it reads them.

use http::{Method, StatusCode, Version};

use super::{
    encode::{Fields, reason, write_line},
    framing::{self, BARE_LINE_FEED, Length, Marks},
    hops::Hops,
    lines::{BeforeColon, HeadLines, NextLine, RawLine},
    names::{FieldName, NameSet},
};
use crate::runtime::spare;

/// Most header lines of a response.
const MOST_LINES: usize = 256;
/// Room in bytes for the fields about a limit. Without it, adding them would
/// move all lines.
const ROOM: usize = 192;
/// Most bytes of room for the lines themselves; longer heads grow.
const MOST_ROOM: usize = 1024;

/// The head of a response, with its framing.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase, if it is not the usual one.
    pub reason: Option<Box<str>>,
    /// The fields that are passed on.
    pub fields: Fields,
    /// How its body is delimited.
    pub length: Length,
    /// Whether the server accepts another request on the same connection.
    pub keep_alive: bool,
}

/// Parses the head of a response at the beginning of `input`, behind which the
/// body may begin. `method` is that of the request, since a response to HEAD
/// has no body whatever its fields say. Returns the head with its length in
/// bytes, or `None` while it is not complete.
///
/// # Errors
/// Says why it is malformed, beginning with `it` or `its`.
///
/// # Examples
/// ```
/// use http::Method;
/// use tidegate::http1::{Length, parse_response};
///
/// let input = b"HTTP/1.1 200 OK\r\nConnection: close\r\nX-A : 1\r\n\r\nhello";
/// let (head, length) = parse_response(input, &Method::GET).unwrap().unwrap();
/// assert_eq!(&input[length..], b"hello");
/// assert_eq!(head.fields.as_bytes(), b"X-A: 1\r\n");
/// assert_eq!(head.length, Length::UntilClose);
/// ```
pub fn parse_response(
    input: &[u8],
    method: &Method,
) -> Result<Option<(ResponseHead, usize)>, &'static str> {
    let Some((line, start)) = first_line(input)? else {
        return Ok(None);
    };
    let mut marks = Marks::default();
    let Some((fields, length)) = passed_on(input, start, line.status, &mut marks)? else {
        return Ok(None);
    };
    let (status, version) = (line.status, line.version);
    let body = framing::of_response(version, status, &marks, method)?;
    let head = ResponseHead {
        status,
        reason: line.words.map(Box::from),
        fields,
        length: body,
        keep_alive: marks.keeps_alive(version) && body != Length::UntilClose,
    };
    Ok(Some((head, length)))
}

/// The parts of a status line.
struct StatusLine<'h> {
    version: Version,
    status: StatusCode,
    /// The reason phrase, if it is not the usual one.
    words: Option<&'h str>,
}

const UNREADABLE: &str = "its head cannot be read";

/// The status line at the begin of `input`, and where it ends; `None` while it
/// is not complete.
fn first_line(input: &[u8]) -> Result<Option<(StatusLine<'_>, usize)>, &'static str> {
    // Of nearly all responses; taking it apart costs 130 instructions more.
    const USUAL: &[u8] = b"HTTP/1.1 200 OK\r\n";
    if input.starts_with(USUAL) {
        let line = StatusLine {
            version: Version::HTTP_11,
            status: StatusCode::OK,
            words: None,
        };
        return Ok(Some((line, USUAL.len())));
    }
    if let [b'\r' | b'\n', ..] = input {
        return Err("it begins with an empty line");
    }
    let Some(line_feed) = memchr::memchr(b'\n', input) else {
        return status_line_begins(input).map(|()| None);
    };
    let line = input[..line_feed].strip_suffix(b"\r");
    let line = status_line(line.ok_or(BARE_LINE_FEED)?)?;
    Ok(Some((line, line_feed + 1)))
}

/// Takes a status line apart, such as `HTTP/1.1 200 OK`. The reason phrase may
/// be missing, with the blank before it or without (RFC 9112, 4).
fn status_line(line: &[u8]) -> Result<StatusLine<'_>, &'static str> {
    let (version, rest) = match line.split_at_checked(9) {
        Some((b"HTTP/1.1 ", rest)) => (Version::HTTP_11, rest),
        Some((b"HTTP/1.0 ", rest)) => (Version::HTTP_10, rest),
        _ => return Err(UNREADABLE),
    };
    let (digits, words) = rest.split_at_checked(3).ok_or(UNREADABLE)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(UNREADABLE);
    }
    let words = match words {
        [] => words,
        [b' ', words @ ..] => words,
        _ => return Err(UNREADABLE),
    };
    let status = StatusCode::from_bytes(digits).map_err(|_| "its status is not one")?;
    if reason(status).is_some_and(|usual| usual.as_bytes() == words) {
        let words = None;
        return Ok(StatusLine {
            version,
            status,
            words,
        });
    }
    if words
        .iter()
        .any(|byte| byte.is_ascii_control() && *byte != b'\t')
    {
        return Err(UNREADABLE);
    }
    // Words with bytes above ASCII are left out: nobody can say what they mean.
    let words = std::str::from_utf8(words)
        .ok()
        .filter(|words| words.is_ascii());
    Ok(StatusLine {
        version,
        status,
        words: Some(words.unwrap_or_default()),
    })
}

/// Checks the begin of a status line that is not complete, so that bytes which
/// are no response are told before a line end comes.
///
/// # Errors
/// No status line begins so.
fn status_line_begins(input: &[u8]) -> Result<(), &'static str> {
    let compared = input.len().min(7);
    if input[..compared] == b"HTTP/1."[..compared] {
        Ok(())
    } else {
        Err(UNREADABLE)
    }
}

/// Copies the lines from `start` on that are passed on, and notes the marks of
/// all of them. Returns the fields and the length of the head, or `None` while
/// it is not complete. If protocols are switched, or have to be (RFC 9110,
/// 15.5.22), the client gets `Upgrade`.
fn passed_on(
    input: &[u8],
    start: usize,
    status: StatusCode,
    marks: &mut Marks,
) -> Result<Option<(Fields, usize)>, &'static str> {
    let left_out = left_out(status);
    let mut copying = Copying::of(input, start);
    let mut lines = ResponseLines::of(input, start);
    while let Some((line, field)) = lines.next()? {
        marks.note(field, line.value);
        copying.pass(line, field, lines.position(), left_out.has(field));
    }
    if !lines.is_complete {
        return Ok(None);
    }
    let length = lines.position();
    marks.bounded()?;
    let mut fields = if marks.names_hops {
        without_named_hops(input, start, left_out)?
    } else {
        copying.end(length - 2)
    };
    fields.length = marks.named_length();
    Ok(Some((fields, length)))
}

/// The fields that are not passed on in a response of this status.
fn left_out(status: StatusCode) -> NameSet {
    let left_out = NameSet::HOP_BY_HOP.and(FieldName::ContentLength);
    match status {
        StatusCode::SWITCHING_PROTOCOLS | StatusCode::UPGRADE_REQUIRED => {
            left_out.without(FieldName::Upgrade)
        }
        _ => left_out,
    }
}

/// Copies the lines once more, without the fields that `Connection` names,
/// which may stand before it. Rare: nearly all services name none.
#[cold]
fn without_named_hops(
    input: &[u8],
    start: usize,
    left_out: NameSet,
) -> Result<Fields, &'static str> {
    let mut named = Vec::new();
    let mut lines = ResponseLines::of(input, start);
    while let Some((line, field)) = lines.next()? {
        if field == FieldName::Connection {
            named.push(line.value);
        }
    }
    let hops = Hops::in_values(named.into_iter());
    let mut copying = Copying::of(input, start);
    let mut lines = ResponseLines::of(input, start);
    while let Some((line, field)) = lines.next()? {
        // If it passes at all, it passes although it is named.
        let is_named = field != FieldName::Upgrade && hops.names(line.name);
        copying.pass(
            line,
            field,
            lines.position(),
            is_named || left_out.has(field),
        );
    }
    Ok(copying.end(lines.position() - 2))
}

/// The lines of a response, one after the other.
struct ResponseLines<'h> {
    lines: HeadLines<'h>,
    /// Lines so far.
    count: usize,
    /// The head has ended.
    is_complete: bool,
}

impl<'h> ResponseLines<'h> {
    /// The lines that begin at `start`.
    fn of(input: &'h [u8], start: usize) -> Self {
        Self {
            lines: HeadLines::of(input, start, BeforeColon::Blanks),
            count: 0,
            is_complete: false,
        }
    }

    /// The next line with its name; `None` at the end of the head, and at that
    /// of the input.
    #[inline(always)]
    fn next(&mut self) -> Result<Option<(RawLine<'h>, FieldName)>, &'static str> {
        match self.lines.next().map_err(of_line)? {
            NextLine::Line(line) => {
                self.count += 1;
                if self.count > MOST_LINES {
                    return Err(UNREADABLE);
                }
                Ok(Some((line, FieldName::of(line.name))))
            }
            NextLine::End => {
                self.is_complete = true;
                Ok(None)
            }
            NextLine::More => Ok(None),
        }
    }

    /// Where the next line begins; at the end of the head, its length.
    #[inline(always)]
    fn position(&self) -> usize {
        self.lines.position()
    }
}

/// The fault of a response with a line that is malformed in this way.
fn of_line(fault: &'static str) -> &'static str {
    if fault == BARE_LINE_FEED {
        fault
    } else {
        UNREADABLE
    }
}

/// Copies lines out of a head, adjacent ones at once.
struct Copying<'h> {
    head: &'h [u8],
    /// Where the lines begin that are still to be copied.
    run: usize,
    copied: Vec<u8>,
    /// The names of the lines that were passed.
    names: NameSet,
}

impl<'h> Copying<'h> {
    /// Copies lines from `start` on.
    #[inline]
    fn of(head: &'h [u8], start: usize) -> Self {
        // Behind the head may be a body, which needs no room here.
        let room = (head.len() - start).min(MOST_ROOM);
        Self {
            head,
            run: start,
            copied: spare::take(room + ROOM),
            names: NameSet::default(),
        }
    }

    /// Passes the next line, which ends at `end`, or leaves it out.
    #[inline(always)]
    fn pass(&mut self, line: RawLine<'_>, field: FieldName, end: usize, is_left_out: bool) {
        if is_left_out {
            self.leave_out(line.start, end);
            return;
        }
        self.names = self.names.and(field);
        if !line.is_usual {
            self.leave_out(line.start, end);
            write_line(&mut self.copied, line.name, line.value);
        }
    }

    /// Leaves out the line from `start` to `end`.
    fn leave_out(&mut self, start: usize, end: usize) {
        self.copied.extend_from_slice(&self.head[self.run..start]);
        self.run = end;
    }

    /// The lines that were passed, the last of which ends at `end`.
    #[inline]
    fn end(mut self, end: usize) -> Fields {
        self.copied.extend_from_slice(&self.head[self.run..end]);
        Fields::of_lines(self.copied, self.names)
    }
}
