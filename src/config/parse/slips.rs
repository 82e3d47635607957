//! Mistakes of grammar that people make often, explained in words that help.
//!
//! The parser's own words say what it expected at some byte. People need to
//! know what they did: wrote `:` for `=`, forgot a comma, took `//` for a
//! comment. Nearly all of that shows in one line, and most of it is a pattern
//! of the line with its strings covered, as a [`LineRule`] with its
//! explanation. Only headers and values need more than a pattern.
//!
//! To teach another slip, add a rule to the list for its kind of line. The
//! order within a list matters: the first match explains the line.

use super::{
    super::characters,
    line::{BrokenLine, LineRule, Slip, by_rule},
    values::UnreadValue,
};

/// The beginnings of comments in other languages.
///
/// All lines that begin with the same sign count as one mistake.
const COMMENTS: [&str; 7] = ["//", "/*", "--", ";", "<!--", "%", "!"];
/// The beginnings of comments behind a value: blanks are around them.
const COMMENTS_BEHIND: [&str; 4] = [" //", " /*", " -- ", " ; "];

/// Lines without `=` that are no part of a value.
const WITHOUT_EQUALS: [LineRule; 2] = [
    [
        r#"^\s*["']*([A-Za-z0-9_-]+)["']*\s*:"#,
        "a key is followed by `=`, not by `:`",
        "write `${1} = ...`",
    ],
    [
        r"^\s*([A-Za-z][A-Za-z0-9_-]*)(?:\s|$)",
        "`=` is missing behind `${1}`",
        "write `${1} = ...`; a comment begins with `#`",
    ],
];

/// Lines with keys and values.
const BETWEEN_VALUES: [LineRule; 3] = [
    [
        "==|=>|:=",
        "between a key and its value stands one `=`",
        "write `key = value`",
    ],
    [
        r"\{.*;",
        "a `;` stands between two keys of a table",
        "write `,` between them",
    ],
    [
        r"(?:\{.*?=|=.*?\{).*?[^\s{,\[=]\s+([A-Za-z0-9_-]+)\s*=",
        "a comma is missing before `${1}`",
        "write `, ${1} = ...`",
    ],
];

/// Inline tables.
const IN_BRACES: [LineRule; 2] = [
    [
        r#"^[^:\[]*\{(?:[^:\[]*,)?\s*["']*([A-Za-z0-9_-]+)["']*\s*:"#,
        "a key is followed by `=`, not by `:`",
        "write `${1} = ...`",
    ],
    [
        r#"^[^{]*\{\s*(?:"[^"]*"|'[^']*')\s*[,}]"#,
        "`{ }` holds keys with values",
        "write `[ ]` around a list",
    ],
];

/// Explains a line that is not TOML. `None` if the parser's own words say as
/// much.
///
/// Characters that TOML does not have come first, as any other explanation
/// would repeat them; then the form of the line, then that of the value in
/// which the parser stopped.
pub(super) fn explain(line: &BrokenLine<'_>) -> Option<Slip> {
    let outside = line.outside.as_str();
    if let Some(slip) = comment(line).or_else(|| strange_character(outside)) {
        return Some(slip);
    }
    let equals = equals_before(outside, line.at);
    if equals.is_none() && line.key.is_none() {
        return header(outside)
            .or_else(|| yaml_item(line.text))
            .or_else(|| by_rule(&WITHOUT_EQUALS, line.text, outside));
    }
    if line.message.contains("unclosed") {
        return None;
    }
    if let Some(slip) = by_rule(&BETWEEN_VALUES, line.text, outside) {
        return Some(slip);
    }
    if line.message.contains("missing comma") {
        let help = "write `,` behind the value before this one";
        return Some(Slip::new("a comma is missing", help));
    }
    by_rule(&IN_BRACES, line.text, outside).or_else(|| UnreadValue::around(line, equals)?.slip())
}

/// A comment in the form of another language, at the beginning of the line or
/// behind a value.
fn comment(line: &BrokenLine<'_>) -> Option<Slip> {
    let start = line.text.trim_start();
    let comment = COMMENTS.into_iter().find(|sign| start.starts_with(sign));
    let mut behind = COMMENTS_BEHIND.iter();
    let is_behind = behind.any(|sign| line.outside.contains(sign));
    (comment.is_some() || is_behind).then(|| Slip {
        comment,
        ..Slip::new("this is no comment of TOML", "a comment begins with `#`")
    })
}

/// A character that TOML has for nothing, outside of strings.
///
/// Quotes are looked for first, and have advice of their own.
fn strange_character(outside: &str) -> Option<Slip> {
    if let Some(quote) = outside.chars().find(|c| characters::QUOTES.contains(c)) {
        let code = u32::from(quote);
        let why = match quote {
            '`' => "a backtick is no quote of TOML".to_owned(),
            _ => format!("U+{code:04X} is a typographic quote, not the one of TOML"),
        };
        return Some(Slip::new(why, "write `\"` before and behind the value"));
    }
    let stranger = characters::stranger(outside).or_else(|| characters::not_ascii(outside))?;
    Some(Slip::new(format!("there is {stranger}"), "type it anew"))
}

/// A header whose brackets are not right.
///
/// The brackets are counted at the beginning, and closed as often. `None` for
/// more than two, for a name with other characters, and for a header that is
/// right.
fn header(outside: &str) -> Option<Slip> {
    let text = outside.trim();
    let inside = text.trim_start_matches('[');
    let inside_only = inside.trim_end_matches(']').trim();
    let name = inside_only.split_whitespace().collect::<Vec<_>>().join(".");
    let right = match text.len() - inside.len() {
        1 => format!("[{name}]"),
        2 => format!("[[{name}]]"),
        _ => return None,
    };
    let why = match inside_only.contains(char::is_whitespace) {
        true => "the parts of a header are joined by dots",
        false => "the brackets of this header are not in pairs",
    };
    let is_name = !name.is_empty() && name.chars().all(|c| characters::is_of_name(c) || c == '.');
    (is_name && right != text).then(|| Slip::new(why, format!("write `{right}`")))
}

/// `- name: value`; all such lines are one mistake.
fn yaml_item(line: &str) -> Option<Slip> {
    let why = "a line that begins with `-` is an item of YAML";
    let help = "write a list as `[\"a\", \"b\"]`, and begin each table of a list with `[[NAME]]`";
    line.trim_start().starts_with("- ").then(|| Slip {
        comment: Some("- "),
        ..Slip::new(why, help)
    })
}

/// The place of the `=` before the value in which the parser stopped, or else
/// of the first; `None` in a line without any.
fn equals_before(outside: &str, at: usize) -> Option<usize> {
    let behind = (at + 1).min(outside.len());
    let before = outside.get(..behind).and_then(|before| before.rfind('='));
    before.or_else(|| outside.find('='))
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn any_line_is_explained_or_not() {
        for line in [
            "",
            "=",
            "é=é",
            "a=\"é",
            "a = é b = 1",
            "{ a = 1 b = 2 }",
            "\u{201c}",
            "a:",
            ":",
            "a ==",
            "''='",
        ] {
            for at in 0..=line.len() + 1 {
                for key in [None, Some("servers")] {
                    let _ = explain(&BrokenLine::new(line, at, "", key));
                }
            }
        }
    }

    #[test]
    fn every_pattern_is_a_regular_expression() {
        let rules = WITHOUT_EQUALS
            .iter()
            .chain(&BETWEEN_VALUES)
            .chain(&IN_BRACES);
        for [pattern, ..] in rules {
            assert!(Regex::new(pattern).is_ok(), "{pattern}");
        }
    }
}
