//! How long files and functions are, and that each file says what it is for.

use crate::{
    report,
    source::{all, production},
};

/// Lines of a file, tests not counted.
const LONGEST_FILE: usize = 400;
/// Lines of a function, from `fn` to its closing brace.
pub const LONGEST_FUNCTION: usize = 60;

#[test]
fn files_are_short_enough_to_be_read_at_once() {
    let mut mistakes = Vec::new();
    // Tests of a folder have a bound, too.
    for source in all() {
        let lines = source.facts.length;
        if lines > LONGEST_FILE {
            mistakes.push(format!(
                "{}: {lines} lines, at most {LONGEST_FILE}",
                source.shown
            ));
        }
    }
    report(&mistakes);
}

#[test]
fn functions_are_short_enough_to_be_read_at_once() {
    let mut mistakes = Vec::new();
    for source in production() {
        let shown = &source.shown;
        for function in &source.facts.functions {
            let name = function.short();
            if function.lines > LONGEST_FUNCTION {
                mistakes.push(format!(
                    "{shown}:{}: `{name}` has {} lines, at most {LONGEST_FUNCTION}",
                    function.line, function.lines
                ));
            }
        }
    }
    report(&mistakes);
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let silent = all()
        .iter()
        .filter(|source| !source.raw.starts_with("//! "));
    let mistakes: Vec<_> = silent
        .map(|source| format!("{}:1: opens without a `//!` sentence", source.shown))
        .collect();
    report(&mistakes);
}
