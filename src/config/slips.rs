//! Mistakes of grammar that people make often, told in words that help; and files in the language of something else.

use super::{redact::is_secret_name, schema, suggest};

/// A slip, and the form that is right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slip {
    pub(super) why: String,
    pub(super) help: String,
    /// With what lines begin that are meant as comments: all of them are one mistake.
    pub(super) comment: Option<&'static str>,
}

/// With what comments begin elsewhere.
const COMMENTS: [&str; 4] = ["//", "/*", "--", ";"];
/// Typographic quotes.
const QUOTES: [char; 9] =
    ['\u{201c}', '\u{201d}', '\u{201e}', '\u{201f}', '\u{2018}', '\u{2019}', '\u{201a}', '\u{ab}', '\u{bb}'];

/// Looks at a line that is not TOML. `at`: where in the line the parser stopped, in bytes.
pub(super) fn explain(line: &str, at: usize) -> Option<Slip> {
    let slip = |why: String, help: String| Some(Slip { why, help, comment: None });
    let begin = COMMENTS.into_iter().find(|sign| line.trim_start().starts_with(sign));
    if begin.is_some() || outside_of_strings(line).contains(" //") {
        let (why, help) = ("this is no comment of TOML".to_owned(), "a comment begins with `#`".to_owned());
        return Some(Slip { why, help, comment: begin });
    }
    let outside = outside_of_strings(line);
    if let Some(quote) = outside.chars().find(|c| QUOTES.contains(c)) {
        let code = u32::from(quote);
        let help = "write `\"` before and behind the value";
        return slip(format!("U+{code:04X} is a typographic quote, not the one of TOML"), help.to_owned());
    }
    if let Some(stranger) = suggest::stranger(&outside) {
        return slip(format!("there is {stranger}"), "type it anew".to_owned());
    }
    let Some(equals) = equals_before(&outside, at) else {
        let (name, _) = outside.split_once(':')?;
        let is_name = !name.trim().is_empty() && name.trim().chars().all(is_of_name);
        return is_name
            .then(|| format!("write `{} = ...`", name.trim()))
            .and_then(|help| slip("a key is followed by `=`, not by `:`".to_owned(), help));
    };
    if ["==", "=>", ":="].into_iter().any(|sign| outside.contains(sign)) {
        return slip("between a key and its value stands one `=`".to_owned(), "write `key = value`".to_owned());
    }
    if let Some(name) = behind_a_missing_comma(&outside) {
        return slip(format!("a comma is missing before `{name}`"), format!("write `, {name} = ...`"));
    }
    bare_value(line, &outside, equals)
}

/// A value without the quotes that it needs, or in the words of another language.
fn bare_value(line: &str, outside: &str, equals: usize) -> Option<Slip> {
    let name = last_name(outside[..equals].trim_end().trim_end_matches(['"', '\'']));
    let value = &outside[equals + 1..];
    let start = equals + 1 + (value.len() - value.trim_start().len());
    let end = outside[start..].find([',', '}', ']']).map_or(outside.len(), |length| start + length);
    let value = line.get(start..end)?.trim();
    let slip = |why: &str, help: String| Some(Slip { why: why.to_owned(), help, comment: None });
    if value.is_empty() {
        return slip("a value is missing behind `=`", format!("write `{name} = ...`, or take the line out"));
    }
    if value.starts_with(['"', '\'', '[', '{']) {
        return None;
    }
    let is_flag = schema::any_key(name, |kind| matches!(kind, schema::Kind::Flag));
    let is_known = schema::any_key(name, |_| true);
    match value.to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" | "enabled" if is_flag || !is_known => {
            slip("true and false are written in small letters", "write `true`".to_owned())
        }
        "no" | "off" | "false" | "disabled" if is_flag || !is_known => {
            slip("true and false are written in small letters", "write `false`".to_owned())
        }
        "null" | "nil" | "none" | "undefined" | "~" => slip("there is no such value", format!("leave `{name}` out")),
        _ if is_secret_name(name) => slip("a text stands in quotes", "write it in quotes".to_owned()),
        _ => slip("a text stands in quotes", format!("write it in quotes: `{name} = \"{value}\"`")),
    }
}

/// The name that a text ends with; may be empty.
fn last_name(text: &str) -> &str {
    text.rsplit(|c: char| !is_of_name(c)).next().unwrap_or_default()
}

fn is_of_name(c: char) -> bool {
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
        if !name.is_empty() && has_blank && !rest_end.ends_with(['{', ',', '[', '=']) && outside[..at].contains('{') {
            return Some(name);
        }
    }
    None
}

/// The line with `x` for what stands in strings and blanks for comments. Places stay.
fn outside_of_strings(line: &str) -> String {
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
        if shown == c { out.push(c) } else { out.extend(std::iter::repeat_n(shown, c.len_utf8())) }
    }
    out
}

/// The language of a text that cannot be meant to be TOML, if that is plain.
pub(super) fn other_language(text: &str) -> Option<&'static str> {
    let lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let first = *lines.first()?;
    let is_toml = |line: &&&str| {
        let outside = outside_of_strings(line);
        let key = outside.split_once('=').map(|(key, _)| key.trim().trim_matches(['"', '\'']).to_owned());
        key.is_some_and(|key| !key.is_empty() && key.chars().all(|c| is_of_name(c) || c == '.'))
            || line.starts_with('[') && !line[1..].trim_start().starts_with(['{', '"']) && line.ends_with(']')
    };
    if lines.iter().filter(is_toml).count() * 2 >= lines.len() {
        return None;
    }
    let many = |is: &dyn Fn(&str) -> bool| lines.iter().filter(|line| is(line)).count() * 2 >= lines.len();
    let is_pair = |line: &str| {
        let line = line.trim_start_matches("- ").trim_start_matches('-');
        line.split_once(':').is_some_and(|(key, rest)| {
            let key = key.trim_matches(['"', '\'']);
            !key.is_empty()
                && key.chars().all(|c| is_of_name(c) || c == '.')
                && (rest.is_empty() || rest.starts_with(' '))
        })
    };
    let has_block = lines.iter().any(|line| line.ends_with('{'));
    match first {
        first if first.starts_with('{') || first == "[" || first.starts_with("[{") => Some("JSON"),
        first if first.starts_with('<') => Some("XML or HTML"),
        first if first == "---" || first.starts_with("%YAML") => Some("YAML"),
        _ if has_block && lines.iter().any(|line| line.ends_with(';')) => Some("the language of NGINX"),
        _ if has_block => Some("a Caddyfile or the like"),
        _ if many(&|line| is_pair(line) || line.starts_with("- ") || line == "-") => Some("YAML"),
        _ if lines.iter().any(|line| line.starts_with("frontend ") || line.starts_with("backend ")) => {
            Some("the language of HAProxy")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_languages_are_told_from_toml_with_mistakes() {
        for (text, language) in [
            ("routes:\n  - name: app\n    upstream: app\n", "YAML"),
            ("---\nlisten: 80\n", "YAML"),
            ("{\n  \"routes\": []\n}\n", "JSON"),
            ("{\"routes\": []}", "JSON"),
            ("[\n  {\"a\": 1}\n]", "JSON"),
            ("server {\n  listen 80;\n  location / { proxy_pass http://app; }\n}\n", "the language of NGINX"),
            ("# ours\nexample.com {\n  reverse_proxy localhost:9000\n}\n", "a Caddyfile or the like"),
            ("frontend http\n  bind *:80\nbackend app\n  server a 10.0.0.1\n", "the language of HAProxy"),
            ("<html>\n", "XML or HTML"),
        ] {
            assert_eq!(other_language(text), Some(language), "{text}");
        }
        for text in
            ["", "[log]\nlevel = info\n", "a: b\nc = 1\n", "[[routes]]\nname = \"a\nrespond = {", "bind = 0.0.0.0:80"]
        {
            assert_eq!(other_language(text), None, "{text}");
        }
    }

    #[test]
    fn any_line_is_explained_or_not() {
        for line in ["", "=", "é=é", "a=\"é", "a = é b = 1", "{ a = 1 b = 2 }", "\u{201c}", "a:", ":", "a ==", "''='"]
        {
            for at in 0..=line.len() + 1 {
                let _ = explain(line, at);
            }
        }
    }
}
