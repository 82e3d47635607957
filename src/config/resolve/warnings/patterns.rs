//! Patterns, templates and values of routes in the language of another gateway:
//! here their signs are plain characters.
//!
//! A `*` in a path, `:id` for a parameter, `^...$` around a value, or a regular
//! expression behind `~` are all valid texts, and match nothing that clients
//! send. The help has the same pattern as this language writes it, where it can
//! be told.
//!
//! A route with such a pattern is sound, and gets fewer requests than its
//! author thinks, or none. That shows only when clients get the response of
//! another route, or a 404. Each finding is a warning and no error: a path may
//! have a star in it, and a host may be called `default`.
//!
//! A text is reported once, for the first sign that is found in it, since a
//! text in a foreign language usually has several.

use std::net::Ipv4Addr;

use super::templates::{VARIABLES, added, filled_headers, headers, is_colon_parameter, template};
use crate::config::{
    field::{Field, Given},
    problem::{Code, Problems},
    syntax::path_language::has_a_path,
    wire::{
        lists::List,
        routes as wire,
        scalar::{Scalar, Syntax},
        syntaxes::{Host, MethodName},
        tables::Pairs,
        transform::Request,
    },
};
use crate::policy::{PathPattern, RequestValue, Rewrite, Route};

/// Reports patterns and templates of one route.
///
/// Keys of `request`, `response`, `redirect` and `respond` are looked at, too,
/// as they hold paths, templates and headers.
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
        filled_headers(&request.set_headers, problems);
        filled_headers(&request.add_headers, problems);
        added(&request.add_headers, RequestValue::is_of_client, problems);
        stripped(request, route, problems);
    }
    if let Some(redirect) = table.redirect.value() {
        template("to", &redirect.to, problems);
    }
    if let Some(response) = table.response.value() {
        filled_headers(&response.set_headers, problems);
        filled_headers(&response.add_headers, problems);
        added(&response.add_headers, |_| false, problems);
    }
    if let Some(respond) = table.respond.value() {
        headers(&respond.headers, problems);
    }
}

/// Words that are no host: parts of URLs, addresses to listen on, words for any
/// host, numbers.
///
/// Each host is reported by itself. The reasons are tried in the order of the
/// code, and the first one counts.
fn hosts(entry: &Option<Field<List<Scalar<Host>>>>, problems: &mut Problems) {
    for field in entry.elements() {
        let host = field.value().map_or("", |host| &host.text);
        let lower = host.to_ascii_lowercase();
        let any = "leave `hosts` out to match any host";
        let alone = "write the host alone, such as \"shop.example.com\"";
        let numbers = "write four numbers up to 255, such as \"10.0.0.5\"";
        let port =
            "write a host such as \"shop.example.com\"; ports stand in `bind` of `[[listeners]]`";
        let (reason, help) = match &*lower {
            "http" | "https" | "ws" | "wss" | "grpc" => ("is the scheme of a URL", alone),
            "0.0.0.0" | "[::]" => ("is an address to listen on", any),
            "_" | "default" | "any" | "all" => ("is no name that the DNS has", any),
            _ if is_wrong_address(host) => ("is no IPv4 address", numbers),
            _ if is_number(host) => ("is a number", port),
            _ => continue,
        };
        let message = format!("`{host}` {reason}, and no host that requests ask for");
        problems.warn(Code::NeverMatches, field.at(), message, help);
    }
}

/// A host whose last label is a number can only be an IPv4 address.
///
/// The URL standard of the WHATWG takes a host whose last label is a number for
/// an address, so that browsers do not send it as a name. A host without a dot
/// is not looked at here.
fn is_wrong_address(host: &str) -> bool {
    let last = host.rsplit_once('.').map(|(_, label)| label);
    last.is_some_and(is_number) && host.parse::<Ipv4Addr>().is_err()
}

/// Only digits, and at least one.
fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Words for every method, which no request has.
///
/// Only the first is reported. Methods have case, and these words are rare as
/// real ones.
fn methods(entry: &Option<Field<List<Scalar<MethodName>>>>, problems: &mut Problems) {
    for field in entry.elements() {
        let text = field.value().map_or("", |method| &method.text);
        if matches!(text, "*" | "ALL" | "ANY" | "all" | "any") {
            let message = format!("no request has the method `{text}`");
            let help = "leave `methods` out to match any method but TRACE";
            problems.warn(Code::NeverMatches, field.at(), message, help);
            return;
        }
    }
}

/// Values to be equal to, with signs that stand for something elsewhere.
///
/// `key` is the name of the table, as the help has it. A value is reported if
/// it is `*` alone, has `.*` in it, or stands between `^` and `$`.
fn values<N: Syntax, V: Syntax>(
    key: &str,
    entry: &Option<Field<Pairs<N, V>>>,
    problems: &mut Problems,
) {
    for pair in entry.elements() {
        let name = pair.name.value().map_or("", |name| &name.text);
        let text = pair.field.value().map_or("", |value| &value.text);
        if text == "*" || text.contains(".*") || text.starts_with('^') && text.ends_with('$') {
            let message = format!(
                "`{name}` has to be equal to this, sign by sign: it stands for nothing else"
            );
            let help = format!("write a whole value; `{key}` has no patterns");
            problems.warn(Code::NeverMatches, pair.field.at(), message, help);
        }
    }
}

/// A literal path with signs that stand for something elsewhere.
///
/// `key` is the name of the key, on which the help depends. Variables in
/// `rewrite` are left to `template`, which knows what is filled in there.
fn path<S: Syntax>(key: &str, entry: &Option<Field<Scalar<S>>>, problems: &mut Problems) {
    let text = entry.given().map_or("", |text| &text.text);
    let mut segments = text.split('/');
    let mut variables = VARIABLES.into_iter().filter(|_| key != "rewrite");
    let (sign, help) = if text.contains('*') {
        ("*", instead_of_star(key, text))
    } else if let Some(colon) = segments.find(|segment| is_colon_parameter(segment)) {
        (colon, instead_of_colons(key, text))
    } else if let Some(variable) = variables.find(|sign| text.contains(sign)) {
        let help = "write the path itself: nothing is filled in there";
        (variable, help.to_owned())
    } else if text.len() > 1 && text.ends_with('$') {
        let path = text.trim_end_matches('$');
        ("$", format!("write \"{path}\", or `path_regex`"))
    } else {
        return;
    };
    let message = format!(
        "`{sign}` in `{key}` stands for nothing: only a path with these very characters has it"
    );
    problems.warn(Code::NeverMatches, entry.at(), message, help);
}

/// Help for a path with `*`: as a prefix where the star stands at its end.
///
/// A star in the middle has no prefix that would mean the same, and gets
/// parameters or an expression instead.
fn instead_of_star(key: &str, text: &str) -> String {
    let whole = text.trim_end_matches('*').trim_end_matches('.');
    let prefix = match whole.trim_end_matches('/') {
        "" => "/",
        prefix => prefix,
    };
    let below = format!("write `path_prefix = \"{prefix}\"`, which takes everything below it");
    let one = format!("`path = \"{prefix}/{{name}}\"` for one segment").replace("//", "/");
    match key {
        "path" | "path_prefix" if prefix.contains('*') => {
            "write `path` with `{name}` for one segment, or `path_regex`".to_owned()
        }
        "path" => format!("{below}, or {one}"),
        "path_prefix" => below,
        _ if prefix.contains('*') => "write a path without `*`".to_owned(),
        _ => format!("write \"{prefix}\""),
    }
}

/// Help for a path with `:name`: the same path with `{name}`, for the key that
/// takes parameters.
fn instead_of_colons(key: &str, text: &str) -> String {
    let in_braces = |segment: &str| match is_colon_parameter(segment) {
        true => format!("{{{}}}", &segment[1..]),
        false => segment.to_owned(),
    };
    let segments: Vec<_> = text.split('/').map(in_braces).collect();
    let path = segments.join("/");
    let none = "a prefix has no parameters: write";
    match key {
        "path" | "rewrite" => format!("write \"{path}\": `{{name}}` is one segment"),
        "path_prefix" => format!("{none} `path = \"{path}\"`, or `path_regex`"),
        _ => format!("{none} `rewrite` with `match.path`, such as \"{path}\""),
    }
}

/// An expression that matches no path in normal form.
///
/// The expression is sound: it was compiled before. A path has one normal form,
/// and an expression that matches other forms only matches no request.
fn regex<S: Syntax>(field: &Field<Scalar<S>>, problems: &mut Problems) {
    let Some(Scalar { text, .. }) = field.value().filter(|regex| !has_a_path(&regex.text)) else {
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
    let message = "no path can match this expression";
    problems.warn(Code::NeverMatches, field.at(), message, help);
}

/// The expression as other gateways and languages write it: behind `~`, between
/// slashes, after a host, with a blank, escaped twice.
///
/// Each candidate is tried, and the first that matches a path is advised.
/// `None` if none does.
fn meant_regex(text: &str) -> Option<String> {
    let behind_tilde = text.trim_start_matches('~').trim_start_matches('*');
    let slashes = text
        .strip_prefix('/')
        .and_then(|rest| rest.rsplit_once('/'));
    let url = text
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'));
    let candidates = [
        Some(behind_tilde.trim_start().to_owned()),
        slashes.map(|(inside, _)| inside.replace("\\/", "/")),
        url.map(|(_, path)| format!("/{path}")),
        Some(text.replace(' ', "%20")),
        Some(text.replace("\\\\", "\\")),
    ];
    let is_right = |right: &String| right != text && !right.is_empty() && has_a_path(right);
    candidates.into_iter().flatten().find(is_right)
}

/// A prefix to take off that no path of the route has.
///
/// A prefix that is longer than the matched one is no mistake: some of the
/// paths may begin with it. Patterns with parameters and expressions are not
/// compared, nor is a prefix that the route inherits.
fn stripped(request: &Request, route: &Route, problems: &mut Problems) {
    let Rewrite::Prefix { strip, .. } = &route.request.rewrite else {
        return;
    };
    let path = match &route.matches.path {
        PathPattern::Prefix(path) if !is_under(path, strip) && !is_under(strip, path) => path,
        PathPattern::Exact(path) if !is_under(path, strip) => path,
        _ => return,
    };
    if request.strip_prefix.is_own() && !strip.is_empty() {
        let message =
            format!("no path of this route begins with `{strip}`: it takes those of `{path}`");
        let help = "write the beginning of the path that the route matches";
        problems.warn(Code::NoEffect, request.strip_prefix.at(), message, help);
    }
}

/// Whether the path is the prefix, or begins with it and a slash.
fn is_under(path: &str, prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
