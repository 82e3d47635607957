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

use std::{mem::MaybeUninit, ops::Range};

use http::{Method, StatusCode};
use httparse::{Header, ParserConfig, Status};

use super::{
    encode::{Fields, Hops, hop_by_hop, is, reason, write_field},
    framing::{self, BARE_LINE_FEED, Length, Marks, has_bare_line_feed, version},
};

/// Most header lines of a response.
const MOST_LINES: usize = 256;
/// Room in bytes for the fields about a limit. Without it, adding them would
/// move all lines.
const ROOM: usize = 192;

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
    if let [b'\r' | b'\n', ..] = input {
        return Err("it begins with an empty line");
    }
    let mut lines = [const { MaybeUninit::uninit() }; MOST_LINES];
    let mut parsed = httparse::Response::new(&mut []);
    let end = ParserConfig::default()
        .allow_spaces_after_header_name_in_responses(true)
        .parse_response_with_uninit_headers(&mut parsed, input, &mut lines)
        .map_err(|_| "its head cannot be read")?;
    let Status::Complete(end) = end else {
        return Ok(None);
    };
    let head = &input[..end];
    if !has_sound_ends(head, parsed.headers) {
        return Err(BARE_LINE_FEED);
    }
    let status = StatusCode::from_u16(parsed.code.unwrap_or_default())
        .map_err(|_| "its status is not one")?;
    let usual = reason(status);
    let words = parsed.reason.filter(|words| usual != Some(*words));
    let version = version(parsed.version);
    let mut marks = Marks::default();
    let fields = passed_on(head, parsed.headers, status, &mut marks)?;
    let length = framing::of_response(version, status, &marks, method)?;
    let head = ResponseHead {
        status,
        reason: words.map(Box::from),
        fields,
        length,
        keep_alive: marks.keeps_alive(version) && length != Length::UntilClose,
    };
    Ok(Some((head, end)))
}

/// Whether the status line and the empty line of `head` end in CR LF, which
/// httparse does not demand. The lines between them are checked when they are
/// copied.
fn has_sound_ends(head: &[u8], lines: &[Header<'_>]) -> bool {
    let rest = match lines.first() {
        Some(line) => line.name.as_ptr().addr() - head.as_ptr().addr(),
        None => head.len() - 2,
    };
    let status_line = head.get(..rest);
    status_line.is_some_and(|line| line.ends_with(b"\r\n")) && head.ends_with(b"\r\n")
}

/// Copies the lines that are passed on, and notes the marks of all of them. If
/// protocols are switched, or have to be (RFC 9110, 15.5.22), the client gets
/// `Upgrade`.
fn passed_on(
    head: &[u8],
    lines: &[Header<'_>],
    status: StatusCode,
    marks: &mut Marks,
) -> Result<Fields, &'static str> {
    let switches = matches!(
        status,
        StatusCode::SWITCHING_PROTOCOLS | StatusCode::UPGRADE_REQUIRED
    );
    let mut copying = Copying::of(head);
    for line in lines {
        let name = line.name.as_bytes();
        let ends_here =
            marks.note(name, line.value) || (hop_by_hop(name) && !is_upgrade(name, switches));
        copying.pass(line, ends_here);
    }
    marks.bounded()?;
    if marks.names_hops {
        copying = without_named_hops(head, lines, switches);
    }
    let mut fields = copying.end()?;
    fields.length = marks.named_length();
    Ok(fields)
}

/// Copies the lines once more, without the fields that `Connection` names,
/// which may stand before it. Rare: nearly all services name none.
fn without_named_hops<'h>(head: &'h [u8], lines: &[Header<'_>], switches: bool) -> Copying<'h> {
    let hops = Hops::among(lines.iter().map(|line| (line.name, line.value)));
    let mut copying = Copying::of(head);
    for line in lines {
        let name = line.name.as_bytes();
        let is_hop = hops.names(line.name) || hop_by_hop(name);
        let ends_here = is(name, b"Content-Length") || (is_hop && !is_upgrade(name, switches));
        copying.pass(line, ends_here);
    }
    copying
}

/// Whether a field is the `Upgrade` of a response that has to have one.
fn is_upgrade(name: &[u8], switches: bool) -> bool {
    switches && name.eq_ignore_ascii_case(b"upgrade")
}

/// Copies lines out of a head, adjacent ones at once.
struct Copying<'h> {
    head: &'h [u8],
    /// The range of lines that are still to be copied.
    run: Range<usize>,
    copied: Fields,
    /// Whether every line so far, passed on or not, stands in the head exactly
    /// as it would be written, with CR LF at its end.
    are_usual: bool,
}

impl<'h> Copying<'h> {
    fn of(head: &'h [u8]) -> Self {
        Self {
            head,
            run: 0..0,
            copied: Fields::with_capacity(head.len() + ROOM),
            are_usual: true,
        }
    }

    /// Adds the next line, whose name and value are parts of the head, or
    /// leaves it out.
    fn pass(&mut self, line: &Header<'_>, is_left_out: bool) {
        let Header { name, value } = *line;
        let place = self.place(name, value);
        if is_left_out {
            self.are_usual &= place.is_some();
            return;
        }
        self.copied.note(name);
        match place {
            Some(line) if line.start == self.run.end => self.run.end = line.end,
            Some(line) => {
                self.copy_run();
                self.run = line;
            }
            None => {
                self.are_usual = false;
                self.copy_run();
                write_field(&mut self.copied.lines, name, value);
            }
        }
    }

    /// The lines that were added.
    ///
    /// # Errors
    /// Any line of the head ends in LF alone. Lines in the usual form cannot,
    /// so that nearly no head is searched for it.
    fn end(mut self) -> Result<Fields, &'static str> {
        self.copy_run();
        if self.are_usual || !has_bare_line_feed(self.head) {
            Ok(self.copied)
        } else {
            Err(BARE_LINE_FEED)
        }
    }

    /// The range of the line in the head, if it stands there exactly as it is
    /// written.
    fn place(&self, name: &str, value: &[u8]) -> Option<Range<usize>> {
        let start = name
            .as_ptr()
            .addr()
            .checked_sub(self.head.as_ptr().addr())?;
        let (named, end) = (start + name.len(), start + name.len() + value.len() + 4);
        let [b':', b' ', written @ .., b'\r', b'\n'] = self.head.get(named..end)? else {
            return None;
        };
        (written.as_ptr() == value.as_ptr()).then_some(start..end)
    }

    fn copy_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        self.copied.lines.extend_from_slice(&self.head[run]);
    }
}
