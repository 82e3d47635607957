//! `if` of NGINX, as far as it decides who gets an answer.
//!
//! A condition that lets only some methods through is one of a route. One that
//! does nothing but give a variable a value, or add a field, keeps nobody out.
//! Any other may refuse, redirect or lead elsewhere, and has no counterpart: a
//! route that it guards leads nowhere.

use super::tree::Directive;

/// Directives within `if` that leave the action of the location as it is.
const HARMLESS: [&str; 13] = [
    "set",
    "add_header",
    "more_set_headers",
    "access_log",
    "error_log",
    "log_not_found",
    "expires",
    "etag",
    "gzip",
    "charset",
    "limit_rate",
    "limit_rate_after",
    "break",
];

/// The effect of a condition.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It refuses nobody.
    Nothing,
    /// It refuses all methods but these.
    Methods(Vec<String>),
    /// It has no counterpart.
    Unknown,
}

/// Reads `if (CONDITION) { ... }`.
pub(super) fn effect(directive: &Directive) -> Effect {
    let is_decisive = |inner: &&Directive| !is_harmless(inner);
    let decisive: Vec<&Directive> = directive.inside().iter().filter(is_decisive).collect();
    let [first, ..] = decisive.as_slice() else {
        return Effect::Nothing;
    };
    let text = directive.arguments.join(" ");
    let text = text.strip_prefix('(').unwrap_or(&text);
    let condition = text.strip_suffix(')').unwrap_or(text).trim();
    let refuses = first.name == "return"
        && matches!(first.argument(0).parse(), Ok(400_u16..600))
        && decisive.len() == 1;
    let Some(rest) = condition.strip_prefix("$request_method") else {
        return Effect::Unknown;
    };
    match rest.trim().split_once(' ') {
        // The gateway itself refuses these.
        Some(("=", "TRACE" | "CONNECT")) if refuses => Effect::Nothing,
        Some(("!=", method)) if refuses => {
            methods(method.trim()).map_or(Effect::Unknown, Effect::Methods)
        }
        Some(("!~", regex)) if refuses => {
            let listed = regex.trim().trim_matches('"');
            let listed = listed
                .strip_prefix('^')
                .and_then(|text| text.strip_suffix('$'));
            let listed = listed.map(|text| {
                let inside = text
                    .strip_prefix('(')
                    .and_then(|text| text.strip_suffix(')'));
                (inside.is_some() || !text.contains('|')).then_some(inside.unwrap_or(text))
            });
            let found = listed.flatten().and_then(methods);
            found.map_or(Effect::Unknown, Effect::Methods)
        }
        _ => Effect::Unknown,
    }
}

/// `GET|HEAD`
fn methods(text: &str) -> Option<Vec<String>> {
    let text = text.strip_prefix("?:").unwrap_or(text);
    let is_method = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase());
    text.split('|')
        .map(|name| is_method(name).then(|| name.to_owned()))
        .collect()
}

/// Whether a directive within `if` keeps nobody out. A response of success is
/// one that clients get from the service then.
fn is_harmless(inner: &Directive) -> bool {
    match inner.name.as_str() {
        "return" => matches!(inner.argument(0).parse(), Ok(200_u16..300)),
        name => HARMLESS.contains(&name),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(text: &str) -> Effect {
        let tree = super::super::parser::read("x", text.as_bytes(), Path::new("")).unwrap();
        effect(&tree.directives[0])
    }

    #[test]
    fn a_condition_that_may_refuse_is_known_or_guards() {
        for (text, expected) in [
            ("if ($a) { set $b 1; add_header X-A b; }", Effect::Nothing),
            (
                "if ($request_method = OPTIONS) { add_header X-A b; return 204; }",
                Effect::Nothing,
            ),
            (
                "if ($request_method = TRACE) { return 405; }",
                Effect::Nothing,
            ),
            (
                "if ($request_method !~ ^(GET|HEAD)$) { return 405; }",
                Effect::Methods(vec!["GET".into(), "HEAD".into()]),
            ),
            (
                "if ($request_method != POST ) { return 403; }",
                Effect::Methods(vec!["POST".into()]),
            ),
            (
                "if ($request_method !~ ^GET|POST$) { return 405; }",
                Effect::Unknown,
            ),
            (
                "if ($request_method !~ GET) { return 405; }",
                Effect::Unknown,
            ),
            (
                "if ($request_method != POST) { return 301 /x; }",
                Effect::Unknown,
            ),
            (
                "if ($cookie_session = \"\") { return 302 /login; }",
                Effect::Unknown,
            ),
            (
                "if ($http_x != a) { rewrite ^ /denied last; }",
                Effect::Unknown,
            ),
            ("if ($a) { return 410; }", Effect::Unknown),
            ("if ($a) { return https://b; }", Effect::Unknown),
            ("if ($a) { return 444; }", Effect::Unknown),
            ("if ($a) { proxy_pass http://b; }", Effect::Unknown),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
