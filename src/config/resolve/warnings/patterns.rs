//! Patterns, templates and values of routes in the language of another gateway: here their signs are plain characters.

use std::net::Ipv4Addr;

use super::super::{
    super::{
        problem::{Code, Problem, Problems},
        syntax::path_language::has_a_path,
        tree::Node,
    },
    reader::Reader,
};
use crate::policy::{PathPattern, Rewrite, Route};

/// Beginnings of URLs before the host; as hosts these are the rest of a URL that was cut at its colon.
const SCHEMES: [&str; 5] = ["http", "https", "ws", "wss", "grpc"];
/// With what variables of NGINX begin. A value may hold other dollar signs.
const VARIABLES: [&str; 13] = [
    "$host", "$http_", "$remote_", "$proxy_", "$scheme", "$request", "$uri", "$args", "$server_",
    "$arg_", "$cookie_", "$is_args", "$realip_",
];

pub(super) fn report(reader: Reader<'_>, route: &Route, problems: &mut Problems) {
    let (matches, request) = (reader.table("match"), reader.table("request"));
    hosts(matches, problems);
    methods(matches, problems);
    for key in ["headers", "query"] {
        values(matches, key, problems);
    }
    for (table, key) in [
        (matches, "path"),
        (matches, "path_prefix"),
        (request, "strip_prefix"),
        (request, "add_prefix"),
        (request, "rewrite"),
    ] {
        if let Some(node) = table.given(key) {
            path(key, node, problems);
        }
    }
    if let Some(node) = matches.given("path_regex") {
        regex(node, problems);
    }
    for (table, key) in [(reader.table("redirect"), "to"), (request, "rewrite")] {
        if let Some(node) = table.given(key) {
            template(key, node, problems);
        }
    }
    for (table, key) in [
        (request, "set_headers"),
        (reader.table("response"), "set_headers"),
        (reader.table("respond"), "headers"),
    ] {
        headers(table, key, problems);
    }
    stripped(request, route, problems);
}

fn hosts(matches: Reader<'_>, problems: &mut Problems) {
    for node in matches.items("hosts") {
        let Some(host) = node.text() else { continue };
        let lower = host.to_ascii_lowercase();
        let (why, help) = if SCHEMES.contains(&lower.as_str()) {
            (
                "is the scheme of a URL",
                "write the host alone, such as \"shop.example.com\"",
            )
        } else if matches!(lower.as_str(), "0.0.0.0" | "[::]") {
            (
                "is an address to listen on",
                "leave `hosts` out to match any host",
            )
        } else if matches!(lower.as_str(), "_" | "default" | "any" | "all") {
            (
                "is no name that the DNS has",
                "leave `hosts` out to match any host",
            )
        } else if lower.contains('.')
            && ends_with_a_number(&lower)
            && lower.parse::<Ipv4Addr>().is_err()
        {
            (
                "is no IPv4 address",
                "write four numbers up to 255, such as \"10.0.0.5\"",
            )
        } else if lower.bytes().all(|byte| byte.is_ascii_digit()) {
            (
                "is a number",
                "write a host such as \"shop.example.com\"; ports stand in `bind` of `[[listeners]]`",
            )
        } else {
            continue;
        };
        let message = format!("`{host}` {why}, and no host that requests ask for");
        problems.report(Problem::warning(Code::NeverMatches, node.span, message).help(help));
    }
}

fn ends_with_a_number(host: &str) -> bool {
    host.rsplit('.')
        .next()
        .is_some_and(|label| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Words for every method, which no request has.
fn methods(matches: Reader<'_>, problems: &mut Problems) {
    let is_any = |node: &&Node| {
        node.text()
            .is_some_and(|text| matches!(text, "*" | "ALL" | "ANY" | "all" | "any"))
    };
    if let Some(node) = matches.items("methods").iter().find(is_any) {
        let message = format!(
            "no request has the method `{}`",
            node.text().unwrap_or_default()
        );
        let problem = Problem::warning(Code::NeverMatches, node.span, message);
        problems.report(problem.help("leave `methods` out to match any method but TRACE"));
    }
}

/// Values to be equal to, with signs that stand for something elsewhere.
fn values(matches: Reader<'_>, key: &str, problems: &mut Problems) {
    for (name, entry) in matches
        .given(key)
        .and_then(Node::table)
        .into_iter()
        .flat_map(|table| &table.entries)
    {
        let text = entry.node.text().unwrap_or_default();
        if text == "*" || text.contains(".*") || text.starts_with('^') && text.ends_with('$') {
            let message = format!(
                "`{name}` has to be equal to this, sign by sign: it stands for nothing else"
            );
            let problem = Problem::warning(Code::NeverMatches, entry.node.span, message);
            problems.report(problem.help(format!("write a whole value; `{key}` has no patterns")));
        }
    }
}

/// A literal path with signs that stand for something elsewhere.
fn path(key: &str, node: &Node, problems: &mut Problems) {
    let Some(text) = node.text() else { return };
    let colon = text.split('/').find(|segment| is_colon_parameter(segment));
    let (sign, help) = if text.contains('*') {
        ("*", instead_of_star(key, text))
    } else if let Some(colon) = colon {
        (colon, instead_of_colons(key, text))
    } else if let Some(variable) = VARIABLES
        .into_iter()
        .find(|sign| text.contains(sign) && key != "rewrite")
    {
        (
            variable,
            "write the path itself: nothing is filled in there".to_owned(),
        )
    } else if text.len() > 1 && text.ends_with('$') {
        (
            "$",
            format!("write \"{}\", or `path_regex`", text.trim_end_matches('$')),
        )
    } else {
        return;
    };
    let message = format!(
        "`{sign}` in `{key}` stands for nothing: only a path with these very characters has it"
    );
    problems.report(Problem::warning(Code::NeverMatches, node.span, message).help(help));
}

/// `:id`, the parameter of many routers.
fn is_colon_parameter(segment: &str) -> bool {
    segment
        .strip_prefix(':')
        .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
}

fn instead_of_star(key: &str, text: &str) -> String {
    let whole = text
        .trim_end_matches('*')
        .trim_end_matches('.')
        .trim_end_matches('/');
    let prefix = if whole.is_empty() { "/" } else { whole };
    match key {
        "path" | "path_prefix" if !prefix.contains('*') => {
            let inside = if key == "path" {
                format!(", or `path = \"{prefix}/{{name}}\"` for one segment").replace("//", "/")
            } else {
                String::new()
            };
            format!("write `path_prefix = \"{prefix}\"`, which takes everything below it{inside}")
        }
        "path" | "path_prefix" => {
            "write `path` with `{name}` for one segment, or `path_regex`".to_owned()
        }
        _ if !prefix.contains('*') => format!("write \"{prefix}\""),
        _ => "write a path without `*`".to_owned(),
    }
}

fn instead_of_colons(key: &str, text: &str) -> String {
    let segment = |segment: &str| match is_colon_parameter(segment) {
        true => format!("{{{}}}", &segment[1..]),
        false => segment.to_owned(),
    };
    let path = text.split('/').map(segment).collect::<Vec<_>>().join("/");
    match key {
        "path" | "rewrite" => format!("write \"{path}\": `{{name}}` is one segment"),
        "path_prefix" => {
            format!("a prefix has no parameters: write `path = \"{path}\"`, or `path_regex`")
        }
        _ => format!(
            "a prefix has no parameters: write `rewrite` with `match.path`, such as \"{path}\""
        ),
    }
}

fn regex(node: &Node, problems: &mut Problems) {
    let Some(text) = node.text().filter(|text| !has_a_path(text)) else {
        return;
    };
    let slash = format!("/{}", text.trim_start_matches('^'));
    let help = if text.contains("\\?") {
        "a path has no query: match it with `match.query`".to_owned()
    } else if let Some(right) = meant_regex(text) {
        format!("write '{right}'")
    } else if has_a_path(&slash) {
        format!("a path begins with `/`: write \"{slash}\"")
    } else {
        "it has to match a whole path in normal form, which begins with `/` and has no `//`, `/../`, spaces or lower-case escapes".to_owned()
    };
    problems.report(
        Problem::warning(
            Code::NeverMatches,
            node.span,
            "no path can match this expression",
        )
        .help(help),
    );
}

/// The expression as other gateways and languages write it: behind `~`, between slashes, after a host, with a blank.
fn meant_regex(text: &str) -> Option<String> {
    let behind_tilde = text
        .trim_start_matches('~')
        .trim_start_matches('*')
        .trim_start();
    let between = text
        .strip_prefix('/')
        .and_then(|rest| rest.rsplit_once('/'))
        .map(|(inside, _)| inside);
    let after_host = text
        .split_once("://")
        .and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
    let without_blanks = text.replace(' ', "%20");
    let once_escaped = text.replace("\\\\", "\\");
    let between = between.map(|inside| inside.replace("\\/", "/"));
    let candidates = [
        Some(behind_tilde.to_owned()),
        between,
        after_host.map(str::to_owned),
        Some(without_blanks),
        Some(once_escaped),
    ];
    candidates
        .into_iter()
        .flatten()
        .find(|right| right != text && has_a_path(right) && !right.is_empty())
}

/// `$host` and `$1` in what is filled in for each request.
fn template(key: &str, node: &Node, problems: &mut Problems) {
    let Some(text) = node.text() else { return };
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let word = text
        .split('$')
        .skip(1)
        .map(|after| after.split(|c| !is_word(c)).next().unwrap_or_default());
    if let Some(word) = word.into_iter().find(|word| !word.is_empty()) {
        let message =
            format!("`${word}` in `{key}` is sent as it stands: nothing is filled in there");
        let help = match (key, word) {
            ("to", "host" | "http_host" | "server_name") => "write `{host}`",
            ("to", "request_uri" | "uri") => "write `{path}`, which holds the query too",
            ("to", _) => {
                "write `{host}`, `{path}` (with the query) or a parameter of `match.path` such as `{id}`"
            }
            _ => "write a parameter of `match.path`, such as `{id}`",
        };
        problems.report(Problem::warning(Code::Misleading, node.span, message).help(help));
        return;
    }
    if key != "to" {
        return;
    }
    let colon = text
        .split('/')
        .skip(1)
        .find(|segment| is_colon_parameter(segment));
    let (sign, help) = match colon {
        Some(":path" | ":uri") => (
            colon.unwrap_or_default(),
            "write `{path}`, which begins with `/` and holds the query".to_owned(),
        ),
        Some(":host") => (":host", "write `{host}`".to_owned()),
        Some(colon) => (
            colon,
            format!("write `{{{}}}`, a parameter of `match.path`", &colon[1..]),
        ),
        None if text.contains('*') => {
            ("*", "write `{path}` for the path of the request".to_owned())
        }
        None if text.contains("/{path}") => (
            "/{path}",
            "write `{path}` alone, which begins with `/`".to_owned(),
        ),
        None => return,
    };
    let message = match sign {
        "/{path}" => "two slashes stand before the path that is filled in".to_owned(),
        sign => format!("`{sign}` in `{key}` is sent as it stands: nothing is filled in there"),
    };
    problems.report(Problem::warning(Code::Misleading, node.span, message).help(help));
}

fn headers(table: Reader<'_>, key: &str, problems: &mut Problems) {
    for (name, entry) in table
        .given(key)
        .and_then(Node::table)
        .into_iter()
        .flat_map(|table| &table.entries)
    {
        let text = entry.node.text().unwrap_or_default();
        if VARIABLES.into_iter().any(|sign| text.contains(sign)) || has_a_place(text) {
            let message =
                format!("the value of `{name}` is sent as it stands: nothing is filled in there");
            let help = "leave it out: `X-Forwarded-For`, `-Proto`, `-Host` and `Forwarded` are written anyway, and `preserve_host` chooses the Host";
            problems
                .report(Problem::warning(Code::Misleading, entry.node.span, message).help(help));
        }
    }
}

/// `{client_ip}`, `%[src]`, `%REQ(x)%`, `{{.Host}}`: what templates of other gateways have.
fn has_a_place(text: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"_.>-".contains(&c))
    };
    let in_braces = text
        .split('{')
        .skip(1)
        .filter_map(|after| after.split_once('}'))
        .any(|(word, _)| is_word(word));
    in_braces
        || text.contains("%[")
        || text.contains("{{")
        || text.contains("%REQ(")
        || text.contains("%DOWNSTREAM")
}

/// A prefix to take off that no path of the route has.
fn stripped(request: Reader<'_>, route: &Route, problems: &mut Problems) {
    let Rewrite::Prefix { strip, .. } = &route.request.rewrite else {
        return;
    };
    let Some(node) = request.own("strip_prefix").filter(|_| !strip.is_empty()) else {
        return;
    };
    let is_under = |path: &str, prefix: &str| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let path = match &route.matches.path {
        PathPattern::Prefix(path) if !is_under(path, strip) && !is_under(strip, path) => path,
        PathPattern::Exact(path) if !is_under(path, strip) => path,
        _ => return,
    };
    let message =
        format!("no path of this route begins with `{strip}`: it takes those of `{path}`");
    let problem = Problem::warning(Code::NoEffect, node.span, message);
    problems.report(problem.help("write the beginning of the path that the route matches"));
}
