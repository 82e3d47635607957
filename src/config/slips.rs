//! Mistakes of grammar that people make often, told in words that help.

use super::{
    language::{self, Kind},
    redact::{KEY_VALUES, is_secret_name},
    suggest,
};

/// A slip, and the form that is right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slip {
    pub(super) why: String,
    pub(super) help: String,
    /// With what lines begin that are meant as comments: all of them are one
    /// mistake.
    pub(super) comment: Option<&'static str>,
}

/// A line that is not TOML.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    /// Where the parser stopped, in bytes.
    pub(super) at: usize,
    /// The words of the parser.
    pub(super) message: &'a str,
    /// The key whose value began on a line before this one.
    pub(super) key: Option<&'a str>,
}

/// With what comments begin elsewhere.
const COMMENTS: [&str; 7] = ["//", "/*", "--", ";", "<!--", "%", "!"];
/// The same behind a value, where blanks are around it.
const COMMENTS_BEHIND: [&str; 4] = [" //", " /*", " -- ", " ; "];
fn slip(why: impl Into<String>, help: impl Into<String>) -> Option<Slip> {
    Some(Slip {
        why: why.into(),
        help: help.into(),
        comment: None,
    })
}

/// Looks at a line that is not TOML.
pub(super) fn explain(line: Line<'_>) -> Option<Slip> {
    let outside = outside_of_strings(line.text);
    let begin = COMMENTS
        .into_iter()
        .find(|sign| line.text.trim_start().starts_with(sign));
    if begin.is_some()
        || COMMENTS_BEHIND
            .into_iter()
            .any(|sign| outside.contains(sign))
    {
        let (why, help) = (
            "this is no comment of TOML".to_owned(),
            "a comment begins with `#`".to_owned(),
        );
        return Some(Slip {
            why,
            help,
            comment: begin,
        });
    }
    if let Some(quote) = outside.chars().find(|c| suggest::QUOTES.contains(c)) {
        let why = match quote {
            '`' => "a backtick is no quote of TOML".to_owned(),
            quote => format!(
                "U+{:04X} is a typographic quote, not the one of TOML",
                u32::from(quote)
            ),
        };
        return slip(why, "write `\"` before and behind the value");
    }
    if let Some(stranger) = suggest::stranger(&outside).or_else(|| suggest::not_ascii(&outside)) {
        return slip(format!("there is {stranger}"), "type it anew");
    }
    let equals = equals_before(&outside, line.at);
    if equals.is_none() && line.key.is_none() {
        return header(&outside)
            .or_else(|| yaml_item(line.text))
            .or_else(|| with_colon(line.text, &outside))
            .or_else(|| without_equals(&outside));
    }
    if line.message.contains("unclosed") {
        return None;
    }
    if ["==", "=>", ":="]
        .into_iter()
        .any(|sign| outside.contains(sign))
    {
        return slip(
            "between a key and its value stands one `=`",
            "write `key = value`",
        );
    }
    if outside
        .split_once('{')
        .is_some_and(|(_, inside)| inside.contains(';'))
    {
        return slip(
            "a `;` stands between two keys of a table",
            "write `,` between them",
        );
    }
    if let Some(name) = behind_a_missing_comma(&outside) {
        return slip(
            format!("a comma is missing before `{name}`"),
            format!("write `, {name} = ...`"),
        );
    }
    if line.message.contains("missing comma") {
        return slip(
            "a comma is missing",
            "write `,` behind the value before this one",
        );
    }
    if let Some(slip) = inner_colon(line.text, &outside).or_else(|| list_in_braces(&outside)) {
        return Some(slip);
    }
    let name = equals.map(|at| last_name(outside[..at].trim_end().trim_end_matches(['"', '\''])));
    let value = Value::around(
        line,
        &outside,
        equals,
        name.or(line.key).unwrap_or_default(),
    )?;
    value.slip()
}

/// The value in which the parser stopped: between the signs around it.
#[derive(Debug)]
struct Value<'a> {
    key: &'a str,
    text: &'a str,
    /// The same, as [`outside_of_strings`] has it.
    outside: &'a str,
    /// An item of a list, on its own.
    is_item: bool,
    /// A comma stands behind it, and nothing else on this line.
    ends_with_comma: bool,
}

impl<'a> Value<'a> {
    fn around(
        line: Line<'a>,
        outside: &'a str,
        equals: Option<usize>,
        key: &'a str,
    ) -> Option<Self> {
        let begin = equals.map_or(0, |at| at + 1);
        let whole = outside.get(begin..)?.trim();
        // `[::]:8080` is no list.
        let is_address = whole.starts_with("[:") || whole.starts_with('[') && whole.contains("]:");
        let stop = line.at.clamp(begin, outside.len());
        let (start, end) = if is_address {
            (begin, outside.len())
        } else {
            let signs = [',', '[', '{'];
            let start = outside
                .get(begin..stop)
                .and_then(|before| before.rfind(signs))
                .map_or(begin, |at| begin + at + 1);
            // The sign itself, where the parser stopped at it, is not within
            // the value that it begins.
            let start =
                if outside.get(start..)?.trim_start().starts_with(['[', '{']) && start < stop {
                    start + outside[start..].find(['[', '{'])? + 1
                } else {
                    start
                };
            let end = outside[start..]
                .find([',', '}', ']'])
                .map_or(outside.len(), |length| start + length);
            (start, end)
        };
        let text = line.text.get(start..end)?;
        let lead = text.len() - text.trim_start().len();
        let outside_value = outside.get(start + lead..end)?.trim_end();
        let opened = outside.get(begin..start)?;
        let is_item =
            line.key.is_some() && equals.is_none() || opened.contains('[') && !opened.contains('{');
        let ends_with_comma = outside.get(end..)?.trim() == ",";
        Some(Self {
            key,
            text: text.trim(),
            outside: outside_value,
            is_item,
            ends_with_comma,
        })
    }

    fn slip(&self) -> Option<Slip> {
        let (key, text) = (self.key, self.text);
        if text.is_empty() {
            return if self.is_item {
                None
            } else {
                missing_value(key)
            };
        }
        match text.chars().next() {
            Some('"' | '\'') => self.quoted(),
            Some('(') => slip(
                "round brackets hold nothing in TOML",
                "write `[ ]` around a list, `{ }` around a table",
            ),
            Some('[' | '{') if !text.starts_with("[:") && !text.contains("]:") => None,
            _ => self.bare(),
        }
    }

    /// A value that begins with a quote.
    fn quoted(&self) -> Option<Slip> {
        let quote = self.text.chars().next()?;
        let Some(length) = self.outside[1..].find(quote) else {
            return slip(
                "a quote is missing at the end of the value",
                format!("write `{quote}` behind it, too"),
            );
        };
        let rest = self.outside[length + 2..].trim();
        if rest.is_empty() && self.ends_with_comma && !self.is_item {
            return slip(
                "a comma stands behind the value",
                "take it out: each key has a line of its own",
            );
        }
        if rest.is_empty() {
            return self.inside();
        }
        if rest == ";" {
            return slip("a line does not end with `;`", "take it out");
        }
        if let Some((name, _)) = rest.trim_start_matches(';').split_once('=') {
            let name = name.trim();
            let is_name = !name.is_empty() && name.chars().all(is_of_name);
            return is_name.then(|| {
                slip(
                    "two keys stand on one line",
                    format!("write `{name} = ...` on the next line"),
                )
            })?;
        }
        slip(
            "a quote is within the value",
            "write one pair of quotes around the whole value; a `\"` inside is `\\\"`",
        )
    }

    /// A value in whole quotes, with something in it that cannot be there.
    fn inside(&self) -> Option<Slip> {
        if let Some(stranger) = self
            .text
            .chars()
            .find(|c| c.is_control())
            .and_then(|c| suggest::stranger(&c.to_string()))
        {
            return slip(format!("there is {stranger}"), "type it anew");
        }
        let is_escape = self.text.starts_with('"') && self.text.contains('\\');
        is_escape.then(|| {
            slip(
                "a backslash between `\"` begins an escape, and this is none of TOML",
                "write single quotes around the value, which take it as it stands, or `\\\\` for each backslash",
            )
        })?
    }

    /// A value without the quotes that it needs, or in the words of another
    /// language.
    fn bare(&self) -> Option<Slip> {
        let (key, text) = (self.key, self.text);
        if self.outside.contains(['"', '\''])
            && text.ends_with(['"', '\''])
            && !self.outside.contains(char::is_whitespace)
        {
            return slip(
                "a quote is missing before the value",
                "write `\"` before it, too",
            );
        }
        if let Some(before) = text.strip_suffix(';') {
            let is_sound = before.parse::<i64>().is_ok() || matches!(before, "true" | "false");
            if is_sound {
                return slip("a line does not end with `;`", "take it out");
            }
        }
        let is_flag = language::any_key(key, |kind| matches!(kind, Kind::Flag));
        let is_free = is_flag || !language::any_key(key, |_| true);
        match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "true" | "enabled" | "enable" | "y" | "t" if is_free => slip(
                "true and false are written in small letters",
                "write `true`",
            ),
            "no" | "off" | "false" | "disabled" | "disable" | "n" | "f" if is_free => slip(
                "true and false are written in small letters",
                "write `false`",
            ),
            "null" | "nil" | "none" | "undefined" | "~" => {
                slip("there is no such value", format!("leave `{key}` out"))
            }
            _ if !self.is_item
                && self.ends_with_comma
                && (text.parse::<i64>().is_ok() || text == "true" || text == "false") =>
            {
                slip(
                    "a comma stands behind the value",
                    "take it out: each key has a line of its own",
                )
            }
            _ if language::holds_only_tables(key) => slip(
                "a table stands in braces",
                format!("write `{key} = {{ ... }}`, or leave `{key}` out"),
            ),
            _ if key == KEY_VALUES
                || is_secret_name(key) && !key.ends_with("_file")
                || quotable(text).contains(['"', '\'']) =>
            {
                slip("a text stands in quotes", "write it in quotes")
            }
            _ if self.is_item => slip(
                "a text stands in quotes",
                format!("write it in quotes: `\"{}\"`", quotable(text)),
            ),
            _ if language::holds_only_lists(key) => slip(
                "a text stands in quotes",
                format!(
                    "write it in quotes, in a list: `{key} = [\"{}\"]`",
                    quotable(text)
                ),
            ),
            _ => slip(
                "a text stands in quotes",
                format!("write it in quotes: `{key} = \"{}\"`", quotable(text)),
            ),
        }
    }
}

/// A text as it can stand in quotes.
fn quotable(text: &str) -> &str {
    text.trim_matches(['"', '\'', ';', ' '])
}

fn missing_value(key: &str) -> Option<Slip> {
    slip(
        "a value is missing behind `=`",
        format!("write `{key} = ...`, or take the line out"),
    )
}

/// A header whose brackets are not right.
fn header(outside: &str) -> Option<Slip> {
    let text = outside.trim();
    let brackets = text.len() - text.trim_start_matches('[').len();
    if brackets == 0 || brackets > 2 {
        return None;
    }
    let inside = text[brackets..].trim_end_matches(']').trim();
    let name: String = inside.split_whitespace().collect::<Vec<_>>().join(".");
    let is_name = !name.is_empty() && name.chars().all(|c| is_of_name(c) || c == '.');
    let right = if brackets == 2 {
        format!("[[{name}]]")
    } else {
        format!("[{name}]")
    };
    let why = if inside.contains(char::is_whitespace) {
        "the parts of a header are joined by dots"
    } else {
        "the brackets of this header are not in pairs"
    };
    (is_name && right != text).then(|| slip(why, format!("write `{right}`")))?
}

/// `- name: value`; all such lines are one mistake.
fn yaml_item(line: &str) -> Option<Slip> {
    let why = "a line that begins with `-` is an item of YAML".to_owned();
    let help = "write a list as `[\"a\", \"b\"]`, and begin each table of a list with `[[NAME]]`"
        .to_owned();
    line.trim_start().starts_with("- ").then_some(Slip {
        why,
        help,
        comment: Some("- "),
    })
}

/// `key: value`
fn with_colon(line: &str, outside: &str) -> Option<Slip> {
    let name = line
        .get(..outside.find(':')?)?
        .trim()
        .trim_matches(['"', '\'']);
    colon_behind(name)
}

fn colon_behind(name: &str) -> Option<Slip> {
    let is_name = !name.is_empty() && name.chars().all(is_of_name);
    is_name.then(|| {
        slip(
            "a key is followed by `=`, not by `:`",
            format!("write `{name} = ...`"),
        )
    })?
}

/// `{ key: value }`
fn inner_colon(line: &str, outside: &str) -> Option<Slip> {
    let before = outside.get(..outside.find(':')?)?;
    let begin = before.rfind(['{', ','])? + 1;
    let is_in_table = before.contains('{') && !before.contains('[');
    is_in_table.then(|| {
        colon_behind(
            line.get(begin..before.len())?
                .trim()
                .trim_matches(['"', '\'']),
        )
    })?
}

/// `{ "a", "b" }`
fn list_in_braces(outside: &str) -> Option<Slip> {
    let inside = outside.split_once('{')?.1.trim_start();
    let quote = inside.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let behind = inside[1..].split_once(quote)?.1.trim_start();
    behind
        .starts_with([',', '}'])
        .then(|| slip("`{ }` holds keys with values", "write `[ ]` around a list"))?
}

/// `key value`, or a word alone.
fn without_equals(outside: &str) -> Option<Slip> {
    let name = outside.split_whitespace().next().filter(|name| {
        name.chars().all(is_of_name) && name.starts_with(|c: char| c.is_ascii_alphabetic())
    })?;
    let help = format!("write `{name} = ...`; a comment begins with `#`");
    slip(format!("`=` is missing behind `{name}`"), help)
}

/// The name that a text ends with; may be empty.
fn last_name(text: &str) -> &str {
    text.rsplit(|c: char| !is_of_name(c))
        .next()
        .unwrap_or_default()
}

pub(super) fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// The `=` of the value in which the parser stopped, or else the first.
fn equals_before(outside: &str, at: usize) -> Option<usize> {
    let behind = (at + 1).min(outside.len());
    let before = outside.get(..behind).and_then(|before| before.rfind('='));
    before.or_else(|| outside.find('='))
}

/// The key in `{ a = 1 key = 2 }` before which a comma is missing.
fn behind_a_missing_comma(outside: &str) -> Option<&str> {
    for (at, _) in outside.match_indices('=').skip(1) {
        let before = outside[..at].trim_end();
        let name = last_name(before);
        let rest = &before[..before.len() - name.len()];
        let rest_end = rest.trim_end();
        let has_blank = rest_end.len() < rest.len();
        if !name.is_empty()
            && has_blank
            && !rest_end.ends_with(['{', ',', '[', '='])
            && outside[..at].contains('{')
        {
            return Some(name);
        }
    }
    None
}

/// The line with `x` for what stands in strings and blanks for comments. Places
/// stay.
pub(super) fn outside_of_strings(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let (mut quote, mut is_escaped, mut is_comment) = (None, false, false);
    for c in line.chars() {
        let shown = match quote {
            _ if is_comment => ' ',
            Some(open) => {
                let closes = c == open && !is_escaped;
                is_escaped = open == '"' && c == '\\' && !is_escaped;
                if closes {
                    quote = None;
                    c
                } else {
                    'x'
                }
            }
            None if matches!(c, '"' | '\'') => {
                quote = Some(c);
                c
            }
            None if c == '#' => {
                is_comment = true;
                ' '
            }
            None => c,
        };
        if shown == c {
            out.push(c)
        } else {
            out.extend(std::iter::repeat_n(shown, c.len_utf8()))
        }
    }
    out
}

#[cfg(test)]
mod tests {
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
                    let _ = explain(Line {
                        text: line,
                        at,
                        message: "",
                        key,
                    });
                }
            }
        }
    }
}
