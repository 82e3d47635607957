//! The fields of a request, as the lines that were received.
//!
//! [`Headers`] is one piece of text with a list of its lines, and not a map:
//! nearly all fields pass through the gateway unread, and a request has so few
//! of them that a walk over the list costs less than a hash. Names were
//! classified when the lines were read ([`FieldName`]), so that the gateway's
//! own questions compare numbers.
//!
//! Lines keep their order and the letter case of their names. Layers of other
//! crates get a map ([`Headers::to_map`]).

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use super::{
    encode::write_line,
    lines::RawLine,
    map,
    names::{FieldName, NameSet},
};

/// The most lines for which there is room from the begin; longer lists grow.
/// Most browsers send fewer.
const ROOM: usize = 16;
/// Bytes of text for which there is room from the begin, where it is not that
/// of a head: more than most requests have.
const TEXT: usize = 512;

/// The fields of a request, in any version of HTTP.
///
/// # Examples
/// ```
/// use tidegate::http1::Headers;
///
/// let headers = Headers::from_iter([("Accept", "text/html"), ("X-A", "1"), ("x-a", "2")]);
/// assert_eq!(headers.get(&http::header::ACCEPT), Some(&b"text/html"[..]));
/// let name = http::HeaderName::from_static("x-a");
/// assert!(headers.all(&name).eq([b"1", b"2"]));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Headers {
    /// The text of which all lines are ranges.
    text: Bytes,
    lines: Vec<HeaderLine>,
    /// The names among the lines.
    names: NameSet,
    /// Whether some names contain `_`, which services with CGI or WSGI take for
    /// `-`.
    pub has_underscores: bool,
    /// Lines that were dropped because their names contain `_`.
    pub dropped: usize,
}

/// One line, as offsets into the text.
#[derive(Debug, Clone, Copy)]
struct HeaderLine {
    start: u32,
    value: u32,
    value_end: u32,
    /// Bytes of the name.
    name_length: u16,
    field: FieldName,
    /// Whether the line stands in the text as it is written.
    is_usual: bool,
}

/// A field of a request.
#[derive(Debug, Clone, Copy)]
pub struct HeaderField<'h> {
    /// The name, classified.
    pub field: FieldName,
    /// The name as received, a token.
    pub name: &'h [u8],
    /// The value, without blanks around it.
    pub value: &'h [u8],
}

impl HeaderField<'_> {
    /// Whether this is the name of the field, in any letter case.
    #[inline]
    fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

impl Headers {
    /// No lines yet, all of which will be ranges of the text that
    /// [`over`](Self::over) is given.
    pub(super) fn begin() -> Self {
        Self {
            lines: Vec::with_capacity(ROOM),
            ..Self::default()
        }
    }

    /// Adds a line, whose name is a token. Returns the name, or
    /// `None` for a line that is dropped: its name contains `_`, which the
    /// listener does not keep (`keeps_underscores`).
    ///
    /// Names are at most 65,535 bytes long, and heads 4 GiB: the bounds of
    /// listeners are far below.
    #[inline]
    pub(super) fn add(&mut self, line: RawLine<'_>, keeps_underscores: bool) -> Option<FieldName> {
        if line.has_underscore {
            if !keeps_underscores {
                self.dropped += 1;
                return None;
            }
            self.has_underscores = true;
        }
        let field = FieldName::of_request(line.name);
        self.names = self.names.and(field);
        self.lines.push(HeaderLine {
            start: line.start as u32,
            value: line.value_start as u32,
            value_end: (line.value_start + line.value.len()) as u32,
            name_length: line.name.len() as u16,
            field,
            is_usual: line.is_usual,
        });
        Some(field)
    }

    /// The lines that were added, over the text that they are ranges of.
    pub(super) fn over(self, text: Bytes) -> Self {
        Self { text, ..self }
    }

    /// The number of lines, those that were dropped not counted.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// All fields, in their order.
    #[inline]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = HeaderField<'_>> {
        self.lines.iter().map(|line| self.field(line))
    }

    #[inline]
    fn field(&self, line: &HeaderLine) -> HeaderField<'_> {
        let start = line.start as usize;
        HeaderField {
            field: line.field,
            name: &self.text[start..start + usize::from(line.name_length)],
            value: &self.text[line.value as usize..line.value_end as usize],
        }
    }

    /// Whether there is a field of this name; not to be asked for
    /// [`FieldName::Other`].
    #[inline]
    pub fn has(&self, name: FieldName) -> bool {
        self.names.has(name)
    }

    /// The values of all fields of this name, in their order.
    #[inline]
    pub fn known(&self, name: FieldName) -> impl DoubleEndedIterator<Item = &[u8]> {
        let lines: &[HeaderLine] = if self.has(name) { &self.lines } else { &[] };
        lines
            .iter()
            .filter(move |line| line.field == name)
            .map(|line| &self.text[line.value as usize..line.value_end as usize])
    }

    /// The value of the only field of this name; `None` if there is none, or
    /// several.
    pub fn only(&self, name: FieldName) -> Option<&[u8]> {
        let mut values = self.known(name);
        let value = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// The value of the first field of this name.
    pub fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The values of all fields of this name, in their order.
    #[inline]
    pub fn all(&self, name: &HeaderName) -> impl DoubleEndedIterator<Item = &[u8]> {
        let name = name.as_str().as_bytes();
        self.iter()
            .filter(move |field| field.is(name))
            .map(|field| field.value)
    }

    /// Whether there is a field of one of these names.
    #[inline]
    pub fn has_any(&self, names: NameSet) -> bool {
        self.names.meets(names)
    }

    /// Removes the fields of which `is_kept` is false. Returns their number.
    pub fn retain(&mut self, is_kept: impl Fn(&HeaderField<'_>) -> bool) -> usize {
        let before = self.lines.len();
        let lines = std::mem::take(&mut self.lines);
        let kept = lines.into_iter().filter(|line| is_kept(&self.field(line)));
        let kept: Vec<_> = kept.collect();
        self.names = NameSet::default();
        for line in &kept {
            self.names = self.names.and(line.field);
        }
        self.lines = kept;
        before - self.lines.len()
    }

    /// Writes all fields as lines of HTTP/1, but those whose names are in
    /// `held`.
    ///
    /// Neighbours that stand in the text as they are written are copied as one
    /// piece, so that most lines cost no look at the text.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, held: NameSet) {
        self.write_lines(out, |line| !held.has(line.field));
    }

    /// As [`write`](Self::write), without the fields of which `is_held` is true
    /// besides.
    pub fn write_some(
        &self,
        out: &mut Vec<u8>,
        held: NameSet,
        is_held: impl Fn(&HeaderField<'_>) -> bool,
    ) {
        self.write_lines(out, |line| {
            !held.has(line.field) && !is_held(&self.field(line))
        });
    }

    #[inline]
    fn write_lines(&self, out: &mut Vec<u8>, passes: impl Fn(&HeaderLine) -> bool) {
        let mut run = 0..0;
        for line in self.lines.iter().filter(|line| passes(line)) {
            // Where the line of a usual form ends: its value is followed by CR
            // LF.
            let (start, end) = (line.start as usize, line.value_end as usize + 2);
            if line.is_usual && start == run.end {
                run.end = end;
                continue;
            }
            out.extend_from_slice(&self.text[run]);
            run = if line.is_usual {
                start..end
            } else {
                let field = self.field(line);
                write_line(out, field.name, field.value);
                0..0
            };
        }
        out.extend_from_slice(&self.text[run]);
    }

    /// The bytes that [`write`](Self::write) needs at most.
    pub fn written_length(&self) -> usize {
        // Four bytes more at most for a line without blanks.
        self.text.len() + 4 * self.lines.len()
    }

    /// The fields as a map, whose values share the memory of the text.
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(self.lines.len());
        for field in self.iter() {
            let value = self.text.slice_ref(field.value);
            map::append(&mut map, field.field, field.name, value);
        }
        map
    }
}

impl Headers {
    /// Fields that were not read from a head of HTTP/1: names are tokens, and
    /// values hold no line ends and no blanks around them. Fields with `_` in
    /// their names are dropped unless `keeps_underscores`.
    pub fn collect<N, V>(fields: impl IntoIterator<Item = (N, V)>, keeps_underscores: bool) -> Self
    where
        N: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let (mut headers, mut text) = (Self::begin(), Vec::with_capacity(TEXT));
        for (name, value) in fields {
            let (name, value) = (name.as_ref(), value.as_ref());
            let start = text.len();
            write_line(&mut text, name, value);
            let line = RawLine {
                start,
                name,
                value_start: start + name.len() + 2,
                value,
                is_usual: true,
                has_underscore: name.contains(&b'_'),
            };
            headers.add(line, keeps_underscores);
        }
        headers.over(text.into())
    }
}

/// As [`Headers::collect`], with all fields.
impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        Self::collect(fields, true)
    }
}
