//! The fields of a response in the form in which they are written. Nothing on
//! the way to the client needs them parsed, so the lines of the upstream are
//! copied once, without hop-by-hop fields, and a route's changes are made to
//! the text.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    encode::{write_field, write_number},
    framing::is,
};

/// Header lines, each with its line end, without hop-by-hop fields and the
/// length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    lines: Vec<u8>,
    has_date: bool,
    has_limits: bool,
    /// The value of `Content-Length`. In a response without a body it is the
    /// length of the body that a GET would get.
    pub length: Option<u64>,
}

impl Fields {
    /// No fields, with room for this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            lines: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Adds a line; `name` is a token and `value` holds no line end.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        self.note(name);
        write_field(&mut self.lines, name, value);
    }

    /// Adds a line of `name`, whose value `write` appends without a line end.
    pub fn push_with(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.note(name);
        self.lines.extend_from_slice(name.as_bytes());
        self.lines.extend_from_slice(b": ");
        write(&mut self.lines);
        self.lines.extend_from_slice(b"\r\n");
    }

    /// Notes the fields that are looked for in nearly every response, so that
    /// its lines need not be searched for them.
    #[inline]
    fn note(&mut self, name: &str) {
        match name.len() {
            4 => self.has_date |= is(name.as_bytes(), b"Date"),
            9 | 16 => self.has_limits |= is(&name.as_bytes()[..9], b"ratelimit"),
            _ => {}
        }
    }

    /// Adds a line whose value is a number.
    pub fn push_number(&mut self, name: &str, value: u64) {
        self.push_with(name, |out| write_number(out, value));
    }

    /// Removes every line of this name.
    pub fn remove(&mut self, name: &HeaderName) {
        if self.get(name).is_none() {
            return;
        }
        let kept = self.lines().filter(|line| value(line, name).is_none());
        self.lines = kept.collect::<Vec<_>>().concat();
        self.has_date &= *name != header::DATE;
    }

    /// The value of the first line of this name.
    pub fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The values of all lines of this name.
    pub fn all(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        self.lines().filter_map(move |line| value(line, name))
    }

    /// Whether there is a `Date`.
    pub fn has_date(&self) -> bool {
        self.has_date
    }

    /// Whether there has been a `RateLimit` or `RateLimit-Policy`.
    pub fn has_limits(&self) -> bool {
        self.has_limits
    }

    /// The lines as they are written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.lines
    }

    /// The lines as a map whose values share their memory.
    pub fn into_map(self) -> HeaderMap {
        to_map(&Bytes::from(self.lines))
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.split_inclusive(|byte| *byte == b'\n')
    }
}

/// Room in bytes for the fields about a limit. Without it, adding them would
/// move all lines.
const ROOM: usize = 192;

/// Copies lines out of a head, adjacent ones at once.
pub(super) struct Copying<'a> {
    head: &'a [u8],
    /// The range of lines that are still to be copied.
    run: Range<usize>,
    copied: Fields,
    /// Every line so far stands in the head exactly as it is written, with its
    /// line end.
    are_usual: bool,
}

impl<'a> Copying<'a> {
    pub(super) fn of(head: &'a [u8]) -> Self {
        Self {
            head,
            run: 0..0,
            copied: Fields::with_capacity(head.len() + ROOM),
            are_usual: true,
        }
    }

    /// Adds the next line, whose name and value are parts of the head, or
    /// leaves it out.
    pub(super) fn pass(&mut self, line: &httparse::Header<'_>, is_left_out: bool) {
        let httparse::Header { name, value } = *line;
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

    /// The lines that were added, and whether every line stood in the head
    /// exactly as it is written.
    pub(super) fn end(mut self) -> (Fields, bool) {
        self.copy_run();
        (self.copied, self.are_usual)
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

/// Header lines as a map, whose values share their memory.
pub fn to_map(lines: &Bytes) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(16);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        // The code that wrote the lines has checked them.
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_maybe_shared(lines.slice_ref(value)),
        ) {
            map.append(name, value);
        }
    }
    map
}

/// The value of a line if its field has this name.
fn value<'a>(line: &'a [u8], name: &HeaderName) -> Option<&'a [u8]> {
    let (named, rest) = line.split_at_checked(name.as_str().len())?;
    let value = rest.strip_prefix(b": ")?.strip_suffix(b"\r\n")?;
    named
        .eq_ignore_ascii_case(name.as_str().as_bytes())
        .then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        lines
            .iter()
            .for_each(|(name, value)| fields.push(name, value.as_bytes()));
        fields
    }

    #[test]
    fn every_line_of_a_name_is_removed_however_it_is_spelled_and_no_other() {
        let mut changed = fields(&[
            ("X-A", "1"),
            ("x-ab", "2"),
            ("b", "x-a: 3"),
            ("x-a", ""),
            ("c", ""),
        ]);
        changed.remove(&HeaderName::from_static("x-a"));
        assert_eq!(
            changed,
            fields(&[("x-ab", "2"), ("b", "x-a: 3"), ("c", "")])
        );
    }

    #[test]
    fn the_first_of_several_values_is_found() {
        let fields = fields(&[("vary", "a"), ("Vary", "b")]);
        assert_eq!(fields.get(&header::VARY), Some(&b"a"[..]));
        assert_eq!(fields.get(&header::AGE), None);
    }

    #[test]
    fn a_map_has_the_same_fields_in_lower_case() {
        let map = fields(&[("X-A", "1: 2"), ("b", ""), ("x-a", "3")]).into_map();
        let all: Vec<_> = map
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(all, [("x-a", "1: 2"), ("x-a", "3"), ("b", "")]);
    }

    #[test]
    fn a_date_is_noticed_and_forgotten() {
        let mut fields = fields(&[("Date", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        assert!(fields.has_date());
        fields.remove(&header::DATE);
        assert!(!fields.has_date());
    }
}
