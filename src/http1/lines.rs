//! The lines of a head: where names and values begin and end.
//!
//! [`next_line`] finds one line after the other and copies nothing. Its caller
//! decides what a line means. A head that is not complete yet is told from a
//! malformed one.
//!
//! # Strictness
//!
//! A name is a token (RFC 9110, 5.6.2) right before its colon, every line ends
//! in CR LF, and a line that continues the previous one is malformed (RFC 9112,
//! 5.2). A value holds no control character but tabs (RFC 9110, 5.5).
//!
//! # Cost
//!
//! A byte of a name costs two and a half instructions, and one of a value one
//! and a half, in one pass that finds the ends and checks the characters. The
//! `httparse` crate, which is the oracle of the tests, needs a second pass for
//! lines that end in LF alone, which it accepts.

#[cfg(test)]
mod tests;

use super::framing::BARE_LINE_FEED;

/// One line of a head, as offsets into the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawLine {
    /// Where the name begins, and with it the line.
    pub(super) start: usize,
    /// Where the name ends.
    pub(super) name_end: usize,
    /// Where the value begins, behind its blanks.
    pub(super) value: usize,
    /// Where the value ends, before blanks and the line end.
    pub(super) value_end: usize,
    /// Whether the line stands in the head exactly as it is written: a name,
    /// `: `, a value and CR LF.
    pub(super) is_usual: bool,
    /// Whether the name contains `_`.
    pub(super) has_underscore: bool,
}

/// The part of a head that begins at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextLine {
    /// A line, and where the next one begins.
    Line(RawLine, usize),
    /// The empty line, and where the head ends behind it.
    End(usize),
    /// More bytes have to come.
    More,
}

/// Why a line is malformed.
pub(super) type LineFault = &'static str;

/// Bytes of the longest name, as of a name of the `http` crate. The bound of a
/// head is lower by default.
const LONGEST_NAME: usize = u16::MAX as usize;

pub(super) const BAD_NAME: LineFault = "a header name is not a token";
pub(super) const BAD_VALUE: LineFault = "a header value holds a control character";

/// Whether blanks may stand between a name and its colon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BeforeColon {
    /// None: so it is for requests (RFC 9112, 5.1).
    Nothing,
    /// Blanks, which are removed: so it is for responses.
    Blanks,
}

/// The line that begins at `start`.
///
/// # Errors
/// The line is malformed, whatever comes behind it.
#[inline(always)]
pub(super) fn next_line(
    head: &[u8],
    start: usize,
    before_colon: BeforeColon,
) -> Result<NextLine, LineFault> {
    match usual_line(head, start) {
        Some((line, next)) => Ok(NextLine::Line(line, next)),
        None => any_line(head, start, before_colon),
    }
}

/// The line at `start`, and where the next one begins, if it is as nearly all
/// lines are: a name of letters, digits and hyphens, one space before a value
/// of at least one byte, none behind it, and no tab.
#[inline(always)]
fn usual_line(head: &[u8], start: usize) -> Option<(RawLine, usize)> {
    let rest = head.get(start..)?;
    let length = usual_bytes(rest);
    let [b':', b' ', behind @ ..] = rest.get(length..)? else {
        return None;
    };
    let value_length = find_control(behind)?;
    let (value, line_end) = behind.split_at_checked(value_length)?;
    let ([first, ..], [.., last], [b'\r', b'\n', ..]) = (value, value, line_end) else {
        return None;
    };
    if *first == b' ' || *last == b' ' || length == 0 || length > LONGEST_NAME {
        return None;
    }
    let value = start + length + 2;
    let line = RawLine {
        start,
        name_end: start + length,
        value,
        value_end: value + value_length,
        is_usual: true,
        has_underscore: false,
    };
    Some((line, value + value_length + 2))
}

/// As [`next_line`], for a line of any form.
#[inline(never)]
fn any_line(head: &[u8], start: usize, before_colon: BeforeColon) -> Result<NextLine, LineFault> {
    let rest = head.get(start..).unwrap_or_default();
    let Some(length) = rest.iter().position(|byte| !IS_TOKEN[usize::from(*byte)]) else {
        return Ok(NextLine::More);
    };
    if length == 0 {
        return end(rest, start);
    }
    if length > LONGEST_NAME {
        return Err(BAD_NAME);
    }
    let name_end = start + length;
    let mut colon = name_end;
    if before_colon == BeforeColon::Blanks {
        colon += blanks(&rest[length..]);
    }
    match head.get(colon) {
        Some(b':') => {}
        Some(_) => return Err(BAD_NAME),
        None => return Ok(NextLine::More),
    }
    let Some(line_end) = find_line_end(head, colon + 1)? else {
        return Ok(NextLine::More);
    };
    let text = &head[colon + 1..line_end];
    let (value, value_end) = trimmed(text, colon + 1);
    let line = RawLine {
        start,
        name_end,
        value,
        value_end,
        is_usual: colon == name_end
            && value == colon + 2
            && text[0] == b' '
            && value_end == line_end,
        has_underscore: head[start..name_end].contains(&b'_'),
    };
    Ok(NextLine::Line(line, line_end + 2))
}

/// The range of a value in `text`, which begins at `start` in the head, without
/// the blanks around it.
fn trimmed(text: &[u8], start: usize) -> (usize, usize) {
    let value = start + blanks(text);
    let last = text.iter().rposition(|byte| !is_blank(byte));
    (value, last.map_or(value, |last| start + last + 1))
}

/// The number of letters, digits and hyphens that `text` begins with, or less:
/// they are looked at eight bytes at a time, and the last few bytes of a text
/// not at all.
#[inline(always)]
fn usual_bytes(text: &[u8]) -> usize {
    let mut length = 0;
    for chunk in text.as_chunks().0 {
        let others = not_usual(u64::from_le_bytes(*chunk));
        if others != 0 {
            return length + others.trailing_zeros() as usize / 8;
        }
        length += 8;
    }
    length
}

/// The highest bit of each of eight bytes that is no letter, digit or hyphen.
///
/// Seven bits of a byte are compared by additions that set the eighth from a
/// bound on, so that no byte carries into the next one.
#[inline(always)]
fn not_usual(bytes: u64) -> u64 {
    let low = bytes & (EACH * 0x7f);
    let at_least = |bytes: u64, bound: u64| bytes + EACH * (0x80 - bound);
    let lower = low | (EACH * 0x20);
    let letters = at_least(lower, 0x61) & !at_least(lower, 0x7b);
    let digits = at_least(low, 0x30) & !at_least(low, 0x3a);
    let hyphens = !at_least(low ^ (EACH * 0x2d), 1);
    !(letters | digits | hyphens) & HIGHEST | bytes & HIGHEST
}

/// Multiplied by it, a byte is in all eight bytes of a number.
const EACH: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each byte.
const HIGHEST: u64 = EACH * 0x80;

/// The empty line that ends a head, if it stands at the begin of `rest`.
fn end(rest: &[u8], start: usize) -> Result<NextLine, LineFault> {
    match rest {
        [b'\r', b'\n', ..] => Ok(NextLine::End(start + 2)),
        [b'\r'] => Ok(NextLine::More),
        [b'\n', ..] => Err(BARE_LINE_FEED),
        _ => Err(BAD_NAME),
    }
}

/// The number of blanks that `text` begins with.
fn blanks(text: &[u8]) -> usize {
    let other = text.iter().position(|byte| !is_blank(byte));
    other.unwrap_or(text.len())
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Where the line ends whose value begins at `start`: the place of its CR LF.
/// `None` while no line end has come.
///
/// # Errors
/// Another control character than a tab comes first.
fn find_line_end(head: &[u8], start: usize) -> Result<Option<usize>, LineFault> {
    let mut at = start;
    loop {
        at += match find_control(&head[at..]) {
            Some(found) if head[at + found] == b'\t' => found + 1,
            Some(found) => return line_end(head, at + found),
            None => return Ok(None),
        };
    }
}

/// Whether the control character at `found` ends a line.
fn line_end(head: &[u8], found: usize) -> Result<Option<usize>, LineFault> {
    match head[found..] {
        [b'\r', b'\n', ..] => Ok(Some(found)),
        [b'\r'] => Ok(None),
        [b'\n', ..] => Err(BARE_LINE_FEED),
        _ => Err(BAD_VALUE),
    }
}

/// The place of the first control character of `text`.
///
/// Eight bytes are looked at in one step: a byte below 0x20 borrows its highest
/// bit when 0x20 is subtracted, and so does 0 where 0x7f was. Bytes above the
/// first one that is found may be told wrong, as a borrow goes on into them.
#[inline]
fn find_control(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    let (chunks, rest) = text.as_chunks();
    for chunk in chunks {
        let bytes = u64::from_le_bytes(*chunk);
        let below = bytes.wrapping_sub(EACH * 0x20);
        let deleted = (bytes ^ (EACH * 0x7f)).wrapping_sub(EACH);
        let found = (below | deleted) & !bytes & HIGHEST;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    Some(at + rest.iter().position(u8::is_ascii_control)?)
}

/// The characters of tokens (RFC 9110, 5.6.2).
const IS_TOKEN: [bool; 256] = {
    let mut is_token = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        is_token[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        is_token[others[at] as usize] = true;
        at += 1;
    }
    is_token
};
