//! `location` as conditions on the path.
//!
//! NGINX takes an exact path first, then the longest prefix if it has `^~`,
//! then the first expression, then the longest prefix. The gateway takes an
//! exact path, then an expression, then the longest prefix. So a prefix with
//! `^~` is written as an expression before all others, where there are any.

use std::collections::BTreeSet;

use super::{
    notes::{Note, Outcome},
    scope::Scope,
    toml::text,
    tree::Directive,
};
use crate::config::whole_path_regex;

/// How a location is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Exact,
    Prefix,
    /// `^~`
    FirstPrefix,
    Regex,
    /// `~*`
    AnyCase,
    /// `@name`, to which other directives lead.
    Named,
}

/// A location, with what it inherits.
#[derive(Debug)]
pub(super) struct Location<'a> {
    pub(super) kind: Kind,
    pub(super) pattern: String,
    pub(super) directive: &'a Directive,
    pub(super) scope: Scope<'a>,
    /// The directives that no scope has.
    pub(super) others: Vec<&'a Directive>,
}

/// The locations of a server, those within others too, in the order of the
/// source.
pub(super) fn of<'a>(scope: &Scope<'a>, others: &[&'a Directive], found: &mut Vec<Location<'a>>) {
    for directive in others
        .iter()
        .filter(|directive| directive.name == "location")
    {
        directive.read();
        let (kind, pattern) = kind(directive);
        let (inner, inside) = scope.enter(directive.inside());
        let at = found.len();
        found.push(Location {
            kind,
            pattern,
            directive,
            scope: inner.clone(),
            others: Vec::new(),
        });
        of(&inner, &inside, found);
        found[at].others = inside;
    }
}

/// Reads `location ~* \.png$`, also without a blank behind the sign.
fn kind(directive: &Directive) -> (Kind, String) {
    let signs = [
        ("=", Kind::Exact),
        ("^~", Kind::FirstPrefix),
        ("~*", Kind::AnyCase),
        ("~", Kind::Regex),
    ];
    let (first, second) = (directive.argument(0), directive.arguments.get(1));
    if let Some(pattern) = second {
        let sign = signs.iter().find(|(sign, _)| *sign == first);
        return (
            sign.map_or(Kind::Prefix, |(_, kind)| *kind),
            pattern.clone(),
        );
    }
    let joined = signs
        .iter()
        .find_map(|(sign, kind)| Some((*kind, first.strip_prefix(sign)?)));
    match joined {
        Some((kind, pattern)) => (kind, pattern.to_owned()),
        None if first.starts_with('@') => (Kind::Named, first.to_owned()),
        None => (Kind::Prefix, first.to_owned()),
    }
}

impl Location<'_> {
    /// As names of routes have it.
    pub(super) fn shown(&self) -> String {
        match self.kind {
            Kind::Exact => format!(" = {}", self.pattern),
            Kind::Regex | Kind::AnyCase => format!(" ~ {}", self.pattern),
            _ => self.pattern.clone(),
        }
    }

    /// The condition on the path, such as `path_prefix = "/api"`; an empty text
    /// for every path.
    ///
    /// `among` is about all locations of the server.
    ///
    /// # Errors
    /// Says why there is no such condition.
    pub(super) fn condition(&self, among: &Among, notes: &mut Vec<Note>) -> Result<String, String> {
        let mut differs = |why: &str| notes.push(Note::new(self.directive, Outcome::Differs, why));
        let path = escaped(&self.pattern);
        match self.kind {
            Kind::Named => Err("only other directives lead to it".to_owned()),
            Kind::Exact => Ok(format!("path = {}", text(&path))),
            Kind::Regex | Kind::AnyCase => {
                let regex = whole_path(&self.pattern, self.kind == Kind::AnyCase);
                let checked = whole_path_regex(&regex);
                checked.map_err(|_| "the syntax is that of the regex crate, without look-around and back-references".to_owned())?;
                Ok(format!("path_regex = {}", text(&regex)))
            }
            _ if path == "/" => Ok(String::new()),
            Kind::FirstPrefix if among.has_regex => {
                let behind = among.prefixes.range(path.clone()..).nth(1);
                if behind.is_some_and(|other| other.starts_with(&path)) {
                    differs("longer prefixes without `^~` never get a request here");
                }
                let regex = format!("{}.*", regex::escape(&path));
                Ok(format!("path_regex = {}", text(&regex)))
            }
            Kind::Prefix | Kind::FirstPrefix => {
                let bare = path.strip_suffix('/').unwrap_or(&path);
                if path == bare && among.prefixes.contains(&format!("{path}/")) {
                    differs(
                        "it takes this path alone here, in NGINX also those that begin with it",
                    );
                    return Ok(format!("path = {}", text(&path)));
                }
                if path == bare {
                    differs(&format!(
                        "it does not take {bare}x here, as prefixes are whole segments"
                    ));
                } else if !among.exact.contains(bare) {
                    differs(&format!(
                        "it takes {bare} as well, which NGINX redirects to {path}"
                    ));
                }
                Ok(format!("path_prefix = {}", text(bare)))
            }
        }
    }
}

/// The patterns of all locations of a server, as requests have them.
#[derive(Debug, Default)]
pub(super) struct Among {
    exact: BTreeSet<String>,
    prefixes: BTreeSet<String>,
    has_regex: bool,
}

impl Among {
    pub(super) fn new(locations: &[Location<'_>]) -> Self {
        let mut among = Self::default();
        for location in locations {
            match location.kind {
                Kind::Exact => {
                    among.exact.insert(escaped(&location.pattern));
                }
                Kind::Prefix | Kind::FirstPrefix => {
                    among.prefixes.insert(escaped(&location.pattern));
                }
                Kind::Regex | Kind::AnyCase => among.has_regex = true,
                Kind::Named => {}
            }
        }
        among
    }
}

/// A path as requests have it: NGINX compares decoded ones.
pub(super) fn escaped(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        let is_plain = byte.is_ascii_graphic() && !br#"%"<>\^`{|}[]?#"#.contains(&byte);
        match is_plain {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// An expression that is searched for in a path, as one for the whole path.
fn whole_path(pattern: &str, is_any_case: bool) -> String {
    let case = if is_any_case { "(?i)" } else { "" };
    if has_alternatives(pattern) {
        return format!("{case}.*(?:{pattern}).*");
    }
    let (begin, rest) = match pattern.strip_prefix('^') {
        Some(rest) => ("", rest),
        None => (".*", pattern),
    };
    let is_end = |rest: &str| {
        let before = rest.strip_suffix('$').unwrap_or_default();
        rest.ends_with('$')
            && (before.len() - before.trim_end_matches('\\').len()).is_multiple_of(2)
    };
    match is_end(rest) {
        true => format!("{case}{begin}{}", &rest[..rest.len() - 1]),
        false => format!("{case}{begin}{rest}.*"),
    }
}

/// Whether a `|` stands outside of all brackets.
fn has_alternatives(pattern: &str) -> bool {
    let (mut depth, mut is_class) = (0_usize, false);
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            ']' => is_class = false,
            _ if is_class => {}
            '[' => is_class = true,
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_expression_is_searched_for_in_the_whole_path() {
        for (pattern, path, is_found) in [
            (r"\.php$", "/a/b.php", true),
            (r"\.php$", "/a/b.php5", false),
            ("^/api/v[0-9]+/", "/api/v2/x", true),
            ("^/api/v[0-9]+/", "/x/api/v2/x", false),
            (r"^/(a|b)$", "/b", true),
            (r"^/a|b$", "/ab/c", true),
            (r"^/a|b$", "/c/d", false),
            (r"/cost\$", "/cost$/x", true),
        ] {
            let regex = whole_path_regex(&whole_path(pattern, false)).unwrap();
            assert_eq!(regex.is_match(path), is_found, "{pattern} {path}");
        }
        let regex = whole_path_regex(&whole_path(r"\.PNG$", true)).unwrap();
        assert!(regex.is_match("/a.png"));
    }

    proptest! {
        /// An expression finds the same paths as the search that NGINX makes.
        #[test]
        fn a_whole_path_is_matched_where_the_search_finds_it(
            pattern in r"\^?[/ab|()\[\].*$\\]{0,8}\$?",
            path in "/[ab/.$]{0,8}",
        ) {
            if let Ok(search) = regex::Regex::new(&pattern)
                && let Ok(whole) = whole_path_regex(&whole_path(&pattern, false)) {
                prop_assert_eq!(search.is_match(&path), whole.is_match(&path), "{}", pattern);
            }
        }
    }
}
