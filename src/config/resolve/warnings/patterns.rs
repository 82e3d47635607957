//! Patterns, templates and values of routes in the language of another gateway: here their signs are plain characters.

use super::super::{
    super::{
        model::{PathPattern, Rewrite, Route},
        problem::{Code, Problem, Problems},
        syntax::path_language::has_a_path,
        tree::Node,
    },
    reader::Reader,
};

/// Beginnings of URLs before the host; as hosts these are the rest of a URL that was cut at its colon.
const SCHEMES: [&str; 5] = ["http", "https", "ws", "wss", "grpc"];
/// With what variables of NGINX begin. A value may hold other dollar signs.
const VARIABLES: [&str; 13] = [
    "$host", "$http_", "$remote_", "$proxy_", "$scheme", "$request", "$uri", "$args", "$server_", "$arg_", "$cookie_",
    "$is_args", "$realip_",
];

pub(super) fn report(reader: Reader<'_>, route: &Route, problems: &mut Problems) {
    let (matches, request) = (reader.table("match"), reader.table("request"));
    hosts(matches, problems);
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
    for (table, key) in
        [(request, "set_headers"), (reader.table("response"), "set_headers"), (reader.table("respond"), "headers")]
    {
        headers(table, key, problems);
    }
    stripped(request, route, problems);
}

fn hosts(matches: Reader<'_>, problems: &mut Problems) {
    for node in matches.items("hosts") {
        let Some(host) = node.text() else { continue };
        let lower = host.to_ascii_lowercase();
        let (why, help) = if SCHEMES.contains(&lower.as_str()) {
            ("is the scheme of a URL", "write the host alone, such as \"shop.example.com\"")
        } else if matches!(lower.as_str(), "0.0.0.0" | "[::]") {
            ("is an address to listen on", "leave `hosts` out to match any host")
        } else if lower.bytes().all(|byte| byte.is_ascii_digit()) {
            ("is a number", "write a host such as \"shop.example.com\"; ports stand in `bind` of `[[listeners]]`")
        } else {
            continue;
        };
        let message = format!("`{host}` {why}, and no host that requests ask for");
        problems.report(Problem::warning(Code::NeverMatches, node.span, message).help(help));
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
    } else if text.len() > 1 && text.ends_with('$') {
        ("$", format!("write \"{}\", or `path_regex`", text.trim_end_matches('$')))
    } else {
        return;
    };
    let message = format!("`{sign}` in `{key}` stands for nothing: only a path with these very characters has it");
    problems.report(Problem::warning(Code::NeverMatches, node.span, message).help(help));
}

/// `:id`, the parameter of many routers.
fn is_colon_parameter(segment: &str) -> bool {
    segment.strip_prefix(':').is_some_and(|name| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
}

fn instead_of_star(key: &str, text: &str) -> String {
    let whole = text.trim_end_matches('*').trim_end_matches('.').trim_end_matches('/');
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
        "path" | "path_prefix" => "write `path` with `{name}` for one segment, or `path_regex`".to_owned(),
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
        "path_prefix" => format!("a prefix has no parameters: write `path = \"{path}\"`, or `path_regex`"),
        _ => format!("a prefix has no parameters: write `rewrite` with `match.path`, such as \"{path}\""),
    }
}

fn regex(node: &Node, problems: &mut Problems) {
    let Some(text) = node.text().filter(|text| !has_a_path(text)) else { return };
    let slash = format!("/{}", text.trim_start_matches('^'));
    let help = if has_a_path(&slash) {
        format!("a path begins with `/`: write \"{slash}\"")
    } else if text.contains("\\?") {
        "a path has no query: match it with `match.query`".to_owned()
    } else {
        "it has to match a whole path in normal form, which begins with `/` and has no `//`, `/../`, spaces or lower-case escapes".to_owned()
    };
    problems.report(Problem::warning(Code::NeverMatches, node.span, "no path can match this expression").help(help));
}

/// `$host` and `$1` in what is filled in for each request.
fn template(key: &str, node: &Node, problems: &mut Problems) {
    let Some(text) = node.text() else { return };
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let word = text.split('$').skip(1).map(|after| after.split(|c| !is_word(c)).next().unwrap_or_default());
    if let Some(word) = word.into_iter().find(|word| !word.is_empty()) {
        let message = format!("`${word}` in `{key}` is sent as it stands: nothing is filled in there");
        let help = match (key, word) {
            ("to", "host" | "http_host" | "server_name") => "write `{host}`",
            ("to", "request_uri" | "uri") => "write `{path}`, which holds the query too",
            ("to", _) => "write `{host}`, `{path}` (with the query) or a parameter of `match.path` such as `{id}`",
            _ => "write a parameter of `match.path`, such as `{id}`",
        };
        problems.report(Problem::warning(Code::Misleading, node.span, message).help(help));
    }
}

fn headers(table: Reader<'_>, key: &str, problems: &mut Problems) {
    for (name, entry) in table.given(key).and_then(Node::table).into_iter().flat_map(|table| &table.entries) {
        let text = entry.node.text().unwrap_or_default();
        let sign = VARIABLES.into_iter().find(|sign| text.contains(sign));
        if sign.is_some() {
            let message = format!("the value of `{name}` is sent as it stands: nothing is filled in there");
            let help = "leave it out: `X-Forwarded-For`, `-Proto`, `-Host` and `Forwarded` are written anyway, and `preserve_host` chooses the Host";
            problems.report(Problem::warning(Code::Misleading, entry.node.span, message).help(help));
        }
    }
}

/// A prefix to take off that no path of the route has.
fn stripped(request: Reader<'_>, route: &Route, problems: &mut Problems) {
    let Rewrite::Prefix { strip, .. } = &route.request.rewrite else { return };
    let Some(node) = request.own("strip_prefix").filter(|_| !strip.is_empty()) else { return };
    let is_under = |path: &str, prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let path = match &route.matches.path {
        PathPattern::Prefix(path) if !is_under(path, strip) && !is_under(strip, path) => path,
        PathPattern::Exact(path) if !is_under(path, strip) => path,
        _ => return,
    };
    let message = format!("no path of this route begins with `{strip}`: it takes those of `{path}`");
    let problem = Problem::warning(Code::NoEffect, node.span, message);
    problems.report(problem.help("write the beginning of the path that the route matches"));
}
