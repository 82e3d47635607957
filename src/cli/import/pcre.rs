//! Regular expressions of NGINX as those of the gateway.
//!
//! Two things differ. NGINX compares the decoded path, the gateway one in which
//! blanks and the like are escapes, so that a character may be three; reserved
//! characters such as `@` and `:` stay as the client has written them. And the
//! gateway has no look-around and no back-references: an expression with them
//! becomes one that takes more paths, never fewer. `(?!word)` at the end of an
//! expression is exact, as it can be written without look-around.

use regex::bytes::Regex;

use super::look_around::{end_of_group, is_word, without};
use crate::policy::path::is_plain;

/// Characters of escapes: something that takes them all takes any escape, if it
/// is repeated.
const OF_ESCAPES: &[u8] = b"%0123456789ABCDEF";
/// Any character that is escaped in a path.
const ANY_ESCAPE: &str = "%[0-9A-F]{2}";
/// Escapes that are listed; more are written as any escape.
const MOST_LISTED: usize = 8;

/// An expression in the syntax of the gateway, which is searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expression {
    pub(super) regex: String,
    /// It takes the same paths as in NGINX, and not more.
    pub(super) is_exact: bool,
}

impl Expression {
    /// Reads an expression of NGINX.
    ///
    /// One that is not understood takes everything behind the text that it
    /// begins with, or everything at all.
    pub(super) fn read(pattern: &str, is_any_case: bool) -> Self {
        let reader = Reader {
            rest: pattern,
            out: String::new(),
            depth: 0,
            is_exact: true,
        };
        let found = reader.read().filter(|found| compiles(&found.regex));
        found.unwrap_or_else(|| Self {
            regex: match pattern.strip_prefix('^') {
                Some(rest) if !is_any_case && !rest.contains('|') => {
                    format!("^{}", head(rest))
                }
                _ => String::new(),
            },
            is_exact: false,
        })
    }
}

/// The text that an expression behind its `^` begins with.
pub(super) fn head(regex: &str) -> &str {
    let is_text = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_');
    let end = regex.find(|c| !is_text(c)).unwrap_or(regex.len());
    // A quantifier belongs to the last character.
    match regex[end..].starts_with(['*', '?', '{', '+']) {
        true => &regex[..end.saturating_sub(1)],
        false => &regex[..end],
    }
}

/// A text that is compared as it is. Only the signs of expressions get a
/// backslash.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Whether a path may hold this byte as it is and as an escape (RFC 3986, 2.2):
/// NGINX does not tell them apart, the gateway does.
fn is_reserved(byte: u8) -> bool {
    is_plain(byte) && !byte.is_ascii_alphanumeric() && !b"/-._~".contains(&byte)
}

/// Whether a path holds characters that a client may write in two ways.
pub(super) fn has_reserved(path: &str) -> bool {
    path.bytes().any(is_reserved)
}

/// An expression for this path of a request, with its reserved characters in
/// both spellings.
pub(super) fn spelled(path: &str) -> String {
    let mut out = String::new();
    for c in path.chars() {
        let itself = quoted(c.encode_utf8(&mut [0; 4]));
        match u8::try_from(c) {
            Ok(byte) if is_reserved(byte) => out.push_str(&format!("(?:{itself}|%{byte:02X})")),
            _ => out.push_str(&itself),
        }
    }
    out
}

fn compiles(regex: &str) -> bool {
    regex::Regex::new(regex).is_ok()
}

/// Reads an expression from left to right.
struct Reader<'p> {
    rest: &'p str,
    out: String,
    /// Groups that are open.
    depth: usize,
    is_exact: bool,
}

impl<'p> Reader<'p> {
    /// `None` for one that is not understood.
    fn read(mut self) -> Option<Expression> {
        while let Some(next) = self.next() {
            match next {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '.' => self.one_of(".")?,
                '{' if !self.is_quantifier_behind_brace() => self.literal('{'),
                '*' | '+' | '?' | '{' => self.quantifier(next)?,
                ')' => {
                    self.depth = self.depth.checked_sub(1)?;
                    self.out.push(')');
                }
                '|' | '^' | '$' => self.out.push(next),
                other => self.literal(other),
            }
        }
        (self.depth == 0).then_some(Expression {
            regex: self.out,
            is_exact: self.is_exact,
        })
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    /// Takes a text if it is the next one.
    fn takes(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// The text before `end`, behind which the reader stands then.
    fn until(&mut self, end: &str) -> Option<&'p str> {
        let (text, rest) = self.rest.split_once(end)?;
        self.rest = rest;
        Some(text)
    }

    fn is_quantifier_behind_brace(&self) -> bool {
        let inside = self.rest.split_once('}').map(|(inside, _)| inside);
        inside.is_some_and(|inside| {
            inside.starts_with(|c: char| c.is_ascii_digit())
                && inside.chars().all(|c| c.is_ascii_digit() || c == ',')
        })
    }

    fn is_repeated(&self) -> bool {
        self.rest.starts_with(['*', '+'])
    }

    /// A quantifier; one that gives nothing back takes fewer paths than this.
    fn quantifier(&mut self, sign: char) -> Option<()> {
        self.out.push(sign);
        if sign == '{' {
            let numbers = self.until("}")?;
            self.out.push_str(numbers);
            self.out.push('}');
        }
        if self.takes("?") {
            self.out.push('?');
        } else if self.takes("+") {
            self.is_exact = false;
        }
        Some(())
    }

    /// A character that means itself.
    fn literal(&mut self, literal: char) {
        let mut bytes = [0; 4];
        let text = literal.encode_utf8(&mut bytes);
        if literal.is_ascii() && is_plain(literal as u8) {
            self.out.push_str(&spelled(text));
            return;
        }
        let escapes: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        self.out.push_str(&format!("(?:{escapes})"));
    }

    /// A character of a set, which some signs of an expression describe.
    fn one_of(&mut self, set: &str) -> Option<()> {
        let regex = Regex::new(&format!(r"(?-u)\A(?:{set})\z")).ok()?;
        let takes_escapes = OF_ESCAPES.iter().all(|byte| regex.is_match(&[*byte]));
        let is_escaped = |byte: &u8| !is_plain(*byte) || is_reserved(*byte);
        let escaped = (0..=u8::MAX).filter(|byte| is_escaped(byte) && regex.is_match(&[*byte]));
        let escaped: Vec<String> = escaped.map(|byte| format!("{byte:02X}")).collect();
        if escaped.is_empty() || takes_escapes && self.is_repeated() {
            self.out.push_str(set);
        } else if escaped.len() > MOST_LISTED {
            self.out.push_str(&format!("(?:{set}|{ANY_ESCAPE})"));
        } else {
            let escaped = escaped.join("|");
            self.out.push_str(&format!("(?:{set}|%(?:{escaped}))"));
        }
        Some(())
    }

    /// Text that is not known: any text.
    fn anything(&mut self) {
        self.is_exact = false;
        self.out.push_str("(?:.*)");
    }

    /// The signs behind a backslash.
    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            sign @ ('b' | 'B' | 'A' | 'z' | 'd' | 'w') => self.out.extend(['\\', sign]),
            sign @ ('s' | 'S' | 'D' | 'W') => self.one_of(&format!("\\{sign}"))?,
            'Z' => self.out.push('$'),
            'h' => self.one_of("[ \\t]")?,
            'v' => self.one_of("[\\n\\x0B\\f\\r]")?,
            'N' => self.one_of(".")?,
            'Q' => {
                let text = match self.rest.contains("\\E") {
                    true => self.until("\\E")?,
                    false => std::mem::take(&mut self.rest),
                };
                text.chars().for_each(|c| self.literal(c));
            }
            'E' => {}
            't' => self.literal('\t'),
            'n' => self.literal('\n'),
            'r' => self.literal('\r'),
            'x' => {
                let digits = match self.takes("{") {
                    true => self.until("}")?,
                    false => {
                        let digits = self.rest.get(..2)?;
                        self.rest = &self.rest[2..];
                        digits
                    }
                };
                let code = u8::from_str_radix(digits, 16).ok()?;
                self.literal(char::from(code).is_ascii().then_some(char::from(code))?);
            }
            '1'..='9' => {
                self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
                self.anything();
            }
            'g' | 'k' => {
                let end = match self.next()? {
                    '{' => "}",
                    '<' => ">",
                    '\'' => "'",
                    _ => return None,
                };
                self.until(end)?;
                self.anything();
            }
            sign if sign.is_ascii_alphanumeric() => return None,
            sign => self.literal(sign),
        }
        Some(())
    }

    /// A class in brackets. The signs that the gateway has for sets of sets mean
    /// themselves in NGINX.
    fn class(&mut self) -> Option<()> {
        let mut class = String::from("[");
        if self.takes("^") {
            class.push('^');
        }
        if self.takes("]") {
            class.push_str("\\]");
        }
        let mut is_behind_set = false;
        loop {
            let was_set = std::mem::take(&mut is_behind_set);
            match self.next()? {
                ']' => break,
                '\\' => match self.next()? {
                    sign @ ('d' | 'D' | 'w' | 'W' | 's' | 'S') => {
                        is_behind_set = true;
                        class.extend(['\\', sign]);
                    }
                    sign @ ('t' | 'n' | 'r' | 'f') => class.extend(['\\', sign]),
                    sign if sign.is_ascii_alphanumeric() => return None,
                    sign => class.extend(['\\', sign]),
                },
                '[' if self.takes(":") => {
                    let name = self.until(":]")?;
                    is_behind_set = true;
                    class.push_str(&format!("[:{name}:]"));
                }
                '-' if was_set => class.push_str("\\-"),
                '-' if self.rest.starts_with('-') => return None,
                sign @ ('[' | '&' | '~' | '^') => class.extend(['\\', sign]),
                sign if sign.is_ascii() => class.push(sign),
                _ => return None,
            }
        }
        class.push(']');
        self.one_of(&class)
    }

    /// The signs behind an opening bracket.
    fn group(&mut self) -> Option<()> {
        if self.rest.starts_with('*') {
            return None;
        }
        self.depth += 1;
        if !self.takes("?") {
            self.out.push('(');
            return Some(());
        }
        for (sign, is_negative) in [("=", false), ("!", true), ("<=", false), ("<!", false)] {
            if self.takes(sign) {
                self.depth -= 1;
                return self.look_around(is_negative);
            }
        }
        if self.takes("#") {
            self.depth -= 1;
            return self.until(")").map(drop);
        }
        if self.takes(":") || self.takes("|") {
            self.out.push_str("(?:");
            return Some(());
        }
        if self.takes(">") {
            self.is_exact = false;
            self.out.push_str("(?:");
            return Some(());
        }
        let ends = [("P<", ">"), ("<", ">"), ("'", "'")];
        let end = ends.iter().find(|(begin, _)| self.takes(begin));
        if let Some((_, end)) = end {
            let name = self.until(end)?;
            self.out.push_str(&format!("(?<{name}>"));
            return Some(());
        }
        let at = self.rest.find([')', ':'])?;
        let flags = &self.rest[..at];
        if !flags.chars().all(|c| matches!(c, 'i' | 'm' | 's' | '-')) {
            return None;
        }
        self.out.push_str(&format!("(?{flags}"));
        if self.rest[at..].starts_with(')') {
            self.depth -= 1;
        }
        self.out.push_str(&self.rest[at..=at]);
        self.rest = &self.rest[at + 1..];
        Some(())
    }

    /// A condition that takes no text, behind the signs that begin it. Without
    /// it, an expression takes more paths.
    fn look_around(&mut self, is_negative_ahead: bool) -> Option<()> {
        let inside = &self.rest[..end_of_group(self.rest)?];
        self.rest = &self.rest[inside.len() + 1..];
        let is_last = matches!(self.rest, "" | ".*" | ".*$" | "(.*)" | "(.*)$");
        if is_negative_ahead && is_last && self.depth == 0 {
            let words: Vec<&str> = inside.split('|').collect();
            if words.iter().all(|word| is_word(word)) {
                self.rest = "";
                self.out.push_str(&format!("{}$", without(&words)));
                return Some(());
            }
        }
        self.is_exact = false;
        if self.rest.starts_with(['*', '+', '?', '{']) {
            self.out.push_str("(?:)");
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::path::normal_form;

    /// Whether it is found in a path, as requests have it.
    fn takes(pattern: &str, path: &str) -> bool {
        let found = Expression::read(pattern, false);
        let normal = normal_form(path.as_bytes()).unwrap_or(path.to_owned());
        regex::Regex::new(&found.regex).unwrap().is_match(&normal)
    }

    #[test]
    fn an_expression_takes_reserved_characters_in_both_spellings() {
        for (pattern, path) in [
            ("^/v1/[a-z]+:delete$", "/v1/users%3adelete"),
            ("^/v1/[a-z]+:delete$", "/v1/users:delete"),
            (r"\.php(/|:)", "/a.php%3A"),
            (r"^/plus\+x$", "/plus%2bx"),
            (r"^/a/[^+]*\+", "/a/x%2B"),
            ("^/[+=]x", "/%3dx"),
            ("^/.x$", "/%40x"),
        ] {
            assert!(takes(pattern, path), "{pattern} {path}");
        }
        assert!(!takes("^/v1/[a-z]+:delete$", "/v1/users%3Bdelete"));
    }

    #[test]
    fn an_expression_with_look_around_takes_at_least_its_paths() {
        for (pattern, path, is_taken) in [
            (r"/\.(?!well-known).*", "/.git/config", true),
            (r"/\.(?!well-known).*", "/.well-known/x", false),
            (r"/\.(?!well-known).*", "/.well-knowm", true),
            (r"/\.(?!well-known|pki).*", "/.p", true),
            (r"/\.(?!well-known|pki).*", "/.pki", false),
            (r"^/(?!public)secret", "/secret", true),
            (r"^/(?!public)secret", "/other", false),
            (r"^/dup/(a)\1", "/dup/aa", true),
            (r"^/x/(?<=a[)]b)c$", "/x/c", true),
            (r"^/(?>a+)b", "/aab", true),
            (r"^/a{x}", "/a{x}", true),
            (r"^/\w++/x", "/abc/x", true),
            ("^/[a&&b]$", "/&", true),
            ("^/abc(*ACCEPT)", "/abcd", true),
            ("^/abc(*ACCEPT)", "/abd", false),
            ("(?R)", "/anything", true),
        ] {
            assert_eq!(takes(pattern, path), is_taken, "{pattern} {path}");
        }
        let is_exact = |pattern| Expression::read(pattern, false).is_exact;
        assert!(is_exact(r"/\.(?!well-known)") && is_exact(r"\.php$"));
        assert!(!is_exact(r"/(?!a)b") && !is_exact(r"(a)\1") && !is_exact("(?R)"));
    }

    #[test]
    fn a_character_that_is_escaped_in_requests_is_taken() {
        for (pattern, path, is_taken) in [
            ("^/a b$", "/a b", true),
            ("^/a.b$", "/a b", true),
            ("^/a[^/]b$", "/a b", true),
            (r"^/a\sb$", "/a b", true),
            (r"^/a\sb$", "/axb", false),
            ("^/a[ _]b$", "/a%20b", true),
            ("^/[^/]+/x$", "/a b/x", true),
            ("^/.{3}$", "/a b", true),
            ("^/\u{e9}$", "/%C3%A9", true),
            (r"^/a\|b", "/a|b", true),
        ] {
            assert_eq!(takes(pattern, path), is_taken, "{pattern} {path}");
        }
    }

    proptest! {
        /// An expression takes every path that the search of NGINX finds.
        #[test]
        fn a_path_that_nginx_takes_is_taken(
            pattern in r"\^?/?[ab .|()\[\]^*+?$\\s-]{0,8}\$?",
            path in "/[ab .]{0,8}",
        ) {
            let found = Expression::read(&pattern, false);
            let whole = regex::Regex::new(&found.regex).unwrap();
            if let Ok(search) = regex::Regex::new(&pattern)
                && let Some(path) = Some(&path).filter(|path| !path.contains("/."))
                && search.is_match(path)
            {
                let normal = normal_form(path.as_bytes()).unwrap_or(path.clone());
                prop_assert!(whole.is_match(&normal), "{} {}", pattern, found.regex);
            }
        }

        #[test]
        fn any_text_is_an_expression(pattern in r"[ab()\[\]?<>=!*+{}|\\QEdx1,:&^$é-]{0,24}") {
            let found = Expression::read(&pattern, false);
            prop_assert!(compiles(&found.regex), "{} {}", pattern, found.regex);
        }
    }
}
