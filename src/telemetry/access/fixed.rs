//! Fields of access lines that are the same for many requests: the name of a
//! listener, a route, a limit, a server.
//!
//! Their values are known long before a line is written, so the text of such
//! fields is made once, by the first line that has them, together with the
//! constant text around them, and copied by all others. Each form of a line
//! spells them differently; a process writes one form, and the text of the
//! other is never made.

use std::sync::{Arc, OnceLock};

use super::pen::{AT_ONCE, LineText, Pen};

/// Fields with values from the configuration, side by side in each line that
/// has them.
#[derive(Debug)]
pub struct FixedFields {
    /// The values, which need no escapes.
    values: Box<[Arc<str>]>,
    /// Their text in a JSON object.
    json: OnceLock<Box<FixedText>>,
    /// Their text as `key=value`.
    text: OnceLock<Box<FixedText>>,
}

/// Writes the fields with these values in one form of a line, with the constant
/// text that is always around them.
type Spelling = for<'a> fn(&[Arc<str>], Pen<'a>) -> Pen<'a>;

impl FixedFields {
    /// The field of a listener.
    pub fn listener(name: Arc<str>) -> Self {
        Self::new([name].into())
    }

    /// The field of a route.
    pub fn route(name: Arc<str>) -> Self {
        Self::new([name].into())
    }

    /// The field of a limit.
    pub fn limit(name: Arc<str>) -> Self {
        Self::new([name].into())
    }

    /// The fields of a server of an upstream, by its URL.
    pub fn server(upstream: Arc<str>, url: Arc<str>) -> Self {
        Self::new([upstream, url].into())
    }

    fn new(values: Box<[Arc<str>]>) -> Self {
        Self {
            values,
            json: OnceLock::new(),
            text: OnceLock::new(),
        }
    }

    /// The first value: the name of a listener, a route or a limit, the upstream
    /// of a server.
    pub fn name(&self) -> &str {
        self.values.first().map_or("", |value| value)
    }

    /// The URL of a server; empty for all others.
    pub fn url(&self) -> &str {
        self.values.get(1).map_or("", |value| value)
    }

    /// Writes the fields into a JSON object. The first call spells them.
    #[inline(always)]
    pub(super) fn write_json(&self, spelling: Spelling, pen: &mut Pen<'_>) {
        let piece = self.json.get_or_init(|| self.render(spelling));
        piece.write(pen);
    }

    /// Writes the pairs into a text line. The first call spells them.
    #[inline(always)]
    pub(super) fn write_text(&self, spelling: Spelling, pen: &mut Pen<'_>) {
        let piece = self.text.get_or_init(|| self.render(spelling));
        piece.write(pen);
    }

    #[cold]
    #[inline(never)]
    fn render(&self, spelling: Spelling) -> Box<FixedText> {
        let mut lines = LineText::default();
        lines.append(0, |pen| spelling(&self.values, pen));
        Box::new(FixedText::new(lines.as_slice()))
    }
}

/// A text that is usually copied as one block, with the padding behind it.
#[derive(Debug)]
struct FixedText {
    /// The first bytes of the text.
    first: [u8; AT_ONCE],
    /// How many of them are text.
    length: usize,
    /// The rest of the text; usually empty.
    rest: Box<[u8]>,
}

impl FixedText {
    fn new(text: &[u8]) -> Self {
        let length = text.len().min(AT_ONCE);
        let (begin, rest) = text.split_at(length);
        let mut first = [0; AT_ONCE];
        first[..length].copy_from_slice(begin);
        Self {
            first,
            length,
            rest: rest.into(),
        }
    }

    #[inline(always)]
    fn write(&self, pen: &mut Pen<'_>) {
        pen.begin_of(&self.first, self.length);
        if !self.rest.is_empty() {
            *pen = self.write_rest(pen.lend());
        }
    }

    #[cold]
    #[inline(never)]
    fn write_rest<'a>(&self, mut pen: Pen<'a>) -> Pen<'a> {
        pen.text(&self.rest);
        pen
    }
}
