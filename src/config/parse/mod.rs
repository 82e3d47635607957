//! TOML text into a [`Table`], past its mistakes: broken text is reported and
//! left out, the rest is still read.
//!
//! The grammar is that of the `toml` crate. Its recoverable parser goes on
//! after a mistake, but guesses badly: behind a list that is not closed, each
//! further line is a mistake within that list. So only the first mistake of a
//! pass is believed. The lines that it spoils are blanked and the text is
//! parsed again, until a pass finds nothing or [`MOST_SYNTAX_ERRORS`] are
//! reported. Blanks keep the number of bytes, so that every place found later
//! is one of the original text.
//!
//! Two marks tell the later steps what was lost. [`Problems::incomplete`] keeps
//! them from reporting a key as missing that may stand in spoilt text, and
//! [`Problems::unread`] has those lines shown without anything that could be a
//! secret, as nobody knows which value belongs to which key.
//!
//! `mistake` decides which lines are spoilt, `slips` and `values` explain a
//! line in words that help, and `foreign` recognises files that are not meant
//! to be TOML at all.

mod foreign;
mod line;
mod mistake;
mod slips;
mod values;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use self::{foreign::Foreign, mistake::Mistake};
use super::{
    characters::mask,
    environment::{self, Environment},
    problem::{Code, Problem, Problems},
    source::{Source, Span},
    tree::{Entry, Node, Table, Text, Value},
};

/// Mistakes of grammar reported for one file. Each costs another parse, and
/// nobody reads more at once.
const MOST_SYNTAX_ERRORS: usize = 50;

/// Reads one file into a tree in which each value has its place.
///
/// `file` is the number of `source` in [`Sources`](super::source::Sources).
/// References such as `${NAME}` are replaced from `environment`. Every mistake
/// is reported to `problems`: those of grammar, variables that are not set, and
/// numbers that 64 bits do not hold. A value with one of the latter two is
/// [`Value::Broken`]. A file that is meant for something else, or has too many
/// mistakes of grammar, counts as empty.
pub(super) fn parse(
    file: u32,
    source: &Source,
    environment: &Environment,
    problems: &mut Problems,
) -> Table {
    let mut text = source.text.clone();
    for number in 0..MOST_SYNTAX_ERRORS {
        let (table, errors) = DeTable::parse_recoverable(&text);
        let Some(mistake) = Mistake::first(source, table.get_ref(), &errors) else {
            let mut reading = TreeReader {
                file,
                environment,
                problems,
            };
            return reading.table(table.get_ref());
        };
        drop(table);
        problems.incomplete = true;
        if number == 0
            && let Some(foreign) = foreign::look(&source.text)
        {
            problems.report(as_a_whole(file, source, foreign));
            break;
        }
        problems.unread.push(Span::new(file, mistake.lines.clone()));
        let slip = mistake.slip(source);
        // Before the line itself is gone, which may open a comment of several.
        if let Some(sign) = slip.as_ref().and_then(|slip| slip.comment) {
            blank_comments(&mut text, sign);
        }
        mask(&mut text, mistake.lines.clone(), ' ', b"\n");
        problems.report(mistake.problem(file, slip));
    }
    problems.unread.push(Span::new(file, 0..text.len()));
    Table::default()
}

/// A file that is meant for something else: one mistake, and not one for each
/// line.
fn as_a_whole(file: u32, source: &Source, foreign: Foreign) -> Problem {
    let start = source.line(foreign.line).start;
    let text = source.line_text(foreign.line);
    let from = start + (text.len() - text.trim_start().len());
    let to = start + text.trim_end().len();
    let at = Span::new(file, from..to.max(from));
    Problem::new(Code::Syntax, at, foreign.why).help(foreign.help)
}

/// Puts blanks in the place of the lines that begin with this sign of a
/// comment: the other lines with the same mistake.
fn blank_comments(text: &mut String, sign: &str) {
    let closing = match sign {
        "/*" => Some("*/"),
        "<!--" => Some("-->"),
        _ => None,
    };
    let (mut start, mut is_open) = (0, false);
    for line in text.clone().split_inclusive('\n') {
        let is_comment = is_open || line.trim_start().starts_with(sign);
        is_open = is_comment && closing.is_some_and(|closing| !line.contains(closing));
        if is_comment {
            mask(text, start..start + line.len(), ' ', b"\n");
        }
        start += line.len();
    }
}

/// Turns parsed values into those of the tree, with the environment filled in.
///
/// The tree has fewer types than TOML: the language has no use for dates and
/// times, which become [`Value::Foreign`] with a name for messages.
struct TreeReader<'a> {
    file: u32,
    environment: &'a Environment,
    problems: &'a mut Problems,
}

impl TreeReader<'_> {
    fn table(&mut self, table: &DeTable<'_>) -> Table {
        let mut read = Table::default();
        for (key, value) in table.iter() {
            let entry = Entry {
                key: Span::new(self.file, key.span()),
                node: self.node(value),
                inherited: false,
            };
            read.insert(key.get_ref(), entry);
        }
        read
    }

    fn node(&mut self, value: &Spanned<DeValue<'_>>) -> Node {
        let span = Span::new(self.file, value.span());
        let value = match value.get_ref() {
            DeValue::String(text) => self.text(text, span),
            DeValue::Integer(number) => {
                let digits = number.as_str().replace('_', "");
                i64::from_str_radix(&digits, number.radix())
                    .map_or_else(|_| self.too_large(span), Value::Whole)
            }
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Float(number) => {
                Value::Decimal(number.as_str().replace('_', "").parse().unwrap_or(f64::NAN))
            }
            DeValue::Datetime(_) => Value::Foreign("a date or time"),
            DeValue::Array(items) => {
                Value::List(items.iter().map(|item| self.node(item)).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { span, value }
    }

    /// A string with its variables filled in. As written it is kept only where
    /// that differs.
    fn text(&mut self, text: &str, span: Span) -> Value {
        match environment::fill_in(text, self.environment) {
            Ok(filled) => Value::Text(Text {
                written: (filled != text).then(|| text.into()),
                text: filled.into(),
            }),
            Err(wrong) => {
                self.problems
                    .error(Code::Environment, span, wrong.why, wrong.help);
                Value::Broken
            }
        }
    }

    /// Reports a number that 64 bits with a sign do not hold.
    fn too_large(&mut self, span: Span) -> Value {
        let message = "this number is too large";
        let help = "whole numbers go up to 9223372036854775807";
        self.problems.error(Code::BadValue, span, message, help);
        Value::Broken
    }
}
