//! The lines of a head: where names and values begin and end.
//!
//! [`HeadLines`] finds one line after the other and copies nothing. Its caller
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
//! Sixteen bytes are looked at in one step, with vector instructions: a line of
//! 30 bytes costs 65 instructions, and each further 16 bytes cost 12. One pass
//! finds the ends and checks the characters. Eight bytes at a time, in plain
//! numbers, cost twice as much.

#[cfg(test)]
mod tests;

use wide::u8x16;

use super::framing::BARE_LINE_FEED;

/// One line of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawLine<'h> {
    /// Where it begins in the head.
    pub(super) start: usize,
    /// The name, right at the begin.
    pub(super) name: &'h [u8],
    /// Where the value begins in the head.
    pub(super) value_start: usize,
    /// The value, without the blanks around it.
    pub(super) value: &'h [u8],
    /// Whether the line stands in the head exactly as it is written: a name,
    /// `: `, a value and CR LF.
    pub(super) is_usual: bool,
    /// Whether the name contains `_`.
    pub(super) has_underscore: bool,
}

/// The next part of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextLine<'h> {
    /// A line.
    Line(RawLine<'h>),
    /// The empty line.
    End,
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

/// The lines of a head, one after the other.
#[derive(Debug)]
pub(super) struct HeadLines<'h> {
    /// The lines that are not read yet, and all that is behind them.
    rest: &'h [u8],
    /// Bytes of the text that the head is in.
    length: usize,
    before_colon: BeforeColon,
}

impl<'h> HeadLines<'h> {
    /// The lines that begin at `start` in `text`.
    pub(super) fn of(text: &'h [u8], start: usize, before_colon: BeforeColon) -> Self {
        Self {
            rest: text.get(start..).unwrap_or_default(),
            length: text.len(),
            before_colon,
        }
    }

    /// Where the next line begins; behind the empty line, where the head ends.
    #[inline(always)]
    pub(super) fn position(&self) -> usize {
        self.length - self.rest.len()
    }

    /// The next line.
    ///
    /// # Errors
    /// The line is malformed, whatever comes behind it.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<NextLine<'h>, LineFault> {
        let start = self.position();
        if let Some((line, rest)) = usual_line(self.rest, start) {
            self.rest = rest;
            return Ok(NextLine::Line(line));
        }
        if let Some(rest) = self.rest.strip_prefix(b"\r\n") {
            self.rest = rest;
            return Ok(NextLine::End);
        }
        let Some((line, length)) = any_line(self.rest, start, self.before_colon)? else {
            return Ok(NextLine::More);
        };
        self.rest = self.rest.get(length..).unwrap_or_default();
        // Taken apart, so that usual lines stay in registers.
        Ok(NextLine::Line(RawLine { ..line }))
    }
}

/// The line that `rest` begins with, at `start` in the head, and the text
/// behind it, if it is as nearly all lines are: a name of letters, digits and
/// hyphens, one space before a value of at least one byte, none behind it, and
/// no tab.
#[inline(always)]
fn usual_line(rest: &[u8], start: usize) -> Option<(RawLine<'_>, &[u8])> {
    let (name, rest) = rest.split_at_checked(find(rest, not_usual))?;
    let rest = rest.strip_prefix(b": ")?;
    let (value, rest) = rest.split_at_checked(find(rest, control))?;
    let rest = rest.strip_prefix(b"\r\n")?;
    let ([first, ..], [.., last]) = (value, value) else {
        return None;
    };
    if *first == b' ' || *last == b' ' || name.is_empty() || name.len() > LONGEST_NAME {
        return None;
    }
    let line = RawLine {
        start,
        name,
        value_start: start + name.len() + 2,
        value,
        is_usual: true,
        has_underscore: false,
    };
    Some((line, rest))
}

/// The line of any form that `rest` begins with, at `start` in the head, and its
/// length in bytes; `None` while more bytes have to come.
#[inline(never)]
fn any_line(
    rest: &[u8],
    start: usize,
    before_colon: BeforeColon,
) -> Result<Option<(RawLine<'_>, usize)>, LineFault> {
    let Some(length) = rest.iter().position(|byte| !IS_TOKEN[usize::from(*byte)]) else {
        return Ok(None);
    };
    if length == 0 {
        return no_name(rest);
    }
    if length > LONGEST_NAME {
        return Err(BAD_NAME);
    }
    let (name, behind) = rest.split_at(length);
    let colon = match before_colon {
        BeforeColon::Nothing => length,
        BeforeColon::Blanks => length + blanks(behind),
    };
    match rest.get(colon) {
        Some(b':') => {}
        Some(_) => return Err(BAD_NAME),
        None => return Ok(None),
    }
    let Some(line_end) = find_line_end(rest, colon + 1)? else {
        return Ok(None);
    };
    let text = &rest[colon + 1..line_end];
    let value = text.trim_ascii_start();
    let value_start = line_end - value.len();
    let value = value.trim_ascii_end();
    let line = RawLine {
        start,
        name,
        value_start: start + value_start,
        value,
        is_usual: colon == length
            && value_start == colon + 2
            && text[0] == b' '
            && value_start + value.len() == line_end,
        has_underscore: name.contains(&b'_'),
    };
    Ok(Some((line, line_end + 2)))
}

/// Bytes that are looked at in one step.
const BLOCK: usize = 16;

/// The number of bytes before the first one that is sought, or the length of
/// the text. Zero bytes are sought whatever else is.
#[inline(always)]
fn find(text: &[u8], sought: impl Fn(u8x16) -> u8x16) -> usize {
    let (blocks, rest) = text.as_chunks();
    let mut at = 0;
    for block in blocks {
        let found = sought(u8x16::new(*block)).to_bitmask();
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += BLOCK;
    }
    at + find_in_rest(rest, sought)
}

/// As [`find`], for less than a block, which zeros make a whole one.
#[inline(never)]
fn find_in_rest(rest: &[u8], sought: impl Fn(u8x16) -> u8x16) -> usize {
    let mut block = [0; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    sought(u8x16::new(block)).to_bitmask().trailing_zeros() as usize
}

/// The bytes that are no letter, digit or hyphen.
#[inline(always)]
fn not_usual(bytes: u8x16) -> u8x16 {
    let letters = between(bytes | 0x20, b'a', b'z');
    !(letters | between(bytes, b'0', b'9') | bytes.simd_eq(b'-'))
}

/// The number of visible characters of ASCII that `text` begins with.
#[inline(always)]
pub(super) fn visible(text: &[u8]) -> usize {
    find(text, |bytes| !between(bytes, b'!', b'~'))
}

/// The control characters.
#[inline(always)]
fn control(bytes: u8x16) -> u8x16 {
    between(bytes, 0, 0x1f) | bytes.simd_eq(0x7f)
}

/// The bytes from `first` to `last`.
#[inline(always)]
fn between(bytes: u8x16, first: u8, last: u8) -> u8x16 {
    // Bytes below the first one become the largest numbers.
    let from_first = bytes - first;
    from_first.simd_eq(from_first.min(u8x16::splat(last - first)))
}

/// The fault of a line without a name; `None` if it may become the empty line
/// that ends a head.
fn no_name<T>(rest: &[u8]) -> Result<Option<T>, LineFault> {
    match rest {
        [b'\r'] => Ok(None),
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
fn find_line_end(text: &[u8], start: usize) -> Result<Option<usize>, LineFault> {
    let mut at = start;
    loop {
        at += find(&text[at..], control);
        match text[at..] {
            [b'\t', ..] => at += 1,
            [b'\r', b'\n', ..] => return Ok(Some(at)),
            [b'\r'] | [] => return Ok(None),
            [b'\n', ..] => return Err(BARE_LINE_FEED),
            _ => return Err(BAD_VALUE),
        }
    }
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
