//! TOML text into a [`Table`], past its mistakes: what is broken is reported
//! and left out, the rest is still read.

use std::ops::Range;

use toml::de::{DeTable, DeValue, Error};

use super::{
    environment::{self, Environment},
    foreign::{self, Foreign},
    problem::{Code, Problem, Problems},
    slips::{self, Line},
    source::{Source, Span},
    tree::{Entry, Node, Table, Text, Value},
};

/// Mistakes of grammar reported for one file. Each costs another parse, and
/// nobody reads more at once.
const MOST_SYNTAX_ERRORS: usize = 50;

const NOT_CLOSED: &str = "the list is not closed, expected `]`";

/// Reads one file. After a mistake of grammar its lines are blanked and the
/// text is parsed again, so that one open bracket neither hides nor invents
/// mistakes further down.
pub(super) fn parse(
    file: usize,
    source: &Source,
    environment: &Environment,
    problems: &mut Problems,
) -> Table {
    let mut text = source.text.clone();
    for _ in 0..MOST_SYNTAX_ERRORS {
        let (table, errors) = DeTable::parse_recoverable(&text);
        let Some(mistake) = Mistake::first(source, table.get_ref(), &errors) else {
            return Reading {
                file,
                environment,
                problems,
            }
            .table(table.get_ref());
        };
        drop(table);
        problems.incomplete = true;
        if let Some(foreign) = foreign::look(&source.text) {
            problems.report(as_a_whole(file, source, foreign));
            break;
        }
        problems.unread.push(Span {
            file,
            start: mistake.lines.start,
            end: mistake.lines.end,
        });
        let slip = mistake.slip(source);
        // Before the line itself is gone, which may open a comment of several.
        if let Some(sign) = slip.as_ref().and_then(|slip| slip.comment) {
            text = without_comments(&text, sign);
        }
        text = blanked(&text, mistake.lines.clone());
        problems.report(mistake.problem(file, slip));
    }
    problems.unread.push(Span {
        file,
        start: 0,
        end: text.len(),
    });
    Table::default()
}

/// A file that is meant for something else: one mistake, and not one for each
/// line.
fn as_a_whole(file: usize, source: &Source, foreign: Foreign) -> Problem {
    let line = source.line(foreign.line);
    let text = source.text.get(line.clone()).unwrap_or_default();
    let start = line.start + (text.len() - text.trim_start().len());
    let end = line.start + text.trim_end().len();
    Problem::new(
        Code::Syntax,
        Span {
            file,
            start,
            end: end.max(start),
        },
        foreign.why,
    )
    .help(foreign.help)
}

/// The text with blanks for the lines that begin so: the other lines with the
/// same mistake.
fn without_comments(text: &str, sign: &str) -> String {
    let closing = match sign {
        "/*" => Some("*/"),
        "<!--" => Some("-->"),
        _ => None,
    };
    let mut is_open = false;
    let line = |line: &str| {
        let is_comment = is_open || line.trim_start().starts_with(sign);
        is_open = is_comment && closing.is_some_and(|closing| !line.contains(closing));
        if !is_comment {
            return line.to_owned();
        }
        line.bytes()
            .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
            .collect()
    };
    text.split_inclusive('\n').map(line).collect()
}

/// One mistake of grammar.
struct Mistake {
    at: Range<usize>,
    message: String,
    /// Bytes that make no sense any more.
    lines: Range<usize>,
}

impl Mistake {
    fn first(source: &Source, table: &DeTable<'_>, errors: &[Error]) -> Option<Self> {
        let at = |error: &Error| error.span().unwrap_or(0..0);
        let error = errors.iter().min_by_key(|error| at(error).start)?;
        let around = entries(table)
            .find(|entry| entry.contains(&at(error).start) || entry.end == at(error).start);
        let Some(value) = around else {
            let lines = section_or_line(source, source.line_of(at(error).start));
            return Some(Self {
                at: at(error),
                message: error.message().to_owned(),
                lines,
            });
        };
        // A key inside a list means that the list was never closed: the mistake
        // is there, not at the next line.
        let inside = |error: &&Error| {
            value.contains(&at(error).start) && error.message().contains("`=` in array")
        };
        match errors
            .iter()
            .filter(inside)
            .min_by_key(|error| at(error).start)
        {
            Some(next_key) => {
                let next = source.line_of(at(next_key).start);
                let first = source.line_of(value.start);
                // Headers in between were read as lists within the list.
                let next = (first + 1..next)
                    .find(|line| is_header_line(source, *line))
                    .unwrap_or(next);
                let lines = source.line(first).start..source.line(next).start.max(value.start + 1);
                let end = source.line(source.line_of(value.start)).end;
                let message = NOT_CLOSED.to_owned();
                Some(Self {
                    at: value.start..end,
                    message,
                    lines: whole_lines(source, lines),
                })
            }
            None => {
                let at = at(error);
                let lines = whole_lines(source, value.start.min(at.start)..value.end.max(at.end));
                // A bracket or quote that stays open to the end of the file is
                // a mistake where it opens.
                let open = at.start >= source.text.trim_end().len();
                let at = if open {
                    value.start..source.line(source.line_of(value.start)).end
                } else {
                    at
                };
                Some(Self {
                    at,
                    message: error.message().to_owned(),
                    lines,
                })
            }
        }
    }

    /// The line as somebody sees it who knows what people write.
    fn slip(&self, source: &Source) -> Option<slips::Slip> {
        let bytes = source.line(source.line_of(self.at.start));
        let line = source
            .text
            .get(bytes.clone())?
            .trim_end_matches(['\n', '\r']);
        let first = source
            .text
            .get(source.line(source.line_of(self.lines.start)))
            .unwrap_or_default();
        let key = first
            .split_once('=')
            .map(|(key, _)| key.trim().trim_matches(['"', '\'']));
        let key = key.filter(|_| self.lines.start < bytes.start);
        slips::explain(Line {
            text: line,
            at: self.at.start - bytes.start,
            message: &self.message,
            key,
        })
    }

    fn problem(&self, file: usize, slip: Option<slips::Slip>) -> Problem {
        let span = Span {
            file,
            start: self.at.start,
            end: self.at.end,
        };
        if let Some(slip) = slip {
            return Problem::new(
                Code::Syntax,
                span,
                format!("this is not TOML: {}", slip.why),
            )
            .help(slip.help);
        }
        let problem = Problem::new(
            Code::Syntax,
            span,
            format!("this is not TOML: {}", self.message),
        );
        if self.message.contains("must be quoted") {
            problem.help("put the value in quotes, such as \"10s\"")
        } else if self.message.contains("duplicate key") {
            problem.help("a key or table is given once; keep one of the two")
        } else if self.message == NOT_CLOSED {
            problem.help("write `]` behind its last value")
        } else if self.message.contains("unclosed inline table") {
            problem.help("write `}` behind its last value")
        } else {
            problem
        }
    }
}

/// Places of all values that stand beside a key at the start of a line, in no
/// order.
fn entries<'a>(table: &'a DeTable<'_>) -> Box<dyn Iterator<Item = Range<usize>> + 'a> {
    Box::new(
        table
            .iter()
            .flat_map(|(_, value)| -> Box<dyn Iterator<Item = Range<usize>>> {
                match value.get_ref() {
                    DeValue::Table(inner) if !is_inline(inner, &value.span()) => entries(inner),
                    DeValue::Array(items)
                        if items
                            .iter()
                            .all(|item| item.span() == value.span() || is_header(item)) =>
                    {
                        Box::new(
                            items
                                .iter()
                                .filter_map(|item| item.get_ref().as_table())
                                .flat_map(entries),
                        )
                    }
                    _ => Box::new(std::iter::once(value.span())),
                }
            }),
    )
}

/// Whether a table is written `{ ... }`: then its keys lie within it, while a
/// header's or dotted key's lie behind.
fn is_inline(table: &DeTable<'_>, span: &Range<usize>) -> bool {
    table
        .iter()
        .next()
        .is_some_and(|(key, _)| span.contains(&key.span().start) && *span != key.span())
}

fn is_header(item: &toml::Spanned<DeValue<'_>>) -> bool {
    item.get_ref()
        .as_table()
        .is_some_and(|table| !is_inline(table, &item.span()))
}

/// `[name]` or `[[name]]`, alone on its line.
fn is_header_line(source: &Source, line: usize) -> bool {
    let text = source
        .text
        .get(source.line(line))
        .unwrap_or_default()
        .trim();
    let name = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let name = name.map(|name| {
        name.strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
            .unwrap_or(name)
    });
    name.is_some_and(|name| {
        name.starts_with(|c: char| c.is_ascii_alphabetic()) && !name.contains(['"', '\'', ','])
    })
}

/// The line; if it is a header, everything under it, tables below it included:
/// whose keys those are is unknown.
fn section_or_line(source: &Source, line: usize) -> Range<usize> {
    // A sign that nobody sees, before the bracket, is no part of the name.
    let is_blank = |c: char| c.is_whitespace() || !c.is_ascii();
    let text = |line: usize| {
        source
            .text
            .get(source.line(line))
            .unwrap_or_default()
            .trim_matches(is_blank)
    };
    let name = |line: usize| {
        text(line)
            .trim_start_matches('[')
            .split([']', '.', ' '])
            .next()
            .unwrap_or_default()
    };
    let mut lines = source.line(line);
    if !text(line).starts_with('[') {
        return lines;
    }
    let mut next = line + 1;
    while !source.line(next).is_empty() {
        let other = text(next).starts_with('[')
            && (text(next).starts_with("[[") || name(next) != name(line));
        if other {
            break;
        }
        lines.end = source.line(next).end;
        next += 1;
    }
    lines
}

fn whole_lines(source: &Source, bytes: Range<usize>) -> Range<usize> {
    let start = source.line(source.line_of(bytes.start)).start;
    let last = source.line_of(bytes.end.saturating_sub(1).max(bytes.start));
    start..source.line(last).end
}

/// The text with spaces in place of these bytes: every other place keeps its
/// number.
fn blanked(text: &str, bytes: Range<usize>) -> String {
    let blank = |(at, c): (usize, char)| {
        let (c, times) = if bytes.contains(&at) && c != '\n' {
            (' ', c.len_utf8())
        } else {
            (c, 1)
        };
        std::iter::repeat_n(c, times)
    };
    text.char_indices().flat_map(blank).collect()
}

/// Turns parsed values into ours.
struct Reading<'a> {
    file: usize,
    environment: &'a Environment,
    problems: &'a mut Problems,
}

impl Reading<'_> {
    fn table(&mut self, table: &DeTable<'_>) -> Table {
        let entry = |(key, value): (&toml::Spanned<_>, _)| {
            let name = String::from(std::borrow::Cow::clone(key.get_ref()));
            (
                name,
                Entry {
                    key: self.span(key.span()),
                    node: self.node(value),
                    inherited: false,
                },
            )
        };
        Table {
            entries: table.iter().map(entry).collect(),
        }
    }

    fn node(&mut self, value: &toml::Spanned<DeValue<'_>>) -> Node {
        let span = self.span(value.span());
        let value = match value.get_ref() {
            DeValue::String(text) => self.text(text, span),
            DeValue::Integer(number) => {
                let digits = number.as_str().replace('_', "");
                i64::from_str_radix(&digits, number.radix())
                    .map_or_else(|_| self.too_large(span), Value::Whole)
            }
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Float(_) => Value::Foreign("a number with a fraction"),
            DeValue::Datetime(_) => Value::Foreign("a date or time"),
            DeValue::Array(items) => {
                Value::List(items.iter().map(|item| self.node(item)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { span, value }
    }

    fn text(&mut self, text: &str, span: Span) -> Value {
        match environment::fill_in(text, self.environment) {
            Ok(filled) => {
                let written = (filled != text).then(|| text.to_owned());
                Value::Text(Text {
                    text: filled,
                    written,
                })
            }
            Err(wrong) => {
                self.problems
                    .report(Problem::new(Code::Environment, span, wrong.why).help(wrong.help));
                Value::Broken
            }
        }
    }

    fn too_large(&mut self, span: Span) -> Value {
        let help = "whole numbers go up to 9223372036854775807";
        self.problems
            .report(Problem::new(Code::BadValue, span, "this number is too large").help(help));
        Value::Broken
    }

    fn span(&self, bytes: Range<usize>) -> Span {
        Span {
            file: self.file,
            start: bytes.start,
            end: bytes.end,
        }
    }
}
