//! A mistake of grammar: where it is, and which lines it spoils.
//!
//! The parser says where it stopped, which is often far behind the mistake: a
//! list or quote that is not closed is noticed at the next key, or at the end
//! of the file. A [`Mistake`] points at the place where a person would look,
//! and its lines are those that have to go for the rest to make sense again:
//!
//! * within a value, the lines of that value;
//! * in a list that is not closed, the lines up to the next key or header;
//! * in a header, the whole section, as nobody knows whose keys those are;
//! * elsewhere, the line.
//!
//! Only the first mistake of a pass is made into one of these. The others may
//! follow from it, and the next pass finds those that do not, once the lines of
//! the first are blanked.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue, Error},
};

use super::{
    super::{
        problem::{Code, Problem},
        source::{Source, Span},
    },
    line::{BrokenLine, Slip},
    slips,
};

/// The message for a list that is not closed. The parser would complain about
/// the key behind it.
const NOT_CLOSED: &str = "the list is not closed, expected `]`";

/// Help for a mistake that no slip explains, by words of the parser.
const HELP: [[&str; 2]; 4] = [
    ["must be quoted", "put the value in quotes, such as \"10s\""],
    [
        "duplicate key",
        "a key or table is given once; keep one of the two",
    ],
    [NOT_CLOSED, "write `]` behind its last value"],
    ["unclosed inline table", "write `}` behind its last value"],
];

/// One mistake of grammar.
pub(super) struct Mistake {
    /// Bytes that the caret points at.
    at: Range<usize>,
    /// The words of the parser, or those for a list that is not closed.
    message: String,
    /// Bytes that make no sense any more: whole lines.
    pub(super) lines: Range<usize>,
}

impl Mistake {
    /// The mistake nearest to the beginning of the text; `None` if the parser
    /// found none.
    ///
    /// `table` is all that the parser could read, and serves to find the value
    /// around the mistake. `source` may be the text before lines of it were
    /// blanked: their places are the same.
    pub(super) fn first(source: &Source, table: &DeTable<'_>, errors: &[Error]) -> Option<Self> {
        let error = errors.iter().min_by_key(|error| place(error).start)?;
        let at = place(error);
        let message = error.message().to_owned();
        let mut values = Vec::new();
        add_values(table, &mut values);
        let is_around = |value: &&Range<usize>| value.contains(&at.start) || value.end == at.start;
        let Some(value) = values.iter().find(is_around) else {
            let lines = section_or_line(source, source.line_of(at.start));
            return Some(Self { at, message, lines });
        };
        let is_key_inside = |error: &&Error| {
            value.contains(&place(error).start) && error.message().contains("`=` in array")
        };
        let keys_inside = errors.iter().filter(is_key_inside);
        if let Some(key) = keys_inside.map(|error| place(error).start).min() {
            return Some(Self::open_list(source, value.start, key));
        }
        let lines = whole_lines(source, value.start.min(at.start)..value.end.max(at.end));
        // A bracket or quote that stays open to the end of the file is a
        // mistake where it opens.
        let is_open = at.start >= source.text.trim_end().len();
        let at = match is_open {
            true => rest_of_line(source, value.start),
            false => at,
        };
        Some(Self { at, message, lines })
    }

    /// A list from `start` with a key inside was never closed: the mistake is
    /// where it opens, not at the line of the key.
    ///
    /// `start` is the first byte of the list, `key` that of the key inside of
    /// it.
    fn open_list(source: &Source, start: usize, key: usize) -> Self {
        let (first, next) = (source.line_of(start), source.line_of(key));
        // Headers in between were read as lists within the list.
        let header = (first + 1..next).find(|line| is_header_line(source, *line));
        let next = source.line(header.unwrap_or(next)).start;
        let lines = source.line(first).start..next.max(start + 1);
        Self {
            at: rest_of_line(source, start),
            message: NOT_CLOSED.to_owned(),
            lines: whole_lines(source, lines),
        }
    }

    /// An explanation of the line in which the parser stopped, if one is known.
    /// A value that began on a line before brings its key along.
    pub(super) fn slip(&self, source: &Source) -> Option<Slip> {
        let line = source.line_of(self.at.start);
        let start = source.line(line).start;
        let first = source.line_text(source.line_of(self.lines.start));
        let key = first
            .split_once('=')
            .map(|(key, _)| key.trim().trim_matches(['"', '\'']))
            .filter(|_| self.lines.start < start);
        slips::explain(&BrokenLine::new(
            source.line_text(line).trim_end_matches(['\n', '\r']),
            self.at.start - start,
            &self.message,
            key,
        ))
    }

    /// The mistake as it is reported: with the words of `slip`, or else with
    /// those of the parser.
    pub(super) fn problem(&self, file: u32, slip: Option<Slip>) -> Problem {
        let mut of_parser = HELP.into_iter();
        let of_parser = of_parser.find(|[words, _]| self.message.contains(words));
        let (why, help) = match slip {
            Some(slip) => (slip.why, Some(slip.help)),
            None => (
                self.message.clone(),
                of_parser.map(|[_, help]| help.to_owned()),
            ),
        };
        let at = Span::new(file, self.at.clone());
        let problem = Problem::new(Code::Syntax, at, format!("this is not TOML: {why}"));
        Problem { help, ..problem }
    }
}

/// The bytes that the parser points at; the beginning of the text if it names
/// none.
fn place(error: &Error) -> Range<usize> {
    error.span().unwrap_or_default()
}

/// Adds the places of all values that stand beside a key at the start of a
/// line. A table or list that consists of headers has no place of its own: its
/// values are added one by one.
fn add_values(table: &DeTable<'_>, values: &mut Vec<Range<usize>>) {
    for (_, value) in table.iter() {
        match value.get_ref() {
            DeValue::Table(inner) if !is_inline(inner, &value.span()) => add_values(inner, values),
            DeValue::Array(items) if items.iter().all(|item| is_header(item, &value.span())) => {
                let tables = items.iter().filter_map(|item| item.get_ref().as_table());
                tables.for_each(|inner| add_values(inner, values));
            }
            _ => values.push(value.span()),
        }
    }
}

/// Whether a table is written `{ ... }`: then its keys lie within it, while a
/// header's or dotted key's lie behind.
fn is_inline(table: &DeTable<'_>, span: &Range<usize>) -> bool {
    let first = table.iter().next();
    first.is_some_and(|(key, _)| span.contains(&key.span().start) && *span != key.span())
}

/// Whether an item of the list at `list` is a table of its own, below
/// `[[...]]`.
fn is_header(item: &Spanned<DeValue<'_>>, list: &Range<usize>) -> bool {
    let table = item.get_ref().as_table();
    item.span() == *list || table.is_some_and(|table| !is_inline(table, &item.span()))
}

/// `[name]` or `[[name]]`, alone on its line, and no item of a list.
fn is_header_line(source: &Source, line: usize) -> bool {
    let text = bare(source, line);
    let name = section_of(source, line).unwrap_or_default();
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.ends_with(']')
        && !text.contains(['"', '\'', ','])
}

/// The line; if it is a header, everything under it, tables below it included:
/// whose keys those are is unknown.
fn section_or_line(source: &Source, line: usize) -> Range<usize> {
    let mut lines = source.line(line);
    let Some(name) = section_of(source, line) else {
        return lines;
    };
    for next in line + 1.. {
        let bytes = source.line(next);
        let is_other = section_of(source, next)
            .is_some_and(|other| other != name || bare(source, next).starts_with("[["));
        if bytes.is_empty() || is_other {
            break;
        }
        lines.end = bytes.end;
    }
    lines
}

/// The first part of the name in a header; `None` for another line.
fn section_of(source: &Source, line: usize) -> Option<&str> {
    let line = bare(source, line);
    let inside = line.trim_start_matches('[');
    (inside.len() < line.len()).then(|| inside.split([']', '.', ' ']).next().unwrap_or_default())
}

/// A line without the blanks around it. A sign before the bracket that nobody
/// sees counts as one.
fn bare(source: &Source, line: usize) -> &str {
    let is_blank = |c: char| c.is_whitespace() || !c.is_ascii();
    source.line_text(line).trim_matches(is_blank)
}

/// From a byte to the end of its line.
fn rest_of_line(source: &Source, start: usize) -> Range<usize> {
    start..source.line(source.line_of(start)).end
}

/// The lines that hold these bytes, from the beginning of the first to the end
/// of the last.
fn whole_lines(source: &Source, bytes: Range<usize>) -> Range<usize> {
    let start = source.line(source.line_of(bytes.start)).start;
    let last = source.line_of(bytes.end.saturating_sub(1).max(bytes.start));
    start..source.line(last).end
}
