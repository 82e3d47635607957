//! Whether a regular expression matches any path at all, in the normal form
//! that requests are compared in.
//!
//! The expression is walked beside a small automaton of what paths look like:
//! from a set of its states to the set that the expression can lead to. That
//! takes about as many steps as the compiled expression has.
//!
//! The warnings about patterns are its only use, and have to be right: where
//! the automaton cannot tell, an expression counts as one that matches.

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// States of the automaton, one bit each.
///
/// Each bit is a state that may have been reached.
type States = u8;

/// Nothing was read.
const BEGIN: States = 1;
/// After `/`.
const SLASH: States = 1 << 1;
/// In a segment.
const INSIDE: States = 1 << 2;
/// After `/.`, which no path has as a whole segment.
const DOT: States = 1 << 3;
/// After `/..`.
const DOTS: States = 1 << 4;
/// After `%`, and after its first digit.
///
/// An escape has two digits in capital letters.
const PERCENT: States = 1 << 5;
const DIGIT: States = 1 << 6;
/// After `$`: nothing can follow.
const ENDED: States = 1 << 7;

/// All states, in the order of their bits.
const ALL: [States; 8] = [BEGIN, SLASH, INSIDE, DOT, DOTS, PERCENT, DIGIT, ENDED];

/// Where a path may end.
const WHOLE: States = SLASH | INSIDE | ENDED;

/// Whether some path matches. Word boundaries count as passable: `false` is
/// sure, `true` nearly.
///
/// `false` also for a text that is no expression, which is reported elsewhere.
pub(in crate::config) fn has_a_path(pattern: &str) -> bool {
    regex_syntax::parse(pattern).is_ok_and(|hir| walk(&hir, BEGIN) & WHOLE != 0)
}

/// The states in which an expression can end if it begins in one of `from`. A
/// set of 0 is a dead end.
///
/// Recursion is as deep as the expression is nested, which its parser bounds.
fn walk(hir: &Hir, from: States) -> States {
    match hir.kind() {
        _ if from == 0 => 0,
        HirKind::Empty => from,
        HirKind::Literal(text) => text.0.iter().fold(from, |states, byte| read(states, *byte)),
        HirKind::Class(class) => read_any(class, from),
        HirKind::Look(Look::Start | Look::StartLF | Look::StartCRLF) => from & BEGIN,
        HirKind::Look(Look::End | Look::EndLF | Look::EndCRLF) if from & WHOLE != 0 => ENDED,
        HirKind::Look(Look::End | Look::EndLF | Look::EndCRLF) => 0,
        HirKind::Look(_) => from,
        HirKind::Repetition(repetition) => repeat(repetition, from),
        HirKind::Capture(capture) => walk(&capture.sub, from),
        HirKind::Concat(parts) => parts.iter().fold(from, |states, part| walk(part, states)),
        HirKind::Alternation(parts) => parts.iter().fold(0, |to, part| to | walk(part, from)),
    }
}

/// The states after a repetition: at least `min` steps, then more until no
/// state is added. As there are eight states, that takes at most eight steps,
/// however large `max` is.
fn repeat(repetition: &Repetition, from: States) -> States {
    let mut states = from;
    for _ in 0..repetition.min {
        let next = walk(&repetition.sub, states);
        if next == states {
            break;
        }
        states = next;
    }
    let mut reached = states;
    let mut more = repetition.max.map(|max| max.saturating_sub(repetition.min));
    while more != Some(0) {
        states = walk(&repetition.sub, states);
        if states & !reached == 0 {
            break;
        }
        reached |= states;
        more = more.map(|more| more - 1);
    }
    reached
}

/// Paths in normal form are ASCII.
///
/// Characters from `!` to `~` are tried one by one: no path in normal form has
/// another one.
fn read_any(class: &Class, from: States) -> States {
    let holds = |byte: u8| match class {
        Class::Unicode(class) => class
            .iter()
            .any(|range| (range.start()..=range.end()).contains(&char::from(byte))),
        Class::Bytes(class) => class
            .iter()
            .any(|range| (range.start()..=range.end()).contains(&byte)),
    };
    let bytes = (b'!'..=b'~').filter(|byte| holds(*byte));
    bytes.fold(0, |to, byte| to | read(from, byte))
}

/// The states after one byte.
///
/// Each state of the set is followed by itself. A set has at most eight states,
/// so that a byte takes a bounded time.
fn read(states: States, byte: u8) -> States {
    ALL.into_iter()
        .filter(|state| states & state != 0)
        .fold(0, |to, state| to | step(state, byte))
}

/// The state after one byte; 0 if no path goes on with it.
fn step(state: States, byte: u8) -> States {
    let is_hex = matches!(byte, b'0'..=b'9' | b'A'..=b'F');
    match (state, byte) {
        (BEGIN | INSIDE, b'/') => SLASH,
        (BEGIN | ENDED, _) | (SLASH | DOT | DOTS, b'/') => 0,
        (PERCENT, _) if is_hex => DIGIT,
        (DIGIT, _) if is_hex => INSIDE,
        (PERCENT | DIGIT, _) => 0,
        (SLASH, b'.') => DOT,
        (DOT, b'.') => DOTS,
        (_, b'%') => PERCENT,
        _ if crate::policy::path::is_plain(byte) => INSIDE,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expression_that_no_path_can_match_is_told_from_one_that_some_can() {
        for pattern in [
            "/a",
            "^/a$",
            "/.*",
            ".*",
            "(api)?/v[0-9]+",
            "^/caf%C3%A9$",
            "/(a|b)/?",
            "/[^/]+/{0}x",
            "(?i)/API",
            "/.hidden",
            "/.../x",
            r"\b/a",
            "(^/a|b)",
            "/a{3,}",
            "",
        ] {
            assert_eq!(has_a_path(pattern), !pattern.is_empty(), "{pattern}");
        }
        for pattern in [
            "api/.*",
            "^orders$",
            r"/search\?q=.*",
            "//a",
            r"/a/\.\./b",
            r"/a/\./b",
            "/caf%c3%a9",
            "/café",
            "/a b",
            "/a$/b",
            "/a^",
            "/%zz",
            "[a-z]+",
            "https://.*/x",
            "/a/[/]b",
            "/(%2f)+",
            r"/a\\b",
            "(/){2}",
        ] {
            assert!(!has_a_path(pattern), "{pattern}");
        }
    }
}
