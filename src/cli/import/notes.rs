//! Comments about lines of the source: each says the line, its text, and its
//! fate.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{Directive, Place, Tree};

/// Longest text of a directive in a comment, in characters. The line says where
/// the rest is.
const LONGEST_TEXT: usize = 160;

/// Directives whose blocks are read one directive after the other.
const CONTAINERS: [&str; 5] = ["http", "events", "server", "location", "upstream"];

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

    /// The place of the directive that it is about.
    pub(super) fn place(&self) -> Place {
        self.place
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
/// same directive, and many servers include the same file.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// By the name of the file, the place in it, and the reason.
    seen: BTreeSet<(String, usize, String, String)>,
    /// The directives that a note is about, and whether one of them is about
    /// everything between the braces, too.
    noted: BTreeMap<Place, bool>,
}

impl Notes {
    /// Whether this is the first note of its kind.
    pub(super) fn is_new(&mut self, note: &Note, tree: &Tree) -> bool {
        let is_whole = matches!(note.outcome, Outcome::Unguarded | Outcome::Lost);
        *self.noted.entry(note.place).or_default() |= is_whole;
        let key = (
            tree.shown(note.place),
            note.place.offset,
            note.text.clone(),
            note.why.clone(),
        );
        self.seen.insert(key)
    }

    /// The directives at any depth that have become nothing, and that no note
    /// is about.
    pub(super) fn left<'a>(&self, directives: &'a [Directive]) -> Vec<&'a Directive> {
        let mut found = Vec::new();
        let mut open: Vec<&Directive> = directives.iter().rev().collect();
        while let Some(directive) = open.pop() {
            match (self.noted.get(&directive.place), directive.is_read()) {
                (Some(true), _) | (Some(false), false) => continue,
                (None, false) => {
                    found.push(directive);
                    continue;
                }
                (_, true) => {}
            }
            // All others are read as a whole, or not at all.
            if CONTAINERS.contains(&directive.name.as_str()) {
                open.extend(directive.inside().iter().rev());
            }
        }
        found
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
    let mut text = directive.written.clone();
    text.push_str(match directive.block {
        Some(_) => " {...}",
        None => ";",
    });
    shortened(&printable(&text))
}

/// Stops soon behind the longest text, so that a large block costs nothing.
fn write_directive(directive: &Directive, text: &mut String) {
    text.push_str(&directive.written);
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

#[cfg(test)]
mod tests {
    use super::super::imported;

    /// The file for what stands in `http`.
    fn made(http: &str) -> String {
        imported(format!("http {{ {http} }}").as_bytes()).unwrap()
    }

    #[test]
    fn each_of_several_directives_on_a_line_has_its_comment() {
        let one =
            "if ($a = 1) { return 403; } if ($b = 1) { return 403; } if ($a = 1) { return 403; }";
        let made = made(&format!(
            "server {{ location / {{ {one} proxy_pass http://s; }} }}"
        ));
        for (condition, times) in [("($a = 1)", 2), ("($b = 1)", 1)] {
            let comment = format!("if {condition} {{ return 403; }} -- NOT CARRIED OVER");
            assert_eq!(made.matches(&comment).count(), times, "{made}");
        }
    }

    #[test]
    fn a_directive_that_no_reader_looks_at_has_a_comment() {
        for (http, comment) in [
            (
                "server { return 301 https://$host$request_uri; location /.well-known/ { root /a; } } server { listen 81; return 204; }",
                "location /.well-known/ { root /a; } -- not",
            ),
            (
                "server { return 200; return 403; }",
                "return 403; -- not carried over: another directive comes before it",
            ),
            (
                "upstream u { server a; } upstream u { server b; } server { location / { proxy_pass http://u; } }",
                "upstream u { server b; } -- not carried over",
            ),
            (
                "server { location / { set_real_ip_from 10.0.0.1; proxy_pass http://u; } }",
                "set_real_ip_from 10.0.0.1; -- not carried over: `client_ip` is for all routes",
            ),
        ] {
            let made = made(http);
            assert!(made.contains(comment), "{comment}\n{made}");
        }
    }

    #[test]
    fn a_comment_shows_a_line_as_it_is_written() {
        let map = "map $http_x  $y { default upgrade; '' close; \"a b\" \"1\"; }";
        let made = made(&format!(
            "{map} server {{ if ($arg_x = \"1\") {{ return 403; }} }}"
        ));
        assert!(
            made.contains("map $http_x $y { default upgrade; '' close; \"a b\" \"1\"; } -- "),
            "{made}"
        );
        assert!(
            made.contains("if ($arg_x = \"1\") { return 403; }"),
            "{made}"
        );
    }
}
