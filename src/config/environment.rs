//! `${NAME}` in strings: replaced from the environment of the process.
//!
//! References are replaced in the strings of the tree and not in the text of the
//! file, so that a variable can neither end a string nor add a key. A value that
//! was filled in is not looked at again. The text of a variable may be a secret:
//! a diagnostic shows the reference, as it stands in the file.
//!
//! # Bounds
//!
//! The text of a variable has no bound here. References do not nest, so that a
//! text is walked once.
//!
//! # Where it is called
//!
//! Strings are filled in while the tree is built, before any key is looked at.
//! The text becomes a value, such as a number, in `de`.

use std::{collections::BTreeMap, ffi::OsString};

use super::{characters::is_identifier, wrong::Wrong};

/// The variables that `${NAME}` is replaced from, by name. Tests bring their
/// own, so that none depends on the process that it runs in.
pub type Environment = BTreeMap<String, String>;

/// The environment of this process. Variables whose name is no text are left
/// out, as nobody can name them; bytes of a value that are no text stand in it
/// as U+FFFD, which is refused where the variable is used.
pub fn of_process() -> Environment {
    let text = |(name, value): (OsString, OsString)| {
        Some((
            name.into_string().ok()?,
            value.to_string_lossy().into_owned(),
        ))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// Replaces `${NAME}` and `${NAME:-fallback}` (also when the variable is empty,
/// as in a shell); `$${` is a literal `${`. Other dollar signs are left alone.
///
/// # Errors
/// An unclosed `${`, a name that cannot be one, or a variable that is not set
/// and has no fallback.
///
/// The first mistake ends the reading of this text.
pub(super) fn fill_in(text: &str, environment: &Environment) -> Result<String, Wrong> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        out.push_str(before);
        let Some(end) = after.find('}') else {
            let help = "write `${NAME}`, or `$${` for a literal `${`";
            return Err(Wrong::new("`${` is not closed", help));
        };
        out.push_str(&look_up(&after[..end], environment)?);
        rest = &after[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// The text for what stands between the braces: a name, perhaps with a
/// fallback.
///
/// A fallback is a literal text: it ends at the first `}`, and a reference in
/// it is not replaced. A variable that is set and empty gives an empty text
/// where there is no fallback.
fn look_up(inside: &str, environment: &Environment) -> Result<String, Wrong> {
    let parts = inside.split_once(":-");
    let (name, fallback) = parts.map_or((inside, None), |(name, text)| (name, Some(text)));
    if !is_identifier(name) {
        let why = format!("`{name}` is not the name of an environment variable");
        let help = "names are letters, digits and `_`; write `$${` for a literal `${`";
        return Err(Wrong::new(why, help));
    }
    match (environment.get(name), fallback) {
        (Some(value), _) if value.contains(char::REPLACEMENT_CHARACTER) => {
            let why = format!(
                "the environment variable {name} is not text: it holds bytes that are not UTF-8"
            );
            Err(Wrong::new(why, format!("set {name} to text in UTF-8")))
        }
        (Some(value), _) if !value.is_empty() => Ok(value.clone()),
        (_, Some(fallback)) => Ok(fallback.to_owned()),
        (Some(empty), None) => Ok(empty.clone()),
        (None, None) => {
            let why = format!("the environment variable {name} is not set");
            let help = format!("set it, or give a fallback: `${{{name}:-fallback}}`");
            Err(Wrong::new(why, help))
        }
    }
}

/// A part of help for a text with a variable as others write it: `$NAME`,
/// `$(NAME)`, `%NAME%`, `{{ NAME }}`; else empty.
///
/// The text begins with a blank, to be appended to other help.
pub(super) fn and_variable(text: &str) -> &'static str {
    let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
    let begins = |text: &str, sign: &str| {
        text.match_indices(sign)
            .any(|(at, _)| text[at + sign.len()..].trim_start().starts_with(is_name))
    };
    let between = text.split('%').nth(1).filter(|_| text.ends_with('%'));
    let is_between = between.is_some_and(|name| !name.is_empty() && name.chars().all(is_name));
    match is_between || begins(text, "$") || begins(text, "$(") || text.contains("{{") {
        true => " (an environment variable is written `${NAME}`)",
        false => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, Wrong> {
        let environment = Environment::from([
            ("PORT".into(), "80".into()),
            ("EMPTY".into(), String::new()),
        ]);
        fill_in(text, &environment)
    }

    #[test]
    fn a_name_is_replaced_wherever_it_stands() {
        assert_eq!(filled("a:${PORT}/${PORT}").unwrap(), "a:80/80");
    }

    #[test]
    fn a_fallback_stands_in_for_what_is_unset_or_empty() {
        assert_eq!(filled("${NO:-x}${EMPTY:-y}${PORT:-z}").unwrap(), "xy80");
    }

    #[test]
    fn a_doubled_dollar_is_literal_and_a_lone_one_too() {
        assert_eq!(filled("$${PORT} $5 a$").unwrap(), "${PORT} $5 a$");
    }

    #[test]
    fn what_cannot_be_replaced_is_refused() {
        assert!(filled("${NO}").unwrap_err().why.contains("NO is not set"));
        assert!(filled("${PORT").unwrap_err().why.contains("not closed"));
        assert!(filled("${a b}").is_err());
    }

    #[test]
    fn what_was_filled_in_is_not_filled_in_again() {
        let environment = Environment::from([("A".into(), "${B}".into())]);
        assert_eq!(fill_in("${A}", &environment).unwrap(), "${B}");
    }

    #[test]
    fn a_variable_as_others_write_it_is_noticed() {
        for text in [
            "$RATE/s",
            "$(RATE)",
            "%RATE%",
            "{{ RATE }}/s",
            "{{ .Values.rate }}",
        ] {
            assert!(!and_variable(text).is_empty(), "{text}");
        }
        for text in ["$5", "$host", "20%", "100%25", "%20%", "{RATE}", "", "%"] {
            assert!(and_variable(text).is_empty(), "{text}");
        }
    }
}
