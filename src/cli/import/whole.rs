//! Expressions that are searched for in a path, as `path_regex`, which is for
//! the whole path.

use super::{
    look_around::signs,
    pcre::{Expression, head, spelled},
};

/// The expression for the whole of a path in which this one is found.
pub(super) fn whole_path(expression: &Expression, is_any_case: bool) -> String {
    let case = if is_any_case { "(?i)" } else { "" };
    let regex = &expression.regex;
    if has_alternatives(regex) {
        return format!("{case}.*(?:{regex}).*");
    }
    let (begin, rest) = match regex.strip_prefix('^') {
        Some(rest) => ("", rest),
        None => (".*", regex.as_str()),
    };
    // An expression that begins with any text has it already.
    let begin = if rest.starts_with(".*") { "" } else { begin };
    format!("{case}{begin}{}", to_the_end(rest))
}

/// The expression for every path that begins with this text.
pub(super) fn beginning(path: &str) -> String {
    format!("{}.*", spelled(path))
}

/// The expression for the whole of a path that begins with a prefix, and in
/// which this one is found. It may take paths that do not begin with the
/// prefix; then it is not exact.
pub(super) fn within(prefix: &str, expression: &Expression, is_any_case: bool) -> Expression {
    let regex = &expression.regex;
    let alone = || Expression {
        regex: whole_path(expression, is_any_case),
        is_exact: false,
    };
    if has_alternatives(regex) {
        return alone();
    }
    if let Some(rest) = regex.strip_prefix('^') {
        let begin = head(rest);
        if begin.starts_with(prefix) && !is_any_case {
            return Expression {
                is_exact: expression.is_exact,
                ..alone()
            };
        }
        if prefix.starts_with(begin) && begin == rest && !is_any_case {
            return Expression {
                regex: beginning(prefix),
                is_exact: true,
            };
        }
        return alone();
    }
    let rest = regex.strip_prefix(".*").unwrap_or(regex);
    let begin = match rest.strip_prefix('\\') {
        Some(escaped) => sign(escaped),
        None => head(rest),
    };
    if begin.is_empty() {
        return alone();
    }
    let mut is_exact = expression.is_exact;
    let mut ways = vec![beginning(prefix)];
    for (at, _) in prefix.char_indices() {
        // The expression may be found where the prefix has not ended yet.
        let [tail, begin] = [&prefix[at..], begin].map(|text| match is_any_case {
            true => text.to_ascii_lowercase(),
            false => text.to_owned(),
        });
        if begin.starts_with(&tail) || tail.starts_with(&begin) {
            is_exact &= begin.starts_with(&tail) && !is_any_case;
            ways.push(spelled(&prefix[..at]));
        }
    }
    let ways = match ways.as_slice() {
        [one] => one.clone(),
        ways => format!("(?:{})", ways.join("|")),
    };
    let rest = to_the_end(rest);
    let regex = match is_any_case {
        true => format!("{ways}(?i:{rest})"),
        false => format!("{ways}{rest}"),
    };
    Expression { regex, is_exact }
}

/// The sign behind a backslash, if it stands for itself and has to be there.
fn sign(escaped: &str) -> &str {
    let sign = escaped.get(..1).unwrap_or_default();
    let is_itself = !sign.starts_with(|c: char| c.is_ascii_alphanumeric());
    let is_optional = escaped[sign.len()..].starts_with(['*', '?', '{']);
    if is_itself && !is_optional { sign } else { "" }
}

/// An expression up to the end of a path, without its `$`.
fn to_the_end(rest: &str) -> String {
    let before = rest.strip_suffix('$').unwrap_or_default();
    let backslashes = before.len() - before.trim_end_matches('\\').len();
    if rest.ends_with('$') && backslashes.is_multiple_of(2) {
        return before.to_owned();
    }
    match rest.ends_with(".*") && !rest.ends_with("\\.*") {
        true => rest.to_owned(),
        false => format!("{rest}.*"),
    }
}

/// Whether a `|` stands outside of all brackets.
fn has_alternatives(pattern: &str) -> bool {
    signs(pattern).any(|(_, c, depth)| (c, depth) == ('|', 0))
}

/// Whether two expressions for whole paths surely have no path in common.
pub(super) fn are_disjoint(one: &str, other: &str) -> bool {
    !one.starts_with(other) && !other.starts_with(one)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::whole_path_regex;

    fn whole(pattern: &str, is_any_case: bool) -> String {
        whole_path(&Expression::read(pattern, is_any_case), is_any_case)
    }

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
            (r"/\.(?!well-known).*", "/a/.git", true),
            (r"/\.(?!well-known)", "/a/.well-known/x", false),
            (r"^/(?!api)", "/apx", true),
            (r"^/(?!api)", "/api/x", false),
        ] {
            let regex = whole_path_regex(&whole(pattern, false)).unwrap();
            assert_eq!(regex.is_match(path), is_found, "{pattern} {path}");
        }
        let regex = whole_path_regex(&whole(r"\.PNG$", true)).unwrap();
        assert!(regex.is_match("/a.png"));
    }

    #[test]
    fn an_expression_within_a_prefix_takes_its_paths_only() {
        for (pattern, path, is_found) in [
            (r"\.json$", "/api/x.json", true),
            (r"\.json$", "/other/x.json", false),
            ("/v1$", "/api/v1", true),
            ("/v1$", "/api/x/v1", true),
            ("/v1$", "/v1", false),
            ("^/api/v1", "/api/v1/x", true),
            ("^/api", "/api/x", true),
            ("^/api", "/apix", false),
        ] {
            let found = within("/api/", &Expression::read(pattern, false), false);
            let regex = whole_path_regex(&found.regex).unwrap();
            assert!(found.is_exact, "{pattern}");
            assert_eq!(regex.is_match(path), is_found, "{pattern} {path}");
        }
        let found = within("/api/", &Expression::read("(a|b)$", false), false);
        assert!(!found.is_exact);
    }

    proptest! {
        /// An expression finds the same paths as the search that NGINX makes.
        #[test]
        fn a_whole_path_is_matched_where_the_search_finds_it(
            pattern in r"\^?[/ab|()\[\].*$\\]{0,8}\$?",
            path in "/[ab/.$]{0,8}",
        ) {
            let expression = Expression::read(&pattern, false);
            if let Ok(search) = regex::Regex::new(&pattern)
                && let Ok(whole) = whole_path_regex(&whole_path(&expression, false)) {
                let (found, taken) = (search.is_match(&path), whole.is_match(&path));
                prop_assert!(taken || !found, "{} {}", pattern, expression.regex);
                prop_assert!(found == taken || !expression.is_exact, "{}", pattern);
            }
        }

        /// A path that begins with the prefix, and in which NGINX finds the
        /// expression, is taken.
        #[test]
        fn a_path_within_a_prefix_is_matched_where_the_search_finds_it(
            pattern in r"\^?[/ab|().*]{0,8}\$?",
            prefix in "/[ab]{0,2}/?",
            path in "[ab/.]{0,6}",
        ) {
            let found = within(&prefix, &Expression::read(&pattern, false), false);
            let path = format!("{prefix}{path}");
            if let Ok(search) = regex::Regex::new(&pattern)
                && let Ok(whole) = whole_path_regex(&found.regex)
                && search.is_match(&path) {
                prop_assert!(whole.is_match(&path), "{} {} {}", prefix, pattern, found.regex);
            }
        }
    }
}
