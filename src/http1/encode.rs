//! Heads that are written, and fields in the form in which they are written.
//!
//! Everything is appended to a buffer: there is no representation of a response
//! between its parts and its bytes. [`Fields`] keeps the fields of a response
//! as text, because nothing on the way from the upstream to the client needs
//! them parsed. A route's changes are made to the text, and only HTTP/2 and
//! layers that inspect many fields turn it into a map ([`to_map`](super::to_map)).
//!
//! The functions check nothing. Names and values come from a parser or from the
//! configuration, and hold no line ends.

use std::{
    cell::RefCell,
    ops::Range,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{
    map::to_map,
    names::{FieldName, NameSet},
};
use crate::runtime::spare;

/// The reason phrase of a status in RFC 9110 or in the registry of HTTP
/// statuses; `None` if neither has it.
pub fn reason(status: StatusCode) -> Option<&'static str> {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Some("Content Too Large"),
        StatusCode::UNPROCESSABLE_ENTITY => Some("Unprocessable Content"),
        status => status.canonical_reason(),
    }
}

/// Writes a status line such as `HTTP/1.1 200 OK` with its line end. `words`
/// replace the usual reason phrase. The version is always the gateway's own
/// (RFC 9110, 2.5), also to clients of HTTP/1.0.
pub fn write_status_line(out: &mut Vec<u8>, status: StatusCode, words: Option<&str>) {
    // Of nearly all responses, and of those of a gateway that is overloaded;
    // composing them costs 110 instructions more.
    match (status, words) {
        (StatusCode::OK, None) => return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
        (StatusCode::TOO_MANY_REQUESTS, None) => {
            return out.extend_from_slice(b"HTTP/1.1 429 Too Many Requests\r\n");
        }
        _ => {}
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    let words = words.or_else(|| reason(status)).unwrap_or_default();
    out.extend_from_slice(words.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes one header line with its line end.
pub fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    write_line(out, name.as_bytes(), value);
}

/// As [`write_field`], for a name that is known to be a token.
pub(super) fn write_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes a number in decimal.
#[inline]
pub fn write_number(out: &mut Vec<u8>, number: u64) {
    // Most numbers in heads are seconds and small counts.
    if number < 10 {
        return out.push(b'0' + number as u8);
    }
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes a `date` line with the current time.
pub fn write_date(out: &mut Vec<u8>) {
    with_date(|text| write_field(out, "date", text.as_bytes()));
}

/// The current time as the value of `Date`.
pub fn date() -> HeaderValue {
    with_date(|text| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("")))
}

/// The date, formatted once in a second on each thread.
fn with_date<T>(of: impl FnOnce(&str) -> T) -> T {
    const EPOCH: SystemTime = SystemTime::UNIX_EPOCH;
    thread_local! {
        /// A second from its begin to its end, and its text.
        static TODAY: RefCell<(Range<SystemTime>, String)> =
            const { RefCell::new((EPOCH..EPOCH, String::new())) };
    }
    let now = SystemTime::now();
    TODAY.with_borrow_mut(|(second, text)| {
        // Two comparisons cost less than to count the seconds.
        if !second.contains(&now) {
            let since = now.duration_since(EPOCH).unwrap_or_default();
            let begin = EPOCH + Duration::from_secs(since.as_secs());
            *second = begin..begin + Duration::from_secs(1);
            *text = httpdate::fmt_http_date(now);
        }
        of(text)
    })
}

/// The fields of a response as they are written: lines, each with its line end,
/// in their order and with the letter case of their sender, without hop-by-hop
/// fields and without `Content-Length`.
///
/// # Examples
/// ```
/// use http::HeaderName;
/// use tidegate::http1::Fields;
///
/// let mut fields = Fields::default();
/// fields.push("X-Version", b"7");
/// fields.push_number("retry-after", 5);
/// fields.remove(&HeaderName::from_static("x-version"));
/// assert_eq!(fields.as_bytes(), b"retry-after: 5\r\n");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    lines: Vec<u8>,
    /// Whether a `Date` is among the lines.
    has_date: bool,
    /// Whether a `RateLimit` or `RateLimit-Policy` was ever among the lines.
    has_limits: bool,
    /// The value of `Content-Length`. In a response without a body it is the
    /// length of the body that a GET would get.
    pub length: Option<u64>,
}

/// The fields about limits.
const LIMITS: NameSet = NameSet::of(&[FieldName::RateLimit, FieldName::RateLimitPolicy]);

impl Fields {
    /// No fields, with room for this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self::of_lines(spare::take(bytes), NameSet::default())
    }

    /// These lines, which have these names.
    pub(super) fn of_lines(lines: Vec<u8>, names: NameSet) -> Self {
        Self {
            lines,
            has_date: names.has(FieldName::Date),
            has_limits: names.meets(LIMITS),
            length: None,
        }
    }

    /// Adds a line; `name` is a token and `value` holds no line end.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        self.note(FieldName::of(name.as_bytes()));
        write_field(&mut self.lines, name, value);
    }

    /// Adds a line of `name`, whose value `write` appends without a line end.
    pub fn push_with(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.note(FieldName::of(name.as_bytes()));
        self.lines.extend_from_slice(name.as_bytes());
        self.lines.extend_from_slice(b": ");
        write(&mut self.lines);
        self.lines.extend_from_slice(b"\r\n");
    }

    /// Adds whole lines, which `write` appends with their line ends. None of
    /// them is a `Date`, a `RateLimit` or a `RateLimit-Policy`.
    #[inline]
    pub fn push_lines(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.lines);
    }

    /// Adds the lines of a `RateLimit-Policy` and a `RateLimit`, which `write`
    /// appends with their line ends.
    #[inline]
    pub fn push_limits(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.has_limits = true;
        write(&mut self.lines);
    }

    /// Notes the fields that are looked for in nearly every response, so that
    /// its lines need not be searched for them.
    #[inline]
    fn note(&mut self, field: FieldName) {
        self.has_date |= field == FieldName::Date;
        self.has_limits |= LIMITS.has(field);
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

    /// Replaces the value of each line of this name for which `change` gives
    /// another one, which holds no line end. All lines keep their places.
    pub fn change(&mut self, name: &HeaderName, mut change: impl FnMut(&[u8]) -> Option<Vec<u8>>) {
        let (mut changed, mut at) = (None::<Vec<u8>>, 0);
        for line in self.lines() {
            let other = value(line, name).and_then(&mut change);
            if let Some(other) = other {
                let lines = changed.get_or_insert_with(|| self.lines[..at].to_vec());
                write_field(lines, name.as_str(), &other);
            } else if let Some(lines) = &mut changed {
                lines.extend_from_slice(line);
            }
            at += line.len();
        }
        if let Some(lines) = changed {
            self.lines = lines;
        }
    }

    /// Removes every line whose name begins with `prefix`, which is in lower
    /// case.
    pub fn remove_prefixed(&mut self, prefix: &[u8]) {
        let is_named = |line: &&[u8]| {
            let begin = line.get(..prefix.len());
            begin.is_some_and(|begin| begin.eq_ignore_ascii_case(prefix))
        };
        if self.lines().any(|line| is_named(&line)) {
            let kept = self.lines().filter(|line| !is_named(line));
            self.lines = kept.collect::<Vec<_>>().concat();
        }
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
    pub fn into_map(mut self) -> HeaderMap {
        to_map(
            &Bytes::from(std::mem::take(&mut self.lines)),
            NameSet::default(),
        )
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        memchr::memchr_iter(b'\n', &self.lines).map(move |end| {
            let line = &self.lines[start..=end];
            start = end + 1;
            line
        })
    }
}

impl Drop for Fields {
    fn drop(&mut self) {
        spare::give_back(std::mem::take(&mut self.lines));
    }
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
    fn values_are_changed_where_they_stand() {
        let mut changed = fields(&[("x-a", "1"), ("X-B", "2"), ("x-a", "3"), ("x-b", "4")]);
        let name = HeaderName::from_static("x-b");
        changed.change(&name, |value| (value == b"2").then(|| b"two".to_vec()));
        let lines = "x-a: 1\r\nx-b: two\r\nx-a: 3\r\nx-b: 4\r\n";
        assert_eq!(changed.as_bytes(), lines.as_bytes());
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
    fn a_date_is_noticed_and_forgotten() {
        let mut fields = fields(&[("Date", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        assert!(fields.has_date());
        fields.remove(&header::DATE);
        assert!(!fields.has_date());
    }
}
