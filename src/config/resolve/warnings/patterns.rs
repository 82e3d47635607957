//! Patterns, templates and values of routes in the language of another gateway:
//! here their signs are plain characters.

use std::net::Ipv4Addr;

use super::super::super::{
    field::{Field, Given},
    problem::{Code, Problems},
    syntax::path_language::has_a_path,
    wire::{
        lists::List,
        routes as wire,
        syntaxes::{Host, Literal, MethodName},
        tables::Pairs,
        text::{Syntax, Text},
    },
};
use super::templates::{VARIABLES, headers, is_colon_parameter, template};
use crate::policy::{PathPattern, Rewrite, Route};

/// Beginnings of URLs before the host; as hosts these are the rest of a URL
/// that was cut at its colon.
const SCHEMES: [&str; 5] = ["http", "https", "ws", "wss", "grpc"];
pub(super) fn report(table: &wire::Route, route: &Route, problems: &mut Problems) {
    if let Some(matches) = table.r#match.value() {
        hosts(&matches.hosts, problems);
        methods(&matches.methods, problems);
        values("headers", &matches.headers, problems);
        values("query", &matches.query, problems);
        path("path", &matches.path, problems);
        path("path_prefix", &matches.path_prefix, problems);
        if let Some(field) = &matches.path_regex {
            regex(field, problems);
        }
    }
    if let Some(request) = table.request.value() {
        path("strip_prefix", &request.strip_prefix, problems);
        path("add_prefix", &request.add_prefix, problems);
        path("rewrite", &request.rewrite, problems);
        if let Some(field) = &request.rewrite {
            template("rewrite", field, problems);
        }
        headers(&request.set_headers, problems);
        stripped(&request.strip_prefix, route, problems);
    }
    if let Some(redirect) = table.redirect.value() {
        template("to", &redirect.to, problems);
    }
    if let Some(response) = table.response.value() {
        headers(&response.set_headers, problems);
    }
    if let Some(respond) = table.respond.value() {
        headers(&respond.headers, problems);
    }
}

/// A word that is no host, and what to write.
struct NoHost {
    why: &'static str,
    help: &'static str,
}

impl NoHost {
    fn of(host: &str) -> Option<Self> {
        let any = "leave `hosts` out to match any host";
        let (why, help) = if SCHEMES.contains(&host) {
            (
                "is the scheme of a URL",
                "write the host alone, such as \"shop.example.com\"",
            )
        } else if matches!(host, "0.0.0.0" | "[::]") {
            ("is an address to listen on", any)
        } else if matches!(host, "_" | "default" | "any" | "all") {
            ("is no name that the DNS has", any)
        } else if host.contains('.')
            && ends_with_a_number(host)
            && host.parse::<Ipv4Addr>().is_err()
        {
            (
                "is no IPv4 address",
                "write four numbers up to 255, such as \"10.0.0.5\"",
            )
        } else if host.bytes().all(|byte| byte.is_ascii_digit()) {
            (
                "is a number",
                "write a host such as \"shop.example.com\"; ports stand in `bind` of `[[listeners]]`",
            )
        } else {
            return None;
        };
        Some(Self { why, help })
    }
}

fn hosts(entry: &Option<Field<List<Text<Host>>>>, problems: &mut Problems) {
    for field in entry.elements() {
        let Some(Text { text: host, .. }) = field.value() else {
            continue;
        };
        if let Some(NoHost { why, help }) = NoHost::of(&host.to_ascii_lowercase()) {
            let message = format!("`{host}` {why}, and no host that requests ask for");
            let at = field.at();
            problems.warn(Code::NeverMatches, at, message, help);
        }
    }
}

fn ends_with_a_number(host: &str) -> bool {
    host.rsplit('.')
        .next()
        .is_some_and(|label| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Words for every method, which no request has.
fn methods(entry: &Option<Field<List<Text<MethodName>>>>, problems: &mut Problems) {
    for field in entry.elements() {
        let Some(Text { text, .. }) = field.value() else {
            continue;
        };
        if matches!(text.as_str(), "*" | "ALL" | "ANY" | "all" | "any") {
            let message = format!("no request has the method `{text}`");
            let at = field.at();
            problems.warn(
                Code::NeverMatches,
                at,
                message,
                "leave `methods` out to match any method but TRACE",
            );
            return;
        }
    }
}

/// Values to be equal to, with signs that stand for something elsewhere.
fn values<N: Syntax, V: Syntax>(
    key: &str,
    entry: &Option<Field<Pairs<N, V>>>,
    problems: &mut Problems,
) {
    for pair in entry.elements() {
        let (Some(name), Some(value)) = (pair.name.value(), pair.value.value()) else {
            continue;
        };
        let (name, text) = (&name.text, &value.text);
        if text == "*" || text.contains(".*") || text.starts_with('^') && text.ends_with('$') {
            let message = format!(
                "`{name}` has to be equal to this, sign by sign: it stands for nothing else"
            );
            let at = pair.value.at();
            problems.warn(
                Code::NeverMatches,
                at,
                message,
                format!("write a whole value; `{key}` has no patterns"),
            );
        }
    }
}

/// A literal path with signs that stand for something elsewhere.
fn path<S: Syntax>(key: &str, entry: &Option<Field<Text<S>>>, problems: &mut Problems) {
    let Some(Text { text, .. }) = entry.given() else {
        return;
    };
    let colon = text.split('/').find(|segment| is_colon_parameter(segment));
    let variable = VARIABLES
        .into_iter()
        .find(|sign| text.contains(sign) && key != "rewrite");
    let (sign, help) = if text.contains('*') {
        ("*", instead_of_star(key, text))
    } else if let Some(colon) = colon {
        (colon, instead_of_colons(key, text))
    } else if let Some(variable) = variable {
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
    let at = entry.at();
    problems.warn(Code::NeverMatches, at, message, help);
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

fn regex<S: Syntax>(field: &Field<Text<S>>, problems: &mut Problems) {
    let text = field.value().map(|regex| regex.text.as_str());
    let Some(text) = text.filter(|text| !has_a_path(text)) else {
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
    problems.warn(
        Code::NeverMatches,
        field.at(),
        "no path can match this expression",
        help,
    );
}

/// The expression as other gateways and languages write it: behind `~`, between
/// slashes, after a host, with a blank.
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

/// A prefix to take off that no path of the route has.
fn stripped(entry: &Option<Field<Text<Literal>>>, route: &Route, problems: &mut Problems) {
    let Rewrite::Prefix { strip, .. } = &route.request.rewrite else {
        return;
    };
    if !entry.is_own() || strip.is_empty() {
        return;
    }
    let path = match &route.matches.path {
        PathPattern::Prefix(path) if !is_under(path, strip) && !is_under(strip, path) => path,
        PathPattern::Exact(path) if !is_under(path, strip) => path,
        _ => return,
    };
    let message =
        format!("no path of this route begins with `{strip}`: it takes those of `{path}`");
    problems.warn(
        Code::NoEffect,
        entry.at(),
        message,
        "write the beginning of the path that the route matches",
    );
}

fn is_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
