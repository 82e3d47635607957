//! `rewrite` of a location, as keys of a route.
//!
//! One with `break` that replaces the beginning of every path of its location is
//! `strip_prefix` and `add_prefix`, and one with a fixed target is `rewrite`. One
//! with `permanent` or `redirect` whose target has the whole path or nothing of
//! it is a `redirect`. All others have no counterpart: a service would get
//! requests with a path that NGINX never sends, so that their route leads
//! nowhere.

use super::{
    actions::prefixes,
    locations::{Kind, Location, escaped},
    notes::{Note, Outcome},
    toml::text,
    tree::Directive,
    variables::{Known, redirect_template, without_variables},
};

/// The effect of the `rewrite` of a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rewriting {
    /// Keys of `request`.
    Path(Vec<String>),
    /// `redirect = { ... }`
    Answer(String),
    /// There is no counterpart.
    Unknown,
}

/// Reads one `rewrite` of a location.
pub(super) fn of(
    directive: &Directive,
    location: &Location<'_>,
    known: Known<'_>,
    notes: &mut Vec<Note>,
) -> Rewriting {
    let flag = directive.argument(2);
    let found = match flag {
        "break" => path(directive, location).map(Rewriting::Path),
        _ => {
            let is_whole = |text: &str| takes_all(text, location);
            redirect(directive, known, is_whole).map(Rewriting::Answer)
        }
    };
    if let Some(found) = found {
        directive.read();
        return found;
    }
    notes.push(unknown(directive));
    Rewriting::Unknown
}

/// A note about one that has no counterpart.
pub(super) fn unknown(directive: &Directive) -> Note {
    let (outcome, why) = match directive.argument(2) {
        "break" => (
            Outcome::Lost,
            "it changes some paths only, or not their beginning: use `strip_prefix`, `add_prefix` or `rewrite` of a route",
        ),
        "permanent" | "redirect" => (
            Outcome::Lost,
            "a redirect has the whole path (`{path}`) or parameters of `path`, and no other part of it",
        ),
        _ => (
            Outcome::Unguarded,
            "it leads to another location: write a route for the paths that it changes",
        ),
    };
    Note::new(directive, outcome, why)
}

/// The status of a `rewrite` that redirects; `None` for any other.
pub(super) fn status(directive: &Directive) -> Option<u16> {
    match directive.argument(2) {
        "permanent" => Some(301),
        "redirect" => Some(302),
        _ => None,
    }
}

/// The redirect of a `rewrite` whose expression takes every path that comes to
/// it, as `is_whole` says. Its status is the one of NGINX.
pub(super) fn redirect(
    directive: &Directive,
    known: Known<'_>,
    is_whole: impl Fn(&str) -> bool,
) -> Option<String> {
    let (regex, target) = (directive.argument(0), directive.argument(1));
    let target = target.strip_suffix('?').unwrap_or(target);
    let target = match regex {
        "^(.*)$" | "^(.*)" | "(.*)" => target.replace("$1", "$request_uri"),
        "^/(.*)$" | "^/(.*)" => target.replace("/$1", "$request_uri"),
        regex if is_whole(regex) => target.to_owned(),
        _ => return None,
    };
    let to = redirect_template(&target, known).ok()?;
    let status = status(directive)?;
    Some(format!(
        "redirect = {{ to = {}, status = {status} }}",
        text(&to)
    ))
}

/// Whether an expression takes every path of a location.
fn takes_all(regex: &str, location: &Location<'_>) -> bool {
    let regex = regex
        .strip_suffix(".*$")
        .or(regex.strip_suffix(".*"))
        .unwrap_or(regex);
    match regex.strip_prefix('^') {
        None => regex.is_empty(),
        Some(rest) if location.kind == Kind::Exact => {
            location
                .pattern
                .starts_with(rest.strip_suffix('$').unwrap_or(rest))
                && (!rest.ends_with('$') || rest.len() == location.pattern.len() + 1)
                && is_plain(rest.strip_suffix('$').unwrap_or(rest))
        }
        Some(rest) => location.is_prefix() && location.pattern.starts_with(rest) && is_plain(rest),
    }
}

/// Whether a text means itself in an expression and in a path.
fn is_plain(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_'))
}

/// The keys of one with `break`.
fn path(directive: &Directive, location: &Location<'_>) -> Option<Vec<String>> {
    let (regex, target) = (directive.argument(0), directive.argument(1));
    if target.contains(['?', '#']) {
        return None;
    }
    if let Some(target) = without_variables(target) {
        let is_whole = target.starts_with('/') && takes_all(regex, location);
        return is_whole.then(|| vec![format!("rewrite = {}", text(&escaped(&target)))]);
    }
    let is_prefix = location.is_prefix();
    let to = target
        .strip_suffix("$1")
        .filter(|to| to.is_empty() || is_plain(to))?;
    let regex = regex.strip_prefix('^').unwrap_or(regex);
    let regex = regex.strip_suffix('$').unwrap_or(regex);
    // Both sides end with the slash between the prefix and the rest, or neither.
    let from = if let Some(from) = regex.strip_suffix("/?(.*)") {
        format!("{from}/")
    } else if let Some(from) = regex.strip_suffix("(/.*)") {
        from.to_owned()
    } else {
        regex.strip_suffix("(.*)")?.to_owned()
    };
    if !is_prefix || !is_plain(&from) || from.ends_with('/') != to.ends_with('/') {
        return None;
    }
    let [from, to] = [from.as_str(), to].map(|path| path.trim_end_matches('/'));
    if !from.is_empty() && from != location.pattern.trim_end_matches('/') {
        return None;
    }
    Some(prefixes(from, to))
}
