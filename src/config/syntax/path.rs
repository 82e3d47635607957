//! Path patterns of routes.
//!
//! Requests are compared by the normal form of their path, so that `/a` and
//! `/%61` are one path for every limit. A pattern that is not in this form would
//! never match, and is refused with its normal form as help.
//!
//! # Three keys
//!
//! `path` takes whole paths and parameters, `path_prefix` whole segments from
//! the beginning, and `path_regex` an expression. A text in the form of one
//! that stands under another is refused, with the form that is right for its
//! key.

use regex::{Regex, RegexBuilder};

use super::super::{characters::is_identifier, wrong::Wrong};
use crate::policy::{PathPattern, path};

/// Bytes that a compiled path expression may take: generous for a path, far
/// from hurting.
///
/// Each expression is compiled twice, and the bound is for each of the two.
/// Matching takes time in proportion to the path, whatever the expression is:
/// the regex crate does not backtrack.
const REGEX_SIZE: usize = 1 << 20;

/// The normal form of a path pattern; see [`path`](crate::policy::path).
///
/// A text that is in this form already is returned as it is.
pub(in crate::config) fn normal_form(path: &str) -> String {
    path::normal_form(path.as_bytes()).unwrap_or_else(|| path.to_owned())
}

/// A path, perhaps with a query, as it can stand in a request line.
///
/// # Errors
/// A text without a leading `/`, or with a blank, a control character, a
/// character outside ASCII, or `#`. An HTTP/1 request line is split at its
/// spaces, so that none may be within.
pub(in crate::config) fn target(text: &str) -> Result<String, Wrong> {
    let help = "write a path, perhaps with a query, such as \"/healthz\"";
    if !text.starts_with('/') {
        return Err(Wrong::new("a path begins with `/`", help));
    }
    if let Some(c) = text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
        let why = format!("{c:?} cannot be in the target of a request");
        return Err(Wrong::new(why, help));
    }
    Ok(text.to_owned())
}

/// Compiles a regular expression so that it has to match a whole path.
///
/// # Errors
/// A mistake in it, or one that compiles to more than a mebibyte.
///
/// # Examples
/// ```
/// let regex = tidegate::config::whole_path_regex("/a|/b/[0-9]+")?;
/// assert!(regex.is_match("/a") && regex.is_match("/b/12"));
/// assert!(!regex.is_match("/a/c"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn whole_path_regex(pattern: &str) -> Result<Regex, regex::Error> {
    // On its own first: with `a)(b` the brackets around it would close in the
    // wrong place.
    RegexBuilder::new(pattern).size_limit(REGEX_SIZE).build()?;
    RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(REGEX_SIZE)
        .build()
}

/// `path_regex`.
///
/// # Errors
/// As [`whole_path_regex`].
pub(in crate::config) fn regex(text: &str) -> Result<PathPattern, Wrong> {
    let Err(error) = whole_path_regex(text) else {
        return Ok(PathPattern::Regex(text.to_owned()));
    };
    // The crate draws a picture of its own; its last line says what is wrong.
    let error = error.to_string();
    let why = error.lines().last().unwrap_or_default();
    let help = "the syntax is that of the regex crate: no look-around and no back-references";
    Err(Wrong::new(why.trim_start_matches("error: "), help))
}

/// `path`: exact, or with `{name}` segments.
///
/// # Errors
/// Anything else. The help has the form here of another router's pattern.
pub(in crate::config) fn whole(text: &str) -> Result<PathPattern, Wrong> {
    exact_whole(text).map_err(|wrong| wrong.or_advice(elsewhere(text, exact_whole)))
}

/// [`whole`] without advice on the forms of other routers.
fn exact_whole(text: &str) -> Result<PathPattern, Wrong> {
    let names = parameters(text)?;
    in_normal_form(text)?;
    Ok(match names.is_empty() {
        true => PathPattern::Exact(text.to_owned()),
        false => PathPattern::Parameters(text.to_owned()),
    })
}

/// Help for a path in the language of another router, where it has another form
/// here, one that `is_right`.
///
/// Methods, the modifiers of NGINX's `location`, and parameters in the brackets
/// of other routers are recognized. A wildcard for the rest of a path is what a
/// prefix is here. `None` if the text has no such form.
fn elsewhere<T>(text: &str, exact: fn(&str) -> Result<T, Wrong>) -> Option<String> {
    let (before, rest) = text.split_once(' ').unwrap_or(("", text));
    if matches!(before, "~" | "~*") {
        let rest = rest.trim();
        let help = "an expression is for `path_regex`: write";
        return Some(format!("{help} `path_regex = '{rest}'`"));
    }
    let is_method = !before.is_empty() && before.bytes().all(|byte| byte.is_ascii_uppercase());
    let path = match is_method || matches!(before, "=" | "^~") {
        true => rest.trim(),
        false => text,
    };
    let segments: Vec<_> = path.split('/').map(as_parameter).collect();
    let right = segments.join("/");
    if right != text && exact(&right).is_ok() {
        return Some(match is_method {
            true => format!("write \"{right}\", and `methods = [\"{before}\"]`"),
            false => format!("write \"{right}\""),
        });
    }
    let (prefix, last) = path.rsplit_once('/')?;
    let is_rest = last.starts_with("{*") || last.ends_with("...}") || last.ends_with("*}");
    let prefix = if prefix.is_empty() { "/" } else { prefix };
    (is_rest && exact_literal(prefix).is_ok())
        .then(|| format!("everything below a path is `path_prefix = \"{prefix}\"`"))
}

/// `<id>`, `<int:id>`, `[id]`, `{id:[0-9]+}` as `{id}`; other segments as they
/// are.
fn as_parameter(segment: &str) -> String {
    let inside = |open, close| segment.strip_prefix(open)?.strip_suffix(close);
    let name = match (inside('<', '>'), inside('[', ']'), inside('{', '}')) {
        (Some(typed), ..) => typed.rsplit(':').next(),
        (_, Some(name), _) => Some(name),
        (.., Some(braces)) => braces.split_once(':').map(|(name, _)| name),
        _ => None,
    };
    match name {
        Some(name) if parameter_name(name).is_ok() => format!("{{{name}}}"),
        _ => segment.to_owned(),
    }
}

/// `path_prefix`: whole segments; `/` is every path.
///
/// `/a` matches `/a` and `/a/b`, and not `/ab`.
pub(in crate::config) fn prefix(text: &str) -> Result<PathPattern, Wrong> {
    Ok(match literal(text)? {
        prefix if prefix.is_empty() => PathPattern::Any,
        prefix => PathPattern::Prefix(prefix),
    })
}

/// A path without parameters, and without the slash at its end: what is taken
/// off or put on.
///
/// The path `/` becomes the empty text, which stands for nothing to take off.
pub(in crate::config) fn literal(text: &str) -> Result<String, Wrong> {
    exact_literal(text).map_err(|wrong| wrong.or_advice(elsewhere(text, exact_literal)))
}

/// [`literal`] without advice on the forms of other routers.
fn exact_literal(text: &str) -> Result<String, Wrong> {
    if text.contains(['{', '}']) {
        let help = "`{name}` can stand in `path` only";
        return Err(Wrong::new("a prefix has no parameters", help));
    }
    in_normal_form(text)?;
    Ok(text.strip_suffix('/').unwrap_or(text).to_owned())
}

/// The names of `{name}` segments, in order.
///
/// `host` and `path` cannot be names, as the template of a redirect has them
/// for the host and the path of the request.
///
/// # Errors
/// A brace within a segment, a name that is none, and a name that stands twice.
pub(in crate::config) fn parameters(text: &str) -> Result<Vec<&str>, Wrong> {
    let mut names = Vec::new();
    let in_braces = |segment: &&str| segment.contains(['{', '}']);
    for segment in text.split('/').filter(in_braces) {
        let inside = segment.strip_prefix('{');
        let Some(name) = inside.and_then(|rest| rest.strip_suffix('}')) else {
            let why = format!("`{segment}` is not a whole parameter");
            let help = "write `/{name}/`; braces that are meant are `%7B` and `%7D`";
            return Err(Wrong::new(why, help));
        };
        parameter_name(name)?;
        if matches!(name, "host" | "path") {
            let why = format!("`{{{name}}}` is the {name} of the request in redirects and headers");
            return Err(Wrong::new(why, "choose another name"));
        }
        if names.contains(&name) {
            let why = format!("`{{{name}}}` stands there twice");
            return Err(Wrong::new(why, "give each parameter its own name"));
        }
        names.push(name);
    }
    Ok(names)
}

/// The name of a parameter, without its braces.
///
/// Letters, digits and `_`, all of ASCII, without a digit at the beginning.
pub(in crate::config) fn parameter_name(name: &str) -> Result<(), Wrong> {
    if !is_identifier(name) {
        let help = "names of parameters are letters, digits and `_`";
        return Err(Wrong::new(format!("`{{{name}}}` is not a parameter"), help));
    }
    Ok(())
}

/// The path that a regular expression begins with.
///
/// It is the text up to the first sign of an expression, in normal form and
/// without the slash at its end.
fn before_signs(text: &str) -> String {
    let is_sign = |c| r"^[](){}|\.*+?$".contains(c);
    let literal = text.trim_start_matches('^').split(is_sign).next();
    let path = normal_form(literal.unwrap_or_default());
    match path.trim_end_matches('/') {
        "" => path,
        path => path.to_owned(),
    }
}

/// Checks that a pattern is written as requests are compared: in the normal
/// form of its path, with nothing but a path in it.
fn in_normal_form(text: &str) -> Result<(), Wrong> {
    if text.contains(['^', '[', ']', '|', '\\']) {
        let why = "it is compared character by character, and is no regular expression";
        let help = format!("write \"{}\", or `path_regex`", before_signs(text));
        return Err(Wrong::new(why, help));
    }
    if !text.starts_with('/') {
        let url = text.split_once("://");
        let path = url.map(|(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
        let path = path.unwrap_or(text);
        let help = format!("write \"{}\"", normal_form(path));
        return Err(Wrong::new("a path begins with `/`", help));
    }
    if text.contains(['?', '#']) {
        let help = "match a query with `match.query`";
        return Err(Wrong::new("a path has no query or fragment", help));
    }
    // Braces were looked at before; outside of them no character is a brace.
    let normal = normal_form(text).replace("%7B", "{").replace("%7D", "}");
    let written = text.replace("%7B", "{").replace("%7D", "}");
    if normal != written {
        let why = "requests are compared in their normal form, which is never written like this";
        return Err(Wrong::new(why, format!("write \"{normal}\"")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_a_pattern_or_refused(text: String) {
            let _ = (whole(&text), prefix(&text), regex(&text));
        }
    }

    #[test]
    fn a_pattern_that_no_request_can_have_is_corrected() {
        assert!(whole("/a//b").unwrap_err().help.contains("\"/a/b\""));
        assert!(whole("/a/%7e").unwrap_err().help.contains("\"/a/~\""));
        assert!(whole("orders").unwrap_err().help.contains("\"/orders\""));
        assert!(
            whole("https://a.example/b")
                .unwrap_err()
                .help
                .contains("\"/b\"")
        );
        for text in ["^/api/.*", "/api/[0-9]+", "/api/(a|b)", r"/api/\d+"] {
            assert_eq!(
                prefix(text).unwrap_err().help,
                "write \"/api\", or `path_regex`",
                "{text}"
            );
        }
    }

    #[test]
    fn a_pattern_of_another_router_is_corrected() {
        for (text, right) in [
            ("/a/<id>", "\"/a/{id}\""),
            ("/a/<int:id>/b", "\"/a/{id}/b\""),
            ("/a/[id]", "\"/a/{id}\""),
            ("/a/{id:[0-9]+}", "\"/a/{id}\""),
            ("= /a", "write \"/a\""),
            ("GET /a", "write \"/a\", and `methods = [\"GET\"]`"),
            ("~ ^/a", "`path_regex = '^/a'`"),
            ("/a/{*rest}", "`path_prefix = \"/a\"`"),
            ("/{rest...}", "`path_prefix = \"/\"`"),
        ] {
            let help = whole(text).unwrap_err().help;
            assert!(help.contains(right), "{text}: {help}");
        }
        assert!(prefix("^~ /a").unwrap_err().help.contains("write \"/a\""));
    }

    #[test]
    fn a_prefix_has_no_slash_at_its_end() {
        assert_eq!(
            prefix("/orders/").unwrap(),
            PathPattern::Prefix("/orders".into())
        );
        assert_eq!(prefix("/").unwrap(), PathPattern::Any);
    }

    #[test]
    fn parameters_are_whole_segments_with_names_of_their_own() {
        assert_eq!(parameters("/a/{id}/{x_2}").unwrap(), ["id", "x_2"]);
        for text in [
            "/a/{id", "/a/x{id}", "/{}", "/{a}/{a}", "/{a-b}", "/{path}", "/{2}",
        ] {
            assert!(parameters(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_expression_matches_whole_paths_only() {
        let regex = whole_path_regex("/a|/b").unwrap();
        assert!(regex.is_match("/b") && !regex.is_match("/ab") && !regex.is_match("/bc"));
        assert!(whole_path_regex("a)(b").is_err() && whole_path_regex("/(a").is_err());
        assert!(whole_path_regex("/[a-z]{1000}{1000}").is_err());
    }
}
