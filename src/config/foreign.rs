//! Files that are meant for something else: each is one mistake, and not one
//! for each line.

use super::slips::{is_of_name, outside_of_strings};

/// A text that cannot be meant to be TOML.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    /// Where this shows, from 0.
    pub(super) line: usize,
    pub(super) why: String,
    pub(super) help: &'static str,
}

const HELP: &str = "a configuration is TOML, as `tidegate demo --print-config` shows: `[[routes]]`, then `name = \"app\"`";
/// With what the lines begin that an unfinished merge leaves in a file.
const MERGE: [&str; 3] = ["<<<<<<< ", "=======", ">>>>>>> "];
/// Tables of Apache's configuration, which look like those of XML.
const APACHE: [&str; 6] = [
    "<VirtualHost",
    "<Location",
    "<Proxy",
    "<IfModule",
    "<Directory",
    "<Files",
];

/// The language of a text with a mistake of grammar, if that is plain.
pub(super) fn look(text: &str) -> Option<Foreign> {
    let numbered = |is: &dyn Fn(&str) -> bool| text.lines().position(is);
    let of = |line: usize, why: &str, help| {
        Some(Foreign {
            line,
            why: why.to_owned(),
            help,
        })
    };
    if let Some(line) = numbered(&|line| {
        MERGE[0..1]
            .iter()
            .chain(&MERGE[2..])
            .any(|sign| line.starts_with(sign))
    }) {
        let help = "keep one of the two versions, and take the lines with `<<<<<<<`, `=======` and `>>>>>>>` out";
        return of(line, "a merge left both of its versions in this file", help);
    }
    if text.contains('\r') && !text.contains('\n') {
        return of(
            0,
            "the lines of this file end with CR alone",
            "save it with LF or CRLF at the end of each line",
        );
    }
    if text.starts_with("#!") {
        return of(0, "this is a script, not TOML", HELP);
    }
    if let Some(line) = numbered(&|line| line.trim_start().starts_with("```")) {
        return of(
            line,
            "this is a page with TOML in it",
            "take out the text around it, and the lines with three backticks",
        );
    }
    let begin = numbered(&|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))?;
    if let Some(language) = language(text) {
        return of(begin, &format!("this is {language}, not TOML"), HELP);
    }
    let bare = numbered(&|line| is_bare_pair(line.trim()))?;
    let bare_lines = text
        .lines()
        .filter(|line| is_bare_pair(line.trim()))
        .count();
    (bare_lines > 1 && !text.contains(['"', '\''])).then(|| {
        of(
            bare,
            "no text of this file stands in quotes, as in INI",
            "write each text in quotes: `level = \"info\"`",
        )
    })?
}

/// `key=value` with a text that has no quotes.
fn is_bare_pair(line: &str) -> bool {
    let Some((key, value)) = line.split_once('=') else {
        return false;
    };
    let value = value.trim();
    let is_value = value.parse::<f64>().is_ok()
        || matches!(value, "true" | "false")
        || value.starts_with(['[', '{']);
    is_key(key) && !is_value
}

fn is_key(key: &str) -> bool {
    let key = key.trim().trim_matches(['"', '\'']);
    !key.is_empty() && key.chars().all(|c| is_of_name(c) || c == '.')
}

/// `key: value` of YAML, as an item of a list or not.
fn is_yaml_pair(line: &str) -> bool {
    let line = line.trim_start_matches("- ").trim_start_matches('-');
    line.split_once(':')
        .is_some_and(|(key, rest)| is_key(key) && (rest.is_empty() || rest.starts_with(' ')))
}

fn is_toml(line: &str) -> bool {
    let outside = outside_of_strings(line);
    outside.split_once('=').is_some_and(|(key, _)| is_key(key))
        || line.starts_with('[')
            && !line[1..].trim_start().starts_with(['{', '"'])
            && line.ends_with(']')
}

fn language(text: &str) -> Option<&'static str> {
    let comments = ["#", "//", "/*", "*"];
    let is_told =
        |line: &&str| !line.is_empty() && !comments.iter().any(|sign| line.starts_with(sign));
    let lines: Vec<&str> = text.lines().map(str::trim).filter(is_told).collect();
    let first = *lines.first()?;
    if first.starts_with("-----BEGIN ") {
        return Some("PEM, a certificate or a key");
    }
    let many =
        |is: &dyn Fn(&str) -> bool| lines.iter().filter(|line| is(line)).count() * 2 >= lines.len();
    let any = |is: &dyn Fn(&str) -> bool| lines.iter().any(|line| is(line));
    let is_block = |line: &str| line.ends_with('{') && !line.contains('=');
    if any(&|line| line.ends_with(';'))
        && (any(&is_block) || many(&|line| line.ends_with(';') && !is_toml(line)))
    {
        return Some("the language of NGINX");
    }
    if many(&is_toml) && !(any(&is_block) && is_block(first)) {
        return None;
    }
    match first {
        "{" if lines.get(1).is_some_and(|line| {
            !line.starts_with(['"', '\'', '}', '{']) && !line.contains(':')
        }) =>
        {
            Some("a Caddyfile or the like")
        }
        first if first.starts_with('{') || first == "[" || first.starts_with("[{") => Some("JSON"),
        first if first.starts_with('"') && is_yaml_pair(first) => Some("JSON"),
        _ if any(&|line| APACHE.iter().any(|table| line.starts_with(table))) => {
            Some("the language of Apache")
        }
        first if first.starts_with('<') => Some("XML or HTML"),
        first if first == "---" || first.starts_with("%YAML") => Some("YAML"),
        _ if any(&is_block) && any(&|line| line.contains(" = ")) => Some("HCL"),
        _ if any(&is_block) => Some("a Caddyfile or the like"),
        _ if many(&|line| is_yaml_pair(line) || line.starts_with("- ") || line == "-") => {
            Some("YAML")
        }
        _ if any(&|line| {
            line.starts_with("frontend ")
                || line.starts_with("backend ")
                || line.starts_with("listen ")
        }) =>
        {
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
