//! Values that are not TOML: without their quotes, in the words of another
//! language, with something around them.
//!
//! A value is the text between two signs of a line, so that an item of a list
//! or a value in `{ }` is looked at on its own. Its key decides what would be
//! right: `yes` is `true` for a switch and a text for others. Help repeats the
//! value unless it may be a secret, which the name of the key tells.

use super::{
    super::{
        characters,
        language::{self, Kind},
        redact::{KEY_VALUES, is_secret_name},
        words,
    },
    line::{BrokenLine, LineRule, Slip, by_rule},
};

/// The explanation of a comma behind the last value of a line.
const COMMA: &str = "a comma stands behind the value";
/// The help for such a comma.
const COMMA_HELP: &str = "take it out: each key has a line of its own";

/// Text behind a value in whole quotes.
const BEHIND_QUOTES: [LineRule; 3] = [
    ["^;$", "a line does not end with `;`", "take it out"],
    [
        r"^;*\s*([A-Za-z0-9_-]+)\s*=",
        "two keys stand on one line",
        "write `${1} = ...` on the next line",
    ],
    [
        "^[^=]*$",
        "a quote is within the value",
        "write one pair of quotes around the whole value; a `\"` inside is `\\\"`",
    ],
];

/// Values without quotes at their beginning.
const BARE: [LineRule; 2] = [
    [
        r#"^\S*["']$"#,
        "a quote is missing before the value",
        "write `\"` before it, too",
    ],
    [
        r"^(?:[+-]?[0-9]+|true|false);$",
        "a line does not end with `;`",
        "take it out",
    ],
];

/// The value in which the parser stopped: between the signs around it.
#[derive(Debug)]
pub(super) struct UnreadValue<'a> {
    /// The key that it belongs to; empty if that is unknown.
    key: &'a str,
    text: &'a str,
    /// The same, with its strings covered.
    outside: &'a str,
    /// An item of a list, on its own.
    is_item: bool,
    /// A comma stands behind it, and nothing else on this line.
    ends_with_comma: bool,
}

impl<'a> UnreadValue<'a> {
    /// `equals` is the place of the `=` before it, if that is on the line.
    ///
    /// `None` if a place is not one of the line, such as one within a
    /// character.
    pub(super) fn around(line: &'a BrokenLine<'_>, equals: Option<usize>) -> Option<Self> {
        let outside = line.outside.as_str();
        let name = equals.and_then(|at| outside.get(..at)).map(last_name);
        let begin = equals.map_or(0, |at| at + 1);
        let whole = outside.get(begin..)?.trim();
        // `[::]:8080` is no list.
        let is_address = whole.starts_with("[:") || whole.starts_with('[') && whole.contains("]:");
        let (start, end) = match is_address {
            true => (begin, outside.len()),
            false => between_signs(outside, begin, line.at)?,
        };
        let opened = outside.get(begin..start)?;
        Some(Self {
            key: name.or(line.key).unwrap_or_default(),
            text: line.text.get(start..end)?.trim(),
            outside: outside.get(start..end)?.trim(),
            is_item: line.key.is_some() && equals.is_none()
                || opened.contains('[') && !opened.contains('{'),
            ends_with_comma: outside.get(end..)?.trim() == ",",
        })
    }

    /// The explanation of the value, if it has a mistake that is known here. A
    /// list or table that begins here has none: its items are looked at.
    ///
    /// An empty item of a list is left to the words of the parser.
    pub(super) fn slip(&self) -> Option<Slip> {
        let (key, text) = (self.key, self.text);
        match text.chars().next() {
            None if self.is_item => None,
            None => {
                let help = format!("write `{key} = ...`, or take the line out");
                Some(Slip::new("a value is missing behind `=`", help))
            }
            Some(quote @ ('"' | '\'')) => self.quoted(quote),
            Some('(') => {
                let help = "write `[ ]` around a list, `{ }` around a table";
                Some(Slip::new("round brackets hold nothing in TOML", help))
            }
            Some('[' | '{') if !text.starts_with("[:") && !text.contains("]:") => None,
            _ => Some(self.bare()),
        }
    }

    /// A value that begins with a quote.
    ///
    /// The quotes are looked at from the outside in: the closing one, text
    /// behind it, a comma behind it, and then control characters and escapes
    /// between the quotes. `None` if none of these is wrong.
    fn quoted(&self, quote: char) -> Option<Slip> {
        let Some((_, rest)) = self.outside[1..].split_once(quote) else {
            let help = format!("write `{quote}` behind it, too");
            return Some(Slip::new(
                "a quote is missing at the end of the value",
                help,
            ));
        };
        let rest = rest.trim();
        if !rest.is_empty() {
            return by_rule(&BEHIND_QUOTES, rest, rest);
        }
        if self.ends_with_comma && !self.is_item {
            return Some(Slip::new(COMMA, COMMA_HELP));
        }
        let control = self.text.chars().find(|c| c.is_control());
        if let Some(stranger) = control.and_then(|c| characters::stranger(&c.to_string())) {
            return Some(Slip::new(format!("there is {stranger}"), "type it anew"));
        }
        let why = "a backslash between `\"` begins an escape, and this is none of TOML";
        let help = "write single quotes around the value, which take it as it stands, or `\\\\` for each backslash";
        (quote == '"' && self.text.contains('\\')).then(|| Slip::new(why, help))
    }

    /// A value without the quotes that it needs, or in the words of another
    /// language.
    ///
    /// Words for true and false are corrected only if the key is a switch, or
    /// unknown. For other keys, `yes` is a text that lacks its quotes.
    fn bare(&self) -> Slip {
        let (key, text) = (self.key, self.text);
        if let Some(slip) = by_rule(&BARE, text, self.outside) {
            return slip;
        }
        let is_sound = text.parse::<i64>().is_ok() || text == "true" || text == "false";
        if !self.is_item && self.ends_with_comma && is_sound {
            return Slip::new(COMMA, COMMA_HELP);
        }
        let is_flag = language::any_key(key, |kind| matches!(kind, Kind::Flag));
        if (is_flag || !language::any_key(key, |_| true))
            && let Some(is_on) = words::switch(text)
        {
            let why = "true and false are written in small letters";
            return Slip::new(why, format!("write `{is_on}`"));
        }
        let lower = text.to_ascii_lowercase();
        if matches!(&*lower, "null" | "nil" | "none" | "undefined" | "~") {
            return Slip::new("there is no such value", format!("leave `{key}` out"));
        }
        if language::holds_only_tables(key) {
            let help = format!("write `{key} = {{ ... }}`, or leave `{key}` out");
            return Slip::new("a table stands in braces", help);
        }
        Slip::new("a text stands in quotes", self.in_quotes())
    }

    /// Help that writes the value in quotes, unless it may be a secret.
    ///
    /// The name of a file with a secret is none: values of keys that end with
    /// `_file` are repeated.
    fn in_quotes(&self) -> String {
        let key = self.key;
        let text = self.text.trim_matches(['"', '\'', ';', ' ']);
        let is_secret = key == KEY_VALUES || is_secret_name(key) && !key.ends_with("_file");
        if is_secret || text.contains(['"', '\'']) {
            "write it in quotes".to_owned()
        } else if self.is_item {
            format!("write it in quotes: `\"{text}\"`")
        } else if language::holds_only_lists(key) {
            format!("write it in quotes, in a list: `{key} = [\"{text}\"]`")
        } else {
            format!("write it in quotes: `{key} = \"{text}\"`")
        }
    }
}

/// The bytes between the signs around the place where the parser stopped, from
/// `begin` on.
///
/// Bytes are those of `outside`, in which strings are covered: a comma within a
/// string is no sign.
fn between_signs(outside: &str, begin: usize, at: usize) -> Option<(usize, usize)> {
    let stop = at.clamp(begin, outside.len());
    let before = outside.get(begin..stop).unwrap_or_default();
    let sign = before.rfind([',', '[', '{']);
    let mut start = sign.map_or(begin, |at| begin + at + 1);
    // The sign itself, where the parser stopped at it, is not within the value
    // that it begins.
    let rest = outside.get(start..)?;
    if start < stop && rest.trim_start().starts_with(['[', '{']) {
        start += rest.find(['[', '{'])? + 1;
    }
    let length = outside.get(start..)?.find([',', '}', ']']);
    Some((start, length.map_or(outside.len(), |length| start + length)))
}

/// The name that a text ends with, in quotes or not; may be empty.
fn last_name(text: &str) -> &str {
    let text = text.trim_end().trim_end_matches(['"', '\'']);
    let mut names = text.rsplit(|c| !characters::is_of_name(c));
    names.next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn every_pattern_is_a_regular_expression() {
        for [pattern, ..] in BEHIND_QUOTES.iter().chain(&BARE) {
            assert!(Regex::new(pattern).is_ok(), "{pattern}");
        }
    }
}
