//! Files that are meant for something else: each is one mistake, and not one
//! for each line.
//!
//! People name the wrong file on the command line, translate a configuration of
//! another gateway half way, or leave the signs of a merge in a file. Only a
//! file with a mistake of grammar is looked at. As TOML and its neighbours
//! share most of their lines, a language is recognised by signs that TOML does
//! not have, or by half of all lines.
//!
//! # Certainty
//!
//! A file is taken for another language only if it already has a mistake of
//! grammar, and before that mistake is reported. So a wrong guess costs the
//! user an explanation, and never a file that works.
//!
//! Signs that give a file away come first; then, in an order that matters, the
//! languages; then a file without any quotes.

use regex::{Regex, RegexBuilder};

use super::line::{LineRule, outside_of_strings};

/// A text that cannot be meant to be TOML.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    /// Where this shows, from 0.
    pub(super) line: usize,
    pub(super) why: String,
    pub(super) help: &'static str,
}

/// Help for every language that is not TOML: where to see a configuration.
const HELP: &str = "a configuration is TOML, as `tidegate demo --print-config` shows: `[[routes]]`, then `name = \"app\"`";

/// Files that one sign gives away, whatever else they hold.
const SIGNS: [LineRule; 4] = [
    [
        "^(?:<<<<<<<|>>>>>>>) ",
        "a merge left both of its versions in this file",
        "keep one of the two versions, and take the lines with `<<<<<<<`, `=======` and `>>>>>>>` out",
    ],
    [
        r"\A[^\n]*\r[^\n]*\z",
        "the lines of this file end with CR alone",
        "save it with LF or CRLF at the end of each line",
    ],
    [r"\A#!", "this is a script, not TOML", HELP],
    [
        r"^[ \t]*```",
        "this is a page with TOML in it",
        "take out the text around it, and the lines with three backticks",
    ],
];

/// `key = value`
const PAIR: &str = r#"^["']*[A-Za-z0-9_.-]+["']*[ \t]*="#;
/// `key = value;`, of which `;` is not TOML.
const PAIR_WITH_SEMICOLON: &str = r#"^["']*[A-Za-z0-9_.-]+["']*[ \t]*=.*;$"#;
/// `[name]`, and no list of texts or tables.
const HEADER: &str = r#"^\[(?:[ \t]*[^\s{"].*)?\]$"#;
/// `name {`
const BLOCK: &str = r"^[^=\n]*\{$";
/// `name: value`, as an item of a list or not.
const YAML: &str = r#"^(?:- )*-*[ \t]*["']*[A-Za-z0-9_.-]+["']*[ \t]*:(?: .*)?$|^- |^-$"#;
/// `"name": value`
const JSON: &str = r#"\A"+[A-Za-z0-9_.-]+"*[ \t]*:(?: |$)"#;
/// Tables of Apache's configuration, which look like those of XML.
const APACHE: &str = "^<(?:VirtualHost|Location|Proxy|IfModule|Directory|Files)";

/// The language of a text with a mistake of grammar, if that is plain.
///
/// The place is the line with the sign, the first line that is neither empty
/// nor a comment, or the first value without quotes. `None` if the file may be
/// TOML with a mistake.
pub(super) fn look(text: &str) -> Option<Foreign> {
    for [pattern, why, help] in SIGNS {
        if let Some(found) = regex(pattern)?.find(text) {
            let line = text[..found.start()].matches('\n').count();
            let why = why.to_owned();
            return Some(Foreign { line, why, help });
        }
    }
    let is_told = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let line = text.lines().position(is_told)?;
    match Lines::new(text).language() {
        Some(language) => Some(Foreign {
            line,
            why: format!("this is {language}, not TOML"),
            help: HELP,
        }),
        None => without_quotes(text),
    }
}

/// A text with several values without quotes, and with no quote at all.
///
/// Two such values at least are required, and no quote in the whole file: a
/// single value without quotes is a slip, and explained as one.
fn without_quotes(text: &str) -> Option<Foreign> {
    let pair = regex(PAIR)?;
    let is_bare = |line: &str| {
        let value = line.split_once('=').map_or("", |(_, value)| value.trim());
        let is_sound = value.parse::<f64>().is_ok()
            || matches!(value, "true" | "false")
            || value.starts_with(['[', '{']);
        pair.is_match(line.trim()) && !is_sound
    };
    let line = text.lines().position(is_bare)?;
    let is_meant = !text.contains(['"', '\'']) && text.lines().skip(line + 1).any(is_bare);
    is_meant.then(|| Foreign {
        line,
        why: "no text of this file stands in quotes, as in INI".to_owned(),
        help: "write each text in quotes: `level = \"info\"`",
    })
}

/// The lines of a text, without blanks around them and without comments.
struct Lines {
    count: usize,
    /// The lines, joined by line feeds.
    text: String,
    /// The same with strings covered.
    outside: String,
}

impl Lines {
    fn new(text: &str) -> Self {
        let comments = ["#", "//", "/*", "*"];
        let is_told =
            |line: &&str| !line.is_empty() && !comments.iter().any(|sign| line.starts_with(sign));
        let lines: Vec<_> = text.lines().map(str::trim).filter(is_told).collect();
        let text = lines.join("\n");
        Self {
            count: lines.len(),
            outside: outside_of_strings(&text),
            text,
        }
    }

    /// The language that the lines are of; `None` if it may be TOML. The order
    /// counts: NGINX has lines that look like TOML, and a Caddyfile begins like
    /// JSON.
    fn language(&self) -> Option<&'static str> {
        let first = self.text.lines().next()?;
        Some(match self {
            _ if first.starts_with("-----BEGIN ") => "PEM, a certificate or a key",
            _ if self.are_nginx() => "the language of NGINX",
            _ if self.are_toml() && !is_match(BLOCK, first) => return None,
            _ if self.has(r#"\A\{\n[^"'}{:\n][^:\n]*$"#) => "a Caddyfile or the like",
            _ if self.has(r"\A(?:\{|\[$|\[\{)") || self.has(JSON) => "JSON",
            _ if self.has(APACHE) => "the language of Apache",
            _ if first.starts_with('<') => "XML or HTML",
            _ if self.has(r"\A(?:---$|%YAML)") => "YAML",
            _ if self.has(BLOCK) && self.text.contains(" = ") => "HCL",
            _ if self.has(BLOCK) => "a Caddyfile or the like",
            _ if self.are_most(count(YAML, &self.text)) => "YAML",
            _ if self.has("^(?:frontend|backend|listen) ") => "the language of HAProxy",
            _ => return None,
        })
    }

    /// Whether a pattern matches anywhere.
    fn has(&self, pattern: &str) -> bool {
        is_match(pattern, &self.text)
    }

    /// Whether so many lines are half of all, or more.
    fn are_most(&self, lines: usize) -> bool {
        lines * 2 >= self.count
    }

    /// Whether most lines are pairs or headers of TOML.
    fn are_toml(&self) -> bool {
        self.are_most(count(PAIR, &self.outside) + count(HEADER, &self.text))
    }

    /// Whether lines end with `;`, and either blocks are opened or most lines
    /// are no pairs.
    fn are_nginx(&self) -> bool {
        let ends = count(";$", &self.text);
        let in_pairs = count(PAIR_WITH_SEMICOLON, &self.outside);
        ends > 0 && (self.has(BLOCK) || self.are_most(ends.saturating_sub(in_pairs)))
    }
}

/// The lines that match a pattern, each once.
fn count(pattern: &str, text: &str) -> usize {
    regex(pattern).map_or(0, |regex| regex.find_iter(text).count())
}

/// Whether a pattern matches anywhere in a text.
fn is_match(pattern: &str, text: &str) -> bool {
    regex(pattern).is_some_and(|regex| regex.is_match(text))
}

/// `^` and `$` stand for the ends of lines.
///
/// Patterns are compiled for each use, and only for a file that has a mistake.
fn regex(pattern: &str) -> Option<Regex> {
    RegexBuilder::new(pattern).multi_line(true).build().ok()
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
            ("// ours\n{\n  \"routes\": []\n}\n", "JSON"),
            ("\"routes\": [],\n\"limits\": {}\n", "JSON"),
            (
                "server {\n  listen 80;\n  location / { proxy_pass http://app; }\n}\n",
                "the language of NGINX",
            ),
            (
                "limit_req_zone $binary_remote_addr zone=a:10m rate=10r/s;\nlimit_req zone=a;\n",
                "the language of NGINX",
            ),
            (
                "# ours\nexample.com {\n  reverse_proxy localhost:9000\n}\n",
                "a Caddyfile or the like",
            ),
            (
                "{\n  admin off\n}\nexample.com {\n  reverse_proxy a\n}\n",
                "a Caddyfile or the like",
            ),
            ("route \"app\" {\n  upstream = \"app\"\n}\n", "HCL"),
            (
                "frontend http\n  bind *:80\nbackend app\n  server a 10.0.0.1\n",
                "the language of HAProxy",
            ),
            (
                "Listen 80\n<VirtualHost *:80>\n  ProxyPass / http://a/\n</VirtualHost>\n",
                "the language of Apache",
            ),
            ("<html>\n", "XML or HTML"),
            (
                "-----BEGIN CERTIFICATE-----\nMIIB==\n-----END CERTIFICATE-----\n",
                "PEM, a certificate or a key",
            ),
        ] {
            assert_eq!(
                look(text).unwrap().why,
                format!("this is {language}, not TOML"),
                "{text}"
            );
        }
        for text in [
            "",
            "[log]\nlevel = info\n",
            "a: b\nc = 1\n",
            "[[routes]]\nname = \"a\nrespond = {",
            "bind = 0.0.0.0:80",
        ] {
            assert_eq!(look(text), None, "{text}");
        }
    }

    #[test]
    fn a_file_that_is_wrong_as_a_whole_is_told_where_it_shows() {
        for (text, line, why) in [
            (
                "a = 1\n<<<<<<< HEAD\nb = 1\n=======\nb = 2\n>>>>>>> x\n",
                1,
                "a merge",
            ),
            ("[log]\rlevel = \"info\"\r", 0, "CR alone"),
            ("#!/bin/sh\nexec tidegate\n", 0, "a script"),
            ("# Title\nSome words\n```toml\na = 1\n```\n", 2, "a page"),
            (
                "[server]\nworkers=4\n[log]\nlevel=info\nformat=text\n",
                3,
                "stands in quotes",
            ),
            (
                "PORT=8080\nUPSTREAM=http://a\nHOST=a.example\n",
                1,
                "stands in quotes",
            ),
        ] {
            let found = look(text).unwrap();
            assert_eq!(found.line, line, "{text}");
            assert!(found.why.contains(why), "{text}: {}", found.why);
        }
    }
}
