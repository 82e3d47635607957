//! Comments about lines of the source: each says the line, its text, and its
//! fate.

use std::collections::BTreeSet;

use super::tree::{Directive, Place, Tree};

/// Longest text of a directive in a comment, in characters. The line says where
/// the rest is.
const LONGEST_TEXT: usize = 160;

/// The fate of a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// It keeps somebody out, and is not carried over.
    Unguarded,
    /// It is not carried over.
    Lost,
    /// It is carried over, and means something else in part.
    Differs,
    /// The gateway does it without being told, or has no use for it.
    Needless,
}

impl Outcome {
    /// As comments have it.
    fn words(self) -> &'static str {
        match self {
            Self::Unguarded => "NOT CARRIED OVER, and it guards something",
            Self::Lost => "not carried over",
            Self::Differs => "differs",
            Self::Needless => "not needed",
        }
    }
}

/// A comment about a directive.
#[derive(Debug, Clone)]
pub(super) struct Note {
    pub(super) outcome: Outcome,
    place: Place,
    end: u32,
    text: String,
    why: String,
}

impl Note {
    /// `why` is a clause without a full stop.
    pub(super) fn new(directive: &Directive, outcome: Outcome, why: impl Into<String>) -> Self {
        Self {
            outcome,
            place: directive.place,
            end: directive.end,
            text: match outcome {
                Outcome::Differs | Outcome::Needless => head_of(directive),
                Outcome::Unguarded | Outcome::Lost => text_of(directive),
            },
            why: printable(&why.into()),
        }
    }

    /// A note about a place whose text is known.
    pub(super) fn at(place: Place, text: &str, outcome: Outcome, why: &str) -> Self {
        Self {
            outcome,
            place,
            end: place.line,
            text: shortened(&printable(text)),
            why: printable(why),
        }
    }

    /// Whether it is about this directive.
    pub(super) fn is_about(&self, directive: &Directive) -> bool {
        self.place == directive.place && self.text.starts_with(&directive.name)
    }

    /// `nginx.conf:12: gzip on; -- not carried over: ...`, without `#`.
    pub(super) fn shown(&self, tree: &Tree) -> String {
        let (place, words) = (self.source(tree), self.outcome.words());
        format!("{place} -- {words}: {}", self.why)
    }

    /// `nginx.conf:12: gzip on;`
    pub(super) fn source(&self, tree: &Tree) -> String {
        let mut place = printable(&tree.shown(self.place));
        if self.end > self.place.line {
            place += &format!("-{}", self.end);
        }
        format!("{place}: {}", self.text)
    }
}

/// The notes of a file, each place and reason once: many routes inherit the
/// same directive.
#[derive(Debug, Default)]
pub(super) struct Notes {
    seen: BTreeSet<(Place, String, String)>,
}

impl Notes {
    /// Whether this is the first note of its kind.
    pub(super) fn is_new(&mut self, note: &Note) -> bool {
        let key = (note.place, note.text.clone(), note.why.clone());
        self.seen.insert(key)
    }
}

/// A directive in one line, with what stands in its block.
fn text_of(directive: &Directive) -> String {
    let mut text = String::new();
    write_directive(directive, &mut text);
    shortened(&printable(&text))
}

/// A directive in one line, without what stands in its block.
fn head_of(directive: &Directive) -> String {
    let mut text = String::new();
    write_words(directive, &mut text);
    text.push_str(if directive.block.is_some() {
        " {...}"
    } else {
        ";"
    });
    shortened(&printable(&text))
}

fn write_words(directive: &Directive, text: &mut String) {
    text.push_str(&directive.name);
    for argument in &directive.arguments {
        if text.len() > 4 * LONGEST_TEXT {
            break;
        }
        let is_plain = |c: char| !c.is_whitespace() && !matches!(c, ';' | '"' | '\'' | '{');
        let quote = if argument.contains('"') { '\'' } else { '"' };
        match !argument.is_empty() && argument.chars().all(is_plain) {
            true => text.push_str(&format!(" {argument}")),
            false => text.push_str(&format!(" {quote}{argument}{quote}")),
        }
    }
}

/// Stops soon behind the longest text, so that a large block costs nothing.
fn write_directive(directive: &Directive, text: &mut String) {
    write_words(directive, text);
    let Some(block) = &directive.block else {
        text.push(';');
        return;
    };
    text.push_str(" {");
    for inner in block {
        if text.len() > 4 * LONGEST_TEXT {
            break;
        }
        text.push(' ');
        write_directive(inner, text);
    }
    text.push_str(" }");
}

/// No comment is ended by what a source has in it.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(shown).collect()
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}
