//! A line that is not TOML, and rules that explain such lines.
//!
//! Rules look at the line with its strings covered and its comment blanked, so
//! that a sign counts only where TOML would read it. Covering keeps the number
//! of bytes: a match in the covered line is at the same place in the line
//! itself, from which names are taken.

use regex::Regex;

use super::super::characters::{is_of_name, mask};

/// The explanation of a line that is not TOML, and the form that is right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slip {
    /// Follows "this is not TOML: ".
    pub(super) why: String,
    /// Advice on the form that is right, in the imperative.
    pub(super) help: String,
    /// The beginning of lines that are meant as comments or belong together in
    /// another way: all of them are one mistake.
    pub(super) comment: Option<&'static str>,
}

impl Slip {
    pub(super) fn new(why: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            help: help.into(),
            comment: None,
        }
    }
}

/// A line that is not TOML.
#[derive(Debug)]
pub(super) struct BrokenLine<'a> {
    /// The line as it is in the file, without its end.
    pub(super) text: &'a str,
    /// The line as [`outside_of_strings`] has it: bytes stay where they are.
    pub(super) outside: String,
    /// Where the parser stopped, in bytes.
    pub(super) at: usize,
    /// The words of the parser, which tell some mistakes apart that look alike.
    pub(super) message: &'a str,
    /// The key whose value began on a line before this one.
    pub(super) key: Option<&'a str>,
}

impl<'a> BrokenLine<'a> {
    /// `at` counts bytes of `text`; it may be past the end.
    pub(super) fn new(text: &'a str, at: usize, message: &'a str, key: Option<&'a str>) -> Self {
        Self {
            text,
            outside: outside_of_strings(text),
            at,
            message,
            key,
        }
    }
}

/// A pattern, why text that it matches is wrong, and help. `${1}` in both is
/// the first group.
pub(super) type LineRule = [&'static str; 3];

/// The slip of the first rule whose pattern matches `outside`. Its group is
/// shown as `text` has it, which is as long, and has to be a name there: a
/// match whose group is none does not count.
///
/// Patterns are compiled anew for each line. That takes some microseconds each
/// and happens at most for [`MOST_SYNTAX_ERRORS`](super::MOST_SYNTAX_ERRORS)
/// lines of a file.
pub(super) fn by_rule(rules: &[LineRule], text: &str, outside: &str) -> Option<Slip> {
    for [pattern, why, help] in rules {
        let Some(found) = Regex::new(pattern).ok()?.captures(outside) else {
            continue;
        };
        // A pattern without a group has no name to fill in.
        let name = found.get(1).and_then(|group| text.get(group.range()));
        let name = name.unwrap_or_default();
        if name.chars().all(is_of_name) {
            let fill_in = |words: &str| words.replace("${1}", name);
            return Some(Slip::new(fill_in(why), fill_in(help)));
        }
    }
    None
}

/// Strings, as the first or the second group has what stands in them, and
/// comments. A string may end with its line instead of a quote.
const STRINGS_AND_COMMENTS: &str = r#""((?:[^"\\\n]|\\.?)*)"?|'([^'\n]*)'?|#.*"#;

/// Some lines with `x` for what stands in strings and blanks for comments.
/// Places stay.
pub(super) fn outside_of_strings(lines: &str) -> String {
    let mut outside = lines.to_owned();
    let parts = Regex::new(STRINGS_AND_COMMENTS).ok();
    for part in parts.iter().flat_map(|parts| parts.captures_iter(lines)) {
        let string = part.get(1).or(part.get(2));
        match (string, part.get(0)) {
            (Some(inside), _) => mask(&mut outside, inside.range(), 'x', b""),
            (None, Some(comment)) => mask(&mut outside, comment.range(), ' ', b""),
            (None, None) => {}
        }
    }
    outside
}
